# SPDX-License-Identifier: Apache-2.0
"""The set-point of joints that are commanded by position: how it moves, how it stops, and when it is captured anew.

The set-point (``GateState.out``) and its speed (``GateState.rate``) are all that is remembered. On each tick the speed
changes by no more than ``acceleration`` (faster) and ``braking`` (slower) allow, and is never so high that the joint
could not come to rest at its target, or at the end of its range, with its braking.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jepa_ros.safety.state import GateState
    from jepa_ros.safety.tick import Tick

#: Nearer to its target than this share of the way that one tick may take, a joint is there.
THERE = 1e-6
#: A joint that is off its set-point and has been measured not to move for so long [s] is not on its way there.
SETTLED = 0.5


def fastest(room: float, braking: float, dt: float) -> float:
    """The speed for one tick of ``dt`` s from which a joint still comes to rest within ``room``.

    The way of this tick and that of the braking after it: ``v dt + v^2 / (2 b) = room``.
    """
    b = braking * dt
    return math.sqrt(b * b + 2.0 * braking * room) - b if room > 0.0 else 0.0


def reach(v: float, acceleration: float, braking: float, dt: float) -> tuple[float, float]:
    """The least and the highest speed that a joint may have ``dt`` s after it had the speed ``v``.

    One that turns round comes to rest first, so that each tick is either braking or acceleration.
    """
    if v > 0.0:
        return max(0.0, v - braking * dt), v + acceleration * dt
    if v < 0.0:
        return v - acceleration * dt, min(0.0, v + braking * dt)
    return -acceleration * dt, acceleration * dt


def brake(cfg: Any, s: GateState, passed: float) -> list[float]:
    """One tick of a stop: each joint slows down with its own braking. Writes the new speed to ``s.rate``.

    Args:
        passed: s since the last tick.
    """
    if rested(cfg, passed):
        s.rate = [0.0] * cfg.size
        return list(s.out)
    s.rate = [
        math.copysign(max(0.0, abs(v) - b * passed), v) if v else 0.0 for v, b in zip(s.rate, cfg.braking, strict=True)
    ]
    return [p + v * passed for p, v in zip(s.out, s.rate, strict=True)]


def rested(cfg: Any, passed: float) -> bool:
    """Whether the joints have come to rest at their last set-point, because no other followed for over two periods.

    To go on with the speed of before would be a jump, and in a stop it would set standing joints in motion.
    """
    return passed > 2.0 * cfg.period * (1.0 + 1e-9)


def approach(t: Tick) -> list[float]:
    """One tick towards the target ``t.u``. Writes the new speed to ``s.rate`` and reports the limits that it met.

    All joints arrive together, on a straight line between joint positions, as far as their limits allow.
    """
    cfg, s = t.cfg, t.s
    dt = t.dt
    if dt <= 0.0:
        return list(s.out)
    if rested(cfg, dt):
        s.rate, dt = [0.0] * cfg.size, cfg.period
    ways, most = [], []
    ratio, slowest, bounded = 1.0 / dt, -1, False
    for k in range(cfg.size):
        p, g = s.out[k], t.u[k]
        if t.span is not None:  # outside of its range a joint may stay, or come in
            g = min(max(g, min(t.span[0][k], p)), max(t.span[1][k], p))
        way = g - p
        speed = t.pace * cfg.velocity[k] if t.bounded else math.inf
        braked = fastest(abs(way), cfg.braking[k], dt) if t.smooth else math.inf
        ways.append(way)
        most.append(min(speed, braked))
        if abs(way) * ratio > most[k]:
            ratio, slowest, bounded = most[k] / abs(way), k, speed < braked
    rates, changed = [way * ratio for way in ways], False
    if t.smooth:
        rates, changed = _smooth(t, ways, rates, most, dt)
    out = []
    for k, v in enumerate(rates):
        there, here = s.out[k] + ways[k], s.out[k] + v * dt
        if abs(there - here) <= THERE * cfg.velocity[k] * dt:
            rates[k], here = ways[k] / dt, there
        out.append(here)
    s.rate = rates
    if bounded and t.pace == 1.0:
        t.trip("velocity_limit", f"'{cfg.joints[slowest]}' at its velocity limit on the way to the target")
    elif changed or (slowest >= 0 and not bounded):
        t.trip("acceleration_limit", "joints change their speed no faster than their limits allow")
    return out


def _smooth(t: Tick, ways: list[float], aim: list[float], most: list[float], dt: float) -> tuple[list[float], bool]:
    """(speeds between those of the last tick and those aimed at, whether that is less than was aimed at).

    All change by one share, which keeps the line. One that has to brake, for its target or because it goes the wrong
    way, does so as hard as it may: another joint's limit must not let it overrun.
    """
    cfg, before = t.cfg, t.s.rate
    spans = [reach(v, a, b, dt) for v, a, b in zip(before, cfg.acceleration, cfg.braking, strict=True)]
    share = 1.0
    for v, w, (low, high) in zip(before, aim, spans, strict=True):
        if w > high:
            share = min(share, (high - v) / (w - v))
        elif w < low:
            share = min(share, (v - low) / (v - w))
    rates = []
    for v, w, way, fast, (low, high) in zip(before, aim, ways, most, spans, strict=True):
        new = v + share * (w - v)
        if v * way < 0.0 or way == 0.0:
            new = w
        elif abs(new) > fast:
            new = math.copysign(fast, way)
        rates.append(min(max(new, low), high))
    return rates, share < 1.0


def capture(t: Tick) -> bool:
    """Take the measured position for the set-point: the first one that is fresh, and later where a joint was moved.

    Later means: only while the gate is disabled, latched or not armed yet, never in a stop that ends by itself, or
    gravity would ratchet a joint down. Moved means: off the set-point by more than the tolerance, and either further
    off than it has been since the set-point stands, or not on its way any more. A joint that still follows a set-point
    which has stopped before it is neither.

    Returns:
        Whether the set-point was put somewhere else; nothing moves on such a tick.
    """
    cfg, s = t.cfg, t.s
    fresh = t.joints is not None and t.joints_fresh
    if not s.known:
        if fresh:
            s.out, s.rate, s.known = list(t.joints or ()), [0.0] * cfg.size, True
        return True
    if (s.enabled and s.latch is None and s.active_once) or any(s.rate):
        s.nearest = s.settled_since = None
        return False
    if not fresh:
        return False
    off = [abs(q - p) for q, p in zip(t.joints or (), s.out, strict=True)]
    s.nearest = off if s.nearest is None else [min(a, b) for a, b in zip(off, s.nearest, strict=True)]
    if t.moving():
        s.settled_since = None
    elif s.settled_since is None:
        s.settled_since = t.now
    settled = s.settled_since is not None and t.now - s.settled_since >= SETTLED
    moved = [
        d > most and (settled or d > near + most)
        for d, near, most in zip(off, s.nearest, cfg.hold_tolerance, strict=True)
    ]
    if any(moved):
        s.out = [q if m else p for m, q, p in zip(moved, t.joints or (), s.out, strict=True)]
        s.nearest = [0.0 if m else near for m, near in zip(moved, s.nearest, strict=True)]
    return any(moved)
