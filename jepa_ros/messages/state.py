# SPDX-License-Identifier: Apache-2.0
"""Measured state as inputs of the gate: odometry, localisation, lidar, bumper, people, the wrist's force.

Joint states are put together from several publishers, see :class:`jepa_ros.messages.joints.JointStates`. A ``received``
is [steady s].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jepa_ros.contract import RobotContract, StateInput
from jepa_ros.contract.parts import ODOMETRY
from jepa_ros.messages.commands import twist_values
from jepa_ros.messages.rotation import rotation_fault, yaw_of
from jepa_ros.messages.stamps import stamp_of
from jepa_ros.safety.inputs import OdomIn, PeopleIn, PoseIn, ScanIn, WrenchIn

_XYYAW = np.ix_((0, 1, 5), (0, 1, 5))


def planar_pose(message: Any) -> tuple[float, float, float]:
    """x, y [m], yaw [rad] of a PoseStamped, PoseWithCovarianceStamped or Odometry."""
    pose = message.pose
    while hasattr(pose, "pose"):
        pose = pose.pose
    return pose.position.x, pose.position.y, yaw_of(pose.orientation)


def place_of(message: Any) -> tuple[tuple[float, float, float], float]:
    """Position (x, y, z) [m] and yaw [rad] of a PoseStamped."""
    at = message.pose.position
    return (at.x, at.y, at.z), yaw_of(message.pose.orientation)


def odom_in(message: Any, contract: RobotContract, received: float = 0.0) -> OdomIn:
    """An ``Odometry``."""
    velocity = twist_values(message.twist.twist, contract).tolist()
    fault = rotation_fault(message.pose.pose.orientation)
    return OdomIn(stamp_of(message), received, *planar_pose(message), velocity, message.header.frame_id, fault)


def state_of_message(state: StateInput, message: Any) -> np.ndarray:
    """The values (n,) of a state vector in one message, NaN where it does not tell them.

    Positions of the named joints of a ``JointState``; the pose of an ``Odometry``, or named components of its twist.
    """
    if state.name == "joint_states":
        at = dict(zip(message.name, message.position, strict=False))
        return np.array([at.get(name, np.nan) for name in state.values], dtype=np.float64)
    if state.values == ODOMETRY:
        return np.array(planar_pose(message), dtype=np.float64)
    twist = message.twist.twist
    parts = (name.split(".") for name in state.values)
    return np.array([getattr(getattr(twist, part), axis) for part, axis in parts], dtype=np.float64)


def pose_in(message: Any, received: float = 0.0, latched: bool = False) -> PoseIn:
    """A ``PoseWithCovarianceStamped``; ``latched``: its publisher keeps it for whoever comes later."""
    covariance = np.asarray(message.pose.covariance, dtype=np.float64).reshape(6, 6)[_XYYAW]
    frame, fault = message.header.frame_id, rotation_fault(message.pose.pose.orientation)
    return PoseIn(stamp_of(message), received, *planar_pose(message), covariance, frame, fault, latched)


def scan_in(message: Any, received: float = 0.0) -> ScanIn:
    """A ``LaserScan``."""
    ranges = np.asarray(message.ranges, dtype=np.float32).astype(np.float64)
    return ScanIn(
        stamp_of(message), received, message.angle_min, message.angle_increment, ranges, message.range_min,
        message.range_max, message.header.frame_id,
    )  # fmt: skip


def people_in(message: Any, received: float = 0.0) -> PeopleIn:
    """A ``PoseArray``."""
    positions = [(pose.position.x, pose.position.y) for pose in message.poses]
    return PeopleIn(stamp_of(message), received, positions, message.header.frame_id)


def wrench_in(message: Any, received: float = 0.0) -> WrenchIn:
    """A ``WrenchStamped``."""
    force = message.wrench.force
    return WrenchIn(stamp_of(message), received, (force.x, force.y, force.z))
