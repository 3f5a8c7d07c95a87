# SPDX-License-Identifier: Apache-2.0
"""Quaternions as they come in messages."""

from __future__ import annotations

import math
from typing import Any


def _squared(quaternion: Any) -> float:
    return float(quaternion.x**2 + quaternion.y**2 + quaternion.z**2 + quaternion.w**2)


def yaw_of(quaternion: Any) -> float:
    """Heading (rad) of a ``geometry_msgs/Quaternion``; NaN where it is no rotation."""
    if not 0.5 < _squared(quaternion) < 2.0:
        return math.nan
    x, y, z, w = quaternion.x, quaternion.y, quaternion.z, quaternion.w
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def rotation_fault(quaternion: Any) -> str:
    """Why a quaternion is no rotation; empty where it is one."""
    squared = _squared(quaternion)
    if 0.5 < squared < 2.0:
        return ""
    if not math.isfinite(squared):
        return "has a quaternion that is not finite"
    if squared == 0.0:
        return "has a quaternion of zeros (no rotation is w = 1)"
    return f"has a quaternion of length {math.sqrt(squared):.3g}, expected 1"
