# SPDX-License-Identifier: Apache-2.0
"""Where the gate takes a base to be between its measurements: never further off than by the room that it keeps."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from benchmarks.rigs.gate import directed
from benchmarks.rigs.gate.bodies import Machine
from benchmarks.rigs.gate.directed import Searched, drawn
from benchmarks.rigs.gate.named import BODIES
from benchmarks.rigs.gate.plant import Plant
from benchmarks.rigs.gate.senses import Senses
from jepa_ros.contract import RobotContract
from jepa_ros.safety import Gate, GateConfig, Requests, localisation
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


@pytest.mark.parametrize("seed", [36, 49])
@pytest.mark.parametrize("late", [6, 14])
def test_a_base_that_lags_hits_nothing_that_a_late_scan_shows(seed: int, late: int) -> None:
    """To and fro among posts; with scans 14 ticks old it hit one by 27 mm."""
    rng = random.Random(seed)
    state = {"odom": {"timeout": 0.3}, "scan": {"timeout": 0.6}}
    contract = RobotContract.from_dict({**BODIES["diff_lag"], "state": state}, "diff_lag")
    machine, gate = Machine(contract, {}), Gate(GateConfig.from_contract(contract, auto_enable=True))
    plant = Plant(machine, delay=rng.choice((0.2, 0.157, 0.1)), mode="axis", exact=rng.random() < 0.7)
    senses = Senses(random.Random(seed), machine, 1.0, 0.0)
    senses.rates["scan"] = (1, 0, late)
    posts = [(rng.uniform(-2.0, 2.0), rng.uniform(-2.0, 2.0), 0.1) for _ in range(5)]
    senses.world.posts = posts = [post for post in posts if math.hypot(post[0], post[1]) > 0.6]
    memory, now, way = gate.initial_state(), 100.0, 0.0
    for k in range(250):
        if k % rng.choice((6, 10, 15)) == 0:
            ahead, turn = rng.choice((-1.0, 1.0, 1.0, -1.0, 0.3)), rng.choice((-1.0, 0.0, 0.0, 1.0, 0.3))
            senses.command = [ahead * machine.high[0], turn * machine.high[1]]
        senses.gather(k, plant, now, 5000.0 + now)
        memory, out = gate.step(memory, senses.inputs(Requests()), now, 5000.0 + now)
        plant.command(out.values.tolist())
        plant.advance(machine.period)
        now += machine.period
        way += abs(plant.v[0]) * machine.period
        assert min(math.hypot(plant.x - x, plant.y - y) - r - machine.radius for x, y, r in posts) > 0.0
    assert way > 1.5
