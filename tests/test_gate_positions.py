# SPDX-License-Identifier: Apache-2.0
"""Joints at the gate: what a stop, "slow" and "stand still" are for positions, and where rates have to brake."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.rigs.gate.rig import ROBOTS, Rig, contract_of
from benchmarks.rigs.gate.scenarios import change, drop
from jepa_ros.safety import GateOutput, Mode, Requests, parse_guardrails
from jepa_ros.safety.gate import GateConfig

SEARCHED = [{"name": "shoulder", "unit": "rad", "low": -0.5, "high": 0.5},
            {"name": "elbow", "unit": "rad", "low": -0.5, "high": 0.5}]  # fmt: skip
TOUCH = {**ROBOTS["arm"]["state"], "contact": {"timeout": 0.5}}


def limits_hold(outs: list[GateOutput], rig: Rig, before: np.ndarray | None = None) -> bool:
    """Velocity, acceleration and braking of a course of set-points; braking counts where a joint slows down."""
    cfg, dt = rig.cfg, rig.cfg.period
    q = np.array([o.values for o in outs])
    v = np.diff(q, axis=0) / dt
    change = np.diff(v, axis=0) / dt
    faster = np.abs(v[1:]) > np.abs(v[:-1])
    most = np.where(faster, np.array(cfg.acceleration), np.array(cfg.braking))
    slack = 1e-3
    return bool((np.abs(v) <= np.array(cfg.velocity) + slack).all() and (np.abs(change) <= most + slack).all())


def moving_arm(**more: Any) -> Rig:
    """An arm on its way from 0 to (1.1, 1.6), at full speed."""
    rig = Rig("arm", **more)
    rig.arm([0.0, 0.0])
    rig.command = [1.1, 1.6]
    rig.run(0.5)
    assert rig.state.rate[0] > 0.6
    return rig


# ---------------------------------------------------------------- where it stands


@pytest.mark.parametrize("ask", [{}, {"estop": True}, {"shutdown": True}])
def test_an_arm_that_stands_outside_of_what_is_searched_is_told_to_stay_there(ask: dict[str, bool]) -> None:
    contract = contract_of("arm", action=SEARCHED)
    rig = Rig(contract=contract, auto_enable=False)
    rig.robot.q = [1.1, -1.7]
    outs = [rig.ask(**ask), *rig.run(0.5)]
    assert all(o.values.tolist() == [1.1, -1.7] for o in outs if o.publish) and outs[-1].publish


def test_an_arm_outside_of_its_limits_is_told_to_stay_there_too() -> None:
    rig = Rig("arm")
    rig.robot.q = [1.3, 0.0]
    rig.command = [1.3, 0.0]
    assert all(o.values.tolist() == [1.3, 0.0] for o in rig.run(2.0) if o.publish)
    rig.command = [1.0, 0.0]
    assert rig.run(1.0)[-1].values.tolist() == pytest.approx([1.0, 0.0])


def test_what_may_be_searched_is_no_limit_of_the_machine() -> None:
    rig = Rig(contract=contract_of("arm", action=SEARCHED))
    rig.arm([0.9, 0.0])
    assert rig.run(2.0)[-1].values.tolist() == pytest.approx([0.9, 0.0])


# ---------------------------------------------------------------- stops


SILENT: dict[str, Callable[[Rig], Any]] = {
    "commands": lambda rig: rig.spoil.update(command=drop),
    "joint_states": lambda rig: rig.spoil.update(joint_states=drop),
    "planner": lambda rig: rig.spoil.update({"heartbeat/planner": drop}),
    "estop": lambda rig: rig.ask(estop=True),
    "disable": lambda rig: rig.ask(enable=False),
    "shutdown": lambda rig: rig.ask(shutdown=True),
    "nonsense": lambda rig: rig.spoil.update(command=change(values=[float("nan"), 0.0])),
}


@pytest.mark.parametrize("lag", [0, 8])
@pytest.mark.parametrize("stop", ["ramp", "zero"])
@pytest.mark.parametrize("cause", list(SILENT))
def test_a_stop_brakes_on_from_the_last_command_and_holds_what_it_reached(cause: str, stop: str, lag: int) -> None:
    rig = Rig("arm", stop=stop)
    rig.robot.lag = lag
    rig.arm([-1.0, -1.5])
    rig.run(3.0)
    rig.command = [1.1, 1.6]
    rig.run(0.6)
    SILENT[cause](rig)
    outs = rig.outputs[-1:] + rig.run(2.5)
    stopped = [o for o in outs if o.mode not in (Mode.ACTIVE, Mode.LIMITED)]
    course = np.array([o.values for o in outs])
    assert len(stopped) > 20 and (np.diff(course, axis=0) >= -1e-12).all(), "goes back"
    assert limits_hold(outs, rig)
    assert (course[-20:] == course[-1]).all(), "no hold"


@pytest.mark.parametrize("estop", [True, False])
def test_after_a_late_tick_a_stop_does_not_set_standing_joints_in_motion(estop: bool) -> None:
    rig = Rig("arm")
    rig.arm([1.0, 1.0])
    rig.command = [-1.0, -1.0]
    rig.run(0.3)
    assert any(abs(v) > 0.5 for v in rig.state.rate)
    rig.tick(gap=0.3)  # the drive comes to the last set-point meanwhile, and stands there
    last = rig.outputs[-1].values.copy()
    rig.requests = Requests(estop=estop)
    if not estop:
        rig.command = None
    for out in rig.run(0.2):
        assert out.mode in (Mode.STOPPED, Mode.ESTOP)
        assert (out.values == last).all()


def test_a_hold_is_not_captured_anew_in_a_stop_so_that_gravity_does_not_ratchet_a_joint_down() -> None:
    rig = Rig("arm")
    rig.arm([0.5, 0.5])
    rig.run(1.0)
    rig.spoil["heartbeat/planner"] = drop
    rig.run(1.0)
    rig.robot.loose = True
    for k in range(200):
        rig.robot.q = [0.5 - 0.002 * k, 0.5]  # it sags by 0.4 rad
        out = rig.tick()
    assert out.mode is Mode.STOPPED and out.values.tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("state", ["disabled", "estop", "arming"])
def test_an_arm_that_is_moved_by_hand_is_told_to_stay_where_it_was_put(state: str) -> None:
    rig = Rig("arm", auto_enable=state != "disabled", estop_required=True)
    if state == "arming":
        rig.spoil["image"] = drop
    rig.run(0.5)
    if state == "estop":
        rig.ask(estop=True)
    rig.robot.loose = True
    for k in range(100):
        rig.robot.q = [0.3 + 0.008 * k, 0.3]
        out = rig.tick()
    assert out.values[0] == pytest.approx(rig.robot.q[0], abs=rig.cfg.hold_tolerance_rad + 0.01)
    rig.robot.q = [-0.9, 0.31]
    out = rig.run(0.2)[-1]
    assert out.values.tolist() == [-0.9, 0.3], "moved by hand, and: within the tolerance it was not moved"
    rig.robot.loose = False
    rig.robot.q = [-0.9, 0.3]
    rig.spoil.clear()
    rig.ask(enable=True)
    rig.ask(reset=True)
    rig.command = [-0.9, 0.3]
    outs = rig.run(1.5)
    assert outs[-1].mode is Mode.ACTIVE and all(o.values.tolist() == pytest.approx([-0.9, 0.3]) for o in outs)


def test_a_joint_that_still_follows_is_not_taken_for_moved_by_hand() -> None:
    rig = moving_arm()
    rig.robot.lag = 15
    rig.run(0.3)
    rig.ask(estop=True)
    outs = rig.run(1.5)
    assert (np.diff([o.values for o in outs], axis=0) >= -1e-12).all()
    assert max(abs(a - b) for a, b in zip(rig.robot.q, outs[-1].values)) < 1e-9


def test_a_drive_that_hangs_below_its_set_point_is_not_lowered_step_by_step() -> None:
    rig = Rig("arm", auto_enable=False)
    rig.run(0.5)
    rig.robot.loose = True
    for _ in range(500):
        rig.robot.q = [rig.outputs[-1].values[0] - 0.04, 0.3]
        rig.tick()
    assert rig.outputs[-1].values.tolist() == [0.3, 0.3]


def test_joints_that_were_never_measured_are_told_nothing() -> None:
    rig = Rig("arm")
    rig.spoil["joint_states"] = drop
    assert not any(o.publish for o in rig.run(1.0))
    assert not rig.ask(estop=True).publish and not rig.ask(shutdown=True).publish
    rig = Rig("arm")
    rig.spoil["joint_states"] = lambda m: dataclasses.replace(m, stamp=m.stamp - 2.0)
    assert not any(o.publish for o in rig.run(1.0)), "old is not measured"


# ---------------------------------------------------------------- stand still, slow


def test_a_command_to_stand_still_brakes_the_arm_and_holds_it() -> None:
    rig = moving_arm()
    rig.still = True
    outs = rig.outputs[-1:] + rig.run(1.5)
    assert limits_hold(outs, rig) and outs[-1].mode is Mode.ACTIVE
    assert (outs[-1].values == outs[-20].values).all() and 0.0 < outs[-1].values[0] < 1.1


def test_a_command_to_stand_still_is_zeros_for_rates() -> None:
    for robot in ("base", "joints"):
        rig = Rig(robot)
        rig.arm([0.4, 0.4])
        rig.still = True
        assert not any(rig.run(1.5)[-1].values) and rig.outputs[-1].mode is Mode.ACTIVE


def test_the_contract_says_what_stands_still() -> None:
    assert contract_of("base").neutral().tolist() == [0.0, 0.0]
    assert contract_of("joints").neutral(np.ones(2)).tolist() == [0.0, 0.0]
    arm = contract_of("arm")
    assert arm.neutral() is None and arm.neutral(np.array([0.4, -0.2])).tolist() == [0.4, -0.2]


@pytest.mark.parametrize("name", ["surprise", "novelty"])
def test_slow_is_slower_towards_the_target_and_nowhere_else(name: str) -> None:
    rig = Rig("arm", **{name: (1.0, 2.0)})
    rig.signals = {name: 0.5}
    rig.arm([0.8, -0.5])
    rig.run(2.0)
    rig.signals = {name: 1.5}
    rig.run(0.2)
    assert rig.outputs[-1].values.tolist() == pytest.approx([0.8, -0.5]), "slow, and it stands: it stays"
    rig.command = [1.1, -0.2]
    outs = rig.outputs[-1:] + rig.run(3.0)
    course = np.array([o.values for o in outs])
    speeds = np.abs(np.diff(course, axis=0)).max(axis=0) / rig.cfg.period
    assert speeds.max() == pytest.approx(rig.cfg.slow_scale, rel=0.01) and limits_hold(outs, rig)
    assert course[-1].tolist() == pytest.approx([1.1, -0.2])
    assert {o.reason for o in outs[10:40]} == {name} and outs[20].scale == rig.cfg.slow_scale


def test_a_collision_switch_stops_joints_and_lets_none_of_them_back_off() -> None:
    arm = Rig(contract=contract_of("arm", state=TOUCH))
    arm.arm([1.1, 1.6])
    arm.command, arm.bumper = [-1.0, -1.0], True
    outs = arm.outputs[-1:] + arm.run(1.0)
    assert outs[-1].reason == "contact" and not any(arm.state.rate) and limits_hold(outs, arm)
    joints = Rig(contract=contract_of("joints", state=TOUCH))
    joints.robot.q = [-1.0, -1.0]
    joints.arm([0.5, 0.0])
    joints.bumper = True
    assert not any(joints.run(0.12)[-1].values)
    joints.command = [-0.5, 0.0]
    assert all(not any(o.values) and o.reason == "contact" for o in joints.run(1.0))


# ---------------------------------------------------------------- limits


def test_a_joint_limit_that_is_dropped_on_an_arm_moves_nothing_by_itself() -> None:
    rig = Rig("arm")
    rig.arm([1.0, 1.0])
    rig.run(2.0)
    rail = {"name": "elbow", "kind": "joint_limits", "unit": "rad", "low": [-1.0, -1.0], "high": [0.4, 1.5]}
    rig.gate = rig.gate.with_guardrails(parse_guardrails([rail]))
    outs = rig.outputs[-1:] + rig.run(1.0)
    assert all(o.values.tolist() == pytest.approx([1.0, 1.0]) for o in outs) and outs[-1].reason == "position_limit"
    rig.command = [1.1, 1.2]
    outs += rig.run(1.0)
    assert outs[-1].values.tolist() == pytest.approx([1.0, 1.2]), "further out"
    rig.command = [0.0, 1.2]
    outs += rig.run(2.0)
    assert outs[-1].values.tolist() == pytest.approx([0.0, 1.2]) and limits_hold(outs, rig)
    rig.command = [1.0, 1.2]
    outs += rig.run(2.0)
    assert outs[-1].values.tolist() == pytest.approx([0.4, 1.2]) and limits_hold(outs, rig)


def test_a_limit_that_is_dropped_before_a_moving_arm_is_met_by_braking() -> None:
    rig = moving_arm()
    at = float(rig.outputs[-1].values[0]) + 0.02
    rail = {"name": "near", "kind": "joint_limits", "unit": "rad", "low": [-1.0, -1.7], "high": [at, 1.7]}
    rig.gate = rig.gate.with_guardrails(parse_guardrails([rail]))
    outs = rig.outputs[-3:] + rig.run(2.0)
    assert limits_hold(outs, rig) and outs[-1].values[0] < at + 1.0 / (2.0 * 4.0)


def test_an_arm_meets_the_end_of_its_range_within_its_limits() -> None:
    rig = Rig("arm")
    rig.arm([0.0, 0.0])
    rig.command = [9.0, -9.0]
    outs = rig.run(4.0)
    assert outs[-1].values.tolist() == pytest.approx([1.2, -1.8]) and limits_hold(outs, rig)
    assert outs[-1].reason == "position_limit"


def test_an_arm_reaches_its_speed_and_its_target() -> None:
    rig = Rig("arm")
    rig.arm([-1.1, -1.7])
    rig.run(4.0)
    rig.command = [1.1, 1.7]
    outs = rig.run(4.0)
    fastest = np.abs(np.diff([o.values for o in outs], axis=0)).max(axis=0) / rig.cfg.period
    assert fastest.max() >= 0.95 * min(rig.cfg.velocity) and (fastest / rig.cfg.velocity).max() >= 0.95
    assert outs[-1].mode is Mode.ACTIVE and outs[-1].values.tolist() == pytest.approx([1.1, 1.7])


_targets = st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.integers(1, 60), st.booleans()), max_size=12)


@settings(max_examples=60, deadline=None)
@given(_targets, st.integers(0, 10), st.floats(0.5, 8.0), st.floats(0.5, 8.0))
def test_limits_hold_whatever_targets_come(targets, lag: int, acceleration: float, braking: float) -> None:
    limits = {**ROBOTS["arm"]["limits"], "acceleration": dict.fromkeys(("shoulder", "elbow"), acceleration),
              "braking": dict.fromkeys(("shoulder", "elbow"), braking)}  # fmt: skip
    rig = Rig(contract=contract_of("arm", limits=limits))
    rig.robot.lag = lag
    rig.arm()
    outs = rig.outputs[-2:]
    for shoulder, elbow, ticks, alive in targets:
        rig.command, rig.still = [shoulder, elbow], not alive
        outs += [rig.tick() for _ in range(ticks)]
    assert limits_hold(outs, rig)
    q = np.array([o.values for o in outs])
    assert (np.abs(q) <= np.array([1.2, 1.8]) + 1e-9).all()


# ---------------------------------------------------------------- joints by rate


@pytest.mark.parametrize("silent", [None, 0.6, 0.9, 1.2, 1.4])
@pytest.mark.parametrize("rates", [True, False])
@pytest.mark.parametrize("braking", [0.6, 4.0])
def test_joints_by_rate_brake_before_their_ends(braking: float, rates: bool, silent: float | None) -> None:
    limits = {**ROBOTS["joints"]["limits"], "braking": {"shoulder": braking, "elbow": braking}}
    contract = contract_of("joints", limits=limits, actuation_latency=0.06)
    rig = Rig(contract=contract)
    rig.robot.q = [-0.6, -1.1]
    rig.arm([0.0, 0.0])
    rig.command = [1.0, 1.5]
    start = rig.steady

    def seen(m: Any) -> Any:
        if silent is not None and silent < rig.steady - start < silent + 0.25:
            return None
        return m if rates else dataclasses.replace(m, velocity=())

    rig.spoil["joint_states"] = seen
    for _ in range(400):
        rig.tick()
        assert rig.robot.q[0] <= 1.2 + 1e-6 and rig.robot.q[1] <= 1.8 + 1e-6, rig.robot.q
    assert rig.robot.q[0] > 1.19 and rig.robot.q[1] > 1.79, "it does not get there"


def test_hold_tolerances_are_settings_with_a_unit() -> None:
    cfg = GateConfig.from_contract(contract_of("arm"), hold_tolerance_rad=0.2)
    assert cfg.hold_tolerance == (0.2, 0.2)


def test_a_stop_after_a_late_tick_starts_from_rest_because_the_drive_heard_nothing() -> None:
    rig = moving_arm()
    at = rig.tick(gap=0.4).values.tolist()
    outs = rig.run(0.2)
    assert outs[0].mode is Mode.STOPPED and "gate_late" in outs[0].reasons
    assert all(o.values.tolist() == at for o in outs)


def test_nothing_moves_on_the_tick_that_captures_a_hold() -> None:
    jumps = 0
    for when in range(20):
        rig = Rig("arm", rearm_time=0.1)
        rig.robot.loose = True
        rig.command = [1.0, 1.0]
        for k in range(40):
            if k == when:
                rig.robot.q = [0.6, 0.3]  # put elsewhere while it arms
            rig.tick()
        for before, out in itertools.pairwise(rig.outputs):
            if before.publish and abs(out.values[0] - before.values[0]) > 0.1:
                jumps += 1
                assert out.values.tolist() == [0.6, 0.3] and out.mode is Mode.ARMING
    assert jumps > 3
