# SPDX-License-Identifier: Apache-2.0
"""What tells surprise of a body that drives over a plane: see :class:`jepa_ros.planning.surprise.BodyWatch`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from jepa_ros.planar.map_head import look_up, map_of, picture_of_places
from jepa_ros.planar.odometry import wrapped
from jepa_ros.world_model.context import read_part

#: Chance that the robot's centre cannot be at a place about its own from which on it is close to something, and how far
#: about [m]: the error of its place.
CHANCE, ABOUT = 0.2, 0.05


class PlanarWatch:
    """By the pose readout, and by the map where the model has one.

    Args:
        model: a world model with a pose readout.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def sees_places(self) -> bool:
        """With a map it is known how the camera hangs."""
        return map_of(self.model.config) is not None

    def residual(self, predicted: torch.Tensor, seen: torch.Tensor) -> np.ndarray:
        """Forward [m], leftward [m] and turned [rad], in the predicted robot's frame: (N, 3).

        What else changes in a latent from picture to picture only hides it.
        """
        p, q = (self.model.read("pose", v).cpu().numpy().astype(np.float64) for v in (predicted, seen))
        yaw = np.arctan2(p[:, 3], p[:, 2])
        turned = wrapped(np.arctan2(q[:, 3], q[:, 2]) - yaw)
        dx, dy = q[:, 0] - p[:, 0], q[:, 1] - p[:, 1]
        return np.stack([np.cos(yaw) * dx + np.sin(yaw) * dy, np.cos(yaw) * dy - np.sin(yaw) * dx, turned], axis=1)

    @torch.no_grad()
    def close(self, embeddings: np.ndarray) -> np.ndarray:
        """(N,) by the map in its own picture; never without one."""
        config = self.model.config
        found = map_of(config)
        if found is None:
            return np.zeros(len(embeddings), dtype=bool)
        told = torch.from_numpy(np.ascontiguousarray(embeddings, dtype=np.float32)).to(self.model.device)
        angle = torch.arange(8) * (torch.pi / 4.0)
        about = ABOUT * torch.stack([angle.cos(), angle.sin()], dim=1)
        about = torch.cat([torch.zeros(1, 2), about]).to(told)
        places = self.model.read("pose", told[:, : config.latent_dim])[:, None, :2] + about
        chance = look_up(read_part(config, told, "map"), places, found[1]).sigmoid()
        return (chance.amax(1) >= CHANCE).cpu().numpy()

    @torch.no_grad()
    def cell(self, z: torch.Tensor) -> np.ndarray:
        """(N, 2) by the pose readout."""
        return picture_of_places(self.model, self.model.read("pose", z)[:, :2], self.model.config.grid).cpu().numpy()
