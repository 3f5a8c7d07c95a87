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

from jepa_ros.safety import envelope
from jepa_ros.safety.envelope import after, in_force, next_tick, others
from jepa_ros.safety.geometry import Point, convex_hull
from jepa_ros.safety.tick import Tick

#: Steps of a curve's integral. Headings of the fan lie at most so far [rad] apart; a fan wider than this is a disc.
STEPS, FAN, WIDEST = 3, 0.6, 2.4
#: Share of the way by which the edge of the fan lies outside of the samples' hull: 1 / cos(FAN / 4) - 1.
BULGE = 0.012


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

    __slots__ = ("_axes", "_held", "_turn", "length", "peak", "time")

    def __init__(self, t: Tick, u: list[float], share: float = 1.0) -> None:
        cfg = t.cfg
        lows, highs = envelope.hull(t)
        moves = share > 0.0 and any(u)
        # Zeros that are sent now, or at the next tick, are obeyed by then; until then what was sent before may be.
        wait = cfg.reaction_time + (next_tick(t) if moves else 0.0)
        held = in_force(t)
        asked = [share * v for v in u] if moves else [0.0] * cfg.size
        changes, stops = [], []  # what each axis may have to change, and to lose [s of braking]
        for v, low, high, a, b in zip(asked, lows, highs, cfg.acceleration, cfg.braking, strict=True):
            if moves:
                gentle = min(a, b) if v > max(high, 0.0) or v < min(low, 0.0) else b
                changes.append((max(high, v) - min(low, v)) / gentle)
                stops.append(max(high, v, -low, -v) / b)
            else:
                changes.append((high - low) / b)
                stops.append(max(high, -low) / b)
        changes, stops = others(changes), others(stops)
        last = 0.0  # how long it brakes from then on [s]
        found: list[list[tuple[float, float] | None]] = []
        for k, v in enumerate(asked):
            b, change, stop = cfg.braking[k], changes[k], stops[k]
            pair: list[tuple[float, float] | None] = []
            for up in (True, False):
                sent = v if up else -v
                high = max(highs[k] if up else -lows[k], sent)
                if high <= 0.0:
                    pair.append(None)
                    continue
                rate, at = high, 0.0
                for time, slowest, fastest in held:
                    rate = after(rate, max(sent, fastest[k] if up else -slowest[k]), b, change, stop, time - at)
                    at = time
                if moves:
                    rate = after(rate, sent, b, change, stop, wait - at)
                pair.append((high, rate))
                last = max(last, rate / b)
            found.append(pair)
        self.time = wait + last
        self._held = 0.0
        courses: list[tuple[Course, Course] | None] = []
        for axis in (cfg.forward, cfg.sideways, cfg.up, cfg.turn):
            if axis is None:
                courses.append(None)
            else:
                plus, minus = found[axis]
                b = cfg.braking[axis]
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

    def places(self, time: float | None = None) -> tuple[list[Point], float] | None:
        """(corners of a convex polygon, what is to be added to it all round [m]) that holds every place within reach.

        Args:
            time: [s], None until it stands.

        Returns:
            None where it is the whole disc of ``length``.
        """
        time = self.time if time is None else min(time, self.time)
        turns = (0.0, 0.0) if self._turn is None else (-self._turn[1].gone(time), self._turn[0].gone(time))
        wide = turns[1] - turns[0]
        if wide > WIDEST:
            return None
        count = 1 if wide < 1e-3 else 2 + int(wide / FAN)
        points: list[Point] = []
        for i in range(count):
            points += self._course(i / (count - 1) if count > 1 else 0.5, time)
        return convex_hull(points), BULGE * self.length if count > 1 else 0.5 * wide * self.length

    def _course(self, share: float, time: float) -> list[Point]:
        """Corners of what can be reached for one course of the heading: the end of each axis's curve, and their sums.

        What lies between a curve and its chord is reached by another course too, that turns less.
        """
        dt, headings = time, [(1.0, 0.0)]
        if self._turn is not None and (self._turn[0].high > 0.0 or self._turn[1].high > 0.0):
            left, right = self._turn
            dt, headings = time / STEPS, []
            for n in range(STEPS):
                middle = (n + 0.5) * dt
                least = -right.gone(middle)
                angle = least + share * (left.gone(middle) - least)
                headings.append((math.cos(angle), math.sin(angle)))
        found: list[Point] = [(0.0, 0.0)]
        for pair, sideways in ((self._axes[0], False), (self._axes[1], True)):
            if pair is None:
                continue
            ends = []
            for decay, sign in ((pair[0], 1.0), (pair[1], -1.0)):
                if decay.high <= 0.0:
                    continue
                x = y = gone = 0.0
                for n, (c, s) in enumerate(headings):
                    now = decay.gone((n + 1) * dt)
                    step = sign * (now - gone)
                    gone = now
                    x, y = x + c * step, y + s * step
                ends.append((-y, x) if sideways else (x, y))
            found += [(a + c, b + d) for a, b in found for c, d in ends]
        return found
