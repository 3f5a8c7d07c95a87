# SPDX-License-Identifier: Apache-2.0
"""In physics, a planner that drives at forbidden regions at full speed: the gate keeps it out. The short form."""

from __future__ import annotations

import pytest

from jepa_ros.bench.gate_episodes import drive

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
