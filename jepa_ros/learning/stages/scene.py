# SPDX-License-Identifier: Apache-2.0
"""Teaching the part of the latent that tells what stands about, where a model has one: from pairs of pictures.

Two pictures of one episode shall say the same, and episodes shall differ in as many ways as there are values (VICReg:
Bardes, Ponce, LeCun, 2022). Many episodes in a batch are what it takes: among the few of the representation phase the
values can differ by the easiest thing to see alone, and a door stays unseen. The rest of the encoder stays as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.representation.losses import spread
from jepa_ros.learning.representation.representation import cosine
from jepa_ros.learning.settings import TrainError
from jepa_ros.learning.stages.order import Order
from jepa_ros.learning.stages.readouts import Report
from jepa_ros.world_model import WorldModel, load_checkpoint, save_checkpoint

STEPS = 400  # batches at most: it is learned in a minute
EPISODES = 96  # in a batch, two pictures of each
RATE = 2e-3
APART = 1.0  # weight of the covariance beside variance and sameness


def fit_scene(model: WorldModel, data: Dataset, episodes: np.ndarray, steps: int, seed: int, report: Report) -> None:
    """Fit the head of what stands about, where the model has one; see the module."""
    head = model.encoder.scene
    if head is None:
        return
    rng = np.random.default_rng([seed, 8])
    steps = min(steps, STEPS)
    head.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=1e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * cosine(step, steps, warmup=30)
        with torch.no_grad():
            maps = model.encoder.early_and_late(_pictures(model, data, episodes, rng))[0].float()
        one, other = head(maps).unflatten(0, (2, -1))
        both = torch.cat([one, other])
        same = (one - other).square().mean() / 2.0
        loss = same + spread(both - both.mean(0), APART)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            report("scene", step, steps, {"loss": loss.item(), "same": same.item()})
    head.eval().requires_grad_(False)


def _pictures(model: WorldModel, data: Dataset, episodes: np.ndarray, rng: np.random.Generator) -> Tensor:
    """(2 B, H, W, 3): one picture of each of B episodes, then another of each."""
    chosen = rng.choice(episodes, min(EPISODES, len(episodes)), replace=False)
    found: list[list[np.ndarray]] = [[], []]
    for episode in chosen.tolist():
        for pictures in found:
            at = int(rng.integers(int(data.index[episode, 2])))
            pictures.append(data.inputs(episode, at, 1)[model.encoder.camera][0])
    return torch.from_numpy(np.stack(found[0] + found[1])).to(model.device)


def judge_scene(model: WorldModel, data: Dataset, held_out: np.ndarray, seed: int = 0) -> dict[str, float]:
    """``change``: how much it changes within held-out episodes, as a share of its spread over them; 0 is best."""
    rng = np.random.default_rng([seed, 9])
    with torch.no_grad():
        maps = [model.encoder.early_and_late(_pictures(model, data, held_out, rng))[0].float() for _ in range(4)]
        pairs = torch.stack([model.encoder.scene(m).unflatten(0, (2, -1)) for m in maps], 1)  # type: ignore[misc]
    within = (pairs[0] - pairs[1]).square().mean().sqrt() / 2.0**0.5
    return {"change": float(within / pairs.flatten(0, 2).std(0).mean())}


def renew_scene(order: Order) -> dict[str, Any]:
    """Fit what stands about anew in a checkpoint, in place; returns the card as written.

    Raises:
        TrainError: the model has no such part.
    """
    model, card = load_checkpoint(order.folder, order.data.contract)
    if model.encoder.scene is None:
        raise TrainError(f"{order.folder}: its latent has no part for what stands about: train it with --scene-dim")
    training, held_out = order.split(card)
    fit_scene(model, order.data, training, order.steps, order.seed, order.report)
    judged = judge_scene(model, order.data, held_out)
    return save_checkpoint(order.folder, model, {**card, "metrics": {**card.get("metrics", {}), "scene": judged}})
