# SPDX-License-Identifier: Apache-2.0
"""The gate does not keep its promises by refusing to move, and the measure would show it if it did."""

from __future__ import annotations

import pytest

from benchmarks.rigs.gate import liveness, tasks
from benchmarks.rigs.gate.bodies import Machine
from benchmarks.rigs.gate.named import BODIES, size_of
from benchmarks.rigs.gate.run import gate_of
from jepa_ros.contract import RobotContract
from jepa_ros.safety import Gate


def _gate(name: str, **changes: object) -> tuple[Machine, Gate]:
    contract = RobotContract.from_dict(BODIES[name], name)
    gate = gate_of(contract)
    return Machine(contract, {}), Gate(gate.config.replace(**changes))


@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_body_in_free_space_comes_to_its_limits(name: str) -> None:
    share, axis = liveness.free_space(*_gate(name))
    assert share >= liveness.SHARE, axis


@pytest.mark.parametrize("name", sorted(liveness.arms_at_home()))
def test_an_arm_in_free_space_comes_to_the_limits_of_each_joint_both_ways(name: str) -> None:
    pytest.importorskip("pinocchio")
    contract = RobotContract.from_dict(liveness.arms_at_home()[name], name)
    share, axis = liveness.free_space(Machine(contract, {}), gate_of(contract))
    assert share >= liveness.SHARE, axis


def test_a_gate_that_refuses_to_move_is_seen() -> None:
    share, _ = liveness.free_space(*_gate("arena", dry_run=True))
    assert share == 0.0


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("arena", "gap between two regions"),
        ("holonomic", "up to a region"),
        ("arena", "gap between two posts"),
        ("holonomic", "past posts"),
    ],
)
def test_a_task_past_regions_and_obstacles_takes_little_longer_than_an_oracle(name: str, task: str) -> None:
    one = next(t for t in tasks.tasks(0.1 / size_of(name)) if t.name == task)
    taken, why = tasks.task_time(name, one, True)
    oracle, _ = tasks.task_time(name, one, False)
    assert taken is not None and oracle is not None, why
    assert taken <= liveness.FACTOR * oracle
