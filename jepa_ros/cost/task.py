# SPDX-License-Identifier: Apache-2.0
"""The task cost of predicted latents: how far each step of a future is from the goal.

Near the goal the latent's RMS distance is precise, far from it only readouts order states well, so they are added:
the temporal distance, and position and heading where the model has a pose readout. A pose goal is measured through the
pose readout alone. The cost of a future is a weighted mean over its steps in which the last one counts more.

Latent and temporal distance know nothing of what is in between. Where the way round leads away from the goal they grow
while the way gets shorter: they have to stay small beside the position, or a robot stands still halfway between.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from jepa_ros.cost.goal import Goal
from jepa_ros.errors import JepaRosError


@dataclass(frozen=True)
class TaskWeights:
    """What each term counts for.

    Args:
        latent: weight of the RMS latent distance (1 is about one standard deviation of the latents).
        steps: weight of one control step of temporal distance.
        final: how many further steps the last one counts for.
        position: weight of one metre of the way to the goal, through the pose readout.
        heading: weight of (1 - cos(yaw error)), through the pose readout.
    """

    latent: float = 0.1
    steps: float = 0.01
    final: float = 1.0
    position: float = 1.0
    heading: float = 0.1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value >= 0.0):
                raise JepaRosError(f"task weight {name} is {value}; expected a finite number >= 0")


def latent_rms(z: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """RMS difference between latents (..., D) and a goal (D,): about 1 for two states that have nothing in common."""
    return torch.linalg.vector_norm(z - goal, dim=-1) * z.shape[-1] ** -0.5


class TaskCost:
    """The task cost with a model's readouts.

    Args:
        model: has `has_readout(name)`, `distance(z, goal)`, `pose(z)`, and where it is fast `latent_rms(z, goal)`.
        weights: see TaskWeights.
    """

    def __init__(self, model, weights: TaskWeights | None = None) -> None:
        self.model = model
        self.weights = weights or TaskWeights()
        self._rms = getattr(model, "latent_rms", latent_rms)
        self._use_steps = bool(self.weights.steps) and model.has_readout("distance")
        self._use_pose = bool(self.weights.position or self.weights.heading) and model.has_readout("pose")
        #: Further metres to go from places (..., 2), because of what is in between; None where nobody knows.
        self.detour: Callable[[torch.Tensor], torch.Tensor] | None = None

    def check(self, goal: Goal | None) -> None:
        """Refuse weights that leave nothing to search for: towards any goal image, and towards this goal.

        Raises:
            JepaRosError: every term that the goal can have is of weight 0, or needs a readout that the model lacks.
        """
        w = self.weights
        if not (w.latent or self._use_steps or self._use_pose):
            raise JepaRosError(
                "task cost has no term: every weight is 0, or the model has no readout for the others; give one of "
                "latent, steps, position, heading a weight above 0"
            )
        if goal is not None and goal.pose is not None and not (w.position or (w.heading and goal.pose[2] is not None)):
            raise JepaRosError(
                f"task cost has no term for the goal pose {goal.pose}: position is weighted {w.position:g} and heading "
                f"{w.heading:g}; give position a weight above 0"
            )

    def goal_tensor(self, goal: Goal, like: torch.Tensor) -> torch.Tensor:
        """The goal as a tensor: a latent (D,), or (x, y, cos, sin) with cos = sin = 0 where the yaw is free."""
        goal.check_model(self.model)
        latent = goal.target(self.model, like)
        if latent is not None:
            return latent
        assert goal.pose is not None  # a goal of kind "pose" has one
        x, y, yaw = goal.pose
        heading = (0.0, 0.0) if yaw is None else (math.cos(yaw), math.sin(yaw))
        return torch.tensor([x, y, *heading], dtype=like.dtype, device=like.device)

    def per_step(self, zs: torch.Tensor, goal: Goal, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """Weighted terms at every step: {name: (..., T)} for latents (..., T, D) and `goal_tensor`'s target."""
        w = self.weights
        if goal.pose is not None:
            return self._pose_terms(zs, target)
        terms = {}
        if w.latent:
            terms["latent"] = self._rms(zs, target) * w.latent
        if self._use_steps:
            terms["steps"] = self.model.distance(zs, target) * w.steps
        if self._use_pose:
            terms |= self._pose_terms(zs, self.model.pose(target[None])[0].clone())
        return terms

    def _pose_terms(self, zs: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """Position and heading against (x, y, cos, sin); cos = sin = 0 leaves the heading free."""
        w = self.weights
        pose = self.model.pose(zs)  # (..., T, 4)
        terms = {}
        if w.position:
            way = torch.linalg.vector_norm(pose[..., :2] - target[:2], dim=-1)
            if self.detour is not None:
                way = way + self.detour(pose[..., :2])
            terms["position"] = way * w.position
        if w.heading and bool(target[2:].any()):
            wanted = target[2:] / target[2:].norm().clamp_min(1e-3)
            cosine = (pose[..., 2:] * wanted).sum(-1) / pose[..., 2:].norm(dim=-1).clamp_min(1e-3)
            terms["heading"] = (1.0 - cosine) * w.heading
        return terms

    def over_horizon(self, values: torch.Tensor) -> torch.Tensor:
        """Weighted mean over the steps, the last one counted 1 + final times: (..., T) -> (...)."""
        horizon, final = values.shape[-1], self.weights.final
        return (values.sum(-1) + final * values[..., -1]) / (horizon + final)

    def __call__(self, zs: torch.Tensor, goal: Goal, target: torch.Tensor | None = None):
        """Cost of futures.

        Args:
            zs: (..., T, D) predicted latents.
            goal: the goal; target: `goal_tensor(goal)`, where it was made already.

        Returns:
            cost (...), terms {name: (...)} that sum to it.
        """
        if target is None:
            target = self.goal_tensor(goal, zs)
        terms = {name: self.over_horizon(v) for name, v in self.per_step(zs, goal, target).items()}
        return sum(terms.values()), terms
