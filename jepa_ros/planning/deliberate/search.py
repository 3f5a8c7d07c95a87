# SPDX-License-Identifier: Apache-2.0
"""Best-first search over latents in the world model, made for one model and asked for many deliberations."""

from __future__ import annotations

import time
from typing import Any

from torch import Tensor

from jepa_ros.cost.to_go import CostToGo
from jepa_ros.planning.arrival import ArrivalConfig
from jepa_ros.planning.deliberate.deliberation import Deliberation
from jepa_ros.planning.deliberate.failures import Failed
from jepa_ros.planning.deliberate.settings import DeliberateConfig
from jepa_ros.planning.problem import Budget, Problem, SearchError
from jepa_ros.planning.result import PlanResult
from jepa_ros.safety.schema import RiskLevel
from jepa_ros.world_model.seam import device_of


class DeliberateSearch:
    """Makes deliberations for one model; see :class:`jepa_ros.planning.problem.AnySearch` for :meth:`plan`.

    Args:
        model: the world model. to_go: its cost-to-go. config: settings. arrival: says what counts as there.
        neutral: (A,) the command that stands still. risk: of constraints that have none of their own.
        readouts: what constraints read from; the model by default.
    """

    def __init__(
        self, model: Any, to_go: CostToGo, config: DeliberateConfig, arrival: ArrivalConfig, neutral: Tensor,
        risk: RiskLevel, readouts: Any = None,
    ) -> None:  # fmt: skip
        self.model, self.to_go, self.config, self.arrival = model, to_go, config, arrival
        self.neutral, self.risk = neutral, risk
        self.readouts = model if readouts is None else readouts
        self.device = device_of(model)

    def begin(
        self, problem: Problem, seed: int, remembered: Tensor | None = None, failed: Failed | None = None
    ) -> Deliberation:  # fmt: skip
        """A deliberation that has not expanded anything yet.

        Args:
            problem: its ``latent`` and ``state`` are where plans begin; ``sent`` and ``warm`` are not used.
            remembered: (n, D) states to aim at on the way, from memory. failed: edges that did not come true.

        Raises:
            GoalError: the goal has no latent. SearchError: a size that does not fit, or a value that is not finite.
        """
        return Deliberation(self, problem, seed, remembered, failed)

    def plan(self, problem: Problem, budget: Budget, seed: int) -> PlanResult:
        """Deliberate until the problem is solved or the budget is used up; the plan is as long as the way.

        ``budget.iterations`` counts expansions.

        Raises:
            SearchError: the budget is below one expansion, and as :meth:`begin`.
        """
        if budget.calls < self.config.expansion:
            raise SearchError(
                f"a budget of {budget.calls:g} calls is below one expansion of {self.config.expansion} calls"
            )
        began = time.perf_counter()
        found = self.begin(problem, seed)
        while not found.solved and found.counts.expansions < budget.iterations and found.fits(budget.calls):
            if not budget.exactly and time.perf_counter() - began > budget.seconds:
                break
            found.expand()
        way = found.way()
        return PlanResult(
            way.actions.cpu().numpy() if len(way) > 1 else None, "ok" if len(way) > 1 else "infeasible", seed,
            cost=way.cost[-1] + way.to_go[-1], feasible=len(way) > 1, iterations=found.counts.expansions,
            calls=found.counts.calls, dropped=found.counts.non_finite, converged=way.solved,
            elapsed=time.perf_counter() - began, source="deliberate", latents=way.latents,
        )  # fmt: skip
