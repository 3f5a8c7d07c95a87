# SPDX-License-Identifier: Apache-2.0
"""Memory of places: what the pictures so far have told about where the robot can drive.

One picture is noisy, and the robot itself hides a part of it; what stands about rarely moves. So each picture's map
moves the remembered one a little, in log-odds.
"""

from __future__ import annotations

import numpy as np

#: Share of a new picture in what is remembered: something that appears is half believed after two pictures.
RATE = 0.3
#: Log-odds beyond this are no surer: one wrong picture shall not count for many right ones.
SUREST = 6.0
#: By so much the chance may seem to rise for a robot that stands still, because the readout of its place jitters.
SLACK = 0.05


class Places:
    """A map of the chance that the robot's centre cannot be at a place.

    Args:
        cells: edge of the map, extent: of it [m], as in ModelConfig.
    """

    def __init__(self, cells: int, extent: tuple[float, float, float, float]) -> None:
        self.cells, self.extent = cells, extent
        self._logits: np.ndarray | None = None

    @property
    def known(self) -> bool:
        """Whether anything was seen yet."""
        return self._logits is not None

    @property
    def logits(self) -> np.ndarray | None:
        """(cells, cells) log-odds of being blocked, None before anything was seen; never changed in place."""
        return self._logits

    def clear(self) -> None:
        """Forget everything."""
        self._logits = None

    def observe(self, logits: np.ndarray) -> None:
        """Take what one picture tells: log-odds of being blocked, cells * cells values, lower row first."""
        new = np.clip(logits.reshape(self.cells, self.cells).astype(np.float32), -SUREST, SUREST)
        self._logits = new.copy() if self._logits is None else self._logits + RATE * (new - self._logits)

    def blocked(self) -> np.ndarray:
        """(cells, cells) probability of being blocked; 0 everywhere before the first picture."""
        if self._logits is None:
            return np.zeros((self.cells, self.cells), dtype=np.float32)
        return 1.0 / (1.0 + np.exp(-self._logits))

    def centres(self) -> np.ndarray:
        """(cells, cells, 2) x, y [m]."""
        x0, y0, x1, y1 = self.extent
        steps = (np.arange(self.cells) + 0.5) / self.cells
        return np.stack(np.meshgrid(x0 + steps * (x1 - x0), y0 + steps * (y1 - y0)), axis=-1)

    def look_up(self, points: np.ndarray) -> np.ndarray:
        """Probability (...) at points (..., 2) [m], bilinear; beyond the map its edge counts."""
        x0, y0, x1, y1 = self.extent
        cell = np.array([(x1 - x0) / self.cells, (y1 - y0) / self.cells])
        at = np.clip((points - (x0, y0)) / cell - 0.5, 0.0, self.cells - 1.0)
        low = np.minimum(at.astype(int), self.cells - 2)
        u, v = (at - low)[..., 0], (at - low)[..., 1]
        i, j = low[..., 1], low[..., 0]
        if self._logits is None:
            return np.zeros(points.shape[:-1])
        p = self._logits  # between cells it is log-odds that change evenly, as where the map is learned
        lower = p[i, j] * (1.0 - u) + p[i, j + 1] * u
        upper = p[i + 1, j] * (1.0 - u) + p[i + 1, j + 1] * u
        return 1.0 / (1.0 + np.exp(-(lower * (1.0 - v) + upper * v)))

    def excess(self, positions: np.ndarray, here: np.ndarray, limit: float) -> np.ndarray:
        """How far predicted ways go beyond the chance of contact that is taken, at each step or half way to it.

        A robot that already stands where the chance is higher may stay and may leave, but not go deeper.

        Args:
            positions: (..., T, 2) m, predicted. here: (2,) m, where the robot is. limit: the chance that is taken.

        Returns:
            (..., T), at most 0 where the way is free.
        """
        allowed = max(limit, float(self.look_up(here)) + SLACK)
        begin = np.concatenate([np.broadcast_to(here, positions[..., :1, :].shape), positions[..., :-1, :]], axis=-2)
        ways = np.stack([positions, 0.5 * (begin + positions)])  # a step is longer than a cell
        return (self.look_up(ways) - allowed).max(axis=0)
