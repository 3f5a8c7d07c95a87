# SPDX-License-Identifier: Apache-2.0
"""Phase one of training: encoder, predictor and inverse dynamics, self-supervised from pictures and actions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jepa_ros.learning.data.sampler import Batch
from jepa_ros.learning.representation.losses import InverseDynamics, anti_collapse, open_loop
from jepa_ros.learning.settings import TrainError, TrainSettings
from jepa_ros.world_model import WorldModel


def cosine(step: int, total: int, warmup: int = 100) -> float:
    """Learning-rate factor: linear warm-up, then a cosine down to 2 %."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


class RepresentationTrainer:
    """Holds the modules, the optimiser and one training step.

    Args:
        model: trained in place.
        settings: weights and schedule.
        bf16: run encoder and predictor under bfloat16 autocast.
    """

    def __init__(self, model: WorldModel, settings: TrainSettings, bf16: bool) -> None:
        self.model, self.settings, self.bf16 = model, settings, bf16
        self.inverse = InverseDynamics(model.config.latent_dim, model.config.action_dim).to(model.device)
        self.trained = nn.ModuleList([model.encoder, model.predictor, self.inverse])
        self.optimizer = torch.optim.AdamW(
            self.trained.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a saved state holds."""
        return {"model": self.model, "inverse": self.inverse}

    def losses(self, inputs: Batch, actions: Tensor) -> dict[str, Tensor]:
        """The loss terms of one batch; see :class:`~jepa_ros.learning.data.sampler.WindowSampler` for the shapes."""
        s = self.settings
        lead = actions.shape[:3]
        with torch.autocast(actions.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            z = self.model.latent({name: v.flatten(0, 2) for name, v in inputs.items()}).view(*lead, -1)
            prediction = open_loop(self.model, z, actions)
            inverse = self.inverse(z, actions)
        z = z.float()
        terms = {
            "prediction": prediction,
            "anti_collapse": anti_collapse(z, s.covariance, s.within, s.everywhere),
            "inverse_dynamics": inverse.mean(),
        }
        terms["total"] = terms["prediction"] + terms["anti_collapse"] + s.inverse_dynamics * terms["inverse_dynamics"]
        with torch.no_grad():
            flat = z.flatten(0, 1)
            terms["copy"] = (flat[:, 2:] - flat[:, 1:2]).square().mean()
        return terms

    def step(self, number: int, inputs: Batch, actions: Tensor) -> dict[str, float]:
        """One optimiser step on one batch.

        Raises:
            TrainError: the loss is not finite.
        """
        device = self.model.device
        self.trained.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * cosine(number, self.settings.steps)
        there = {name: values.to(device, non_blocking=True) for name, values in inputs.items()}
        terms = self.losses(there, actions.to(device, non_blocking=True))
        if not math.isfinite(terms["total"].item()):
            raise TrainError(
                f"step {number}: the loss is not finite ({', '.join(f'{k} {v.item():g}' for k, v in terms.items())}): "
                "lower --learning-rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        nn.utils.clip_grad_norm_(self.trained.parameters(), self.settings.clip)
        self.optimizer.step()
        return {name: value.item() for name, value in terms.items()}


def run(
    trainer: RepresentationTrainer,
    batches: Any,
    each: Callable[[int, dict[str, float]], None],
) -> None:
    """Train over ``batches`` (number, inputs, actions); ``each`` is told of every step."""
    for number, inputs, actions in batches:
        # Dropout-free models need no generator of their own; the batch number alone decides what is drawn.
        each(number, trainer.step(number, inputs, actions))


def seed_everything(seed: int) -> None:
    """Make a run repeatable on one machine (same thread count)."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
