# SPDX-License-Identifier: Apache-2.0
"""Patches and shadows on the floor, worked out for each pixel that sees the floor.

PyBullet's software renderer has no shadows that can be used from above, so boxes and upright cylinders cast theirs
here, exactly: a floor point lies in shadow if the way from it to the light meets the thing.
"""

from __future__ import annotations

import numpy as np


class Floor:
    """Where each fine pixel of a picture sees the floor.

    Args:
        matrix: (4, 4) world to camera.
        focal: in fine pixels.
        width, height: in fine pixels.
        depth: what stands still, as the depth buffer gives it.
        near, far: of that buffer, m.
        light: direction towards the light (x, y, z), z > 0.
    """

    def __init__(
        self,
        matrix: np.ndarray,
        focal: float,
        width: int,
        height: int,
        depth: np.ndarray,
        near: float,
        far: float,
        light: tuple,
    ) -> None:
        col, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        ray = np.stack([(col - width / 2) / focal, (height / 2 - row) / focal, -np.ones_like(col)], axis=-1)
        ray = ray @ matrix[:3, :3]  # camera to world
        eye = -matrix[:3, :3].T @ matrix[:3, 3]
        along = eye[2] / -ray[..., 2]  # metres of camera depth down to the floor
        self.points = (eye[:2] + ray[..., :2] * along[..., None]).astype(np.float32)  # (h, w, 2)
        seen = far * near / (far - depth * (far - near))
        self.mask = seen > along - 0.02
        self.slope = (light[0] / light[2], light[1] / light[2])  # m sideways for each m up towards the light

    def disc(self, cx: float, cy: float, radius: float) -> np.ndarray:
        """Which pixels see the floor within ``radius`` of a point."""
        gap = self.points - np.float32((cx, cy))
        return (np.einsum("ijk,ijk->ij", gap, gap) < radius * radius) & self.mask

    def box(
        self, cx: float, cy: float, hx: float, hy: float, yaw: float, height: float, window: tuple[slice, slice]
    ) -> np.ndarray:
        """Which pixels of ``window`` lie in the shadow of a box standing on the floor."""
        cos, sin = np.cos(yaw), np.sin(yaw)
        q = self.points[window] - np.float32((cx, cy))
        low, high = np.zeros(q.shape[:2], np.float32), np.full(q.shape[:2], height, np.float32)
        for axis, half in (((cos, sin), hx), ((-sin, cos), hy)):
            start = q[..., 0] * np.float32(axis[0]) + q[..., 1] * np.float32(axis[1])
            speed = axis[0] * self.slope[0] + axis[1] * self.slope[1]
            speed = np.float32(speed if abs(speed) > 1e-6 else 1e-6)
            a, b = (-np.float32(half) - start) / speed, (np.float32(half) - start) / speed
            low, high = np.maximum(low, np.minimum(a, b)), np.minimum(high, np.maximum(a, b))
        return (low < high) & self.mask[window]

    def cylinder(self, cx: float, cy: float, radius: float, height: float, window: tuple[slice, slice]) -> np.ndarray:
        """Which pixels of ``window`` lie in the shadow of an upright cylinder standing on the floor."""
        sx, sy = self.slope[0] * height, self.slope[1] * height
        length = max(sx * sx + sy * sy, 1e-9)
        points = self.points[window]
        dx, dy = np.float32(cx) - points[..., 0], np.float32(cy) - points[..., 1]
        along = np.clip((dx * np.float32(sx) + dy * np.float32(sy)) / np.float32(length), 0, 1)
        dx, dy = dx - along * np.float32(sx), dy - along * np.float32(sy)
        return (dx * dx + dy * dy < radius * radius) & self.mask[window]
