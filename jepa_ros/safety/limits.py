# SPDX-License-Identifier: Apache-2.0
"""The limits of the machine. Plain floats: two axes are too few for numpy.

Rates are changed here. All axes of a base are scaled by one ratio, so that the curvature of the motion stays what was
asked for. For positions the rows say which limits the last stage keeps (:mod:`jepa_ros.safety.positions`).
"""

from __future__ import annotations

import math

from jepa_ros.safety.envelope import Decay, hull, in_force, next_tick
from jepa_ros.safety.rows import check
from jepa_ros.safety.tick import Tick

#: Slack of comparisons [share of a limit]: rounding is no violation.
EPSILON = 1e-9
#: How far back [s] it is remembered how far joints may have come; a measurement that old is no longer used.
REMEMBERED = 1.0


@check("position_limit")
def position_limit(t: Tick) -> None:
    """Joints: outward motion is blocked at the limit and slowed down before it; inward motion is allowed."""
    cfg = t.cfg
    if cfg.joint_range is None:
        return
    low, high = cfg.joint_range
    if cfg.by_position:
        t.span = cfg.joint_range
        blocked = [] if t.still else [k for k, u in enumerate(t.u) if not low[k] - EPSILON <= u <= high[k] + EPSILON]
    else:
        blocked = []
        for k, u in enumerate(t.u):
            t.u[k] = _towards_limit(t, k, u, low[k], high[k])
            if abs(t.u[k] - u) > EPSILON * (1.0 + abs(u)):
                blocked.append(k)
    if blocked:
        t.trip("position_limit", f"at the position limit: {', '.join(cfg.joints[k] for k in blocked)}")


def follow_joints(t: Tick) -> None:
    """Add up how far joints that are commanded by velocity may have come, down and up, tick by tick.

    What was measured is older than now by the age of its stamp, over which a joint may have followed other commands
    than the ones that are in force now.
    """
    s = t.s
    if t.cfg.by_position or not t.cfg.joints:
        return
    lows, highs = hull(t)
    if s.hull_before is not None:  # what was in force since the last tick may be no longer
        lows, highs = [*map(min, lows, s.hull_before[0])], [*map(max, highs, s.hull_before[1])]
    s.hull_before = t.hull
    dt = min(t.dt, 1.0)
    ways = s.ways
    down, up = ways[-1][1:] if ways else ([0.0] * t.cfg.size, [0.0] * t.cfg.size)
    if ways and not t.ros >= ways[-1][0] - t.cfg.stamp_tolerance:
        ways = ()  # ROS time jumped back, or is no number; by a little it may step: what was told before still counts
    down = [d + v * dt if v < 0.0 else d for d, v in zip(down, lows, strict=True)]
    up = [d + v * dt if v > 0.0 else d for d, v in zip(up, highs, strict=True)]
    drop = 0
    while drop + 1 < len(ways) and ways[drop + 1][0] <= t.ros - REMEMBERED:
        drop += 1
    s.ways = (*ways[drop:], (t.ros, down, up))


def _since(t: Tick, stamp: float, k: int) -> tuple[float, float]:
    """How far joint ``k`` may have come since ``stamp``, (down, up), from the last tick before it.

    Where ROS time stepped back, a stamp can be of before the step or of after it: it is taken for the earlier one.
    """
    now = t.s.ways[-1]
    then = t.s.ways[0]
    for entry in t.s.ways:
        if entry[0] > stamp or (entry[0] < then[0] and stamp < then[0] + next_tick(t)):
            break
        then = entry
    return now[1][k] - then[1][k], now[2][k] - then[2][k]


def _towards_limit(t: Tick, k: int, u: float, low: float, high: float) -> float:
    """The rate ``u`` of joint ``k``, slow enough to stop before its limit.

    From where it may have come to since it was measured, with all the speed that it may have, over the reaction time
    and one tick of ``u``, and then with the guaranteed braking.
    """
    joints = t.i.joint_states
    if t.joints is None or joints is None or not t.s.ways:
        return 0.0
    if u == 0.0:
        return u
    down, up = _since(t, joints.stamp, k)
    lows, highs = hull(t)
    if u > 0.0:
        room, now = high - t.joints[k] - up, max(highs[k], 0.0)
        sent = [(fast[k], time) for time, _, fast in in_force(t)]
    else:
        room, now = t.joints[k] + down - low, max(-lows[k], 0.0)
        sent = [(-slow[k], time) for time, slow, _ in in_force(t)]
    held, b = t.cfg.reaction_time + next_tick(t), t.cfg.braking[k]

    def way(asked: float) -> float:
        return Decay.of(max(now, asked), b, [*sent, (asked, held)]).way

    if way(abs(u)) <= room:
        return u
    if way(0.0) > room:
        return 0.0
    least, most = 0.0, abs(u)
    for _ in range(12):
        middle = 0.5 * (least + most)
        least, most = (middle, most) if way(middle) <= room else (least, middle)
    return math.copysign(least, u)


@check("velocity_limit")
def velocity_limit(t: Tick) -> None:
    """One ratio for all axes. A range that does not allow a direction at all stops everything."""
    ratio, worst = 1.0, -1
    cfg = t.cfg
    t.bounded = True
    if cfg.by_position:
        return
    for k, u in enumerate(t.u):
        bound = cfg.high[k] if u > 0.0 else -cfg.low[k]
        if abs(u) > bound * (1.0 + EPSILON) + 1e-12:
            share = bound / abs(u)
            if share < ratio:
                ratio, worst = share, k
    if worst < 0:
        return
    t.u = [u * ratio for u in t.u]
    t.trip("velocity_limit", f"{cfg.axis(worst)} over its velocity limit: all axes are slowed alike")


@check("acceleration_limit")
def acceleration_limit(t: Tick) -> None:
    """The change since the last tick is scaled by one ratio; slowing down may use the guaranteed braking too."""
    cfg, before, wanted = t.cfg, t.s.out, t.u
    t.smooth = True
    if cfg.by_position:
        return
    dt = min(t.dt, 2.0 * cfg.period)  # a tick between two (a service was called) is short: there is less way in it
    ratio, worst = 1.0, -1
    for k in range(cfg.size):
        change = wanted[k] - before[k]
        slower = abs(wanted[k]) < abs(before[k]) and wanted[k] * before[k] >= 0.0
        rate = max(cfg.acceleration[k], cfg.braking[k]) if slower else cfg.acceleration[k]
        if abs(change) > rate * dt * (1.0 + EPSILON):
            share = rate * dt / abs(change)
            if share < ratio:
                ratio, worst = share, k
    if worst < 0:
        return
    t.u = [b + ratio * (w - b) for w, b in zip(wanted, before, strict=True)]
    if cfg.joints:
        t.u = [_brakes(t, k, before[k], wanted[k], t.u[k], dt) for k in range(cfg.size)]
    t.trip("acceleration_limit", f"{cfg.axis(worst)} over its acceleration limit: the change takes longer")


def _brakes(t: Tick, k: int, before: float, wanted: float, allowed: float, dt: float) -> float:
    """A joint that slows down brakes as hard as it may, or another joint's limit would let it overrun its end."""
    if not (abs(wanted) < abs(before) and wanted * before >= 0.0):
        return allowed
    most = max(t.cfg.acceleration[k], t.cfg.braking[k]) * dt
    return max(wanted, before - most) if before > 0.0 else min(wanted, before + most)
