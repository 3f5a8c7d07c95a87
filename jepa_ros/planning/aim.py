# SPDX-License-Identifier: Apache-2.0
"""The goal in force, as the search and as the model read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from jepa_ros.cost.goal import Goal, GoalError, Target


@dataclass(frozen=True)
class Aim:
    """A goal that was accepted.

    Attributes:
        goal: as it was given. target: by the search's readouts, which may be coarser. own: by the model's own.
        novelty: how unlike the training data its picture is, None if nothing tells.
    """

    goal: Goal
    target: Target
    own: Target
    novelty: float | None


def aim_at(goal: Goal, target: Target, model: Any, device: torch.device | str, most: float) -> Aim:
    """Read a goal with a model.

    Args:
        target: the goal as the search reads it. device: where it computes.
        most: novelty from which on a picture is refused.

    Raises:
        GoalError: the model cannot read the goal, or cannot place its picture.
    """
    return Aim(goal, target, Target(goal, model, device), _novelty(target, model, most))


def _novelty(target: Target, model: Any, most: float) -> float | None:
    if target.latent is None or "novelty" not in model.readouts:
        return None
    with torch.no_grad():
        found = float(model.read("novelty", target.latent))
    if not found < most:
        raise GoalError(
            f"the goal picture is unlike anything that the model was trained on: novelty {found:.2g}, refused from "
            f"{most:g} on (1 is the level to slow down at); does it show this robot's scene?"
        )
    return found
