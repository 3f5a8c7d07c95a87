# SPDX-License-Identifier: Apache-2.0
"""How far the joints of an arm may come until they stand, whatever they make of what the contract leaves open.

The answer is an interval for each axis. All the arm can do until it has stopped lies in the box of these intervals: the
contract promises that a joint obeys within ``reaction_time`` and brakes at least as hard as ``braking``, and not that
the joints keep together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jepa_ros.safety.envelope import hull, in_force, next_tick
from jepa_ros.safety.tick import Tick

#: How far back set-points are remembered [s]: a measurement that is older is no longer used.
REMEMBERED = 1.0


class Stretch(NamedTuple):
    """Axis positions (A,): where the joints are, where they come to rest if nothing new is asked of them, the lowest
    and the highest that they may come to, and where they are in the middle of the time that a stop takes."""

    now: np.ndarray
    end: np.ndarray
    low: np.ndarray
    high: np.ndarray
    half: np.ndarray


Trail = tuple[tuple[float, list[float]], ...]
#: The least and the highest of the set-points (A,) that the joints may be following, or have followed when they were
#: measured.
Said = tuple[np.ndarray, np.ndarray]
#: How far below and above its set-points each axis has been measured (A,).
Off = tuple[np.ndarray, np.ndarray]


def lengthened(trail: Trail, t: Tick) -> Trail:
    """The set-points of late with the one that left at the last tick."""
    first, drop = t.now - REMEMBERED, 0
    while drop < len(trail) and trail[drop][0] < first:
        drop += 1
    return (*trail[drop:], (t.now - t.dt, t.s.out))


def told(trail: Trail, t: Tick) -> Said:
    """See :data:`Said`."""
    joints = t.i.joint_states
    age = 0.0 if joints is None else min(max(t.ros - joints.stamp, 0.0), REMEMBERED)
    since, first = t.now - age - t.cfg.reaction_time - t.cfg.period, len(trail)
    lows = highs = trail[-1][1] if trail else t.s.out
    while first > 0 and trail[first - 1][0] >= since:
        first -= 1
        out = trail[first][1]
        if out != lows or out != highs:
            lows, highs = [*map(min, lows, out)], [*map(max, highs, out)]
    return np.array(lows), np.array(highs)


def off_the_mark(off: Off | None, said: Said, t: Tick) -> Off | None:
    """How far the joints stand off their set-points, from the last time that they stood: under load a drive sags, and
    carries that along when it moves, where its lag hides it."""
    if t.joints is None:
        return off
    (low, high), at = said, np.array(t.joints)
    below, above = np.minimum(at - low, 0.0), np.maximum(at - high, 0.0)
    if off is None or not np.any(high > low):
        return below, above
    return np.minimum(below, off[0]), np.maximum(above, off[1])


class Reckoning:
    """Where the joints may come to in one tick, for any command that may leave.

    Args:
        said: set-points of late, off: how far the joints stand off them; both of an arm commanded by position.
    """

    def __init__(self, t: Tick, said: Said | None = None, off: Off | None = None) -> None:
        self._t, self._braking = t, np.array(t.cfg.braking)
        self._low = self._high = np.array(t.joints)
        self._off = off
        if said is not None:
            self._now = np.array(t.s.out)
            self._said = said
            return
        assert t.i.joint_states is not None
        self._since(max(t.i.joint_states.stamp, t.ros - REMEMBERED))
        self._now = self._low + self._high - np.array(t.joints)  # what moved one way since it was measured
        lows, highs = hull(t)
        self._slowest, self._fastest = np.array(lows), np.array(highs)
        held = in_force(t)
        self._times = np.array([time for time, _, _ in held])[:, None]
        self._lows = np.array([low for _, low, _ in held])
        self._highs = np.array([high for _, _, high in held])
        self._wait = t.cfg.reaction_time + next_tick(t)

    def _since(self, stamp: float) -> None:
        """How far the joints may have come since they were measured, from the last tick before it."""
        ways = self._t.s.ways
        if not ways:
            return
        then = ways[0]
        for entry in ways:
            if entry[0] > stamp:
                break
            then = entry
        self._low = self._low + np.array(ways[-1][1]) - np.array(then[1])
        self._high = self._high + np.array(ways[-1][2]) - np.array(then[2])

    def of(self, rates: np.ndarray) -> Stretch:
        """With these rates (A,) as the next that leave: of the set-points, or as commands."""
        braked = 0.5 * rates * np.abs(rates) / self._braking
        times = np.abs(rates) / self._braking
        left = np.minimum(times, 0.5 * times.max())  # for so long a joint has braked by then
        middle = rates * left - 0.5 * np.sign(rates) * self._braking * left * left
        if self._t.cfg.by_position:
            there = self._now + rates * self._t.dt
            end, half = there + braked, there + middle
            low = np.minimum(self._said[0], np.minimum(there, end))
            high = np.maximum(self._said[1], np.maximum(there, end))
            if self._off is not None:
                low, high = low + self._off[0], high + self._off[1]
            return Stretch(self._now, end, np.minimum(self._low, low), np.maximum(self._high, high), half)
        there = self._now + rates * self._wait
        end, half = there + braked, there + middle
        up = self._way(np.maximum(self._fastest, 0.0), self._highs, np.maximum(rates, 0.0))
        down = self._way(np.maximum(-self._slowest, 0.0), -self._lows, np.maximum(-rates, 0.0))
        return Stretch(self._now, end, self._low - down, self._high + up, half)

    def _way(self, fastest: np.ndarray, sent: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """How far each joint may come one way, (A,): as :class:`jepa_ros.safety.envelope.Decay` has it."""
        b, most = self._braking, np.maximum(fastest, asked)
        held = np.where(sent > 0.0, self._times - (most - sent) / b, 0.0).max(0, initial=0.0)
        held = np.maximum(held, np.where(asked > 0.0, self._wait - (most - asked) / b, 0.0))
        return np.where(most > 0.0, most * (held + 0.5 * most / b), 0.0)
