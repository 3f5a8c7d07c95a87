# SPDX-License-Identifier: Apache-2.0
"""The robot's pose between two messages of its localisation: carried on by odometry, and believed for how long.

Some localisations speak at a rate; silence is then a fault. Others (AMCL) speak only after the robot has moved by so
much, and publish *latched* (transient local), which says: this holds until I say otherwise. A latched pose stays good
while odometry is good and tells that the robot has not moved by ``pose_travel`` or ``pose_turn`` since; then a new one
is due, and is waited for as long as the topic's time-out says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from jepa_ros.safety.envelope import hull, motion
from jepa_ros.safety.geometry import advance
from jepa_ros.safety.rows import check
from jepa_ros.safety.sensing import examine, located, read_pose
from jepa_ros.safety.tick import Tick

#: Share of the way that odometry may be wrong by: room kept while the pose is carried on.
DRIFT = 0.05
#: A tick that lasted longer than this [s] is not reckoned with as a whole: nobody measured what the robot did. What it
#: did of late is kept so long at least, and as long as a pose may be old.
MOST_AGE = 1.0
#: Marks of what the robot did of late lie at least so far apart [s], and there are at most so many of them, about.
STRIDE, MARKS = 0.02, 250


class Since(NamedTuple):
    """How the robot has moved since a pose, as odometry tells.

    Attributes:
        key: (stamp, receipt) of the pose's message. x, y, yaw: the motion, in the frame of the robot at the pose.
        way, turned: all that it drove [m] and turned [rad], to and fro.
        slack, spin: how far off that may be where nobody measures the motion: a base follows what it is told later, or
            more slowly, than it is told [m], [rad].
        unsure: it may have moved unmeasured since the pose, by less than what makes the localisation speak.
        due: steady time since which another pose is due, or None.
    """

    key: tuple[float, float]
    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    way: float = 0.0
    turned: float = 0.0
    slack: float = 0.0
    spin: float = 0.0
    unsure: bool = False
    due: float | None = None


class Mark(NamedTuple):
    """Where dead reckoning had come to at a tick, in a frame of its own.

    Attributes:
        ros: ROS time [s]. x, y, yaw. way, turned, slack, spin: all until then, as those of :class:`Since`.
    """

    ros: float
    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    way: float = 0.0
    turned: float = 0.0
    slack: float = 0.0
    spin: float = 0.0


def follow_pose(t: Tick) -> None:
    """Add the motion of this tick to that since the pose, or begin anew at a new pose."""
    pose, s = t.i.pose, t.s
    if "pose" not in t.cfg.states or t.cfg.joints:
        return
    dt = min(t.dt, MOST_AGE)
    (vx, vy, w), (off, twirl) = _lately(t)
    driven = t.moving() or any(s.out)  # what a robot at rest measures is noise: it adds up to no way
    way = math.hypot(vx, vy) * dt if driven else 0.0
    turned = abs(w) * dt if driven else 0.0
    slack, spin = off * dt, twirl * dt
    last: Mark = s.trail[-1] if s.trail and s.trail[-1].ros <= t.ros else Mark(t.ros)
    now = Mark(t.ros, *advance(last.x, last.y, last.yaw, vx, vy, w, dt), last.way + way, last.turned + turned,
               last.slack + slack, last.spin + spin)  # fmt: skip
    s.trail = _longer(s.trail, last, now, max(MOST_AGE, t.cfg.states["pose"][0] + t.cfg.stamp_tolerance))
    if pose is None:
        return
    key = (pose.stamp, pose.received)
    since: Since | None = s.since_pose
    if since is None or since.key != key:
        age = t.ros - pose.stamp
        heard_late = not age <= t.cfg.states["pose"][0] + t.cfg.stamp_tolerance
        since = Since(key, unsure=heard_late)
        if not heard_late:
            since = _until(now, s.trail, pose.stamp, since, (vx, vy, w))
    else:
        x, y, yaw = advance(since.x, since.y, since.yaw, vx, vy, w, dt)
        since = Since(key, x, y, yaw, since.way + way, since.turned + turned, since.slack + slack, since.spin + spin,
                      since.unsure, since.due)  # fmt: skip
    far = math.hypot(since.x, since.y) >= t.cfg.pose_travel or abs(since.yaw) >= t.cfg.pose_turn
    unsure = since.unsure or t.measured is None or t.dt > t.cfg.late_tick
    due = (t.now if since.due is None else since.due) if far else None
    if unsure is not since.unsure or due is not since.due:
        since = since._replace(unsure=unsure, due=due)
    s.since_pose = since


def _longer(trail: tuple[Mark, ...], last: Mark, now: Mark, kept: float) -> tuple[Mark, ...]:
    """The trail with one mark more; the newest are replaced until they are a stride apart, those before the last
    ``kept`` seconds dropped."""
    if not trail or trail[-1] is not last:
        return (last, now)  # it begins, or ROS time jumped back
    if len(trail) > 1 and last.ros - trail[-2].ros < max(STRIDE, kept / MARKS):
        trail = trail[:-1]
    drop = 0
    while drop + 1 < len(trail) and trail[drop + 1].ros <= now.ros - kept:
        drop += 1
    return (*trail[drop:], now)


def _until(now: Mark, trail: tuple[Mark, ...], stamp: float, since: Since, twist: tuple[float, float, float]) -> Since:
    """The motion from a stamp until now: along the trail, and before its beginning as it moves now."""
    then = trail[0]
    for mark in reversed(trail):
        if mark.ros <= stamp:
            then = mark
            break
        after = mark
    if then.ros <= stamp:
        gap = (after.ros - then.ros) if then is not now else 0.0
        share = (stamp - then.ros) / gap if gap > 0.0 else 0.0
        then = Mark(*(a + share * (b - a) for a, b in zip(then, after if gap > 0.0 else then, strict=True)))
        before = 0.0
    else:
        before = min(then.ros - stamp, MOST_AGE)
    dx, dy, yaw = now.x - then.x, now.y - then.y, now.yaw - then.yaw
    c, s = math.cos(then.yaw), math.sin(then.yaw)
    vx, vy, w = twist
    x, y, turn = advance(0.0, 0.0, 0.0, vx, vy, w, before)
    ahead, left = c * dx + s * dy, c * dy - s * dx
    c, s = math.cos(turn), math.sin(turn)
    return since._replace(
        x=x + c * ahead - s * left, y=y + s * ahead + c * left, yaw=turn + yaw,
        way=now.way - then.way + math.hypot(vx, vy) * before, turned=now.turned - then.turned + abs(w) * before,
        slack=now.slack - then.slack, spin=now.spin - then.spin,
    )  # fmt: skip


@check("pose_lost")
def pose_lost(t: Tick) -> None:
    """The pose, which the regions depend on."""
    needed = t.cfg.guardrails.needs_pose is not None and not t.cfg.joints
    located(t, "pose", "pose_lost", t.i.pose, read_pose, needed, pose_late)
    if needed and (found := pose_now(t)) is not None and found[3] > t.cfg.pose_uncertainty:
        t.trip("pose_lost", f"pose is sure to within {found[3]:.2f} m only (limit {t.cfg.pose_uncertainty:.2f} m)")


def pose_late(t: Tick, pose: Any) -> str | None:
    """Why a pose is no longer good, or None if it is."""
    timeout = t.cfg.states["pose"][0]
    since: Since | None = t.s.since_pose
    if not pose.latched or "odom" not in t.cfg.states or since is None:
        return t.late(pose, timeout)
    if not pose.stamp - t.ros <= t.cfg.stamp_tolerance:
        return t.late(pose, timeout)
    if t.measured is None:
        return f"cannot be carried on without odometry ({t.late(pose, timeout)})" if t.late(pose, timeout) else None
    if since.due is None or t.now - since.due <= timeout:
        return None
    return (
        f"was not renewed although the robot went {math.hypot(since.x, since.y):.2f} m and turned {abs(since.yaw):.2f} "
        f"rad since (it is due after {t.cfg.pose_travel:g} m or {t.cfg.pose_turn:g} rad)"
    )


def pose_now(t: Tick) -> tuple[float, float, float, float, float] | None:
    """(x, y, yaw, margin [m], heading margin [rad]) of the newest pose, carried on to now; None where it is none. It is
    worked out once a tick, after :func:`follow_pose`."""
    if not t.pose_known:
        t.pose, t.pose_known = _carried(t), True
    return t.pose


def _carried(t: Tick) -> tuple[float, float, float, float, float] | None:
    pose = t.i.pose
    if pose is None:
        return None
    wrong, value = examine(t, "pose", pose, read_pose)
    if wrong is not None:
        return None
    x, y, yaw, margin, yaw_margin = value
    since: Since | None = t.s.since_pose
    if since is None:
        return x, y, yaw, margin, yaw_margin
    cos, sin = math.cos(yaw), math.sin(yaw)
    slip, turn_slip = DRIFT * since.way, DRIFT * since.turned
    if since.unsure and pose.latched:
        slip, turn_slip = slip + t.cfg.pose_travel, turn_slip + t.cfg.pose_turn
    return (
        x + cos * since.x - sin * since.y,
        y + sin * since.x + cos * since.y,
        yaw + since.yaw,
        margin + slip + since.slack + (yaw_margin + since.spin) * math.hypot(since.x, since.y),
        yaw_margin + turn_slip + since.spin,
    )


def _lately(t: Tick) -> tuple[tuple[float, float, float], tuple[float, float]]:
    """(vx, vy, w) of the robot since the last tick, and by how much speed and turn may have been others [m/s], [rad/s].

    Where nobody measures it: the middle of what it may do from now on and could do from the last tick on, for a base
    that brakes was faster when the tick began.
    """
    s, cfg = t.s, t.cfg
    v: Sequence[float] = motion(t)
    off = twirl = 0.0
    lows, highs = hull(t)
    if t.measured is None:
        if s.hull_before is not None:
            lows, highs = [*map(min, lows, s.hull_before[0])], [*map(max, highs, s.hull_before[1])]
        v = [0.5 * (low + high) for low, high in zip(lows, highs, strict=True)]
        off = 0.5 * math.hypot(*(highs[k] - lows[k] for k in cfg.linear))
        twirl = 0.0 if cfg.turn is None else 0.5 * (highs[cfg.turn] - lows[cfg.turn])
    s.hull_before = t.hull
    vx = 0.0 if cfg.forward is None else v[cfg.forward]
    vy = 0.0 if cfg.sideways is None else v[cfg.sideways]
    return (vx, vy, 0.0 if cfg.turn is None else v[cfg.turn]), (off, twirl)
