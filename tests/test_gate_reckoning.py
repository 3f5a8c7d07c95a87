# SPDX-License-Identifier: Apache-2.0
"""Where the gate takes a base to be between its measurements: never further off than by the room that it keeps."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from benchmarks.rigs.gate import directed
from benchmarks.rigs.gate.directed import Searched, drawn
from jepa_ros.safety import localisation
from jepa_ros.safety.tick import Tick

#: Full speed to and fro, with a lag of 0.157 of 0.2 s: with poses 14 ticks old it came 5 mm into the table.
FOUND = [
    0.864301, 0.5089, 0.491049, 0.068792, 0.314531, 0.550144, 0.33531, 0.058824, 0.799758, 0.784676, 0.358639,
    0.474721, 0.342586, 0.868027, 0.750313, 0.885998, 0.306182, 0.279639, 0.261905, 0.379204, 0.708232, 0.453435, 1.0,
    0.53734, 0.552416, 0.896998,
]  # fmt: skip
#: What is too slow to count as motion (``GateConfig.motion``) adds up to this [m], [rad] until it stands.
CREEP, CREEP_TURN = 2e-3, 5e-3


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """By how much the pose that is carried on is off beyond its margin at each tick [m], [rad]."""
    plants, found = [], list[tuple[float, float]]()
    made, carried = directed.Plant, localisation._carried

    def plant(*args: Any, **options: Any) -> Any:
        plants.append(made(*args, **options))
        return plants[-1]

    def spied(t: Tick) -> tuple[float, float, float, float, float] | None:
        pose = carried(t)
        if pose is not None:
            x, y, yaw, margin, yaw_margin = pose
            true = plants[-1]
            found.append((math.hypot(x - true.x, y - true.y) - margin, abs(yaw - true.yaw) - yaw_margin))
        return pose

    monkeypatch.setattr(directed, "Plant", plant)
    monkeypatch.setattr(localisation, "_carried", spied)
    return found


def within(off: list[tuple[float, float]]) -> bool:
    return len(off) > 100 and all(far < CREEP and turned < CREEP_TURN for far, turned in off)


@pytest.mark.parametrize("late", [2, 3, 5, 8, 11, 14, 17, 20, 22, 25])
@pytest.mark.parametrize("lag", [0.157, 0.2])
def test_a_base_that_lags_keeps_clear_however_late_its_pose_comes(
    late: int, lag: float, off: list[tuple[float, float]]
) -> None:
    genes = list(FOUND)
    genes[4] = 0.4 * lag / 0.2 if lag < 0.2 else 1.0
    assert Searched("diff_lag", late).trial(genes)[0] > 0.0
    assert within(off), max(off)


@pytest.mark.parametrize("name", ["diff_lag", "holonomic_lag", "holonomic_slick", "drone"])
def test_a_late_pose_is_off_by_no_more_than_its_margin(name: str, off: list[tuple[float, float]]) -> None:
    rng = random.Random(name)
    for k in range(6):
        body = Searched(name, rng.choice((1, 5, 14, 22)))
        assert body.trial(drawn(body, f"late {k}"))[0] > 0.0
    assert within(off), max(off)
