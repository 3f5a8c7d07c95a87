# SPDX-License-Identifier: Apache-2.0
"""Where a base may come until it stands, if a command is followed by a stop at the next tick: a set, not one way.

Each linear axis goes on by anything between nothing and its :class:`~jepa_ros.safety.envelope.Decay`, and so does the
turn. The axes of a base brake each by itself, or all by one ratio, which makes the one that would stand first brake for
as long as the last: the longer of the two counts. For one course of the heading the places that can be reached are the
sum of one curve an axis and its parts; over the courses between the least and the most turn they make a fan. The set
is the convex hull of a few samples of it, and holds all of them.
"""

from __future__ import annotations

import math

from jepa_ros.safety import envelope
from jepa_ros.safety.envelope import Decay, in_force, next_tick
from jepa_ros.safety.geometry import Point, convex_hull
from jepa_ros.safety.tick import Tick

#: Steps of a curve's integral. Headings of the fan lie at most so far [rad] apart; a fan wider than this is a disc.
STEPS, FAN, WIDEST = 3, 0.6, 2.4
#: Share of the way by which the edge of the fan lies outside of the samples' hull: 1 / cos(FAN / 4) - 1.
BULGE = 0.012
NOTHING = Decay(0.0, 0.0, 1.0)


class Reach:
    """What may come of a command scaled by ``share``, in the frame that the body has now.

    Attributes:
        length: no place further than this can be reached [m]. peak: fastest that it may be [m/s], up and down included.
        time: when it stands at the latest [s].
    """

    __slots__ = ("_axes", "_held", "_turn", "length", "peak", "time")

    def __init__(self, t: Tick, u: list[float], share: float = 1.0) -> None:
        cfg, wait = t.cfg, t.cfg.reaction_time + next_tick(t)
        lows, highs = envelope.hull(t)
        asked = [share * v for v in u]
        moves = share > 0.0 and any(u)
        stop = change = 0.0
        for v, low, high, a, b in zip(asked, lows, highs, cfg.acceleration, cfg.braking, strict=True):
            most = max(high, v, -low, -v)
            if most > stop * b:
                stop = most / b
            change = max(change, (high - low) / b)
            if moves:
                faster = v > max(high, 0.0) or v < min(low, 0.0)
                change = max(change, max(high - v, v - low) / (min(a, b) if faster else b))
        window = wait if moves else cfg.reaction_time
        held = in_force(t)
        curves: list[tuple[Decay, Decay] | None] = []
        longest = 0.0
        for k in (cfg.forward, cfg.sideways, cfg.up, cfg.turn):
            if k is None:
                curves.append(None)
                continue
            v = asked[k]
            pair = []
            for sign, high in ((1.0, max(highs[k], v)), (-1.0, max(-lows[k], -v))):
                if high <= 0.0:
                    pair.append(NOTHING)
                    continue
                braking, later = high / stop, 0.0
                if change > 0.0:
                    # By one ratio, an axis comes down to what is sent no faster than the axis that has most to change.
                    least = lows[k] if sign > 0.0 else -highs[k]
                    drop = high - (min(least, sign * v) if moves else least)
                    later = window * max(0.0, 1.0 - drop / (change * braking))
                longest_held = max(later, wait - (high - sign * v) / braking if sign * v > 0.0 else 0.0)
                for time, slowest, fastest in held:
                    rate = fastest[k] if sign > 0.0 else -slowest[k]
                    if rate > 0.0:
                        longest_held = max(longest_held, min(time + later, window) - (high - rate) / braking)
                decay = Decay(high, longest_held, braking)
                longest = max(longest, decay.held)
                pair.append(decay)
            curves.append((pair[0], pair[1]))
        self._axes, self._turn, self._held = curves[:3], curves[3], longest
        self.time = longest + stop
        ways = [max(p[0].way, p[1].way) for p in self._axes[:2] if p is not None]
        peaks = [max(p[0].high, p[1].high) for p in self._axes if p is not None]
        self.length = math.hypot(*ways)
        self.peak = math.hypot(*peaks)

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
