# SPDX-License-Identifier: Apache-2.0
"""The training report: everything of a run in one file that needs nothing else, also of a run that is not finished."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from jepa_ros.contract import load_contract
from jepa_ros.learning.report import ReportError, read_log, write_report


def judged(step, phase="judged", heading=0.97):
    return {
        "phase": phase, "step": step,
        "probe_r2": {"x": 0.99, "y": 0.99, "cos": heading, "sin": heading, "position_cm": 3.0},
        "open_loop": {f"{n}_{k}": v for k in (1, 5, 12) for n, v in (("error", 0.01), ("copy", 0.1), ("ratio", 0.1))},
        "spread": {"rank": 12.0, "std_within": 0.9},
    }  # fmt: skip


def write_run(folder, card=True, heading=0.97):
    folder.mkdir()
    losses = {"total": 3.0, "prediction": 1.0, "copy": 1.0, "frames_per_second": 900.0}
    records = [
        {"phase": "representation", "step": i, **{k: v / (i + 1) for k, v in losses.items()}} for i in range(0, 100, 20)
    ]
    records += [judged(49, heading=heading), judged(99, heading=heading)]
    for phase in ("predictor", "distance", "readouts"):
        records += [{"phase": phase, "step": i, "loss": 1.0 / (i + 1)} for i in (0, 50)]
    records += [judged(100, "final", heading)]
    (folder / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    if card:
        final = {k: v for k, v in records[-1].items() if k not in ("phase", "step")}
        card = {
            "name": "<b>run", "parameters": 123456, "training_seconds": 90.0, "device": "cpu", "precision": "fp32",
            "threads": 2, "command": "jepa-ros train --data d", "commit": "abc", "weights_sha256": "0123456789abcdef00",
            "data": {"folder": "d", "episodes": 10, "held_out_episodes": 2, "steps": 100, "robot_minutes": 1.0},
            "settings": {"inverse_dynamics": 5.0}, "model": {"latent_dim": 64}, "metrics": final,
            "calibration": {"surprise": {"0.5": 0.1, "0.99": 0.27183}, "prediction_error": 0.3, "latent_mean": [0.0]},
            "contract": load_contract("arena").to_dict(),
        }  # fmt: skip
        (folder / "card.json").write_text(json.dumps(card))
    return folder


def drawings(page):
    """The charts of a page, each parsed as what it is."""
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def curves(drawing):
    """{name of a curve: its points [px]}, in the order of the legend."""
    paths = [path.get("d") for path in drawing.iter("path") if path.get("fill") == "none"]
    points = [[tuple(map(float, pair.split())) for pair in re.findall(r"[ML]([^ML]+)", path)] for path in paths]
    names = [text.text for text in drawing.iter("text") if text.get("text-anchor") is None] or [""]
    return dict(zip(names, points, strict=True))


def test_the_report_holds_every_plot_and_needs_no_other_file(tmp_path):
    page = write_report(write_run(tmp_path / "run")).read_text()
    charts = {chart.get("aria-label"): curves(chart) for chart in drawings(page)}
    assert list(charts) == [
        "loss", "frames a second", "effective rank", "standard deviation", "R2", "position error [cm]",
        "error / copy error", "predictor", "distance", "readouts",
    ]  # fmt: skip
    assert list(charts["loss"]) == ["total", "prediction", "copy"]
    for points in charts["loss"].values():  # the loss falls from step to step, so its picture goes right and down
        assert len(points) == 5
        assert all(x < further and y < lower for (x, y), (further, lower) in pairwise(points))
    assert not re.findall(r"""(?:src|href)=(?!"data:)""", page) and "<script" not in page and "http" not in page
    for wanted in ("inverse_dynamics: 5.0", "angular.z", "jepa-ros train --data d", "0123456789abcdef", "0.2718"):
        assert wanted in page
    assert "<b>run" not in page and "&lt;b&gt;run" in page


def test_a_heading_that_is_not_represented_is_named(tmp_path):
    assert "class=warn" not in write_report(write_run(tmp_path / "good")).read_text()
    page = write_report(write_run(tmp_path / "bad", heading=0.1)).read_text()
    assert "The probe of <b>cos</b> reaches 0.10" in page and "class=good" not in page


def test_a_killed_run_has_a_report_too(tmp_path):
    folder = write_run(tmp_path / "run", card=False)
    log = folder / "log.jsonl"
    log.write_text("\n".join(log.read_text().splitlines()[:6]) + '\n{"phase": "judged", "st')
    page = write_report(folder).read_text()
    assert "not finished" in page and len(drawings(page)) == 7
    assert len(read_log(log)["judged"]) == 1


def test_a_run_without_poses_says_so_instead_of_an_empty_plot(tmp_path):
    folder = write_run(tmp_path / "run", card=False)
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    (folder / "log.jsonl").write_text("".join(json.dumps({**r, "probe_r2": {}}) + "\n" for r in records))
    assert "holds no pose" in write_report(folder).read_text()


def test_values_that_are_not_finite_are_gaps(tmp_path):
    folder = write_run(tmp_path / "run")
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps({"phase": "distance", "step": 100, "loss": float("nan")}) + "\n")
    (chart,) = [c for c in drawings(write_report(folder).read_text()) if c.get("aria-label") == "distance"]
    assert len(curves(chart)["loss"]) == 2


@pytest.mark.parametrize("content", [None, "", "garbage\n"])
def test_a_folder_without_a_log_is_an_error_that_names_it(tmp_path, content):
    if content is not None:
        (tmp_path / "log.jsonl").write_text(content)
    with pytest.raises(ReportError, match=r"log\.jsonl"):
        write_report(tmp_path)


def test_the_module_runs_on_any_run_folder(tmp_path):
    folder = write_run(tmp_path / "run")
    command = [sys.executable, "-m", "jepa_ros.learning.report"]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == str(folder / "report.html")
    bad = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert bad.returncode == 1 and bad.stderr.startswith("error: ") and "Traceback" not in bad.stderr
