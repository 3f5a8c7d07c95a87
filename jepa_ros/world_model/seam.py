# SPDX-License-Identifier: Apache-2.0
"""What every world model can do, whoever made it: the seam between a model and all that searches or judges by it.

A model satisfies this without inheriting anything; `jepa-ros check model` tries it (:mod:`jepa_ros.world_model.check`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from jepa_ros.world_model.readouts import Readout

#: What a model sees: {camera: pictures (B, H, W, 3) uint8, preprocessed; name of a state: values (B, n) float32}.
Inputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class Embedding:
    """What a model makes of its inputs.

    Attributes:
        latent: (B, D), what predictions start from.
        context: {name: (B, ...)}, what the inputs tell beside it and no prediction changes; empty for most models.
    """

    latent: Tensor
    context: dict[str, Tensor] = field(default_factory=dict)


class Sizes(Protocol):
    """The sizes that a search asks for: D, A, N and S'."""

    @property
    def latent_dim(self) -> int: ...
    @property
    def action_dim(self) -> int: ...
    @property
    def noise_dim(self) -> int: ...
    @property
    def state_dim(self) -> int: ...


class AnyWorldModel(Protocol):
    """A world model as the search, costs and planner take it."""

    @property
    def config(self) -> Any:
        """Has :class:`Sizes`."""
        ...

    @property
    def readouts(self) -> Mapping[str, Readout]:
        """The declared readouts that may be used, by name."""
        ...

    def encode(self, inputs: Inputs) -> Embedding:
        """What the model makes of its inputs."""
        ...

    def initial_state(self, batch: int) -> Tensor:
        """(B, S'), the recurrent state of a model that has seen nothing yet."""
        ...

    def rollout(
        self, latent: Tensor, state: Tensor, actions: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Predict open loop.

        Args:
            latent: (B, D). state: (B, S'). actions: (B, T, A) in [-1, 1]. noise: (B, T, N), None for zeros.

        Returns:
            Latents after each action (B, T, D), and the last recurrent state (B, S').
        """
        ...

    def read(self, name: str, latent: Tensor, goal: Tensor | None = None) -> Tensor:
        """A readout of latents (..., D): (..., dims), or (...) where it has one dimension.

        ``goal`` (..., D) is given to a readout of a pair, broadcast against ``latent``.
        """
        ...


def device_of(model: Any) -> torch.device:
    """Where a model computes; the CPU where it has no parameters."""
    parameter = next(iter(model.parameters()), None) if hasattr(model, "parameters") else None
    return torch.device("cpu") if parameter is None else parameter.device
