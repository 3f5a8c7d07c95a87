# SPDX-License-Identifier: Apache-2.0
"""Where the places of a memory graph lie beside each other, for a picture: the ways agree as well as they can.

The graph itself needs no such poses. Odometry drifts, so a loop that was closed does not fit it: every way pulls its
two places to where it says that they lie, the surer the harder. Places that no way joins are parts of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from jepa_ros.planar.odometry import between, beyond, wrapped
from jepa_ros.planar.place_graph import Edge, PlaceGraph

#: m of error that every way has at least.
FLOOR = 0.02
#: m between two parts that no way joins.
APART = 1.5


@dataclass(frozen=True)
class Layout:
    """Poses (n, 3) of places, each in the frame of the first place of its part; the part (n,) of each place."""

    poses: NDArray[np.float64]
    part: NDArray[np.int64]


def parts_of(graph: PlaceGraph) -> NDArray[np.int64]:
    """(n,) the part of each place: 0, 1, ... in the order of their first places."""
    part = np.full(len(graph), -1, np.int64)
    count = 0
    for first in range(len(graph)):
        if part[first] >= 0:
            continue
        part[first], waiting = count, [first]
        while waiting:
            for other in graph.edges[waiting.pop()]:
                if part[other] < 0:
                    part[other] = count
                    waiting.append(other)
        count += 1
    return part


def layout(graph: PlaceGraph) -> Layout:
    """Lay out all places."""
    part, poses = parts_of(graph), np.zeros((len(graph), 3))
    firsts = np.unique(part, return_index=True)[1].tolist()
    for first in firsts:
        for place, (pose, _) in graph.around(first, np.inf).items():
            poses[place] = pose
    rows = [(a, b, e) for a, ways in enumerate(graph.edges) for b, e in ways.items()]
    if rows:
        _pull(poses, rows, firsts)
    return Layout(poses, part)


def _pull(poses: NDArray[np.float64], rows: list[tuple[int, int, Edge]], firsts: list[int]) -> None:
    """Move poses (n, 3) to where the ways agree best (least squares: first all turns, then all places by these); the
    first of each part stays."""
    here, there = np.array([a for a, _, _ in rows]), np.array([b for _, b, _ in rows])
    steps = np.array([e.pose for _, _, e in rows])
    weight = 1.0 / (FLOOR + np.array([e.doubt for _, _, e in rows])) ** 2
    count = len(poses)
    free = np.ones(count, bool)
    free[firsts] = False
    if not free.any():
        return
    pulls = sparse.coo_matrix((-weight, (here, there)), (count, count))
    own = sparse.diags(np.bincount(here, weight, count) + np.bincount(there, weight, count))
    solve = splu((pulls + pulls.T + own).tocsc()[free][:, free]).solve

    def settled(off: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) by how much each place moves so that ways that are off by so much (k,) agree."""
        wanted = np.bincount(there, weight * off, count) - np.bincount(here, weight * off, count)
        moved = np.zeros(count)
        moved[free] = solve(wanted[free])
        return moved

    poses[:, 2] = wrapped(poses[:, 2] + settled(wrapped(steps[:, 2] - poses[there, 2] + poses[here, 2])))
    off = beyond(poses[here], steps) - poses[there]
    poses[:, :2] += np.stack([settled(off[:, 0]), settled(off[:, 1])], 1)


def side_by_side(found: Layout) -> NDArray[np.float64]:
    """(n, 2) [m] where to draw the places: part beside part, since nobody knows how they lie to each other."""
    places = found.poses[:, :2].copy()
    right = 0.0
    for part in range(int(found.part.max(initial=-1)) + 1):
        own = found.part == part
        places[own] -= places[own].min(0)
        places[own, 0] += right
        right = places[own, 0].max() + APART
    return places


def error_of(graph: PlaceGraph, found: Layout) -> float:
    """m, RMS, by which the ways disagree with a layout."""
    offs = [
        between(found.poses[a], found.poses[b])[:2] - np.array(e.pose[:2])
        for a, ways in enumerate(graph.edges) for b, e in ways.items() if a < b
    ]  # fmt: skip
    return float(np.sqrt((np.array(offs) ** 2).sum(1).mean())) if offs else 0.0
