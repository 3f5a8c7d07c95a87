# SPDX-License-Identifier: Apache-2.0
"""Memory of obstructions: places where the robot was told to go on and could not, and places where it got stuck.

A learned model may believe that the way is free where it is not. What really came of a motion is remembered here, and
the search is not allowed to imagine that way again: a plan that comes nearer to an obstruction than the robot itself
is infeasible, and the cheapest of the others goes round it. Where going round looks dearer than standing still as far
as the search can see, the robot would stand for ever: such a dead end is remembered for a shorter while, and plans that
end near it are infeasible too. A plan may take its time to leave, but not anew at every step: what was granted at first
runs out. Nothing is learned from it and nothing is forgotten by training: it is what happened,
kept for a while, in the frame of the model's pose readout.

What the gate's scan shows is kept away from in the same way, for as long as it is shown.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from jepa_ros.planar.scan_points import Nearest, Points

#: m, how near the prediction of a robot that stands still may wander to an obstruction: the pose readout's jitter.
SLACK = 0.015
#: m, two obstructions nearer than this are one.
SAME = 0.03


class Obstructions:
    """Points that the robot must keep its distance from.

    Args:
        radius: of the robot's footprint [m]. period: of a control step [s].
        margin: room between the footprint and an obstruction [m].
        capacity: the oldest point makes room for a new one.
        lifetime: seconds after which a point is forgotten: what was in the way may have moved.
        dead_end_lifetime: the same for dead ends; long enough to get out and round.
    """

    def __init__(
        self,
        radius: float,
        period: float,
        margin: float = 0.02,
        capacity: int = 64,
        lifetime: float = 60.0,
        dead_end_lifetime: float = 6.0,
    ) -> None:
        self.keep = radius + margin
        self.lifetime, self.dead_end_lifetime = lifetime, dead_end_lifetime
        self.period, self._now = period, 0.0
        self._dead_ends: deque[tuple[float, float, float, float]] = deque(maxlen=4)  # x, y, radius, time
        self._points: deque[tuple[float, float, float]] = deque(maxlen=capacity)  # x, y, time
        self._shown: Nearest | None = None

    def __len__(self) -> int:
        return len(self._points) + len(self._dead_ends) + (0 if self._shown is None else len(self._shown))

    @property
    def points(self) -> np.ndarray:
        """(n, 2) m."""
        return np.array([p[:2] for p in self._points]).reshape(-1, 2)

    def clear(self) -> None:
        """Forget everything."""
        self._points.clear()
        self._dead_ends.clear()
        self._shown = None

    def show(self, points: Points) -> None:
        """Points (n, 2) [m] that are in the way now, in the place of those that were."""
        self._shown = Nearest(points, self.keep) if len(points) else None

    def clear_dead_ends(self) -> None:
        """Forget the dead ends: there is a new goal, or no way out of them was found."""
        self._dead_ends.clear()

    def note_dead_end(self, x: float, y: float, radius: float, now: float) -> None:
        """The robot got stuck at (x, y) [m]; plans shall end further away than ``radius`` [m]."""
        self._dead_ends.append((x, y, radius, now))

    def note(self, x: float, y: float, direction: float, now: float) -> tuple[float, float]:
        """The robot at (x, y) [m] could not go on in ``direction`` [rad] at ``now`` [s]; where the obstruction is."""
        px, py = x + self.keep * math.cos(direction), y + self.keep * math.sin(direction)
        kept = [p for p in self._points if math.hypot(p[0] - px, p[1] - py) > SAME]
        if len(kept) < len(self._points):
            self._points = deque(kept, maxlen=self._points.maxlen)
        self._points.append((px, py, now))
        return px, py

    def forget(self, now: float) -> None:
        """Drop what is older than the lifetime; ``now`` [s]. Where time went back, all keep the age that they had."""
        if (back := self._now - now) > 0.0:
            self._points = deque(((x, y, t - back) for x, y, t in self._points), maxlen=self._points.maxlen)
            spots = ((x, y, radius, t - back) for x, y, radius, t in self._dead_ends)
            self._dead_ends = deque(spots, maxlen=self._dead_ends.maxlen)
        self._now = now
        while self._points and now - self._points[0][2] > self.lifetime:
            self._points.popleft()
        while self._dead_ends and now - self._dead_ends[0][3] > self.dead_end_lifetime:
            self._dead_ends.popleft()

    def near(self, places: np.ndarray) -> np.ndarray:
        """Whether a robot at places (..., 2) [m] would be nearer to an obstruction than it may: (...) bool."""
        found = np.zeros(places.shape[:-1], dtype=bool)
        if self._points:
            found |= (np.linalg.norm(places[..., None, :] - self.points, axis=-1) < self.keep - SLACK).any(axis=-1)
        if self._shown is not None:
            found |= self._shown.of(places)[1] < self.keep - SLACK
        return found

    def excess(self, positions: np.ndarray, here: np.ndarray) -> np.ndarray:
        """How far predicted ways come too near at each step, worst over points and dead ends.

        A robot that already stands nearer than it should may stay and may leave, but not come nearer.

        Args:
            positions: (..., T, 2) m, predicted. here: (2,) m, where the robot is.

        Returns:
            (..., T) m, at most 0 where the way is free.
        """
        worst = np.full(positions.shape[:-1], -np.inf)
        if self._points:
            points = self.points
            allowed = np.minimum(self.keep, np.hypot(*(points - here).T)) - SLACK  # (n,)
            distance = np.linalg.norm(positions[..., None, :] - points, axis=-1)  # (..., T, n)
            worst = (allowed - distance).max(axis=-1)
        if self._shown is not None:
            nearest, distance = self._shown.of(positions)
            allowed = np.minimum(self.keep, np.linalg.norm(nearest - here, axis=-1)) - SLACK
            worst = np.maximum(worst, allowed - distance)
        steps = positions.shape[-2]
        for x, y, radius, noted in self._dead_ends:
            inside = math.hypot(here[0] - x, here[1] - y) < radius
            put_off = max(0, round((self._now - noted) / self.period))
            granted = max(1, steps - put_off) if inside else steps
            end = positions[..., granted - 1 :, :]
            near = radius - np.hypot(end[..., 0] - x, end[..., 1] - y)
            worst[..., granted - 1 :] = np.maximum(worst[..., granted - 1 :], near)
        return worst
