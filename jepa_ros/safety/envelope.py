# SPDX-License-Identifier: Apache-2.0
"""How fast a body may be from now on, axis by axis: what a promise about its way has to reckon with.

The contract promises that an axis obeys a command within ``reaction_time`` and brakes at least as hard as ``braking``.
It does not say how much sooner, how much harder, or whether the axes keep together. So each axis is given an interval
that holds its rate whatever the body makes of that freedom: from the measured rate and from all that was sent and may
still be in force.
"""

from __future__ import annotations

from typing import NamedTuple

from jepa_ros.safety.tick import Tick

#: What was sent is kept in so many spans of the reaction time; a gate of 1 kHz need not look at each command anew.
SPANS = 8


def follow(t: Tick) -> None:
    """Keep what was sent within the reaction time, and what braking may have left of what was sent before."""
    s, cfg = t.s, t.cfg
    if cfg.by_position:
        return
    now, wait, sent = t.now, cfg.reaction_time, s.out
    recent = s.recent
    begin = now - t.dt  # when it left
    if recent and begin - recent[-1][0] < wait / SPANS:
        first, lows, highs = recent[-1]
        recent = (*recent[:-1], (first, [*map(min, lows, sent)], [*map(max, highs, sent)]))
    else:
        recent = (*recent, (begin, sent, sent))
    drop = 0
    while drop + 1 < len(recent) and recent[drop + 1][0] <= now - wait:
        drop += 1
    s.recent = recent = recent[drop:]
    lows, highs = recent[0][1], recent[0][2]
    for _, low, high in recent[1:]:
        lows, highs = [*map(min, lows, low)], [*map(max, highs, high)]
    t.sent = (lows, highs)
    if s.swing is None:
        s.swing = t.sent
    else:
        less = [b * t.dt for b in cfg.braking]
        s.swing = (
            [min(e, min(0.0, v + m)) for e, v, m in zip(lows, s.swing[0], less, strict=True)],
            [max(e, max(0.0, v - m)) for e, v, m in zip(highs, s.swing[1], less, strict=True)],
        )


def hull(t: Tick) -> tuple[list[float], list[float]]:
    """(least, highest) rate that each axis may have from now until it obeys what is sent at this tick, (A,) each."""
    if t.hull is None:
        lows, highs = t.sent if t.measured is not None and t.prompt else t.s.swing or t.sent
        if t.measured is not None:
            lows, highs = [*map(min, lows, t.measured)], [*map(max, highs, t.measured)]
        t.hull = (lows, highs)
    return t.hull


class Decay(NamedTuple):
    """The highest rate of an axis over time: ``h0`` for ``t0`` s, braked to ``h1``, that for ``t1`` s, braked to 0."""

    h0: float
    t0: float
    h1: float
    t1: float
    braking: float

    @staticmethod
    def of(now: float, asked: float, braking: float, wait: float, tick: float) -> Decay:
        """Of an axis whose rate is up to ``now``, under ``asked`` for one tick and a stop after it, both at least 0."""
        if asked >= now:
            return Decay(asked, wait + tick, 0.0, 0.0, braking)
        left = tick - (now - asked) / braking
        return Decay(now, wait, asked, left, braking) if left > 0.0 else Decay(now, wait, 0.0, 0.0, braking)

    @property
    def end(self) -> float:
        """When it stands [s]."""
        return self.t0 + self.h0 / self.braking + self.t1

    @property
    def way(self) -> float:
        """How far it comes until it stands."""
        return self.h0 * self.t0 + 0.5 * self.h0 * self.h0 / self.braking + self.h1 * self.t1

    def rate(self, time: float) -> float:
        """The rate after ``time`` s."""
        if time <= self.t0:
            return self.h0
        v = self.h0 - self.braking * (time - self.t0)
        if v >= self.h1 or self.t1 <= 0.0:
            return v if v > 0.0 else 0.0
        v = self.h0 - self.braking * max(time - self.t0 - self.t1, 0.0)
        return max(0.0, min(self.h1, v))

    def gone(self, time: float) -> float:
        """How far it comes within ``time`` s."""
        if time <= self.t0:
            return self.h0 * time
        gone, time = self.h0 * self.t0, time - self.t0
        b, down = self.braking, (self.h0 - self.h1) / self.braking
        if time <= down:
            return gone + time * (self.h0 - 0.5 * b * time)
        gone, time = gone + down * 0.5 * (self.h0 + self.h1), time - down
        if time <= self.t1:
            return gone + self.h1 * time
        gone, time = gone + self.h1 * self.t1, min(time - self.t1, self.h1 / b)
        return gone + time * (self.h1 - 0.5 * b * time)


def wait(t: Tick) -> tuple[float, float]:
    """(reaction time, how long it may be until the next command) [s]: late ticks of late are reckoned with."""
    return t.cfg.reaction_time, max(t.cfg.period, t.s.slowest)
