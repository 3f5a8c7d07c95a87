# SPDX-License-Identifier: Apache-2.0
"""Worlds with walls whose dynamics are known: a point among boxes. The latent is its place.

The straight distance is the cost-to-go, as a model tells it that knows nothing of walls: it leads into every dead end.
"""

from __future__ import annotations

import torch
from toy_world import ToyWorld

from jepa_ros.world_model.readouts import Readout, declare

WAY = Readout("way", ("steps",), "steps", "hindsight", "expectile", pair=True)

#: x0, y0, x1, y1 of each box.
OPEN: tuple[tuple[float, float, float, float], ...] = ()
#: A pocket that is open to the left, on the way to the right.
DEAD_END = ((0.4, -0.6, 0.5, 0.6), (-0.2, 0.5, 0.5, 0.6), (-0.2, -0.6, 0.5, -0.5))
#: The goal is shut in.
CLOSED = ((0.7, -0.3, 0.8, 0.3), (1.2, -0.3, 1.3, 0.3), (0.7, 0.2, 1.3, 0.3), (0.7, -0.3, 1.3, -0.2))


class Straight(torch.nn.Module):
    """Straight distances between places."""

    def __init__(self, speed) -> None:
        super().__init__()
        self.speed = speed

    def code(self, latents):
        return latents

    def steps(self, here, there):
        return (here - there).norm(dim=-1) / self.speed


class MazeWorld(ToyWorld):
    """A point that stops at walls; ``spread`` of the noise as in ToyWorld.

    Args:
        boxes: the walls. poison: where the model breaks, a function of places (B, 2) -> (B,) bool. slippery: likewise
            where there is noise; None for everywhere.
    """

    def __init__(self, boxes=DEAD_END, spread: float = 0.0, poison=None, slippery=None, readouts=(WAY,)) -> None:
        super().__init__(spread, 0.1, ())
        self.readouts = declare(*readouts)
        self.heads = torch.nn.ModuleDict({"way": Straight(self.speed)} if WAY in readouts else {})
        self.boxes, self.poison, self.slippery = torch.tensor(boxes).reshape(-1, 4), poison, slippery
        self.predicted = 0

    def inside(self, z):
        x, y = z[:, None, 0], z[:, None, 1]
        low, high = self.boxes[:, :2], self.boxes[:, 2:]
        return ((x > low[:, 0]) & (x < high[:, 0]) & (y > low[:, 1]) & (y < high[:, 1])).any(1)

    def rollout(self, z, h, actions, noise=None):
        zs = []
        self.predicted += actions.shape[0] * actions.shape[1]
        for t in range(actions.shape[1]):
            move = self.speed * actions[:, t]
            if noise is not None:
                slips = 1.0 if self.slippery is None else self.slippery(z)[:, None]
                move = move + self.spread * noise[:, t] * slips
            for part in (move / 2, move / 2):  # walls are thinner than two steps
                z = torch.where(self.inside(z + part)[:, None], z, z + part)
            if self.poison is not None:
                z = torch.where(self.poison(z)[:, None], torch.nan, z)
            h = h + 1
            zs.append(z)
        return torch.stack(zs, 1), h

    def read(self, name, latent, goal=None):
        if name == "way":
            return self.heads["way"].steps(latent, goal)
        return super().read(name, latent, goal)
