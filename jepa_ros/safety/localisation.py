# SPDX-License-Identifier: Apache-2.0
"""The robot's pose between two messages of its localisation: carried on by odometry, and believed for how long.

Some localisations speak at a rate; silence is then a fault. Others (AMCL) speak only after the robot has moved by so
much, and publish *latched* (transient local), which says: this holds until I say otherwise. A latched pose stays good
while odometry is good and tells that the robot has not moved by ``pose_travel`` or ``pose_turn`` since; then a new one
is due, and is waited for as long as the topic's time-out says.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from jepa_ros.safety.reckoning import Anchor, Mark, anchored, between
from jepa_ros.safety.rows import check
from jepa_ros.safety.sensing import examine, located, read_pose
from jepa_ros.safety.tick import Tick

#: Share of the way that odometry may be wrong by: room kept while the pose is carried on.
DRIFT = 0.05


class Since(NamedTuple):
    """How the robot has moved since a pose, as odometry tells.

    Attributes:
        begun: where dead reckoning was at the pose. done: what it did since, in the frame of the robot at the pose.
        unsure: it may have moved unmeasured since the pose, by less than what makes the localisation speak.
        due: steady time since which another pose is due, or None.
    """

    begun: Anchor
    done: Mark
    unsure: bool = False
    due: float | None = None


def follow_pose(t: Tick) -> None:
    """What the robot did since the newest pose."""
    pose, s = t.i.pose, t.s
    if pose is None or "pose" not in t.cfg.states or t.cfg.joints:
        return
    since: Since | None = s.since_pose
    key, age = (pose.stamp, pose.received), t.ros - pose.stamp
    heard_late = not age <= t.cfg.states["pose"][0] + t.cfg.stamp_tolerance
    begun = anchored(t, since and since.begun, key, t.now if heard_late else t.now - max(0.0, age))
    if since is None or since.begun.key != key:
        unsure, due = heard_late, None
    else:
        unsure, due = since.unsure, since.due
    done = between(begun.then, s.here)
    far = math.hypot(done.x, done.y) >= t.cfg.pose_travel or abs(done.yaw) >= t.cfg.pose_turn
    unsure = unsure or t.measured is None or t.dt > t.cfg.late_tick
    s.since_pose = Since(begun, done, unsure, (t.now if due is None else due) if far else None)


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
        f"was not renewed although the robot went {math.hypot(since.done.x, since.done.y):.2f} m and turned "
        f"{abs(since.done.yaw):.2f} rad since (it is due after {t.cfg.pose_travel:g} m or {t.cfg.pose_turn:g} rad)"
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
    cos, sin, done = math.cos(yaw), math.sin(yaw), since.done
    slip, turn_slip = DRIFT * done.way, DRIFT * done.turned
    if since.unsure and pose.latched:
        slip, turn_slip = slip + t.cfg.pose_travel, turn_slip + t.cfg.pose_turn
    return (
        x + cos * done.x - sin * done.y,
        y + sin * done.x + cos * done.y,
        yaw + done.yaw,
        margin + slip + done.slack + yaw_margin * math.hypot(done.x, done.y) + done.spin * done.way,
        yaw_margin + turn_slip + done.spin,
    )
