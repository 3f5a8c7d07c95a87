# SPDX-License-Identifier: Apache-2.0
"""Guardrails as constraints over predicted futures.

Schema and geometry stand in jepa_ros.safety.guardrails, for the gate and for the planner alike; here they meet the
model's readouts. What of a body they can be judged on (its place, its joints) the body's room adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from jepa_ros.cost.futures import Futures
from jepa_ros.cost.goal import Target
from jepa_ros.cost.risk import check_level
from jepa_ros.cost.seam import Constraint
from jepa_ros.safety.guardrails import FROM_PLANNER, GuardrailError
from jepa_ros.safety.schema import RiskLevel

#: What of predicted futures guardrails are judged on: {name: array (C, S, T, ...)}, as Guardrail.cost names them.
States = Mapping[str, Any]


class GuardrailConstraint:
    """One guardrail as a constraint; see :class:`jepa_ros.cost.seam.Constraint`.

    Args:
        guardrail: has ``name``, ``risk`` and ``excess(states)``. read: gives the states of futures.
    """

    whole, slack = False, None

    def __init__(self, guardrail: Any, read: Callable[[Futures], Any]) -> None:
        self.guardrail, self._read = guardrail, read
        self.name: str = guardrail.name
        self.unit: str = getattr(guardrail, "unit", "1")
        self.risk: RiskLevel = guardrail.risk

    def draw(self, samples: int, generator: torch.Generator) -> None:
        """Nothing differs between the futures beside the model's noise."""

    def __call__(self, futures: Futures, goal: Target) -> np.ndarray:
        """(C, S, T), at most 0 where it is kept."""
        return np.broadcast_to(self.guardrail.excess(self._read(futures)), futures.shape)


class GuardrailReader:
    """What the model and the contract tell of futures: contact, novelty and the actions in physical units.

    Args:
        model: has ``readouts``. contract: the robot contract (period, action units).
        guardrails: what is to be judged: readouts that none of them needs are not computed.
        beside: what a body's room adds to, or puts in the place of, what stands here; given the futures.
    """

    def __init__(
        self, model: Any, contract: Any, guardrails: Iterable[Any],
        beside: Callable[[Futures], dict[str, Any]] = lambda futures: {},
    ) -> None:  # fmt: skip
        self.contract, self.beside = contract, beside
        kinds = {getattr(g, "kind", None) for g in guardrails}
        self.names = [n for n in ("contact", "novelty") if n in model.readouts and (n != "novelty" or n in kinds)]

    def __call__(self, futures: Futures) -> Any:
        """The states as an object with these attributes; worked out once for the same futures."""
        return futures.derived("guardrail states", lambda: self._states(futures))

    def _states(self, futures: Futures) -> Any:
        found: dict[str, Any] = {"period": self.contract.period}
        found["actions"] = self.contract.denormalise(futures.actions.double().cpu().numpy())[:, None]
        found |= self.beside(futures)
        for name in self.names:
            if name not in found:
                found[name] = futures.read(name).float().cpu().numpy()
        return SimpleNamespace(**found)


class GuardrailJudge:
    """The constraints of a set of guardrails.

    A guardrail that needs what no model predicts (a person's place, the scan) is left to the gate, which measures it;
    one that only the planner could judge is refused.

    Args:
        guardrails: a GuardrailSet bound to the robot, or any guardrails.
        model: the world model's readouts. contract: the robot contract. samples: futures that a plan is judged on.
        beside: see GuardrailReader. constrain: makes a guardrail a constraint, where a body's room does it otherwise.

    Attributes:
        guardrails: those that are judged here. constraints: they as such.
        unjudged: the names of those that are left to the gate.

    Raises:
        RiskError: a risk level that the samples cannot resolve.
        GuardrailError: a guardrail that nobody could judge: the model lacks the readout.
    """

    def __init__(
        self, guardrails: Iterable[Any], model: Any, contract: Any, samples: int,
        beside: Callable[[Futures], dict[str, Any]] = lambda futures: {},
        constrain: Callable[[Any, Callable[[Futures], Any]], Constraint] = GuardrailConstraint,
    ) -> None:  # fmt: skip
        guardrails = list(guardrails)
        self.read = GuardrailReader(model, contract, guardrails, beside)
        nowhere = self.read(still(model, contract, samples))
        judged, unjudged = [], []
        for guardrail in guardrails:
            check_level(guardrail.risk, samples, f"guardrail '{guardrail.name}'")
            try:
                guardrail.excess(nowhere)
                judged.append(guardrail)
            except GuardrailError:
                if getattr(guardrail, "kind", None) in FROM_PLANNER:
                    raise
                unjudged.append(guardrail.name)
        self.guardrails, self.unjudged = tuple(judged), tuple(unjudged)
        self.constraints: tuple[Constraint, ...] = tuple(constrain(g, self.read) for g in judged)


def still(model: Any, contract: Any, samples: int) -> Futures:
    """One candidate of one step that goes nowhere: to try what can be judged."""
    from jepa_ros.world_model.seam import device_of

    start = torch.zeros(model.config.latent_dim, device=device_of(model))
    return Futures(model, start.expand(1, samples, 1, -1), torch.zeros(1, 1, contract.action_dim), start)
