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

import math
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from jepa_ros.safety.arm.motion import Stretch
from jepa_ros.safety.arm.solids import TINY, Boxes, between, box_gaps, share


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
        self.shapes, self._stretch = shapes, stretch
        self.middle = middle = shapes.at(0.5 * (stretch.low + stretch.high))
        self.h = h = shapes.spread(0.5 * (stretch.high - stretch.low))
        self.jacobian = moved = shapes.motion(middle)  # (C, 2, 3, J)
        self.reach = reach = np.sqrt(np.einsum("cexj,cexj->cej", moved, moved))  # r
        self._after = np.multiply.accumulate(1.0 + h * shapes.turning)  # prod over j <= k of 1 + h_j
        self._grown = h.copy()  # h_k prod over j < k of 1 + h_j
        self._grown[1:] *= self._after[:-1]
        self.way = np.maximum.reduce(np.matmul(reach, self._grown), 1)  # (C,): E_0
        self._size = shapes.radius + self.way

    @cached_property
    def now(self) -> Any:
        """Where the arm is."""
        return self.shapes.at(self._stretch.now)

    @cached_property
    def end(self) -> Any:
        """Where it comes to rest."""
        return self.shapes.at(self._stretch.end)

    @cached_property
    def tip(self) -> np.ndarray:
        """Jacobians (3, 6, n) of the tip: now, in half of a stop, at rest."""
        stretch = self._stretch
        return np.array([self.shapes.tip_jacobian(q) for q in (stretch.now, stretch.half, stretch.end)])

    @cached_property
    def _middles(self) -> np.ndarray:
        ends = self.middle.ends
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
    def outside(self, boxes: Boxes, near: float, margin: float = math.inf) -> Gaps:
        """Gaps of the moving capsules to boxes that they keep out of. Left out are those that stay ``near`` m away, and
        those that stay ``margin`` m away and are ``near`` m away now."""
        shapes = self.shapes
        if not boxes.count:
            return NONE
        # By the faces of the boxes first.
        at = np.matmul(self.middle.ends[None] - boxes.center[:, None, None], boxes.turn[:, None])  # (K, C, 2, 3)
        beside = np.maximum(np.minimum(at[:, :, 0], at[:, :, 1]), -np.maximum(at[:, :, 0], at[:, :, 1]))
        away = np.maximum.reduce(beside - boxes.half[:, None], 2) - self._size
        box, link = ((away < boxes.margin[:, None] + near) & shapes.free).nonzero()
        if not len(box):
            return NONE
        gaps, normals = box_gaps(at[box, link], boxes.half[box])
        room = shapes.radius[link] + boxes.margin[box]
        left = (gaps - room - self.way[link] < near).nonzero()[0]
        if not len(left):
            return NONE
        box, link, room, bound, normals = box[left], link[left], room[left], gaps[left] - room[left], normals[left]
        n = np.matmul(boxes.turn[box], normals[..., None])[..., 0]  # (M, 3) in the base frame
        moved = np.matmul(np.abs(np.matmul(n[:, None, None], self.jacobian[link])[..., 0, :]), self.h)
        moved = np.minimum((moved + self._second(self.reach[link])).max(1), self.way[link])
        left = (bound - moved < near).nonzero()[0]
        if not len(left):
            return NONE
        box, link, room, bound = box[left], link[left], room[left], (bound - moved)[left]

        def gaps_in(ends: np.ndarray) -> np.ndarray:
            at = np.matmul(ends[link] - boxes.center[box][:, None], boxes.turn[box])  # (M, 2, 3)
            return box_gaps(at, boxes.half[box])[0] - room

        now = gaps_in(self.now.ends)
        if (bound >= margin).all() and (now >= near).all():
            return NONE
        return Gaps(bound, now, gaps_in(self.end.ends), np.array([box, link]).T)

    def inside(self, boxes: Boxes, near: float) -> Gaps:
        """Gaps of the moving capsules to the walls of boxes that they stay inside of; those that stay ``near`` m away
        are left out."""
        if not boxes.count:
            return NONE
        rows = []
        for k in range(boxes.count):
            local = np.abs(np.matmul(self.middle.ends - boxes.center[k], boxes.turn[k]))  # (C, 2, 3)
            room = np.minimum.reduce(boxes.half[k] - local, (1, 2)) - self._size
            link = ((room < near + boxes.margin[k]) & self.shapes.free).nonzero()[0]
            if len(link):
                rows.append(self._walls(boxes, k, link))
        return Gaps(*(np.concatenate(part) for part in zip(*rows, strict=True))) if rows else NONE

    def _walls(self, boxes: Boxes, k: int, link: np.ndarray) -> Gaps:
        ends = np.array([self.middle.ends[link], self.now.ends[link], self.end.ends[link]])
        local = np.matmul(ends - boxes.center[k], boxes.turn[k])  # (3, M, 2, 3)
        room = boxes.half[k] - np.abs(local) - (self.shapes.radius[link] + boxes.margin[k])[None, :, None, None]
        moved = np.matmul(np.abs(np.matmul(boxes.turn[k].T, self.jacobian[link])), self.h)
        moved = np.minimum(moved + self._second(self.reach[link])[..., None], self.way[link][:, None, None])
        what = np.stack([np.full(len(link), k), link], 1)
        return Gaps((room[0] - moved).min((1, 2)), room[1].min((1, 2)), room[2].min((1, 2)), what)

    # ---- the arm itself -------------------------------------------------------------------------------------------
    def selves(self, near: float, margin: float = math.inf) -> Gaps:
        """Gaps of links that can meet; left out is what :meth:`outside` leaves out. Where the capsules of two links
        come near, the hulls of their meshes tell how far they are."""
        shapes = self.shapes
        if not len(shapes.pairs):
            return NONE
        # What moves two links alike brings them no nearer to each other.
        apart = np.matmul(shapes.difference, self._middles)
        moved = np.matmul(np.matmul(shapes.either, np.maximum.reduce(self.reach, 1)) * shapes.apart, self._grown)
        room = shapes.sizes + moved + near
        pair = (np.einsum("px,px->p", apart, apart) < room * room).nonzero()[0]
        if not len(pair):
            return NONE
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
        now = self._apart(self.now, pair)
        if (bound >= margin).all() and (now >= near).all():
            return NONE
        return Gaps(bound, now, self._apart(self.end, pair), shapes.pairs[pair])

    def _coarse(self, pair: np.ndarray, near: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of some pairs those whose capsules may come near, by the first of the two bounds: (which, gaps in the middle,
        along which directions (M, 3), bounds)."""
        shapes = self.shapes
        link = shapes.pairs[pair]  # (M, 2)
        n, gap = between(self.middle.ends[link], shapes.radius[link])
        reach = self.reach[link] * shapes.own[pair]  # (M, 2 links, 2 ends, J)
        bound = gap - np.maximum.reduce(np.matmul(reach, self._grown), 2).sum(1)
        left = (bound < near).nonzero()[0]
        return pair[left], gap[left], n[left], bound[left]

    def _far(self, pair: int, moved: float, near: float) -> bool:
        """Whether the hulls of two links whose capsules are near stay ``near`` m apart, by the first of the two bounds:
        their capsules come nearer by at most ``moved``."""
        shapes = self.shapes
        found = self._hulls(pair)
        turned = float(shapes.apart[pair] @ self._grown)
        return found is not None and found[0] - moved - float(shapes.radius[shapes.pairs[pair]].sum()) * turned >= near

    def _hulls(self, pair: int) -> tuple[float, np.ndarray] | None:
        """As ``hull_distance``, in the middle."""
        if pair not in self._measured:
            self._measured[pair] = self.shapes.hull_distance(self.middle.frames, pair)
        return self._measured[pair]

    @cached_property
    def _measured(self) -> dict[int, tuple[float, np.ndarray] | None]:
        return {}

    def _apart(self, at: Any, pair: np.ndarray) -> np.ndarray:
        """How far links (M, 2) are apart in a posture [m]: by their hulls, or by their capsules, which hold them."""
        found = []
        for k in pair:
            hulls, link = self.shapes.hull_distance(at.frames, int(k)), self.shapes.pairs[k : k + 1]
            capsules = between(at.ends[link], self.shapes.radius[link])[1][0] if hulls is None else 0.0
            found.append(float(capsules) if hulls is None else hulls[0])
        return np.array(found)

    def _moved(self, link: np.ndarray, n: np.ndarray, reach: np.ndarray, own: np.ndarray) -> np.ndarray:
        """By how much (M,) two capsules (M, 2) may come nearer along n, by the joints ``own`` (M, 1, 1, J)."""
        along = np.abs(np.matmul(n[:, None, None, None], self.jacobian[link])[..., 0, :]) * own
        moved = np.matmul(along, self.h) + self._second(reach)
        return np.asarray(moved.max(2).sum(1))

    def _by_hulls(self, pair: int, bound: float, near: float) -> float:
        """The bound by the hulls of two links, where that by their capsules is near and smaller.

        A point of a hull lies within the capsule's radius of its segment, so it may move by so much times the turning
        more than the segment does.
        """
        shapes = self.shapes
        found = self._hulls(int(pair)) if bound < near else None
        if found is None:
            return bound
        link, own = shapes.pairs[pair], shapes.apart[pair].astype(float)
        moved = float(self._moved(link[None], found[1][None], self.reach[link][None] * own, own)[0])
        turned = float(own @ self._grown + 0.5 * ((own + own @ self._outer) @ self._twice))
        return max(bound, found[0] - moved - float(shapes.radius[link].sum()) * turned)

    # ---- people ---------------------------------------------------------------------------------------------------
    def beside(self, people: np.ndarray, near: float) -> float:
        """Least distance over the ground of any moving link to people (N, 2) [m], over all that the arm may do; less
        exactly where it is more than ``near``."""
        shapes = self.shapes
        flat = self.middle.ends[..., :2]  # (C, 2, 2)
        least = math.sqrt(np.einsum("nx,nx->n", people, people).min())
        least -= math.sqrt(np.einsum("cex,cex->ce", flat, flat).max()) + float(self._size.max())
        if least >= near:  # by how far the arm reaches in any direction
            return least
        flat = flat[shapes.free]
        start, along = flat[:, 0], flat[:, 1] - flat[:, 0]
        to = people[:, None] - start  # (N, M, 2)
        part = share((to * along).sum(-1) / np.maximum((along * along).sum(-1), TINY))
        off = to - part[..., None] * along
        gaps = np.sqrt((off * off).sum(-1)) - self._size[shapes.free]
        return float(gaps.min())
