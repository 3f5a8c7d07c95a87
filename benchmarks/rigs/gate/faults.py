# SPDX-License-Identifier: Apache-2.0
"""What a random history does to the gate's inputs: faults that begin, last for a while, overlap and go.

A spoiled message is lost, late, or such that anybody can see that it is wrong; none is a believable lie, of which no
gate could know.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from jepa_ros.safety import EstopIn, Requests

if TYPE_CHECKING:
    from benchmarks.rigs.gate.histories import History

NAN, INF = math.nan, math.inf
WILD = (NAN, INF, -INF, 1e308, -1e308, 0.0, 1e-300, 5e-324, -5e-324)
Change = Callable[[Any], Any]
Make = Callable[[random.Random], Change]


class Bomb:
    """Content that no check expects: looking at it raises."""

    def __len__(self) -> int:
        raise RuntimeError("a bomb among the inputs")


def _set(**choices: tuple[Any, ...]) -> Make:
    """A spoiler that sets one field to one of some values."""

    def make(rng: random.Random) -> Change:
        name = rng.choice(list(choices))
        value = rng.choice(choices[name])
        return lambda m: dataclasses.replace(m, **{name: value})

    return make


def _one(name: str, *wrong: Any) -> Make:
    """A spoiler that puts one wrong number among those of a field."""

    def make(rng: random.Random) -> Change:
        value, at = rng.choice(wrong), rng.random()

        def change(m: Any) -> Any:
            numbers = list(getattr(m, name))
            if not numbers:  # a command to stand still has none
                return m
            numbers[int(at * len(numbers))] = value
            return dataclasses.replace(m, **{name: numbers})

        return change

    return make


def _few(name: str) -> Make:
    """A spoiler that leaves out a number, or adds one."""

    def make(rng: random.Random) -> Change:
        if rng.random() < 0.5:
            return lambda m: dataclasses.replace(m, **{name: tuple(getattr(m, name))[1:]})
        return lambda m: dataclasses.replace(m, **{name: (*getattr(m, name), 0.0)})

    return make


def _shift(*by: float) -> Make:
    """A stamp that is off."""

    def make(rng: random.Random) -> Change:
        far = rng.choice((-9.0, 3.0, 1e9, NAN, *by))
        return lambda m: dataclasses.replace(m, stamp=m.stamp + far)

    return make


def _ahead(rng: random.Random) -> Change:
    """A receipt time that cannot be true."""
    return lambda m: dataclasses.replace(m, received=m.received + 100.0)


def _lose(rng: random.Random) -> Change:
    share = rng.choice((1.0, 1.0, 0.5))
    return lambda m: None if rng.random() < share else m


def _stick(rng: random.Random) -> Change:
    """The same message again and again, received anew."""
    kept: list[Any] = []

    def spoil(m: Any) -> Any:
        kept.append(m)
        return dataclasses.replace(kept[0], received=m.received)

    return spoil


def _freeze(rng: random.Random) -> Change:
    return lambda m: dataclasses.replace(m, checksum=7)


def _say(*choices: dict[str, float]) -> Make:
    """A spoiler that changes some of the planner's signals."""

    def make(rng: random.Random) -> Change:
        values = rng.choice(choices)
        return lambda m: dataclasses.replace(m, values={**m.values, **values})

    return make


def _beams(rng: random.Random) -> Change:
    """Beams that say what REP-117 gives a meaning, or nothing: -inf and 0 are too near, NaN is no reading."""
    value, share = rng.choice((NAN, -INF, 0.0, "below", INF)), rng.choice((0.02, 0.1, 1.0))
    start = rng.random()

    def change(m: Any) -> Any:
        ranges = np.array(m.ranges, dtype=float)
        n = len(ranges)
        count = max(1, round(share * n))
        which = (int(start * n) + np.arange(count)) % n
        ranges[which] = 0.5 * m.range_min if value == "below" else value
        return dataclasses.replace(m, ranges=ranges)

    return change


_COV = (((NAN, 0, 0), (0, 1, 0), (0, 0, 1)), ((1, 0), (0, 1)), None, ((-1, 0, 0), (0, 1, 0), (0, 0, 1)))
_NUMBERS = ((), None, ("x", 1), (True, False), ("1.0",), (None, 0.0))
SPOILERS: dict[str, tuple[Make, ...]] = {
    "command": (
        _lose, _shift(-0.7, 0.3), _stick, _ahead, _one("values", NAN, INF, -INF), _few("values"),
        _set(values=_NUMBERS, frame_id=("map",)),
        lambda rng: lambda m: dataclasses.replace(m, values=Bomb()) if rng.random() < 0.3 else m,
    ),
    "teleop": (_lose, _shift(-0.7, 0.3), _one("values", NAN), _few("values")),
    "image": (_lose, _shift(-0.7, 0.3), _stick, _freeze, _ahead),
    "odom": (_lose, _lose, _shift(), _ahead, _one("v", NAN, INF), _few("v"),
             _set(v=(None,), x=(NAN,), frame_id=("map", ""))),
    "pose": (_lose, _lose, _shift(), _ahead, _stick, _set(x=(NAN, INF), yaw=(NAN,), cov=_COV, frame_id=("odom",))),
    "scan": (_lose, _shift(), _stick, _beams, _beams,
             _set(ranges=((NAN,) * 9, (), None, (1.0, NAN)), frame_id=("map",), angle_increment=(NAN,))),
    "joint_states": (_lose, _lose, _shift(), _stick, _one("position", NAN, INF), _few("position"), _few("names")),
    "heartbeat/perception": (_lose,),
    "heartbeat/planner": (_lose,),
    "signals": (
        _lose, _set(guardrail_hash=("other",)),
        _say({"guardrail/x": 1.0}, {"guardrail/x": NAN}, {"surprise": 5.0}, {"novelty": NAN}, {"novelty": 5.0},
             {"surprise": 1.5}, {"novelty": 1.5}, {"surprise": 1.0}),
    ),
    "wrench": (_lose, _shift(), _set(force=((NAN, 0.0, 0.0), (1.0,), None))),
    "contact": (_lose, _set(value=(True,))),
    "people": (_lose, _shift(), _set(frame_id=("odom",), positions=(((NAN, 0.0),), ((1.0, 1.0),) * 101))),
}  # fmt: skip
#: Inputs that any robot has.
ALWAYS = ("command", "command", "image", "heartbeat/perception", "heartbeat/planner", "signals")


def begin(h: History, k: int) -> float | None:
    """Begin something at tick ``k`` and note what ends it; this tick's length, if unusual."""
    rng, senses = h.rng, h.senses
    lasts = k + rng.choice((1, 3, 10, 30, 60))
    kind = rng.random()
    if kind < 0.55:
        names = [*ALWAYS, *(n for n in SPOILERS if n in h.machine.states), *(["teleop"] if senses.teleop else [])]
        name = rng.choice(names)
        senses.spoil[name] = rng.choice(SPOILERS[name])(rng)
        h.until.append((lasts, lambda: senses.spoil.pop(name, None)))
    elif kind < 0.65:
        h.requests = Requests(
            enable=rng.choice((None, None, True, True, False)), reset=rng.random() < 0.6,
            estop=rng.random() < 0.3, shutdown=rng.random() < 0.05,
        )  # fmt: skip
    elif kind < 0.70:
        senses.spoil["estop"] = rng.choice((lambda m: None, lambda m: EstopIn(m.received, True)))
        h.until.append((lasts, lambda: senses.spoil.pop("estop", None)))
    elif kind < 0.76:
        senses.teleop = [rng.uniform(2 * lo, 2 * hi) for lo, hi in zip(h.machine.low, h.machine.high)]
        h.until.append((lasts, lambda: setattr(senses, "teleop", None)))
    elif kind < 0.80:
        h.ros_rate = rng.choice((0.0, 0.0, 0.5))
        h.until.append((lasts, lambda: setattr(h, "ros_rate", 1.0)))
    elif kind < 0.83:
        h.ros += rng.choice((-10.0, -0.5, 0.05, 3.0, 1e6, NAN if rng.random() < 0.1 else 1.0))
        if math.isnan(h.ros):
            h.ros, good = NAN, 6000.0
            h.until.append((k + 1, lambda: setattr(h, "ros", good)))
    elif kind < 0.87:
        return rng.choice((0.0, 0.001, 2.0 * h.machine.period, 0.1, 0.3, 2.0))
    elif kind < 0.89:
        senses.publishers = 2
        h.until.append((lasts, lambda: setattr(senses, "publishers", 1)))
    elif kind < 0.91:
        senses.errors = ("qos",)
        h.until.append((lasts, lambda: setattr(senses, "errors", ())))
    elif kind < 0.93:
        senses.world.bumper = not senses.world.bumper
    elif kind < 0.945:
        senses.world.force = rng.choice((0.0, 5.0, 10.0, 30.0))
        h.until.append((lasts, lambda: setattr(senses.world, "force", 0.0)))
    elif kind < 0.955:
        senses.still = True
        h.until.append((lasts, lambda: setattr(senses, "still", False)))
    elif kind < 0.97 and h.machine.position and h.state.mode.name in ("DISABLED", "ESTOP"):
        ends = h.machine.ends or (h.machine.low, h.machine.high)
        far = 0.2 if h.truth is None else 0.05
        h.plant.push([(b - a) * rng.uniform(-far, far) for a, b in zip(*ends)])
    else:
        senses.identities = rng.choice(({}, {"model/perception": "x", "model/planner": "y"}))
    return None
