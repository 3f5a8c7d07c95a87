# SPDX-License-Identifier: Apache-2.0
"""Where an arm's tip shall be, as a goal: values of the tip readout; see :func:`jepa_ros.planning.bodies.goals_of`."""

from __future__ import annotations

from collections.abc import Sequence

from jepa_ros.contract import RobotContract
from jepa_ros.cost.goal import Goal, GoalError, Target

#: The readout whose values these goals have.
KIND = "tip"
#: The action, and the readout that tells of it.
GRIPPER = "gripper"


def frame(contract: RobotContract) -> str:
    """Name of the frame that goals are in."""
    arm = contract.kinematics.arm
    return contract.frames.base if arm is None else arm.base_frame


def from_place(position: tuple[float, float, float], yaw: float, name: str = "") -> Goal:
    """A goal from a place (x, y, z) [m]; how the tip is turned there is free.

    Raises:
        GoalError: a value is not finite.
    """
    return from_values(position, name)


def from_values(values: Sequence[float], name: str = "") -> Goal:
    """A goal from x, y and z [m]; the inverse of :func:`to_values`.

    Raises:
        GoalError: other than three finite values.
    """
    if len(values) != 3 or any(v != v for v in values):
        raise GoalError(f"goal tip {list(values)}: expected x, y and z in m")
    return Goal(KIND, value=tuple(float(v) for v in values), name=name)


def to_values(goal: Goal) -> list[float]:
    """x, y, z [m]."""
    assert goal.value is not None  # it is one of these goals
    return list(goal.value)


def unsaid(contract: RobotContract, goal: Target) -> tuple[int, ...]:
    """Actions that a goal says nothing about: the gripper's, unless the model reads from the goal how far it is open.

    Fingers are a few pixels of a picture. A gripper that is moved for no reason makes the tip look elsewhere.
    """
    if goal.read(GRIPPER) is not None:
        return ()
    return tuple(i for i, action in enumerate(contract.action) if action.name == GRIPPER)
