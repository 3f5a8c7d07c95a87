# SPDX-License-Identifier: Apache-2.0
"""Not by refusing to move: how near a gated body comes to its limits, and how long it takes past regions and obstacles.

The measure is an oracle that stands where the gate stands: it knows the plant and the shapes exactly, looks ahead with
a copy of the plant, and lets through the largest part of the command after which the plant, braking exactly at the
limit, still stays clear. Gate and oracle are given the same commands by the same driver.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.rigs.gate import bodies
from benchmarks.rigs.gate.bodies import Machine
from benchmarks.rigs.gate.named import BODIES, DRIVING, size_of
from benchmarks.rigs.gate.plant import Plant
from benchmarks.rigs.gate.senses import Senses
from jepa_ros.contract import RobotContract
from jepa_ros.safety import Gate, GateConfig, Requests

Point = tuple[float, float]
#: A target counts as reached within this part of the body's radius.
REACHED = 0.25
#: Share of the limits to be reached in free space, and of the oracle's time that may be taken.
SHARE, FACTOR = 0.95, 1.2
#: Of random bodies so many of each kind are let loose in free space.
DRAWN = 40
#: Parts of a command that the oracle tries.
PARTS = tuple(k / 16.0 for k in range(16, -1, -1))
#: A task that takes longer than this many times the way at full speed has failed.
PATIENCE = 12.0


class Run:
    """A plant under a filter of commands: the gate, or what stands in its place.

    Args:
        machine: the body. filtered: (commands asked for, run) -> what leaves. posts: of the scan (x, y, radius).
    """

    def __init__(self, machine: Machine, gate: Gate | None, posts: tuple[tuple[float, float, float], ...] = (),
                 q: list[float] | None = None) -> None:  # fmt: skip
        self.machine, self.gate = machine, gate
        self.plant = Plant(machine, delay=machine.reaction, q=q)
        self.senses = Senses(random.Random(0), machine, 4.0 * machine.radius + 4.0 * machine.way(), 0.0)
        self.senses.world.posts = list(posts)
        self.senses.world.people = []
        self.state = None if gate is None else gate.initial_state()
        self.steady, self.k = 100.0, 0
        self.reason = ""
        self.last: list[float] = []  # what left at the tick before

    def tick(self, asked: list[float], oracle: Callable[[list[float], Plant], list[float]] | None = None) -> None:
        """One tick under a command."""
        m = self.machine
        if self.gate is None:
            values = asked if oracle is None else oracle(asked, self.plant)
            if not m.position:  # the drive's ramps, as the gate keeps them
                values = self._ramped(values)
        else:
            self.senses.command = asked
            self.senses.gather(self.k, self.plant, self.steady, 5000.0 + self.steady)
            assert self.state is not None
            inputs = self.senses.inputs(Requests())
            self.state, out = self.gate.step(self.state, inputs, self.steady, 5000.0 + self.steady)
            values, self.reason = out.values.tolist(), f"{out.mode.name} {out.reason}"
            if not out.publish:
                values = []
        if values:
            self.plant.command(values)
        self.plant.advance(m.period)
        self.steady += m.period
        self.k += 1
        self.last = values

    def _ramped(self, values: list[float]) -> list[float]:
        m, before = self.machine, self.last or [0.0] * self.machine.size
        most = [max(m.acceleration[k], m.braking[k] if abs(u) < abs(b) else 0.0) * m.period
                for k, (u, b) in enumerate(zip(values, before))]  # fmt: skip
        return [b + max(-n, min(n, u - b)) for u, b, n in zip(values, before, most)]


def gate_of(contract: RobotContract) -> Gate:
    """The gate of a contract, armed by itself."""
    return Gate(GateConfig.from_contract(contract, auto_enable=True))


# ---------------------------------------------------------------- free space


def free_space(machine: Machine, gate: Gate) -> tuple[float, str]:
    """(the least share of an axis' limit that it came to, which axis): each axis by itself, to either end."""
    worst, which = math.inf, ""
    for k in range(machine.size):
        for sign in (1.0, -1.0):
            start = _start(machine, k, sign)
            limit = _attainable(machine, k, sign, start)
            if limit <= 0.0:
                continue
            ways = list(start) if start is not None and machine.position else [0.0] * machine.size
            ways[k] = machine.high[k] if sign > 0.0 else machine.low[k]
            run, best = Run(machine, gate, q=start), 0.0
            up = machine.velocity[k] / machine.acceleration[k]
            seconds = machine.dog.rearm_time + machine.reaction + 1.5 * up + 20.0 * machine.period
            for _ in range(min(3000, math.ceil(seconds / machine.period))):
                run.tick(ways)
                best = max(best, sign * run.plant.v[k])
                if best >= SHARE * limit:
                    break
            if best / limit < worst:
                worst, which = best / limit, f"{machine.names[k]} {'+' if sign > 0.0 else '-'} ({run.reason})"
    return worst, which


def _start(m: Machine, k: int, sign: float) -> list[float] | None:
    """Where the joints stand at first: in the middle, but the one that is to move at its other end."""
    if m.ends is None:
        return None
    low, high = m.ends
    if m.position:
        low, high = ([max(a, b) for a, b in zip(m.low, low)], [min(a, b) for a, b in zip(m.high, high)])
    q = [0.5 * (a + b) for a, b in zip(low, high)]
    q[k] = low[k] if sign > 0.0 else high[k]
    return q


def _attainable(m: Machine, k: int, sign: float, q: list[float] | None) -> float:
    """The speed that an axis can come to by its contract; 0 where its range is too short to say anything of it."""
    if m.position:
        limit = m.velocity[k]
    else:
        limit = min(m.high[k] if sign > 0.0 else -m.low[k], m.velocity[k])
    if m.ends is None or q is None:
        return limit
    low, high = m.ends[0][k], m.ends[1][k]
    if m.position:
        low, high = max(low, m.low[k]), min(high, m.high[k])
    room = (high - q[k] if sign > 0.0 else q[k] - low) - limit * (2.0 * m.reaction + 4.0 * m.period)
    a, b = m.acceleration[k], m.braking[k]
    return limit if math.sqrt(max(0.0, 2.0 * room * a * b / (a + b))) > 1.3 * limit else 0.0


# ---------------------------------------------------------------- tasks


@dataclass(frozen=True)
class Task:
    """Way points for a body of 0.25 m, from a start, past regions (guardrails as data) or posts that the scan shows."""

    name: str
    start: tuple[float, float, float]
    points: tuple[Point, ...]
    rails: tuple[dict[str, Any], ...] = ()
    posts: tuple[tuple[float, float, float], ...] = ()


def _box(name: str, x: float, y: float, sx: float, sy: float, kind: str = "keep_out") -> dict[str, Any]:
    return {"name": name, "kind": kind, "unit": "m", "box": {"center": [x, y], "size": [sx, sy]}}


def tasks(room: float) -> tuple[Task, ...]:
    """``room``: between the body and what it passes, on either side, in a world in which the body measures 0.25 m."""
    edge = 0.25 + room
    return (
        Task("gap between two regions", (-1.5, 0.0, 0.0), ((1.5, 0.0),),
             (_box("left", 0.0, edge + 0.4, 0.8, 0.8), _box("right", 0.0, -edge - 0.4, 0.8, 0.8))),
        Task("along a region", (-1.5, 0.0, 0.0), ((1.5, 0.0),), (_box("wall", 0.0, edge + 0.5, 2.4, 1.0),)),
        Task("up to a region", (-1.5, 0.0, 0.0), ((1.0 - edge, 0.0),), (_box("wall", 1.5, 0.0, 1.0, 4.0),)),
        Task("round a corner", (-1.5, -0.2, 0.0), ((0.8 + edge, -0.2), (0.8 + edge, 1.6)),
             (_box("table", 0.0, edge - 0.2 + 0.8, 1.6, 1.6),)),
        Task("inside a room", (-1.2, -1.2, 0.0), ((1.4, -1.2), (1.4, 1.4), (-1.4, 1.4)),
             (_box("room", 0.0, 0.0, 2.8 + 2.0 * edge, 2.8 + 2.0 * edge, "keep_in"),)),
        Task("gap between two posts", (-1.5, 0.0, 0.0), ((1.5, 0.0),), (),
             ((0.0, edge + 0.3, 0.3), (0.0, -edge - 0.3, 0.3))),
        Task("past posts", (-1.5, 0.0, 0.0), ((-0.4, 0.35), (0.6, 0.0), (1.5, 0.0)), (),
             ((-0.4, 0.35 - edge - 0.2, 0.2), (0.6, edge + 0.25, 0.25))),
    )  # fmt: skip


def driver(machine: Machine, points: list[Point], reached: float) -> Callable[[Plant], list[float] | None]:
    """Drives from point to point as fast as it can: the command for a plant, None once it is there."""
    left = list(points)

    def drive(p: Plant) -> list[float] | None:
        while left and math.hypot(left[0][0] - p.x, left[0][1] - p.y) < reached:
            left.pop(0)
        if not left:
            return None
        dx, dy = left[0][0] - p.x, left[0][1] - p.y
        heading = (math.atan2(dy, dx) - p.yaw + math.pi) % (2.0 * math.pi) - math.pi
        brake = min(machine.braking[k] for k in (machine.x, machine.y) if k is not None)
        fast = math.sqrt(1.6 * brake * math.hypot(dx, dy))  # so that it can stop there
        ways = [0.0] * machine.size
        assert machine.x is not None
        if machine.y is not None:
            c, s = math.cos(heading), math.sin(heading)
            most = min(machine.velocity[machine.x] / max(abs(c), 1e-9), machine.velocity[machine.y] / max(abs(s), 1e-9))
            ways[machine.x], ways[machine.y] = min(most, fast) * c, min(most, fast) * s
        else:
            k = machine.turn
            assert k is not None
            most = min(machine.velocity[k], 4.0 * abs(heading), math.sqrt(1.2 * machine.braking[k] * abs(heading)))
            ways[k] = math.copysign(most, heading)
            ways[machine.x] = min(machine.velocity[machine.x], fast) * max(0.0, math.cos(heading)) ** 8
        return ways

    return drive


def oracle_of(machine: Machine, room: Callable[[float, float], float]) -> Callable[[list[float], Plant], list[float]]:
    """The exact filter: the largest part of a command after which the plant can still stop with room left."""

    def stays_clear(plant: Plant, values: list[float]) -> bool:
        other = copy.copy(plant)
        other._coming = copy.copy(plant._coming)
        other.command(values)
        other.advance(machine.period)
        other.command([0.0] * machine.size)
        for _ in range(1000):
            if room(other.x, other.y) < 0.0:
                return False
            if not any(other.v) and not other._coming:
                return True
            other.advance(machine.period)
        return False

    def let_through(asked: list[float], plant: Plant) -> list[float]:
        for part in PARTS:
            values = [part * u for u in asked]
            if part == 0.0 or stays_clear(plant, values):
                return values
        return [0.0] * machine.size

    return let_through


def task_time(name: str, task: Task, gated: bool) -> tuple[float | None, str]:
    """(seconds that a body takes for a task or None, what stopped it); by the gate, or by the oracle in its place."""
    size = size_of(name)

    def grown(g: dict[str, Any]) -> dict[str, Any]:
        box = g["box"]
        return {**g, "box": {key: [size * v for v in box[key]] for key in box}}

    data = {**BODIES[name], "guardrails": [grown(g) for g in task.rails]}
    contract = RobotContract.from_dict(data, name)
    machine, gate = Machine(contract, {}), gate_of(contract)
    posts = tuple((size * x, size * y, size * r) for x, y, r in task.posts)
    rails = gate.config.guardrails.of("keep_in", "keep_out")

    def room(x: float, y: float) -> float:
        places = [float(g.clearance(x, y, machine.radius)) for g in rails]
        return min([*places, *(math.hypot(x - a, y - b) - r - machine.radius for a, b, r in posts)])

    run = Run(machine, gate if gated else None, posts)
    run.plant.x, run.plant.y, run.plant.yaw = size * task.start[0], size * task.start[1], task.start[2]
    points = [(size * x, size * y) for x, y in task.points]
    drive = driver(machine, points, REACHED * machine.radius)
    oracle = oracle_of(machine, room)
    way = sum(math.dist(a, b) for a, b in zip([(run.plant.x, run.plant.y), *points], points))
    slow = min(machine.velocity[k] for k in (machine.x, machine.y) if k is not None)
    begun = None
    for k in range(math.ceil(PATIENCE * (way / slow + 1.0) / machine.period)):
        asked = drive(run.plant)
        if asked is None:
            assert begun is not None
            return (k - begun) * machine.period, ""
        if room(run.plant.x, run.plant.y) < 0.0:
            return None, "it enters"
        run.tick(asked, oracle)
        if begun is None and any(run.last):
            begun = k
    return None, run.reason


def joint_time(name: str, gated: bool) -> float | None:
    """Seconds from one end of the range to within a hundredth of the other, all joints at once."""
    contract = RobotContract.from_dict(BODIES[name], name)
    machine = Machine(contract, {})
    assert machine.ends is not None
    low, high = machine.ends[0], machine.ends[1]
    span = [b - a for a, b in zip(low, high)]
    if not gated:  # as fast as the limits allow: up, along, down
        times = [s / v + v / (2.0 * a) + v / (2.0 * b) for s, v, a, b in zip(
            span, machine.velocity, machine.acceleration, machine.braking)]  # fmt: skip
        return max(times) + machine.reaction
    run = Run(machine, gate_of(contract), q=[a + 0.001 * s for a, s in zip(low, span)])
    goal = list(high) if machine.position else list(machine.high)
    begun, first = None, list(run.plant.q)
    for k in range(round(PATIENCE * max(s / v for s, v in zip(span, machine.velocity)) / machine.period)):
        run.tick(goal)
        if begun is None and run.last and (run.last != first if machine.position else any(run.last)):
            begun = k
        if all(b - q < 0.01 * s for q, b, s in zip(run.plant.q, high, span)):
            assert begun is not None
            return (k + 1 - begun) * machine.period
    return None


def measure(room: float = 0.10) -> dict[str, Any]:
    """All of it: {free: {body: ...}, tasks: {body: {task: ...}}}."""
    free: dict[str, Any] = {}
    for name, data in BODIES.items():
        contract = RobotContract.from_dict(data, name)
        share, axis = free_space(Machine(contract, {}), gate_of(contract))
        free[name] = {"share": share, "axis": axis}
    for kind in bodies.KINDS:
        worst, which = math.inf, ""
        for seed in range(DRAWN):
            body = _loose(kind, seed)
            share, axis = free_space(body, gate_of(body.contract))
            if share < worst:
                worst, which = share, f"seed {seed}, {axis}"
        free[f"{DRAWN} random {kind}"] = {"share": worst, "axis": which}
    times: dict[str, Any] = {}
    for name in DRIVING:
        for task in tasks(room / size_of(name)):
            if task.posts and "scan" not in BODIES[name]["state"]:
                continue
            times.setdefault(name, {})[task.name] = _compared(
                *task_time(name, task, True), task_time(name, task, False)[0]
            )
    for name in ("arm_positions", "arm_rates", "joints_14"):
        times[name] = {"from end to end": _compared(joint_time(name, True), "", joint_time(name, False))}
    return {"room_m": room, "free": free, "tasks": times}


def _compared(taken: float | None, why: str, oracle: float | None) -> dict[str, Any]:
    ratio = None if taken is None or not oracle else taken / oracle
    return {"seconds": taken, "oracle_seconds": oracle, "ratio": ratio, "stopped_by": why}


def _loose(kind: str, seed: int) -> Machine:
    """A random body without guardrails, whose inputs are as good as they can be."""
    rng = random.Random(f"free {kind} {seed}")
    data = bodies.base(rng) if kind == "bases" else bodies.joints(rng)
    data["guardrails"] = []
    return Machine(RobotContract.from_dict(data, f"free {seed}"), {})


def missed(result: dict[str, Any]) -> list[str]:
    """What falls short, as sentences."""
    found = [f"{name}: {f['share']:.2f} of its limits ({f['axis']})" for name, f in result["free"].items()
             if f["share"] < SHARE]  # fmt: skip
    for name, times in result["tasks"].items():
        for task, t in times.items():
            if t["ratio"] is None:
                found.append(f"{name}, {task}: not done ({t['stopped_by']})")
            elif t["ratio"] > FACTOR:
                found.append(f"{name}, {task}: {t['ratio']:.2f} times the oracle's {t['oracle_seconds']:.2f} s")
    return found
