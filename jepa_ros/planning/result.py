# SPDX-License-Identifier: Apache-2.0
"""What a search answers: the plan, or why there is none, and what went into it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch


@dataclass
class PlanResult:
    """What a search found.

    Args:
        actions: (T, A) planned commands, normalised, float32; None where there is no plan to send.
        reason: "ok", "infeasible", "non_finite" (every candidate's cost) or "deadline" (too short for one iteration).
        cost: the plan's; terms: {name: value}, they sum to the cost's mean over the noise samples.
        feasible: every constraint kept; blocked_by: the one in the way; excess: {constraint: value} of the plan.
        iterations, evaluated, dropped: how many iterations ran, candidates were scored, and had no finite cost.
        calls: steps that the model predicted, one for each candidate and future.
        converged: stopped early by the rule of the settings. elapsed: seconds.
        solved: share of the futures in which the plan reaches the goal. nearest: how near it comes to it, in unit.
        rate: steps that the best candidate comes nearer to the goal in each of its steps. to_go: steps to the goal from
            where plans begin. Both are NaN without a cost-to-go.
        source: where the plan came from; shares: {source: share of the last elites}.
        history: [(seconds, best cost)] after each iteration; elite_costs: [mean cost of the elites].
        seed: with `iterations` it repeats the plan.
        latents: (T, D) of the plan's first future; candidates: [(latents (T, D), cost, feasible)], best first.
        warm_cost: what the warm start cost, None without one.
    """

    actions: np.ndarray | None
    reason: str
    seed: int
    cost: float = math.inf
    terms: dict[str, float] = field(default_factory=dict)
    feasible: bool = False
    blocked_by: str | None = None
    excess: dict[str, float] = field(default_factory=dict)
    iterations: int = 0
    evaluated: int = 0
    dropped: int = 0
    calls: int = 0
    converged: bool = False
    elapsed: float = 0.0
    source: str = ""
    shares: dict[str, float] = field(default_factory=dict)
    history: list[tuple[float, float]] = field(default_factory=list)
    elite_costs: list[float] = field(default_factory=list)
    latents: torch.Tensor | None = None
    candidates: list[tuple[torch.Tensor, float, bool]] = field(default_factory=list)
    warm_cost: float | None = None
    solved: float = 0.0
    nearest: float = math.nan
    unit: str = ""
    rate: float = math.nan
    to_go: float = math.nan
