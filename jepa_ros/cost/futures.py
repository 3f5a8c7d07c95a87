# SPDX-License-Identifier: Apache-2.0
"""The predicted futures of a search's candidates, and what is read from them: each readout once, however many ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from jepa_ros.cost.goal import Target

T = TypeVar("T")


def latent_rms(z: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """RMS difference between latents (..., D) and a goal (D,): about 1 for two states that have nothing in common."""
    return torch.linalg.vector_norm(z - goal, dim=-1) * z.shape[-1] ** -0.5


class Futures:
    """C candidates, S noise samples, T steps; good until the next rollout, which reuses the memory.

    Args:
        model: has ``readouts`` and ``read``, and where it is fast ``latent_rms(latents, goal)``.
        latents: (C, S, T, D). actions: (C, T, A) executed, normalised.
        start: (D,) where they all begin.
    """

    def __init__(self, model: Any, latents: torch.Tensor, actions: torch.Tensor, start: torch.Tensor) -> None:
        self.model, self.latents, self.actions, self.start = model, latents, actions, start
        self._found: dict[Any, Any] = {}

    def __len__(self) -> int:
        return len(self.latents)

    @property
    def shape(self) -> torch.Size:
        """(C, S, T)."""
        return self.latents.shape[:3]

    def derived(self, key: str, make: Callable[[], T]) -> T:
        """What ``make`` gives, worked out once for these futures under ``key``."""
        if key not in self._found:
            self._found[key] = make()
        return self._found[key]

    def read(self, name: str) -> torch.Tensor:
        """A readout of the latents: (C, S, T, dims), or (C, S, T) of one dimension."""
        return self.derived(f"read {name}", lambda: self.model.read(name, self.latents))

    def read_start(self, name: str) -> torch.Tensor:
        """A readout where they begin, (dims,) or ()."""
        # A copy: an engine may answer in memory that it keeps for each number of latents.
        return self.derived(f"start {name}", lambda: self.model.read(name, self.start[None])[0].clone())

    def read_pair(self, name: str, goal: Target) -> torch.Tensor:
        """A readout of the latents and the goal's, (C, S, T)."""
        return self.model.read(name, self.latents, goal.latent)

    def latent_rms(self, goal: Target) -> torch.Tensor:
        """RMS difference (C, S, T) to the goal's latent."""
        assert goal.latent is not None  # asked for such goals alone
        return getattr(self.model, "latent_rms", latent_rms)(self.latents, goal.latent)
