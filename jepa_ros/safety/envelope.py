# SPDX-License-Identifier: Apache-2.0
"""How fast a body may be from now on, axis by axis: what a promise about its way has to reckon with.

The contract promises that an axis obeys a command within ``reaction_time`` and brakes at least as hard as ``braking``.
It does not say how much sooner, how much harder, or whether the axes keep together. So each axis is given an interval
that holds its rate whatever the body makes of that freedom: from the measured rate and from all that was sent and may
still be in force.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jepa_ros.safety.tick import Tick

#: What was sent: (since when, least, highest rates).
Span = tuple[float, list[float], list[float]]
#: What was sent is kept in so many spans of the reaction time; a gate of 1 kHz need not look at each command anew.
SPANS = 8
#: Share of a rate by which a base's odometry may be wrong (docs/safety.md, Conditions).
ODOMETRY = 0.02
#: Of times [s].
ROUNDING = 1e-9


def follow(t: Tick) -> None:
    """Keep what was sent within the reaction time, and what braking may have left of what was sent before."""
    s, cfg = t.s, t.cfg
    if cfg.by_position:
        return
    wait, begin, recent = cfg.reaction_time, t.now - t.dt, s.recent  # it left at the last tick
    if recent and begin - recent[-1][0] < wait / SPANS:
        first, lows, highs = recent[-1]
        if lows != s.out or highs != s.out:
            recent = (*recent[:-1], (first, [*map(min, lows, s.out)], [*map(max, highs, s.out)]))
    else:
        recent = (*recent, (begin, s.out, s.out))
    if any(s.out):
        s.led = (begin, s.out)
    lows, highs = s.swing or (s.out, s.out)
    if any(lows) or any(highs):
        if cfg.joints:
            least = [b * t.dt for b in cfg.braking]
            lows = [v + b if v < -b else 0.0 for v, b in zip(lows, least, strict=True)]
            highs = [v - b if v > b else 0.0 for v, b in zip(highs, least, strict=True)]
        else:
            lows, highs = _left(t, lows, highs, recent)
    drop = 0
    while drop + 1 < len(recent) and recent[drop + 1][0] <= t.now - wait:
        if any(recent[drop][1]) or any(recent[drop][2]):
            lows, highs = [*map(min, lows, recent[drop][1])], [*map(max, highs, recent[drop][2])]
        drop += 1
    s.recent, s.swing = recent[drop:] if drop else recent, (lows, highs)
    oldest, drop = t.now - wait - 2.0 * cfg.period, 0  # no older measurement is prompt
    while drop < len(s.in_force) and s.in_force[drop][0] < oldest:
        drop += 1
    s.in_force = (*s.in_force[drop:], (t.now, *sent(t)))


def _left(t: Tick, lows: list[float], highs: list[float], recent: Sequence[Span]) -> tuple[list[float], list[float]]:
    """What braking for a tick, each axis by itself or all by one ratio, may leave of the rates of a base, while it
    takes up what is in force."""
    b, (_, least, most) = t.cfg.braking, recent[-1]
    for _, low, high in recent[:-1]:
        if low != least or high != most:
            least, most = [*map(min, least, low)], [*map(max, most, high)]
    if lows == least and highs == most:
        return lows, highs
    stops = others([max(high, -low) / b for low, high, b in zip(lows, highs, b)])
    changes = others([(max(h, m) - min(w, n)) / b for h, m, w, n, b in zip(highs, most, lows, least, b)])
    span, down, up = t.dt, [], []
    for low, high, w, m, b, change, stop in zip(lows, highs, least, most, t.cfg.braking, changes, stops):
        down.append(-max(0.0, after(-low, -w, b, change, stop, span)) if low < 0.0 else 0.0)
        up.append(max(0.0, after(high, m, b, change, stop, span)) if high > 0.0 else 0.0)
    return down, up


def others(times: list[float]) -> list[float]:
    """For each axis the longest of the other axes' times (A,)."""
    most = second = 0.0
    which = -1
    for k, time in enumerate(times):
        if time > most:
            most, second, which = time, most, k
        elif time > second:
            second = time
    found = [most] * len(times)
    if which >= 0:
        found[which] = second
    return found


def after(high: float, target: float, braking: float, change: float, stop: float, span: float) -> float:
    """The highest rate that an axis may have after ``span`` s: it had ``high``, and is told ``target`` or nothing.

    By itself it loses ``braking`` a second. By one ratio with axes that need longer it loses its own distance to what
    it is told over the time that they need. That loss is smallest at the end: reckoned with over the whole span it
    makes a bound, in whatever order the two are told.

    Args:
        change, stop: how long the other axes may brake [s], to what is sent, and to nothing.

    Returns:
        Below nothing by what it could have lost after it stood.
    """
    if span <= 0.0:
        return high
    rate = high - braking * span
    if high > 0.0 and stop > 0.0:
        eased = high * stop / (stop + span)
        if eased > rate:
            rate = eased
    if target > 0.0:
        eased = (high * change + target * span) / (change + span)
        if eased > rate:
            rate = eased
        if target > rate:
            rate = target
    return rate


def lasting(
    rate: float, sent: float, targets: list[float], spans: list[float], braking: float, change: float, stop: float
) -> float:
    """The highest rate that is left of ``rate`` after one target or what is ``sent`` now, for a span, and another.

    A rate that is told to an axis is not lost. Otherwise this is :func:`after`, called with each target in turn; it
    stands here in line because a tick asks for hundreds of them.
    """
    for target, span in zip(targets, spans):
        if sent > target:
            target = sent
        if target >= rate > 0.0 or span <= 0.0:
            continue
        left = rate - braking * span
        if rate > 0.0 and stop > 0.0:
            eased = rate * stop / (stop + span)
            if eased > left:
                left = eased
        if target > 0.0:
            eased = (rate * change + target * span) / (change + span)
            if eased > left:
                left = eased
            if target > left:
                left = target
        rate = left
    return rate


def sent(t: Tick) -> tuple[list[float], list[float]]:
    """(least, highest) rate of each axis that was sent and may still be in force, (A,) each."""
    if t.sent is None:
        recent = t.s.recent
        lows, highs = (recent[0][1], recent[0][2]) if recent else (t.s.out, t.s.out)
        for _, low, high in recent[1:]:
            if low != lows or high != highs:
                lows, highs = [*map(min, lows, low)], [*map(max, highs, high)]
        t.sent = (lows, highs)
    return t.sent


def coasting(t: Tick) -> tuple[list[float], list[float]]:
    """The same with what braking may have left of what was sent before."""
    lows, highs = sent(t)
    if t.s.swing is None:
        return lows, highs
    return [*map(min, lows, t.s.swing[0])], [*map(max, highs, t.s.swing[1])]


def hull(t: Tick) -> tuple[list[float], list[float]]:
    """(least, highest) rate that each axis may have from now until it obeys what is sent at this tick, (A,) each.

    Since it was measured an axis may have taken up what was in force: then, and at the ticks since.
    """
    if t.hull is None:
        if t.measured is None or not t.prompt:
            lows, highs = coasting(t)
        else:
            lows, highs = sent(t)
            then = t.now
            for when, low, high in reversed(t.s.in_force):
                if then <= t.measured_at + ROUNDING:
                    break
                if low != lows or high != highs:
                    lows, highs = [*map(min, lows, low)], [*map(max, highs, high)]
                then = when
        if t.measured is not None:
            few = ODOMETRY if not t.cfg.joints else 0.0
            more, less = 1.0 - few, 1.0 + few
            least, most = list[float](), list[float]()
            for v, slow, fast in zip(t.measured, lows, highs, strict=True):
                wide, narrow = v / more, v / less
                lower, upper = (wide, narrow) if v < 0.0 else (narrow, wide)
                least.append(lower if lower < slow else slow)
                most.append(upper if upper > fast else fast)
            lows, highs = least, most
        t.hull = (lows, highs)
    return t.hull


def in_force(t: Tick) -> list[tuple[float, list[float], list[float]]]:
    """What was sent of late, oldest first: (for how long [s] it may still be in force, least and highest rates of it
    and of what was sent since)."""
    if t.held is None:
        recent, wait = t.s.recent, t.cfg.reaction_time
        last = len(recent) - 1
        held: list[tuple[float, list[float], list[float]]] = []
        lows = highs = t.s.out
        for k in range(last, -1, -1):
            _, low, high = recent[k]
            if (low is not lows or high is not highs) and (low != lows or high != highs):
                wide = [*map(min, lows, low)], [*map(max, highs, high)]
                if wide != (lows, highs):
                    lows, highs = wide
            if held and held[-1][1] is lows and held[-1][2] is highs:
                continue  # what was sent since is in force for longer
            held.append((max(0.0, recent[k + 1][0] + wait - t.now) if k < last else wait, lows, highs))
        t.held = held[::-1]
    return t.held


class Decay(NamedTuple):
    """The highest rate that an axis may have over time: ``high`` for ``held`` s, then braked to nothing."""

    high: float
    held: float
    braking: float

    @staticmethod
    def of(high: float, braking: float, held: Sequence[tuple[float, float]]) -> Decay:
        """The curve over all that may be in force.

        Args:
            high: the highest rate of all, at least 0. held: (rate, for how long it may be in force) of each.
        """
        longest = 0.0
        for rate, time in held:
            if rate > 0.0:
                longest = max(longest, time - (high - rate) / braking)
        return Decay(high, longest, braking)

    @property
    def end(self) -> float:
        """When it stands [s]."""
        return self.held + self.high / self.braking if self.high > 0.0 else 0.0

    @property
    def way(self) -> float:
        """How far it comes until it stands."""
        return self.high * (self.held + 0.5 * self.high / self.braking) if self.high > 0.0 else 0.0

    def gone(self, time: float) -> float:
        """How far it comes within ``time`` s."""
        if time <= self.held or self.high <= 0.0:
            return self.high * time
        after = min(time - self.held, self.high / self.braking)
        return self.high * (self.held + after) - 0.5 * self.braking * after * after


def next_tick(t: Tick) -> float:
    """How long it may be until the next command [s]: late ticks of late are reckoned with."""
    return max(t.cfg.period, t.s.slowest)
