# SPDX-License-Identifier: Apache-2.0
"""A box in space: what the links of an arm are kept out of, or inside of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Space:
    """A box in the arm's base frame: ``center`` and edge lengths ``size`` (x, y, z) [m], turned about z by ``yaw``."""

    center: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float = 0.0

    @staticmethod
    def between(low: tuple[float, ...], high: tuple[float, ...]) -> Space:
        """The box with these two corners."""
        middle = [0.5 * (a + b) for a, b in zip(low, high, strict=True)]
        size = [b - a for a, b in zip(low, high, strict=True)]
        return Space((middle[0], middle[1], middle[2]), (size[0], size[1], size[2]))

    @property
    def turn(self) -> np.ndarray:
        """Its rotation (3, 3): columns are its own axes."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
