# SPDX-License-Identifier: Apache-2.0
"""Which room knows what of a kind of body. A room is opened only for bodies of its kinds."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from jepa_ros.cost.goal import GoalError, Target
from jepa_ros.memory.knowledge import Knowledge
from jepa_ros.memory.long_term import LongTerm, Remembering
from jepa_ros.planning.surprise import BodyWatch, LatentWatch

#: Kind of kinematics -> module with ``knowledge(model, contract, config, memory) -> list[Knowledge]``,
#: ``watch(model) -> BodyWatch | None`` and ``annexes(contract) -> list[Annex]``.
ROOMS = {"diff_drive": "jepa_ros.planar.knowledge", "holonomic": "jepa_ros.planar.knowledge"}
#: Kind of kinematics -> module of :func:`goals_of`.
GOALS = {"diff_drive": "jepa_ros.planar.goals", "holonomic": "jepa_ros.planar.goals", "arm": "jepa_ros.arm.goals"}
#: Kind of kinematics -> module with ``unsaid(contract, goal)``, see :func:`unsaid`; goals of others say all.
UNSAID = {"arm": "jepa_ros.arm.goals"}


def knowledge_for(contract: Any, model: Any, config: Any, memory: LongTerm | None) -> list[Knowledge]:
    """What a planner of this body knows beside the latent.

    Args:
        config: the search's settings. memory: what is kept beyond a drive, None for nothing.
    """
    found: list[Knowledge] = []
    if room := ROOMS.get(contract.kinematics.kind):
        found = import_module(room).knowledge(model, contract, config, memory)
    return [Remembering(memory)] if memory is not None and not found else found


def watch_for(contract: Any, model: Any) -> BodyWatch:
    """What tells surprise of this body."""
    room = ROOMS.get(contract.kinematics.kind)
    found: BodyWatch | None = None if room is None else import_module(room).watch(model)
    return found or LatentWatch()


def new_memory(contract: Any, latent_dim: int) -> LongTerm:
    """An empty long-term memory for this body and a model's latents (D,)."""
    room = ROOMS.get(contract.kinematics.kind)
    return LongTerm(latent_dim, () if room is None else import_module(room).annexes(contract))


def unsaid(contract: Any, goal: Target) -> Sequence[int]:
    """Actions of this body that a goal says nothing about: plans leave them still."""
    kind = contract.kinematics.kind
    return import_module(UNSAID[kind]).unsaid(contract, goal) if kind in UNSAID else ()


def goals_of(contract: Any) -> Any:
    """How goals are given to this body as numbers: a module with ``KIND`` (the readout), ``frame(contract)``,
    ``from_place(position, yaw, name)``, ``from_values(values, name)`` and ``to_values(goal)``.

    Raises:
        GoalError: goals of such bodies are latents alone.
    """
    kind = contract.kinematics.kind
    if kind not in GOALS:
        raise GoalError(f"goals of '{contract.name}' ({kind}) are pictures or remembered places; no numbers are known")
    return import_module(GOALS[kind])
