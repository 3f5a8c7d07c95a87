# SPDX-License-Identifier: Apache-2.0
"""Capsules around a link: cheap to measure distances with, and never smaller than what they stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.spatial import ConvexHull, QhullError

#: Two capsules replace one where they save at least this share of its volume.
WORTH = 0.25


@dataclass(frozen=True)
class Capsule:
    """The points within ``radius`` [m] of the segment from ``start`` to ``end``, (3,) [m] each."""

    start: np.ndarray
    end: np.ndarray
    radius: float

    @property
    def length(self) -> float:
        """Of the segment [m]."""
        return float(np.linalg.norm(self.end - self.start))

    @property
    def volume(self) -> float:
        """[m3]"""
        return float(np.pi * self.radius**2 * (self.length + 4.0 / 3.0 * self.radius))

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance of points (..., 3) to the surface [m]: (...); negative inside."""
        along = self.end - self.start
        share = np.clip((points - self.start) @ along / max(along @ along, 1e-12), 0.0, 1.0)
        return np.asarray(np.linalg.norm(points - self.start - share[..., None] * along, axis=-1) - self.radius)


def cover(points: np.ndarray) -> list[Capsule]:
    """One or two capsules that hold all points (N, 3) and what lies between them.

    A capsule is the smallest that a search over its axis finds; the link is cut in two where that saves volume.
    """
    hull, edges, volume = _hull(points)
    one = _fit(hull)
    if one.volume * (1.0 - WORTH) <= volume:  # no two capsules can save so much
        return [one]
    axis = one.end - one.start
    if one.length < 1e-6:
        axis = _principal(hull)
    axis = axis / np.linalg.norm(axis)
    along = hull @ axis
    best, best_volume = [one], (1.0 - WORTH) * one.volume
    for share in (0.3, 0.5, 0.7):
        cut = along.min() + share * np.ptp(along)
        parts = _halves(hull, edges, along, cut)
        if min(len(part) for part in parts) < 4:
            continue
        two = [_fit(part) for part in parts]
        total = sum(c.volume for c in two)
        if total < best_volume:
            best, best_volume = two, total
    return best


def _hull(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Corners of the convex hull, its edges as pairs of indices, its volume; flat shapes keep all of their points."""
    try:
        hull = ConvexHull(points)
    except QhullError:
        index = np.arange(len(points))
        return points, np.array([(i, j) for i in index for j in index[i + 1 :]]).reshape(-1, 2), 0.0
    number = {v: i for i, v in enumerate(hull.vertices)}
    edges = {tuple(sorted((number[t[i]], number[t[i - 1]]))) for t in hull.simplices for i in range(3)}
    return points[hull.vertices], np.array(sorted(edges)), float(hull.volume)


def _halves(hull: np.ndarray, edges: np.ndarray, along: np.ndarray, cut: float) -> tuple[np.ndarray, np.ndarray]:
    """The two parts of a convex body on both sides of a plane across its axis, the cut face in both."""
    a, b = along[edges[:, 0]], along[edges[:, 1]]
    crossing = (a - cut) * (b - cut) < 0.0
    share = ((cut - a) / np.where(crossing, b - a, 1.0))[crossing, None]
    first, second = hull[edges[crossing, 0]], hull[edges[crossing, 1]]
    face = first + share * (second - first)
    return np.concatenate([hull[along <= cut], face]), np.concatenate([hull[along >= cut], face])


def _principal(points: np.ndarray) -> np.ndarray:
    return np.linalg.svd(points - points.mean(0), full_matrices=False)[2][0]


def _capsule(points: np.ndarray, centre: np.ndarray, axis: np.ndarray) -> Capsule:
    """The smallest capsule about a given line that holds all points."""
    along = (points - centre) @ axis
    aside = np.linalg.norm(points - centre - along[:, None] * axis, axis=1)
    radius = float(aside.max())
    bulge = np.sqrt(np.maximum(radius**2 - aside**2, 0.0))
    low, high = float((along + bulge).min()), float((along - bulge).max())
    if low > high:
        low = high = 0.5 * (low + high)
        radius = float(np.linalg.norm(points - centre - low * axis, axis=1).max())
    return Capsule(centre + low * axis, centre + high * axis, radius)


def _fit(points: np.ndarray) -> Capsule:
    middle = 0.5 * (points.min(0) + points.max(0))
    directions = np.linalg.svd(points - points.mean(0), full_matrices=True)[2]
    axis = min(directions, key=lambda direction: _capsule(points, middle, direction).volume)
    across = np.linalg.svd(axis[None])[2][1:]  # two axes at a right angle to it

    def of(x: np.ndarray) -> Capsule:
        turned = axis + x[:2] @ across
        return _capsule(points, middle + x[2:] @ across, turned / np.linalg.norm(turned))

    options = {"maxiter": 120, "initial_simplex": _simplex()}
    return of(minimize(lambda x: of(x).volume, np.zeros(4), method="Nelder-Mead", options=options).x)


def _simplex() -> np.ndarray:
    """First guesses: the axis turned by 0.2 rad, the line moved by 1 cm."""
    return np.vstack([np.zeros(4), np.diag([0.2, 0.2, 0.01, 0.01])])
