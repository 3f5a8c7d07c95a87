# SPDX-License-Identifier: Apache-2.0
"""A pinhole camera: from the world to pixels and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class View:
    """A pinhole: enough to go from the world to pixels."""

    width: int
    height: int
    fov: float  # rad, vertical
    matrix: np.ndarray  # (4, 4) world to camera (OpenGL: looks along -z)

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return float(self.height / 2 / np.tan(self.fov / 2))

    def project(self, points: np.ndarray) -> np.ndarray:
        """World points ``(..., 3)`` (or ``(..., 2)`` on the floor) to pixels ``(..., 2)``: column, row."""
        points = np.asarray(points, dtype=float)
        if points.shape[-1] == 2:
            points = np.concatenate([points, np.zeros_like(points[..., :1])], axis=-1)
        eye = points @ self.matrix[:3, :3].T + self.matrix[:3, 3]
        scale = self.focal / -eye[..., 2]
        return np.stack([self.width / 2 + eye[..., 0] * scale, self.height / 2 - eye[..., 1] * scale], axis=-1)

    @property
    def eye(self) -> np.ndarray:
        """Where the camera is, (3,) [m]."""
        return np.asarray(-self.matrix[:3, :3].T @ self.matrix[:3, 3])

    def rays(self) -> np.ndarray:
        """(height, width, 3): for each pixel the way in the world that adds 1 m of camera depth."""
        col, row = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        ray = np.stack([col - self.width / 2, self.height / 2 - row, np.full_like(col, -self.focal)], axis=-1)
        return np.asarray(ray @ self.matrix[:3, :3] / self.focal)
