# SPDX-License-Identifier: Apache-2.0
"""Where candidate plans come from: the last plan shifted, a learned proposal, and correlated noise."""

from __future__ import annotations

from typing import Protocol

import torch

SOURCES = ("warm", "stop", "proposal", "noise", "mean", "gradient")
WARM, STOP, PROPOSAL, NOISE, MEAN, GRADIENT = range(len(SOURCES))


class Proposal(Protocol):
    """A learned source of candidates, for example a goal-conditioned inverse model."""

    def __call__(
        self, z: torch.Tensor, h: torch.Tensor, goal, count: int, horizon: int, generator: torch.Generator
    ) -> torch.Tensor:
        """(count, horizon, A) normalised actions for the state z (D,), h (S,)."""
        ...


def ar1_matrix(horizon: int, ar: float) -> torch.Tensor:
    """(T, T) lower triangular M: M @ white noise is AR(1) with unit variance at every step and correlation `ar`."""
    steps = torch.arange(horizon)
    powers = torch.pow(torch.tensor(float(ar)), (steps[:, None] - steps[None, :]).clamp_min(0).float())
    matrix = torch.tril(powers)
    matrix[:, 1:] *= (1.0 - ar * ar) ** 0.5
    return matrix


def shift_plan(plan: torch.Tensor, steps: int) -> torch.Tensor:
    """The plan `steps` later: (T, A) -> (T, A). The last action is repeated."""
    steps = min(max(steps, 0), plan.shape[0])
    if steps == 0:
        return plan.clone()
    return torch.cat([plan[steps:], plan[-1:].expand(steps, -1)], dim=0)
