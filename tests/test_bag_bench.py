# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros bench bags`: a measurement may be made in pieces, and nothing that was measured is overwritten."""

from __future__ import annotations

import json

import pytest

from benchmarks.rigs.bags import bag_figures
from jepa_ros.commands import cli


@pytest.fixture
def measured(monkeypatch):
    """Recording and replay measured in no time."""

    def recording(pairs: int, seconds: float, say) -> dict:
        row = {"messages": 1, "megabytes": 1.0, "dropped": 0, "lost": 0, "images": 1, "camera_sent": 1}
        runs = {"with": [11.0] * pairs, "without": [10.0] * pairs}
        ratio = {"mean": 1.1, "ci95": None, "values": [1.1] * pairs}
        return {"recordings": [row] * pairs, "planner_p50_ms": runs, "ratio": ratio}

    def replays(bag, times: int, threads: tuple, say) -> list:
        found = {"runs": times, "different": 1, "speed_min": 7.0, "speed_median": 8.0, "disagree_with_recording": 0}
        return [{"threads": count, **found} for count in threads]

    monkeypatch.setattr(bag_figures, "recording", recording)
    monkeypatch.setattr(bag_figures, "replays", replays)


def test_pieces_are_joined_in_one_file(measured, tmp_path, capsys):
    out = tmp_path / "results/bags.json"
    for words in (
        ["record", "--pairs", "2"], ["replay", "--bag", "x", "--threads", "2"], ["record", "--pairs", "3"],
        ["replay", "--bag", "x", "--runs", "3", "--threads", "1"],
    ):  # fmt: skip
        assert cli.main(["bench", "bags", *words, "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert len(result["record"]["recordings"]) == 5 and result["record"]["planner_p50_ms"]["without"] == [10.0] * 5
    assert result["record"]["ratio"]["values"] == pytest.approx([1.1] * 5)
    assert result["record"]["ratio"]["ci95"] == pytest.approx([1.1, 1.1])
    assert [row["threads"] for row in result["replay"]] == [1, 2] and set(result["load_before"]) == {"record", "replay"}
    assert "replay, 2 threads: 10 runs, 1 different outcome(s)" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["not JSON", "[]", '{"record": {}, "load_before": {}}'])
def test_a_file_of_something_else_is_left_alone(measured, tmp_path, content, capsys):
    (tmp_path / "other.json").write_text(content)
    assert cli.main(["bench", "bags", "record", "--json", str(tmp_path / "other.json")]) == 2
    assert "other.json: no results of this benchmark" in capsys.readouterr().err
    assert (tmp_path / "other.json").read_text() == content
