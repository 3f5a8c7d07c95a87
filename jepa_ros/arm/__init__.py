# SPDX-License-Identifier: Apache-2.0
"""What only arms need: kinematics of the tip, distances of the links, inverse kinematics. Needs the extra ``[arm]``.

No torch and no ROS in what is listed here: the gate's process loads it too. Kinematics are Pinocchio's, distances are
coal's; both are imported when something that needs them is, so that the room can be asked for its readouts without.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from jepa_ros.arm.urdf import ArmError, Description, find, read

if TYPE_CHECKING:
    from jepa_ros.arm.body import ArmBody, TipMotion
    from jepa_ros.arm.capsules import Capsule
    from jepa_ros.arm.inverse import InverseKinematics, Motion
    from jepa_ros.arm.kinematics import ArmKinematics
    from jepa_ros.arm.links import ArmLinks, Box, Clearances, Plane, walls

#: Name -> module of what is imported when it is asked for.
_LATER = {
    **dict.fromkeys(("ArmBody", "TipMotion"), "body"),
    "Capsule": "capsules",
    **dict.fromkeys(("InverseKinematics", "Motion"), "inverse"),
    "ArmKinematics": "kinematics",
    **dict.fromkeys(("ArmLinks", "Box", "Clearances", "Plane", "walls"), "links"),
}

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


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    missing = [package for package in ("pinocchio", "coal") if find_spec(package) is None]
    if missing:
        raise ArmError(f"arms need {' and '.join(missing)}, not installed: pip install 'jepa_ros[arm]'")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
