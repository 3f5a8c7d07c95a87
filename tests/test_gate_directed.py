# SPDX-License-Identifier: Apache-2.0
"""The directed search finds ways into regions where there are any, and the gate leaves none that it finds soon."""

from __future__ import annotations

import json
import random

import pytest

from benchmarks.rigs.gate import fingerprint
from benchmarks.rigs.gate.arm_directed import ARMS, SearchedArm
from benchmarks.rigs.gate.campaign import Log, directed
from benchmarks.rigs.gate.directed import Searched, search
from benchmarks.rigs.gate.named import DRIVING
from jepa_ros.safety import Gate, reach
from jepa_ros.workers import worker_pool


def test_without_the_rows_of_regions_it_enters_one_soon() -> None:
    body = Searched("holonomic_slick")
    body.gate = Gate(body.gate.config, without=frozenset({"region", "inside_region"}))
    rng = random.Random(0)
    assert min(body.trial([rng.random() for _ in range(body.count)])[0] for _ in range(20)) < -0.1


def test_a_trial_is_repeated_by_its_genes() -> None:
    body, rng = Searched("arena"), random.Random(3)
    genes = [rng.random() for _ in range(body.count)]
    assert body.trial(genes) == Searched("arena").trial(genes)


#: Axes that keep together, drives that lag: it came 3 mm into the pillar.
FOUND = [
    0.454713, 0.255289, 0.414095, 0.612517, 0.502484, 1.0, 0.561306, 0.750784, 0.056385, 0.17007, 0.678322, 0.273096,
    1.0, 0.70683, 0.913479, 0.1398, 0.888132, 0.920742, 0.427866, 0.915047, 0.539087, 0.543462, 0.749992, 0.341376,
    0.256331, 0.159613, 0.93997, 0.138341, 0.240561, 0.715265, 0.603264, 0.22571,
]  # fmt: skip


@pytest.mark.parametrize("name", ARMS)
def test_without_its_row_the_search_leads_a_link_into_a_box_soon(name: str) -> None:
    body, rng = SearchedArm(name), random.Random(0)
    trials = [[rng.random() for _ in range(body.count)] for _ in range(12)]
    assert min(body.trial(genes)[0] for genes in trials) > -1e-4
    body.gate = Gate(body.gate.config, without=frozenset({"link_region"}))
    assert min(body.trial(genes)[0] for genes in trials) < -0.05


def test_what_a_search_found_once_enters_no_region() -> None:
    assert Searched("holonomic_slick").trial(FOUND)[0] > 0.0


def test_searches_of_a_body_add_up_on_the_same_code(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.rigs.gate.fingerprint.of", lambda what: what)
    with worker_pool(1, "search") as pool:
        for _ in range(2):
            found = directed(pool, ("arena",), 0.002, 0, lambda *_: None, Log(tmp_path / "log.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 2 and rows[0]["found"]["genes"] != rows[1]["found"]["genes"]
    assert found["arena"]["trials"] == sum(row["found"]["trials"] for row in rows)
    assert found["arena"]["room"] == min(row["found"]["room"] for row in rows)


def test_the_fingerprint_knows_a_change_that_changes_a_decision(monkeypatch) -> None:
    first = fingerprint.of("holonomic_slick")
    assert fingerprint.of("holonomic_slick") == first
    monkeypatch.setattr(reach, "BULGE", 0.05)
    assert fingerprint.of("holonomic_slick") != first


@pytest.mark.parametrize("name", DRIVING)
def test_a_short_search_enters_no_region(name: str) -> None:
    found = search((name, 0.05, 1, 0))
    assert found.room >= 0.0, found
