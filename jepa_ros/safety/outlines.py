# SPDX-License-Identifier: Apache-2.0
"""Outlines of convex polygons, and ways along them: whether all of one keeps clear of something."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jepa_ros.safety.geometry import Point


def convex_hull(points: Sequence[Point]) -> list[Point]:
    """The corners of the smallest convex polygon around some points, counter-clockwise; one or two where it is flat."""
    ordered = sorted(set(points))
    if len(ordered) < 3:
        return ordered
    lower = _chain(ordered)
    lower.pop()
    ordered.reverse()
    upper = _chain(ordered)
    upper.pop()
    return lower + upper


def _chain(run: Sequence[Point]) -> list[Point]:
    """The corners that turn left along some points in order."""
    chain: list[Point] = []
    last = -1  # index of the newest corner
    for p in run:
        x, y = p
        while last > 0:
            (ax, ay), (bx, by) = chain[-2], chain[-1]
            if not (bx - ax) * (y - ay) - (by - ay) * (x - ax) <= 0.0:
                break
            chain.pop()
            last -= 1
        chain.append(p)
        last += 1
    return chain


def within(corners: Sequence[Point], x: float, y: float) -> bool:
    """Whether a point lies in a convex polygon, corners counter-clockwise; a flat one holds none."""
    if len(corners) < 3:
        return False
    bx, by = corners[0]
    for k in range(1, len(corners) + 1):
        ax, ay = bx, by
        bx, by = corners[k] if k < len(corners) else corners[0]
        if not (bx - ax) * (y - ay) - (by - ay) * (x - ax) >= 0.0:
            return False
    return True


def outline_clear(clearance: Any, corners: Sequence[Point], least: float, step: float) -> bool:
    """Whether ``clearance(x, y)`` [m] is more than ``least`` on the whole outline of a polygon.

    Sphere tracing: with a clearance of c to spare, no way of length c can use it up, so the outline is walked by such
    strides, of at least ``step`` [m]: what is only grazed may be grazed by less than that. An edge whose ends have its
    length to spare between them need not be walked.
    """
    spares = []
    for x, y in corners:
        spare = clearance(x, y) - least
        if not spare > 0.0:
            return False
        spares.append(spare)
    count = len(corners)
    for k in range(count if count > 2 else count - 1):
        after = (k + 1) % count
        (ax, ay), (bx, by) = corners[k], corners[after]
        length = math.hypot(bx - ax, by - ay)
        if spares[k] + spares[after] > length:
            continue
        gone = max(spares[k], step)
        while gone < length:
            share = gone / length
            spare = clearance(ax + share * (bx - ax), ay + share * (by - ay)) - least
            if not spare > 0.0:
                return False
            gone += spare if spare > step else step
    return True
