# SPDX-License-Identifier: Apache-2.0
"""Shortest ways over a floor with known obstacles: for drawing tasks, for scoring and for oracles, never for a robot.

Lengths are those of ways along the grid's eight directions: up to 8 % longer than the true shortest way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

CELL = 0.05  # m
STEPS = [(i, j, float(np.hypot(i, j))) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]


class Floor(Protocol):
    """What has obstacles."""

    def clearance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance [m] of points (..., 2) to the nearest obstacle."""
        ...


class Ways:
    """A grid of where a disc fits.

    Args:
        floor: with its obstacles. span: (x0, y0, x1, y1) [m]. radius: of the disc [m].
    """

    def __init__(self, floor: Floor, span: tuple[float, float, float, float], radius: float) -> None:
        self._origin = np.array(span[:2]) + CELL / 2
        nx, ny = (max(int(np.ceil((b - a) / CELL)), 1) for a, b in ((span[0], span[2]), (span[1], span[3])))
        centres = np.stack(np.meshgrid(np.arange(nx), np.arange(ny), indexing="ij"), -1) * CELL + self._origin
        self._free: np.ndarray = floor.clearance(centres) > radius
        self._numbers = np.full(self._free.shape, -1)
        count = int(self._free.sum())
        self._numbers[self._free] = np.arange(count)
        rows, columns, lengths = [], [], []
        for i, j, step in STEPS[:4]:  # one of each pair of opposite directions: the graph has both
            here = self._numbers[max(-i, 0) : nx - max(i, 0), max(-j, 0) : ny - max(j, 0)]
            there = self._numbers[max(i, 0) : nx - max(-i, 0), max(j, 0) : ny - max(-j, 0)]
            both = (here >= 0) & (there >= 0)
            rows.append(here[both])
            columns.append(there[both])
            lengths.append(np.full(int(both.sum()), step))
        graph = (np.concatenate(lengths), (np.concatenate(rows), np.concatenate(columns)))
        whole = coo_matrix(graph, (count, count))
        self._graph = (whole + whole.T).tocsr()

    def _cell(self, point: Sequence[float]) -> tuple[int, int] | None:
        """The free cell nearest to a point, at most three cells away."""
        at = (np.asarray(point, dtype=float)[:2] - self._origin) / CELL
        cells = np.argwhere(self._free)
        if len(cells) == 0:
            return None
        gaps = np.hypot(*(cells - at).T)
        k = int(np.argmin(gaps))
        return (int(cells[k][0]), int(cells[k][1])) if gaps[k] <= 3 else None

    def to(self, goal: Sequence[float]) -> Callable[[np.ndarray], np.ndarray] | None:
        """Lengths of the ways to a goal: a function of points (..., 2) giving metres (...,), inf where there is none.

        None: the disc does not fit at the goal.
        """
        first = self._cell(goal)
        if first is None:
            return None
        flat = dijkstra(self._graph, indices=int(self._numbers[first]))
        lengths = np.full(self._free.shape, np.inf)
        lengths[self._free] = flat * CELL

        def length(points: np.ndarray) -> np.ndarray:
            at = np.rint((np.asarray(points, dtype=float)[..., :2] - self._origin) / CELL).astype(int)
            i, j = (np.clip(at[..., k], 0, lengths.shape[k] - 1) for k in (0, 1))
            return np.asarray(lengths[i, j])

        return length

    def path(self, start: Sequence[float], length: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The way (n, 2) [m] from a start down a field of :meth:`to`; it ends where the field does not fall."""
        cell = self._cell(start)
        points = []
        while cell is not None:
            here = np.array(cell) * CELL + self._origin
            points.append(here)
            near = [(cell[0] + i, cell[1] + j) for i, j, _ in STEPS]
            values = length(np.array(near) * CELL + self._origin)
            best = int(np.argmin(values))
            cell = near[best] if values[best] < float(length(here)) else None
        return np.array(points).reshape(-1, 2)
