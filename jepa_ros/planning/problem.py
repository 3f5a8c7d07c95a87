# SPDX-License-Identifier: Apache-2.0
"""What a search is given and what it may spend: the seam between the planner and any search.

A search knows a model, cost terms, constraints, where it stands and where it shall come to, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from jepa_ros.cost.goal import Target
from jepa_ros.cost.seam import Constraint, CostTerm
from jepa_ros.cost.task import TaskWeights
from jepa_ros.errors import JepaRosError
from jepa_ros.planning.result import PlanResult


class SearchError(JepaRosError):
    """A search that cannot be set up; the message names the setting, what was found and what was expected."""


@dataclass(frozen=True)
class Problem:
    """A plan that is wanted.

    Args:
        latent: (D,) of the newest image, or an array of so many. state: (S',) recurrent state.
        goal: where to. terms: cost terms. constraints: what has to be kept. weights: of the terms.
        sent: (n, A) normalised commands already sent, oldest first, n = `Delay.known`; None stood still.
        warm: (T, A) normalised plan to start from; the answer is never worse than it.
        held: actions that the goal says nothing about; every plan leaves them at what stands still.
    """

    latent: Any
    state: Any
    goal: Target
    terms: Sequence[CostTerm]
    constraints: Sequence[Constraint] = ()
    weights: TaskWeights = field(default_factory=TaskWeights)
    sent: Any = None
    warm: Any = None
    held: Sequence[int] = ()


@dataclass(frozen=True)
class Budget:
    """What a search may spend; it ends with the first that is used up.

    Args:
        seconds: by the clock. iterations: at most. calls: steps that the model predicts, one for each candidate and
            future, at most; an iteration is not begun that would exceed them.
        exactly: run just so many iterations, whatever the clock and convergence say: repeats a recorded plan. 0 repeats
            one that had no time for any.

    Raises:
        SearchError: nothing could be done with it.
    """

    seconds: float = math.inf
    iterations: int = 1
    calls: float = math.inf
    exactly: bool = False

    def __post_init__(self) -> None:
        least = 0 if self.exactly else 1
        if self.iterations < least:
            raise SearchError(f"iterations is {self.iterations}; expected at least {least}")


class AnySearch(Protocol):
    """A search over a world model, made for one model and its sizes.

    It is ``search(model, terms, constraints, latent, state, goal, budget, seed)`` in two steps: an engine is made for
    the model once, and asked for many plans.
    """

    def plan(self, problem: Problem, budget: Budget, seed: int) -> PlanResult:
        """Search; equal problems, seeds and iterations give equal plans, and ``PlanResult.calls`` counts the model's.

        Raises:
            SearchError: a size that does not fit. GoalError: a goal that the model cannot read.
        """
        ...


@torch.no_grad()
def check_problem(
    problem: Problem, latent_dim: int, state_dim: int, horizon: int, known: int, neutral: torch.Tensor,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:  # fmt: skip
    """The problem's latent, state, sent commands and warm start as tensors.

    Args:
        known: commands that have to be known. neutral: (A,) the command that stands still.

    Raises:
        SearchError: a value is not finite or of another size.
    """

    def check(name: str, value: Any, shape: tuple[int, ...], where: torch.device | str = "cpu") -> torch.Tensor:
        value = torch.as_tensor(value, dtype=torch.float32, device=where)
        if tuple(value.shape) != shape:
            raise SearchError(f"{name} has shape {tuple(value.shape)}; expected {shape}")
        if not torch.isfinite(value).all():
            raise SearchError(f"{name}: a value is not finite")
        return value

    actions = neutral.shape[0]
    z = check("latent", problem.latent, (latent_dim,), device)
    h = check("recurrent state", problem.state, (state_dim,), device)
    sent = check("sent commands", neutral.expand(known, -1) if problem.sent is None else problem.sent, (known, actions))
    warm = problem.warm
    if warm is not None:
        warm = check("warm start", warm, (horizon, actions)).clamp(-1.0, 1.0)
    return z, h, sent, warm
