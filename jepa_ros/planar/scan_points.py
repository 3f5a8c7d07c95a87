# SPDX-License-Identifier: Apache-2.0
"""What the gate's scan shows, as points in the frame that a plan is made in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from jepa_ros.memory.knowledge import Seen
from jepa_ros.planar.odometry import Motion, Poses, between, beyond
from jepa_ros.safety.inputs import ScanIn

Points = NDArray[np.float64]
#: Places are told apart to so many m, or to a share of all that there is.
FINE, SHARE = 0.02, 1.0 / 250.0


class ScanPoints:
    """Points in the way.

    Args:
        contract: of a base; where its planner is told of no scan there are no points.
    """

    def __init__(self, contract: Any) -> None:
        self._motion, self._period = Motion(contract), contract.period
        self._reach = contract.planned_reach
        lidar, scan = contract.lidar(), contract.state.get("scan")
        self._frame = lidar.get("scan_frame", contract.frames.base)
        self._offset = np.array(lidar.get("scan_offset", (0.0, 0.0, 0.0)))
        self._no_return = () if scan is None else scan.no_return or ()

    def around(self, seen: Seen, here: Poses) -> Points:
        """(n, 2) m in the frame of ``here`` (3,), where the robot is as it sees ``seen``.

        Since the scan was taken the robot has moved on, as the gate let it.
        """
        if seen.scan is None:
            return np.zeros((0, 2))
        moved = np.zeros(3)
        if seen.executed is not None:
            moved = self._motion.step(seen.executed, (seen.stamp - seen.scan.stamp) / self._period)
        then = beyond(here, between(moved, np.zeros(3)))
        return beyond(then, self._from_base(seen.scan))[..., :2]

    def _from_base(self, scan: ScanIn) -> Poses:
        """(n, 3), the nearest last; none of a scan in another frame, at which the gate stops."""
        if scan.frame_id.lstrip("/") not in ("", self._frame):
            return np.zeros((0, 3))
        ranges = np.asarray(scan.ranges, dtype=np.float64)
        shown = ranges <= min(scan.range_max, self._reach)  # NaN and +inf are not
        if "zero" in self._no_return:
            shown &= ranges != 0.0
        index = np.flatnonzero(shown)
        index = index[np.argsort(-ranges[index], kind="stable")]
        away = np.maximum(ranges[index], 0.0)
        angles = scan.angle_min + scan.angle_increment * index
        rows = np.stack([away * np.cos(angles), away * np.sin(angles), np.zeros(len(index))], axis=-1)
        return beyond(self._offset, rows)


class Nearest:
    """Points of which every place knows the nearest (or one that is farther by less than 3 cells of the table).

    Args:
        points: (n, 2) m, n at least 1; of two in one cell of the table the later counts. reach: m round about them that
            are looked at; a place further off is told a point further off than that.
    """

    def __init__(self, points: Points, reach: float) -> None:
        self._points = points
        self._low = points.min(axis=0) - reach
        span = points.max(axis=0) + reach - self._low
        self._cell = max(FINE, float(span.max()) * SHARE)
        owners = np.full(np.ceil(span / self._cell).astype(int) + 1, -1)
        owners[self._cells(points, owners.shape)] = np.arange(len(points))
        nearest = distance_transform_edt(owners < 0, return_distances=False, return_indices=True)
        self._owners = owners[tuple(nearest)]

    def _cells(self, places: Points, shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        inside = np.clip(np.nan_to_num((places - self._low) / self._cell), 0.0, np.array(shape) - 1.0).astype(np.int64)
        return inside[..., 0], inside[..., 1]

    def __len__(self) -> int:
        return len(self._points)

    def of(self, places: Points) -> tuple[Points, NDArray[np.float64]]:
        """Of places (..., 2) [m]: the nearest points (..., 2), and how far they are (...) [m]."""
        points = self._points[self._owners[self._cells(places, self._owners.shape)]]
        return points, np.linalg.norm(places - points, axis=-1)
