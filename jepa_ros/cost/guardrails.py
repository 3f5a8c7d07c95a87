# SPDX-License-Identifier: Apache-2.0
"""Guardrails as costs over predicted states. Schema and geometry stand in jepa_ros.safety.guardrails, for the gate and
for the planner alike; here they meet the model's readouts, the noise samples and the risk level.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from jepa_ros.cost.risk import Risk


@dataclass
class PredictedStates:
    """What the model says about the predicted steps; leading axes are (candidates, noise samples, steps).

    Args:
        poses: (C, S, T, 3) x m, y m, yaw rad, from the pose readout; None where the model has none.
        contact: (C, S, T) probability of contact; None where the model has no such readout.
        novelty: (C, S, T); None where the model has no such readout.
        actions: (C, 1, T, A) executed actions in physical units.
        period: seconds of one step.
    """

    poses: np.ndarray | None
    contact: np.ndarray | None
    novelty: np.ndarray | None
    actions: np.ndarray
    period: float


class Guardrail(Protocol):
    """What this module needs from one guardrail of jepa_ros.safety.guardrails."""

    name: str

    def excess(self, states: PredictedStates) -> np.ndarray:
        """(C, S, T) how far each state goes beyond the threshold; <= 0 keeps the guardrail."""
        ...

    @property
    def risk(self) -> Risk: ...


@dataclass
class Verdict:
    """What the guardrails say about C candidates.

    Args:
        violation: (C,) the largest excess over the guardrails at their risk level, 0 where all are kept.
        excess: {name: (C,)} each guardrail's own, negative where there is room to spare.
    """

    violation: np.ndarray
    excess: dict[str, np.ndarray] = field(default_factory=dict)

    def in_the_way(self, index: int) -> str | None:
        """The name of the guardrail that the candidate exceeds most, None for a feasible one."""
        if not self.violation[index] > 0.0:
            return None
        return max(self.excess, key=lambda name: self.excess[name][index])


class GuardrailCost:
    """Scores predicted latents against a set of guardrails.

    A candidate keeps a guardrail when the guardrail's excess, at its risk level over the noise samples, is at most 0
    at every step.

    Args:
        guardrails: any number of Guardrail.
        model: has `has_readout`, `pose`, `contact`, `novelty`.
        contract: the robot contract (period, action units).
    """

    def __init__(self, guardrails, model, contract) -> None:
        self.guardrails = tuple(guardrails)
        self.model = model
        self.contract = contract

    def __bool__(self) -> bool:
        return bool(self.guardrails)

    def states(self, zs: torch.Tensor, actions: torch.Tensor) -> PredictedStates:
        """Read the predicted latents (C, S, T, D) and executed, normalised actions (C, T, A)."""
        read = self.model.has_readout
        poses = None
        if read("pose"):
            raw = self.model.pose(zs).float().cpu().numpy()
            poses = np.concatenate([raw[..., :2], np.arctan2(raw[..., 3:], raw[..., 2:3])], axis=-1)
        physical = self.contract.denormalise(actions.double().cpu().numpy())[:, None]
        return PredictedStates(
            poses=poses,
            contact=self.model.contact(zs).float().cpu().numpy() if read("contact") else None,
            novelty=self.model.novelty(zs).float().cpu().numpy() if read("novelty") else None,
            actions=physical,
            period=self.contract.period,
        )

    def __call__(self, zs: torch.Tensor, actions: torch.Tensor) -> Verdict:
        """Judge candidates: zs (C, S, T, D), executed normalised actions (C, T, A)."""
        if not self.guardrails:
            return Verdict(np.zeros(zs.shape[0]))
        states = self.states(zs, actions)
        excess = {}
        for guardrail in self.guardrails:
            value = np.broadcast_to(guardrail.excess(states), zs.shape[:3])
            excess[guardrail.name] = guardrail.risk(np.moveaxis(value, 1, -1)).max(-1)  # risk over S, worst step
        worst = np.max(np.stack(list(excess.values())), axis=0)
        return Verdict(np.where(np.isnan(worst), np.nan, np.maximum(worst, 0.0)), excess)
