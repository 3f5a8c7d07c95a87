# SPDX-License-Identifier: Apache-2.0
"""A pose as a goal: values of the pose readout. The ONE place where a pose becomes one, and is told again."""

from __future__ import annotations

import math

from jepa_ros.cost.goal import Goal


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
