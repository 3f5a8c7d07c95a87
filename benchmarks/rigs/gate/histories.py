# SPDX-License-Identifier: Apache-2.0
"""Random histories of inputs: a robot is driven under random commands while faults come, overlap and go.

Half of the histories take place in a situation (posts in the way, a person, a joint near its end, a region set down on
the robot, a bumper, ...), so that every row of the gate's table has something to do. After every tick
:mod:`benchmarks.rigs.gate.judge` looks at what the gate was given and at what it let out. A history is repeated by its
seed.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from benchmarks.rigs.gate.faults import SPOILERS, WILD, Until, begin_fault
from benchmarks.rigs.gate.judge import Judge
from benchmarks.rigs.gate.rig import Rig, contract_of
from jepa_ros.safety import Gate, GateConfig, parse_guardrails

_ROOM = [
    {"name": "room", "kind": "keep_in", "unit": "m", "box": {"center": [0.0, 0.0], "size": [1.6, 1.6], "yaw": 0.3}},
    {"name": "table", "kind": "keep_out", "unit": "m", "polygon": [[0.35, -0.3], [0.6, -0.25], [0.5, 0.2], [0.3, 0.1]]},
    {"name": "pillar", "kind": "keep_out", "unit": "m", "circle": {"center": [-0.4, 0.3], "radius": 0.1}},
]
ROOM = parse_guardrails(_ROOM)
SPEEDS = parse_guardrails([
    {"name": "door", "kind": "speed_zone", "unit": "m/s", "max_speed": 0.15,
     "box": {"center": [0.7, 0.0], "size": [0.6, 3.0], "yaw": 0.2}},
    {"name": "people", "kind": "near_person", "unit": "m/s", "distance": 0.4, "max_speed": 0.1},
])  # fmt: skip


def variants() -> list[tuple[str, dict[str, Any]]]:
    """Robots and settings that histories are drawn from."""
    levels = {"surprise": (1.0, 2.0), "novelty": (1.0, 2.0)}
    return [
        ("base", {}),
        ("base", {"stop": "zero", "rearm_time": 0.1}),
        ("base", {"guardrails": ROOM, "rearm_time": 0.1}),
        ("base", {"guardrails": ROOM, "estop_required": False, "contact_response": "back_off", "rearm_time": 0.1}),
        ("base", {"guardrails": SPEEDS, "contact_response": "stop", "rearm_time": 0.1}),
        ("base", {"signals_required": True, **levels, "rearm_time": 0.1}),
        ("joints", {"rearm_time": 0.1}),
        ("arm", {"rearm_time": 0.1}),
        ("arm", {"stop": "zero"}),
    ]


class Gates:
    """The gates of all variants, built once; ``without`` takes rows out (mutation)."""

    def __init__(self, without: frozenset[str] = frozenset()) -> None:
        self.made = [
            (robot, Gate(GateConfig.from_contract(contract_of(robot), auto_enable=True, **s), without=without))
            for robot, s in variants()
        ]


class History:
    """One history.

    Args:
        seed: repeats it. gates: where the gate is taken from.
    """

    def __init__(self, seed: int, gates: Gates) -> None:
        self.rng = rng = random.Random(seed)
        self.seed = seed
        robot, gate = rng.choice(gates.made)
        self.rig = rig = Rig(robot, gate=gate, seed=seed, pose_noise=rng.choice((0.0, 0.003)))
        if rig.cfg.surprise is not None:
            rig.signals = {"surprise": 0.1, "novelty": 0.1}
        if rig.cfg.guardrails.of("near_person") and rng.random() < 0.8:
            rig.people = []
        self.judge = Judge(rig)
        self.until: Until = []
        self.ticks = rng.randrange(40, 140)
        self.rate = rng.choice((0.02, 0.05, 0.1))  # of faults, a tick
        self.drive: Callable[[int], list[float]] | None = None  # in the place of random commands
        self.late = 0  # every so many ticks the gate is not run for a while
        self.broken: list[str] = []
        if rng.random() < 0.5:
            rng.choice(_SITUATIONS[robot])(self)
        elif robot != "arm" and random.Random(~seed).random() < 0.1:  # its own draw: known seeds stay what they were
            _jammed(self)

    def run(self, ticks: int | None = None) -> list[str]:
        """Play it; every rule that was broken, as a sentence (the first few)."""
        rng, rig = self.rng, self.rig
        for k in range(ticks or self.ticks):
            for end, undo in [u for u in self.until if u[0] <= k]:
                undo()
                self.until.remove((end, undo))
            if k % 10 == 0:
                self._new_command(k)
            gap = 0.3 if self.late and k % self.late == self.late - 1 else None
            if k > 5 and rng.random() < self.rate:
                gap = begin_fault(rig, rng, k, self.until)
            out = rig.tick(gap)
            self.broken += [f"seed {self.seed}, tick {k}: {text}" for text in self.judge.look(out)]
            if len(self.broken) > 3:
                break
        return self.broken

    def _new_command(self, k: int) -> None:
        rng, rig = self.rng, self.rig
        if self.drive is not None:
            rig.command = self.drive(k)
        elif rng.random() < 0.05:
            rig.command = None
        elif rng.random() < 0.03:
            rig.command = [rng.choice(WILD) for _ in range(rig.cfg.size)]
        elif rng.random() < 0.5:
            rig.command = [1.5 * rng.choice((lo, hi, 0.0)) for lo, hi in zip(rig.cfg.low, rig.cfg.high)]
        else:
            rig.command = [rng.uniform(1.3 * lo, 1.3 * hi) for lo, hi in zip(rig.cfg.low, rig.cfg.high)]


# ---------------------------------------------------------------- situations


def _missing(h: History) -> None:
    """An input that is not there at first; the e-stop's publisher more often than any other."""
    name = h.rng.choice(["estop", "estop", "estop", *SPOILERS])
    h.rig.spoil[name] = lambda m: None
    h.until.append((h.rng.randrange(30, 80), lambda: h.rig.spoil.pop(name, None)))


def _runaway(h: History) -> None:
    """The robot obeys no stop; then no command comes any more."""
    start = h.rng.randrange(25, 40)
    h.rate, h.drive, h.rig.robot.v = 0.0, lambda k: list(h.rig.cfg.high), [0.0] * h.rig.cfg.size

    def run_away() -> None:
        h.rig.robot.broken = True
        h.rig.spoil["command"] = lambda m: None

    h.until.append((start, run_away))
    wait = h.rig.cfg.command_timeout + 2.0 * h.rig.cfg.stop_time + 2.0 * h.rig.cfg.stop_motion_timeout
    h.ticks = start + round((wait + 0.3) / h.rig.cfg.period)


def _jammed(h: History) -> None:
    """Something jams while it drives steadily, and is freed again."""
    start, ways = h.rng.randrange(25, 60), [h.rng.choice((-0.4, 0.4)) for _ in range(h.rig.cfg.size)]
    h.rate, h.ticks, h.drive = 0.0, start + 80, lambda k: ways
    h.until += [
        (start, lambda: setattr(h.rig.robot, "jammed", True)),
        (start + h.rng.randrange(5, 70), lambda: setattr(h.rig.robot, "jammed", False)),
    ]


def _chatter(h: History) -> None:
    """The gate is not run now and then, and goes on by itself each time."""
    h.late = round(h.rig.cfg.rearm_time / h.rig.cfg.period) + h.rng.randrange(15, 25)
    h.rate, h.ticks = 0.0, h.late * (h.rig.cfg.resume_latch_count + 5)


def _bumper(h: History) -> None:
    """It drives, touches something, and drives on or backs off."""
    start, ways = h.rng.randrange(15, 40), (h.rng.choice((-0.5, 0.5)), h.rng.choice((-0.5, 0.5)))
    h.rate, h.drive = 0.01, lambda k: [ways[0] if k < start + 15 else ways[1], h.rng.uniform(-0.3, 0.3)]
    h.until += [
        (start, lambda: setattr(h.rig, "bumper", True)),
        (start + h.rng.randrange(20, 60), lambda: setattr(h.rig, "bumper", False)),
    ]


def _towards(h: History, x: float, y: float) -> Callable[[int], list[float]]:
    """Commands that steer at a place, forwards or backwards, at full speed."""
    back = h.rng.random() < 0.3

    def drive(_k: int) -> list[float]:
        robot = h.rig.robot
        heading = math.atan2(y - robot.y, x - robot.x) - robot.yaw + (math.pi if back else 0.0)
        error = (heading + math.pi) % (2.0 * math.pi) - math.pi
        return [(-0.5 if back else 0.5) if abs(error) < 0.8 else 0.0, max(-2.0, min(2.0, 4.0 * error))]

    return drive


def _around(h: History, near: float, far: float) -> tuple[float, float]:
    angle, away = h.rng.uniform(-math.pi, math.pi), h.rng.uniform(near, far)
    return away * math.cos(angle), away * math.sin(angle)


def _posts(h: History) -> None:
    """Posts in the way, seen by the scan; it steers at one of them."""
    h.rig.obstacles = [_around(h, 0.35, 0.9) for _ in range(3)]
    h.rate, h.ticks, h.drive = 0.01, 200, _towards(h, *h.rig.obstacles[0])


def _person(h: History) -> None:
    """A person stands about, whom it steers at, or a zone that it drives into."""
    if h.rig.people is not None:
        h.rig.people = [_around(h, 0.6, 1.2)]
    x, y = h.rig.people[0] if h.rig.people and h.rng.random() < 0.5 else (2.0, h.rng.uniform(-0.5, 0.5))
    h.rate, h.ticks, h.drive = 0.01, 200, _towards(h, x, y)


def _dropped(h: History) -> None:
    """A region is set down on the robot: it may leave it, slowly, and has to be let."""
    rig, start = h.rig, h.rng.randrange(20, 50)
    h.rate, h.ticks, h.drive = 0.0, start + 110, lambda k: [0.4 if k < start else 0.0, 0.0]
    ahead = h.rng.choice((-0.08, 0.08))  # of the robot's centre, where the region's is set down [m]
    places: list[tuple[float, float]] = []

    def drop() -> None:
        robot = rig.robot
        x, y = robot.x + ahead * math.cos(robot.yaw), robot.y + ahead * math.sin(robot.yaw)
        places.append((x, y))
        zone = {"name": "dropped", "kind": "keep_out", "unit": "m", "circle": {"center": [x, y], "radius": 0.1}}
        rig.gate = rig.gate.with_guardrails(parse_guardrails([zone]))
        rig.cfg = rig.gate.config
        h.judge.place.dropped("dropped")

    def leave() -> None:
        robot, (x, y) = rig.robot, places[0]
        places.append((robot.x, robot.y))
        out = math.cos(robot.yaw) * (robot.x - x) + math.sin(robot.yaw) * (robot.y - y)
        h.drive = lambda k: [math.copysign(0.4, out), 0.0]

    def look() -> None:
        moved = math.hypot(rig.robot.x - places[1][0], rig.robot.y - places[1][1])
        armed = h.judge.enabled and not h.judge.latched
        if armed and moved < 0.02:
            h.broken.append(f"seed {h.seed}: stands in a region, and is not let out ({rig.outputs[-1].sentence})")

    h.until += [(start, drop), (start + 30, leave), (start + 105, look)]


def _joint_end(h: History) -> None:
    """A joint is driven at its end."""
    ends = [h.rng.choice((lo, hi, 0.0)) for lo, hi in zip(h.rig.cfg.low, h.rig.cfg.high)]
    h.rate, h.ticks, h.drive = 0.01, 160, lambda k: ends


_DRIVING = (_missing, _runaway, _chatter, _bumper, _posts, _person, _dropped)
_SITUATIONS: dict[str, tuple[Callable[[History], None], ...]] = {
    "base": _DRIVING,
    "joints": (_missing, _runaway, _chatter, _joint_end, _joint_end),
    "arm": (_missing, _chatter, _joint_end),
}


def play(seeds: range, without: frozenset[str] = frozenset(), most: int = 5) -> tuple[int, list[str], Counter[str]]:
    """Play histories; (how many, the first rules that were broken, reasons met and how often)."""
    gates = Gates(without)
    broken: list[str] = []
    counts: Counter[str] = Counter()
    played = 0
    for seed in seeds:
        history = History(seed, gates)
        try:
            broken += history.run()
        except Exception as error:  # only a gate that lacks its own net lets one through
            broken.append(f"seed {seed}: {type(error).__name__}: {error}")
        counts.update(history.judge.counts)
        played += 1
        if len(broken) >= most:
            break
    return played, broken[:most], counts
