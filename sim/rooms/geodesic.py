# SPDX-License-Identifier: Apache-2.0
"""Shortest ways round walls, exact: straight lines between their corners. For scoring and the oracle only."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import shortest_path

from .layout import SLACK, Layout, Points

Lengths = NDArray[np.float64]


class Geodesic:
    """Ways in a layout, of the robot's centre."""

    def __init__(self, layout: Layout) -> None:
        grown = layout.grown
        self._walls = grown + SLACK * np.array([1.0, 1.0, -1.0, -1.0])
        corners = np.concatenate([grown[:, [0, 1]], grown[:, [0, 3]], grown[:, [2, 1]], grown[:, [2, 3]]])
        self.corners: Points = corners[~layout.blocked(corners)]
        self._between: Lengths = shortest_path(self._seen(self.corners, self.corners), directed=False)

    def _seen(self, a: Points, b: Points) -> Lengths:
        """Lengths (N, M) of the straight lines from a (N, 2) to b (M, 2); infinite through a wall."""
        if not len(a) or not len(b):
            return np.zeros((len(a), len(b)))
        start, way = a[:, None, None], (b[None] - a[:, None])[:, :, None]  # (N, 1, 1, 2), (N, M, 1, 2)
        way = np.where(np.abs(way) < 1e-12, 1e-12, way)
        low, high = (self._walls[:, :2] - start) / way, (self._walls[:, 2:] - start) / way
        enter, leave = np.minimum(low, high).max(-1), np.maximum(low, high).min(-1)
        crossed = ((enter < leave) & (enter < 1.0) & (leave > 0.0)).any(-1)
        return np.where(crossed, np.inf, np.linalg.norm(b[None] - a[:, None], axis=-1))

    def ways(self, points: Points, goal: Points) -> Lengths:
        """Lengths [m] (N,) of the shortest ways from points (N, 2) to a goal (2,)."""
        over = self._seen(points, self.corners) + self._from_corners(goal) if len(self.corners) else np.inf
        return np.minimum(self._seen(points, goal[None])[:, 0], np.min(over, axis=-1))

    def towards(self, point: Points, goal: Points) -> Points:
        """Where a shortest way from a point (2,) first turns, or the goal."""
        direct = self._seen(point[None], goal[None])[0, 0]
        if np.isfinite(direct) or not len(self.corners):
            return goal
        over = self._seen(point[None], self.corners)[0]
        ahead = np.where(over > 1e-3, over + self._from_corners(goal), np.inf)
        return self.corners[int(ahead.argmin())]

    def _from_corners(self, goal: Points) -> Lengths:
        return (self._between + self._seen(goal[None], self.corners)).min(-1)


@lru_cache(maxsize=32)
def geodesic(layout: Layout) -> Geodesic:
    """The ways in a layout, worked out once."""
    return Geodesic(layout)
