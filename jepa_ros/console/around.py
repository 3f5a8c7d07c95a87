# SPDX-License-Identifier: Apache-2.0
"""What the gate is told of the surroundings, in the map: people, and what the laser scanner sees."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa_ros.contract import RobotContract

#: Beams that are drawn at most.
BEAMS = 180
Pose = tuple[float, float, float]


def people_of(message: Any, contract: RobotContract) -> list[list[float]]:
    """Places x, y [m] of the people in a ``PoseArray`` of the map; none of one in another frame."""
    if message.header.frame_id != contract.frames.map:
        return []
    places = [(pose.position.x, pose.position.y) for pose in message.poses]
    return [[round(x, 3), round(y, 3)] for x, y in places if math.isfinite(x) and math.isfinite(y)]


def seen_by(message: Any, contract: RobotContract, pose: Pose) -> list[list[float]]:
    """Places x, y [m] in the map at which beams of a ``LaserScan`` end.

    Args:
        pose: x, y [m], yaw [rad] of the robot in the map.
    """
    ranges: NDArray[np.float64] = np.asarray(message.ranges, np.float64)
    angles = message.angle_min + message.angle_increment * np.arange(ranges.size)
    ends = np.flatnonzero(np.isfinite(ranges) & (ranges >= message.range_min) & (ranges <= message.range_max))
    ends = ends[:: max(1, math.ceil(ends.size / BEAMS))]
    x, y, yaw = contract.state["scan"].offset or (0.0, 0.0, 0.0)
    points = np.stack([x + ranges[ends] * np.cos(yaw + angles[ends]), y + ranges[ends] * np.sin(yaw + angles[ends])])
    c, s = math.cos(pose[2]), math.sin(pose[2])
    placed = np.array([[c, -s], [s, c]]) @ points + np.array([[pose[0]], [pose[1]]])
    return [[round(float(u), 3), round(float(v), 3)] for u, v in placed.T]
