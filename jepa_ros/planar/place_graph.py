# SPDX-License-Identifier: Apache-2.0
"""The memory graph: places that were seen, and what lies between them. No pose in a map: every place is where it is
only as seen from its neighbours.

A node is a view (its latent, and a thumbnail for people) and what odometry said when it was taken. An edge is a way
that was driven, or two views that were found to be of one place: the relative pose, the control steps that it takes,
how often it was driven and how often it failed. Ways are the shortest by expected steps; an edge that failed costs
more, and less again with time.
"""

from __future__ import annotations

import heapq
import math
import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa_ros.errors import JepaRosError
from jepa_ros.memory.thumbnail import packed, unpacked
from jepa_ros.planar.odometry import between, beyond

#: Nodes that are kept at most; a new one then takes the place of none.
NODES = 100_000
#: Bytes that the thumbnails may take together; beyond it the oldest places lose theirs.
THUMBNAIL_BYTES = 64 * 2**20
#: Control steps that a failure counts for at first, and the seconds after which it counts half.
FAILED_STEPS, FORGIVEN = 60.0, 600.0
#: Error of a driven edge: a share of its length, and of its turn [m a rad].
DRIFT, TURN_DRIFT = 0.05, 0.05

Pose = NDArray[np.float64]


class GraphError(JepaRosError):
    """What the graph cannot take; the message says why."""


@dataclass(frozen=True)
class Edge:
    """A way between two nodes.

    Attributes:
        pose: (x m, y m, yaw rad) of the second as seen from the first. steps: control steps from the one to the other.
        doubt: error to be expected of the pose [m]. driven, failed: how often. failed_at: [s, epoch] the last time.
    """

    pose: tuple[float, float, float]
    steps: float
    doubt: float
    driven: int = 0
    failed: int = 0
    failed_at: float = 0.0

    def cost(self, now: float) -> float:
        """Control steps to expect at ``now`` [s, epoch], failures included."""
        share = self.failed / (1.0 + self.driven)
        return self.steps + FAILED_STEPS * share * 0.5 ** (max(0.0, now - self.failed_at) / FORGIVEN)


class PlaceGraph:
    """See the module. It is an annex of a long-term memory, and is kept with it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # the store reads from a thread of its own
        self._version = 0
        self._latents = np.zeros((0, 0), np.float32)
        self._count = 0
        self.odometry: list[Pose] = []
        self.times: list[float] = []  # s since the epoch, NaN where nobody knows
        self.thumbnails: list[bytes] = []  # b"" where there is none
        self._thumbnail_bytes = self._without = 0  # all before the place _without have lost theirs
        self.edges: list[dict[int, Edge]] = []  # of each node: {other: the way there}

    def __len__(self) -> int:
        return self._count

    @property
    def latents(self) -> NDArray[np.float32]:
        """(n, D)."""
        return self._latents[: self._count]

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._version

    def counts(self) -> dict[str, int]:
        """Places, and ways between them."""
        return {"places": self._count, "ways": sum(map(len, self.edges)) // 2}

    # ------------------------------------------------------------ remembering

    def add(
        self, latent: NDArray[np.float32], odometry: Pose, time: float = math.nan, thumbnail: bytes = b""
    ) -> int:
        """A new place (D,), seen at ``time`` [s, epoch]; its number.

        Raises:
            GraphError: no room, or a latent of another size than those that are there.
        """
        flat = np.asarray(latent, np.float32).reshape(-1)
        if self._count >= NODES:
            raise GraphError(f"{NODES} places are remembered, which is all there is room for")
        if self._count and flat.size != self._latents.shape[1]:
            raise GraphError(f"latent of {flat.size} values; those that are remembered have {self._latents.shape[1]}")
        with self.lock:
            if self._count == len(self._latents):
                room = np.zeros((max(64, 2 * self._count), flat.size), np.float32)
                if self._count:
                    room[: self._count] = self.latents
                self._latents = room
            self._latents[self._count] = flat
            self.odometry.append(np.asarray(odometry, np.float64).copy())
            self.times.append(time)
            self._keep(thumbnail)
            self.edges.append({})
            self._count += 1
            self._version += 1
        return self._count - 1

    def _keep(self, thumbnail: bytes) -> None:
        """Keep the newest place's thumbnail, and no more than there is room for."""
        self.thumbnails.append(thumbnail)
        self._thumbnail_bytes += len(thumbnail)
        while self._thumbnail_bytes > THUMBNAIL_BYTES:
            self._thumbnail_bytes -= len(self.thumbnails[self._without])
            self.thumbnails[self._without] = b""
            self._without += 1

    def join(self, a: int, b: int, pose: Pose, steps: float, doubt: float, driven: int = 0) -> None:
        """A way between two places, in both directions; one that is there is kept, and counted as driven again."""
        with self.lock:
            for here, there, step in ((a, b, pose), (b, a, between(pose, np.zeros(3)))):
                known = self.edges[here].get(there)
                if known is None:
                    x, y, yaw = (float(v) for v in step)
                    self.edges[here][there] = Edge((x, y, yaw), float(steps), float(doubt), driven)
                else:
                    self.edges[here][there] = replace(known, driven=known.driven + driven)
            self._version += 1

    def failed(self, a: int, b: int, now: float) -> None:
        """The way from a to b could not be driven at ``now`` [s, epoch]; both directions lose trust."""
        with self.lock:
            for here, there in ((a, b), (b, a)):
                if (edge := self.edges[here].get(there)) is not None:
                    self.edges[here][there] = replace(edge, failed=edge.failed + 1, failed_at=now)
            self._version += 1

    # ------------------------------------------------------------ asking

    def nearest(self, latent: NDArray[np.float32], k: int, among: int | None = None) -> NDArray[np.int64]:
        """The numbers (at most k,) of the places whose latents are nearest, nearest first; of the first ``among``."""
        asked = self.latents[:among]
        if not len(asked):
            return np.zeros(0, np.int64)
        latent = np.asarray(latent, np.float32).reshape(-1)
        gaps = np.einsum("nd,nd->n", asked, asked) - 2.0 * (asked @ latent)  # squared, less what is the same for all
        k = min(k, len(asked))
        found = np.argpartition(gaps, k - 1)[:k]
        return found[np.argsort(gaps[found], kind="stable")]

    def costs(self, goals: dict[int, float], now: float) -> NDArray[np.float64]:
        """(n,) control steps from each place to the nearest of ``goals`` {place: steps from there on}; inf: no way."""
        found = np.full(self._count, np.inf)
        queue = [(steps, place) for place, steps in goals.items()]
        for steps, place in queue:
            found[place] = min(found[place], steps)
        heapq.heapify(queue)
        while queue:
            steps, place = heapq.heappop(queue)
            if steps > found[place]:
                continue
            for other, edge in self.edges[place].items():
                further = steps + edge.cost(now)
                if further < found[other]:
                    found[other] = further
                    heapq.heappush(queue, (further, other))
        return found

    def way(self, start: int, costs: NDArray[np.float64], now: float) -> list[int]:
        """The places from ``start`` to where ``costs`` (see :meth:`costs`) is least; [] where there is no way."""
        if not np.isfinite(costs[start]):
            return []
        way, here = [start], start
        while True:
            ahead = [(edge.cost(now) + costs[o], o) for o, edge in self.edges[here].items() if costs[o] < costs[here]]
            if not ahead or min(ahead)[0] > costs[here] + 1e-6:
                return way
            here = min(ahead)[1]
            way.append(here)

    def around(self, place: int, reach: float) -> dict[int, tuple[Pose, float]]:
        """Places that can be told from one: {number: (pose as seen from it (3,), error to be expected [m])}, by the
        chains of edges of least error up to ``reach`` [m]."""
        found: dict[int, tuple[Pose, float]] = {}
        queue: list[tuple[float, int, tuple[float, float, float]]] = [(0.0, place, (0.0, 0.0, 0.0))]
        while queue:
            doubt, here, pose = heapq.heappop(queue)
            if here in found:
                continue
            found[here] = np.array(pose), doubt
            for other, edge in self.edges[here].items():
                if other not in found and doubt + edge.doubt <= reach:
                    x, y, yaw = beyond(np.array(pose), np.array(edge.pose)).tolist()
                    heapq.heappush(queue, (doubt + edge.doubt, other, (x, y, yaw)))
        return found

    # ------------------------------------------------------------ as plain arrays

    def tensors(self) -> dict[str, np.ndarray]:
        """All of it as arrays, copies."""
        with self.lock:
            rows = [(a, b, *e.pose, e.steps, e.doubt, e.driven, e.failed, e.failed_at)
                    for a, ways in enumerate(self.edges) for b, e in ways.items()]  # fmt: skip
            pictures, sizes = packed(self.thumbnails)
            return {
                "graph_latents": self.latents.copy(),
                "graph_odometry": np.array(self.odometry, np.float64).reshape(-1, 3),
                "graph_edges": np.array(rows, np.float64).reshape(-1, 10),
                "graph_times": np.array(self.times, np.float64),
                "graph_thumbnails": pictures,
                "graph_thumbnail_sizes": sizes,
            }

    def restore(self, found: dict[str, np.ndarray]) -> None:
        """Remember what :meth:`tensors` gave.

        Raises:
            ValueError, KeyError: it does not fit; nothing has changed.
        """
        latents, odometry, rows = found["graph_latents"], found["graph_odometry"], found["graph_edges"]
        count = len(latents)
        if latents.ndim != 2 or odometry.shape != (count, 3) or rows.ndim != 2 or rows.shape[1] != 10:
            raise ValueError(f"graph of shapes {latents.shape}, {odometry.shape}, {rows.shape}")
        if not all(np.isfinite(values).all() for values in (latents, odometry, rows)):
            raise ValueError("graph: a value is not finite")
        if len(rows) and not ((rows[:, :2] >= 0) & (rows[:, :2] < count)).all():
            raise ValueError(f"graph: a way to a place that is not there; there are {count}")
        times, thumbnails = np.full(count, math.nan), [b""] * count
        if "graph_times" in found:  # older memories have neither
            times = found["graph_times"]
            thumbnails = unpacked(found["graph_thumbnails"], found["graph_thumbnail_sizes"], count)
            if times.shape != (count,):
                raise ValueError(f"graph: times of shape {times.shape} for {count} places")
        edges: list[dict[int, Edge]] = [{} for _ in range(count)]
        for a, b, x, y, yaw, steps, doubt, driven, failed, at in rows.tolist():
            edges[int(a)][int(b)] = Edge((x, y, yaw), steps, doubt, int(driven), int(failed), at)
        for a, ways in enumerate(edges):
            for b, way in ways.items():
                back = edges[b].get(a)
                if back is None or back.cost(0.0) != way.cost(0.0):
                    raise ValueError(f"graph: the way from place {a} to {b} is not the one back")
        with self.lock:
            self._latents, self._count = np.array(latents, np.float32), count
            self.odometry, self.edges = [np.array(row) for row in odometry], edges
            self.times, self.thumbnails = times.tolist(), thumbnails
            self._thumbnail_bytes, self._without = sum(map(len, thumbnails)), 0
            self._version += 1

    def absorb(self, other: Any) -> None:
        """Remember besides what another graph does; nothing joins the two until a place of both is seen."""
        begin = self._count
        for place in zip(other.latents, other.odometry, other.times, other.thumbnails, strict=True):
            self.add(*place)
        with self.lock:
            for a, ways in enumerate(other.edges):
                self.edges[begin + a] = {begin + b: edge for b, edge in ways.items()}
            self._version += 1


def driven_doubt(pose: Pose) -> float:
    """Error to be expected of a relative pose that odometry tells [m]."""
    return DRIFT * float(np.hypot(pose[0], pose[1])) + TURN_DRIFT * abs(float(pose[2])) + 0.01

