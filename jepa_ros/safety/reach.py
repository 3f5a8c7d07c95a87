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
from jepa_ros.safety.envelope import after, in_force, lasting, next_tick, others
from jepa_ros.safety.geometry import Point
from jepa_ros.safety.outlines import convex_hull
from jepa_ros.safety.tick import Tick

#: Steps of a curve's integral. Headings of the fan lie at most so far [rad] apart; a fan wider than this is a disc.
STEPS, FAN, WIDEST = 3, 0.6, 2.4
STRAIGHT = [(1.0, 0.0)] * STEPS
#: Share of the way by which the edge of the fan lies outside of the samples' hull: 1 / cos(FAN / 4) - 1.
BULGE = 0.012
#: Corners of a convex polygon, and what is to be added to it all round [m].
Places = tuple[list[Point], float]


class Course:
    """The highest rate that an axis may have: ``high``, then braked to ``low``, then by one ratio to nothing.

    Attributes:
        held, bend, end: when it leaves ``high``, comes to ``low``, stands [s]. way: how far it comes until then.
    """

    __slots__ = ("bend", "braking", "end", "held", "high", "low", "way")

    def __init__(self, high: float, held: float, braking: float, low: float, bend: float, end: float) -> None:
        self.high, self.held, self.braking, self.low, self.bend, self.end = high, held, braking, low, bend, end
        self.way = high * held + 0.5 * (high + low) * (bend - held) + 0.5 * low * (end - bend)

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
    """What may come of a command (A,), in the frame that the body has now; zeros that do not move it are a stop.

    Attributes:
        length: no place further than this can be reached [m]. peak: fastest that it may be [m/s], up and down included.
        time: when it stands at the latest [s].
    """

    __slots__ = ("_axes", "_held", "_turn", "_whole", "length", "peak", "time")

    def __init__(self, t: Tick, asked: list[float], moves: bool) -> None:
        cfg = t.cfg
        # Zeros that are sent now, or at the next tick, are obeyed by then; until then what was sent before may be.
        wait = cfg.reaction_time + (next_tick(t) if moves else 0.0)
        axes = _axes(t)
        changes, stops = [axis.change for axis in axes], [axis.stop for axis in axes]
        for k, v in enumerate(asked):
            axis = axes[k]
            if moves and not axis.low <= v <= axis.high:  # faster than it may be, or against that: else no change
                b = axis.braking
                gentle = axis.gentle if v > max(axis.high, 0.0) or v < min(axis.low, 0.0) else b
                changes[k] = (v - axis.low if v > axis.high else axis.high - v) / gentle
                stops[k] = max(axis.stop, abs(v) / b)
        changes, stops = others(changes), others(stops)
        last = 0.0  # how long it brakes from then on [s]
        found: list[tuple[float, float, float, float]] = []  # by axis: highest rate, and that at ``wait``, up and down
        for axis, change, stop, sent in zip(axes, changes, stops, asked):
            b, rate, back = axis.braking, 0.0, 0.0
            up, down = axis.ways
            high = up.most if up.most > sent else sent
            if high > 0.0:
                rate = up.left(high, sent, b, change, stop)
                if moves:
                    rate = after(rate, sent, b, change, stop, wait - up.until)
                if rate > last * b:
                    last = rate / b
            low = down.most if down.most > -sent else -sent
            if low > 0.0:
                back = down.left(low, -sent, b, change, stop)
                if moves:
                    back = after(back, -sent, b, change, stop, wait - down.until)
                if back > last * b:
                    last = back / b
            found.append((high, rate, low, back))
        self.time = wait + last
        self._held = 0.0
        self._whole: Places | None = None
        self._axes: list[tuple[Course, Course] | None] = []
        peaks, ways = [], []
        for place, one in enumerate((cfg.forward, cfg.sideways, cfg.up, cfg.turn)):
            if one is None:
                self._axes.append(None)
                continue
            (high, rate, low, back), b = found[one], axes[one].braking
            left = self._course_of(high, rate, b, wait) if high > 0.0 else NOTHING
            right = self._course_of(low, back, b, wait) if low > 0.0 else NOTHING
            self._axes.append((left, right))
            if place < 3:
                peaks.append(left.high if left.high >= right.high else right.high)
            if place < 2:
                ways.append(left.way if left.way >= right.way else right.way)
        self._turn = self._axes.pop()
        self.length = math.hypot(*ways)
        self.peak = math.hypot(*peaks)

    def _course_of(self, high: float, low: float, braking: float, wait: float) -> Course:
        """From the highest rate and the one at ``wait``, which is below nothing where it may stand before that."""
        held = wait - (high - low) / braking
        if not held > 0.0:
            held = 0.0
        elif held > self._held:
            self._held = held
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
            [] if pair is None else [_steps(course, time, sign) for course, sign in zip(pair, (1.0, -1.0))
                                     if course.high > 0.0]
            for pair in self._axes[:2]
        )  # fmt: skip
        points: list[Point] = [(0.0, 0.0)]
        for (c0, s0), (c1, s1), (c2, s2) in courses:
            fore = [(c0 * a + c1 * b + c2 * c, s0 * a + s1 * b + s2 * c) for a, b, c in ahead]
            points += fore
            if beside:
                side = [(-s0 * a - s1 * b - s2 * c, c0 * a + c1 * b + c2 * c) for a, b, c in beside]
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
        m0, m1, m2 = 0.5 * time / STEPS, 1.5 * time / STEPS, 2.5 * time / STEPS
        a0, a1, a2 = -right.gone(m0), -right.gone(m1), -right.gone(m2)
        w0, w1, w2 = left.gone(m0) - a0, left.gone(m1) - a1, left.gone(m2) - a2
        count = 1 if wide < 1e-3 else 2 + int(wide / FAN)
        shares = [i / (count - 1) for i in range(count)] if count > 1 else [0.5]
        cos, sin = math.cos, math.sin
        courses = []
        for share in shares:
            h0, h1, h2 = a0 + share * w0, a1 + share * w1, a2 + share * w2
            courses.append([(cos(h0), sin(h0)), (cos(h1), sin(h1)), (cos(h2), sin(h2))])
        return courses, BULGE if count > 1 else 0.5 * wide


class _Way:
    """One direction of an axis at a tick.

    Attributes:
        most: the highest rate that it may have. targets, spans: the highest that is in force, from step to step, and
            for how long; least: what is sent plays no part beside them up to this rate. until: how long that is in all.
    """

    __slots__ = ("_known", "least", "most", "spans", "targets", "until")

    def __init__(self, most: float, targets: list[float], spans: list[float], until: float) -> None:
        self.most, self.targets, self.spans, self.until = most, targets, spans, until
        self.least = max(0.0, min(targets)) if targets else 0.0
        self._known: tuple[float, float, float, float] | None = None

    def left(self, rate: float, sent: float, braking: float, change: float, stop: float) -> float:
        """What is left of a rate after what was sent before, for as long as it may be in force, or what is sent now."""
        if sent > self.least:
            return lasting(rate, sent, self.targets, self.spans, braking, change, stop)
        known = self._known
        if known is None or known[0] != rate or known[1] != change or known[2] != stop:
            left = lasting(rate, sent, self.targets, self.spans, braking, change, stop)
            self._known = known = (rate, change, stop, left)
        return known[3]


class _Axis(NamedTuple):
    """An axis at a tick, whatever is sent now.

    Attributes:
        low, high: the rates that it may have. change, stop: how long it may brake [s], to what it was sent and to
            nothing. gentle: the less of acceleration and braking. ways: up and down.
    """

    low: float
    high: float
    braking: float
    gentle: float
    change: float
    stop: float
    ways: tuple[_Way, _Way]


def _axes(t: Tick) -> list[_Axis]:
    """Each axis, worked out once a tick."""
    if t.axes is None:
        held, (lows, highs) = in_force(t), envelope.hull(t)
        t.axes = []
        spans, at = [], 0.0
        for time, _, _ in held:
            spans.append(time - at)
            at = time
        for k, (low, high, a, b) in enumerate(zip(lows, highs, t.cfg.acceleration, t.cfg.braking, strict=True)):
            up = _Way(high, [fastest[k] for _, _, fastest in held], spans, at)
            down = _Way(-low, [-slowest[k] for _, slowest, _ in held], spans, at)
            t.axes.append(_Axis(low, high, b, min(a, b), (high - low) / b, max(high, -low, 0.0) / b, (up, down)))
    return t.axes  # type: ignore[no-any-return]


def _steps(course: Course, time: float, sign: float) -> tuple[float, float, float]:
    """How far it comes in each of the steps of ``time`` s."""
    first, second, whole = course.gone(time / 3.0), course.gone(time / 1.5), course.gone(time)
    return sign * first, sign * (second - first), sign * (whole - second)
