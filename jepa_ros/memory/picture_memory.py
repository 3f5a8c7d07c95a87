# SPDX-License-Identifier: Apache-2.0
"""Memory of the scene: what each place in the picture looked like while the robot was elsewhere.

It is a prediction: what stands about stays where it is. Where a picture says otherwise, away from the robot, something
was put down, or it is the camera that has changed. A change is not learned at once; if it stays, it is taken for the
new state of things after a while.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Cells about the robot's own that it may change: itself, its shadow, and an error of its place.
REACH = 3.0
#: The places that changed most decide together: a thing that was put down covers some, noise seldom more than one.
PLACES = 3
#: Share of a new picture in what is remembered.
RATE = 0.1
#: s after which a change is the new state of things.
ACCEPT = 8.0
#: Width of the rings of distance from the robot in which places change alike [cells].
RING = 0.5


def rings(distance: np.ndarray, count: int) -> np.ndarray:
    """The ring that distances [cells] from the robot fall in, 0 to count - 1."""
    return np.minimum((distance / RING).astype(int), count - 1)


class PictureMemory:
    """Remembers scene maps (C, g, g), see jepa_ros.world_model.picture_maps.

    Args:
        spread: what the change of a place in each ring about the robot hardly ever exceeds when nothing happens.
        level: a change from here on is not learned at once.
    """

    def __init__(self, spread: Sequence[float] | np.ndarray = (1.0,), level: float = np.inf) -> None:
        self.spread, self.level = np.asarray(spread, dtype=np.float64), level
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._known: np.ndarray | None = None
        self._changed = 0.0

    def compare(self, scene: np.ndarray, robot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Change of each place against the memory, (g, g), NaN where it is not known; distance to the robot [cells].

        Args:
            scene: (C, g, g). robot: (2,) column and row of its cell.
        """
        rows, columns = np.mgrid[: scene.shape[-2], : scene.shape[-1]]
        distance = np.hypot(columns - robot[0], rows - robot[1])
        if self._known is None:
            return np.full(distance.shape, np.nan), distance
        change = np.sqrt(((scene - self._memory) ** 2).sum(0))
        return np.where(self._known, change, np.nan), distance

    def observe(self, scene: np.ndarray, robot: np.ndarray, seconds: float) -> float:
        """Take a picture.

        Args:
            scene, robot: as in :meth:`compare`. seconds: since the last one.

        Returns:
            RMS change of the PLACES places that changed most, each in units of its spread; 0 before anything is known.
        """
        change, distance = self.compare(scene, robot)
        seen = np.isfinite(change)
        relative = change[seen] / self.spread[rings(distance, len(self.spread))][seen]
        most = np.sort(relative)[-PLACES:]
        score = float(np.sqrt((most**2).mean())) if len(most) else 0.0
        if score >= self.level:
            self._changed += seconds
            if self._changed < ACCEPT:
                return score
            self.reset()
        self._changed = 0.0
        away = distance >= REACH
        if self._known is None:
            self._known, self._memory = away, np.where(away, scene, 0.0)
        else:
            share = np.where(self._known, RATE, 1.0) * away
            self._memory = self._memory + share * (scene - self._memory)
            self._known = self._known | away
        return score
