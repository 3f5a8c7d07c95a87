# SPDX-License-Identifier: Apache-2.0
"""A pose as a goal: values of the pose readout; see :func:`jepa_ros.planning.bodies.goals_of`.

The ONE place where a pose becomes one, and is told again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from jepa_ros.contract import RobotContract
from jepa_ros.cost.goal import Goal, GoalError

#: The readout whose values these goals have.
KIND = "pose"


def frame(contract: RobotContract) -> str:
    """Name of the frame that goals are in."""
    return contract.frames.map


def from_place(position: tuple[float, float, float], yaw: float, name: str = "") -> Goal:
    """A goal from a place (x, y, z) [m] and a heading [rad]; see :func:`pose_goal` for errors."""
    return pose_goal(position[0], position[1], yaw, name)


def from_values(values: Sequence[float], name: str = "") -> Goal:
    """A goal from x, y [m] and yaw [rad], NaN where it is free; the inverse of :func:`to_values`.

    Raises:
        GoalError: other than three values, or see :func:`pose_goal`.
    """
    if len(values) != 3:
        raise GoalError(f"goal pose {list(values)}: expected x, y and yaw")
    x, y, yaw = (float(v) for v in values)
    return pose_goal(x, y, None if math.isnan(yaw) else yaw, name)


def to_values(goal: Goal) -> list[float]:
    """x, y [m] and yaw [rad], NaN where it is free."""
    pose = pose_of(goal)
    assert pose is not None  # it is one of these goals
    return [pose[0], pose[1], math.nan if pose[2] is None else pose[2]]


def pose_goal(x: float, y: float, yaw: float | None = None, name: str = "") -> Goal:
    """A goal from a pose in metres and radians; ``yaw`` None leaves the heading free.

    Raises:
        GoalError: a value is not finite, or farther away than any map is large.
    """
    if not math.isfinite(x) or not math.isfinite(y):
        x = y = math.inf  # refused by name, where NaN would mean that it is free
    heading = (math.nan, math.nan) if yaw is None else (math.cos(yaw), math.sin(yaw)) if math.isfinite(yaw) else None
    return Goal("pose", value=(x, y, *(heading or (math.inf, math.inf))), name=name)


def pose_of(goal: Goal) -> tuple[float, float, float | None] | None:
    """(x m, y m, yaw rad or None where it is free) of a goal pose; None for another goal."""
    if goal.kind != "pose" or goal.value is None:
        return None
    x, y, cosine, sine = goal.value
    return x, y, None if math.isnan(cosine) else math.atan2(sine, cosine)
