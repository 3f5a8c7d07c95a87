# SPDX-License-Identifier: Apache-2.0
"""Dead reckoning of a base: where it has been of late, as odometry tells, and how far off that may be.

A measurement is believed for the time of its stamp, not for the time at which it was heard. From the newest one until
now, and where nobody measures, a base may have had any rate between what it was measured to have and what it was told:
it is taken to have gone the middle way, and the rest is kept as room. All times are steady, so that a step of ROS time
changes nothing of what was measured before it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from jepa_ros.safety.envelope import ODOMETRY, hull, sent
from jepa_ros.safety.geometry import advance
from jepa_ros.safety.tick import Tick

#: A tick that lasted longer than this [s] is not reckoned with as a whole: nobody measured what the robot did. What it
#: did of late is kept so long at least, and as long as a message that is carried on may be old.
MOST_AGE = 1.0
#: Marks of what the robot did of late lie at least so far apart [s], and there are at most so many of them, about.
STRIDE, MARKS = 0.015, 250
#: What is carried on from its stamp.
CARRIED = ("pose", "scan")

Planar = tuple[float, float, float]


class Mark(NamedTuple):
    """Where dead reckoning had come to at a time, in a frame of its own; or the difference of two, in the first's.

    Attributes:
        at: steady time [s]. x, y, yaw.
        way, turned: all that it drove [m] and turned [rad], to and fro.
        slack, spin: how far off that may be besides what odometry may be wrong by [m], [rad].
    """

    at: float
    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    way: float = 0.0
    turned: float = 0.0
    slack: float = 0.0
    spin: float = 0.0


class Anchor(NamedTuple):
    """The mark at the stamp of a message.

    Attributes:
        key: which message. at: steady time of its stamp. then: the mark. known: it was measured until then, so that
            the mark stays as it is.
    """

    key: Any
    at: float
    then: Mark
    known: bool


def follow(t: Tick) -> None:
    """Add what odometry tells for the first time to the trail of what was measured, and this tick to the coast: what
    the base may have done as far as was known at each tick."""
    s, cfg = t.s, t.cfg
    if cfg.joints or not any([name in cfg.states for name in CARRIED]):
        return
    if not s.trail:
        s.trail = s.coast = (Mark(t.now),)
        s.met = s.here = s.trail[0]
    kept = max([MOST_AGE, *[cfg.states[n][0] + cfg.stamp_tolerance for n in CARRIED if n in cfg.states]])
    s.coast = _longer(s.coast, _coasted(t), kept)
    if t.measured is None:
        s.trail, s.met, s.told = _longer(s.trail, where(t, t.now), kept), s.coast[-1], None
    elif (s.told is None or s.told[0] is not t.i.odom) and t.measured_at > s.trail[-1].at:
        told, met = t.twist(t.measured), _on(s.coast, t.measured_at)
        done = between(s.met, met)
        mark = _joined(s.trail[-1], done) if s.told is None else _measured(t, s.told[1], told, done)
        s.trail, s.met, s.told = _longer(s.trail, mark, kept), met, (t.i.odom, told)
    here, s.here = s.here, where(t, t.now)
    t.went = between(here, s.here)


def anchored(t: Tick, last: Anchor | None, key: Any, at: float) -> Anchor:
    """The anchor of a message whose stamp was at a steady time; ``last``: the one of the tick before."""
    if last is None or last.key != key:
        return Anchor(key, at, where(t, at), at <= t.s.trail[-1].at)
    if last.known:
        return last
    return Anchor(key, last.at, where(t, last.at), last.at <= t.s.trail[-1].at)


def where(t: Tick, at: float) -> Mark:
    """Where it was at a time of late."""
    trail: tuple[Mark, ...] = t.s.trail
    last = trail[-1]
    if at <= last.at:
        return _on(trail, at)
    return _joined(last, between(t.s.met, _on(t.s.coast, at)))


def between(a: Mark, b: Mark) -> Mark:
    """What was done from one mark to another, in the frame of the first."""
    dx, dy, c, s = b.x - a.x, b.y - a.y, math.cos(a.yaw), math.sin(a.yaw)
    return Mark(b.at, c * dx + s * dy, c * dy - s * dx, b.yaw - a.yaw, b.way - a.way, b.turned - a.turned,
                b.slack - a.slack, b.spin - a.spin)  # fmt: skip


def _joined(a: Mark, b: Mark) -> Mark:
    """A mark, and what was done since then."""
    c, s = math.cos(a.yaw), math.sin(a.yaw)
    return Mark(b.at, a.x + c * b.x - s * b.y, a.y + s * b.x + c * b.y, a.yaw + b.yaw, a.way + b.way,
                a.turned + b.turned, a.slack + b.slack, a.spin + b.spin)  # fmt: skip


def _coasted(t: Tick) -> Mark:
    """Where it may have come to since the last tick: by the middle of what it may do from now on and could do from the
    last tick on, for a base that brakes was faster when the tick began."""
    s, cfg = t.s, t.cfg
    lows, highs = hull(t)
    if s.hull_before is not None:
        lows, highs = [*map(min, lows, s.hull_before[0])], [*map(max, highs, s.hull_before[1])]
    s.hull_before = t.hull
    middle = t.twist([0.5 * (low + high) for low, high in zip(lows, highs)])
    told = any(sent(t)[0]) or any(sent(t)[1])
    if not told and all([-m <= low and high <= m for low, high, m in zip(lows, highs, cfg.motion)]):
        return _moved(s.coast[-1], t.now, middle, None)
    off = 0.5 * math.hypot(*[highs[k] - lows[k] for k in cfg.linear])
    twirl = 0.0 if cfg.turn is None else 0.5 * (highs[cfg.turn] - lows[cfg.turn])
    dt = min(t.dt, MOST_AGE)
    return _moved(s.coast[-1], t.now, middle, (off * dt, twirl * dt))


def _measured(t: Tick, before: Planar, after: Planar, coast: Mark) -> Mark:
    """The mark at the newest measurement, from the last one on; ``coast``: what it did as far as was known then.

    Between two measurements the rates are taken to lie in the middle of both. They were no further off than from what
    was known of them, nor than the limits of acceleration and braking let them be.
    """
    cfg, last = t.cfg, t.s.trail[-1]
    vx, vy, w = twist = (0.5 * (before[0] + after[0]), 0.5 * (before[1] + after[1]), 0.5 * (before[2] + after[2]))
    if not (t.moving() or coast.slack or coast.spin):
        return _moved(last, t.measured_at, twist, None)
    dt = t.measured_at - last.at
    x, y, yaw = advance(0.0, 0.0, 0.0, vx, vy, w, dt)
    slack = coast.slack + math.hypot(x - coast.x, y - coast.y) - ODOMETRY * math.hypot(vx, vy) * dt
    spin = coast.spin + abs(yaw - coast.yaw) - ODOMETRY * abs(yaw)
    most = [max(a, b) * dt for a, b in zip(cfg.acceleration, cfg.braking)]
    off = 0.5 * (math.hypot(after[0] - before[0], after[1] - before[1]) + math.hypot(*[most[k] for k in cfg.linear]))
    twirl = 0.0 if cfg.turn is None else 0.5 * (abs(after[2] - before[2]) + most[cfg.turn])
    doubt = max(0.0, min(slack, off * dt)), max(0.0, min(spin, twirl * dt))
    return _moved(last, t.measured_at, twist, doubt)


def _moved(last: Mark, at: float, twist: Planar, doubt: tuple[float, float] | None) -> Mark:
    """The mark after moving with a twist, and how far off that may be [m], [rad]; None for a robot at rest: what it
    measures is noise, and adds up to no way."""
    dt = min(at - last.at, MOST_AGE)
    vx, vy, w = twist
    x, y, yaw = advance(last.x, last.y, last.yaw, vx, vy, w, dt)
    if doubt is None:
        return Mark(at, x, y, yaw, *last[4:])
    return Mark(at, x, y, yaw, last.way + math.hypot(vx, vy) * dt, last.turned + abs(w) * dt, last.slack + doubt[0],
                last.spin + doubt[1])  # fmt: skip


def _longer(trail: tuple[Mark, ...], now: Mark, kept: float) -> tuple[Mark, ...]:
    """The trail with one mark more; the newest are replaced until they are a stride apart, those before the last
    ``kept`` seconds dropped."""
    if len(trail) > 1 and trail[-1].at - trail[-2].at < max(STRIDE, kept / MARKS):
        trail = trail[:-1]
    drop = 0
    while drop + 1 < len(trail) and trail[drop + 1].at <= now.at - kept:
        drop += 1
    return (*trail[drop:], now)


def _on(trail: tuple[Mark, ...], at: float) -> Mark:
    """Where a trail was at a time; before its beginning nobody knows, and the robot is taken to have moved as in its
    first stretch."""
    after = trail[-1]
    if at >= after.at:
        return after
    then = after
    for mark in reversed(trail[:-1]):
        then = mark
        if mark.at <= at:
            break
        after = mark
    gap = after.at - then.at
    if gap <= 0.0:
        return after
    share = max(at - then.at, -MOST_AGE) / gap
    return Mark(*[a + share * (b - a) for a, b in zip(then, after, strict=True)])
