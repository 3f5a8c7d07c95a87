# SPDX-License-Identifier: Apache-2.0
"""What a scene measures as messages: the way back of :mod:`jepa_ros.messages.state`, for the ``sim`` node.

Each takes a measurement of :mod:`jepa_ros.safety.inputs`, the stamp [ROS s] and the robot's contract.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose, PoseArray, PoseWithCovarianceStamped, WrenchStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import JointState, LaserScan
from std_msgs.msg import Bool

from jepa_ros.contract import RobotContract
from jepa_ros.nodes.convert import set_yaw, to_stamp
from jepa_ros.safety.inputs import ContactIn, JointsIn, OdomIn, PeopleIn, PoseIn, ScanIn, WrenchIn

_XYYAW = np.ix_([0, 1, 5], [0, 1, 5])


def odometry(measured: OdomIn, now: float, contract: RobotContract) -> Odometry:
    """``odom``."""
    message = Odometry(child_frame_id=contract.frames.base)
    message.header.stamp, message.header.frame_id = to_stamp(now), contract.frames.odom
    message.pose.pose.position.x, message.pose.pose.position.y = float(measured.x), float(measured.y)
    set_yaw(message.pose.pose.orientation, measured.yaw)
    for action, value in zip(contract.action, measured.v, strict=True):
        part, axis = action.name.split(".")
        setattr(getattr(message.twist.twist, part), axis, float(value))
    return message


def pose(measured: PoseIn, now: float, contract: RobotContract) -> PoseWithCovarianceStamped:
    """``pose``."""
    message = PoseWithCovarianceStamped()
    message.header.stamp, message.header.frame_id = to_stamp(now), contract.frames.map
    message.pose.pose.position.x, message.pose.pose.position.y = float(measured.x), float(measured.y)
    set_yaw(message.pose.pose.orientation, measured.yaw)
    full = np.zeros((6, 6))
    full[_XYYAW] = measured.cov
    message.pose.covariance = full.ravel()
    return message


def joint_state(measured: JointsIn, now: float, contract: RobotContract) -> JointState:
    """``joint_states``."""
    message = JointState(name=list(measured.names))
    message.header.stamp = to_stamp(now)
    message.position = np.asarray(measured.position, dtype=float).tolist()
    message.velocity = np.asarray(measured.velocity, dtype=float).tolist()
    return message


def laser_scan(measured: ScanIn, now: float, contract: RobotContract) -> LaserScan:
    """``scan``."""
    ranges = np.ascontiguousarray(measured.ranges, dtype=np.float32)
    message = LaserScan(
        angle_min=float(measured.angle_min),
        angle_max=float(measured.angle_min + measured.angle_increment * (len(ranges) - 1)),
        angle_increment=float(measured.angle_increment),
        range_min=float(measured.range_min),
        range_max=float(measured.range_max),
    )
    message.header.stamp, message.header.frame_id = to_stamp(now), measured.frame_id
    message.ranges.frombytes(ranges.tobytes())
    return message


def contact(measured: ContactIn, now: float, contract: RobotContract) -> Bool:
    """``contact``."""
    return Bool(data=bool(measured.value))


def people(measured: PeopleIn, now: float, contract: RobotContract) -> PoseArray:
    """``people``."""
    message = PoseArray()
    message.header.stamp, message.header.frame_id = to_stamp(now), contract.frames.map
    for x, y in measured.positions:
        at = Pose()
        at.position.x, at.position.y = float(x), float(y)
        message.poses.append(at)
    return message


def wrench(measured: WrenchIn, now: float, contract: RobotContract) -> WrenchStamped:
    """``wrench``: the force alone."""
    message = WrenchStamped()
    message.header.stamp, message.header.frame_id = to_stamp(now), "wrist"
    force = message.wrench.force
    force.x, force.y, force.z = (float(v) for v in measured.force)
    return message


#: {state: from its measurement to its message}.
MESSAGES: dict[str, Callable[[Any, float, RobotContract], Any]] = {
    "odom": odometry, "pose": pose, "joint_states": joint_state, "scan": laser_scan, "contact": contact,
    "people": people, "wrench": wrench,
}  # fmt: skip
