# SPDX-License-Identifier: Apache-2.0
"""A bag as a recording of rerun."""

from __future__ import annotations

import builtins

import pytest
from drive_bag import write_drive
from stack_bag import make_model, write_stack_bag

from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.to_rerun import write
from jepa_ros.commands.cli import main
from jepa_ros.errors import JepaRosError


def recorded(path):
    """{entity: rows} of a recording, as rerun itself reads it."""
    from rerun.chunk import RrdReader

    found: dict[str, int] = {}
    for chunk in RrdReader(path).stream():
        found[chunk.entity_path] = found.get(chunk.entity_path, 0) + chunk.num_rows
    return found


def test_pictures_plans_curves_and_words_of_a_bag_are_in_the_recording(tmp_path, capsys):
    pytest.importorskip("rerun", reason="pip install 'jepa_ros[rerun]'")
    write_stack_bag(tmp_path / "bag", make_model(tmp_path / "model"))
    assert main(["info", str(tmp_path / "bag"), "--rerun", str(tmp_path / "bag.rrd")]) == 0
    assert "rerun: " in capsys.readouterr().out
    found = recorded(tmp_path / "bag.rrd")
    with BagReader(tmp_path / "bag") as reader:
        counts = {name.strip("/"): info.count for name, info in reader.topics.items()}
    assert found["/image"] == counts["image"]
    assert counts["signals"] - 1 <= found["/signals/surprise"] <= counts["signals"]  # the first step has none
    assert 1 <= found["/safety_gate/state/mode"] < counts["safety_gate/state"]  # when it changes
    assert not any("embedding" in name for name in found)


def test_a_bag_without_a_planner_may_be_written_too(tmp_path):
    pytest.importorskip("rerun", reason="pip install 'jepa_ros[rerun]'")
    write_drive(tmp_path / "drive")
    with BagReader(tmp_path / "drive") as reader:
        lines = write(reader, str(tmp_path / "drive.rrd"))
        counts = {name: info.count for name, info in reader.topics.items()}
    assert lines == [f"rerun: {sum(counts.values())} messages of {len(counts)} topics in {tmp_path / 'drive.rrd'}"]
    assert recorded(tmp_path / "drive.rrd")["/pose"] == counts["/pose"]


def test_without_rerun_one_line_says_what_to_install(tmp_path, monkeypatch):
    write_drive(tmp_path / "drive")
    known = builtins.__import__

    def lacking(name, *rest):
        if name.partition(".")[0] == "rerun":
            raise ModuleNotFoundError(name)
        return known(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with BagReader(tmp_path / "drive") as reader, pytest.raises(JepaRosError, match=r"pip install 'jepa_ros\[rerun\]'"):
        write(reader, "x.rrd")
