# SPDX-License-Identifier: Apache-2.0
"""How much further than the straight way the way to the goal is, from every place: the cost of what is in between.

A search over a second or two of motion cannot see the end of a wall. Shortest paths over the map of places can: the
detour that they find is added to the distance of each predicted state, so that going round looks as cheap as it is.
Source: the value function of a shortest-path problem as terminal cost of a short-horizon controller, e.g. LaValle,
"Planning algorithms", 2006, section 8.4 (navigation functions).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

#: Steps on the grid, half of each pair of opposite ones: 16 directions keep the error of a length under 3 %.
STEPS = ((0, 1), (1, 0), (1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1))
#: A metre through a place that is surely blocked counts for so many more; a doubtful one for the square of its chance.
DEAR = 40.0
#: A place next to a blocked one counts as blocked with this share of its probability: the gate slows a robot that comes
#: near to something, so that a way with some room is quicker than the shortest.
SHELL = 0.35


class Route:
    """Shortest ways over a map to one goal.

    Args:
        cells: edge of the map, extent: of it [m], as in ModelConfig. device: where `detour` is asked.
    """

    def __init__(
        self, cells: int, extent: tuple[float, float, float, float], device: torch.device | str = "cpu"
    ) -> None:
        self.cells, self.extent = cells, extent
        x0, y0, x1, y1 = extent
        self._size = np.array([(x1 - x0) / cells, (y1 - y0) / cells])  # of a cell: x, y
        index = np.arange(cells * cells).reshape(cells, cells)
        starts, ends, lengths, between = [], [], [], []
        for di, dj in STEPS:
            rows, columns = slice(0, cells - di), slice(max(0, -dj), cells - max(0, dj))
            a = index[rows, columns].ravel()
            b = a + di * cells + dj
            # A knight's move passes between two cells; they are half a step from both ends.
            mi, mj = (di + 1) // 2, (abs(dj) + 1) // 2 * (1 if dj > 0 else -1 if dj < 0 else 0)
            first = a + (mi if di == 2 else 0) * cells + (mj if abs(dj) == 2 else 0)
            starts.append(a)
            ends.append(b)
            between.append(np.stack([first, a + b - first], axis=1))
            lengths.append(np.full(len(a), float(np.hypot(dj * self._size[0], di * self._size[1]))))
        one, other = np.concatenate(starts), np.concatenate(ends)
        self._ends = np.stack([one, other, *np.concatenate(between).T])  # (4, edges): both ends and what is passed
        self._length = np.concatenate(lengths) / len(self._ends)
        # Both directions, so that dijkstra need not make the transposed graph each time.
        there = (np.concatenate([one, other]), np.concatenate([other, one]))
        self._graph = csr_matrix((np.arange(1.0, 2 * len(one) + 1), there), shape=(cells**2, cells**2))
        self._order = (self._graph.data.astype(np.int64) - 1) % len(one)
        # With nothing in between a length depends on how far apart two cells are, and not on where they lie.
        self._empty = self._distances(0, np.ones(cells**2)).reshape(cells, cells)
        self._detour = torch.zeros(1, 1, cells, cells, device=device)
        low, high = torch.tensor(extent[:2], device=device), torch.tensor(extent[2:], device=device)
        self._scale, self._shift = 2.0 / (high - low), -2.0 * low / (high - low) - 1.0

    def solve(self, blocked: np.ndarray, goal: tuple[float, float]) -> None:
        """Find the ways to ``goal`` [m] where places are blocked with probability ``blocked`` (cells, cells)."""
        at = ((np.asarray(goal) - self.extent[:2]) / self._size).astype(int).clip(0, self.cells - 1)
        node = int(at[1] * self.cells + at[0])
        near = np.pad(blocked.astype(np.float64), 1, mode="edge")
        shifts = [near[i : i + self.cells, j : j + self.cells] for i in range(3) for j in range(3)]
        blocked = np.maximum(blocked, SHELL * np.max(shifts, axis=0))
        way = self._distances(node, 1.0 + DEAR * blocked.ravel() ** 2)
        apart = [np.abs(np.arange(self.cells) - i) for i in at]  # columns, rows
        empty = self._empty[np.ix_(apart[1], apart[0])]
        self._detour.copy_(torch.from_numpy(np.maximum(way.reshape(empty.shape) - empty, 0.0))[None, None])

    def _distances(self, node: int, price: np.ndarray) -> np.ndarray:
        """(cells * cells,) m from each cell to ``node``, a metre counted ``price`` times."""
        price_of = price[self._ends].sum(axis=0)
        self._graph.data = (self._length * price_of)[self._order]
        return dijkstra(self._graph, directed=True, indices=node)

    def detour(self, points: torch.Tensor) -> torch.Tensor:
        """Metres (...) that the way from points (..., 2) is longer than it would be with nothing in between."""
        where = (points * self._scale + self._shift).reshape(1, 1, -1, 2)
        found = torch.nn.functional.grid_sample(self._detour, where, padding_mode="border", align_corners=False)
        return found.view(points.shape[:-1])
