# SPDX-License-Identifier: Apache-2.0
"""Layouts in which the straight way does not lead there: mazes, and pockets that one drives into and not out of."""

from __future__ import annotations

import numpy as np

from ..common.errors import SimError
from .layout import ARENA_HALF, MAX_TRIES, Box, Layout, connected

WALL = 0.04  # m, thickness
MAZE_CELLS = 4  # along an edge of the arena: corridors of 0.46 m for a robot of 0.18 m


def maze_layout(seed: int, loops: int = 2) -> Layout:
    """A maze of thin walls: every cell can be reached from every other, by few ways.

    Args:
        seed: any non-negative integer; the same seed gives the same layout.
        loops: walls that are taken out of the perfect maze (which has one way between two cells).

    Raises:
        SimError: loops below 0.
    """
    if loops < 0:
        raise SimError(f"maze: loops: found {loops}, expected at least 0")
    rng, n = np.random.default_rng([int(seed), 7002]), MAZE_CELLS
    walls = {((i, j), (i + 1, j)) for i in range(n - 1) for j in range(n)}
    walls |= {((i, j), (i, j + 1)) for i in range(n) for j in range(n - 1)}
    cell = (int(rng.integers(n)), int(rng.integers(n)))
    seen, way = {cell}, [cell]
    while way:  # depth first: long corridors, and dead ends
        i, j = way[-1]
        near = [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
        fresh = [c for c in near if 0 <= c[0] < n and 0 <= c[1] < n and c not in seen]
        if not fresh:
            way.pop()
            continue
        following = fresh[int(rng.integers(len(fresh)))]
        walls.discard((way[-1], following))
        walls.discard((following, way[-1]))
        seen.add(following)
        way.append(following)
    left = sorted(walls)
    for k in rng.permutation(len(left))[: min(loops, len(left))]:
        walls.discard(left[int(k)])
    return Layout(tuple(_wall(*wall) for wall in sorted(walls)), name=f"maze-{seed}")


def _wall(a: tuple[int, int], b: tuple[int, int]) -> Box:
    """The wall between two neighbouring cells."""
    edge = 2 * ARENA_HALF / MAZE_CELLS
    x, y = (float(edge * (a[k] + b[k] + 1) / 2 - ARENA_HALF) for k in (0, 1))
    half = (edge + WALL) / 2
    return Box(x, y, WALL / 2, half) if a[0] != b[0] else Box(x, y, half, WALL / 2)


def dead_end_layout(seed: int, pockets: int = 2) -> Layout:
    """Pockets of three walls, open on one side, the free space always in one piece.

    Args:
        seed: any non-negative integer; the same seed gives the same layout.
        pockets: how many.

    Raises:
        SimError: too many for the arena.
    """
    rng = np.random.default_rng([int(seed), 7003])
    for _ in range(MAX_TRIES):
        boxes: list[Box] = []
        for _ in range(pockets):
            boxes += _pocket(rng)
        layout = Layout(tuple(boxes), name=f"dead_end-{seed}")
        if _apart(boxes) and connected(layout):
            return layout
    raise SimError(f"dead ends: no layout with {pockets} pockets and connected free space found: ask for fewer")


def _pocket(rng: np.random.Generator) -> list[Box]:
    x, y = rng.uniform(-0.45, 0.45, 2).tolist()
    yaw, width, depth = rng.uniform(-np.pi, np.pi), rng.uniform(0.40, 0.60), rng.uniform(0.35, 0.55)
    cos, sin = float(np.cos(yaw)), float(np.sin(yaw))
    parts = (
        (depth / 2, 0.0, WALL / 2, width / 2 + WALL / 2),  # the end
        (0.0, width / 2, depth / 2, WALL / 2),
        (0.0, -width / 2, depth / 2, WALL / 2),
    )
    return [Box(x + cos * u - sin * v, y + sin * u + cos * v, hx, hy, float(yaw)) for u, v, hx, hy in parts]


def _apart(boxes: list[Box], gap: float = 0.26) -> bool:
    """Whether pockets leave each other, and the arena's walls, room enough to pass between or none at all."""
    groups = [Layout(tuple(boxes[k : k + 3])) for k in range(0, len(boxes), 3)]
    for k, group in enumerate(groups):
        ends = np.concatenate(group.corners())
        if np.max(np.abs(ends)) > ARENA_HALF - gap:
            return False
        if any(np.min(other.box_distance(ends)) < gap for m, other in enumerate(groups) if m != k):
            return False
    return True
