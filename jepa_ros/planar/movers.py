# SPDX-License-Identifier: Apache-2.0
"""Memory of what moves: blocked places that were free a while ago, followed from picture to picture.

The pictures tell nothing of where somebody will go. So every future has its own guess: the way gone lately, more or
less; it is one more thing that the noise stands for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import label

from jepa_ros.planar.places import SUREST

#: What is taken for standing follows a picture that is freer by this share, one that is more blocked by the other.
FREES, FILLS = 0.3, 0.03
#: A place is blocked from this chance on, and by something that moves where what stands there explains so much less.
BLOCKED, MOVED = 0.5, 0.3
#: Cells; fewer are the flicker of a map.
SMALLEST = 4
#: m, farther is another one. m/s, faster is none of ours.
NEAREST, FASTEST = 0.3, 0.5
#: Share of the newest displacement in the velocity.
RATE = 0.3
#: m/s, standard deviation of each component of the velocity from one future to the next: people turn and stop.
WHIM = 0.12


@dataclass
class Mover:
    """Something that moves: centre (2,) m, velocity (2,) m/s, radius m of the places that it blocks for the robot."""

    centre: np.ndarray
    velocity: np.ndarray
    radius: float


class Movers:
    """What moves on a map of places.

    Args:
        cells: edge of the map, extent: of it [m], as in ModelConfig. period: seconds of one control step.
    """

    def __init__(self, cells: int, extent: tuple[float, float, float, float], period: float) -> None:
        self.cells, self.period = cells, period
        x0, y0, x1, y1 = extent
        self._low, self._cell = np.array([x0, y0]), np.array([(x1 - x0) / cells, (y1 - y0) / cells])
        self._edge = float(self._cell.mean())
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._standing: np.ndarray | None = None
        self._last: np.ndarray | None = None
        self.found: list[Mover] = []

    def observe(self, logits: np.ndarray, steps: int = 1) -> None:
        """Take what one picture tells, ``steps`` control steps after the last: as Places.observe."""
        values = np.clip(logits.reshape(self.cells, self.cells), -SUREST, SUREST)
        picture = 1.0 / (1.0 + np.exp(-values))
        now = picture if self._last is None else 0.5 * (picture + self._last)
        self._last = picture
        if self._standing is None:
            self._standing = now.copy()
        change = now - self._standing
        self._standing += np.where(change < 0.0, FREES, FILLS) * change
        groups, count = label((now > BLOCKED) & (now - self._standing > MOVED), np.ones((3, 3)))
        before, self.found = self.found, []
        for number in range(1, count + 1):
            rows, columns = np.nonzero(groups == number)
            if len(rows) < SMALLEST:
                continue
            centre = self._low + (np.array([columns.mean(), rows.mean()]) + 0.5) * self._cell
            radius = float(np.sqrt(len(rows) * self._cell.prod() / np.pi))
            self.found.append(self._follow(centre, radius, before, max(steps, 1) * self.period))

    def _follow(self, centre: np.ndarray, radius: float, before: list[Mover], seconds: float) -> Mover:
        """The mover here, with the velocity of the nearest one of before."""
        nearest = min(before, key=lambda m: float(np.hypot(*(m.centre - centre))), default=None)
        if nearest is None or np.hypot(*(nearest.centre - centre)) > NEAREST:
            return Mover(centre, np.zeros(2), radius)
        newest = (centre - nearest.centre) / seconds
        newest *= min(1.0, FASTEST / max(float(np.hypot(*newest)), 1e-9))
        return Mover(centre, nearest.velocity + RATE * (newest - nearest.velocity), radius)

    def velocities(self, whims: np.ndarray) -> np.ndarray:
        """A velocity of each mover in each future: standard normal (S, movers, 2) -> (S, movers, 2) m/s."""
        return np.array([m.velocity for m in self.found]).reshape(1, -1, 2) + WHIM * whims

    def chance(self, points: np.ndarray, velocities: np.ndarray) -> np.ndarray:
        """Probability (C, S, T) that one of them is where the robot's centre is at points (C, S, T, 2) [m].

        Step t lies t + 1 control steps ahead; a mover is a disc whose edge is as soft as a cell of the map is wide.
        """
        ahead = self.period * (1.0 + np.arange(points.shape[2]))[:, None]
        highest = np.zeros(points.shape[:3])
        for number, mover in enumerate(self.found):
            there = mover.centre + ahead * velocities[:, None, number]  # (S, T, 2)
            apart = np.linalg.norm(points - there, axis=-1)
            highest = np.maximum(highest, np.clip(0.5 + (mover.radius - apart) / self._edge, 0.0, 1.0))
        return highest
