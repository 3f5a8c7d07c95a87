# SPDX-License-Identifier: Apache-2.0
"""What the console's benchmark says of its results."""

from __future__ import annotations

import copy
import json

import pytest

from benchmarks.console import between
from benchmarks.rigs.console_report import COST, FIGURES, report
from jepa_ros.contract import share_dir

HOW = ("without", "with")


@pytest.fixture
def result():
    """A result in which every figure is reached."""
    found = json.loads((share_dir() / "benchmarks" / "results" / "console.json").read_text(encoding="utf-8"))
    for _, name, statistic, most in FIGURES:
        found[name][statistic] = 0.5 * most
    found["cost"]["one_viewer"] = 0.5 * COST
    spread = {"n": 100, "p50": 40.0, "p99": 100.0, "worst": 120.0}
    found["pace"] = {"pairs": 6} | {f"{what}_{how}": dict(spread) for what in ("plan", "way") for how in HOW}
    return found


def test_a_result_that_reaches_every_figure_misses_none(result):
    lines, missed = report(result)
    assert missed == [] and lines[-1] == "every figure was reached"


@pytest.mark.parametrize(("title", "name", "statistic", "most"), FIGURES)
def test_a_time_over_its_figure_is_named(result, title, name, statistic, most):
    late = copy.deepcopy(result)
    late[name][statistic] = 1.01 * most
    lines, missed = report(late)
    assert missed == [title] and lines[-1] == f"missed: {title}"


def test_a_viewer_that_costs_too_much_is_named(result):
    result["cost"]["one_viewer"] = 1.1 * COST
    assert report(result)[1] == ["share of a core with one viewer"]


@pytest.mark.parametrize(
    ("title", "what", "statistic"), [("plan p50", "plan", "p50"), ("picture to command p99", "way", "p99")]
)
def test_a_console_that_slows_the_stack_is_named(result, title, what, statistic):
    result["pace"][f"{what}_with"][statistic] *= 1.04
    assert report(result)[1] == []
    result["pace"][f"{what}_with"][statistic] *= 1.04
    assert report(result)[1] == [title]
    result["pace"][f"{what}_with"][statistic] = float("nan")  # nothing was measured
    assert report(result)[1] == [title]


def test_parts_that_were_not_measured_are_not_told(result):
    for part in ("cost", "viewers", "goal_ms"):
        del result[part]
    lines, missed = report(result)
    assert missed == [] and not [line for line in lines if "memory" in line or "core:" in line or "goal" in line]


def test_a_tick_that_was_not_heard_makes_no_long_one():
    assert between([(7, 0.0), (8, 0.02), (9, 0.05), (12, 0.11), (13, 0.13)]) == pytest.approx([20.0, 30.0, 20.0])
