# SPDX-License-Identifier: Apache-2.0
"""How far segments are from boxes, and from each other, many at once."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Steps of the search for the nearest points of a segment and a box. Any direction is a bound, these make a good one.
STEPS = 3
TINY = 1e-12


class Boxes:
    """Boxes of guardrails as arrays: ``center`` (K, 3), ``turn`` (K, 3, 3), ``half`` edges (K, 3), ``margin`` (K,) [m],
    ``names``."""

    def __init__(self, guardrails: tuple[Any, ...]) -> None:
        self.names = tuple(g.name for g in guardrails)
        self.count = len(guardrails)
        self.center = np.array([g.space.center for g in guardrails]).reshape(-1, 3)
        self.turn = np.array([g.space.turn for g in guardrails]).reshape(-1, 3, 3)
        self.half = 0.5 * np.array([g.space.size for g in guardrails]).reshape(-1, 3)
        self.margin = np.array([g.margin - g.threshold for g in guardrails])


def box_gaps(ends: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gaps (..., M) between segments (..., M, 2, 3) and boxes of ``half`` edges (M, 3) about the origin, negative where
    they overlap, and the directions (..., M, 3) from the box along which they are measured: the best of the box's
    faces, of its edges with the segment, and of the nearest points."""
    start, along = ends[..., 0, :], ends[..., 1, :] - ends[..., 0, :]
    low, high = ends.min(-2), ends.max(-2)
    faces = np.concatenate([low - half, -high - half], -1)  # (..., M, 6)
    which = faces.argmax(-1)
    best = np.take_along_axis(faces, which[..., None], -1)[..., 0]
    normal = np.concatenate([np.eye(3), -np.eye(3)])[which]
    long = np.maximum((along * along).sum(-1), TINY)
    # Nearest points, in turn on the box and on the segment.
    point = start + 0.5 * along
    for _ in range(STEPS):
        beside = np.minimum(np.maximum(point, -half), half)
        part = share(((beside - start) * along).sum(-1) / long)
        point = start + part[..., None] * along
    way = point - np.minimum(np.maximum(point, -half), half)
    size = np.sqrt((way * way).sum(-1))
    n = way / np.maximum(size, TINY)[..., None]
    gap = np.matmul(ends, n[..., None])[..., 0].min(-1) - (np.abs(n) * half).sum(-1)
    better = (size > 1e-9) & (gap > best)
    best, normal = np.where(better, gap, best), np.where(better[..., None], n, normal)
    # Edges: the cross products of the box's axes and the segment's.
    zero = np.zeros(along.shape[:-1])
    x, y, z = along[..., 0], along[..., 1], along[..., 2]
    crossed = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*along.shape[:-1], 3, 3)
    size = np.sqrt((crossed * crossed).sum(-1))
    n = crossed / np.maximum(size, 1e-6)[..., None]
    off = np.matmul(n, start[..., None])[..., 0]
    gap = np.where(size > 1e-6, np.abs(off) - (np.abs(n) * half[..., None, :]).sum(-1), -np.inf)
    which = gap.argmax(-1)
    gap = np.take_along_axis(gap, which[..., None], -1)[..., 0]
    n = np.take_along_axis(n, which[..., None, None], -2)[..., 0, :]
    n = np.where(np.take_along_axis(off, which[..., None], -1) < 0.0, -n, n)
    better = gap > best
    return np.where(better, gap, best), np.where(better[..., None], n, normal)


def between(ends: np.ndarray, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions (M, 3) from segments to others, between their nearest points, and the gaps (M,) between their capsules
    along them. ``ends``: (M, 2 segments, 2 ends, 3); ``radius``: (M, 2)."""
    x = np.empty((len(ends), 3, 3))
    x[:, :2] = ends[:, :, 1] - ends[:, :, 0]
    x[:, 2] = ends[:, 0, 0] - ends[:, 1, 0]
    products = np.matmul(x, x.swapaxes(-1, -2)).reshape(-1, 9).T
    uu, vv = np.maximum(products[0:5:4], TINY)
    uv, uw, vw = products[1], products[2], products[5]
    s = share((uv * vw - uw * vv) / np.maximum(uu * vv - uv * uv, TINY))
    t = share((uv * s + vw) / vv)
    s = share((uv * t - uw) / uu)
    way = t[:, None] * x[:, 1] - s[:, None] * x[:, 0] - x[:, 2]
    n = way / np.maximum(np.sqrt(np.einsum("mx,mx->m", way, way)), TINY)[:, None]
    along = np.matmul(ends, n[:, None, :, None])[..., 0]  # (M, 2 segments, 2 ends)
    gap = np.minimum(along[:, 1, 0], along[:, 1, 1]) - np.maximum(along[:, 0, 0], along[:, 0, 1])
    return n, gap - (radius[:, 0] + radius[:, 1])


def share(values: np.ndarray) -> np.ndarray:
    """Between 0 and 1; ``np.clip`` takes five times as long for so few."""
    return np.minimum(np.maximum(values, 0.0), 1.0)
