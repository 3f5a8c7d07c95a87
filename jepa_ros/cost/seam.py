# SPDX-License-Identifier: Apache-2.0
"""What a search judges plans by: cost terms and constraints, whoever makes them. Nothing needs to be inherited.

A search takes a list of each, and knows nothing else of goals, bodies or scenes. Anybody can try their own with
:func:`jepa_ros.cost.check.check_term` and :func:`~jepa_ros.cost.check.check_constraint`.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch

from jepa_ros.cost.futures import Futures
from jepa_ros.cost.goal import Target
from jepa_ros.safety.schema import RiskLevel


class CostTerm(Protocol):
    """One part of the task cost."""

    @property
    def name(self) -> str:
        """What weights and status call it."""
        ...

    @property
    def unit(self) -> str:
        """Of its values: m, rad, steps, or 1 for a number without a unit."""
        ...

    @property
    def weight(self) -> float:
        """What one unit counts for where the user says nothing."""
        ...

    def fits(self, goal: Target | None) -> bool:
        """Whether it can say anything about such a goal; None stands for any goal that is a picture."""
        ...

    def __call__(self, futures: Futures, goal: Target) -> torch.Tensor:
        """The cost at every step, (C, S, T), at least 0."""
        ...


class Constraint(Protocol):
    """Something that a plan has to keep: at most 0 where it is kept."""

    @property
    def name(self) -> str:
        """What status and signals call it."""
        ...

    @property
    def unit(self) -> str:
        """Of its values."""
        ...

    @property
    def risk(self) -> RiskLevel | None:
        """How the futures of a candidate become one; None: as the search does it for its costs."""
        ...

    @property
    def whole(self) -> bool:
        """Whether the risk is that of the whole way (each future's worst step), or of each step by itself."""
        ...

    @property
    def slack(self) -> float | None:
        """None: it has to be kept. A number: where several futures leave no candidate that keeps it, those that
        exceed it least, and by up to so much more, count as keeping it; standing still would be no safer."""
        ...

    def draw(self, samples: int, generator: torch.Generator) -> None:
        """Draw what the coming futures differ in beside the model's noise; called once before they are predicted."""
        ...

    def __call__(self, futures: Futures, goal: Target) -> Any:
        """The excess at every step, an array or tensor (C, S, T)."""
        ...
