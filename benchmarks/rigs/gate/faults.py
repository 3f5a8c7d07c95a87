# SPDX-License-Identifier: Apache-2.0
"""What a random history does to the gate's inputs: faults that begin, last for a while, overlap and go."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable
from typing import Any

from benchmarks.rigs.gate.rig import Rig
from jepa_ros.safety import EstopIn, Requests

NAN = math.nan
WILD = (NAN, math.inf, -math.inf, 1e308, -1e308, 0.0, 1e-300)


class Bomb:
    """Content that no check expects: looking at it raises."""

    def __len__(self) -> int:
        raise RuntimeError("a bomb among the inputs")


def _set(**choices: tuple[Any, ...]) -> Callable[[random.Random], Callable[[Any], Any]]:
    """A spoiler that sets one field to one of some values."""

    def make(rng: random.Random) -> Callable[[Any], Any]:
        name = rng.choice(list(choices))
        value = rng.choice(choices[name])
        return lambda m: dataclasses.replace(m, **{name: value})

    return make


def _shift(rng: random.Random) -> Callable[[Any], Any]:
    """A stamp that is off."""
    by = rng.choice((-5.0, -0.7, 0.3, 3.0, 1e9, NAN))
    return lambda m: dataclasses.replace(m, stamp=m.stamp + by)


def _ahead(rng: random.Random) -> Callable[[Any], Any]:
    """A receipt time that cannot be true."""
    return lambda m: dataclasses.replace(m, received=m.received + 100.0)


def _lose(rng: random.Random) -> Callable[[Any], Any]:
    share = rng.choice((1.0, 1.0, 0.5))
    return lambda m: None if rng.random() < share else m


def _stick(rng: random.Random) -> Callable[[Any], Any]:
    """The same message again and again, received anew."""
    kept: list[Any] = []

    def spoil(m: Any) -> Any:
        kept.append(m)
        return dataclasses.replace(kept[0], received=m.received)

    return spoil


def _freeze(rng: random.Random) -> Callable[[Any], Any]:
    return lambda m: dataclasses.replace(m, checksum=7)


def _say(*choices: dict[str, float]) -> Callable[[random.Random], Callable[[Any], Any]]:
    """A spoiler that changes some of the planner's signals."""

    def make(rng: random.Random) -> Callable[[Any], Any]:
        values = rng.choice(choices)
        return lambda m: dataclasses.replace(m, values={**m.values, **values})

    return make


_COV = (((NAN, 0, 0), (0, 1, 0), (0, 0, 1)), ((1, 0), (0, 1)), None, ((-1, 0, 0), (0, 1, 0), (0, 0, 1)))
SPOILERS: dict[str, tuple[Callable[[random.Random], Callable[[Any], Any]], ...]] = {
    "command": (
        _lose, _shift, _stick, _ahead,
        _set(values=((NAN, 0.0), (0.1, math.inf), (1e308, -1e308), (0.1,), (), None, ("x", 1), (True, False)),
             frame_id=("map",)),
        lambda rng: lambda m: dataclasses.replace(m, values=Bomb()) if rng.random() < 0.3 else m,
    ),
    "teleop": (_lose, _shift, _set(values=((NAN, 0.0), (1e308, 1e308), (0.1,)))),
    "image": (_lose, _shift, _stick, _freeze, _ahead),
    "odom": (_lose, _shift, _ahead,
             _set(v=((NAN, 0.0), (0.0,), (math.inf, 1.0), None), x=(NAN,), frame_id=("map", ""))),
    "pose": (_lose, _shift, _ahead, _set(x=(NAN, math.inf), yaw=(NAN,), cov=_COV, frame_id=("odom",))),
    "scan": (_lose, _shift,
             _set(ranges=((NAN,) * 9, (), None, (1.0, NAN)), frame_id=("map",), angle_increment=(NAN,))),
    "joint_states": (_lose, _shift, _set(position=((NAN, 0.0), (0.1,), ()), names=(("a", "b"), ("shoulder",)))),
    "heartbeat/perception": (_lose,),
    "heartbeat/planner": (_lose,),
    "signals": (
        _lose, _set(guardrail_hash=("other",)),
        _say({"guardrail/x": 1.0}, {"guardrail/x": NAN}, {"surprise": 5.0}, {"novelty": NAN}, {"novelty": 5.0}),
    ),
    "contact": (_lose, _set(value=(True,))),
    "people": (_lose, _shift),
}  # fmt: skip

#: (tick, what ends the fault then).
Until = list[tuple[int, Callable[[], Any]]]


def begin_fault(rig: Rig, rng: random.Random, k: int, until: Until) -> float | None:
    """Begin something at tick ``k`` and note in ``until`` what ends it; this tick's length, if unusual."""
    lasts = k + rng.choice((1, 3, 10, 30, 60))
    kind = rng.random()
    if kind < 0.5:
        name = rng.choice([n for n in SPOILERS if not n.startswith("teleop") or rig.teleop])
        rig.spoil[name] = rng.choice(SPOILERS[name])(rng)
        until.append((lasts, lambda: rig.spoil.pop(name, None)))
    elif kind < 0.62:
        rig.requests = Requests(
            enable=rng.choice((None, None, True, True, False)), reset=rng.random() < 0.6,
            estop=rng.random() < 0.3, shutdown=rng.random() < 0.05,
        )  # fmt: skip
    elif kind < 0.68:
        rig.spoil["estop"] = rng.choice((lambda m: None, lambda m: EstopIn(m.received, True)))
        until.append((lasts, lambda: rig.spoil.pop("estop", None)))
    elif kind < 0.74:
        rig.teleop = [rng.uniform(2 * lo, 2 * hi) for lo, hi in zip(rig.cfg.low, rig.cfg.high)]
        until.append((lasts, lambda: setattr(rig, "teleop", None)))
    elif kind < 0.79:
        rig.ros_rate = rng.choice((0.0, 0.0, 0.5))
        until.append((lasts, lambda: setattr(rig, "ros_rate", 1.0)))
    elif kind < 0.83:
        rig.ros += rng.choice((-10.0, -0.5, 0.05, 3.0, 1e6, NAN if rng.random() < 0.1 else 1.0))
        if math.isnan(rig.ros):
            good, rig.ros = 6000.0, NAN
            until.append((k + 1, lambda: setattr(rig, "ros", good)))
    elif kind < 0.87:
        return rng.choice((0.0, 0.001, 0.05, 0.1, 0.3, 2.0))
    elif kind < 0.91:
        rig.publishers = 2
        until.append((lasts, lambda: setattr(rig, "publishers", 1)))
    elif kind < 0.94:
        rig.errors = ("qos",)
        until.append((lasts, lambda: setattr(rig, "errors", ())))
    elif kind < 0.97:
        rig.bumper = not rig.bumper
    elif kind < 0.985:
        rig.robot.broken = True
    else:
        rig.identities = rng.choice(({}, {"model/perception": "x", "model/planner": "y"}))
    return None
