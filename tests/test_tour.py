# SPDX-License-Identifier: Apache-2.0
"""A tour before an episode: `eval --tour` says what came of it, and at once where it means nothing."""

from __future__ import annotations

import json

import pytest
from toy_world import save_onboard_model

from jepa_ros.commands.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_onboard_model(tmp_path_factory.mktemp("models") / "rover"))


def test_what_came_of_a_tour_is_told_to_people_and_machines(model, tmp_path, capsys):
    report = tmp_path / "eval.json"
    words = ["--robot", "rover", "--task", "near", "--model", model, "--policies", "planner", "--episodes", "1"]
    assert main(["eval", *words, "--tour", "5", "--samples", "16", "--workers", "1", "--json", str(report)]) == 0
    tour = json.loads(report.read_text())["tour"]
    assert tour["limit"] == 5.0 and len(tour["episodes"]) == 1
    assert 4.0 < tour["mean"]["seconds"] <= 5.3 and not tour["episodes"][0]["whole"]
    assert tour["mean"]["places"] >= 1.0
    assert "tours of at most 5 s, means: seconds " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--robot", "rover", "--task", "near", "--policies", "random"], "only the planner remembers a tour"),
        (["--robot", "arena", "--policies", "planner"], "has no tour"),
    ],
)
def test_a_tour_that_means_nothing_is_refused_at_once(words, why, capsys):
    assert main(["eval", *words, "--episodes", "1", "--tour", "5"]) == 2
    assert why in capsys.readouterr().err
