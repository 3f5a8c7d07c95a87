# SPDX-License-Identifier: Apache-2.0
"""The way from one state to another in control steps, as a distance in a space of its own.

Every latent has a code, and the steps between two states follow from their codes alone: a Euclidean distance, and the
largest of some differences in one direction, which makes ways longer there than back. Sums of the two can come as near
as wanted to any shortest ways (Liu et al., "Metric residual networks for sample efficient goal-conditioned
reinforcement learning", 2023), and the triangle inequality always holds. A code is worked out once a latent, however
many it is compared with. The Euclidean part alone is that of Park et al., "Foundation policies with Hilbert
representations", 2024.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Codes are this many times what the last layer gives: steps are some tens, activations about 1.
SCALE = 5.0
#: Added under the root, so that its slope stays finite where two codes are equal.
TINY = 1e-4


class WayHead(nn.Module):
    """See the module.

    Args:
        latent_dim: D. width: of the hidden layers. euclidean, directed: values of a code in either part.
    """

    def __init__(self, latent_dim: int, width: int = 256, euclidean: int = 32, directed: int = 32) -> None:
        super().__init__()
        self.euclidean = euclidean
        first, second = nn.Linear(latent_dim, width), nn.Linear(width, width)
        self.layers = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(width, euclidean + directed))

    def code(self, latents: Tensor) -> Tensor:
        """Latents (..., D) -> codes (..., K)."""
        return SCALE * self.layers(latents).float()

    def steps(self, here: Tensor, there: Tensor) -> Tensor:
        """Control steps from codes (..., K) to codes (..., K), broadcast: (...)."""
        gap = there - here
        e = self.euclidean
        straight = (gap[..., :e].square().sum(-1) + TINY).sqrt() - TINY**0.5
        return straight + torch.relu(gap[..., e:]).amax(-1)

    def forward(self, latents: Tensor, goal: Tensor) -> Tensor:
        """Latents (..., D) and goals (..., D), broadcast: control steps (...)."""
        return self.steps(self.code(latents), self.code(goal))
