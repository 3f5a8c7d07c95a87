# SPDX-License-Identifier: Apache-2.0
"""The robot contract: one YAML file that describes a robot once, for every part that needs to know it."""

from jepa_ros.contract.contract import RobotContract, load_contract
from jepa_ros.contract.fields import ContractError
from jepa_ros.contract.parts import (
    ActionDim,
    Arm,
    Camera,
    Command,
    Footprint,
    Frames,
    Gripper,
    Kinematics,
    Limits,
    Nearness,
    StateInput,
    StateTopic,
    Watchdog,
)
from jepa_ros.contract.resources import share_dir

__all__ = [
    "ActionDim",
    "Arm",
    "Camera",
    "Command",
    "ContractError",
    "Footprint",
    "Frames",
    "Gripper",
    "Kinematics",
    "Limits",
    "Nearness",
    "RobotContract",
    "StateInput",
    "StateTopic",
    "Watchdog",
    "load_contract",
    "share_dir",
]
