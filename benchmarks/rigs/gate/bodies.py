# SPDX-License-Identifier: Apache-2.0
"""Bodies drawn by seed: any robot that a contract admits, with limits from tiny to huge, and a world of its size.

Everything is drawn as plain data and read by the contract's own reader. What reader or gate refuses is drawn anew, and
counted with its reason: a gate that refused every body would break no rule either.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

from benchmarks.rigs.gate import arm_bodies
from benchmarks.rigs.gate.arm_truth import truth_of
from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError
from jepa_ros.safety import Gate, GateConfig

TWIST = ("linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z")
KINDS = ("bases", "joints", "arms")
#: Tries until a body is admitted.
TRIES = 60
#: Shapes are no smaller [m].
SMALLEST = 1e-3
CAMERA = {"name": "image", "width": 64, "height": 64, "rate": 10.0, "size": 64}


class Machine:
    """What a contract says of a robot, as plain numbers: the judge's own reading of it, none of the gate's.

    Attributes:
        size: A. period: of the gate [s]. reaction: the base obeys within so many s. stop_time: s of a ramp at most.
        low, high: range of a command; velocity, acceleration, braking: limits, each (A,).
        ends: (low, high) of the joints, None for a base.
        x, y, z, turn: which action is linear.x, linear.y, linear.z, angular.z; None where there is none.
        joints: moved by joints. position: commanded by position. radius: of the footprint [m].
        states: {state topic: (timeout, required)}. settings: of the gate, beside the contract.
    """

    def __init__(self, contract: RobotContract, settings: dict[str, Any]) -> None:
        limits, names = contract.limits, [a.name for a in contract.axes]
        self.contract, self.settings, self.names = contract, settings, tuple(names)
        self.size, self.period = len(names), 1.0 / contract.gate_rate
        self.reaction = max(contract.actuation_latency, self.period)
        self.low, self.high = ([getattr(a, end) for a in contract.axes] for end in ("low", "high"))
        self.units = tuple(a.unit.removesuffix("/s") for a in contract.axes)
        self.velocity, self.acceleration = limits.velocity.tolist(), limits.acceleration.tolist()
        self.braking = limits.braking.tolist()
        self.ends = None
        if limits.position_low is not None and limits.position_high is not None:
            self.ends = (limits.position_low.tolist(), limits.position_high.tolist())
        self.x, self.y, self.z, self.turn = (
            names.index(n) if n in names and not contract.jointed else None
            for n in ("linear.x", "linear.y", "linear.z", "angular.z")
        )
        self.joints = contract.jointed
        self.position = contract.by_position
        self.radius = contract.footprint.radius
        self.states = {
            k: (s.timeout, s.required or (self.joints and k == "joint_states")) for k, s in contract.state.items()
        }
        #: Whether the bumper stops it and does not let it back off.
        self.stops_at_contact = self.joints or settings.get("contact_response") == "stop"
        wrench = contract.state.get("wrench")
        self.force = None if wrench is None else (wrench.slow or math.inf, wrench.stop or math.inf)
        self.dog = contract.watchdog
        self.stop_time = max(v / b for v, b in zip(self.velocity, self.braking)) + self.period

    @property
    def speed(self) -> float:
        """The largest speed in the plane [m/s]."""
        return math.hypot(*(self.velocity[k] for k in (self.x, self.y) if k is not None))

    def way(self) -> float:
        """Metres in the plane that a stop from full speed takes."""
        slow = min((self.braking[k] for k in (self.x, self.y) if k is not None), default=1.0)
        return self.speed * (self.reaction + 2.0 * self.period) + self.speed**2 / (2.0 * slow)


class Body:
    """A robot that was admitted.

    Attributes:
        machine: see there. gate: its gate. scale: metres of the world around it. refused: {why: how often} before it.
        start: posture (A,) of an arm; None: of any other body.
    """

    def __init__(
        self, machine: Machine, gate: Gate, scale: float, refused: Counter[str], start: list[float] | None = None
    ) -> None:  # fmt: skip
        self.machine, self.gate, self.scale, self.refused, self.start = machine, gate, scale, refused, start


def draw(rng: random.Random, kind: str, without: frozenset[str] = frozenset()) -> Body:
    """A body of ``kind``, whose gate lacks some rows in a mutation run.

    Raises:
        RuntimeError: none of many was admitted.
    """
    refused: Counter[str] = Counter()
    if kind == "arms":
        return _arm(rng, without)
    for _ in range(TRIES):
        data = base(rng) if kind == "bases" else joints(rng)
        settings = _settings(rng, data)
        try:
            machine = Machine(RobotContract.from_dict(data, "drawn"), settings)
            scale = machine.speed * machine.period * rng.uniform(10.0, 50.0) + machine.way() or 1.0
            data["guardrails"] = guardrails(rng, machine, scale)
            machine = Machine(RobotContract.from_dict(data, "drawn"), settings)
            gate = Gate(GateConfig.from_contract(machine.contract, **settings), without=without)
        except JepaRosError as error:
            refused[_kind_of(str(error))] += 1
            continue
        return Body(machine, gate, scale, refused)
    raise RuntimeError(f"none of {TRIES} bodies was admitted: {dict(refused)}")


def _arm(rng: random.Random, without: frozenset[str]) -> Body:
    period = _period(rng)
    data, settings = arm_bodies.arm(rng, _common(rng, period), period), arm_bodies.settings(rng)
    bare = RobotContract.from_dict(data, "drawn")
    truth = truth_of(bare)
    start = arm_bodies.start(rng, bare, truth)
    data["guardrails"] = arm_bodies.guardrails(rng, bare, truth, start)
    machine = Machine(RobotContract.from_dict(data, "drawn"), settings)
    gate = Gate(GateConfig.from_contract(machine.contract, **settings), without=without)
    return Body(machine, gate, 1.0, Counter(), start)


def _kind_of(sentence: str) -> str:
    """A refusal without its names and numbers, so that like ones are counted together."""
    words = sentence.partition(": ")[2] or sentence
    return " ".join(w for w in words.split() if not any(c.isdigit() for c in w) and "'" not in w)[:90]


# ---------------------------------------------------------------- the robot


def _magnitude(rng: random.Random) -> float:
    """A velocity limit: usual ones mostly, now and then tiny or huge."""
    if rng.random() < 0.1:
        return float(10.0 ** rng.uniform(-6.0, 5.0))
    return float(10.0 ** rng.uniform(-2.0, 0.7))


def _rates(rng: random.Random, velocity: float, period: float) -> tuple[float, float]:
    """(acceleration, braking): full speed within some ticks; brakes that are slower or faster than the drive."""
    up = velocity / (rng.uniform(1.0, 25.0) * period)
    down = rng.choice((1.0, 10.0 ** rng.uniform(-1.0, 0.7), 10.0 ** rng.uniform(-0.5, 0.5)))
    return up, up * down


def _common(rng: random.Random, period: float) -> dict[str, Any]:
    """What bases and joints have in common; times are told in ticks, so that a short history meets them."""
    dog: dict[str, Any] = {
        "command_timeout": period * rng.uniform(25.0, 40.0), "image_timeout": period * rng.uniform(15.0, 40.0),
        "heartbeat_timeout": period * rng.uniform(15.0, 40.0), "rearm_time": period * rng.choice((0, 0, 3, 8)),
        "stamp_tolerance": rng.choice((0.02, 0.1)), "max_stamp_age": period * rng.uniform(20.0, 40.0) + 0.1,
        "exit_duration": 0.5, "estop_required": rng.random() < 0.3, "estop_timeout": period * rng.uniform(15.0, 30.0),
        "bad_command_latch": rng.choice((2, 4, 10)), "resume_latch_count": rng.choice((2, 4, 10)),
        "stop_motion_timeout": period * rng.uniform(5.0, 20.0),
    }  # fmt: skip
    return {
        "contract": 1, "name": "drawn", "rate": 1.0 / (period * rng.choice((2, 5, 10))), "gate_rate": 1.0 / period,
        "actuation_latency": rng.choice((0.0, 0.06, rng.uniform(0.0, 8.0) * period)), "cameras": [CAMERA],
        "watchdog": dog, "stop": rng.choice(("ramp", "ramp", "zero")),
    }  # fmt: skip


def _period(rng: random.Random) -> float:
    return 1.0 / rng.choice((20.0, 50.0, 50.0, 50.0, 100.0, 200.0))


def base(rng: random.Random) -> dict[str, Any]:
    """A base of one to six axes, without guardrails."""
    period = _period(rng)
    style = rng.random()
    if style < 0.3:
        names: list[str] = ["linear.x", "angular.z"]
    elif style < 0.5:
        names = ["linear.x", "linear.y", "angular.z"]
    else:
        names = rng.sample(TWIST, rng.randint(1, 6))
    diff = style < 0.3 and rng.random() < 0.7
    linear, turn = _magnitude(rng), 10.0 ** rng.uniform(-1.0, 0.7)
    action, limits = [], {"velocity": {}, "acceleration": {}, "braking": {}}  # type: tuple[list[Any], dict[str, dict[str, float]]]
    for name in names:
        of_line = name.startswith("linear")
        v = linear * rng.choice((1.0, rng.uniform(0.3, 1.0))) if of_line else turn * rng.uniform(0.3, 1.0)
        a, b = _rates(rng, v, period)
        limits["velocity"][name], limits["acceleration"][name], limits["braking"][name] = v, a, b
        most, least = v * rng.choice((1.0, 1.0, rng.uniform(0.3, 1.0))), -v * rng.choice((1.0, 1.0, 0.5, 0.0))
        action.append({"name": name, "unit": "m/s" if of_line else "rad/s", "low": least, "high": most})
    state: dict[str, Any] = {"pose": {"timeout": period * rng.uniform(12.0, 30.0)}}
    if rng.random() < 0.95:
        state["odom"] = {"timeout": period * rng.uniform(8.0, 20.0)}
    if rng.random() < 0.4:
        state["scan"] = {"timeout": period * rng.uniform(12.0, 30.0)}
    if rng.random() < 0.3:
        state["contact"] = {"timeout": period * rng.uniform(12.0, 30.0), "required": rng.random() < 0.5}
    if rng.random() < 0.3:
        state["people"] = {"timeout": period * rng.uniform(12.0, 30.0), "required": rng.random() < 0.5}
    radius = 10.0 ** rng.uniform(-2.0, -0.3)
    if "scan" in state and rng.random() < 0.5:
        away = 0.8 * radius
        state["scan"] |= {"frame": "laser", "offset": [rng.uniform(-away, away), rng.uniform(-away, away) / 2.0,
                                                       rng.uniform(-3.1, 3.1)]}  # fmt: skip
    return {
        **_common(rng, period), "kinematics": (
            {"kind": "diff_drive", "wheel_radius": 0.05, "wheel_separation": 0.3} if diff else {"kind": "holonomic"}),
        "footprint": {"kind": "circle", "radius": radius}, "action": action, "limits": limits, "state": state,
        "command": {"kind": rng.choice(("twist_stamped", "twist")), "topic": "cmd_vel"},
    }  # fmt: skip


def joints(rng: random.Random) -> dict[str, Any]:
    """One to fourteen joints, by rate or by position, without guardrails."""
    period, position = _period(rng), rng.random() < 0.6
    names = [f"j{k}" for k in range(rng.choice((1, 2, 3, 6, 7, 14, rng.randint(1, 14))))]
    action: list[Any] = []
    limits: dict[str, dict[str, Any]] = {"velocity": {}, "acceleration": {}, "braking": {}, "position": {}}
    alike = _magnitude(rng)
    for name in names:
        v = alike * rng.choice((1.0, rng.uniform(0.2, 1.0)))
        a, b = _rates(rng, v, period)
        limits["velocity"][name], limits["acceleration"][name], limits["braking"][name] = v, a, b
        wide = v * period * rng.uniform(10.0, 80.0) + v * v / b
        low = rng.choice((-0.5, -0.5, rng.uniform(-2.0, 1.0))) * wide
        limits["position"][name] = [low, low + wide]
        unit = rng.choice(("rad", "m"))
        if position:  # what the planner may search is less than what the machine can do, or more
            inner, outer = rng.choice((0.0, 0.2, -0.1)), rng.choice((0.0, 0.2, -0.1))
            action.append({"name": name, "unit": unit, "low": low + inner * wide, "high": low + (1.0 - outer) * wide})
        else:
            most, least = v * rng.choice((1.0, rng.uniform(0.3, 1.0))), -v * rng.choice((1.0, 0.5, 0.0))
            action.append({"name": name, "unit": f"{unit}/s", "low": least, "high": most})
    state: dict[str, Any] = {"joint_states": {"timeout": period * rng.uniform(8.0, 20.0)}}
    if rng.random() < 0.3:
        state["contact"] = {"timeout": period * rng.uniform(12.0, 30.0), "required": rng.random() < 0.5}
    return {
        **_common(rng, period), "kinematics": {"kind": "joints"}, "footprint": {"kind": "circle", "radius": 0.1},
        "action": action, "limits": limits, "state": state,
        "command": {"kind": rng.choice(("joint_trajectory", "float64_multiarray")), "topic": "arm/command",
                    "joints": names},
    }  # fmt: skip


def _settings(rng: random.Random, data: dict[str, Any]) -> dict[str, Any]:
    """The gate's settings that a history draws."""
    found: dict[str, Any] = {"auto_enable": True}
    if rng.random() < 0.25:
        found |= {"surprise": (1.0, 2.0), "novelty": (1.0, 2.0)}
    if rng.random() < 0.1:
        found["signals_required"] = True
    if "contact" in data["state"] and rng.random() < 0.3 and data["kinematics"]["kind"] != "joints":
        found["contact_response"] = "stop"
    return found


# ---------------------------------------------------------------- the places around it


def _shape(rng: random.Random, x: float, y: float, size: float) -> dict[str, Any]:
    """A circle, box or polygon of about ``size`` m around (x, y)."""
    style = rng.random()
    if style < 0.4:
        return {"circle": {"center": [x, y], "radius": size}}
    turn = rng.uniform(-math.pi, math.pi)
    if style < 0.7:
        return {"box": {"center": [x, y], "size": [2.0 * size, size * rng.uniform(0.2, 2.0)], "yaw": turn}}
    count = rng.randint(3, 6)
    radii = [size * rng.uniform(0.5, 1.0) for _ in range(count)]
    points = [(turn + 2.0 * math.pi * k / count, r) for k, r in enumerate(radii)]
    return {"polygon": [[x + r * math.cos(a), y + r * math.sin(a)] for a, r in points]}


def _beside(rng: random.Random, machine: Machine, scale: float) -> dict[str, Any]:
    """A shape outside of the footprint of a robot at the origin."""
    size = max(scale * 10.0 ** rng.uniform(-1.3, 0.3), SMALLEST)
    away = machine.radius + 1.2 * size + 0.01 + scale * rng.uniform(0.05, 0.8)
    angle = rng.uniform(-math.pi, math.pi)
    return _shape(rng, away * math.cos(angle), away * math.sin(angle), size)


def _around(rng: random.Random, machine: Machine, scale: float) -> dict[str, Any]:
    """A box around a robot at the origin."""
    half = machine.radius + 0.01 + scale * rng.uniform(0.2, 1.0)
    off = 0.4 * (half - machine.radius - 0.01)
    center = [rng.uniform(-off, off), rng.uniform(-off, off)]
    return {"box": {"center": center, "size": [2.0 * half, 2.0 * half], "yaw": rng.choice((0.0, rng.uniform(-3, 3)))}}


def guardrails(rng: random.Random, machine: Machine, scale: float) -> list[dict[str, Any]]:
    """A set for this body: none, or some of each kind that is about such a body."""
    found: list[dict[str, Any]] = []
    if machine.joints:
        if machine.ends and rng.random() < 0.3:
            found.append(joint_limits(rng, machine, "narrow"))
        return found
    if rng.random() < 0.25:
        return found
    if rng.random() < 0.6:
        found.append({"name": "room", "kind": "keep_in", "unit": "m", **_around(rng, machine, scale)})
    if rng.random() < 0.15:
        half = machine.radius + 0.01 + scale * rng.uniform(0.3, 1.5)
        found.append({"name": "cell", "kind": "workspace", "unit": "m", "low": [-half, -half], "high": [half, half]})
    for k in range(rng.choice((0, 1, 1, 3))):
        found.append({"name": f"out{k}", "kind": "keep_out", "unit": "m", **_beside(rng, machine, scale)})
    fastest = machine.speed or 1.0
    if rng.random() < 0.25:
        slow = fastest * rng.uniform(0.05, 0.7)
        found.append({"name": "zone", "kind": "speed_zone", "unit": "m/s", "max_speed": slow,
                      **_beside(rng, machine, scale)})  # fmt: skip
    if rng.random() < 0.2:
        far, slow = scale * rng.uniform(0.05, 0.5), fastest * rng.uniform(0.05, 0.7)
        found.append({"name": "people", "kind": "near_person", "unit": "m/s", "distance": far, "max_speed": slow})
    if "scan" in machine.states and rng.random() < 0.3:
        found.append(
            {"name": "gap", "kind": "obstacle_distance", "unit": "m", "min_distance": scale * rng.uniform(0, 0.2)}
        )
    return found


def joint_limits(rng: random.Random, machine: Machine, name: str) -> dict[str, Any]:
    """A guardrail that leaves the joints a part of their range, about its middle."""
    assert machine.ends is not None
    pairs = list(zip(*machine.ends))
    low = [a + (b - a) * rng.uniform(0.0, 0.35) for a, b in pairs]
    high = [b - (b - a) * rng.uniform(0.0, 0.35) for a, b in pairs]
    return {"name": name, "kind": "joint_limits", "unit": "rad", "low": low, "high": high}
