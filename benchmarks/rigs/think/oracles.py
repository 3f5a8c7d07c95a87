# SPDX-License-Identifier: Apache-2.0
"""Models of the rooms that know more than pictures tell: the true dynamics, or the true cost-to-go.

Both look up a chart of the layout: the latents of true pictures, with the robot at every place of a fine grid.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from jepa_ros.contract import RobotContract
from jepa_ros_sim.rooms.geodesic import geodesic
from jepa_ros_sim.rooms.layout import HALF, RADIUS, Layout
from jepa_ros_sim.rooms.scene import SPEED, Picture, moved

SPACING = 0.05  # m between the places of a chart
BATCH = 256


class Chart:
    """Latents of true pictures over the free places of a layout.

    Attributes:
        places: (M, 2) m. latents: (M, D).
    """

    @torch.inference_mode()
    def __init__(self, model: Any, contract: RobotContract, layout: Layout) -> None:
        axis = np.arange(RADIUS - HALF, HALF - RADIUS + SPACING / 2, SPACING)
        grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
        self.places = grid[~layout.blocked(grid)]
        camera = contract.cameras[0]
        picture = Picture(layout, camera.width)
        found = []
        for begin in range(0, len(self.places), BATCH):
            pictures = np.stack([picture.draw(at) for at in self.places[begin : begin + BATCH]])
            found.append(model.encode({camera.name: torch.from_numpy(pictures)}).latent.float())
        self.latents = torch.cat(found)
        self._near = cKDTree(self.places)

    def place(self, latents: Tensor) -> np.ndarray:
        """The places (N, 2) whose latents are nearest to latents (N, D)."""
        return self.places[torch.cdist(latents, self.latents).argmin(1).numpy()]

    def latent(self, places: np.ndarray) -> Tensor:
        """Latents (N, D) at the grid's places nearest to places (N, 2)."""
        return self.latents[torch.from_numpy(self._near.query(places)[1])]


class _Knowing:
    """A world model of which something is replaced."""

    def __init__(self, model: Any, contract: RobotContract, layout: Layout, chart: Chart) -> None:
        self.model, self.contract, self.layout, self.chart = model, contract, layout, chart
        self.config, self.readouts, self.heads = model.config, model.readouts, model.heads

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


class TrueDynamics(_Knowing):
    """Predicts by moving a robot in the true layout. The recurrent state is (1, x, y); if it is 0, the latent tells."""

    def __init__(self, model: Any, contract: RobotContract, layout: Layout, chart: Chart) -> None:
        super().__init__(model, contract, layout, chart)
        self.config = replace(model.config, state_dim=3, noise_dim=0)

    def initial_state(self, batch: int) -> Tensor:
        """Nothing is known."""
        return torch.zeros(batch, 3)

    def rollout(
        self, latent: Tensor, state: Tensor, actions: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See :class:`jepa_ros.world_model.seam.AnyWorldModel`."""
        at = state[:, 1:].double().numpy()
        if bool((state[:, 0] == 0).any()):
            at = np.where((state[:, :1] == 0).numpy(), self.chart.place(latent), at)
        way = []
        for t in range(actions.shape[1]):
            velocities = self.contract.denormalise(actions[:, t].double().numpy())
            at = moved(self.layout, at, velocities, self.contract.period)
            way.append(at)
        latents = self.chart.latent(np.stack(way, 1).reshape(-1, 2)).view(len(at), len(way), -1)
        return latents, torch.cat([torch.ones(len(at), 1), torch.from_numpy(at).float()], 1)


class TrueCost(_Knowing):
    """Tells true distances: the shortest way to a goal; between states of a tree, the straight line."""

    def __init__(self, model: Any, contract: RobotContract, layout: Layout, chart: Chart) -> None:
        super().__init__(model, contract, layout, chart)
        self.heads = {**dict(model.heads), "way": self}
        self._step = SPEED * contract.period

    def code(self, latents: Tensor) -> Tensor:
        """Places (..., 2)."""
        flat = self.chart.place(latents.reshape(-1, latents.shape[-1]))
        return torch.from_numpy(flat).float().view(*latents.shape[:-1], 2)

    def steps(self, here: Tensor, there: Tensor) -> Tensor:
        """Steps between places; one place among many is taken for the goal, or for where the robot is."""
        if there.numel() > 2 and here.numel() > 2:
            return (here - there).norm(dim=-1) / self._step
        many, one = (here, there) if there.numel() == 2 else (there, here)
        shape = torch.broadcast_shapes(here.shape, there.shape)[:-1]
        ways = geodesic(self.layout).ways(many.reshape(-1, 2).double().numpy(), one.reshape(2).double().numpy())
        straight = (many - one.reshape(2)).norm(dim=-1).reshape(-1).double().numpy()
        ways = np.where(np.isfinite(ways), ways, straight)  # a place of the grid may lie a little inside a wall
        return torch.from_numpy(ways / self._step).float().view(shape)

    def read(self, name: str, latent: Tensor, goal: Tensor | None = None) -> Tensor:
        """A readout; the true one for ``way``."""
        if name != "way":
            found: Tensor = self.model.read(name, latent, goal)
            return found
        assert goal is not None  # a pair has one
        return self.steps(self.code(latent), self.code(goal))
