# SPDX-License-Identifier: Apache-2.0
"""The goal-conditioned inverse model: which actions lead from a latent to a goal.

The ONE network for it: a source of candidates for the search (several actions), and on its own a policy without search
(one action, jepa_ros.learning.baselines).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class InverseModel(nn.Module):
    """The next actions towards a goal, in [-1, 1].

    Args:
        latent_dim: D. action_dim: A. steps: how many actions. width: of the hidden layers.
    """

    def __init__(self, latent_dim: int, action_dim: int, steps: int = 1, width: int = 256) -> None:
        super().__init__()
        self.steps, self.action_dim = steps, action_dim
        first, second = nn.Linear(2 * latent_dim, width), nn.Linear(width, width)
        self.layers = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(width, steps * action_dim))

    def forward(self, z: Tensor, goal: Tensor) -> Tensor:
        """z (B, D), goal (B, D). Returns: (B, steps, A)."""
        actions = torch.tanh(self.layers(torch.cat([z, goal], dim=-1)).float())
        return actions.unflatten(-1, (self.steps, self.action_dim))
