# SPDX-License-Identifier: Apache-2.0
"""Policies without search, to be compared with it; :mod:`jepa_ros.learning.baselines` teaches them.

They stop by the pose readout, where the robot can tell its pose: that of the model, or for ``bc_pixels`` one fitted on
what its own encoder came to see.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from jepa_ros.contract import RobotContract
from jepa_ros.cost.goal import Goal, Target
from jepa_ros.learning.baselines import HEAD, META
from jepa_ros.perception import Perception
from jepa_ros.planning.arrival import Arrival, ArrivalConfig, read_distance
from jepa_ros.world_model import CheckpointError, ModelConfig, WorldModel
from jepa_ros.world_model.inverse_model import InverseModel
from jepa_ros.worlds.protocols import Decision, Observation


def baseline_in(folder: Path | str | None) -> tuple[str, ...]:
    """The policy without search that lies in a checkpoint's folder: its kind, or nothing."""
    try:
        return (json.loads((Path(folder) / META).read_text(encoding="utf-8"))["kind"],) if folder else ()
    except (OSError, ValueError, KeyError):
        return ()


@dataclass(frozen=True)
class Reached:
    """What a policy without search tells beside its command, under the planner's names."""

    status: dict[str, Any]


class InverseModelPolicy:
    """A policy without search in the loop.

    Args:
        model: its encoder sees. head: answers. goal: the goal picture, as the camera delivers it.
    """

    def __init__(self, contract: RobotContract, model: WorldModel, head: InverseModel, goal: np.ndarray) -> None:
        self.contract, self.model, self.head = contract, model, head
        self.perception = Perception(model, contract)
        self.target = self._latent(goal)
        self.goal = Target(Goal.from_latent(self.target[0].numpy()), model)
        self.arrival = Arrival(ArrivalConfig.of(contract)) if "pose" in model.readouts else None
        self.encode_seconds = 0.0

    def _latent(self, pictures: Any) -> Tensor:
        """(1, D), without what an embedding tells beside it."""
        return torch.from_numpy(self.perception.encode(pictures)[:1].copy())

    @torch.inference_mode()
    def act(self, observation: Observation) -> Decision:
        """The command of this step; zeros once the pose readout says that the goal is reached."""
        z = self._latent(observation.images)
        arrived = self.arrival is not None and self.arrival.update(read_distance(self.model, z[0], self.goal))
        command = np.zeros(self.contract.action_dim)
        if not arrived:
            command = self.contract.denormalise(self.head(z, self.target)[0, 0].numpy())
        return Decision(command, info=Reached({"arrived": bool(arrived)}))


def load_head(folder: Path, config: ModelConfig) -> InverseModel:
    """The head of a baseline's folder.

    Raises:
        CheckpointError: it is missing or of another size.
    """
    head = InverseModel(config.latent_dim, config.action_dim)
    try:
        head.load_state_dict(load_file(folder / HEAD))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder / HEAD}: cannot be read as the head of a baseline: {reason}") from None
    return head.eval().requires_grad_(False)
