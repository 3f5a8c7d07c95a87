# SPDX-License-Identifier: Apache-2.0
"""A memory graph with few places: each stands for those that lie near it by their ways, and ways between those are
ways between them. It grows with the graph, a place at a time, and takes much the same time for each.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from jepa_ros.planar.odometry import between, beyond
from jepa_ros.planar.place_graph import PlaceGraph, Pose

#: m that a radian of turning counts for.
TURN = 0.5
#: m about a place within which it stands for others, once there are too many; then twice as far, and so on.
FIRST = 0.5
#: Share of the places that have to be left where they are thinned out; else the oldest are left out.
FEWER = 0.9


class Cover:
    """See the module.

    Args:
        graph: its places are added one by one, each with its ways to earlier ones. most: places of the cover.
        reach: [m] about a place within which it stands for others.

    Attributes:
        shown: the graph of few places; their latents are left out. numbers: of each, its number in ``graph``.
        taken: so many places of the graph were taken in.
    """

    def __init__(self, graph: PlaceGraph, most: float, reach: float = 0.0) -> None:
        self.graph, self.most, self.reach = graph, most, reach
        self.shown, self.numbers, self.taken = PlaceGraph(), list[int](), 0
        # Of each place taken: the one that stands for it (-1: none), its pose as seen from there, and how far that is.
        self._owner = np.zeros(0, np.int64)
        self._pose, self._far = np.zeros((0, 3)), np.zeros(0)

    def follow(self, seconds: float = math.inf) -> bool:
        """Take in new places, for about so long at most; whether that is all."""
        end = time.perf_counter() + seconds
        while self.taken < len(self.graph):
            self._take(self.taken)
            self.taken += 1
            if len(self.shown) > self.most:
                self._thin()
            if time.perf_counter() > end:
                break
        return self.taken == len(self.graph)

    def spot(self, place: int) -> tuple[int, Pose] | None:
        """The place of the cover that stands for one of the graph, and that one as seen from it (3,)."""
        if not 0 <= place < self.taken or self._owner[place] < 0:
            return None
        return int(self._owner[place]), self._pose[place]

    def _take(self, new: int) -> None:
        if new == len(self._owner):
            room = max(64, new)
            self._owner = np.concatenate([self._owner, np.full(room, -1)])
            self._pose = np.concatenate([self._pose, np.zeros((room, 3))])
            self._far = np.concatenate([self._far, np.zeros(room)])
        ways = {other: e for other, e in self.graph.edges[new].items() if other < new and self._owner[other] >= 0}
        away = {other: self._far[other] + _length(e.pose) for other, e in ways.items()}
        nearest = min(away, key=lambda other: away[other], default=-1)
        if nearest < 0 or away[nearest] > self.reach:
            own = self.shown.add(np.zeros(0, np.float32), self.graph.odometry[new], self.graph.times[new])
            self.numbers.append(new)
            self._far[new], self._pose[new] = 0.0, 0.0
        else:
            own, self._far[new] = int(self._owner[nearest]), away[nearest]
            self._pose[new] = beyond(self._pose[nearest], np.array(self.graph.edges[nearest][new].pose))
        self._owner[new] = own
        for other, edge in ways.items():
            there = int(self._owner[other])
            if there != own:
                ahead = beyond(self._pose[new], np.array(edge.pose))
                step = beyond(ahead, between(self._pose[other], np.zeros(3)))
                self.shown.join(own, there, step, edge.steps, edge.doubt, edge.driven)

    def _thin(self) -> None:
        """Let each place stand for more, or leave out the oldest where too few are joined for that."""
        coarse = Cover(self.shown, math.inf, max(FIRST, 2.0 * self.reach))
        coarse.follow()
        if len(coarse.shown) > FEWER * self.most:
            self._forget(len(self.shown) // 4)
            return
        known = np.flatnonzero(self._owner >= 0)
        owner = self._owner[known]
        self._pose[known] = beyond(coarse._pose[owner], self._pose[known])
        self._far[known] += coarse._far[owner]
        self._owner[known] = coarse._owner[owner]
        self.numbers = [self.numbers[k] for k in coarse.numbers]
        self.shown, self.reach = coarse.shown, coarse.reach

    def _forget(self, oldest: int) -> None:
        kept = PlaceGraph()
        for k in range(oldest, len(self.shown)):
            kept.add(np.zeros(0, np.float32), self.shown.odometry[k], self.shown.times[k])
            kept.edges[-1].update({o - oldest: e for o, e in self.shown.edges[k].items() if o >= oldest})
        self.shown, self.numbers = kept, self.numbers[oldest:]
        self._owner = np.maximum(self._owner - oldest, -1)


def _length(pose: Any) -> float:
    return math.hypot(pose[0], pose[1]) + TURN * abs(pose[2])
