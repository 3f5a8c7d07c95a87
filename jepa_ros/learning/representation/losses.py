# SPDX-License-Identifier: Apache-2.0
"""The terms that a representation is learned with. Latents are (E, W, F, D): episodes, windows, frames, dimensions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jepa_ros.learning.parallel import ranks
from jepa_ros.world_model import WorldModel


def spread(z: Tensor, covariance_weight: float) -> Tensor:
    """Anti-collapse on centred latents z (n, D): variance hinge at 1 plus weighted off-diagonal covariance.

    The statistics are those of the latents of all ranks.
    Source: VICReg (Bardes, Ponce, LeCun, 2022), equations 1 and 3.
    """
    width = z.shape[1]
    sums = torch.cat([z.square().sum(dim=0), (z.T @ z).flatten(), z.new_full((1,), len(z))])
    squares, products, count = ranks.summed(sums).split([width, width**2, 1])
    variance, covariance = squares / count, products.view(width, width) / count
    hinge = torch.relu(1.0 - (variance + 1e-4).sqrt()).mean()
    off_diagonal = (covariance - torch.diag(torch.diagonal(covariance))).square().sum() / width
    return hinge + covariance_weight * off_diagonal


def anti_collapse(z: Tensor, covariance_weight: float, within_weight: float, global_weight: float) -> Tensor:
    """Spread within episodes, and over all of them.

    Centred over the whole batch alone, the differences between episodes satisfy the hinge: the latent then encodes
    the layout and not the robot. Centred within each episode, only what moves counts.
    """
    within = (z - z.mean(dim=(1, 2), keepdim=True)).flatten(0, 2)
    everywhere = z.flatten(0, 2)
    total = ranks.summed(torch.cat([everywhere.sum(dim=0), z.new_full((1,), len(everywhere))]))
    everywhere = everywhere - total[:-1] / total[-1]
    return within_weight * spread(within, covariance_weight) + global_weight * spread(everywhere, covariance_weight)


def elsewhere(z: Tensor, own: int) -> Tensor:
    """Latents (E, W, F, D) whose values from ``own`` on, which tell what stands about, come from another window.

    So they can tell nothing that changes within an episode; what a prediction needs of the walls is learned there.
    """
    if own == z.shape[-1]:
        return z
    other = z[..., own:].roll(1, dims=1)[:, :, :1].expand(-1, -1, z.shape[2], -1)
    return torch.cat([z[..., :own], other], dim=-1)


#: What a difference between two pictures of one episode counts for, and values that say the same of an episode, beside
#: the spread between episodes. Without much of the latter the easiest thing to see is told again and again.
SAME, APART = 5.0, 0.5


def same_scene(scene: Tensor) -> Tensor:
    """What stands about (E, W, F, S) is the same all through an episode, and another in another one."""
    change = scene - scene.mean(dim=(1, 2), keepdim=True)
    everywhere = scene.flatten(0, 2)
    total = ranks.summed(torch.cat([everywhere.sum(dim=0), scene.new_full((1,), len(everywhere))]))
    same = ranks.summed(change.square().mean().reshape(1) * len(everywhere))[0] / total[-1]
    return SAME * same + spread(everywhere - total[:-1] / total[-1], APART)


def open_loop(model: WorldModel, z: Tensor, actions: Tensor) -> Tensor:
    """Squared error of open-loop prediction, mean over everything.

    The first step is teacher-forced and fills the recurrent state; from the second frame on the predictor runs on its
    own output. Gradients pass through the targets: collapse is what :func:`anti_collapse` is for.

    Args:
        z: (E, W, F, D). actions: (E, W, F, A) in [-1, 1].
    """
    z, actions = z.flatten(0, 1), actions.flatten(0, 1)
    first, h = model.predict(z[:, 0], actions[:, 0], None, model.initial_state(z.shape[0]))
    predicted, _ = model.rollout(z[:, 1], h, actions[:, 1:-1])
    return (predicted - z[:, 2:]).square().mean() + (first - z[:, 1]).square().mean() / z.shape[1]


class InverseDynamics(nn.Module):
    """Which action led from z_t to z_{t+1}? Asked in training only: what the robot controls must be in the latent."""

    def __init__(self, latent_dim: int, action_dim: int, width: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * latent_dim, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, action_dim),
        )

    def forward(self, z: Tensor, actions: Tensor) -> Tensor:
        """z (E, W, F, D), actions (E, W, F, A). Returns the squared error of each action dimension, (A,)."""
        pairs = torch.cat([z[:, :, :-1], z[:, :, 1:]], dim=-1)
        return (self.layers(pairs).float() - actions[:, :, :-1]).square().mean(dim=(0, 1, 2))


def energy_score(samples: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    """Energy score of two samples against what came: a strictly proper rule, least for the true distribution.

    Source: Gneiting and Raftery, "Strictly proper scoring rules", 2007, section 4.2.

    Args:
        samples: two independent predictions (..., D). target: (..., D).
    """
    a, b = samples
    norm = lambda x: (x.square().sum(dim=-1) + 1e-6).sqrt()  # noqa: E731
    return (0.5 * (norm(a - target) + norm(b - target)) - 0.5 * norm(a - b)).mean()
