# SPDX-License-Identifier: Apache-2.0
"""The ONE table of what a robot's topics carry: its state, and the command that it takes.

Contract, gate, simulator, doctor, bringup and bags read it; :func:`jepa_ros.messages.types.message_class` makes Python
classes of the types.
"""

from __future__ import annotations

#: State topics that a contract may name, and their messages.
STATE_TYPES = {
    "odom": "nav_msgs/msg/Odometry",
    "pose": "geometry_msgs/msg/PoseWithCovarianceStamped",
    "joint_states": "sensor_msgs/msg/JointState",
    "scan": "sensor_msgs/msg/LaserScan",
    "contact": "std_msgs/msg/Bool",
    "people": "geometry_msgs/msg/PoseArray",
    "wrench": "geometry_msgs/msg/WrenchStamped",
}
#: Those that tell where the body is.
WHEREABOUTS = ("pose", "joint_states")
ESTOP_TYPE = "std_msgs/msg/Bool"
#: Kinds of command that a contract may name, and their messages.
COMMAND_TYPES = {
    "twist_stamped": "geometry_msgs/msg/TwistStamped",
    "twist": "geometry_msgs/msg/Twist",
    "joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
    "float64_multiarray": "std_msgs/msg/Float64MultiArray",
}
#: Those that carry a base's velocity, and those that carry joints.
BASE_COMMANDS, JOINT_COMMANDS = ("twist_stamped", "twist"), ("joint_trajectory", "float64_multiarray")


def asked_type(jointed: bool) -> str:
    """The message of ``command_raw`` and ``command_teleop``; they carry a stamp, whatever the robot takes."""
    return COMMAND_TYPES["joint_trajectory" if jointed else "twist_stamped"]
