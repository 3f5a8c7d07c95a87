# SPDX-License-Identifier: Apache-2.0
"""The oracle: the same planner and search, in a model that is told the true state and the obstacles. Scoring only.

It satisfies the protocol of :class:`~jepa_ros.world_model.WorldModel` with the true pose as its latent, so that the
difference to a learned model is the model's, and nothing else's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jepa_ros.agent.policies import StatePolicy
from jepa_ros.contract import RobotContract
from jepa_ros.cost.goal import Goal
from jepa_ros.planar.map_head import map_of, map_part
from jepa_ros.planar.places import Places
from jepa_ros.planar.readouts import POSE
from jepa_ros.planning.planner import Planner, PlannerConfig
from jepa_ros.world_model.context import ContextPart
from jepa_ros.world_model.readouts import DISTANCE, Readout

from .tasks import DistanceField


@dataclass(frozen=True)
class OracleConfig:
    """The sizes that the planner asks for."""

    latent_dim: int = 4
    action_dim: int = 2
    noise_dim: int = 1
    state_dim: int = 1
    max_distance: float = 60.0
    context: tuple[ContextPart, ...] = (map_part(32, (-1.1, -1.1, 1.1, 1.1)),)

    @property
    def embedding_dim(self) -> int:
        """The pose and the map."""
        return self.latent_dim + sum(part.size for part in self.context)


#: m of clearance by which the true map goes from surely free to surely blocked: as sharp as a cell can show.
EDGE = 0.02


class OracleModel:
    """Unicycle kinematics among known obstacles.

    Args:
        contract: the robot's contract.
        layout: the simulator's layout. goal: (x, y, yaw) true goal; distances are measured around the obstacles.
    """

    def __init__(self, contract: RobotContract, layout, goal: tuple[float, float, float]) -> None:
        self.config = OracleConfig()
        self.layout = layout
        self.period = contract.period
        self.radius = contract.footprint.radius
        self.half = torch.tensor((contract.action_high - contract.action_low) / 2, dtype=torch.float32)
        self.middle = torch.tensor((contract.action_high + contract.action_low) / 2, dtype=torch.float32)
        self.step_length = float(contract.action_high[0]) * contract.period
        self.field = DistanceField(layout, goal)
        self.device = torch.device("cpu")
        found = map_of(self.config)
        assert found is not None  # it is declared above
        centres = Places(*found).centres()
        self._map = ((self.radius - layout.clearance(centres)) / EDGE).astype(np.float32).ravel()

    def encode_state(self, x: float, y: float, yaw: float) -> np.ndarray:
        """The true pose as a latent, and the true map: an embedding (E,) float32."""
        return np.concatenate([np.array([x, y, np.cos(yaw), np.sin(yaw)], dtype=np.float32), self._map])

    def parameters(self) -> Iterator[Tensor]:
        """It has none: nothing was learned."""
        return iter(())

    @property
    def readouts(self) -> dict[str, Readout]:
        """The oracle has pose and distance."""
        return {"distance": DISTANCE, "pose": POSE}

    def initial_state(self, batch: int) -> Tensor:
        """Nothing to remember: (B, 1) zeros."""
        return torch.zeros(batch, 1)

    def predict(self, z: Tensor, action: Tensor, noise: Tensor | None, h: Tensor) -> tuple[Tensor, Tensor]:
        """One control step; a step into an obstacle does not move the robot."""
        v, w = (self.middle + self.half * action).unbind(-1)
        angle = torch.atan2(z[..., 3], z[..., 2])
        middle = angle + 0.5 * w * self.period
        position = z[..., :2] + torch.stack([middle.cos(), middle.sin()], -1) * (v * self.period)[..., None]
        free = torch.from_numpy(self.layout.clearance(position.numpy().astype(np.float64)) > self.radius)
        position = torch.where(free[..., None], position, z[..., :2])
        angle = angle + w * self.period
        return torch.cat([position, angle.cos()[..., None], angle.sin()[..., None]], -1), h

    def rollout(self, z: Tensor, h: Tensor, actions: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Open loop, see :meth:`jepa_ros.world_model.WorldModel.rollout`."""
        states = []
        for t in range(actions.shape[1]):
            z, h = self.predict(z, actions[:, t], None, h)
            states.append(z)
        return torch.stack(states, 1), h

    def read(self, name: str, latent: Tensor, goal: Tensor | None = None) -> Tensor:
        """The latent is the pose; the distance is the way around the obstacles in control steps at full speed.

        It is that to the goal which was given at construction.
        """
        if name == "pose":
            return latent
        points = latent[..., :2].numpy().astype(np.float64)
        way = np.minimum(np.nan_to_num(self.field(points), posinf=10.0), 10.0)
        return torch.from_numpy(way / self.step_length).float()


def oracle_policy(scene: Any, goal: tuple[float, float, float], config: PlannerConfig) -> StatePolicy:
    """The planner over an oracle's model of a scene of the arena, on its way to ``goal`` (x, y, yaw)."""
    model = OracleModel(scene.contract, scene.sim.layout, goal)
    planner = Planner(model, scene.contract, config)
    planner.set_goal(Goal.from_latent(model.encode_state(*goal)))

    def read() -> np.ndarray:
        truth = scene.truth()
        return model.encode_state(truth.x, truth.y, truth.yaw)

    return StatePolicy(planner, read)
