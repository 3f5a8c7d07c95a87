# SPDX-License-Identifier: Apache-2.0
"""How near the links come to boxes, to each other and to people, over everything that the arm may do until it stands.

All that the arm may do is a box of joint positions about its middle c, with half edges h
(:mod:`jepa_ros.safety.arm.motion`). A link is a capsule, the points within a radius of a segment; a capsule moves no
further than the ends of its segment. Two bounds hold for how far such an end p moves from c, and both are proven:

* joints changed one after the other, the outermost first, each turn p by at most h_k about an axis from which p is
  away by r_k, the distance at c, and by what the joints further out have moved it:
  ``E_k-1 = E_k + h_k (r_k + E_k)``, all of it ``E_0 = sum r_k h_k prod_{j<k} (1 + h_j)``;
* along a direction n by Taylor's formula: ``sum h_k |n . J_k| + 1/2 sum h_k h_l R_max(k,l)``, for the second derivative
  by joints k <= l is ``a_k x (a_l x (p - o_l))``, no longer than the distance R_l of p from axis l, which is at most
  ``r_l + E_l`` in the box.

Distances are measured along directions n: for any n, the gap between the two shapes along n is at most their distance.
It shrinks by no more than what the ends move along n. So what is said of a gap holds for every posture of the box.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from jepa_ros.safety.arm.motion import Stretch

#: Postures that are looked at: where the arm is, the middle of all it may do, where it comes to rest, half of a stop.
NOW, MIDDLE, END, HALF = 0, 1, 2, 3
#: Steps of the search for the nearest points of a capsule and a box. Any direction is a bound, these make a good one.
STEPS = 3
TINY = 1e-12


class Gaps(NamedTuple):
    """Distances of K things [m]: over all that the arm may do, at most the true ones; now; and where it comes to rest.

    ``what``: (K, 2) indices that name them.
    """

    bound: np.ndarray
    now: np.ndarray
    end: np.ndarray
    what: np.ndarray


NONE = Gaps(np.empty(0), np.empty(0), np.empty(0), np.empty((0, 2), int))


class Sweep:
    """The links over one stretch of the joints.

    Args:
        shapes: of the arm (:class:`jepa_ros.arm.postures.ArmShapes`).
    """

    def __init__(self, shapes: Any, stretch: Stretch) -> None:
        self.shapes = shapes
        middle = 0.5 * (stretch.low + stretch.high)
        self.postures = shapes.at(np.array([stretch.now, middle, stretch.end, stretch.half]))
        self.h = h = (0.5 * (stretch.high - stretch.low))[shapes.column] * np.abs(shapes.factor)
        self.jacobian = shapes.motion(self.postures, MIDDLE)  # (C, 2, J, 3)
        self.reach = reach = np.sqrt(np.einsum("cejx,cejx->cej", self.jacobian, self.jacobian))  # r
        self._after = np.cumprod(1.0 + h * shapes.turning)  # prod over j <= k of 1 + h_j
        self._grown = h.copy()  # h_k prod over j < k of 1 + h_j
        self._grown[1:] *= self._after[:-1]
        self.way = np.matmul(reach, self._grown).max(1)  # (C,): E_0

    @cached_property
    def tip(self) -> np.ndarray:
        """Jacobians (4, 6, n) of the tip in the postures."""
        return np.asarray(self.shapes.tip_jacobians(self.postures))

    @cached_property
    def _middles(self) -> np.ndarray:
        ends = self.postures.ends[MIDDLE]
        return np.asarray(0.5 * (ends[:, 0] + ends[:, 1]))

    @cached_property
    def _outer(self) -> np.ndarray:
        """(J, J): h_k prod over l < j < k of 1 + h_j, for k > l."""
        found: np.ndarray = np.tril(self._grown[:, None] / self._after, -1)
        return found

    @cached_property
    def _twice(self) -> np.ndarray:
        """(J,): h_l (h_l + 2 sum over k < l of h_k)."""
        found: np.ndarray = self.h * (2.0 * np.cumsum(self.h) - self.h)
        return found

    def _second(self, reach: np.ndarray) -> np.ndarray:
        """The second term of Taylor's formula (...,) for ends that are so far (..., J) from the axes."""
        return 0.5 * np.matmul(reach + np.matmul(reach, self._outer), self._twice)

    # ---- boxes ----------------------------------------------------------------------------------------------------
    def outside(self, boxes: Boxes, near: float) -> Gaps:
        """Gaps of the moving capsules to boxes that they keep out of; those that stay ``near`` m away are left out."""
        shapes, ends = self.shapes, self.postures.ends
        if not boxes.count:
            return NONE
        local = np.matmul(self._middles[None] - boxes.center[:, None], boxes.turn)  # (K, C, 3)
        beside = np.maximum(np.abs(local) - boxes.half[:, None], 0.0)
        away = np.sqrt((beside * beside).sum(-1)) - (shapes.half + shapes.radius + self.way + near)
        box, link = ((away < boxes.margin[:, None]) & shapes.free).nonzero()
        if not len(box):
            return NONE
        at = np.matmul(ends[:, link] - boxes.center[box][:, None], boxes.turn[box])  # (4, M, 2, 3)
        gaps, normals = _gaps(at, boxes.half[box])
        gaps = gaps - shapes.radius[link] - boxes.margin[box]
        n = np.matmul(boxes.turn[box], normals[MIDDLE][..., None])[..., 0]  # (M, 3) in the base frame
        moved = np.matmul(np.abs(np.matmul(self.jacobian[link], n[:, None, :, None])[..., 0]), self.h)
        moved = np.minimum((moved + self._second(self.reach[link])).max(1), self.way[link])
        return Gaps(gaps[MIDDLE] - moved, gaps[NOW], gaps[END], np.stack([box, link], 1))

    def inside(self, boxes: Boxes, near: float) -> Gaps:
        """Gaps of the moving capsules to the walls of boxes that they stay inside of; those that stay ``near`` m away
        are left out."""
        shapes, ends = self.shapes, self.postures.ends
        if not boxes.count:
            return NONE
        rows = []
        for k in range(boxes.count):
            local = np.abs(np.matmul(ends[MIDDLE] - boxes.center[k], boxes.turn[k])).max(1)  # (C, 3)
            room = (boxes.half[k] - local).min(1) - (shapes.radius + boxes.margin[k] + self.way)
            link = ((room < near) & shapes.free).nonzero()[0]
            if len(link):
                rows.append(self._walls(boxes, k, link))
        return Gaps(*(np.concatenate(part) for part in zip(*rows, strict=True))) if rows else NONE

    def _walls(self, boxes: Boxes, k: int, link: np.ndarray) -> Gaps:
        local = np.matmul(self.postures.ends[:, link] - boxes.center[k], boxes.turn[k])  # (4, M, 2, 3)
        room = boxes.half[k] - np.abs(local) - (self.shapes.radius[link] + boxes.margin[k])[None, :, None, None]
        moved = np.matmul(np.abs(np.matmul(self.jacobian[link], boxes.turn[k])).swapaxes(-1, -2), self.h)
        moved = np.minimum(moved + self._second(self.reach[link])[..., None], self.way[link][:, None, None])
        what = np.stack([np.full(len(link), k), link], 1)
        return Gaps((room[MIDDLE] - moved).min((1, 2)), room[NOW].min((1, 2)), room[END].min((1, 2)), what)

    # ---- the arm itself -------------------------------------------------------------------------------------------
    def selves(self, near: float) -> Gaps:
        """Gaps of links that can meet; pairs that stay ``near`` m apart are left out. Where the capsules of two links
        come near, the hulls of their meshes tell how far they are."""
        shapes = self.shapes
        if not len(shapes.pairs):
            return NONE
        a, b = shapes.pairs[:, 0], shapes.pairs[:, 1]
        middles, size = self._middles, shapes.half + shapes.radius + self.way
        between = middles[a] - middles[b]
        apart = np.sqrt((between * between).sum(-1)) - (size[a] + size[b])
        pair = (apart < near).nonzero()[0]
        pair, gap, n, bound = self._coarse(pair, near)
        left = [k for k, p in enumerate(pair) if not self._far(int(p), float(gap[k] - bound[k]), near)]
        if not left:
            return NONE
        pair, gap, n, bound = pair[left], gap[left], n[left], bound[left]
        own = shapes.apart[pair][:, None, None, :]
        link = shapes.pairs[pair]
        bound = np.maximum(bound, gap - self._moved(link, n, self.reach[link] * own, own))
        bound = np.array([self._by_hulls(k, float(v), near) for k, v in zip(pair, bound, strict=True)])
        close = bound < near
        if not close.any():
            return NONE
        pair, bound = pair[close], bound[close]
        now, end = self._apart(NOW, pair), self._apart(END, pair)
        return Gaps(bound, now, end, shapes.pairs[pair])

    def _coarse(self, pair: np.ndarray, near: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of some pairs those whose capsules may come near, by the first of the two bounds: (which, gaps in the middle,
        along which directions (M, 3), bounds)."""
        ends, shapes = self.postures.ends[MIDDLE], self.shapes
        link = shapes.pairs[pair]  # (M, 2)
        n = _between(ends[link[:, 0]], ends[link[:, 1]])
        gap = self._along(MIDDLE, link, n)
        reach = self.reach[link] * shapes.apart[pair][:, None, None, :]  # (M, 2 links, 2 ends, J)
        bound = gap - np.matmul(reach, self._grown).max(2).sum(1)
        left = (bound < near).nonzero()[0]
        return pair[left], gap[left], n[left], bound[left]

    def _far(self, pair: int, moved: float, near: float) -> bool:
        """Whether the hulls of two links whose capsules are near stay ``near`` m apart, by the first of the two bounds:
        their capsules come nearer by at most ``moved``."""
        shapes = self.shapes
        found = shapes.hull_distance(self.postures.frames[MIDDLE], pair)
        turned = float(shapes.apart[pair] @ self._grown)
        return found is not None and found[0] - moved - float(shapes.radius[shapes.pairs[pair]].sum()) * turned >= near

    def _apart(self, at: int, pair: np.ndarray) -> np.ndarray:
        """How far links (M, 2) are apart in one of the postures [m]: by their capsules, or by their hulls if that is
        more."""
        ends, frames, link = self.postures.ends[at], self.postures.frames[at], self.shapes.pairs[pair]
        gaps = self._along(at, link, _between(ends[link[:, 0]], ends[link[:, 1]]))
        found = [self.shapes.hull_distance(frames, k) for k in pair]
        return np.array([g if f is None else max(g, f[0]) for g, f in zip(gaps, found, strict=True)])

    def _along(self, at: int, link: np.ndarray, n: np.ndarray) -> np.ndarray:
        """Gaps (M,) between capsules (M, 2) along directions (M, 3) in one of the postures."""
        along = np.matmul(self.postures.ends[at][link], n[:, None, :, None])[..., 0]  # (M, 2 links, 2 ends)
        return np.asarray(along[:, 1].min(-1) - along[:, 0].max(-1) - self.shapes.radius[link].sum(1))

    def _moved(self, link: np.ndarray, n: np.ndarray, reach: np.ndarray, own: np.ndarray) -> np.ndarray:
        """By how much (M,) two capsules (M, 2) may come nearer along n, by the joints ``own`` (M, 1, 1, J)."""
        along = np.abs(np.matmul(self.jacobian[link], n[:, None, None, :, None])[..., 0]) * own
        moved = np.matmul(along, self.h) + self._second(reach)
        return np.asarray(moved.max(2).sum(1))

    def _by_hulls(self, pair: int, bound: float, near: float) -> float:
        """The bound by the hulls of two links, where that by their capsules is near and smaller.

        A point of a hull lies within the capsule's radius of its segment, so it may move by so much times the turning
        more than the segment does.
        """
        shapes = self.shapes
        found = shapes.hull_distance(self.postures.frames[MIDDLE], pair) if bound < near else None
        if found is None:
            return bound
        link, own = shapes.pairs[pair], shapes.apart[pair].astype(float)
        moved = float(self._moved(link[None], found[1][None], self.reach[link][None] * own, own)[0])
        turned = float(own @ self._grown + 0.5 * ((own + own @ self._outer) @ self._twice))
        return max(bound, found[0] - moved - float(shapes.radius[link].sum()) * turned)

    # ---- people ---------------------------------------------------------------------------------------------------
    def beside(self, people: np.ndarray) -> float:
        """Least distance over the ground of any moving link to people (N, 2) [m], over all that the arm may do."""
        shapes = self.shapes
        flat = self.postures.ends[MIDDLE][shapes.free][..., :2]  # (M, 2, 2)
        start, along = flat[:, 0], flat[:, 1] - flat[:, 0]
        to = people[:, None] - start  # (N, M, 2)
        share = _share((to * along).sum(-1) / np.maximum((along * along).sum(-1), TINY))
        off = to - share[..., None] * along
        gaps = np.sqrt((off * off).sum(-1)) - shapes.radius[shapes.free] - self.way[shapes.free]
        return float(gaps.min())


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


def _gaps(ends: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
        share = _share(((beside - start) * along).sum(-1) / long)
        point = start + share[..., None] * along
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


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Directions (M, 3) from segments (M, 2, 3) to others, between their nearest points."""
    x = np.empty((len(a), 3, 3))
    x[:, 0], x[:, 1], x[:, 2] = a[:, 1] - a[:, 0], b[:, 1] - b[:, 0], a[:, 0] - b[:, 0]
    products = np.matmul(x, x.swapaxes(-1, -2))
    uu, vv = np.maximum(products[:, 0, 0], TINY), np.maximum(products[:, 1, 1], TINY)
    uv, uw, vw = products[:, 0, 1], products[:, 0, 2], products[:, 1, 2]
    s = _share((uv * vw - uw * vv) / np.maximum(uu * vv - uv * uv, TINY))
    t = _share((uv * s + vw) / vv)
    s = _share((uv * t - uw) / uu)
    way = t[:, None] * x[:, 1] - s[:, None] * x[:, 0] - x[:, 2]
    return np.asarray(way / np.maximum(np.sqrt((way * way).sum(-1)), TINY)[:, None])


def _share(values: np.ndarray) -> np.ndarray:
    """Between 0 and 1; ``np.clip`` takes five times as long for so few."""
    return np.minimum(np.maximum(values, 0.0), 1.0)
