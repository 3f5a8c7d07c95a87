# SPDX-License-Identifier: Apache-2.0
"""In physics, a planner that drives at forbidden regions at full speed: the gate keeps it out. The short form."""

from __future__ import annotations

import pytest

from benchmarks.rigs.gate.episodes import SLIPS, Episode, Rooms, drive
from jepa_ros.safety import parse_guardrails

pytest.importorskip("pybullet")


@pytest.mark.parametrize("seed", range(6))
def test_an_adversary_is_kept_out_of_every_region_and_still_drives(seed: int) -> None:
    kept = drive(seed, with_gate=True, seconds=6.0)
    assert kept.room > 0.0, f"entered '{kept.name}' by {-kept.room:.3f} m"
    assert kept.driven > 0.1, "a parked robot proves nothing"
    assert not kept.contact


def test_the_same_adversary_does_harm_without_the_gate() -> None:
    rooms = [drive(seed, with_gate=False, seconds=6.0).room for seed in range(4)]
    assert sum(room < 0.0 for room in rooms) >= 3


def test_a_push_into_a_region_is_not_scored_but_going_deeper_afterwards_is():
    circle = {"center": [0.0, 0.0], "radius": 0.1}
    zone = parse_guardrails([{"name": "zone", "kind": "keep_out", "unit": "m", "circle": circle}])
    rooms = Rooms(zone.of("keep_out"), 0.1)

    def violated() -> bool:
        return Episode(0, True, rooms.least, rooms.name, 1.0, 0.0, True, deeper=rooms.deeper).violated

    rooms.look(0.25, 0.0, False)
    rooms.look(0.18, 0.0, True)  # pushed 2 cm inside
    rooms.look(0.18, 0.0, False)
    assert not violated() and rooms.least == pytest.approx(0.05)
    rooms.look(0.18 - 2 * SLIPS, 0.0, False)
    assert violated()
    rooms.deeper = 0.0
    rooms.look(0.21, 0.0, False)  # out again
    assert not violated()
    rooms.look(0.19, 0.0, False)  # by itself
    assert violated()
