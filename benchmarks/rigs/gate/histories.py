# SPDX-License-Identifier: Apache-2.0
"""Random histories: any body, an honest plant, random commands, while faults come, overlap and go.

A history draws its body, its world and what happens from its seed. After every tick the judges look at what the gate
was given, what it let out, and where the robot truly is. A history is repeated by its kind and seed.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from benchmarks.rigs.gate import bodies, faults, plant
from benchmarks.rigs.gate.bodies import Machine
from benchmarks.rigs.gate.judge import Judge
from benchmarks.rigs.gate.senses import Senses
from jepa_ros.errors import JepaRosError
from jepa_ros.safety import Gate, GateInputs, GateOutput, Requests, parse_guardrails

Drive = Callable[[int], "list[float] | None"]
#: Rules that may be broken in one history before it ends.
ENOUGH = 3


class History:
    """One history.

    Args:
        kind: bases or joints. seed: repeats it. without: rows that its gate lacks (mutation).

    Attributes:
        machine, gate, state, plant, senses: who takes part. steady, ros: clocks of the next tick. inputs: of the last.
        until: (tick, what ends a fault then).
    """

    def __init__(self, kind: str, seed: int, without: frozenset[str] = frozenset()) -> None:
        self.kind, self.seed = kind, seed
        self.rng = rng = random.Random(f"{kind} {seed}")
        body = bodies.draw(rng, kind, without)
        self.machine: Machine = body.machine
        self.gate: Gate = body.gate
        self.scale, self.refused = body.scale, body.refused
        self.state = self.gate.initial_state()
        self.plant = plant.drawn(rng, self.machine)
        noise = rng.choice((0.0, 0.0, 0.003)) * self.scale
        self.senses = Senses(rng, self.machine, self.scale, noise)
        self.senses.signals = {"surprise": 0.1, "novelty": 0.1} if rng.random() < 0.9 else {}
        self.senses.hash = self.gate.config.guardrails.hash
        self.steady, self.ros, self.ros_rate = 100.0, 5000.0, 1.0
        self.tick_index = 0
        self.inputs = GateInputs()
        self.requests = Requests()
        self.until: list[tuple[int, Callable[[], Any]]] = []
        self.ticks = rng.randrange(50, 130)
        self.rate = rng.choice((0.0, 0.01, 0.03, 0.06))  # of faults, a tick
        self.late = 0  # every so many ticks the gate is not run for a while
        self.hold = rng.choice((4, 10, 25))  # ticks for which a command is kept
        self.drive: Drive = self._random
        self.outputs: list[GateOutput] | None = None
        self.judge = Judge(self)
        self.broken: list[str] = []
        if "people" in self.machine.states and rng.random() < 0.8:
            self.senses.world.people = []
        situation(self)

    def run(self, ticks: int | None = None) -> list[str]:
        """Play it; every rule that was broken, as a sentence (the first few)."""
        for k in range(ticks or self.ticks):
            self.tick(k)
            if len(self.broken) >= ENOUGH:
                break
        return self.broken

    def tick(self, k: int) -> GateOutput:
        """One tick of the gate, and the time until the next."""
        rng = self.rng
        if self.until:
            due = [undo for end, undo in self.until if end <= k]
            self.until = [entry for entry in self.until if entry[0] > k]
            for undo in due:
                undo()
        if k % self.hold == 0:
            self.senses.command = self.drive(k)
        passed = self.machine.period
        if self.late and k % self.late == self.late - 1:
            passed = 0.3
        if k > 5 and self.rate and rng.random() < self.rate:
            gap = faults.begin(self, k)
            passed = passed if gap is None else gap
        self.senses.gather(k, self.plant, self.steady, self.ros)
        self.inputs = self.senses.inputs(self.requests)
        self.requests = Requests()
        self.state, out = self.gate.step(self.state, self.inputs, self.steady, self.ros)
        found = self.judge.look(out)
        if found:
            self.broken += [f"{self.kind} {self.seed}, tick {k}: {text}" for text in found]
        if self.outputs is not None:
            self.outputs.append(out)
        if out.publish:
            self.plant.command(out.values.tolist())
        if passed > 0.0:
            self.plant.advance(passed)
        self.steady += passed
        self.ros += passed * self.ros_rate
        self.tick_index = k + 1
        return out

    def change_guardrails(self, items: list[dict[str, Any]]) -> bool:
        """Another set, as the node would take it; False where the gate refuses it and keeps the old one."""
        try:
            self.gate = self.gate.with_guardrails(parse_guardrails(items))
        except JepaRosError:
            return False
        self.senses.hash = self.gate.config.guardrails.hash
        self.judge.place.changed()
        return True

    # ------------------------------------------------------------ commands

    def _random(self, k: int) -> list[float] | None:
        rng, m = self.rng, self.machine
        style = rng.random()
        if style < 0.03:
            return None
        if style < 0.05:
            return [rng.choice(faults.WILD) for _ in range(m.size)]
        if style < 0.5:
            return [1.5 * rng.choice((lo, hi, 0.0)) if not m.position else rng.choice((lo, hi, q))
                    for lo, hi, q in zip(m.low, m.high, self.plant.q)]  # fmt: skip
        beyond = 0.2
        return [rng.uniform(lo - beyond * (hi - lo), hi + beyond * (hi - lo)) for lo, hi in zip(m.low, m.high)]


def situation(h: History) -> None:
    """Put the history into a situation, so that every row has something to do."""
    rng, m = h.rng, h.machine
    if m.joints:
        choices: tuple[tuple[float, Callable[[History], None]], ...] = (
            (0.30, _ends), (0.12, _limits_set), (0.12, _pushed), (0.06, _missing), (0.05, _chatter), (0.05, _bumper),
            (0.05, _runaway), (0.03, _jammed),
        )  # fmt: skip
    else:
        choices = (
            (0.40, _at_places), (0.10, _posts), (0.08, _person), (0.06, _dropped), (0.05, _bumper), (0.05, _missing),
            (0.04, _chatter), (0.04, _runaway), (0.03, _jammed),
        )  # fmt: skip
    at = rng.random()
    for share, function in choices:
        if at < share:
            function(h)
            return
        at -= share


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


def play(job: tuple[str, range, frozenset[str], int]) -> tuple[int, int, list[str], dict[str, int], dict[str, int]]:
    """Play histories of a kind: (how many, ticks, the first rules broken, reasons met, bodies refused)."""
    kind, seeds, without, most = job
    broken: list[str] = []
    counts: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    played = ticks = 0
    for seed in seeds:
        history = None
        try:
            history = History(kind, seed, without)
            broken += history.run()[:ENOUGH]
        except Exception as error:  # only a gate that lacks its own net lets one through
            broken.append(f"{kind} {seed}: {type(error).__name__}: {error}")
        if history is not None:
            counts.update(history.judge.counts)
            refused.update(history.refused)
            ticks += history.tick_index
        played += 1
        if len(broken) >= most:
            break
    return played, ticks, broken[:most], dict(counts), dict(refused)
