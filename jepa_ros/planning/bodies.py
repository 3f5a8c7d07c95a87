# SPDX-License-Identifier: Apache-2.0
"""Which room knows what of a kind of body. A room is opened only for bodies of its kinds."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from jepa_ros.memory.knowledge import Knowledge
from jepa_ros.memory.long_term import LongTerm, Remembering
from jepa_ros.planning.surprise import BodyWatch, LatentWatch

#: Kind of kinematics -> module with ``knowledge(model, contract, config, memory) -> list[Knowledge]``,
#: ``watch(model) -> BodyWatch | None`` and ``annexes(contract) -> list[Annex]``.
ROOMS = {"diff_drive": "jepa_ros.planar.knowledge", "holonomic": "jepa_ros.planar.knowledge"}


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
