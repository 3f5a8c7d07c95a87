# SPDX-License-Identifier: Apache-2.0
"""Regions: where a base may not go, with the room that it needs to stop.

A command is let through as it is where a stop at the next tick still ends outside, whatever the base makes of what its
contract leaves open: every place that it may reach (:mod:`jepa_ros.safety.reach`) keeps clear. Else it is scaled to the
fastest that does. The margin is the footprint, plus ``pose_sigma`` standard deviations of the pose, plus what the
heading's uncertainty makes of the way.

Each region is judged from the pose as it came, carried on by odometry (:mod:`jepa_ros.safety.localisation`), and from a
smoothed one; both have to keep clear. From the raw pose alone a robot that pushes against an edge would use each moment
in which the noise is kind to move a little, and never move back when it is not: it would creep over the edge by as much
as the largest of a thousand draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from jepa_ros.safety.geometry import advance
from jepa_ros.safety.guardrails import Guardrail
from jepa_ros.safety.localisation import pose_now
from jepa_ros.safety.rows import check
from jepa_ros.safety.shares import (
    STRIDE,
    Clearance,
    Pose,
    apply,
    ceiling,
    clear,
    farthest,
    holds,
    reach_of,
    scaled,
)
from jepa_ros.safety.tick import Tick

#: Turning on the spot lets a base slip a little each time. Within the margin of a region it may turn by so many rad,
#: which is enough to face the way out, until it has left.
TURNS = 1.25 * math.pi
#: Time constant of the smoothed pose [s]; further off than this from the raw one [m], it starts anew.
SMOOTHING = 0.5
LOST = 0.1


class Place:
    """Where the robot is now: worked out once a tick.

    Attributes:
        starts: (x, y, yaw), one or two of them. margin, yaw_margin: uncertainty of the pose [m], [rad].
    """

    __slots__ = ("_kept", "_rooms", "margin", "starts", "yaw_margin")

    def __init__(self, starts: tuple[Pose, ...], margin: float, yaw_margin: float) -> None:
        self.starts, self.margin, self.yaw_margin = starts, margin, yaw_margin
        self._rooms: dict[str, tuple[Pose, float]] = {}
        self._kept: dict[str, Any] = {}

    def room(self, g: Guardrail, radius: float) -> tuple[Pose, float]:
        """The start with the least room to a region, and that room, without any margin [m]."""
        found = self._rooms.get(g.name)
        if found is None:
            found = self._rooms[g.name] = nearest(self.starts, self.kept(g, radius)[0])
        return found

    def kept(self, g: Guardrail, radius: float) -> tuple[Clearance, Callable[..., bool | None], Callable[..., bool]]:
        """How clear of a region a place is, whether a polygon plainly is, and whether it holds the region."""
        found = self._kept.get(g.name)
        if found is None:
            inside = holds(g.shape if g.kind == "keep_out" else None)
            found = self._kept[g.name] = g.room(radius), g.plainly(radius), inside
        return found  # type: ignore[no-any-return]


def nearest(starts: tuple[Pose, ...], clearance: Clearance) -> tuple[Pose, float]:
    """The start with the least clearance, and that clearance."""
    best, least = starts[0], clearance(starts[0][0], starts[0][1])
    for start in starts[1:]:
        room = clearance(start[0], start[1])
        if room < least:
            best, least = start, room
    return best, least


def place_of(t: Tick) -> Place | None:
    """Where the robot is; None where there is no pose, or the body drives nowhere."""
    if t.cfg.joints or t.i.pose is None:
        return None
    if t.place is None:
        found = pose_now(t)
        if found is None:
            return None
        x, y, yaw, margin, yaw_margin = found
        starts: tuple[Pose, ...] = ((x, y, yaw),)
        if t.s.place is not None:
            starts = (*starts, t.s.place)
        t.place = Place(starts, margin, yaw_margin)
    return t.place


def smooth_pose(t: Tick) -> None:
    """Carry the smoothed pose on by the motion of this tick, and draw it towards a pose that is new."""
    s, pose = t.s, t.i.pose
    if pose is None or t.cfg.guardrails.needs_pose is None or t.cfg.joints:
        return
    known = s.cache.get("pose")
    new = known is None or known[0] is not pose
    found = pose_now(t)
    if found is None:
        s.place = None
        return
    if s.place is not None and t.went is not None:
        px, py, pyaw = s.place
        cos, sin, went = math.cos(pyaw), math.sin(pyaw), t.went
        s.place = (px + cos * went.x - sin * went.y, py + sin * went.x + cos * went.y, pyaw + went.yaw)
    if not new:
        return
    x, y, yaw, margin, _ = found
    if s.place is None or not math.hypot(x - s.place[0], y - s.place[1]) <= LOST + 2.0 * margin:
        s.place = (x, y, yaw)  # (or it came from a stamp that was no number)
        return
    since = t.cfg.period if s.pose_at is None else max(0.0, t.now - s.pose_at)
    s.pose_at = t.now
    gain = 1.0 - math.exp(-since / SMOOTHING)
    px, py, pyaw = s.place
    turn = (yaw - pyaw + math.pi) % (2.0 * math.pi) - math.pi
    s.place = (px + gain * (x - px), py + gain * (y - py), pyaw + gain * turn)


# ---------------------------------------------------------------- rows


def margin_of(t: Tick, place: Place, length: float) -> float:
    """Room kept for the uncertainty of the pose over a way of ``length`` [m]."""
    return place.margin + place.yaw_margin * length + t.cfg.region_margin


@check("inside_region")
def inside_region(t: Tick) -> None:
    """Started inside, or the region was dropped on it: only motion that leaves, slowly.

    Within the margin of the pose's uncertainty, where it is not certain that it is inside, motion along the edge is
    allowed too. All turning counts, whatever motion goes with it.
    """
    regions = t.cfg.guardrails.of("keep_out", "keep_in", "workspace")
    if not regions or (place := place_of(t)) is None:
        return
    radius, name, deep = t.cfg.footprint_radius, "", 0.0
    most = margin_of(t, place, farthest(t))
    for g in regions:
        start, here = place.room(g, radius)
        if here > most:
            continue
        margin = margin_of(t, place, reach_of(t).length)
        if here > margin:
            continue
        if not name:
            name, deep = g.name, margin - here
        if not any(t.u):
            continue
        drives = any(t.u[k] for k in t.cfg.linear)
        if not drives and t.s.turned >= TURNS:
            t.stop("inside_region", f"stands inside '{g.name}' by {margin - here:.3f} m and has turned on the spot"
                   f" there by {math.degrees(t.s.turned):.0f} degrees: drive out of it")  # fmt: skip
            return
        if drives and (_deeper(t, g, start, here) or not _leaves(t, g, start, here)):
            t.stop("inside_region", f"stands inside '{g.name}' by {margin - here:.3f} m and would not leave it")
            return
        t.u = slowed(t)
    if not name:
        t.s.turned = 0.0
    elif any(t.u):
        t.s.turned += abs(t.twist(t.u)[2]) * min(t.dt, 0.1)
        t.trip("inside_region", f"stands inside '{name}' by {deep:.3f} m: leaves it slowly")


def _deeper(t: Tick, g: Guardrail, start: Pose, here: float) -> bool:
    """Whether it still goes deeper by the motion that it has: then it stops before it leaves."""
    found = reach_of(t, 0.0).places()
    if found is None:
        return True
    c, s = math.cos(start[2]), math.sin(start[2])
    placed = [(start[0] + c * x - s * y, start[1] + s * x + c * y) for x, y in found[0]]
    return any(g.clearance(x, y, t.cfg.footprint_radius) < here - STRIDE for x, y in placed)


def slowed(t: Tick) -> list[float]:
    """The command at no more than ``escape_speed`` of each velocity limit."""
    share = min([1.0] + [t.cfg.escape_speed * v / abs(u) for u, v in zip(t.u, t.cfg.velocity, strict=True) if u != 0.0])
    return [u * share for u in t.u]


def _leaves(t: Tick, g: Guardrail, start: Pose, here: float) -> bool:
    """Whether the clearance grows along the way (or, outside for all that is known, does not shrink)."""
    vx, vy, w = t.twist(t.u)
    speed = math.hypot(vx, vy)
    if speed == 0.0:
        return True  # up and down changes no place
    brakes = max(abs(u) / b for u, b in zip(t.u, t.cfg.braking, strict=True))
    reach = max(speed * (t.cfg.period + 0.5 * brakes), min(0.03, speed))
    last = here
    for k in (1, 2, 3):
        x, y, _ = advance(*start, vx, vy, w, k / 3.0 * reach / speed)
        there = g.clearance(x, y, t.cfg.footprint_radius)
        # Along an edge by less than what is left to it, however often: what a tick loses must not add up to entering.
        least = -min(1e-4, 0.1 * last) if here > 0.0 else 0.2 * reach / 3.0
        if not there - last >= least:
            return False
        last = there
    return True


@check("region")
def region(t: Tick) -> None:
    """The fastest command that does not enter a forbidden region and does not leave an allowed one."""
    regions = t.cfg.guardrails.of("keep_out", "keep_in", "workspace")
    if not regions or (place := place_of(t)) is None:
        return
    inside = any(row.name == "inside_region" for row, _ in t.trips)
    most = scale = ceiling(t, t.s.region_scale)
    name, radius, far = "", t.cfg.footprint_radius, farthest(t)
    widest = margin_of(t, place, far)
    for g in regions:
        _, room = place.room(g, radius)
        if room - widest >= far:
            continue  # nothing near
        whole = reach_of(t).length
        margin = margin_of(t, place, whole)
        if room - margin >= whole:
            continue
        if inside and room <= margin:
            continue  # judged by inside_region
        found = scaled(t, partial(_fits, t, g, place), scale, t.s.region_scale)
        if found < scale or not name:
            scale, name = found, g.name
    t.s.region_scale = scale if name else 1.0
    if name and scale < most and any(t.u):
        verb = "leave" if t.cfg.guardrails[name].kind != "keep_out" else "enter"
        apply(t, "region", scale, f"would {verb} '{name}' before it could stop")
    elif name and scale < 1.0 and any(t.u):
        apply(t, "region", scale, f"is near '{name}'")
    t.brake = None


def _fits(t: Tick, g: Guardrail, place: Place, share: float, spare: float) -> bool:
    """Whether it keeps clear from wherever it may be now: of two places the one further off may head for the edge."""
    reach = reach_of(t, share)
    clearance, plainly, inside = place.kept(g, t.cfg.footprint_radius)
    spare += margin_of(t, place, reach.length)
    for start in place.starts:
        if not clear(start, reach, clearance, clearance(start[0], start[1]), inside, None, spare, plainly):
            return False
    return True
