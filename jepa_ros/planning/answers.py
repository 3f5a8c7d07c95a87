# SPDX-License-Identifier: Apache-2.0
"""From what a step of the planner found to its output: command, status, signals, and what people look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from jepa_ros.contract import RobotContract
from jepa_ros.memory.knowledge import Knowledge
from jepa_ros.planning.arrival import Reading
from jepa_ros.planning.history import History
from jepa_ros.planning.objective import Objective
from jepa_ros.planning.output import PlannerOutput, status_of
from jepa_ros.planning.result import PlanResult
from jepa_ros.planning.search import Search
from jepa_ros.planning.surprise import InputMonitor


class Answers:
    """Makes outputs of one planner.

    Args:
        search: says by which code it rolls the model out.
        monitor: tells surprise and novelty; without it the history's surprise is told, in units of ``error_scale``, the
            model's usual error of prediction (None: as it is).
    """

    def __init__(
        self, model: Any, contract: RobotContract, search: Search, objective: Objective, knowledge: Sequence[Knowledge],
        history: History, monitor: InputMonitor | None, error_scale: float | None,
    ) -> None:  # fmt: skip
        self.model, self.contract, self.search, self.objective = model, contract, search, objective
        self.knowledge, self.history, self.monitor, self._error_scale = knowledge, history, monitor, error_scale
        self.reset()

    def reset(self) -> None:
        """Forget which sources found the plans so far."""
        self._won: Counter[str] = Counter()

    def make(
        self, reason: str, plan: np.ndarray | None, reading: Reading | None, result: PlanResult | None, guardrails: Any,
        goal_novelty: float | None,
    ) -> PlannerOutput:  # fmt: skip
        """The output of a step.

        Args:
            reason: see jepa_ros.planning.output.SENTENCES. plan: (T, A) physical; None stands still.
            reading: how far the goal is. result: of the search. guardrails: in force.
        """
        if plan is not None and result is not None:
            self._won[result.source] += 1
        status = {
            **status_of(reason, reading, result), "backend": self.search.backend,
            "guardrails_left_to_the_gate": list(self.objective.guard.unjudged),
        }  # fmt: skip
        output = PlannerOutput(
            command=self.contract.neutral() if plan is None else plan[0].copy(),
            status=status, signals=self._signals(result), plan_actions=plan,
            guardrail_hash=str(getattr(guardrails, "hash", "") or ""),
        )  # fmt: skip
        if goal_novelty is not None:
            status["goal_novelty"] = goal_novelty
        if result is not None:
            status["winners"] = self._winners()
            output.history = result.history
            self._draw(output, result)
        return output

    def _winners(self) -> dict[str, float]:
        """Share of the plans so far that each source of candidates found."""
        return {source: count / self._won.total() for source, count in self._won.most_common()}

    def _signals(self, result: PlanResult | None) -> dict[str, float]:
        signals = {} if result is None else {f"guardrail/{name}": value for name, value in result.excess.items()}
        if self.monitor is not None:
            return signals | self.monitor.signals()
        if self.history.surprise is not None:
            signals["surprise"] = self.history.surprise / (self._error_scale or 1.0)
        if self.history.z is not None and "novelty" in self.model.readouts:
            with torch.no_grad():
                signals["novelty"] = float(self.model.read("novelty", self.history.z))
        return signals

    def _draw(self, output: PlannerOutput, result: PlanResult) -> None:
        """Put what plan and candidates come to into the output, and their tracks, if any knowledge can draw them."""
        if result.latents is None:
            return
        output.futures = latents = torch.stack([result.latents, *(z for z, _, _ in result.candidates)])  # (1 + n, T, D)
        tracks = next((v["tracks"] for k in self.knowledge if "tracks" in (v := k.views(latents))), None)
        if tracks is None:
            return
        if result.actions is not None:
            output.track = tracks[0]
        output.candidates = [(tracks[i + 1], cost) for i, (_, cost, _) in enumerate(result.candidates)]
