# SPDX-License-Identifier: Apache-2.0
"""Between the picture of a mounted camera and the ground plane: where a plan lies in the picture, where a click lies.

The camera is the contract's mounting (x forward, y left, z up, turned by roll, pitch, yaw) and the pinhole of
``camera_info``. A camera that was knocked is off by as much as it moved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Projection:
    """A pinhole camera above the plane z = 0 of the map.

    Attributes:
        position: (3,) of the camera in the map [m]. axes: (3, 3), rows forward, left, up.
        focal: (fx, fy) [px]. centre: (cx, cy) [px]. size: (width, height) [px].
    """

    position: NDArray[np.float64]
    axes: NDArray[np.float64]
    focal: tuple[float, float]
    centre: tuple[float, float]
    size: tuple[int, int]

    @staticmethod
    def of(
        position: Sequence[float], orientation: Sequence[float], k: Sequence[float], size: tuple[int, int]
    ) -> Projection | None:
        """The camera of a mounting (xyz [m], roll, pitch, yaw [rad]) and a camera matrix (9,); None without a focus."""
        fx, fy, cx, cy = k[0], k[4], k[2], k[5]
        if not (fx > 0.0 and fy > 0.0):
            return None
        roll, pitch, yaw = orientation
        cr, sr, cp, sp, cy_, sy = (f(a) for a in (roll, pitch, yaw) for f in (math.cos, math.sin))
        rotation = np.array(
            [
                [cy_ * cp, cy_ * sp * sr - sy * cr, cy_ * sp * cr + sy * sr],
                [sy * cp, sy * sp * sr + cy_ * cr, sy * sp * cr - cy_ * sr],
                [-sp, cp * sr, cp * cr],
            ]
        )
        return Projection(np.array(position, float), rotation.T.copy(), (fx, fy), (cx, cy), size)

    def pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) pixels of (N, 3) points of the map [m]; NaN for what lies behind the camera."""
        seen = (points - self.position) @ self.axes.T  # (N, 3) forward, left, up
        ahead = np.where(seen[:, 0] > 1e-6, seen[:, 0], np.nan)
        u = self.centre[0] - self.focal[0] * seen[:, 1] / ahead
        v = self.centre[1] - self.focal[1] * seen[:, 2] / ahead
        return np.stack([u, v], axis=1)

    def drawn(self, line: Sequence[Sequence[float]]) -> list[list[float]]:
        """Pixels of a line of points x, y on the ground [m], to a tenth; those behind the camera are left out."""
        points = np.array([(x, y, 0.0) for x, y in line], dtype=float).reshape(-1, 3)
        return [[round(float(u), 1), round(float(v), 1)] for u, v in self.pixels(points) if np.isfinite([u, v]).all()]

    def ground(self, u: float, v: float) -> tuple[float, float] | None:
        """The point x, y [m] of the plane z = 0 that a pixel shows; None where it shows none."""
        ray = np.array([1.0, -(u - self.centre[0]) / self.focal[0], -(v - self.centre[1]) / self.focal[1]]) @ self.axes
        if abs(ray[2]) < 1e-9:
            return None
        way = -self.position[2] / ray[2]
        if way <= 0.0:
            return None
        x, y, _ = self.position + way * ray
        return float(x), float(y)
