# SPDX-License-Identifier: Apache-2.0
"""Velocity, acceleration and position limits, and how a stop is shaped. Plain floats: two axes are too few for numpy.

All axes are scaled by one ratio, so that the curvature of the motion stays what was asked for. A stop of velocities
ends in zeros, never in silence; a stop of positions holds the measured position, captured once.
"""

from __future__ import annotations

import math

from jepa_ros.safety.rows import check
from jepa_ros.safety.tick import Tick

#: Slack of comparisons [share of a limit]: rounding is no violation.
EPSILON = 1e-9


@check("position_limit")
def position_limit(t: Tick) -> None:
    """Joints: outward motion is blocked at the limit and slowed down before it; inward motion is allowed."""
    if t.cfg.joint_range is None:
        return
    low, high = t.cfg.joint_range
    blocked = []
    for k in range(t.cfg.size):
        u = t.u[k]
        if t.cfg.output == "position":
            limited = min(max(u, low[k]), high[k])
        else:
            limited = _towards_limit(t, k, u, low[k], high[k])
        if abs(limited - u) > EPSILON * (1.0 + abs(u)):
            t.u[k] = limited
            blocked.append(t.cfg.joints[k] if t.cfg.joints else str(k))
    if blocked:
        t.trip("position_limit", f"at the position limit: {', '.join(blocked)}")


def _towards_limit(t: Tick, k: int, u: float, low: float, high: float) -> float:
    """The velocity ``u`` of joint ``k``, slow enough to stop before its limit.

    The joint is carried on by its present motion over the age of the measurement and the reaction time, then by ``u``
    for one tick, then by the guaranteed braking.
    """
    if t.joints is None or t.i.joint_states is None:
        return 0.0
    if u == 0.0:
        return u
    sign = 1.0 if u > 0.0 else -1.0
    room = high - t.joints[k] if u > 0.0 else t.joints[k] - low
    present = max(0.0, sign * (t.measured[k] if t.measured is not None else 0.0), sign * t.s.out[k])
    b, tick = t.cfg.braking[k], t.cfg.period
    room -= present * (min(max(t.ros - t.i.joint_states.stamp, 0.0), 1.0) + t.cfg.reaction_time)
    if room <= 0.0 or present * present > 2.0 * b * room:
        return 0.0
    fastest = math.sqrt((b * tick) ** 2 + 2.0 * b * room) - b * tick
    return sign * min(abs(u), fastest)


@check("velocity_limit")
def velocity_limit(t: Tick) -> None:
    """One ratio for all axes. A range that does not allow a direction at all stops everything."""
    ratio, worst = 1.0, -1
    cfg = t.cfg
    dt = min(t.dt, 2.0 * cfg.period)  # a tick between two (a service was called) is short: there is less way in it
    for k in range(cfg.size):
        u = t.u[k]
        if cfg.output == "position":
            u = (u - t.s.out[k]) / max(dt, 1e-9)
            bound = cfg.velocity[k]
        else:
            bound = cfg.high[k] if u > 0.0 else -cfg.low[k]
        if abs(u) > bound * (1.0 + EPSILON) + 1e-12:
            share = bound / abs(u)
            if share < ratio:
                ratio, worst = share, k
    if worst < 0:
        return
    if cfg.output == "position":
        t.u = [o + ratio * (u - o) for u, o in zip(t.u, t.s.out, strict=True)]
    else:
        t.u = [u * ratio for u in t.u]
    t.trip("velocity_limit", f"axis {worst} over its velocity limit: all scaled to {ratio:.2f}")


@check("acceleration_limit")
def acceleration_limit(t: Tick) -> None:
    """The change since the last tick is scaled by one ratio; slowing down may use the guaranteed braking too."""
    cfg, s = t.cfg, t.s
    dt = min(t.dt, 2.0 * cfg.period)
    before = s.rate if cfg.output == "position" else s.out
    wanted = _profile(t, dt) if cfg.output == "position" else t.u
    ratio, worst = 1.0, -1
    for k in range(cfg.size):
        change = wanted[k] - before[k]
        slower = abs(wanted[k]) < abs(before[k]) and wanted[k] * before[k] >= 0.0
        rate = max(cfg.acceleration[k], cfg.braking[k]) if slower else cfg.acceleration[k]
        if abs(change) > rate * dt * (1.0 + EPSILON):
            share = rate * dt / abs(change)
            if share < ratio:
                ratio, worst = share, k
    allowed = [b + ratio * (w - b) for w, b in zip(wanted, before, strict=True)] if worst >= 0 else wanted
    if worst >= 0 and cfg.joints:
        allowed = [_brakes(t, k, before[k], wanted[k], allowed[k], dt) for k in range(cfg.size)]
    if cfg.output == "position":
        low, high = cfg.joint_range or (cfg.low, cfg.high)
        moved = [o + v * dt for o, v in zip(s.out, allowed, strict=True)]
        t.u = [min(max(v, lo), hi) for v, lo, hi in zip(moved, low, high, strict=True)]
    else:
        t.u = list(allowed)
    if worst >= 0:
        t.trip("acceleration_limit", f"axis {worst} over its acceleration limit: the change is scaled to {ratio:.2f}")


def _brakes(t: Tick, k: int, before: float, wanted: float, allowed: float, dt: float) -> float:
    """A joint that slows down brakes as hard as it may, or another joint's limit would let it overrun its end."""
    if not (abs(wanted) < abs(before) and wanted * before >= 0.0):
        return allowed
    most = max(t.cfg.acceleration[k], t.cfg.braking[k]) * dt
    return max(wanted, before - most) if before > 0.0 else min(wanted, before + most)


def _profile(t: Tick, dt: float) -> list[float]:
    """Velocities towards target positions ``t.u`` from which the joints can still stop there with their braking."""
    rates = []
    low, high = t.cfg.joint_range or (t.cfg.low, t.cfg.high)
    for k in range(t.cfg.size):
        d = t.u[k] - t.s.out[k]
        asked = t.u[k] if t.asked is None else t.asked[k]
        goal = min(max(asked, low[k]), high[k]) - t.s.out[k]
        b = t.cfg.braking[k] * dt  # a tick of braking less: the way of this tick is gone before it brakes
        fastest = math.sqrt(b * b + 2.0 * t.cfg.braking[k] * abs(goal)) - b
        rates.append(math.copysign(min(abs(d) / dt, fastest), d) if dt > 0.0 else 0.0)
    return rates


def stop_output(t: Tick, *, at_once: bool) -> list[float]:
    """The command of a stop, (A,)."""
    s, cfg = t.s, t.cfg
    if cfg.output == "position":
        return _hold(t)
    if at_once or cfg.stop == "zero" or not any(s.out):
        return [0.0] * cfg.size
    if cfg.joints:  # each by itself: one that brakes longer must not let another overrun its end
        return [math.copysign(max(0.0, abs(v) - b * t.dt), v) for v, b in zip(s.out, cfg.braking, strict=True)]
    left = max(abs(v) / b for v, b in zip(s.out, cfg.braking, strict=True))  # s until all axes stand
    share = max(0.0, 1.0 - t.dt / left) if left > 0.0 else 0.0
    if share * left < 1e-6:
        return [0.0] * cfg.size
    return [v * share for v in s.out]


def _hold(t: Tick) -> list[float]:
    """The measured position, captured at the first tick of the stop that has one, inside the limits.

    A measurement that is late tells where the joints were: they go back there no faster than their velocity limits.
    """
    s, joints = t.s, t.i.joint_states
    late = joints is None or t.late(joints, t.cfg.states["joint_states"][0]) is not None
    if s.hold is None and t.joints is not None and (s.known or not late):
        s.known, s.hold_slowly = True, late
        s.hold = [min(max(q, lo), hi) for q, lo, hi in zip(t.joints, t.cfg.low, t.cfg.high, strict=True)]
    if s.hold is None:
        return list(s.out)
    if not s.hold_slowly:
        return list(s.hold)
    most = [v * min(t.dt, 2.0 * t.cfg.period) for v in t.cfg.velocity]
    return [o + min(max(h - o, -m), m) for h, o, m in zip(s.hold, s.out, most, strict=True)]
