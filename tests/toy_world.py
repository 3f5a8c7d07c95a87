# SPDX-License-Identifier: Apache-2.0
"""A world whose best plan is known: a point that moves by 0.1 per unit of action. The latent is its position."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from jepa_ros.contract import load_contract


@dataclass(frozen=True)
class ToyConfig:
    latent_dim: int = 2
    action_dim: int = 2
    noise_dim: int = 2
    state_dim: int = 1


class ToyWorld(nn.Module):
    """z' = z + speed * a + spread * noise * slippery(z), h' = h + 1. Pose is (z, 1, 0)."""

    def __init__(self, spread: float = 0.0, speed: float = 0.1, readouts=("distance", "pose")) -> None:
        super().__init__()
        self.config = ToyConfig()
        self.spread, self.speed, self.readouts = spread, speed, readouts
        self.poison = None  # a test sets a function of z (B, D) -> (B,) bool: where the model breaks
        self.calls = 0

    def initial_state(self, batch):
        return torch.zeros(batch, 1)

    def has_readout(self, name):
        return name in self.readouts

    def rollout(self, z, h, actions, noise=None):
        self.calls += 1
        zs = []
        for t in range(actions.shape[1]):
            z = z + self.speed * actions[:, t]
            if noise is not None:
                z = z + self.spread * noise[:, t]
            if self.poison is not None:
                z = torch.where(self.poison(z)[:, None], torch.nan, z)
            h = h + 1
            zs.append(z)
        return torch.stack(zs, 1), h

    def distance(self, z, goal):
        return (z - goal).norm(dim=-1) / self.speed

    def pose(self, z):
        return torch.cat([z, torch.ones_like(z[..., :1]), torch.zeros_like(z[..., :1])], dim=-1)


def toy_contract(latency: float = 0.0):
    """The arena's contract with another actuation latency."""
    return replace(load_contract("arena"), actuation_latency=latency)
