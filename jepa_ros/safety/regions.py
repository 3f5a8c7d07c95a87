# SPDX-License-Identifier: Apache-2.0
"""Regions: where the robot may not go, and how fast it may be, with the distance that it needs to stop.

The pose is carried on by the measured motion since it (:mod:`jepa_ros.safety.localisation`) and over the reaction time,
then by the command for one tick (the longest of late: a machine that is busy ticks late more than once), then by the
guaranteed braking, all along the arc of the command. The command is scaled to the fastest that ends inside; the margin
is the footprint, plus ``pose_sigma`` standard deviations of the pose, plus what the heading's uncertainty makes of the
length of the arc.

Each region is judged from the pose as it came and from a smoothed one, whichever lies nearer to it. From the raw pose
alone a robot that pushes against an edge would use each moment in which the noise is kind to move a little, and never
move back when it is not: it would creep over the edge by as much as the largest of a thousand draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from jepa_ros.safety.geometry import Circle, Shape, advance, free_length
from jepa_ros.safety.guardrails import Guardrail
from jepa_ros.safety.localisation import pose_now
from jepa_ros.safety.rows import check
from jepa_ros.safety.sensing import examine, read_people
from jepa_ros.safety.tick import Tick

Pose = tuple[float, float, float]
Clearance = Callable[[float, float], float]

#: A scale that a geometric row has cut grows back by this much a second: the noise of a pose must not make the robot
#: nod at a boundary, nor creep over it in the moments in which the noise is kind.
RECOVERY = 1.0
#: Less than this share of the present stopping distance is left: nothing but zeros, at once. (Between this share and
#: all of it the command that fits is below the present speed, and the robot brakes as hard as is guaranteed.)
TOO_LATE = 0.7
#: A command scaled to less than this share of the velocity limits is a stop.
LEAST = 0.01


#: Turning on the spot lets a base slip a little each time. Within the margin of a region it may turn by so many rad,
#: which is enough to face the way out, until it has left.
TURNS = 1.25 * math.pi
#: Time constant of the smoothed pose [s]; further off than this from the raw one [m], it starts anew.
SMOOTHING = 0.5
LOST = 0.1


class Place:
    """Where the robot is when the next command takes effect, whatever that command is: worked out once a tick.

    Attributes:
        starts: (x, y, yaw) then, one or two of them. margin, yaw_margin: uncertainty of the pose [m], [rad].
        now_length: metres that the present motion needs to stop.
    """

    __slots__ = ("_rooms", "margin", "now_length", "starts", "yaw_margin")

    def __init__(self, t: Tick, starts: tuple[Pose, ...], margin: float, yaw_margin: float) -> None:
        self.starts, self.margin, self.yaw_margin = starts, margin, yaw_margin
        self.now_length = _stopping(t)
        self._rooms: dict[str, tuple[Pose, float]] = {}

    def room(self, g: Guardrail, radius: float) -> tuple[Pose, float]:
        """The start with the least room to a region, and that room, without any margin [m]."""
        found = self._rooms.get(g.name)
        if found is None:
            found = self._rooms[g.name] = _nearest(self.starts, partial(_room, g, radius, 0.0))
        return found


class Path:
    """How the robot would go on from there, and stop.

    Attributes:
        place: where it begins. twist: (vx, vy, w) asked for, body frame. speed: of it [m/s].
        margin: room for the uncertainty of the pose [m]. length: metres until standstill at the full command.
        stop_time: s to brake from the full command.
    """

    __slots__ = ("length", "margin", "place", "speed", "stop_time", "twist")

    def __init__(self, t: Tick, place: Place) -> None:
        cfg = t.cfg
        self.place = place
        self.twist = twist(t, t.u)
        self.speed = math.hypot(self.twist[0], self.twist[1])
        self.stop_time = max(abs(u) / b for u, b in zip(t.u, cfg.braking, strict=True))
        self.length = self.speed * (max(cfg.period, t.s.slowest) + 0.5 * self.stop_time)
        self.margin = place.margin + place.yaw_margin * self.length + cfg.region_margin

    def scale(self, free: float) -> float:
        """The largest share of the command that stops within ``free`` metres: s v t + s^2 v T / 2 = free."""
        if free >= self.length:
            return 1.0
        if free <= 0.0 or free < TOO_LATE * self.place.now_length:
            return 0.0
        a, b = 0.5 * self.speed * self.stop_time, self.speed * _tick(self)
        return min(1.0, (math.sqrt(b * b + 4.0 * a * free) - b) / (2.0 * a)) if a > 0.0 else min(1.0, free / b)


def _nearest(starts: tuple[Pose, ...], clearance: Clearance) -> tuple[Pose, float]:
    """The start with the least clearance, and that clearance."""
    best, least = starts[0], clearance(starts[0][0], starts[0][1])
    for start in starts[1:]:
        room = clearance(start[0], start[1])
        if room < least:
            best, least = start, room
    return best, least


def _tick(path: Path) -> float:
    return path.length / path.speed - 0.5 * path.stop_time


def twist(t: Tick, u: list[float]) -> tuple[float, float, float]:
    """A command or a measured velocity (A,) as (vx, vy, w) in the body frame."""
    cfg = t.cfg
    return (
        0.0 if cfg.forward is None else u[cfg.forward],
        0.0 if cfg.sideways is None else u[cfg.sideways],
        0.0 if cfg.turn is None else u[cfg.turn],
    )


def motion(t: Tick) -> list[float]:
    """How the robot moves now, (A,): measured or commanded last, whichever is faster in the measured direction.

    A robot that is measured to stand counts as moving as it was commanded: odometry is older than the command.
    """
    if t.motion is None:
        t.motion = t.s.out
        if t.measured is not None:
            t.motion = [o if o * m >= 0.0 and abs(o) > abs(m) else m for o, m in zip(t.s.out, t.measured, strict=True)]
    return t.motion


def _stopping(t: Tick) -> float:
    """Metres that the robot needs to stop from the speed that it will have when the next command takes effect: that of
    the last command, or what is left of the measured one after braking until then."""
    slowest = min(t.cfg.braking[k] for k in (t.cfg.forward, t.cfg.sideways) if k is not None)
    vx, vy, _ = twist(t, t.s.out)
    speed = math.hypot(vx, vy)
    if t.measured is not None:
        vx, vy, _ = twist(t, t.measured)
        speed = max(speed, math.hypot(vx, vy) - slowest * t.cfg.reaction_time)
    return speed * speed / (2.0 * slowest)


def path_of(t: Tick) -> Path | None:
    """The path of the command on its way out; None where there is no pose to start from."""
    pose = t.i.pose
    if pose is None or t.cfg.forward is None:
        return None
    if t.place is None:
        found = pose_now(t)
        if found is None:
            return None
        x, y, yaw, margin, yaw_margin = found
        vx, vy, w = twist(t, motion(t))
        wait = t.cfg.reaction_time
        starts: tuple[Pose, ...] = (advance(x, y, yaw, vx, vy, w, wait),)
        if t.s.place is not None:
            starts = (*starts, advance(*t.s.place, vx, vy, w, wait))
        t.place = Place(t, starts, margin, yaw_margin)
    return Path(t, t.place)


def smooth_pose(t: Tick) -> None:
    """Carry the smoothed pose on by the motion of this tick, and draw it towards a pose that is new."""
    s, pose = t.s, t.i.pose
    if pose is None or t.cfg.guardrails.needs_pose is None or t.cfg.forward is None:
        return
    known = s.cache.get("pose")
    new = known is None or known[0] is not pose
    found = pose_now(t)
    if found is None:
        s.place = None
        return
    vx, vy, w = twist(t, motion(t))
    if s.place is not None:
        s.place = advance(*s.place, vx, vy, w, min(t.dt, 1.0))
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


def settle(t: Tick, kept: float, scale: float) -> tuple[float, float]:
    """(what to remember, what to apply): a scale falls at once and grows back slowly."""
    if scale >= 1.0:
        return 1.0, 1.0
    kept = min(scale, kept + RECOVERY * min(t.dt, 0.1))
    return kept, kept


def apply(t: Tick, name: str, scale: float, sentence: str) -> None:
    """Scale the command; to nothing, or next to nothing, is a stop."""
    if scale * max(abs(u) / v for u, v in zip(t.u, t.cfg.velocity, strict=True)) < LEAST:
        t.stop(name, sentence + ": stop")
    else:
        t.u = [u * scale for u in t.u]
        t.trip(name, f"{sentence}: scaled to {scale:.2f}")


def _room(g: Guardrail, radius: float, margin: float, x: float, y: float) -> float:
    """Room left to a region [m]."""
    return float(g.clearance(x, y, radius)) - margin


def _beside(shape: Shape, room: float, x: float, y: float) -> float:
    """Distance to a shape grown by ``room`` [m]."""
    return float(shape.signed_distance(x, y)) - room


@check("inside_region")
def inside_region(t: Tick) -> None:
    """Started inside, or the region was dropped on it: only motion that leaves, slowly.

    Within the margin of the pose's uncertainty, where it is not certain that it is inside, motion along the edge is
    allowed too.
    """
    regions = t.cfg.guardrails.of("keep_out", "keep_in", "workspace")
    if not regions or (path := path_of(t)) is None:
        return
    radius = t.cfg.footprint_radius
    within = False
    for g in regions:
        start, here = path.place.room(g, radius)
        if here > path.margin:
            continue
        within = True
        if not any(t.u):
            continue
        slow = slowed(t)
        if path.speed == 0.0 and t.s.turned >= TURNS:
            t.stop("inside_region", f"stands inside '{g.name}' by {path.margin - here:.3f} m and has turned on the spot"
                   f" there by {math.degrees(t.s.turned):.0f} degrees: drive out of it")  # fmt: skip
            return
        if path.speed > 0.0 and not _leaves(g, path, start, radius, here):
            t.stop("inside_region", f"stands inside '{g.name}' by {path.margin - here:.3f} m and would not leave it")
            return
        t.u = slow
        t.trip("inside_region", f"stands inside '{g.name}' by {path.margin - here:.3f} m: leaves it slowly")
        path = path_of(t) or path
    if not within:
        t.s.turned = 0.0
    elif path.speed == 0.0:
        t.s.turned += abs(path.twist[2]) * min(t.dt, 0.1)


def slowed(t: Tick) -> list[float]:
    """The command at no more than ``escape_speed`` of each velocity limit."""
    share = min([1.0] + [t.cfg.escape_speed * v / abs(u) for u, v in zip(t.u, t.cfg.velocity, strict=True) if u != 0.0])
    return [u * share for u in t.u]


def _leaves(g: Guardrail, path: Path, start: Pose, radius: float, here: float) -> bool:
    """Whether the clearance grows along the way (or, outside for all that is known, does not shrink)."""
    vx, vy, w = path.twist
    reach = max(path.length, 0.03)
    last = here
    for k in (1, 2, 3):
        x, y, _ = advance(*start, vx, vy, w, k / 3.0 * reach / path.speed)
        there = g.clearance(x, y, radius)
        least = -1e-4 if here > 0.0 else 0.2 * reach / 3.0
        if not there - last >= least:
            return False
        last = there
    return True


@check("region")
def region(t: Tick) -> None:
    """The fastest command that does not enter a forbidden region and does not leave an allowed one."""
    regions = t.cfg.guardrails.of("keep_out", "keep_in", "workspace")
    if not regions or (path := path_of(t)) is None or path.speed == 0.0:
        return
    radius = t.cfg.footprint_radius
    margin, worst, name = path.margin, 1.0, ""
    inside = any(row.name == "inside_region" for row, _ in t.trips)
    for g in regions:
        start, room = path.place.room(g, radius)
        here = room - margin
        if here >= path.length:
            continue  # nothing near: no way of that length can reach it
        if inside and here <= 0.0:
            continue  # judged by inside_region
        free = free_length(partial(_room, g, radius, margin), start, path.twist, path.length)
        scale = path.scale(free)
        if scale < worst:
            worst, name = scale, g.name
    t.s.region_scale, worst = settle(t, t.s.region_scale, worst)
    if worst < 1.0:
        verb = "leave" if t.cfg.guardrails[name].kind != "keep_out" else "enter"
        apply(t, "region", worst, f"would {verb} '{name}' before it could stop")


def _cap(t: Tick, path: Path, free: float, limit: float) -> float:
    """The speed allowed ``free`` metres ahead of where ``limit`` begins to hold: v^2 = limit^2 + 2 b free."""
    if free <= 0.0:
        return limit
    brake = path.speed / path.stop_time
    wait = brake * _tick(path)
    return max(limit, math.sqrt(limit * limit + 2.0 * brake * free + wait * wait) - wait)


def _slow_to(t: Tick, name: str, path: Path, cap: float, sentence: str) -> None:
    if path.speed > cap + 1e-9:
        share = cap / path.speed
        t.u = [u * share for u in t.u]
        t.trip(name, f"{sentence}: {cap:.2f} m/s, scaled to {share:.2f}")


@check("speed_zone")
def speed_zone(t: Tick) -> None:
    """A zone's limit holds where the footprint meets it, and is reached by braking before it."""
    for g in t.cfg.guardrails.of("speed_zone"):
        path = path_of(t)
        if path is None or path.speed <= g.bound or g.shape is None:
            continue
        room = t.cfg.footprint_radius + g.margin + path.margin
        clearance = partial(_beside, g.shape, room)
        start, here = _nearest(path.place.starts, clearance)
        if here >= path.length:
            continue
        free = free_length(clearance, start, path.twist, path.length)
        if free < path.length:
            _slow_to(t, "speed_zone", path, _cap(t, path, free, g.bound), f"zone '{g.name}'")


@check("person")
def person(t: Tick) -> None:
    """Near a person; where nobody says whether there is one, there is one."""
    for g in t.cfg.guardrails.of("near_person"):
        path = path_of(t)
        if path is None or path.speed <= g.bound:
            continue
        people = t.i.people
        unknown = people is None or t.late(people, t.cfg.people_timeout) is not None
        wrong, places = ("", ()) if unknown else examine(t, "people", people, read_people)
        if unknown or wrong is not None:
            _slow_to(t, "person", path, g.bound, f"'{g.name}': nobody says where people are")
            continue
        free = path.length
        room = t.cfg.footprint_radius + g.distance + path.margin
        for px, py in places:
            clearance = partial(_beside, Circle(px, py, 0.0), room)
            start, here = _nearest(path.place.starts, clearance)
            if here >= free:
                continue  # no way of that length can reach them
            free = min(free, free_length(clearance, start, path.twist, path.length))
        if free < path.length:
            _slow_to(t, "person", path, _cap(t, path, free, g.bound), f"'{g.name}': a person is near")
