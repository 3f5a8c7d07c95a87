# SPDX-License-Identifier: Apache-2.0
"""The directed search finds ways into regions where there are any, and the gate leaves none that it finds soon."""

from __future__ import annotations

import random

import pytest

from benchmarks.rigs.gate.directed import Searched, search
from benchmarks.rigs.gate.named import DRIVING
from jepa_ros.safety import Gate


def test_without_the_rows_of_regions_it_enters_one_soon() -> None:
    body = Searched("holonomic_slick")
    body.gate = Gate(body.gate.config, without=frozenset({"region", "inside_region"}))
    rng = random.Random(0)
    assert min(body.trial([rng.random() for _ in range(body.count)])[0] for _ in range(20)) < -0.1


def test_a_trial_is_repeated_by_its_genes() -> None:
    body, rng = Searched("arena"), random.Random(3)
    genes = [rng.random() for _ in range(body.count)]
    assert body.trial(genes) == Searched("arena").trial(genes)


@pytest.mark.parametrize("name", DRIVING)
def test_a_short_search_enters_no_region(name: str) -> None:
    found = search((name, 0.05, 1))
    assert found.room >= 0.0, found
