# SPDX-License-Identifier: Apache-2.0
"""Situations of random histories, so that every row of the gate's table has something to do: places that it steers at,
posts, a person, a bumper, a runaway, other guardrails on the move, joints at their ends or moved by hand, chatter."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.rigs.gate import bodies, faults
from benchmarks.rigs.gate.arm_situations import arm_situation
from jepa_ros.safety import Requests

if TYPE_CHECKING:
    from benchmarks.rigs.gate.histories import History

Drive = Callable[[int], "list[float] | None"]


def situation(h: History) -> None:
    """Put the history into a situation, so that every row has something to do."""
    rng, m = h.rng, h.machine
    if h.truth is not None:
        return arm_situation(h)
    if m.joints:
        choices: tuple[tuple[float, Callable[[History], None]], ...] = (
            (0.30, _ends), (0.12, _limits_set), (0.12, _pushed), (0.06, _missing), (0.05, _chatter), (0.05, _bumper),
            (0.05, _runaway), (0.03, _jammed),
        )  # fmt: skip
    else:
        choices = (
            (0.48, _at_places), (0.10, _posts), (0.07, _person), (0.06, _dropped), (0.05, _bumper), (0.05, _missing),
            (0.04, _chatter), (0.04, _runaway), (0.03, _jammed),
        )  # fmt: skip
    at = rng.random()
    for share, function in choices:
        if at < share:
            function(h)
            return None
        at -= share
    return None


def _full(h: History, ways: list[float]) -> list[float]:
    """A command at the ends of the range: ``ways`` in -1 .. 1."""
    return [(hi if w > 0.0 else -lo) * w for w, lo, hi in zip(ways, h.machine.low, h.machine.high)]


def towards(h: History, x: float, y: float) -> Drive:
    """Commands that steer at a place at full speed, now and then past it; the other axes do as they like."""
    rng, m = h.rng, h.machine
    aside, spin = rng.uniform(-1.2, 1.2) * (rng.random() < 0.5), rng.choice((0.0, rng.uniform(-1.0, 1.0)))
    back = rng.random() < 0.3

    def drive(k: int) -> list[float]:
        p = h.plant
        ways = [0.0 if rng.random() < 0.7 else rng.uniform(-1.0, 1.0) for _ in range(m.size)]
        heading = math.atan2(y - p.y, x - p.x) + aside - p.yaw
        if m.y is not None:
            if m.x is not None:
                ways[m.x] = math.cos(heading)
            ways[m.y] = math.sin(heading)
            if m.turn is not None:
                ways[m.turn] = spin
        elif m.x is not None:
            error = (heading + (math.pi if back else 0.0) + math.pi) % (2.0 * math.pi) - math.pi
            go = abs(error) < 1.0 or m.turn is None
            ways[m.x] = (-1.0 if back else 1.0) if go else 0.0
            if m.turn is not None:
                ways[m.turn] = max(-1.0, min(1.0, 4.0 * error / max(m.velocity[m.turn], 1e-6)))
        return _full(h, ways)

    return drive


def _at_places(h: History) -> None:
    """It steers at one of the places of its guardrails, then at another."""
    rng = h.rng
    shapes = [g.shape for g in h.gate.config.guardrails if g.shape is not None]
    if not shapes:
        return _sweeps(h)
    h.rate = rng.choice((0.0, 0.0, 0.01, 0.03))
    h.hold = rng.choice((1, 4, 10))
    goals: list[Drive] = []
    for _ in range(2):
        shape = rng.choice(shapes)
        points = getattr(shape, "points", None) or ((shape.x, shape.y),)
        x, y = rng.choice(points)
        goals.append(towards(h, x + rng.uniform(-0.3, 0.3) * h.scale, y + rng.uniform(-0.3, 0.3) * h.scale))
    switch = rng.randrange(20, 160)
    h.drive = lambda k: goals[k >= switch](k)
    return None


def _sweeps(h: History) -> None:
    """Full speed on all axes, turned about now and then."""
    rng = h.rng
    legs = [[rng.choice((-1.0, 0.0, 1.0, 1.0, rng.uniform(-1, 1))) for _ in range(h.machine.size)] for _ in range(4)]
    long = rng.randrange(10, 50)
    h.rate, h.drive = rng.choice((0.0, 0.01)), lambda k: _full(h, legs[min(k // long, 3)])


def _missing(h: History) -> None:
    """An input that is not there at first; the e-stop's publisher more often than any other."""
    names = ["estop", "estop", *h.machine.states, *faults.ALWAYS]
    name = h.rng.choice(names)
    h.senses.spoil[name] = lambda m: None
    h.until.append((h.rng.randrange(10, 60), lambda: h.senses.spoil.pop(name, None)))


def _runaway(h: History) -> None:
    """The robot obeys no stop; then no command comes any more."""
    if h.machine.position:
        return
    start = h.rng.randrange(25, 40)
    h.rate, h.drive = 0.0, lambda k: list(h.machine.high)

    def run_away() -> None:
        h.plant.broken = True
        h.senses.spoil["command"] = lambda m: None

    h.until.append((start, run_away))
    dog = h.machine.dog
    wait = dog.command_timeout + 2.0 * h.machine.stop_time + 2.0 * dog.stop_motion_timeout + 0.3
    h.ticks = min(500, start + round(wait / h.machine.period))


def _jammed(h: History) -> None:
    """Something jams while it drives steadily, and is freed again."""
    rng = h.rng
    if h.machine.position:
        return
    start, ways = rng.randrange(20, 50), [rng.choice((-1.0, 1.0)) for _ in range(h.machine.size)]
    h.rate, h.ticks, h.drive = 0.0, start + 90, lambda k: _full(h, ways)
    axis = rng.randrange(h.machine.size)
    h.until += [
        (start, lambda: setattr(h.plant, "jammed", axis)),
        (start + rng.randrange(5, 80), lambda: setattr(h.plant, "jammed", None)),
    ]


def _chatter(h: History) -> None:
    """The gate is not run now and then, and goes on by itself each time."""
    h.late = 15 + h.rng.randrange(10)
    h.rate, h.ticks = 0.0, h.late * (h.machine.dog.resume_latch_count + 5)


def _bumper(h: History) -> None:
    """It drives, touches something, and drives on or backs off."""
    rng = h.rng
    start = rng.randrange(15, 40)
    one, other = ([rng.choice((-1.0, 1.0, 0.0)) for _ in range(h.machine.size)] for _ in range(2))
    turn = start + rng.choice((0, 15, 15))
    ends = h.machine.ends
    if h.machine.position and ends is not None:
        span = [b - a for a, b in zip(*ends)]
        h.drive = lambda k: [q + 0.3 * w * s for q, w, s in zip(h.plant.q, one if k < turn else other, span)]
    else:
        h.drive = lambda k: _full(h, one if k < turn else other)
    h.rate, h.hold = 0.005, 5
    world = h.senses.world
    h.until += [
        (start, lambda: setattr(world, "bumper", True)),
        (start + rng.randrange(20, 60), lambda: setattr(world, "bumper", False)),
    ]


def _posts(h: History) -> None:
    """Posts in the way, seen by the scan; it steers at one of them."""
    rng, m = h.rng, h.machine
    if h.senses.lidar is None or h.senses.lidar.coarse:
        return _at_places(h)
    for _ in range(rng.choice((1, 3))):
        shown = 0.6 * h.senses.lidar.step * (m.way() + m.radius)  # a post that is seen in time
        r = max(0.4 * m.radius, shown, h.scale * rng.uniform(0.02, 0.3))
        away = m.radius + r + 0.05 + h.scale * rng.uniform(0.1, 1.0)
        angle = rng.uniform(-math.pi, math.pi)
        h.senses.world.posts.append((away * math.cos(angle), away * math.sin(angle), r))
    x, y, _ = h.senses.world.posts[0]
    h.rate, h.hold, h.drive = rng.choice((0.0, 0.01)), rng.choice((1, 5)), towards(h, x, y)
    return None


def _person(h: History) -> None:
    """A person stands about, or comes, whom it steers at."""
    rng, m = h.rng, h.machine
    away = m.radius + h.scale * rng.uniform(0.3, 1.2)
    angle = rng.uniform(-math.pi, math.pi)
    place = (away * math.cos(angle), away * math.sin(angle))
    world = h.senses.world
    if "people" in m.states:
        if rng.random() < 0.5:
            world.people = [place]
        else:
            h.until.append((rng.randrange(10, 60), lambda: setattr(world, "people", [place])))
    h.rate, h.hold, h.drive = rng.choice((0.0, 0.01)), rng.choice((1, 5)), towards(h, *place)


def _dropped(h: History) -> None:
    """A region is set down on the robot or before it, or taken away, while it moves."""
    rng, m = h.rng, h.machine
    start = rng.randrange(15, 60)
    old = h.gate.config.guardrails.to_list()

    def drop() -> None:
        p = h.plant
        ahead, angle = h.scale * rng.uniform(0.0, 0.7), p.yaw + rng.uniform(-math.pi, math.pi)
        size = m.radius * rng.uniform(0.3, 1.0) + 0.1 * h.scale * rng.random()
        x, y = p.x + ahead * math.cos(angle), p.y + ahead * math.sin(angle)
        circle = {"name": "dropped", "kind": "keep_out", "unit": "m", "circle": {"center": [x, y], "radius": size}}
        h.change_guardrails([*old, circle] if rng.random() < 0.8 else [])

    h.until.append((start, drop))
    if rng.random() < 0.3:
        h.until.append((start + rng.randrange(10, 60), lambda: h.change_guardrails(old)))
    h.rate = rng.choice((0.0, 0.01))


def _ends(h: History) -> None:
    """Joints are driven at their ends, some of them late."""
    rng, m = h.rng, h.machine
    assert m.ends is not None
    spans = list(zip(*m.ends))
    if m.position:
        goals = [[rng.choice((a, b, a - 0.1 * (b - a), b + 0.1 * (b - a), rng.uniform(a, b))) for a, b in spans]
                 for _ in range(2)]  # fmt: skip
    else:
        goals = [_full(h, [rng.choice((-1.0, 1.0, 1.0, 0.0)) for _ in spans]) for _ in range(2)]
    switch = rng.randrange(20, 150)
    h.rate, h.drive = rng.choice((0.0, 0.01, 0.03)), lambda k: list(goals[k >= switch])


def _limits_set(h: History) -> None:
    """Other joint limits are set while it moves, on joints that may stand beyond them."""
    _ends(h)
    rng = h.rng
    h.until.append((rng.randrange(10, 80), lambda: h.change_guardrails([bodies.joint_limits(rng, h.machine, "new")])))


def _pushed(h: History) -> None:
    """Disabled or latched, then moved by hand, then enabled again."""
    rng, m = h.rng, h.machine
    assert m.ends is not None
    _ends(h)
    h.rate = 0.0
    start = rng.randrange(10, 60)
    latched = rng.random() < 0.5
    stop = round(m.stop_time / m.period) + 12
    by = [(b - a) * rng.uniform(-0.2, 0.2) for a, b in zip(*m.ends)]
    moved = start + min(stop, 60) + rng.randrange(10)
    back = moved + rng.randrange(5, 30)
    h.until += [
        (start, lambda: setattr(h, "requests", Requests(estop=True) if latched else Requests(enable=False))),
        (moved, lambda: h.plant.push(by) if m.position else None),
        (back, lambda: setattr(h, "requests", Requests(reset=True) if latched else Requests(enable=True))),
    ]
    h.ticks = back + 60
