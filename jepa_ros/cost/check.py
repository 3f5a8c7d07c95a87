# SPDX-License-Identifier: Apache-2.0
"""Tries a cost term or a constraint: does it do what :mod:`jepa_ros.cost.seam` says? For anybody's own."""

from __future__ import annotations

from typing import Any

import torch

from jepa_ros.cost.futures import Futures
from jepa_ros.cost.goal import Target
from jepa_ros.errors import JepaRosError
from jepa_ros.safety.schema import RiskLevel


class CostCheckError(JepaRosError):
    """A cost term or constraint that a search could not use; the message names it and what it did."""


def check_term(term: Any, futures: Futures, goal: Target) -> None:
    """Try a cost term on futures towards a goal that it fits.

    Raises:
        CostCheckError: the first thing that is missing or wrong.
    """
    name = _named(term, "cost term", ("weight", "fits"))
    if not (isinstance(term.weight, (int, float)) and term.weight >= 0.0):
        raise CostCheckError(f"cost term '{name}': weight is {term.weight!r}; expected a number of at least 0")
    if not term.fits(goal):
        raise CostCheckError(f"cost term '{name}' does not fit the goal {goal.goal.kind}: try it with one that it fits")
    values = _values(f"cost term '{name}'", term(futures, goal), futures)
    if not bool((values >= 0.0).all()):
        raise CostCheckError(f"cost term '{name}': its least value is {float(values.min()):.3g}; expected at least 0")


def check_constraint(constraint: Any, futures: Futures, goal: Target) -> None:
    """Try a constraint on futures.

    Raises:
        CostCheckError: the first thing that is missing or wrong.
    """
    name = _named(constraint, "constraint", ("risk", "whole", "slack", "draw"))
    if constraint.risk is not None and not isinstance(constraint.risk, RiskLevel):
        raise CostCheckError(f"constraint '{name}': risk is {constraint.risk!r}; expected a RiskLevel or None")
    constraint.draw(futures.shape[1], torch.Generator().manual_seed(0))
    _values(f"constraint '{name}'", constraint(futures, goal), futures)


def _named(part: Any, kind: str, others: tuple[str, ...]) -> str:
    for attribute in ("name", "unit", *others):
        if not hasattr(part, attribute):
            raise CostCheckError(f"{kind} {type(part).__name__} has no '{attribute}'")
    for attribute in ("name", "unit"):
        value = getattr(part, attribute)
        if not isinstance(value, str) or not value:
            raise CostCheckError(f"{kind} {type(part).__name__}: {attribute} is {value!r}; expected a text")
    if not callable(part):
        raise CostCheckError(f"{kind} '{part.name}' cannot be called with futures and a goal")
    return str(part.name)


def _values(what: str, values: Any, futures: Futures) -> torch.Tensor:
    """The values as a tensor, where they are of the futures' shape and no NaN."""
    found = torch.as_tensor(values)
    shape = tuple(futures.shape)
    if tuple(found.shape) != shape:
        raise CostCheckError(f"{what} gave shape {tuple(found.shape)}; expected (C, S, T) = {shape}")
    if bool(found.isnan().any()):
        raise CostCheckError(f"{what} gave a value that is not a number for finite futures")
    return found
