# SPDX-License-Identifier: Apache-2.0
"""Tasks past regions and obstacles: the way points, a driver, and the oracle that stands where the gate stands.

The oracle knows the plant and the shapes exactly, looks ahead with a copy of the plant, and lets through the largest
part of the command after which the plant, braking exactly at the limit, still stays clear. Gate and oracle are given
the same commands by the same driver.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.rigs.gate.bodies import Machine
from benchmarks.rigs.gate.named import BODIES, size_of
from benchmarks.rigs.gate.plant import Plant
from benchmarks.rigs.gate.run import Run, gate_of
from jepa_ros.contract import RobotContract

Point = tuple[float, float]
#: A target counts as reached within this part of the body's radius.
REACHED = 0.25
#: Parts of a command that the oracle tries.
PARTS = tuple(k / 16.0 for k in range(16, -1, -1))
#: A task that takes longer than this many times the way at full speed has failed.
PATIENCE = 12.0


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
        fast = math.sqrt(1.2 * brake * math.hypot(dx, dy))  # so that it can stop there
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
