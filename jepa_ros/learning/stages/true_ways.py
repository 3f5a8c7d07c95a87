# SPDX-License-Identifier: Apache-2.0
"""How far a model's distances are the true ways, from near to far: what a world tells for scoring, and nothing else.

A world can be asked whose task has ``apart(scene, seed, number)``: two observations of one episode, the control steps
of the shortest way between them, and whether something lies across the straight line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.perception import Perception
from jepa_ros.statistics import rank_correlation
from jepa_ros.world_model import WorldModel
from jepa_ros.worlds.registry import load, names

PAIRS = 2000
SEED = 4_000_037  # no pair is of an episode that is trained on or scored
#: Control steps: of the pairs that a distance calls the nearest, those farther apart than FAR are aliased.
FAR = 10.0
NEAREST = 0.05  # share of the pairs that count as called near


@torch.inference_mode()
def true_ways(model: WorldModel, data: Dataset, pairs: int = PAIRS) -> dict[str, Any] | None:
    """Rank correlation with the true way, and aliased pairs, of every distance that the model has.

    Returns:
        {distance: ``all``, ``clear``, ``across`` (of pairs with nothing, or something, across the straight line) and
        ``near`` (of ways up to FAR): rank correlations; ``aliased``: of the pairs that it calls nearest, the share that
        is farther apart than FAR}, with ``latent`` the root mean square; ``pairs``. None of a world that does not tell.
    """
    settings = data.settings or {}
    if settings.get("source") != "simulation" or data.contract.name not in names():
        return None
    world = load(data.contract.name)
    task = world.task(str(settings.get("layout", world.data_task)), data.contract, {})
    if not hasattr(task, "apart"):
        return None
    scene, eyes = world.scene(data.contract), Perception(model, data.contract)
    here, there, ways, across = [], [], [], []
    for number in range(pairs):
        a, b, steps, hidden = task.apart(scene, SEED, number)
        here.append(eyes.encode(a.images)[: model.config.latent_dim])
        there.append(eyes.encode(b.images)[: model.config.latent_dim])
        ways.append(steps)
        across.append(hidden)
    scene.close()
    z, goal = (torch.from_numpy(np.stack(v)).reshape(pairs, -1)[:, : model.config.latent_dim] for v in (here, there))
    found: dict[str, Tensor] = {"latent": (z - goal).square().mean(-1).sqrt()}
    found |= {r.name: model.read(r.name, z, goal) for r in model.readouts.values() if r.pair and r.unit == "steps"}
    true, hidden = torch.tensor(ways), torch.tensor(across)
    return {"pairs": pairs, **{name: _judge(values.cpu(), true, hidden) for name, values in found.items()}}


def _judge(told: Tensor, true: Tensor, across: Tensor) -> dict[str, float]:
    parts = {"all": true >= 0.0, "clear": ~across, "across": across, "near": true <= FAR}
    called = told <= told.quantile(NEAREST)
    return {
        **{
            name: rank_correlation(told[which].cpu().numpy(), true[which].numpy())
            for name, which in parts.items()
            if int(which.sum()) > 2
        },
        "aliased": float((true[called] > FAR).double().mean()),
    }
