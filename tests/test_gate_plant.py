# SPDX-License-Identifier: Apache-2.0
"""The plants of the campaign do what a contract guarantees, and nothing better."""

from __future__ import annotations

import math

import pytest

from benchmarks.rigs.gate.bodies import Machine
from benchmarks.rigs.gate.named import BODIES
from benchmarks.rigs.gate.plant import Plant
from jepa_ros.contract import RobotContract


def machine(name: str) -> Machine:
    return Machine(RobotContract.from_dict(BODIES[name], name), {})


def test_a_command_takes_effect_after_the_delay_and_not_before() -> None:
    m = machine("holonomic")
    plant = Plant(m, delay=0.06)
    for _ in range(3):
        plant.command([0.6 * m.period, 0.0, 0.0])
        plant.advance(m.period)
        assert plant.v == [0.0, 0.0, 0.0]
    plant.advance(m.period)
    assert plant.v[0] == pytest.approx(0.6 * m.period)


def test_each_axis_brakes_at_exactly_its_limit() -> None:
    m = machine("holonomic_slick")
    plant = Plant(m, delay=0.0)
    plant.v = [1.0, 0.5, 1.5]
    plant.command([0.0, 0.0, 0.0])
    plant.advance(0.5)
    assert plant.v == pytest.approx([1.0 - 0.5 * 0.6, 0.5 - 0.5 * 0.6, 1.5 - 0.5 * 1.5])


def test_by_one_ratio_all_axes_stand_at_the_same_time() -> None:
    m = machine("holonomic_slick")
    plant = Plant(m, delay=0.0, mode="ratio")
    plant.v = [0.6, 0.3, 1.5]
    plant.command([0.0, 0.0, 0.0])
    plant.advance(0.5)
    assert plant.v == pytest.approx([0.3, 0.15, 0.75])


def test_the_way_of_a_stop_is_that_of_the_formula() -> None:
    m = machine("diff_slick")
    plant = Plant(m, delay=0.0)
    plant.v = [1.0, 0.0]
    plant.command([0.0, 0.0])
    for _ in range(100):
        plant.advance(m.period)
    assert plant.x == pytest.approx(1.0 / (2.0 * 0.8), abs=1e-3) and plant.v == [0.0, 0.0]


def test_a_turn_moves_it_along_an_arc() -> None:
    m = machine("arena")
    plant = Plant(m, delay=0.0)
    plant.v = [0.4, 1.0]
    plant.command([0.4, 1.0])
    for _ in range(round(math.pi / m.period)):
        plant.advance(m.period)
    assert math.hypot(plant.x, plant.y) == pytest.approx(0.8, abs=0.01)  # half a circle of radius 0.4 m


def test_joints_by_position_come_late_and_sag() -> None:
    m = machine("arm_positions")
    plant = Plant(m, delay=0.06, lag=0.1, sag=[0.01] * 7, q=[0.31] * 7)
    plant.command([0.5] * 7)
    plant.advance(0.1)
    assert 0.31 < plant.q[0] < 0.45
    plant.advance(2.0)
    assert plant.q == pytest.approx([0.51] * 7, abs=1e-4)


@pytest.mark.parametrize("mode", ["axis", "ratio"])
def test_it_turns_round_without_speeding_up_faster_than_it_may(mode: str) -> None:
    m = machine("holonomic_slick")
    plant = Plant(m, delay=0.0, mode=mode)
    plant.v = [0.3, 0.0, 1.0]
    before = list(plant.v)
    for _ in range(200):
        plant.command([-1.0, 1.0, -1.5])
        plant.advance(m.period)
        for v, b, a, brake in zip(plant.v, before, m.acceleration, m.braking, strict=True):
            assert abs(v - b) <= max(a, brake) * m.period + 1e-9
        before = list(plant.v)
    assert plant.v == pytest.approx([-1.0, 1.0, -1.5])
