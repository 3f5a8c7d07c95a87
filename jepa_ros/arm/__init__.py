# SPDX-License-Identifier: Apache-2.0
"""What only arms need: kinematics of the tip, distances of the links, inverse kinematics. Needs the extra ``[arm]``.

No torch and no ROS here: the gate's process loads it too. Kinematics are Pinocchio's, distances are coal's.
"""

from jepa_ros.arm.capsules import Capsule
from jepa_ros.arm.inverse import InverseKinematics, Motion
from jepa_ros.arm.kinematics import ArmKinematics
from jepa_ros.arm.links import ArmLinks, Box, Clearances, Plane, walls
from jepa_ros.arm.urdf import ArmError, Description, find, read

__all__ = [
    "ArmError",
    "ArmKinematics",
    "ArmLinks",
    "Box",
    "Capsule",
    "Clearances",
    "Description",
    "InverseKinematics",
    "Motion",
    "Plane",
    "find",
    "read",
    "walls",
]
