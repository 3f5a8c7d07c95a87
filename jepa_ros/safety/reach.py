# SPDX-License-Identifier: Apache-2.0
"""Where a base may come until it stands, if a command is followed by a stop at the next tick: a set, not one way.

Each axis goes on by anything between nothing and its :class:`Course`, the highest rate that it may have over time. The
axes of a base brake each by itself, or all by one ratio. By one ratio an axis comes down no faster than the axis that
has most to change lets it: it lags behind a command that shrinks. For one course of the heading the places that can be
reached are the sum of one curve an axis and its parts; over the courses between the least and the most turn they make a
fan. The set is the convex hull of a few samples of it, and holds all of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from jepa_ros.safety import envelope
from jepa_ros.safety.envelope import after, in_force, next_tick, others
from jepa_ros.safety.geometry import Point, convex_hull
from jepa_ros.safety.tick import Tick

#: Steps of a curve's integral. Headings of the fan lie at most so far [rad] apart; a fan wider than this is a disc.
STEPS, FAN, WIDEST = 3, 0.6, 2.4
STRAIGHT = [(1.0, 0.0)] * STEPS
#: Share of the way by which the edge of the fan lies outside of the samples' hull: 1 / cos(FAN / 4) - 1.
BULGE = 0.012
#: Corners of a convex polygon, and what is to be added to it all round [m].
Places = tuple[list[Point], float]
_Targets = list[tuple[float, float]]
_Direction = tuple[float, _Targets, float]


class Course:
    """The highest rate that an axis may have: ``high``, then braked to ``low``, then by one ratio to nothing.

    Attributes:
        held, bend, end: when it leaves ``high``, comes to ``low``, stands [s]. way: how far it comes until then.
    """

    __slots__ = ("_bent", "bend", "braking", "end", "held", "high", "low", "way")

    def __init__(self, high: float, held: float, braking: float, low: float, bend: float, end: float) -> None:
        self.high, self.held, self.braking, self.low, self.bend, self.end = high, held, braking, low, bend, end
        self._bent = high * held + 0.5 * (high + low) * (bend - held)
        self.way = self._bent + 0.5 * low * (end - bend)

    def gone(self, time: float) -> float:
        """How far it comes within ``time`` s."""
        if time >= self.end:
            return self.way
        if time <= self.held:
            return self.high * time
        if time <= self.bend:
            return self.high * time - 0.5 * self.braking * (time - self.held) ** 2
        left = self.end - time
        return self.way - 0.5 * self.low * left * left / (self.end - self.bend)


NOTHING = Course(0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


class Reach:
    """What may come of a command scaled by ``share``, in the frame that the body has now.

    Attributes:
        length: no place further than this can be reached [m]. peak: fastest that it may be [m/s], up and down included.
        time: when it stands at the latest [s].
    """

    __slots__ = ("_axes", "_held", "_turn", "_whole", "length", "peak", "time")

    def __init__(self, t: Tick, u: list[float], share: float = 1.0) -> None:
        cfg = t.cfg
        moves = share > 0.0 and any(u)
        # Zeros that are sent now, or at the next tick, are obeyed by then; until then what was sent before may be.
        wait = cfg.reaction_time + (next_tick(t) if moves else 0.0)
        axes = _axes(t)
        asked = [share * v for v in u] if moves else [0.0] * cfg.size
        changes, stops = [axis.change for axis in axes], [axis.stop for axis in axes]
        for k, v in enumerate(asked):
            axis = axes[k]
            if not axis.low <= v <= axis.high:  # faster than it may be, or against that: else it changes nothing here
                if not moves:
                    continue
                b = axis.braking
                gentle = axis.gentle if v > max(axis.high, 0.0) or v < min(axis.low, 0.0) else b
                changes[k] = (v - axis.low if v > axis.high else axis.high - v) / gentle
                stops[k] = max(axis.stop, abs(v) / b)
        changes, stops = others(changes), others(stops)
        last = 0.0  # how long it brakes from then on [s]
        found: list[list[tuple[float, float] | None]] = []
        for k, axis in enumerate(axes):
            b, change, stop, sent = axis.braking, changes[k], stops[k], asked[k]
            pair: list[tuple[float, float] | None] = []
            for most, targets, until in axis.directions:
                high = most if most > sent else sent
                if high > 0.0:
                    rate = _lowest(high, sent, targets, b, change, stop)
                    if moves:
                        rate = after(rate, sent, b, change, stop, wait - until)
                    pair.append((high, rate))
                    if rate > last * b:
                        last = rate / b
                else:
                    pair.append(None)
                sent = -sent
            found.append(pair)
        self.time = wait + last
        self._held = 0.0
        self._whole: Places | None = None
        courses: list[tuple[Course, Course] | None] = []
        for one in (cfg.forward, cfg.sideways, cfg.up, cfg.turn):
            if one is None:
                courses.append(None)
            else:
                plus, minus = found[one]
                b = cfg.braking[one]
                courses.append((self._course_of(plus, b, wait), self._course_of(minus, b, wait)))
        self._axes, self._turn = courses[:3], courses[3]
        ways = [max(p[0].way, p[1].way) for p in self._axes[:2] if p is not None]
        peaks = [max(p[0].high, p[1].high) for p in self._axes if p is not None]
        self.length = math.hypot(*ways)
        self.peak = math.hypot(*peaks)

    def _course_of(self, rates: tuple[float, float] | None, braking: float, wait: float) -> Course:
        """From the highest rate and the one at ``wait``, which is below nothing where it may stand before that."""
        if rates is None:
            return NOTHING
        high, low = rates
        held = max(0.0, wait - (high - low) / braking)
        self._held = max(self._held, held)
        if low <= 0.0:
            end = held + high / braking
            return Course(high, held, braking, 0.0, end, end)
        return Course(high, held, braking, low, wait, self.time)

    def until(self, speed: float) -> float:
        """When it is no faster than ``speed`` [m/s] at the latest [s]."""
        if self.peak <= speed:
            return 0.0
        return self._held + (self.time - self._held) * (1.0 - speed / self.peak)

    def places(self, time: float | None = None) -> Places | None:
        """(corners of a convex polygon, what is to be added to it all round [m]) that holds every place within reach.

        Args:
            time: [s], None until it stands.

        Returns:
            None where it is the whole disc of ``length``.
        """
        if time is not None and time < self.time:
            return self._places(time)
        if self._whole is None:
            self._whole = self._places(self.time)
        return self._whole

    def _places(self, time: float) -> Places | None:
        headings = self._headings(time)
        if headings is None:
            return None
        courses, more = headings
        ahead, beside = (
            [] if pair is None else [_steps(course, time, sign) for course, sign in zip(pair, (1.0, -1.0), strict=True)
                                     if course.high > 0.0]
            for pair in self._axes[:2]
        )  # fmt: skip
        points: list[Point] = [(0.0, 0.0)]
        for (c0, s0), (c1, s1), (c2, s2) in courses:
            fore = [(c0 * a + c1 * b + c2 * c, s0 * a + s1 * b + s2 * c) for a, b, c in ahead]
            side = [(-s0 * a - s1 * b - s2 * c, c0 * a + c1 * b + c2 * c) for a, b, c in beside]
            points += fore
            points += side
            points += [(x + c, y + d) for x, y in fore for c, d in side]
        return convex_hull(points), more * self.length

    def _headings(self, time: float) -> tuple[list[list[Point]], float] | None:
        """(courses of the heading, each (cosine, sine) by step; share of the way that lies beside them), or None where
        they turn too far.

        What lies between a curve and its chord is reached by another course too, that turns less.
        """
        if self._turn is None or not (self._turn[0].high > 0.0 or self._turn[1].high > 0.0):
            return [STRAIGHT], 0.0
        left, right = self._turn
        wide = left.gone(time) + right.gone(time)
        if wide > WIDEST:
            return None
        middles = [(n + 0.5) * time / STEPS for n in range(STEPS)]
        least, most = [-right.gone(m) for m in middles], [left.gone(m) for m in middles]
        count = 1 if wide < 1e-3 else 2 + int(wide / FAN)
        shares = [i / (count - 1) for i in range(count)] if count > 1 else [0.5]
        angles = [[a + share * (b - a) for a, b in zip(least, most, strict=True)] for share in shares]
        return [[(math.cos(a), math.sin(a)) for a in course] for course in angles], BULGE if count > 1 else 0.5 * wide


class _Axis(NamedTuple):
    """An axis at a tick, whatever is sent now.

    Attributes:
        low, high: the rates that it may have. change, stop: how long it may brake [s], to what it was sent and to
            nothing. gentle: the less of acceleration and braking. directions: up and down, (the highest rate that it
            may have, [(the highest that is in force, for how long)], how long that is in all).
    """

    low: float
    high: float
    braking: float
    gentle: float
    change: float
    stop: float
    directions: tuple[_Direction, _Direction]


def _axes(t: Tick) -> list[_Axis]:
    """Each axis, worked out once a tick."""
    if t.axes is None:
        held, (lows, highs) = in_force(t), envelope.hull(t)
        t.axes = []
        for k, (low, high, a, b) in enumerate(zip(lows, highs, t.cfg.acceleration, t.cfg.braking, strict=True)):
            up, down, at = [], [], 0.0
            for time, slowest, fastest in held:
                up.append((fastest[k], time - at))
                down.append((-slowest[k], time - at))
                at = time
            directions = ((high, up, at), (-low, down, at))
            t.axes.append(_Axis(low, high, b, min(a, b), (high - low) / b, max(high, -low, 0.0) / b, directions))
    return t.axes  # type: ignore[no-any-return]


def _lowest(rate: float, sent: float, targets: _Targets, braking: float, change: float, stop: float) -> float:
    """What is left of a rate after what was sent before, for as long as it may be in force, or what is sent now."""
    for target, span in targets:
        if sent > target:
            target = sent
        if not target >= rate > 0.0:
            rate = after(rate, target, braking, change, stop, span)
    return rate


def _steps(course: Course, time: float, sign: float) -> tuple[float, float, float]:
    """How far it comes in each of the steps of ``time`` s."""
    first, second, whole = course.gone(time / 3.0), course.gone(time / 1.5), course.gone(time)
    return sign * first, sign * (second - first), sign * (whole - second)
