# SPDX-License-Identifier: Apache-2.0
"""What could be done in a state: short plans from several sources, for many states at once.

- smooth noise: a direction that is mostly held, which explores;
- the learned proposal towards the goal, if the model has one;
- aimed: fitted to the smooth ones that came nearest to the goal, or to a remembered state that lies on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jepa_ros.planning.proposals import ar1_, fit_plan

#: Correlation of smooth plans from step to step.
HELD = 0.9
#: Smooth plans that an aimed one is fitted to; its least standard deviation.
ELITES, LEAST = 3, 0.1
#: Standard deviation of the noise around a proposed plan.
AROUND = 0.3


def counts(edges: int, aimed: float, proposed: float, can_propose: bool) -> tuple[int, int, int]:
    """How many of the edges of a state are smooth, proposed and aimed; at least ELITES are smooth."""
    given = int(edges * proposed) if can_propose else 0
    fitted = int(edges * aimed)
    smooth = max(edges - given - fitted, min(ELITES, edges))
    given = min(given, edges - smooth)
    return smooth, given, edges - smooth - given


def smooth(states: int, count: int, length: int, actions: int, generator: torch.Generator) -> Tensor:
    """(states, count, length, A) plans that mostly hold a direction, of all strengths up to the limits."""
    noise = torch.randn((states * count, length, actions), generator=generator)
    noise = ar1_(noise, HELD)
    size = noise.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    strength = 0.3 + torch.rand((states * count, 1, 1), generator=generator) * (actions**0.5 - 0.3)
    return (noise / size * strength).clamp_(-1.0, 1.0).view(states, count, length, actions)


def proposed(model: Any, latents: Tensor, goal: Tensor, count: int, length: int, generator: torch.Generator) -> Tensor:
    """(states, count, length, A) plans around what the model's proposal answers in latents (states, D)."""
    answer = model.read("proposal", latents, goal.expand(len(latents), -1)).float().cpu()  # (states, P, A)
    plans = torch.stack([fit_plan(plan, length) for plan in answer])[:, None]
    noise = torch.randn((len(latents), count, *plans.shape[2:]), generator=generator)
    noise = ar1_(noise.flatten(0, 1), 0.5).view(noise.shape).mul_(AROUND)
    noise[:, 0] = 0.0
    return (plans + noise).clamp_(-1.0, 1.0)


def fitted(plans: Tensor, gap: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Plans around those that came nearest to an aim: one iteration of the cross-entropy method in every state.

    Args:
        plans: (states, n, length, A). gap: (states, n) what was left to the aim, infinite where a plan is no good.
        count: plans wanted of each state.

    Returns:
        (states, count, length, A).
    """
    elites = gap.topk(min(ELITES, gap.shape[1]), largest=False).indices  # (states, k)
    best = torch.gather(plans, 1, elites[..., None, None].expand(-1, -1, *plans.shape[2:]))
    noise = torch.randn((len(plans) * count, *plans.shape[2:]), generator=generator)
    noise = ar1_(noise, HELD).view(len(plans), count, *plans.shape[2:])
    spread = best.std(1, correction=0).clamp_min(LEAST)
    return (best.mean(1)[:, None] + spread[:, None] * noise).clamp_(-1.0, 1.0)


@dataclass
class Edges:
    """Edges: rows of parents (n,), plans (n, L, A), latents (n, L, D), last states (n, S'), codes (n, K) and steps to
    go (n,) of their ends, and which are finite and keep the constraints (n,)."""

    parents: np.ndarray
    plans: Tensor
    latents: Tensor
    states: Tensor
    codes: Tensor
    to_go: np.ndarray
    allowed: np.ndarray

    def only(self, rows: np.ndarray) -> Edges:
        """Some of them, in this order."""
        at = torch.from_numpy(rows).to(self.latents.device)
        return Edges(
            self.parents[rows], self.plans[at], self.latents[at], self.states[at], self.codes[at], self.to_go[rows],
            self.allowed[rows],
        )  # fmt: skip

    @staticmethod
    def join(parts: list[Edges]) -> Edges:
        """All of them."""
        return Edges(
            np.concatenate([p.parents for p in parts]), torch.cat([p.plans for p in parts]),
            torch.cat([p.latents for p in parts]), torch.cat([p.states for p in parts]),
            torch.cat([p.codes for p in parts]), np.concatenate([p.to_go for p in parts]),
            np.concatenate([p.allowed for p in parts]),
        )  # fmt: skip
