# SPDX-License-Identifier: Apache-2.0
"""How fast a base may be: in a zone, and near a person. The limit holds by the time that the footprint meets them.

The speed counts in space, up and down included, and it is the speed that the base may really have: a base whose brakes
are slower than its drive goes on along its old way while it takes up the new one, and is then faster than any command.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from jepa_ros.safety.geometry import Circle, Point, Shape
from jepa_ros.safety.outlines import within
from jepa_ros.safety.regions import margin_of, nearest, place_of
from jepa_ros.safety.rows import check
from jepa_ros.safety.sensing import examine, read_people
from jepa_ros.safety.shares import Pose, clear, farthest, fastest, holds, reach_of
from jepa_ros.safety.tick import Tick

#: Rounding of a speed [share].
EPSILON = 1e-6


def _speed(t: Tick) -> float:
    return math.sqrt(sum(t.u[k] ** 2 for k in t.cfg.linear))


def _within(t: Tick, bound: float) -> float:
    """The largest share of the command that makes the base no faster than ``bound``, or than it may be already."""
    speed = _speed(t)
    most = min(1.0, bound / speed) if speed > 0.0 else 1.0
    allowed = max(bound, reach_of(t, 0.0).peak) * (1.0 + EPSILON)

    def fits(share: float) -> bool:
        return reach_of(t, share).peak <= allowed

    return most if fits(most) else fastest(fits, most)


def _limit(
    t: Tick, name: str, bound: float, sentence: str, fits: Callable[[float], bool] | None, outside: bool
) -> None:
    """Scale the command to where it is slow enough in time (``fits``), or as slow as the limit.

    A base that may be too fast and is not there yet (``outside``) brakes with all that it has, for that is what was
    reckoned with when it came so near. Asked for the limit itself, a base whose axes keep together would come down to
    it only as its slowest axis comes to what that one is asked for.
    """
    if reach_of(t).peak <= bound * (1.0 + EPSILON) or (fits is not None and fits(1.0)):
        return
    share = 0.0 if outside and reach_of(t, 0.0).peak > bound * (1.0 + EPSILON) else _within(t, bound)
    if fits is not None and share < 1.0:
        share = max(share, fastest(fits, 1.0))
    if share < 1.0:
        t.u = [u * share for u in t.u]
        t.trip(name, f"{sentence}: slowed to {_speed(t):.2f} m/s")


def _slow_in_time(
    t: Tick, bound: float, clearance: Callable[[float, float], float], starts: tuple[Pose, ...],
    inside: Callable[[list[Point]], bool], share: float,
) -> bool:  # fmt: skip
    """Whether the base is no faster than ``bound`` before the clearance is used up, from wherever it may be now."""
    reach = reach_of(t, share)
    until = reach.until(bound)
    return all(clear(start, reach, clearance, clearance(start[0], start[1]), inside, until) for start in starts)


def _beside(shape: Shape, room: float, x: float, y: float) -> float:
    """Distance to a shape grown by ``room`` [m]."""
    return float(shape.signed_distance(x, y)) - room


def _margin(t: Tick) -> float:
    """Footprint, and room kept for the uncertainty of the pose [m]."""
    return t.cfg.footprint_radius + margin_of(t, t.place, farthest(t))


@check("speed_zone")
def speed_zone(t: Tick) -> None:
    """A zone's limit holds where the footprint meets it, and is reached by braking before it."""
    for g in t.cfg.guardrails.of("speed_zone"):
        place = place_of(t)
        if place is None or g.shape is None:
            continue
        clearance = partial(_beside, g.shape, _margin(t) + g.margin)
        room = nearest(place.starts, clearance)[1]
        if room >= farthest(t):
            continue
        fits = partial(_slow_in_time, t, g.bound, clearance, place.starts, holds(g.shape))
        _limit(t, "speed_zone", g.bound, f"zone '{g.name}'", fits, room > 0.0)


@check("person")
def person(t: Tick) -> None:
    """Near a person; where nobody says whether there is one, there is one."""
    for g in t.cfg.guardrails.of("near_person"):
        place = place_of(t)
        if place is None:
            continue
        people = t.i.people
        unknown = people is None or t.late(people, t.cfg.people_timeout) is not None
        wrong, found = ("", ()) if unknown else examine(t, "people", people, read_people)
        if unknown or wrong is not None:
            _limit(t, "person", g.bound, f"'{g.name}': nobody says where people are", None, False)
            continue
        room, far = _margin(t) + g.distance, farthest(t)
        near = [
            (x, y) for x, y in found
            if min(math.hypot(x - sx, y - sy) for sx, sy, _ in place.starts) < room + far
        ]  # fmt: skip
        if not near:
            continue
        circles = [Circle(x, y, room) for x, y in near]

        def clearance(x: float, y: float, circles: list[Circle] = circles) -> float:
            return min(float(c.signed_distance(x, y)) for c in circles)

        def inside(corners: list[Point], near: list[Point] = near) -> bool:
            return any(within(corners, x, y) for x, y in near)

        fits = partial(_slow_in_time, t, g.bound, clearance, place.starts, inside)
        outside = nearest(place.starts, clearance)[1] > 0.0
        _limit(t, "person", g.bound, f"'{g.name}': a person is near", fits, outside)
