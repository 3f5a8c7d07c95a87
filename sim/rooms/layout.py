# SPDX-License-Identifier: Apache-2.0
"""Where the walls are: two rooms with a door, mazes, and pockets that one drives into and not out of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

HALF = 2.0  # m, half of the edge of the square that everything stands in
RADIUS = 0.12  # m, of the robot
WALL = 0.16  # m, thickness of the inner walls
DOOR = 0.72  # m: three robot widths
SLACK = 1e-6  # m: who touches a wall is not in it
CELLS = 4  # of a maze, along an edge
#: Mazes and layouts of pockets that there are. Few, so that a model can come to know each of them.
MAZES, POCKETS = 6, 2


@dataclass(frozen=True)
class Layout:
    """Inner walls.

    Args:
        walls: (left, bottom, right, top) of each [m]. divide: x of the wall between two rooms, None for one room.
    """

    walls: tuple[tuple[float, float, float, float], ...]
    divide: float | None = None

    @property
    def grown(self) -> NDArray[np.float64]:
        """(W, 4) the walls, larger by the robot's radius on every side: where its centre cannot be."""
        return np.array(self.walls, dtype=np.float64).reshape(-1, 4) + RADIUS * np.array([-1.0, -1.0, 1.0, 1.0])

    def blocked(self, points: Points) -> NDArray[np.bool_]:
        """Whether the robot's centre cannot be at points (..., 2)."""
        p, g = np.asarray(points)[..., None, :], self.grown + SLACK * np.array([1.0, 1.0, -1.0, -1.0])
        inside = (p > g[:, :2]).all(-1) & (p < g[:, 2:]).all(-1)
        outside: NDArray[np.bool_] = (np.abs(points) > HALF - RADIUS + SLACK).any(-1)
        return outside | inside.any(-1)

    def free_point(self, rng: np.random.Generator, side: int = 0) -> Points:
        """A place (2,) where the robot can be; ``side`` -1 and 1: in the room to the left and right of the divide."""
        while True:
            point = rng.uniform(-HALF + RADIUS, HALF - RADIUS, 2)
            right_side = side == 0 or self.divide is None or side * (point[0] - self.divide) > 0
            if right_side and not self.blocked(point):
                return point


def two_rooms(seed: int) -> Layout:
    """A wall about the middle with a door somewhere in it."""
    rng = np.random.default_rng([seed, 7101])
    x, y = rng.uniform(-0.4, 0.4), rng.uniform(-1.4, 1.4)
    left, right = float(x - WALL / 2), float(x + WALL / 2)
    below, above = float(y - DOOR / 2), float(y + DOOR / 2)
    return Layout(((left, -HALF, right, below), (left, above, right, HALF)), float(x))


def maze(seed: int) -> Layout:
    """Thin walls between CELLS x CELLS cells: each can be reached from every other, in one way."""
    rng, n = np.random.default_rng([seed, 7102]), CELLS
    walls = {((i, j), (i + 1, j)) for i in range(n - 1) for j in range(n)}
    walls |= {((i, j), (i, j + 1)) for i in range(n) for j in range(n - 1)}
    way = [(int(rng.integers(n)), int(rng.integers(n)))]
    seen = set(way)
    while way:  # depth first: long corridors, and dead ends
        i, j = way[-1]
        near = [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
        fresh = [c for c in near if min(c) >= 0 and max(c) < n and c not in seen]
        if not fresh:
            way.pop()
            continue
        following = fresh[int(rng.integers(len(fresh)))]
        walls -= {(way[-1], following), (following, way[-1])}
        seen.add(following)
        way.append(following)
    return Layout(tuple(_between(*cells) for cells in sorted(walls)))


def _between(a: tuple[int, int], b: tuple[int, int]) -> tuple[float, float, float, float]:
    """The wall between two neighbouring cells."""
    edge = 2 * HALF / CELLS
    x, y = (edge * (a[k] + b[k] + 1) / 2 - HALF for k in (0, 1))
    long = (edge + WALL) / 2
    w, h = (WALL / 2, long) if a[0] != b[0] else (long, WALL / 2)
    return x - w, y - h, x + w, y + h


def pockets(seed: int) -> Layout:
    """Three walls about the middle, open on one side."""
    rng = np.random.default_rng([seed, 7103])
    half, depth, side = float(rng.uniform(0.7, 1.1)), float(rng.uniform(0.6, 0.9)), int(rng.integers(4))
    end = (depth, -half, depth + WALL, half)
    arms = (-depth, half - WALL, depth, half), (-depth, -half, depth, WALL - half)
    return Layout(tuple(_turned(wall, side) for wall in (end, *arms)))


def _turned(wall: tuple[float, float, float, float], quarters: int) -> tuple[float, float, float, float]:
    for _ in range(quarters):
        wall = (-wall[3], wall[0], -wall[1], wall[2])
    return wall


def known_layout(kind: str, number: int) -> Layout:
    """One of the mazes or pockets that there are, by any number of at least 0."""
    return maze(number % MAZES) if kind == "maze" else pockets(number % POCKETS)
