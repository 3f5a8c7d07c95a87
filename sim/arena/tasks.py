# SPDX-License-Identifier: Apache-2.0
"""Tasks and their geometry: start and goal pairs, whether the straight way is blocked, the shortest way round.

All of this looks at the true layout: it is for drawing tasks, for scoring and for the oracle, never for the robot.
Poses are (x, y, yaw) in m and rad; lengths in m.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from ..common.errors import SimError
from .layout import ROBOT_RADIUS, Layout

SOLVED_WITHIN = 0.10  # m: a pair nearer than this is solved at its start
POSE_MARGIN = 0.12  # m from the robot's middle to the nearest thing at a start or a goal
CELL = 0.025  # m, grid of the shortest path
STEPS = [(i, j, float(np.hypot(i, j))) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]


@dataclass(frozen=True)
class Pair:
    """A task: from one pose to another."""

    start: tuple[float, float, float]
    goal: tuple[float, float, float]
    blocked: bool

    @property
    def distance(self) -> float:
        """Straight distance, m."""
        return float(np.hypot(self.goal[0] - self.start[0], self.goal[1] - self.start[1]))

    def __iter__(self):
        """``start, goal = pair``."""
        return iter((self.start, self.goal))


def sample_pair(
    layout: Layout,
    rng: np.random.Generator,
    min_dist: float = 0.4,
    max_dist: float = 1.2,
    want_blocked: bool | None = None,
) -> Pair:
    """Draw a start and a goal that are free, reachable and not already solved.

    Args:
        layout: or anything with a ``layout`` (an ArenaSim).
        rng: source of the draw; the same state gives the same pair.
        min_dist, max_dist: bounds on the straight distance, m.
        want_blocked: True or False to ask for pairs whose straight way is (not) blocked, None for any.

    Raises:
        SimError: bounds that cannot be met, or no such pair found.
    """
    layout = getattr(layout, "layout", layout)
    if not SOLVED_WITHIN < min_dist <= max_dist:
        raise SimError(f"pair distance: found {min_dist} to {max_dist} m, expected {SOLVED_WITHIN} < least <= most")
    for _ in range(2000):
        ends = rng.uniform(-layout.half, layout.half, (2, 2))
        yaws = rng.uniform(-np.pi, np.pi, 2)
        if not min_dist <= np.hypot(*(ends[1] - ends[0])) <= max_dist:
            continue
        if not layout.free(ends, POSE_MARGIN).all():
            continue
        is_blocked = blocked(ends, layout)
        if want_blocked is not None and want_blocked != is_blocked:
            continue
        if is_blocked and shortest_path(layout, ends[0], ends[1]) is None:
            continue
        start, goal = (tuple(float(v) for v in (*end, yaw)) for end, yaw in zip(ends, yaws, strict=True))
        return Pair(start, goal, is_blocked)
    raise SimError(
        f"layout {layout.name!r}: no pair {min_dist} to {max_dist} m apart found"
        f"{'' if want_blocked is None else f' with blocked={want_blocked}'}"
    )


def blocked(pair, layout: Layout, radius: float = ROBOT_RADIUS) -> bool:
    """Whether the footprint, swept straight from start to goal, crosses an obstacle or a wall."""
    (x0, y0, *_), (x1, y1, *_) = pair
    n = max(int(np.hypot(x1 - x0, y1 - y0) / 0.005), 1) + 1
    line = np.linspace((x0, y0), (x1, y1), n)
    return not bool(layout.free(line, radius).all())


def shortest_path(layout: Layout, start, goal, clearance: float = ROBOT_RADIUS + 0.01) -> float | None:
    """Length of the shortest way on a grid for a disc of radius ``clearance``; None if there is none.

    A* on 8 neighbours: up to 8 % longer than the true shortest way where it is not along a grid direction.
    The straight distance is returned where the straight way is free.
    """
    if not blocked((start, goal), layout, clearance):
        return float(np.hypot(goal[0] - start[0], goal[1] - start[1]))
    free = _free_grid(layout, clearance)
    first, last = (_nearest_free(layout, free, point) for point in (start, goal))
    if first is None or last is None:
        return None
    best = {first: 0.0}
    queue = [(0.0, first)]
    while queue:
        guess, cell = heapq.heappop(queue)
        done = best[cell]
        if cell == last:
            return done * CELL
        if guess > done + _octile(cell, last) + 1e-9:
            continue
        for i, j, step in STEPS:
            near = (cell[0] + i, cell[1] + j)
            if not (0 <= near[0] < free.shape[0] and 0 <= near[1] < free.shape[1] and free[near]):
                continue
            length = done + step
            if length < best.get(near, np.inf):
                best[near] = length
                heapq.heappush(queue, (length + _octile(near, last), near))
    return None


class DistanceField:
    """Distance to a goal round the obstacles, for an oracle: once a goal, then looked up for many points at once.

    Args:
        layout: where.
        goal: (x, y, ...).
        clearance: radius of the disc that must fit through, m.
    """

    def __init__(self, layout: Layout, goal, clearance: float = ROBOT_RADIUS + 0.02) -> None:
        self.layout = layout
        self.goal = np.array(goal[:2], dtype=float)
        free = _free_grid(layout, clearance)
        first = _nearest_free(layout, free, goal)
        field = np.full(free.shape, np.inf)
        queue: list[tuple[float, tuple[int, int]]] = []
        if first is not None:
            field[first] = 0.0
            queue = [(0.0, first)]
        while queue:
            done, cell = heapq.heappop(queue)
            if done > field[cell]:
                continue
            for i, j, step in STEPS:
                near = (cell[0] + i, cell[1] + j)
                if not (0 <= near[0] < free.shape[0] and 0 <= near[1] < free.shape[1] and free[near]):
                    continue
                if done + step < field[near]:
                    field[near] = done + step
                    heapq.heappush(queue, (done + step, near))
        field *= CELL
        far = np.max(field[np.isfinite(field)], initial=0.0)
        outside = _cell_distance(field)
        self.values = np.where(np.isfinite(field), field, far + 5.0 * outside)  # steep where the robot cannot be

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Way to go in m from points ``(..., 2)``: ``(...,)``. Straight distance within two cells of the goal."""
        points = np.asarray(points, dtype=float)[..., :2]
        n = self.values.shape[0]
        at = np.clip((points + self.layout.half) / CELL - 0.5, 0, n - 1.001)
        i, j = at[..., 0].astype(int), at[..., 1].astype(int)
        u, v = at[..., 0] - i, at[..., 1] - j
        f = self.values
        mixed = (f[i, j] * (1 - u) + f[i + 1, j] * u) * (1 - v) + (f[i, j + 1] * (1 - u) + f[i + 1, j + 1] * u) * v
        straight = np.hypot(points[..., 0] - self.goal[0], points[..., 1] - self.goal[1])
        return np.where(straight < 2 * CELL, straight, np.maximum(mixed, straight))


def _free_grid(layout: Layout, clearance: float) -> np.ndarray:
    axis = np.arange(-layout.half + CELL / 2, layout.half, CELL)
    return layout.free(np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1), clearance)


def _nearest_free(layout: Layout, free: np.ndarray, point) -> tuple[int, int] | None:
    """The free cell nearest to a point, at most three cells away."""
    at = (np.array(point[:2], dtype=float) + layout.half) / CELL - 0.5
    cells = np.argwhere(free)
    if len(cells) == 0:
        return None
    gaps = np.hypot(*(cells - at).T)
    k = int(np.argmin(gaps))
    return (int(cells[k][0]), int(cells[k][1])) if gaps[k] <= 3 else None


def _octile(a: tuple[int, int], b: tuple[int, int]) -> float:
    i, j = abs(a[0] - b[0]), abs(a[1] - b[1])
    return max(i, j) + (2**0.5 - 1) * min(i, j)


def _cell_distance(field: np.ndarray) -> np.ndarray:
    """Distance in m of each cell to the nearest one with a finite value (two sweeps over 8 neighbours)."""
    out = np.where(np.isfinite(field), 0.0, 1e3)
    for _ in range(24):
        grown = np.pad(out, 1, constant_values=1e3)
        near = [grown[1 + i : grown.shape[0] - 1 + i, 1 + j : grown.shape[1] - 1 + j] + step for i, j, step in STEPS]
        out = np.minimum(out, np.min(near, axis=0))
    return np.minimum(out, 24) * CELL
