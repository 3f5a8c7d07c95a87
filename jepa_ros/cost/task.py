# SPDX-License-Identifier: Apache-2.0
"""The task cost of predicted futures: a weighted sum of terms, each a weighted mean over the steps of a future."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from jepa_ros.cost.futures import Futures
from jepa_ros.cost.goal import Target
from jepa_ros.cost.seam import CostTerm
from jepa_ros.errors import JepaRosError

#: How many further steps the last one counts for, where the user says nothing.
FINAL = 1.0


@dataclass(frozen=True, init=False)
class TaskWeights:
    """What each cost term counts for, by name; a term that is not named counts for what it says itself.

    Args:
        final: how many further steps the last one counts for, beside one.
        terms: {name: weight of one unit of the term}; they may be given by keyword too.

    Raises:
        JepaRosError: a weight is no finite number of at least 0.
    """

    final: float
    terms: dict[str, float]

    def __init__(self, final: float = FINAL, terms: Mapping[str, float] | None = None, **named: float) -> None:
        object.__setattr__(self, "final", final)
        object.__setattr__(self, "terms", {**(terms or {}), **named})
        for name, value in {"final": final, **self.terms}.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and value >= 0.0):
                raise JepaRosError(f"task weight {name} is {value!r}; expected a finite number >= 0")

    def __hash__(self) -> int:
        return hash((self.final, *sorted(self.terms.items())))


class TaskCost:
    """Terms and weights.

    Args:
        terms: of the model and of all that is known beside it; names differ. weights: see TaskWeights.

    Raises:
        JepaRosError: a weight is given to a term that there is not.
    """

    def __init__(self, terms: Sequence[CostTerm], weights: TaskWeights | None = None) -> None:
        self.terms, self.weights = tuple(terms), weights or TaskWeights()
        self._weighted = [(t, w) for t in self.terms if (w := self.weights.terms.get(t.name, t.weight)) > 0.0]

    def check(self, goal: Target | None = None) -> None:
        """Refuse weights that leave nothing to search for: towards any goal picture, and towards this goal.

        Raises:
            JepaRosError: every term that such a goal can have is of weight 0, or there is none.
        """
        for which in (None, goal) if goal is not None else (None,):
            if not any(term.fits(which) for term, _ in self._weighted):
                names = ", ".join(t.name for t in self.terms if t.fits(which)) or "none"
                what = "a goal picture" if which is None else f"the goal {which.goal.kind} {which.goal.value}"
                raise JepaRosError(
                    f"task cost has no term for {what}: all of its terms ({names}) have weight 0; give one more"
                )

    def check_names(self) -> None:
        """Refuse a weight of a term that there is not.

        Raises:
            JepaRosError: it names the term and the ones that there are.
        """
        known = {t.name for t in self.terms}
        if unknown := [name for name in self.weights.terms if name not in known]:
            raise JepaRosError(f"no cost term is called '{unknown[0]}'; known: {', '.join(('final', *sorted(known)))}")

    def over_horizon(self, values: torch.Tensor) -> torch.Tensor:
        """Weighted mean over the steps, the last one counted 1 + final times: (..., T) -> (...)."""
        horizon, final = values.shape[-1], self.weights.final
        return (values.sum(-1) + final * values[..., -1]) / (horizon + final)

    def __call__(self, futures: Futures, goal: Target) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Cost (C, S) of futures, and its terms {name: (C, S)}, which sum to it."""
        terms: dict[str, Any] = {}
        for term, weight in self._weighted:
            if term.fits(goal):
                terms[term.name] = self.over_horizon(term(futures, goal) * weight)
        return sum(terms.values()), terms  # type: ignore[return-value]
