# SPDX-License-Identifier: Apache-2.0
"""The robot contract: one YAML file that describes a robot once, for every part that needs to know it."""

from jepa_ros.contract.contract import (
    ActionDim,
    Camera,
    Command,
    Footprint,
    Frames,
    Kinematics,
    Limits,
    RobotContract,
    StateTopic,
    Watchdog,
    load_contract,
)
from jepa_ros.contract.fields import ContractError
from jepa_ros.contract.resources import share_dir

__all__ = [
    "ActionDim",
    "Camera",
    "Command",
    "ContractError",
    "Footprint",
    "Frames",
    "Kinematics",
    "Limits",
    "RobotContract",
    "StateTopic",
    "Watchdog",
    "load_contract",
    "share_dir",
]
