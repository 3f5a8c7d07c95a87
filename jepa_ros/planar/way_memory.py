# SPDX-License-Identifier: Apache-2.0
"""What a planar robot remembers of ways beyond a drive: where it was held back, and the map of places.

Where it was held back is remembered as a point, and believed the more the more often it happened; a robot that drives
through it later refutes it. An annex of the long-term memory, see :class:`jepa_ros.memory.long_term.Annex`.
"""

from __future__ import annotations

from collections.abc import Callable
from time import time as wall_clock

import numpy as np

#: At most so many; the newest are kept.
OBSTRUCTIONS = 256
#: m, two obstructions nearer than this are one.
SAME = 0.05
#: Share of the distance that a robot keeps; one that is nearer than that to an obstruction has shown that it is gone.
THROUGH = 0.5
#: Chance that a robot is not held back again where it was once; twice: its square. The gate says that something is in
#: the way, not quite where: at 0.5 robots went round places that were free (docs/memory.md).
DOUBT = 0.8


class WayMemory:
    """See the module.

    Args:
        keep: m, that the robot's centre keeps from an obstruction. clock: s since the epoch.

    Attributes:
        obstructions: (n, 4) x m, y m, how often, time s; never changed in place, as the store's thread may read it.
        map: log-odds (cells, cells) of the map of places, None before it is known.
    """

    def __init__(self, keep: float, clock: Callable[[], float] = wall_clock) -> None:
        self.keep, self.clock = keep, clock
        self.obstructions = np.zeros((0, 4))
        self.map: np.ndarray | None = None
        self.version = 0
        self._seen: tuple[np.ndarray, np.ndarray] | None = None

    def note(self, point: tuple[float, float]) -> None:
        """The robot was held back by something at ``point`` [m]."""
        known = self.obstructions
        same = np.hypot(known[:, 0] - point[0], known[:, 1] - point[1]) <= SAME
        count = 1.0 + known[same, 2].sum()
        self.obstructions = np.vstack([known[~same], [*point, count, self.clock()]])[-OBSTRUCTIONS:]
        self.version += 1

    def refute(self, x: float, y: float) -> None:
        """The robot is at (x, y) [m]: what is remembered there is gone."""
        known = self.obstructions
        there = np.hypot(known[:, 0] - x, known[:, 1] - y) >= THROUGH * self.keep
        if not there.all():
            self.obstructions = known[there]
            self.version += 1

    def obstructed(self, points: np.ndarray) -> np.ndarray:
        """Chance (...) that a robot at points (..., 2) [m] is held back, by what came of being there before.

        The answer is kept, and given again for the same points while nothing has changed.
        """
        known = self.obstructions
        if self._seen is None or self._seen[0] is not known or self._seen[1].shape != points.shape[:-1]:
            chance = np.zeros(points.shape[:-1])
            for x, y, count, _ in known:
                near = np.hypot(points[..., 0] - x, points[..., 1] - y) < self.keep
                chance = np.maximum(chance, np.where(near, 1.0 - DOUBT**count, 0.0))
            self._seen = known, chance
        return self._seen[1]

    def absorb(self, other: WayMemory) -> None:
        """Remember besides where another robot was held back: places that both know count together. The map is that of
        whoever has one; where both have, the own one, for two maps of one hall say the same."""
        for x, y, count, at in other.obstructions:
            known = self.obstructions
            same = np.hypot(known[:, 0] - x, known[:, 1] - y) <= SAME
            row = [x, y, count + known[same, 2].sum(), max([at, *known[same, 3]])]
            self.obstructions = np.vstack([known[~same], row])
        self.obstructions = self.obstructions[np.argsort(self.obstructions[:, 3], kind="stable")][-OBSTRUCTIONS:]
        if self.map is None and other.map is not None:
            self.map = np.array(other.map)
        self.version += 1

    # -- as an annex ---------------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """How many obstructions."""
        return {"obstructions": len(self.obstructions)}

    def tensors(self) -> dict[str, np.ndarray]:
        """``obstructions``, and ``map`` where it is known."""
        found = {"obstructions": self.obstructions.copy()}
        return found if self.map is None else found | {"map": np.array(self.map)}

    def restore(self, found: dict[str, np.ndarray]) -> None:
        """The inverse of :meth:`tensors`.

        Raises:
            ValueError, KeyError: it does not fit.
        """
        known = found["obstructions"]
        if known.ndim != 2 or known.shape[1] != 4 or not np.isfinite(known).all():
            raise ValueError(f"obstructions have shape {known.shape}; expected (n, 4) finite values")
        self.obstructions, self.map = known[-OBSTRUCTIONS:].astype(np.float64), found.get("map")
