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
        """(count, horizon, A) normalised actions for the state z (D,), h (S,) towards a Target."""
        ...


class LearnedProposal:
    """Candidates from a model's head "proposal": what it answers, and noise around it.

    Args:
        model: has the readout "proposal". sigma: standard deviation of the noise, AR(1) with correlation `ar`.
    """

    def __init__(self, model, sigma: float = 0.3, ar: float = 0.5) -> None:
        self.model, self.sigma, self.ar = model, sigma, ar

    def __call__(self, z, h, goal, count, horizon, generator):
        """See Proposal; none towards a goal that is no latent."""
        if goal.latent is None:
            return torch.zeros(0, horizon, self.model.config.action_dim)
        plan = fit_plan(self.model.read("proposal", z[None], goal.latent[None])[0].float().cpu(), horizon)
        noise = ar1_(torch.randn((count, *plan.shape), generator=generator), self.ar).mul_(self.sigma)
        noise[0] = 0.0
        return noise.add_(plan).clamp_(-1.0, 1.0)


def ar1_(white: torch.Tensor, ar: float) -> torch.Tensor:
    """Turn white noise (C, T, A) into AR(1) noise in place: unit variance at every step, correlation `ar` to the next.

    A loop over the few steps and not a matrix product: torch would share that among threads and wait for all of them,
    milliseconds where other processes keep the cores busy.
    """
    if ar > 0.0:
        white[:, 1:].mul_((1.0 - ar * ar) ** 0.5)
        for t in range(1, white.shape[1]):
            white[:, t].add_(white[:, t - 1], alpha=ar)
    return white


def fit_plan(plan: torch.Tensor, horizon: int) -> torch.Tensor:
    """The plan cut, or its last action repeated, to a horizon: (T, A) -> (horizon, A)."""
    missing = horizon - plan.shape[0]
    return plan[:horizon] if missing <= 0 else torch.cat([plan, plan[-1:].expand(missing, -1)])


def shift_plan(plan: torch.Tensor, steps: int) -> torch.Tensor:
    """The plan `steps` later: (T, A) -> (T, A). The last action is repeated."""
    steps = min(max(steps, 0), plan.shape[0])
    if steps == 0:
        return plan.clone()
    return torch.cat([plan[steps:], plan[-1:].expand(steps, -1)], dim=0)
