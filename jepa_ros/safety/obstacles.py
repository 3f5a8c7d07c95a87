# SPDX-License-Identifier: Apache-2.0
"""Obstacles: what the scan sees within the stopping distance or time; what the bumper feels. No map, no learning."""

from __future__ import annotations

import math

import numpy as np

from jepa_ros.safety import regions
from jepa_ros.safety.geometry import advance
from jepa_ros.safety.rows import check
from jepa_ros.safety.sensing import examine, read_scan
from jepa_ros.safety.tick import Tick


def free_ahead(x: np.ndarray, y: np.ndarray, twist: tuple[float, float, float], radius: float) -> tuple[float, bool]:
    """How far [m] a disc at the origin may go along the arc of ``twist`` until it touches one of some points.

    Exact, for all points at once: a point is met where its distance from the middle line of the swept band is less
    than ``radius``. Points that are touched already stop motion towards them and do not stop motion away.

    Args:
        x, y: (n,) in the body frame [m]. twist: (vx, vy, w), with vx, vy not both 0.

    Returns:
        The free length (infinite where nothing is in the way), and whether a point is touched already.
    """
    vx, vy, w = twist
    speed = math.hypot(vx, vy)
    c, s = vx / speed, vy / speed
    along, across = c * x + s * y, c * y - s * x
    square = along * along + across * across
    touched = square < radius * radius
    any_touched = bool(touched.any())
    if any_touched and bool((touched & (along > 0.0)).any()):
        return 0.0, True
    curve = abs(w) / speed  # 1/m
    if curve < 1e-3:
        met = (np.abs(across) < radius) & (along > 0.0)
        if not met.any():
            return math.inf, any_touched
        near = along[met] - np.sqrt(np.maximum(radius * radius - across[met] ** 2, 0.0))
        return max(0.0, float(near.min())), any_touched
    bend = 1.0 / curve
    side = across if w > 0.0 else -across  # the centre of the circle is at (0, bend)
    far = np.hypot(along, side - bend)
    met = (np.abs(far - bend) < radius) & ~touched
    if not met.any():
        return math.inf, any_touched
    a, f = along[met], far[met]
    turned = np.arctan2(a, bend - side[met]) % (2.0 * math.pi)  # along the arc to the point's own direction
    reach = np.arccos(np.clip((bend * bend + f * f - radius * radius) / (2.0 * bend * np.maximum(f, 1e-9)), -1.0, 1.0))
    return max(0.0, float(((turned - reach) * bend).min())), any_touched


@check("obstacle")
def obstacle(t: Tick) -> None:
    """Scaled to the fastest command that stops before what the scan sees, and keeps the time to contact."""
    cfg, scan = t.cfg, t.i.scan
    if scan is None or "scan" not in cfg.states or cfg.forward is None:
        return
    wrong, value = examine(t, "scan", scan, read_scan)
    if wrong is not None:
        return
    wanted = regions.twist(t, t.u)
    if wanted[0] == 0.0 and wanted[1] == 0.0:
        return
    points_x, points_y, nearest = value
    wait = min(max(t.ros - scan.stamp, 0.0), 1.0) + cfg.reaction_time
    moved = advance(0.0, 0.0, 0.0, *regions.twist(t, regions.motion(t)), wait)
    path = regions.Path(t, (moved,), 0.0, 0.0)
    kept = [g.limit for g in cfg.guardrails.of("obstacle_distance")]
    radius = cfg.footprint_radius + max([cfg.obstacle_margin, *kept])
    reach = max(path.length, path.speed * cfg.time_to_contact)
    if nearest > reach + radius + math.hypot(moved[0], moved[1]):
        t.s.obstacle_scale = 1.0
        return
    c, s = math.cos(moved[2]), math.sin(moved[2])
    dx, dy = points_x - moved[0], points_y - moved[1]
    free, touched = free_ahead(c * dx + s * dy, c * dy - s * dx, wanted, radius)
    scale = path.scale(free)
    if path.speed * cfg.time_to_contact > 0.0:
        scale = min(scale, free / (path.speed * cfg.time_to_contact))
    if touched and scale > 0.0:
        scale = min(scale, cfg.escape_speed * cfg.velocity[cfg.forward] / path.speed)
    t.s.obstacle_scale, scale = regions.settle(t, t.s.obstacle_scale, scale)
    if scale < 1.0:
        regions.apply(t, "obstacle", scale, f"an obstacle {max(free, 0.0):.2f} m ahead")


@check("contact")
def contact(t: Tick) -> None:
    """The bumper: no further that way. It knows no direction; the one in which the robot went is taken."""
    cfg, message, s = t.cfg, t.i.contact, t.s
    if message is None or cfg.contact_response == "ignore" or "contact" not in cfg.states:
        return
    if message.value is False or message.value == 0:
        s.contact_axis = None
        return
    if s.contact_axis is None:
        s.contact_axis = tuple(regions.motion(t))
    if not any(t.u):
        return
    pushed, wanted = regions.twist(t, list(s.contact_axis)), regions.twist(t, t.u)
    towards = pushed[0] * wanted[0] + pushed[1] * wanted[1]
    away = towards < 0.0 or (wanted[0] == 0.0 and wanted[1] == 0.0)
    if cfg.contact_response == "stop" or not away:
        t.stop("contact", "the bumper is pressed")
        return
    t.u = regions.slowed(t)
    t.trip("contact", "the bumper is pressed: backs off slowly")
