# SPDX-License-Identifier: Apache-2.0
"""Costmaps and outlines of areas: ``OccupancyGrid`` and ``PolygonStamped`` as arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa_ros.messages import MessageError
from jepa_ros.messages.rotation import rotation_fault, yaw_of
from jepa_ros.messages.stamps import stamp_of

#: Cells and corners at most: more would hold up whoever reads them.
MOST_CELLS, MOST_CORNERS = 1_000_000, 1000
#: m, edges of cells.
SIZES = 0.005, 1.0
#: Of a turn about another axis than z, the share beyond which a costmap does not lie flat.
TILT = 1e-3


@dataclass(frozen=True)
class Grid:
    """A costmap: costs (rows, columns) int8, 0 to 100, -1 unknown; edge of a cell [m]; where its corner lies
    (x, y, yaw) in ``frame``."""

    stamp: float
    frame: str
    cost: NDArray[np.int8]
    cell: float
    origin: tuple[float, float, float]


@dataclass(frozen=True)
class Area:
    """An outline (k, 2) [m] in ``frame``; k = 0: there is no such area now."""

    stamp: float
    frame: str
    corners: NDArray[np.float64]


def grid_in(message: Any) -> Grid:
    """An ``OccupancyGrid``.

    Raises:
        MessageError: sizes that do not fit, numbers that are not finite, or a costmap that does not lie flat.
    """
    info = message.info
    width, height, cell, origin = int(info.width), int(info.height), float(info.resolution), info.origin
    if not 0 < width * height <= MOST_CELLS:
        raise MessageError(f"a costmap of {width} x {height} cells; expected 1 to {MOST_CELLS}")
    if not SIZES[0] <= cell <= SIZES[1]:
        raise MessageError(f"a costmap with cells of {cell:g} m; expected {SIZES[0]} to {SIZES[1]} m")
    if len(message.data) != width * height:
        raise MessageError(f"a costmap of {width} x {height} cells with {len(message.data)} costs")
    turn = origin.orientation
    fault = rotation_fault(turn)
    if fault or max(abs(turn.x), abs(turn.y)) > TILT:
        raise MessageError(f"a costmap whose origin {fault or 'does not lie flat'}")
    place = float(origin.position.x), float(origin.position.y), yaw_of(turn)
    if not all(map(math.isfinite, place)):
        raise MessageError("a costmap whose origin is not finite")
    cost = np.asarray(message.data, dtype=np.int8).reshape(height, width)
    return Grid(stamp_of(message), message.header.frame_id.lstrip("/"), cost, cell, place)


def area_in(message: Any) -> Area:
    """A ``PolygonStamped``, an area to stay out of.

    Raises:
        MessageError: too many corners, or too few for an area, or one that is not finite.
    """
    points = message.polygon.points
    if len(points) > MOST_CORNERS or len(points) in (1, 2):
        raise MessageError(f"a polygon of {len(points)} corners; expected none, or 3 to {MOST_CORNERS}")
    corners = np.array([(p.x, p.y) for p in points], dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(corners).all():
        raise MessageError("a polygon with a corner that is not finite")
    return Area(stamp_of(message), message.header.frame_id.lstrip("/"), corners)
