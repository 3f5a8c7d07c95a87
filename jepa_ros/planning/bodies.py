# SPDX-License-Identifier: Apache-2.0
"""What a planner has of the room of its robot's body: knowledge, surprise, memory, settings, goals.

The module ``knowledge`` of a room has the dataclass ``Settings``, ``watch(model) -> BodyWatch | None``,
``annexes(contract, clock) -> list[Annex]`` and
``knowledge(model, contract, settings, noise_samples, memory) -> list[Knowledge]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from time import time as wall_clock
from typing import Any

from jepa_ros import body_rooms
from jepa_ros.cost.goal import GoalError, Target
from jepa_ros.memory.knowledge import Knowledge
from jepa_ros.memory.long_term import LongTerm
from jepa_ros.memory.remembering import Remembering
from jepa_ros.planning.problem import SearchError
from jepa_ros.planning.surprise import BodyWatch, LatentWatch


def _room(contract: Any) -> Any:
    return body_rooms.part(contract.kinematics.kind, "knowledge")


def knowledge_for(contract: Any, model: Any, config: Any, memory: LongTerm | None) -> list[Knowledge]:
    """What a planner of this body knows beside the latent.

    Args:
        config: a PlannerConfig. memory: what is kept beyond a drive, None for nothing.
    """
    found: list[Knowledge] = []
    if room := _room(contract):
        found = room.knowledge(model, contract, config.body, config.search.noise_samples, memory)
    return [Remembering(memory)] if memory is not None and not found else found


def settings_for(contract: Any, given: Mapping[str, Any]) -> Any:
    """The settings that only such bodies have; None where they have none.

    Raises:
        SearchError: a name of ``given`` that they do not have. JepaRosError: a value out of range.
    """
    room = _room(contract)
    known = () if room is None else tuple(field.name for field in fields(room.Settings))
    if unknown := sorted(set(given) - set(known)):
        told = f"expected one of {', '.join(known)}" if known else "it has none"
        raise SearchError(f"'{contract.name}' ({contract.kinematics.kind}) has no setting {', '.join(unknown)}: {told}")
    return None if room is None else room.Settings(**given)


def watch_for(contract: Any, model: Any) -> BodyWatch:
    """What tells surprise of this body."""
    room = _room(contract)
    found: BodyWatch | None = None if room is None else room.watch(model)
    return found or LatentWatch()


def new_memory(contract: Any, latent_dim: int, clock: Callable[[], float] = wall_clock) -> LongTerm:
    """An empty long-term memory for this body and a model's latents (D,); ``clock`` tells s since the epoch."""
    room = _room(contract)
    return LongTerm(latent_dim, () if room is None else room.annexes(contract, clock), clock=clock)


def unsaid(contract: Any, goal: Target) -> Sequence[int]:
    """Actions of this body that a goal says nothing about: plans leave them still. Goals of most bodies say all."""
    goals = body_rooms.part(contract.kinematics.kind, "goals")
    return goals.unsaid(contract, goal) if hasattr(goals, "unsaid") else ()


def goals_of(contract: Any) -> Any:
    """How goals are given to this body as numbers: a module with ``KIND`` (the readout), ``frame(contract)``,
    ``from_place(position, yaw, name)``, ``from_values(values, name)`` and ``to_values(goal)``.

    Raises:
        GoalError: goals of such bodies are latents alone.
    """
    kind = contract.kinematics.kind
    goals = body_rooms.part(kind, "goals")
    if goals is None:
        raise GoalError(f"goals of '{contract.name}' ({kind}) are pictures or remembered places; no numbers are known")
    return goals
