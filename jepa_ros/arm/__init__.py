# SPDX-License-Identifier: Apache-2.0
"""What only arms need: kinematics of the tip, distances of the links, inverse kinematics. Needs the extra ``[arm]``.

No torch and no ROS here: the gate's process loads it too. Kinematics are Pinocchio's, distances are coal's.
"""

from importlib.util import find_spec

from jepa_ros.arm.urdf import ArmError, Description, find, read

for _name in ("pinocchio", "coal"):
    if find_spec(_name) is None:
        raise ArmError(f"arms need {_name}, which is not installed: pip install 'jepa_ros[arm]'")

from jepa_ros.arm.body import ArmBody, TipMotion  # noqa: E402
from jepa_ros.arm.capsules import Capsule  # noqa: E402
from jepa_ros.arm.inverse import InverseKinematics, Motion  # noqa: E402
from jepa_ros.arm.kinematics import ArmKinematics  # noqa: E402
from jepa_ros.arm.links import ArmLinks, Box, Clearances, Plane, walls  # noqa: E402

__all__ = [
    "ArmBody",
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
    "TipMotion",
    "find",
    "read",
    "walls",
]
