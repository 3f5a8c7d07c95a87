# SPDX-License-Identifier: Apache-2.0
"""What the console's benchmark says of its results."""

from __future__ import annotations

import copy
import json

import pytest

from benchmarks.console import COST, FIGURES, report
from jepa_ros.contract import share_dir


@pytest.fixture
def result():
    """A result in which every figure is reached."""
    found = json.loads((share_dir() / "benchmarks" / "results" / "console.json").read_text(encoding="utf-8"))
    for _, name, statistic, most in FIGURES:
        found[name][statistic] = 0.5 * most
    found["cost"]["one_viewer"] = 0.5 * COST
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
