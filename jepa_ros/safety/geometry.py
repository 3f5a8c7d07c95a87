# SPDX-License-Identifier: Apache-2.0
"""Distances to shapes in the plane, and how a body moves on an arc: the ONE geometry of planner and gate.

Every function takes plain floats or arrays of any shape; the gate calls it with floats (a few shapes at 50 Hz, where
numpy's overhead would dominate), the planner with (candidates, steps). The distance to a polygon, which is most of the
gate's work, is written once for each; a property test holds the two to the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Point = tuple[float, float]
#: Rounding of a distance between outlines: so many m, and so large a share of the coordinates. A quick answer that
#: holds by more than this is the answer.
SURE, SURE_SHARE = 1e-6, 1e-12


@dataclass(frozen=True)
class Circle:
    """A disc: centre and radius [m]."""

    x: float
    y: float
    radius: float

    def signed_distance(self, x: Any, y: Any) -> Any:
        """Distance to the edge [m]: negative inside."""
        hypot = np.hypot if isinstance(x, np.ndarray) else math.hypot
        return hypot(x - self.x, y - self.y) - self.radius

    @property
    def _sure(self) -> float:
        """m, beyond rounding."""
        return SURE + SURE_SHARE * (abs(self.x) + abs(self.y) + self.radius)

    def keeps_off(self, corners: Sequence[Point], room: float) -> bool | None:
        """Whether the outline of a convex polygon plainly is further than ``room`` [m] away, or plainly is not; None
        where that has to be looked at."""
        x, y, slack = self.x, self.y, self._sure
        least, most = room + self.radius - slack, room + self.radius + slack
        if not least > 0.0:
            return None
        least, most = least * least, most * most
        plainly = True
        ax, ay = corners[-1]
        dx, dy = x - ax, y - ay
        for bx, by in corners:
            ex, ey = bx - ax, by - ay
            along, long = dx * ex + dy * ey, ex * ex + ey * ey
            if 0.0 < along < long:
                share = along / long
                rx, ry = dx - share * ex, dy - share * ey
                plainly = plainly and rx * rx + ry * ry > most
            ax, ay, dx, dy = bx, by, x - bx, y - by
            squared = dx * dx + dy * dy
            if squared < least:
                return False
            plainly = plainly and squared > most
        return plainly or None

    def keeps_in(self, corners: Sequence[Point], room: float) -> bool | None:
        """The same of a polygon that is further than ``room`` [m] inside."""
        x, y, slack = self.x, self.y, self._sure
        most = self.radius - room - slack
        if not most > 0.0:
            return None
        return all([(a - x) * (a - x) + (b - y) * (b - y) < most * most for a, b in corners]) or None


class Polygon:
    """A simple polygon, points (x, y) [m] in order, either way round.

    Raises:
        ValueError: fewer than 3 points, points that coincide, no area, or edges that cross.
    """

    __slots__ = ("edges", "lines", "points", "sure")

    def __init__(self, points: Sequence[Point]) -> None:
        pts = [(float(x), float(y)) for x, y in points]
        if len(pts) > 1 and pts[0] == pts[-1]:
            pts.pop()  # closed explicitly, as GeoJSON does
        if len(pts) < 3:
            raise ValueError(f"a polygon needs at least 3 points, found {len(pts)}")
        self.points = tuple(pts)
        ends = pts[1:] + pts[:1]
        for k, (p, q) in enumerate(zip(pts, ends, strict=True)):
            if math.hypot(q[0] - p[0], q[1] - p[1]) < 1e-9:
                raise ValueError(f"points {k} and {(k + 1) % len(pts)} of the polygon coincide at {p}")
        self._refuse_crossing()
        if abs(self.area) < 1e-9:
            raise ValueError("the polygon has no area")
        # (x, y, ex, ey, 1/len^2, x of the edge per y, y of the end)
        self.edges = tuple(
            (
                p[0],
                p[1],
                q[0] - p[0],
                q[1] - p[1],
                1.0 / ((q[0] - p[0]) ** 2 + (q[1] - p[1]) ** 2),
                (q[0] - p[0]) / (q[1] - p[1]) if q[1] != p[1] else 0.0,
                q[1],
            )
            for p, q in zip(pts, ends, strict=True)
        )
        self.lines = self._lines()
        self.sure = SURE + SURE_SHARE * max(abs(v) for p in pts for v in p)

    def _lines(self) -> tuple[tuple[float, float, float, float], ...]:
        """(point x, y of an edge, unit normal x, y out of it) of a convex outline; empty where it is none."""
        sign, lines = math.copysign(1.0, self.area), []
        for (px, py, ex, ey, inverse, *_), after in zip(self.edges, (*self.edges[1:], self.edges[0]), strict=True):
            if sign * (ex * after[3] - ey * after[2]) < 0.0:
                return ()
            size = sign * math.sqrt(inverse)
            lines.append((px, py, ey * size, -ex * size))
        return tuple(lines)

    def keeps_off(self, corners: Sequence[Point], room: float) -> bool | None:
        """As that of a circle; by the edge that looks most to the corners."""
        x, y = corners[0]
        best, line = -math.inf, None
        for each in self.lines:
            off = (x - each[0]) * each[2] + (y - each[1]) * each[3]
            if off > best:
                best, line = off, each
        if line is None or not room >= 0.0:
            return None
        px, py, nx, ny = line
        least = room + self.sure
        for x, y in corners:
            if not (x - px) * nx + (y - py) * ny > least:
                return None
        return True

    def keeps_in(self, corners: Sequence[Point], room: float) -> bool | None:
        """As that of a circle."""
        least, most = -room + self.sure, -room - self.sure
        plainly = bool(self.lines) and room >= 0.0
        for px, py, nx, ny in self.lines:
            for x, y in corners:
                off = (x - px) * nx + (y - py) * ny
                if off > least:
                    return False
                plainly = plainly and off < most
        return plainly or None

    @property
    def area(self) -> float:
        """Signed area [m^2], positive counter-clockwise."""
        p = self.points
        return 0.5 * sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(p, p[1:] + p[:1], strict=True))

    def _refuse_crossing(self) -> None:
        p, n = self.points, len(self.points)
        for i in range(n):
            for j in range(i + 1, n):
                adjacent = j == i + 1 or (i == 0 and j == n - 1)
                if adjacent:
                    shared, a, b = (j, i, (j + 1) % n) if j == i + 1 else (0, 1, j)
                    if _folds_back(p[shared], p[a], p[b]):
                        raise ValueError(f"edges {i} and {j} of the polygon lie on each other")
                elif _cross(p[i], p[(i + 1) % n], p[j], p[(j + 1) % n]):
                    raise ValueError(f"edges {i} and {j} of the polygon cross each other")

    def signed_distance(self, x: Any, y: Any) -> Any:
        """Distance to the outline [m]: negative inside, positive outside."""
        if isinstance(x, np.ndarray):
            return self._signed_distances(x, y)
        edges = self.edges
        inside, nearest = False, math.inf
        over = edges[0][1] > y
        for px, py, ex, ey, inverse, slope, qy in edges:
            dx, dy = x - px, y - py
            share = (dx * ex + dy * ey) * inverse
            if share <= 0.0:
                squared = dx * dx + dy * dy
            elif share >= 1.0:
                rx, ry = dx - ex, dy - ey
                squared = rx * rx + ry * ry
            else:
                rx, ry = dx - share * ex, dy - share * ey
                squared = rx * rx + ry * ry
            if not squared >= nearest:  # and so NaN stays NaN
                nearest = squared
            if over:
                over = qy > y
                if not over and dx < dy * slope:
                    inside = not inside
            else:
                over = qy > y
                if over and dx < dy * slope:
                    inside = not inside
        distance = math.sqrt(nearest)
        return -distance if inside else distance

    def _signed_distances(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        inside: Any = False
        nearest: Any = math.inf
        for px, py, ex, ey, inverse, slope, qy in self.edges:
            dx, dy = x - px, y - py
            share = np.clip((dx * ex + dy * ey) * inverse, 0.0, 1.0)
            rx, ry = dx - share * ex, dy - share * ey
            nearest = np.minimum(nearest, rx * rx + ry * ry)
            inside = inside ^ (((py > y) != (qy > y)) & (dx < dy * slope))
        distance = np.sqrt(nearest)
        return np.asarray(np.where(inside, -distance, distance))


Shape = Circle | Polygon


def box(x: float, y: float, half_x: float, half_y: float, yaw: float = 0.0) -> Polygon:
    """A rectangle by its centre, half sizes [m] and heading [rad]."""
    c, s = math.cos(yaw), math.sin(yaw)
    corners = [(half_x, half_y), (-half_x, half_y), (-half_x, -half_y), (half_x, -half_y)]
    return Polygon([(x + c * a - s * b, y + s * a + c * b) for a, b in corners])


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _on(a: Point, b: Point, c: Point) -> bool:
    return min(a[0], b[0]) <= c[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= c[1] <= max(a[1], b[1])


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether the segments ab and cd meet."""
    t1, t2, t3, t4 = _turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)
    if ((t1 > 0) != (t2 > 0)) and ((t3 > 0) != (t4 > 0)) and t1 and t2 and t3 and t4:
        return True
    touching = ((t1, a, b, c), (t2, a, b, d), (t3, c, d, a), (t4, c, d, b))
    return any(t == 0 and _on(p, q, r) for t, p, q, r in touching)


def _folds_back(shared: Point, a: Point, b: Point) -> bool:
    """Whether two edges that meet in ``shared`` point the same way."""
    ax, ay, bx, by = a[0] - shared[0], a[1] - shared[1], b[0] - shared[0], b[1] - shared[1]
    return abs(ax * by - ay * bx) < 1e-12 and ax * bx + ay * by > 0.0


def advance(x: Any, y: Any, yaw: Any, vx: Any, vy: Any, w: Any, time: Any) -> tuple[Any, Any, Any]:
    """The pose after moving with a constant twist in the body frame for ``time`` s, along the exact arc.

    Half angles keep it exact where the turn is small: the chord of an arc of angle a has the length of the arc times
    sin(a/2)/(a/2), and points along the heading at its middle.
    """
    half = 0.5 * w * time
    if isinstance(half, np.ndarray) or isinstance(yaw, np.ndarray):
        chord, c, s = np.sinc(half / np.pi), np.cos(yaw + half), np.sin(yaw + half)
    else:
        chord = math.sin(half) / half if abs(half) > 1e-6 else 1.0 - half * half / 6.0
        c, s = math.cos(yaw + half), math.sin(yaw + half)
    dx, dy = vx * time * chord, vy * time * chord
    return x + c * dx - s * dy, y + s * dx + c * dy, yaw + w * time
