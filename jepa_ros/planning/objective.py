# SPDX-License-Identifier: Apache-2.0
"""What plans are judged by: the model's own cost terms, what is known beside it, and the guardrails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jepa_ros.cost.goal import Target
from jepa_ros.cost.guardrail_constraints import GuardrailJudge
from jepa_ros.cost.seam import Constraint, CostTerm
from jepa_ros.cost.task import TaskCost, TaskWeights
from jepa_ros.cost.terms import model_terms
from jepa_ros.memory.knowledge import Knowledge


class Objective:
    """Gathers terms and constraints for a search.

    Args:
        readouts: the model, with readouts as fast as the search has them. contract: the robot contract.
        samples: futures that a plan is judged on. knowledge: what is known beside the latent.
        guardrails: a GuardrailSet bound to the robot, or any guardrails. weights: of the terms.

    Raises:
        RiskError, GuardrailError: see :meth:`set_guardrails`. JepaRosError: see :meth:`check_weights`.
    """

    def __init__(
        self, readouts: Any, contract: Any, samples: int, knowledge: Sequence[Knowledge], guardrails: Any,
        weights: TaskWeights,
    ) -> None:  # fmt: skip
        self.readouts, self.contract, self.samples, self.knowledge = readouts, contract, samples, knowledge
        known = {term.name: term for part in knowledge for term in part.terms()}
        own = model_terms(readouts.readouts)
        #: One of each name: what is known goes before what the model says by itself.
        self.terms: list[CostTerm] = [known.pop(term.name, term) for term in own]
        self.terms += known.values()
        self.set_weights(weights)
        self.set_guardrails(guardrails)

    def set_guardrails(self, guardrails: Any) -> None:
        """Replace the guardrails from the next plan on; where they are refused the old ones stay.

        Raises:
            RiskError: a risk level that the number of futures cannot resolve.
            GuardrailError: a guardrail that nobody could judge with this model.
        """
        for part in self.knowledge:
            if hasattr(part, "judge"):  # it knows the body's place
                self.guard: GuardrailJudge = part.judge(guardrails, self.readouts, self.samples)
                return
        self.guard = GuardrailJudge(guardrails, self.readouts, self.contract, self.samples)

    def set_weights(self, weights: TaskWeights) -> None:
        """Replace the weights of the task cost; see check_weights for errors."""
        self.check_weights(weights)
        self.weights = weights

    def check_weights(self, weights: TaskWeights, goal: Target | None = None) -> None:
        """Raise JepaRosError where no search towards a goal picture, or towards ``goal``, could go by these weights."""
        cost = TaskCost(self.terms, weights)
        cost.check_names()
        cost.check(goal)

    def constraints(self) -> list[Constraint]:
        """What has to be kept now: guardrails first, then what is known."""
        return [*self.guard.constraints, *(c for part in self.knowledge for c in part.constraints())]
