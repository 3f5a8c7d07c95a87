# SPDX-License-Identifier: Apache-2.0
"""A long-term memory as a piece of knowledge, for bodies of which no room knows more."""

from __future__ import annotations

from typing import Any

from jepa_ros.memory.knowledge import Seen
from jepa_ros.memory.long_term import LongTerm


class Remembering:
    """A long-term memory of a body whose place nobody knows: see :class:`jepa_ros.memory.knowledge.Knowledge`."""

    def __init__(self, memory: LongTerm) -> None:
        self.memory = memory

    def reset(self) -> None:
        """What is remembered outlives a drive."""

    def observe(self, seen: Seen) -> None:
        """Take an image."""
        self.memory.observe(seen.embedding[: self.memory.latent_dim])

    def prepare(self, goal: Any, distance: float | None = None, stamp: float = 0.0) -> None:
        """Nothing to do for a goal."""

    def terms(self) -> list[Any]:
        """No costs."""
        return []

    def constraints(self) -> list[Any]:
        """Nothing to keep."""
        return []

    def views(self, latents: Any = None) -> dict[str, Any]:
        """Nothing to look at."""
        return {}
