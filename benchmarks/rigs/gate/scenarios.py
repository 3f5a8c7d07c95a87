# SPDX-License-Identifier: Apache-2.0
"""One scenario a row of the gate's table, and one of teleoperation: what goes wrong, and what has to come out.

``tests/test_gate_rows.py`` runs each as a test of its own. The mutation run takes a row's check out of the gate and
runs the row's scenario again: it has to fail, or the scenario shows nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

from benchmarks.rigs.gate.arm_scenarios import ARM_SCENARIOS
from benchmarks.rigs.gate.rig import Rig, contract_of
from jepa_ros.contract import RobotContract
from jepa_ros.safety import CommandIn, EstopIn, GateOutput, Mode, parse_guardrails

Make = Callable[..., Rig]
SCENARIOS: dict[str, Callable[[Make], None]] = dict(ARM_SCENARIOS)
DRIVE = [0.4, 0.5]


def scenario(function: Callable[[Make], None]) -> Callable[[Make], None]:
    """Register a scenario under the name of its row."""
    SCENARIOS[function.__name__] = function
    return function


def change(**fields: Any) -> Callable[[Any], Any]:
    """A spoiler that sets fields of a message."""
    return lambda message: dataclasses.replace(message, **fields)


def drop(_message: Any) -> None:
    """A spoiler that loses the message."""


def driving(rig: Rig, command: list[float] | None = None) -> Rig:
    """Arm it and check that it drives, so that a later stop means something."""
    out = rig.arm(command or list(DRIVE))
    assert out.mode is Mode.ACTIVE and any(out.values), f"it does not drive to begin with: {out.sentence}"
    return rig


def stopped(out: GateOutput, reason: str, mode: Mode = Mode.STOPPED) -> None:
    """A stop for the reason that was expected."""
    assert out.mode is mode, f"expected {mode.name}, found {out.mode.name}: {out.sentence}"
    assert out.reason == reason, f"expected reason {reason}, found {out.reason}: {out.sentence}"
    assert not any(out.values), f"stopped, but sends {out.values}"


def resumes(rig: Rig, seconds: float = 1.5) -> None:
    """It moves again by itself, once the cause is gone."""
    assert rig.run(seconds)[-1].mode in (Mode.ACTIVE, Mode.LIMITED), rig.outputs[-1].sentence


def latched(rig: Rig, reason: str) -> None:
    """ESTOP, which stays without its cause and ends with a reset."""
    for out in rig.run(1.0):
        stopped(out, reason, Mode.ESTOP)
    answer = rig.ask(reset=True).answers["reset"]
    assert answer[0], answer
    resumes(rig)


# ------------------------------------------------------------ commands


@scenario
def command_timeout(make: Make) -> None:
    rig = driving(make())
    rig.command = None
    outs = rig.run(rig.cfg.command_timeout - 0.22)
    assert all(o.mode is Mode.ACTIVE for o in outs), "stopped before the time-out"
    outs = rig.run(0.22 + rig.cfg.stop_time + 0.04)
    speeds = [abs(o.values[0]) for o in outs]
    assert all(b <= a for a, b in itertools.pairwise(speeds)), "it does not slow down steadily"
    assert any(0.0 < s < 0.4 for s in speeds), "it does not decelerate, it jumps"
    stopped(outs[-1], "command_timeout")
    rig.command = list(DRIVE)
    resumes(rig)


@scenario
def command_stamp(make: Make) -> None:
    for wrong in (-1.0, 0.5, math.nan, math.inf):  # old, in the future, none
        rig = driving(make())
        rig.spoil["command"] = lambda m, w=wrong: dataclasses.replace(m, stamp=m.stamp + w, values=[-0.4, 0.0])
        outs = rig.run(1.2)
        assert all(o.values[0] >= 0.0 for o in outs), f"followed a command with a stamp off by {wrong} s"
        stopped(outs[-1], "command_stamp")
        assert outs[-1].counts["planner_command_stamp"] >= 4
    rig = driving(make())
    old: CommandIn = rig.newest["command"]
    rig.run(0.3)
    rig.spoil["command"] = lambda m: dataclasses.replace(old, seq=m.seq, received=m.received, values=[-0.4, 0.0])
    assert all(o.values[0] >= 0.0 for o in rig.run(0.25)), "followed an old command that was sent again"


@scenario
def command_not_finite(make: Make) -> None:
    for bad in (math.nan, math.inf, -math.inf):
        rig = driving(make())
        rig.spoil["command"] = change(values=[0.1, bad])
        outs = rig.run(0.2)
        first = next((k for k, o in enumerate(outs) if o.reason == "command_not_finite"), None)
        assert first is not None, outs[-1].sentence
        stopped(outs[first], "command_not_finite")
        assert outs[-1].level == 2
        rig.spoil.clear()
        resumes(rig, 0.6)


@scenario
def command_shape(make: Make) -> None:
    wrong: list[dict[str, Any]] = [
        {"values": [0.1]}, {"values": [0.1, 0.2, 0.3]}, {"values": []}, {"values": None}, {"values": ["a", 0.0]},
        {"values": [None, 0.0]}, {"values": [True, False]}, {"frame_id": "map"},
    ]  # fmt: skip
    for fields in wrong:
        rig = driving(make())
        rig.spoil["command"] = change(**fields)
        outs = rig.run(0.22)
        stopped(outs[-1], "command_shape")
        assert outs[-1].level == 2
    rig = make("arm")
    rig.arm()
    rig.spoil["command"] = change(names=("elbow", "shoulder"), values=[1.0, 1.0])
    out = rig.run(0.22)[-1]
    assert out.mode is Mode.STOPPED and out.reason == "command_shape", out.sentence


@scenario
def bad_commands(make: Make) -> None:
    rig = driving(make())
    rig.spoil["command"] = change(values=[math.nan, 0.0])
    rig.run(0.2 * rig.cfg.bad_command_latch + 0.1)
    rig.spoil.clear()
    latched(rig, "bad_commands")


# ------------------------------------------------------------ limits


@scenario
def velocity_limit(make: Make) -> None:
    rig = make()
    out = rig.arm([1.0, 0.8])
    assert out.mode is Mode.LIMITED and out.reason == "velocity_limit", out.sentence
    assert abs(out.values[0] - 0.5) < 1e-9 and abs(out.values[1] - 0.4) < 1e-9, "not scaled by one ratio"
    assert abs(out.scale - 0.5) < 1e-6
    out = make().arm([-1e300, 1e300])
    assert out.mode is Mode.LIMITED and max(abs(out.values[0]) / 0.5, abs(out.values[1]) / 2.0) <= 1.0 + 1e-9


@scenario
def acceleration_limit(make: Make) -> None:
    rig = make()
    rig.arm([0.0, 0.0])
    rig.command = [0.5, 0.5]
    outs = rig.run(1.0)
    steps = [b.values - a.values for a, b in itertools.pairwise(outs)]
    for step in steps:
        assert abs(step[0]) <= 1.5 * 0.02 + 1e-9 and abs(step[1]) <= 8.0 * 0.02 + 1e-9, f"jumped by {step}"
    middle = next((o for o in outs if 0.1 < o.values[0] < 0.4), outs[-1])
    assert middle.mode is Mode.LIMITED and middle.reason == "acceleration_limit"
    assert abs(middle.values[0] - middle.values[1]) < 1e-9, "not scaled by one ratio"
    assert outs[-1].mode is Mode.ACTIVE


@scenario
def position_limit(make: Make) -> None:
    rig = make("joints")
    rig.arm([1.0, 0.0])
    outs = rig.run(3.0)
    assert rig.robot.q[0] <= 1.2 + 1e-3, f"went to {rig.robot.q[0]}"
    assert outs[-1].reason == "position_limit" and abs(outs[-1].values[0]) < 0.02, outs[-1].sentence
    rig.robot.q[0] = 1.25
    rig.run(0.3)
    rig.command = [-0.5, 0.2]
    assert rig.run(0.5)[-1].values[0] < -0.4, "inward motion is not allowed"
    arm = make("arm")
    arm.arm([1.5, 0.0])
    out = arm.run(3.0)[-1]
    assert abs(out.values[0] - 1.2) < 1e-6 and out.reason == "position_limit"


# ------------------------------------------------------------ inputs


@scenario
def image_stale(make: Make) -> None:
    def same(m: Any, first: list[float] = []) -> Any:  # noqa: B006  (remembers the first stamp)
        first.append(m.stamp)
        return dataclasses.replace(m, stamp=first[0])

    for spoiler in (drop, same, change(stamp=math.nan), lambda m: dataclasses.replace(m, stamp=m.stamp + 1.0)):
        rig = driving(make())
        rig.spoil["image"] = spoiler
        assert rig.run(0.3)[-1].mode is Mode.ACTIVE
        stopped(rig.run(0.35 + rig.cfg.stop_time)[-1], "image_stale")
        rig.spoil.clear()
        outs = rig.run(0.25)
        assert all(o.mode in (Mode.STOPPED, Mode.ARMING) for o in outs), "moved again without arming"
        resumes(rig)
    rig = make()
    rig.spoil["image"] = drop
    stopped(rig.arm(list(DRIVE)), "image_stale", Mode.ARMING)


@scenario
def image_frozen(make: Make) -> None:
    for pattern in ((7,), (7, 8, 9)):
        rig = driving(make())
        counter = iter(range(10_000))
        rig.spoil["image"] = lambda m, c=counter, p=pattern: dataclasses.replace(m, checksum=p[next(c) % len(p)])
        rig.run(1.0 + rig.cfg.stop_time)
        stopped(rig.outputs[-1], "image_frozen")
        stopped(rig.run(1.0)[-1], "image_frozen")  # standing still does not thaw it
        rig.spoil.clear()
        resumes(rig)
    rig = make()
    rig.arm([0.0, 0.0])
    rig.spoil["image"] = change(checksum=7)  # a robot that stands may see the same picture
    assert all(o.mode is Mode.ACTIVE for o in rig.run(2.0))


@scenario
def state_stale(make: Make) -> None:
    for spoiler in (drop, lambda m: dataclasses.replace(m, stamp=m.stamp - 1.0),
                    lambda m: dataclasses.replace(m, stamp=m.stamp + 1.0)):  # fmt: skip
        rig = driving(make())
        rig.spoil["odom"] = spoiler
        outs = rig.run(0.4)
        stopped(outs[-1], "state_stale")
        first = next((k for k, o in enumerate(outs) if o.mode is Mode.STOPPED), None)
        assert first is not None, outs[-1].sentence
        assert not any(outs[first].values), "a base without odometry stops at once"
        rig.spoil.clear()
        resumes(rig)
    rig = make("arm")
    rig.arm([0.6, -0.4])
    rig.command = [1.0, 1.0]
    rig.run(0.1)
    rig.spoil["joint_states"] = drop
    rig.run(1.0)
    held = rig.outputs[-1].values.copy()
    assert rig.outputs[-1].reason == "state_stale"
    assert all((o.values == held).all() for o in rig.run(1.0)), "an arm holds one position"
    assert any(held), "an arm never goes to zero for a stop"


@scenario
def state_not_finite(make: Make) -> None:
    wrong: list[dict[str, Any]] = [
        {"v": (math.nan, 0.0)}, {"v": (0.0,)}, {"x": math.inf}, {"yaw": math.nan}, {"v": None}, {"frame_id": "map"},
        {"v": (1e12, 0.0)},
    ]  # fmt: skip
    for fields in wrong:
        rig = driving(make())
        rig.spoil["odom"] = change(**fields)
        out = rig.run(0.06)[-1]
        stopped(out, "state_not_finite")
        rig.spoil.clear()
        resumes(rig)
    rig = make("joints")
    rig.arm([0.2, 0.2])
    rig.spoil["joint_states"] = change(position=(math.nan, 0.0))
    stopped(rig.run(0.06)[-1], "state_not_finite")


@scenario
def heartbeat(make: Make) -> None:
    for name in ("perception", "planner"):
        rig = driving(make())
        rig.spoil[f"heartbeat/{name}"] = drop
        stopped(rig.run(0.6 + rig.cfg.stop_time)[-1], "heartbeat")
        rig.spoil.clear()
        outs = rig.run(0.25)
        assert all(o.mode in (Mode.STOPPED, Mode.ARMING) for o in outs), "moved again without arming"
        resumes(rig)


@scenario
def signals_lost(make: Make) -> None:
    rig = driving(make(signals_required=True))
    rig.spoil["signals"] = drop
    stopped(rig.run(rig.cfg.signals_timeout + 0.2 + rig.cfg.stop_time)[-1], "signals_lost")
    rig.spoil.clear()
    resumes(rig)


@scenario
def identity(make: Make) -> None:
    rig = make()
    rig.identities = {"model/perception": "abc"}  # the planner's signals say "model"
    stopped(rig.arm(list(DRIVE)), "identity", Mode.ARMING)
    rig.identities = {}
    resumes(rig)
    rig = make()
    rig.spoil["signals"] = change(guardrail_hash="another")
    stopped(rig.arm(list(DRIVE)), "identity", Mode.ARMING)
    rig = driving(make())
    rig.spoil["signals"] = change(guardrail_hash="another")
    assert rig.run(0.5)[-1].mode is Mode.ACTIVE, "a change of guardrails needs a moment to reach all"
    stopped(rig.run(1.0 + rig.cfg.stop_time)[-1], "identity")
    rig = make(identities_required=("model/perception",))
    stopped(rig.arm(list(DRIVE)), "identity", Mode.ARMING)


@scenario
def clock(make: Make) -> None:
    rig = driving(make())
    rig.ros_rate = 0.0  # paused
    stopped(rig.run(rig.cfg.clock_timeout + 0.1)[-1], "clock")
    rig.ros_rate = 1.0
    assert all(o.mode in (Mode.STOPPED, Mode.ARMING) for o in rig.run(0.25)), "moved again without arming"
    resumes(rig)
    for jump in (-3.0, 50.0):
        rig = driving(make())
        rig.ros += jump
        stopped(rig.tick(), "clock")
        assert all(o.mode is not Mode.ACTIVE for o in rig.run(0.25)), "moved again without arming"
        resumes(rig)
    rig = driving(make())
    rig.ros, good = math.nan, rig.ros
    stopped(rig.tick(), "clock")
    rig.ros = good + 0.1
    resumes(rig)


@scenario
def gate_late(make: Make) -> None:
    rig = driving(make())
    rig.tick(gap=1.0)  # the process was held up
    rig.spoil["command"] = lambda m: dataclasses.replace(m, values=list(DRIVE))
    for out in rig.run(0.25):
        assert out.mode in (Mode.STOPPED, Mode.ARMING) and not any(out.values), "moved on after a gap"
    assert "gate_late" in rig.outputs[-12].reasons, rig.outputs[-12].sentence
    resumes(rig)


@scenario
def pose_lost(make: Make) -> None:
    nan = math.nan
    spoilers = [
        drop, change(frame_id="odom"), change(frame_id=""), change(x=nan),
        change(cov=((nan, 0, 0), (0, 1, 0), (0, 0, 1))),
        change(cov=((-1.0, 0, 0), (0, 1, 0), (0, 0, 1))), change(cov=None), change(cov=((1, 0), (0, 1))),
        lambda m: dataclasses.replace(m, stamp=m.stamp - 2.0), lambda m: dataclasses.replace(m, stamp=m.stamp + 2.0),
    ]  # fmt: skip
    for spoiler in spoilers:
        rig = driving(make())
        rig.spoil["pose"] = spoiler
        stopped(rig.run(0.7)[-1], "pose_lost")
        rig.spoil.clear()
        resumes(rig)


@scenario
def scan_lost(make: Make) -> None:
    nan = [math.nan] * 72
    spoilers = [
        drop, change(frame_id="map"), change(ranges=nan), change(ranges=[1.0] * 71 + [math.nan]), change(ranges=[]),
        change(ranges=None), change(ranges=[[1.0]]), change(angle_increment=math.nan), change(angle_increment=0.0),
        change(range_min=5.0, range_max=1.0), change(range_max=math.nan), change(ranges=[1.0] * 5000),
        lambda m: dataclasses.replace(m, stamp=m.stamp - 2.0),
    ]  # fmt: skip
    for spoiler in spoilers:
        rig = driving(make())
        rig.spoil["scan"] = spoiler
        stopped(rig.run(0.7)[-1], "scan_lost")
        rig.spoil.clear()
        resumes(rig)
    rig = driving(make())
    rig.spoil["scan"] = change(ranges=[math.inf] * 72)
    assert all(o.mode is Mode.ACTIVE for o in rig.run(0.5)), "+inf is a valid reading (REP-117)"


@scenario
def input_error(make: Make) -> None:
    rig = driving(make())
    rig.errors = ("incompatible QoS on odom",)
    stopped(rig.tick(), "input_error")
    rig.errors = ()
    resumes(rig)


@scenario
def second_publisher(make: Make) -> None:
    rig = driving(make())
    rig.publishers = 2
    stopped(rig.tick(), "second_publisher")
    assert rig.outputs[-1].level == 2
    rig.publishers = 1
    resumes(rig)
    rig = make()
    rig.publishers = 2
    stopped(rig.arm(list(DRIVE)), "second_publisher", Mode.ARMING)


# ------------------------------------------------------------ stops


@scenario
def teleoperation(make: Make) -> None:
    rig = driving(make(), [0.4, 0.0])
    rig.teleop = [-5.0, 0.0]
    rig.run(1.0)
    out = rig.outputs[-1]
    assert out.source == "teleop" and out.values[0] == -0.5, f"not the operator's command within the limits: {out}"
    rig.spoil["estop"] = change(value=True)
    rig.run(0.12)
    stopped(rig.outputs[-1], "estop", Mode.ESTOP)


@scenario
def estop(make: Make) -> None:
    rig = driving(make())
    rig.spoil["estop"] = change(value=True)
    rig.run(0.12)
    stopped(rig.outputs[-1], "estop", Mode.ESTOP)
    refused = rig.ask(reset=True)
    assert not refused.answers["reset"][0] and refused.mode is Mode.ESTOP, "reset while it is pressed"
    rig.spoil.clear()
    rig.run(0.12)
    latched(rig, "estop")
    rig.spoil["estop"] = drop  # its publisher dies
    rig.run(rig.cfg.estop_timeout + 0.2)
    stopped(rig.outputs[-1], "estop", Mode.ESTOP)
    rig = driving(make())
    stopped(rig.ask(estop=True, reset=True, enable=True), "estop", Mode.ESTOP)
    latched(rig, "estop")
    rig = driving(make())
    rig.spoil["estop"] = lambda m: EstopIn(m.received, None)  # type: ignore[arg-type]
    rig.run(0.12)
    stopped(rig.outputs[-1], "estop", Mode.ESTOP)


@scenario
def estop_missing(make: Make) -> None:
    rig = make()
    rig.spoil["estop"] = drop
    stopped(rig.arm(list(DRIVE)), "estop_missing", Mode.ARMING)
    rig.spoil.clear()
    resumes(rig)


@scenario
def command_not_obeyed(make: Make) -> None:
    for robot, command in (("base", list(DRIVE)), ("joints", [0.5, 0.5])):
        rig = driving(make(robot), command)
        rig.robot.q[:] = [-0.5] * rig.cfg.size
        rig.command = [0.5 * v for v in command]
        assert all(o.mode in (Mode.ACTIVE, Mode.LIMITED) for o in rig.run(1.0)), "a change of the command is no fault"
        rig.robot.jammed = True
        outs = rig.run(0.7)
        first = next((k for k, o in enumerate(outs) if o.reason == "command_not_obeyed"), None)
        assert first is not None, f"drives on with something jammed: {outs[-1].sentence}"
        stopped(outs[first], "command_not_obeyed")
        assert outs[first].level == 2
        rig.robot.jammed = False
        resumes(rig)
    rig.robot.jammed = True
    rig.robot.q[:] = [-0.5] * rig.cfg.size
    rig.run(8.0)
    stopped(rig.outputs[-1], "resume_chatter", Mode.ESTOP)


@scenario
def stop_not_obeyed(make: Make) -> None:
    rig = driving(make())
    rig.robot.broken = True
    rig.command = None
    rig.run(rig.cfg.command_timeout + rig.cfg.stop_time * 2 + rig.cfg.stop_motion_timeout + 0.3)
    stopped(rig.outputs[-1], "stop_not_obeyed", Mode.ESTOP)
    assert rig.outputs[-1].hardware_estop
    assert not rig.ask(reset=True).answers["reset"][0], "reset while it still moves"
    rig.robot.broken = False
    rig.robot.v = [0.0, 0.0]
    rig.run(0.2)
    rig.command = list(DRIVE)
    latched(rig, "stop_not_obeyed")
    assert not rig.outputs[-1].hardware_estop


@scenario
def resume_chatter(make: Make) -> None:
    rig = driving(make())
    for _ in range(rig.cfg.resume_latch_count + 1):
        rig.command = None
        rig.run(1.1)
        rig.command = list(DRIVE)
        rig.run(1.0)
    latched(rig, "resume_chatter")


@scenario
def exit(make: Make) -> None:
    rig = driving(make())
    out = rig.ask(shutdown=True)
    stopped(out, "exit")
    assert not out.exit_complete
    outs = rig.run(rig.cfg.exit_duration + 0.1)
    for out in outs:
        stopped(out, "exit")
    assert outs[-1].exit_complete and not outs[10].exit_complete


@scenario
def internal_fault(make: Make) -> None:
    class Bomb:
        def __len__(self) -> int:
            raise RuntimeError("boom")

    rig = driving(make())
    rig.spoil["command"] = change(values=Bomb())
    out = rig.run(0.22)[-1]
    stopped(out, "internal_fault", Mode.ESTOP)
    assert out.hardware_estop and out.level == 2 and "boom" in out.sentence
    rig.spoil.clear()
    rig.run(0.22)
    latched(rig, "internal_fault")
    out = rig.gate.step(rig.state, None, rig.steady, rig.ros)[1]  # type: ignore[arg-type]
    stopped(out, "internal_fault", Mode.ESTOP)
    out = rig.gate.step(None, rig.inputs(), rig.steady, rig.ros)[1]  # type: ignore[arg-type]
    stopped(out, "internal_fault", Mode.ESTOP)
    out = rig.gate.step(rig.state, rig.inputs(), rig.steady - 5.0, rig.ros)[1]  # the steady clock runs backwards
    stopped(out, "internal_fault", Mode.ESTOP)


# ------------------------------------------------------------ the planner's signals


@scenario
def guardrail_cost(make: Make) -> None:
    for bad in (0.01, math.nan, math.inf):
        rig = driving(make())
        rig.signals = {"guardrail/table": bad}
        stopped(rig.run(0.12 + rig.cfg.stop_time)[-1], "guardrail_cost")
        rig.signals = {"guardrail/table": -0.1}
        resumes(rig)
    rails = parse_guardrails([{"name": "touch", "kind": "contact_probability", "unit": "1", "max": 0.2, "slow": 0.1}])
    rig = make(guardrails=rails)
    rig.signals = {"guardrail/touch": -0.15}
    driving(rig)
    rig.signals = {"guardrail/touch": -0.05}  # a probability of 0.15
    out = rig.run(0.8)[-1]
    assert out.mode is Mode.LIMITED and out.reason == "guardrail_cost" and 0.0 < out.values[0] < 0.2, out.sentence
    rig.signals = {}
    stopped(rig.run(0.12 + rig.cfg.stop_time)[-1], "guardrail_cost")


def _levels(make: Make, name: str) -> None:
    rig = make(**{name: (1.0, 2.0)})
    rig.signals = {name: 0.5}
    driving(rig)
    rig.signals = {name: 1.5}
    out = rig.run(0.8)[-1]
    assert out.mode is Mode.LIMITED and out.reason == name and 0.0 < out.values[0] < 0.2, out.sentence
    for bad in (2.5, math.nan, math.inf, "high"):
        rig.signals = {name: bad}  # type: ignore[dict-item]
        stopped(rig.run(0.12 + rig.cfg.stop_time)[-1], name)
    rig.signals = {}
    stopped(rig.run(0.3)[-1], name)
    rig.signals = {name: 0.5}
    resumes(rig)


@scenario
def surprise(make: Make) -> None:
    _levels(make, "surprise")


@scenario
def novelty(make: Make) -> None:
    _levels(make, "novelty")


# ------------------------------------------------------------ where the robot is


def wall(x: float, kind: str = "keep_out", **keys: Any) -> Any:
    """A forbidden half plane from ``x`` on (or, as keep_in, an allowed one up to it)."""
    low, high = (x, x + 5.0) if kind == "keep_out" else (x - 20.0, x)
    points = [[low, -20.0], [high, -20.0], [high, 20.0], [low, 20.0]]
    return parse_guardrails([{"name": "wall", "kind": kind, "unit": "m", "polygon": points, **keys}])


@scenario
def region(make: Make) -> None:
    for kind in ("keep_out", "keep_in"):
        for noise in (0.0, 0.01):
            rig = make(guardrails=wall(1.5, kind), pose_noise=noise, seed=3)
            driving(rig, [0.5, 0.0])
            outs = rig.run(8.0)
            front = rig.robot.x + rig.cfg.footprint_radius
            assert front <= 1.5, f"{kind}: drove {front - 1.5:.3f} m over the edge"
            assert front > 1.5 - 0.05 - 8.0 * noise, f"{kind}: stopped {1.5 - front:.3f} m before the edge"
            assert any(o.mode is Mode.LIMITED and o.reason == "region" for o in outs), "it did not slow down before"
            assert rig.robot.v[0] < 0.05
            changes = sum(a.mode is not b.mode for a, b in zip(outs[-200:], outs[-199:]))
            assert changes < 20, f"chatters at the edge: {changes} changes of mode in 4 s"
            rig.command = [-0.3, 0.0]
            rig.run(2.0)
            assert rig.robot.x < 1.2, "it cannot drive away from the edge"


@scenario
def inside_region(make: Make) -> None:
    rig = make(guardrails=wall(-0.3))  # it stands inside, 0.3 m behind the edge (the way out is -x)
    rig.arm([0.4, 0.0])
    stopped(rig.run(0.5)[-1], "inside_region")
    assert abs(rig.robot.x) < 0.01, "drove deeper"
    rig.command = [-0.4, 0.0]
    outs = rig.run(2.0)
    assert outs[-1].mode is Mode.LIMITED and outs[-1].reason == "inside_region", outs[-1].sentence
    assert max(abs(o.values[0]) for o in outs) <= 0.25 * 0.5 + 1e-9, "leaves too fast"
    rig.run(4.0)
    assert rig.robot.x < -0.4, "did not get out"
    assert rig.run(0.5)[-1].mode is Mode.ACTIVE


@scenario
def speed_zone(make: Make) -> None:
    zone = parse_guardrails([{"name": "door", "kind": "speed_zone", "unit": "m/s", "max_speed": 0.15,
                              "polygon": [[1.5, -5.0], [5.0, -5.0], [5.0, 5.0], [1.5, 5.0]]}])  # fmt: skip
    rig = driving(make(guardrails=zone), [0.5, 0.0])
    for _ in range(300):
        out = rig.tick()
        if rig.robot.x + rig.cfg.footprint_radius >= 1.5:
            assert rig.robot.v[0] <= 0.15 + 1e-3, f"{rig.robot.v[0]:.3f} m/s in the zone"
    assert rig.robot.x > 1.8 and out.mode is Mode.LIMITED and out.reason == "speed_zone", out.sentence
    assert abs(out.values[0] - 0.15) < 1e-6


@scenario
def person(make: Make) -> None:
    from jepa_ros.safety import PeopleIn

    rails = parse_guardrails(
        [{"name": "people", "kind": "near_person", "unit": "m/s", "max_speed": 0.1, "distance": 0.5}]
    )
    rig = make(guardrails=rails)
    out = rig.arm([0.4, 0.0])  # nobody says where people are
    assert out.reason == "person" and abs(out.values[0] - 0.1) < 1e-6, out.sentence

    def seen(distance: float) -> None:
        rig.newest["people"] = PeopleIn(rig.ros, rig.steady, [(rig.robot.x + distance, rig.robot.y)], "map")

    for _ in range(60):
        seen(3.0)
        out = rig.tick()
    assert out.mode is Mode.ACTIVE, out.sentence
    for _ in range(30):
        seen(0.4)
        out = rig.tick()
    assert out.reason == "person" and abs(out.values[0] - 0.1) < 1e-6, out.sentence


@scenario
def obstacle(make: Make) -> None:
    rig = make()
    rig.obstacles = [(1.5, 0.0)]
    driving(rig, [0.5, 0.0])
    outs = rig.run(8.0)
    front = rig.robot.x + rig.cfg.footprint_radius
    assert front < 1.48, "touched it"
    assert front > 1.38, f"stopped {1.48 - front:.3f} m before it"
    assert any(o.mode is Mode.LIMITED and o.reason == "obstacle" for o in outs)
    stopped(outs[-1], "obstacle")
    rig.command = [-0.3, 0.0]
    rig.run(1.5)
    assert rig.robot.x < 1.2, "it cannot back away"


@scenario
def contact(make: Make) -> None:
    rig = driving(make(contact_response="back_off"), [0.4, 0.0])
    rig.bumper = True
    rig.run(0.12)
    stopped(rig.outputs[-1], "contact")
    rig.command = [-0.4, 0.0]
    out = rig.run(0.6)[-1]
    assert out.reason == "contact" and -0.126 < out.values[0] < -0.1, "backs off, slowly"
    rig.bumper = False
    resumes(rig)
    rig = driving(make(contact_response="stop"), [0.4, 0.0])
    rig.bumper = True
    rig.command = [-0.4, 0.0]
    stopped(rig.run(0.4)[-1], "contact")


@scenario
def force(make: Make) -> None:
    data = contract_of("arm").to_dict()
    data["state"]["wrench"] = {"timeout": 0.3, "slow": 10.0, "stop": 30.0}
    contract = RobotContract.from_dict(data)

    def pressing(newtons: float) -> Rig:
        rig = make(contract=contract)
        rig.arm([0.9, 0.3])
        rig.force = (0.0, 0.0, -newtons)
        rig.command = [-0.9, 0.3]
        rig.run(0.6)
        return rig

    rig = pressing(5.0)
    assert rig.state.rate[0] == -1.0, "a light touch slows it down"
    rig = pressing(15.0)
    assert rig.outputs[-1].mode is Mode.LIMITED and rig.outputs[-1].reason == "force", rig.outputs[-1].sentence
    assert rig.state.rate[0] == -rig.cfg.slow_scale, "not the share of the speed that is left when slow"
    rig = pressing(40.0)
    out = rig.run(0.3)[-1]
    assert out.mode is Mode.STOPPED and out.reason == "force" and not any(rig.state.rate), out.sentence
    rig.force = (math.nan, 0.0, 0.0)
    assert rig.run(0.1)[-1].reason == "state_not_finite"
