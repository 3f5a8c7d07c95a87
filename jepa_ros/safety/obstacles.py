# SPDX-License-Identifier: Apache-2.0
"""Obstacles: what the scan sees within the stopping distance or time. No map, no learning."""

from __future__ import annotations

import math

import numpy as np

from jepa_ros.safety import shares
from jepa_ros.safety.geometry import Point
from jepa_ros.safety.reckoning import MOST_AGE, Mark, anchored, between
from jepa_ros.safety.rows import check
from jepa_ros.safety.sensing import examine, read_scan
from jepa_ros.safety.tick import Tick

#: Of points that are touched already, those within 60 degrees of the direction of travel stop the robot. The others may
#: be passed, as along a wall, as long as nothing comes nearer than the nearest is now, by more than this [m].
AHEAD = 0.5
NEARER = 0.003


def free_ahead(x: np.ndarray, y: np.ndarray, twist: tuple[float, float, float], radius: float) -> tuple[float, bool]:
    """How far [m] a disc at the origin may go along the arc of ``twist`` until it touches one of some points.

    Exact, for all points at once: a point is met where its distance from the middle line of the swept band is less
    than ``radius``.

    Args:
        x, y: (n,) in the body frame [m]. twist: (vx, vy, w), with vx, vy not both 0.

    Returns:
        The free length (infinite where nothing is in the way), and whether a point is touched already.
    """
    vx, vy, w = twist
    speed = math.hypot(vx, vy)
    c, s = vx / speed, vy / speed
    along, across = c * x + s * y, c * y - s * x
    distance = np.sqrt(along * along + across * across)
    touched = distance < radius
    any_touched = bool(touched.any())
    if any_touched and bool((touched & (along > AHEAD * distance)).any()):
        return 0.0, True
    room = max(float(distance.min()) - NEARER, 0.0) if any_touched else radius
    curve = abs(w) / speed  # 1/m
    if curve < 1e-3:
        met = (np.abs(across) < room) & (along > 0.0)
        if not met.any():
            return math.inf, any_touched
        near = along - np.sqrt(np.maximum(room * room - across * across, 0.0))
        return max(0.0, float(near[met].min())), any_touched
    bend = 1.0 / curve
    side = across if w > 0.0 else -across  # the centre of the circle is at (0, bend)
    far = np.hypot(along, side - bend)
    met = np.abs(far - bend) < room
    if not met.any():
        return math.inf, any_touched
    turned = np.arctan2(along, bend - side) % (2.0 * math.pi)  # along the arc to the point's own direction
    share = (bend * bend + far * far - room * room) / (2.0 * bend * np.maximum(far, 1e-9))
    reach = np.arccos(np.clip(share, -1.0, 1.0))
    return max(0.0, float(((turned - reach)[met] * bend).min())), any_touched


def keeps_off(corners: list[Point], more: float, x: np.ndarray, y: np.ndarray, room: float) -> bool:
    """Whether some points (n,) stay further than ``room`` [m] from a convex polygon grown by ``more`` [m]."""
    if x.size == 0:
        return True
    a = np.array([*corners, corners[0]]).T
    ax, ay = a[:, :-1]
    dx, dy = a[:, 1:] - a[:, :-1]
    squared = np.maximum(dx * dx + dy * dy, 1e-18)
    rx, ry = x[:, None] - ax, y[:, None] - ay  # (n, corners)
    along = np.minimum(np.maximum((rx * dx + ry * dy) / squared, 0.0), 1.0)
    gap = np.hypot(rx - along * dx, ry - along * dy).min(1)
    if len(corners) > 2:
        gap = np.where((dx * ry - dy * rx >= 0.0).all(1), 0.0, gap)
    return bool(gap.min() >= room + more)


def follow_scan(t: Tick) -> None:
    """Note where the robot was when the newest scan was taken."""
    scan = t.i.scan
    if scan is None or "scan" not in t.cfg.states or t.cfg.joints:
        t.s.scan_anchor = None
        return
    age = t.ros - scan.stamp
    old = min(max(age, 0.0), MOST_AGE) if math.isfinite(age) else 0.0
    t.s.scan_anchor = anchored(t, t.s.scan_anchor, (scan.stamp, scan.received), t.now - old)


@check("obstacle")
def obstacle(t: Tick) -> None:
    """Scaled to the fastest command that stops before what the scan sees, and keeps the time to contact."""
    cfg, scan = t.cfg, t.i.scan
    if scan is None or "scan" not in cfg.states or cfg.joints:
        return
    wrong, value = examine(t, "scan", scan, read_scan)
    if wrong is not None or not any(t.u):
        return
    wanted = t.twist(t.u)
    speed = math.hypot(wanted[0], wanted[1])
    points_x, points_y, nearest = value
    moved: Mark = between(t.s.scan_anchor.then, t.s.here)
    kept = [g.bound for g in cfg.guardrails.of("obstacle_distance")]
    radius = cfg.footprint_radius + max([cfg.obstacle_margin, *kept])
    far = max(shares.farthest(t), speed * (cfg.time_to_contact + cfg.reaction_time)) + radius
    if nearest > far + moved.slack + math.hypot(moved.x, moved.y):
        t.s.obstacle_scale = 1.0
        return
    c, s = math.cos(moved.yaw), math.sin(moved.yaw)
    dx, dy = points_x - moved.x, points_y - moved.y
    x, y = c * dx + s * dy, c * dy - s * dx
    gap = np.hypot(x, y)
    close = gap < far + moved.slack
    x, y, gap = x[close], y[close], gap[close]
    if x.size == 0:
        t.s.obstacle_scale = 1.0
        return
    free, touched = math.inf, bool((gap < radius).any())
    scale = shares.ceiling(t, t.s.obstacle_scale)
    if speed > 0.0:
        free, _ = free_ahead(x, y, wanted, radius)
        if cfg.time_to_contact > 0.0:
            ahead = max(0.0, free - speed * cfg.reaction_time)
            scale = min(scale, ahead / (speed * cfg.time_to_contact))
        if touched and scale > 0.0:
            fast = max(cfg.velocity[k] for k in cfg.linear)
            scale = min(scale, cfg.escape_speed * fast / speed)
    beside = float(gap.min()) - NEARER  # what may be passed, as long as nothing comes nearer
    room = max(beside, 0.0) if touched else max(radius, min(radius + moved.slack, beside))

    def fits(share: float, spare: float) -> bool:
        reach = shares.reach_of(t, share)
        found = reach.places()
        if found is None:
            return bool(gap.min() >= reach.length + room + spare)
        return keeps_off(*found, x, y, room + spare)

    scale = shares.scaled(t, fits, scale, t.s.obstacle_scale) if scale > 0.0 else 0.0
    t.s.obstacle_scale = scale
    if scale < 1.0:
        where = "an obstacle close beside it" if touched else "an obstacle within reach"
        shares.apply(t, "obstacle", scale, f"an obstacle {free:.2f} m ahead" if free < far else where)
