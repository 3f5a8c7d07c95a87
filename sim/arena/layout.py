# SPDX-License-Identifier: Apache-2.0
"""What stands in the arena and where: the ONE place for the geometry of walls, boxes and patches.

A :class:`Layout` is plain data. The physics, the camera, the tasks and the oracle all read the same one.
Lengths in metres, angles in radians, origin in the middle of the arena, x right and y up in the camera's picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..common.errors import SimError

ARENA_HALF = 1.0
ROBOT_RADIUS = 0.09
MAX_TRIES = 400


@dataclass(frozen=True)
class Box:
    """A box obstacle: centre, half extents, yaw, height."""

    cx: float
    cy: float
    hx: float
    hy: float
    yaw: float = 0.0
    height: float = 0.12


@dataclass(frozen=True)
class Patch:
    """A slippery disc on the floor: wheels over it have ``friction`` in place of the scene's."""

    cx: float
    cy: float
    radius: float
    friction: float = 0.1
    visible: bool = True


@dataclass(frozen=True)
class Layout:
    """A walled square arena with boxes and, optionally, slippery patches."""

    boxes: tuple[Box, ...] = ()
    patches: tuple[Patch, ...] = ()
    half: float = ARENA_HALF
    name: str = ""
    _frames: tuple = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        for i, box in enumerate(self.boxes):
            if min(box.hx, box.hy, box.height) <= 0 or not np.all(np.isfinite([*vars(box).values()])):
                raise SimError(f"layout box {i}: {box}: half extents and height must be positive and finite")
        values = np.array([[b.cx, b.cy, b.hx, b.hy, np.cos(b.yaw), np.sin(b.yaw)] for b in self.boxes])
        object.__setattr__(self, "_frames", (values.reshape(-1, 6),))

    def box_distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance (negative inside) of points ``(..., 2)`` to each box: ``(..., boxes)``, in m."""
        points = np.asarray(points, dtype=float)
        cx, cy, hx, hy, cos, sin = self._frames[0].T
        dx, dy = points[..., :1] - cx, points[..., 1:2] - cy
        qx, qy = np.abs(cos * dx + sin * dy) - hx, np.abs(cos * dy - sin * dx) - hy
        outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
        return outside + np.minimum(np.maximum(qx, qy), 0)

    def clearance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance of points ``(..., 2)`` to the nearest wall or box: ``(...,)``, in m."""
        points = np.asarray(points, dtype=float)
        wall = self.half - np.max(np.abs(points[..., :2]), axis=-1)
        if not self.boxes:
            return wall
        return np.minimum(wall, np.min(self.box_distance(points), axis=-1))

    def free(self, points: np.ndarray, margin: float = ROBOT_RADIUS) -> np.ndarray:
        """Whether a disc of radius ``margin`` at each point ``(..., 2)`` touches nothing."""
        return self.clearance(points) > margin

    def friction(self, point: tuple[float, float], elsewhere: float) -> float:
        """Friction of the floor at a point (x, y): the slipperiest patch's there, or ``elsewhere``."""
        x, y = point
        here = [p.friction for p in self.patches if (x - p.cx) ** 2 + (y - p.cy) ** 2 < p.radius**2]
        return min([elsewhere, *here])

    def corners(self) -> list[np.ndarray]:
        """The four corners of each box, counter-clockwise: a list of ``(4, 2)``."""
        signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], dtype=float)
        out = []
        for cx, cy, hx, hy, cos, sin in self._frames[0]:
            local = signs * (hx, hy)
            out.append(local @ np.array([[cos, sin], [-sin, cos]]) + (cx, cy))
        return out


def fixed_layout() -> Layout:
    """The layout that never changes: four boxes, every free place reachable from every other."""
    return Layout(
        boxes=(
            Box(-0.42, 0.38, 0.13, 0.10, 0.30),
            Box(0.45, 0.45, 0.09, 0.15, -0.20),
            Box(0.38, -0.42, 0.16, 0.09, 0.60),
            Box(-0.45, -0.40, 0.10, 0.10, 0.0),
        ),
        name="fixed",
    )


def empty_layout() -> Layout:
    """Walls only."""
    return Layout(name="empty")


def random_layout(seed: int, n_obstacles: tuple[int, int] = (3, 6), patches: int = 0) -> Layout:
    """Boxes drawn from ``seed``: a share of long ones that block the way, the free space always in one piece.

    Args:
        seed: any non-negative integer; the same seed gives the same layout.
        n_obstacles: fewest and most boxes (both included).
        patches: number of slippery patches.

    Raises:
        SimError: bad range, or no valid layout found (too many obstacles).
    """
    low, high = n_obstacles
    if not 0 <= low <= high:
        raise SimError(f"n_obstacles: found {n_obstacles}, expected (fewest, most) with 0 <= fewest <= most")
    rng = np.random.default_rng([int(seed), 7001])
    for _ in range(MAX_TRIES):
        layout = _draw(rng, int(rng.integers(low, high + 1)), patches, f"random-{seed}")
        if layout is not None and connected(layout):
            return layout
    raise SimError(f"no layout with {n_obstacles} obstacles and connected free space found: ask for fewer obstacles")


def connected(layout: Layout, margin: float = ROBOT_RADIUS + 0.03, cell: float = 0.04) -> bool:
    """Whether the robot's free space (grown by ``margin``) is one piece of at least a third of the arena."""
    axis = np.arange(-layout.half + cell / 2, layout.half, cell)
    free = layout.free(np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1), margin)
    total = int(free.sum())
    if total * cell * cell < (2 * layout.half) ** 2 / 3:
        return False
    reach = np.zeros_like(free)
    reach.flat[int(np.argmax(free))] = True
    count = 1
    while True:
        grown = reach.copy()
        grown[1:] |= reach[:-1]
        grown[:-1] |= reach[1:]
        grown[:, 1:] |= reach[:, :-1]
        grown[:, :-1] |= reach[:, 1:]
        grown &= free
        now = int(grown.sum())
        if now == count:
            return count == total
        reach, count = grown, now


def _draw(rng: np.random.Generator, n: int, patches: int, name: str) -> Layout | None:
    """One attempt: boxes that leave either no gap between each other or one that the robot fits through."""
    boxes: list[Box] = []
    for _ in range(n):
        for _ in range(30):
            long = rng.random() < 0.35
            hx = rng.uniform(0.18, 0.30) if long else rng.uniform(0.07, 0.15)
            hy = rng.uniform(0.04, 0.07) if long else rng.uniform(0.07, 0.15)
            x, y = rng.uniform(-0.72, 0.72, 2).tolist()
            box = Box(x, y, hx, hy, rng.uniform(-np.pi, np.pi), rng.uniform(0.08, 0.16))
            gap = 2 * ROBOT_RADIUS + 0.06
            if all(
                np.hypot(box.cx - b.cx, box.cy - b.cy) > gap / 2 + max(hx, hy) * 0.8 + max(b.hx, b.hy) * 0.8
                for b in boxes
            ):
                boxes.append(box)
                break
        else:
            return None
    discs = tuple(Patch(*rng.uniform(-0.7, 0.7, 2).tolist(), rng.uniform(0.12, 0.22)) for _ in range(patches))
    return Layout(tuple(boxes), discs, name=name)
