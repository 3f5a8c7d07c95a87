# SPDX-License-Identifier: Apache-2.0
"""The model that a dataset can teach: what goes in, what can be read from its latents, and what stands beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import keeps_odometry
from jepa_ros.learning.representation.pairs import LABELS
from jepa_ros.learning.settings import TrainSettings
from jepa_ros.learning.stages.place_map import MAP_CELLS, can_fit, map_extent
from jepa_ros.planar.map_head import map_part
from jepa_ros.world_model import ModelConfig
from jepa_ros.world_model.readouts import CONTACT, DISTANCE, Readout, body_readouts


def readouts_for(contract: RobotContract, has_pose: bool) -> tuple[Readout, ...]:
    """The readouts that the data can teach: the temporal distance, those of the body's room, and contact."""
    held = {"poses": has_pose, **dict.fromkeys(LABELS, keeps_odometry(contract) and contract.on_board)}
    own = [r for r in body_readouts(contract.kinematics.kind) if held.get(r.labels, True)]
    contact = [CONTACT] if "contact" in contract.state else []
    return (DISTANCE, *own, *contact)


def config_for(data: Dataset, settings: TrainSettings, **sizes: Any) -> ModelConfig:
    """The model that the data can teach: its inputs, readouts and map; ``sizes`` as in ModelConfig."""
    contract = data.contract
    has_pose = "pose" in contract.state and bool(np.isfinite(data.slice("poses", 0)).all())
    config = ModelConfig(
        **ModelConfig.inputs_of(contract),
        action_dim=contract.action_dim,
        readouts=readouts_for(contract, has_pose),
        encoder="view" if contract.on_board else "keypoints",
        **sizes,
    )
    if not can_fit(contract, has_pose):
        return config
    extent = map_extent(data, data.split(settings.held_out, settings.seed)[0])
    return replace(config, context=(map_part(MAP_CELLS, extent),))
