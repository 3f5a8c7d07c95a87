# SPDX-License-Identifier: Apache-2.0
"""The judge of the histories can fail: each kind of wrong gate is told, and for the right reason."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.rigs.gate import histories
from benchmarks.rigs.gate.bodies import Body, Machine
from benchmarks.rigs.gate.histories import History
from benchmarks.rigs.gate.named import BODIES, places, size_of
from benchmarks.rigs.gate.plant import Plant
from jepa_ros.contract import RobotContract
from jepa_ros.safety import Gate, GateConfig, GateOutput, Mode

Change = Callable[[GateOutput, int], GateOutput]


class Wrong:
    """A gate whose output is changed on its way out."""

    def __init__(self, gate: Gate, change: Change) -> None:
        self._gate, self._change, self.config = gate, change, gate.config
        self.ticks = 0

    def step(self, *args: Any) -> Any:
        state, out = self._gate.step(*args)
        self.ticks += 1
        return state, self._change(out, self.ticks)


def history(name: str, monkeypatch: pytest.MonkeyPatch, regions: bool = False, settings: Any = None) -> History:
    """A history of a named body in which nothing goes wrong and it is driven on all axes."""
    data = {**BODIES[name], "guardrails": places(size_of(name)) if regions else []}
    contract = RobotContract.from_dict(data, name)
    machine = Machine(contract, settings or {})
    gate = Gate(GateConfig.from_contract(contract, auto_enable=True, **(settings or {})))

    body = Body(machine, gate, 4.0, Counter())
    monkeypatch.setattr(histories.bodies, "draw", lambda *args: body)
    monkeypatch.setattr(histories.plant, "drawn", lambda rng, m, start: Plant(m, delay=m.reaction, q=[0.3] * m.size))
    monkeypatch.setattr(histories, "situation", lambda h: None)
    h = History("bases", 4)
    h.rate, h.late, h.hold = 0.0, 0, 10
    goal = [0.8 * hi for hi in machine.high]
    h.drive = lambda k: goal
    return h


def found(h: History, change: Change, ticks: int = 60) -> str:
    h.gate = Wrong(h.gate, change)  # type: ignore[assignment]
    return "\n".join(h.run(ticks))


def values(f: Callable[[np.ndarray], np.ndarray], at: int) -> Change:
    return lambda out, k: dataclasses.replace(out, values=f(out.values.copy())) if k == at else out


def stopped_from(at: int) -> Change:
    return lambda out, k: dataclasses.replace(out, mode=Mode.STOPPED, reason="region") if k > at else out


@pytest.mark.parametrize("name", ["arena", "holonomic", "drone", "arm_rates"])
def test_it_has_nothing_to_say_of_a_drive_in_which_nothing_is_wrong(name, monkeypatch) -> None:
    assert history(name, monkeypatch).run(100) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (values(lambda v: v * np.nan, 40), "the output is"),
        (values(lambda v: v * 2.0, 40), "over its velocity limit"),
        (values(lambda v: v * 0.5 + 0.1, 12), "over its acceleration limit"),
        (values(lambda v: -v, 40), "is asked for"),
        (lambda out, k: dataclasses.replace(out, publish=False) if k == 40 else out, "publishes nothing"),
        (lambda out, k: dataclasses.replace(out, mode=Mode.ESTOP) if k == 40 else out, "came out of the latch"),
(stopped_from(9), "stops, and goes"),
    ],
)  # fmt: skip
def test_what_leaves_a_gate_of_rates_is_judged(change, said, monkeypatch) -> None:
    h = history("arena", monkeypatch)
    assert said in found(h, change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (values(lambda v: v + 0.2, 30), "over its velocity limit"),
        (values(lambda v: v + 0.004, 30), "over its acceleration limit"),
        (values(lambda v: v * 0.0 + 9.0, 30), "its range is"),
        (values(lambda v: v + 0.5, 1), "the first word"),
        (lambda out, k: dataclasses.replace(out, publish=False) if k == 30 else out, "says nothing any more"),
    ],
)  # fmt: skip
def test_what_leaves_a_gate_of_positions_is_judged(change, said, monkeypatch) -> None:
    assert said in found(history("arm_positions", monkeypatch), change)


def test_a_stop_of_positions_that_turns_back_or_creeps_is_told(monkeypatch) -> None:
    h = history("arm_positions", monkeypatch)
    h.run(40)
    mark = h.judge.stream.before
    assert mark is not None

    def back(out: GateOutput, k: int) -> GateOutput:
        return dataclasses.replace(out, mode=Mode.STOPPED, reason="region", values=np.array(mark) - 0.001 * k)

    assert "turns it back" in found(h, back, 10)


def test_driving_while_an_input_is_bad_is_told(monkeypatch) -> None:
    h = history("arena", monkeypatch)
    h.run(30)
    h.gate = Gate(h.gate.config, without=frozenset({"state_stale"}))
    h.senses.spoil["odom"] = lambda m: None
    assert "odom is bad" in "\n".join(h.run(60))


def test_entering_a_region_is_told(monkeypatch) -> None:
    h = history("holonomic", monkeypatch, regions=True)
    h.gate = Gate(h.gate.config, without=frozenset({"region", "inside_region"}))
    h.drive = lambda k: [1.0, 0.0, 0.0]
    assert "inside 'room'" in "\n".join(h.run(400))


def test_a_joint_beyond_its_end_is_told(monkeypatch) -> None:
    h = history("arm_rates", monkeypatch)
    h.gate = Gate(h.gate.config, without=frozenset({"position_limit"}))
    assert "its range is" in "\n".join(h.run(200))


def test_pushing_on_while_the_bumper_is_pressed_is_told(monkeypatch) -> None:
    monkeypatch.setitem(BODIES, "bumper", {**BODIES["arena"], "state": {**BODIES["arena"]["state"],
                                                                       "contact": {"timeout": 0.5}}})  # fmt: skip
    h = history("bumper", monkeypatch)
    h.run(40)
    h.gate = Gate(h.gate.config, without=frozenset({"contact"}))
    h.senses.world.bumper = True
    assert "the bumper was pressed" in "\n".join(h.run(20))


def test_a_robot_that_obeys_no_stop_has_to_be_latched(monkeypatch) -> None:
    h = history("arena", monkeypatch)
    h.run(40)
    h.gate = Gate(h.gate.config, without=frozenset({"stop_not_obeyed"}))
    h.plant.broken = True
    h.senses.spoil["command"] = lambda m: None
    assert "nothing is latched" in "\n".join(h.run(400))


@pytest.mark.parametrize(("share", "said"), [(1.0, "a whole turn below range_min"), (0.2, "nearer than range_min")])
def test_driving_at_what_is_nearer_than_the_lidar_can_measure_is_told(share, said, monkeypatch) -> None:
    h = history("arena", monkeypatch)
    h.drive = lambda k: [0.4, 0.0]
    assert h.senses.lidar is not None
    h.senses.lidar.start = -np.pi
    h.run(40)
    h.gate = Gate(h.gate.config, without=frozenset({"obstacle", "scan_lost"}))

    def spoil(m: Any) -> Any:
        ranges = np.array(m.ranges)
        half, some = len(ranges) // 2, round(0.5 * share * len(ranges))
        ranges[half - some : half + some + 1] = -np.inf
        return dataclasses.replace(m, ranges=ranges)

    h.senses.spoil["scan"] = spoil
    assert said in "\n".join(h.run(120))
