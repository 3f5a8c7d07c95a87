# SPDX-License-Identifier: Apache-2.0
"""Phase one of training: encoder, predictor and inverse dynamics, self-supervised from pictures and actions."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jepa_ros.learning.data.sampler import Batch
from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.parallel.layers import whole_batches
from jepa_ros.learning.parallel.watch import at
from jepa_ros.learning.representation.looks import Looks
from jepa_ros.learning.representation.losses import InverseDynamics, anti_collapse, elsewhere, open_loop, same_scene
from jepa_ros.learning.representation.pairs import batch_losses, taught
from jepa_ros.learning.settings import TrainError, TrainSettings
from jepa_ros.world_model import WorldModel
from jepa_ros.world_model.backbone import TUNING, BackboneEncoder


def cosine(step: int, total: int, warmup: int = 100) -> float:
    """Learning-rate factor: linear warm-up, then a cosine down to 2 %."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


class RepresentationTrainer:
    """Holds the modules, the optimiser and one training step.

    Several processes (:mod:`jepa_ros.learning.parallel`) each take a share of every batch, and
    ``settings.accumulate`` parts one after the other. The loss is that of the whole batch all the same.

    Args:
        model: trained in place.
        settings: weights and schedule.
        bf16: run encoder and predictor under bfloat16 autocast.

    Attributes:
        looks: shows batches differently; None: as they are.
        whole: names of terms that are of all latents of a batch; the others are means over its episodes.
    """

    whole: tuple[str, ...] = ("anti_collapse", "scene")

    def __init__(self, model: WorldModel, settings: TrainSettings, bf16: bool) -> None:
        self.model, self.settings, self.bf16 = model, settings, bf16
        self.looks: Looks | None = None
        self.inverse = InverseDynamics(model.config.latent_dim, model.config.action_dim).to(model.device)
        self.pairs = list(taught(model))
        heads = [model.heads[name] for name in self.pairs]
        self.trained = nn.ModuleList([model.encoder, model.predictor, self.inverse, *heads])
        tuned = {id(p) for p in self._backbone()}
        groups = [{"params": [p for p in self.trained.parameters() if id(p) not in tuned], "factor": 1.0}]
        if tuned:
            groups.append({"params": self._backbone(), "factor": TUNING})
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        self.learned: Callable[..., dict[str, Tensor]] = self.losses
        self.waited = 0.0  # s, for batches

    def _backbone(self) -> list[nn.Parameter]:
        """The parameters of another's encoder."""
        encoder = self.model.encoder
        return list(encoder.backbone.parameters()) if isinstance(encoder, BackboneEncoder) else []

    @property
    def weights(self) -> dict[str, float]:
        """What each term counts for in the loss; terms without one are only told."""
        further = {"scene": 1.0} if self.model.config.scene_dim else {}
        further |= dict.fromkeys(self.pairs, self.settings.pairs)
        return {
            "prediction": 1.0, "anti_collapse": 1.0, "inverse_dynamics": self.settings.inverse_dynamics, **further,
        }  # fmt: skip

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a saved state holds."""
        return {"model": self.model, "inverse": self.inverse}

    def latents(self, inputs: Batch, lead: torch.Size) -> Tensor:
        """Latents (E, W, F, D) of inputs {name: (E, W, F, ...)}; ``lead`` is (E, W, F)."""
        return self.model.latent({name: v.flatten(0, 2) for name, v in inputs.items()}).view(*lead, -1)

    def losses(self, inputs: Batch, actions: Tensor, beside: tuple[Tensor, ...] = ()) -> dict[str, Tensor]:
        """The loss terms of a part of a batch.

        Args:
            inputs, actions: see :class:`~jepa_ros.learning.data.sampler.WindowSampler`. beside: the latents of the
                batch's other parts, without gradients.
        """
        s = self.settings
        lead = actions.shape[:3]
        with torch.autocast(actions.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            z = self.latents(inputs, lead)
            own = z.shape[-1] - self.model.config.scene_dim
            scene, z = z[..., own:], elsewhere(z, own)
            prediction = open_loop(self.model, z, actions)
            inverse = self.inverse(z, actions)
        z = z.float()
        terms = {
            "prediction": prediction,
            "anti_collapse": anti_collapse(torch.cat([z, *beside])[..., :own], s.covariance, s.within, s.everywhere),
            "inverse_dynamics": inverse.mean(),
        }
        if self.model.config.scene_dim:
            other = [part[..., own:].float() for part in beside]
            terms["scene"] = same_scene(torch.cat([scene.float(), *other]))
        if self.pairs:
            terms |= batch_losses(self.model, z, inputs["odometry"], inputs["step"])
        with torch.no_grad():
            flat = z.flatten(0, 1)
            terms["copy"] = (flat[:, 2:] - flat[:, 1:2]).square().mean()
        return terms

    def step(self, number: int, inputs: Batch, actions: Tensor) -> dict[str, float]:
        """One optimiser step on this process's share of a batch; what the terms are of the whole batch.

        Raises:
            TrainError: the loss is not finite.
        """
        device = self.model.device
        self.trained.train()
        for group in self.optimizer.param_groups:
            factor = group.get("factor", 1.0)
            group["lr"] = factor * self.settings.learning_rate * cosine(number, self.settings.steps)
        if self.looks is not None:
            inputs, actions = self.looks(number, inputs, actions)
        there = {name: values.to(device, non_blocking=True) for name, values in inputs.items()}
        self.optimizer.zero_grad(set_to_none=True)
        told = self._backward(there, actions.to(device, non_blocking=True))
        if not math.isfinite(told["total"]):
            raise TrainError(
                f"step {number}: the loss is not finite ({', '.join(f'{k} {v:g}' for k, v in told.items())}): "
                "lower --learning-rate"
            )
        nn.utils.clip_grad_norm_(self.trained.parameters(), self.settings.clip)
        self.optimizer.step()
        return told

    def _backward(self, inputs: Batch, actions: Tensor) -> dict[str, float]:
        """Gradients of the whole batch's loss, worked through in parts."""
        parts = _parts(len(actions), self.settings.accumulate)
        latents: list[Tensor] = []
        if len(parts) > 1:  # the anti-collapse term needs those of the other parts (Gao et al., 2021, section 3)
            with torch.no_grad(), torch.autocast(actions.device.type, dtype=torch.bfloat16, enabled=self.bf16):
                for part in parts:
                    piece = {name: v[part] for name, v in inputs.items()}
                    latents.append(self.latents(piece, actions[part].shape[:3]).float())
        episodes, told = self.settings.batch.episodes, dict[str, Tensor]()
        for i, part in enumerate(parts):
            share = (part.stop - part.start) / episodes
            beside = tuple(z for j, z in enumerate(latents) if j != i)
            with self._without_exchange(i + 1 < len(parts)):
                terms = self.learned({name: v[part] for name, v in inputs.items()}, actions[part], beside)
                # The mean over ranks that DistributedDataParallel takes makes of these the loss of the whole batch.
                counts = {name: 1.0 if name in self.whole else share * ranks.size() for name in self.weights}
                torch.stack([w * counts[name] * terms[name] for name, w in self.weights.items()]).sum().backward()
            for name, value in terms.items():
                part_of_mean = 1.0 / (len(parts) * ranks.size()) if name in self.whole else share
                told[name] = told.get(name, torch.zeros_like(value)) + part_of_mean * value.detach().float()
        return self._whole(told)

    @torch.no_grad()
    def _whole(self, told: dict[str, Tensor]) -> dict[str, float]:
        """Terms of this process's share -> of the whole batch, and their weighted sum."""
        values = ranks.summed(torch.stack(list(told.values())).double())
        found = dict(zip(told, values.tolist()))
        return {**found, "total": sum(w * found[name] for name, w in self.weights.items())}

    def _without_exchange(self, more: bool) -> contextlib.AbstractContextManager[None]:
        """For a block that is not the last of a batch gradients stay in this process."""
        return self.learned.no_sync() if more and hasattr(self.learned, "no_sync") else contextlib.nullcontext()


def _parts(rows: int, count: int) -> list[slice]:
    return [slice(rows * i // count, rows * (i + 1) // count) for i in range(count)]


def run(
    trainer: RepresentationTrainer,
    batches: Any,
    each: Callable[[int, dict[str, float]], None],
) -> None:
    """Train over ``batches`` (number, inputs, actions); ``each`` is told of every step."""
    with whole_batches(trainer.trained):
        trainer.learned = ranks.learned(trainer.losses, trainer.trained)
        begun = time.monotonic()
        for number, inputs, actions in batches:
            trainer.waited += time.monotonic() - begun
            at(f"step {number}")
            # Dropout-free models need no generator of their own; the batch number alone decides what is drawn.
            each(number, trainer.step(number, inputs, actions))
            begun = time.monotonic()
        trainer.learned = trainer.losses


def seed_everything(seed: int) -> None:
    """Make a run repeatable on one machine (same thread count)."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
