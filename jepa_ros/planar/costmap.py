# SPDX-License-Identifier: Apache-2.0
"""Lethal cells and areas as a lidar would see them: the gate keeps off them as off everything that a scan shows.

The scan is seen from where the contract's scan stands. A cell covers all beams that meet the circle about it, at the
distance of that circle: the robot keeps off a little more than the cell, never less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa_ros.contract.parts import Costmap
from jepa_ros.messages.costmap import Area, Grid
from jepa_ros.planar.odometry import between, beyond

#: Beams of a scan of which no lidar is a part, and what its ranges are at least [m]: 0 can mean no return.
BEAMS, NEAREST = 360, 1e-3
#: m between the points that stand for an area's edge.
STEP = 0.05

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Beams:
    """The directions of a scan [rad] and its ranges (n,) [m], inf where nothing is seen."""

    first: float
    step: float
    ranges: NDArray[np.float64]


def lethal(grid: Grid, declared: Costmap, here: Any) -> tuple[Points, float]:
    """Middles (n, 2) of the cells in the way near the robot, as seen from it, and the radius of a cell's circle [m].

    Args:
        here: (x m, y m, yaw rad) of the robot in the costmap's frame.

    Raises:
        ValueError: the robot stands outside of the costmap.
    """
    rows, columns = grid.cost.shape
    x, y, _ = between(np.array(grid.origin), np.asarray(here)) / grid.cell
    if not (0 <= x < columns and 0 <= y < rows):
        size = f"{columns * grid.cell:g} x {rows * grid.cell:g} m"
        raise ValueError(f"the robot stands outside of the costmap, of {size}")
    reach = math.ceil(declared.reach / grid.cell)
    low = max(0, int(y) - reach), max(0, int(x) - reach)
    near = grid.cost[low[0] : int(y) + reach + 1, low[1] : int(x) + reach + 1]
    found = np.argwhere((near >= declared.lethal) | ((near < 0) if declared.unknown else False))
    middles = (found + low + 0.5)[:, ::-1] * grid.cell
    flat = np.concatenate([middles, np.zeros((len(middles), 1))], axis=1)
    points = between(np.asarray(here), beyond(np.array(grid.origin), flat))[:, :2].reshape(-1, 2)
    return points[np.hypot(*points.T) <= declared.reach], grid.cell * math.sqrt(0.5)


def edge(area: Area, declared: Costmap, here: Any) -> tuple[Points, float]:
    """Points (n, 2) on the edge of an area as seen from the robot, and the radius of the circle that each stands for
    [m]; (0, 0) alone where the robot is inside of it."""
    if not len(area.corners):
        return np.zeros((0, 2)), STEP
    flat = np.concatenate([area.corners, np.zeros((len(area.corners), 1))], axis=1)
    corners = between(np.asarray(here), flat)[:, :2]
    following = np.roll(corners, -1, axis=0)
    if _inside(corners, following):
        return np.zeros((1, 2)), STEP
    found = []
    for a, b in zip(corners, following, strict=True):
        begin, end = _within(a, b, declared.reach)
        if begin < end:
            count = max(2, math.ceil((end - begin) * math.dist(a, b) / STEP) + 1)
            found.append(a + np.linspace(begin, end, count)[:, None] * (b - a))
    return (np.concatenate(found) if found else np.zeros((0, 2))), STEP


def _within(a: Points, b: Points, reach: float) -> tuple[float, float]:
    """The shares of the way from a to b between which it lies within ``reach`` [m] of the origin; (0, 0): nowhere."""
    along = b - a
    squared = float(along @ along)
    if squared == 0.0:
        return (0.0, 1.0) if float(a @ a) <= reach**2 else (0.0, 0.0)
    middle = -float(a @ along) / squared
    room = middle**2 - (float(a @ a) - reach**2) / squared
    if room <= 0.0:
        return 0.0, 0.0
    return max(0.0, middle - math.sqrt(room)), min(1.0, middle + math.sqrt(room))


def _inside(corners: Points, following: Points) -> bool:
    """Whether the origin lies inside of an outline: a ray crosses it an odd number of times."""
    crosses = (corners[:, 1] > 0.0) != (following[:, 1] > 0.0)
    a, b = corners[crosses], following[crosses]
    at = a[:, 0] - a[:, 1] * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
    return bool((at > 0.0).sum() % 2)


def empty() -> Beams:
    """A whole turn that sees nothing."""
    return Beams(-math.pi, math.tau / BEAMS, np.full(BEAMS, math.inf))


def whole_turn(scan: Any) -> Beams:
    """The beams of a ``LaserScan``, gone on with to a whole turn of beams that see nothing."""
    ranges = np.asarray(scan.ranges, dtype=np.float64)
    step = float(scan.angle_increment)
    more = max(0, round(math.tau / abs(step)) - len(ranges)) if step else 0
    return Beams(float(scan.angle_min), step, np.concatenate([ranges, np.full(more, math.inf)]))


def joined(beams: Beams, points: Points, radius: float, no_return: tuple[str, ...] = ()) -> Beams:
    """The beams with circles of ``radius`` [m] about points (n, 2) in the way, as seen from the scan's own place.

    Args:
        no_return: what this lidar writes besides +inf where nothing is seen, as in the contract.
    """
    if not len(points):
        return beams
    count = len(beams.ranges)
    away = np.hypot(*points.T)
    if (away <= radius).any():  # it stands in one: whatever the direction
        return Beams(beams.first, beams.step, _nearer(beams.ranges, np.full(count, NEAREST), no_return))
    half = np.arcsin(radius / away)
    middle = np.arctan2(points[:, 1], points[:, 0])
    turn = round(math.tau / abs(beams.step))
    low = np.floor(((middle - half * math.copysign(1.0, beams.step)) - beams.first) / beams.step).astype(int)
    wide = np.ceil(2.0 * half / abs(beams.step)).astype(int) + 2
    index = (np.repeat(low, wide) + np.arange(wide.sum()) - np.repeat(np.cumsum(wide) - wide, wide)) % turn
    seen = np.full(max(turn, count), math.inf)
    np.minimum.at(seen, index, np.repeat(np.maximum(away - radius, NEAREST), wide))
    return Beams(beams.first, beams.step, _nearer(beams.ranges, seen[:count], no_return))


def _nearer(ranges: Points, seen: Points, no_return: tuple[str, ...]) -> Points:
    """The nearer of two; what a lidar writes for nothing gives way, what is wrong with it stays."""
    nothing = (("nan" in no_return) & np.isnan(ranges)) | (("zero" in no_return) & (ranges == 0.0))
    nearer = np.where(nothing, seen, np.minimum(ranges, seen))
    return np.where(nothing & ~np.isfinite(seen), ranges, nearer)
