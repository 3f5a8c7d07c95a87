# SPDX-License-Identifier: Apache-2.0
"""Tries a piece of knowledge: does it do what :mod:`jepa_ros.memory.knowledge` says? For anybody's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jepa_ros.errors import JepaRosError
from jepa_ros.memory.knowledge import Seen

if TYPE_CHECKING:
    from jepa_ros.cost.futures import Futures
    from jepa_ros.cost.goal import Target

METHODS = ("reset", "observe", "prepare", "terms", "constraints", "views")


class KnowledgeCheckError(JepaRosError):
    """Knowledge that a planner could not use; the message names the method and what it gave."""


def check_knowledge(knowledge: Any, seen: Seen, futures: Futures, goal: Target) -> None:
    """Try a drive of two images: observe, prepare, ask for terms and constraints and try those, look, forget.

    Raises:
        KnowledgeCheckError, CostCheckError: the first thing that is missing or wrong.
    """
    from jepa_ros.cost.check import check_constraint, check_term

    kind = type(knowledge).__name__
    for name in METHODS:
        if not callable(getattr(knowledge, name, None)):
            raise KnowledgeCheckError(f"{kind} has no method '{name}'; knowledge has {', '.join(METHODS)}")
    knowledge.reset()
    names = [term.name for term in knowledge.terms()]
    for _ in range(2):
        knowledge.observe(seen)
        knowledge.prepare(goal, None, seen.stamp)
        for term in knowledge.terms():
            if term.fits(goal):
                check_term(term, futures, goal)
        for constraint in knowledge.constraints():
            check_constraint(constraint, futures, goal)
    if [term.name for term in knowledge.terms()] != names:
        raise KnowledgeCheckError(f"{kind}.terms() changed on a drive; the same terms are expected always")
    if not isinstance(knowledge.views(), Mapping):
        raise KnowledgeCheckError(f"{kind}.views() gave {type(knowledge.views()).__name__}; expected a mapping")
    knowledge.reset()
