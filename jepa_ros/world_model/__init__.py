# SPDX-License-Identifier: Apache-2.0
"""The world model: what will be seen next, in representation space, if this is done."""

from jepa_ros.world_model.checkpoint import (
    CheckpointError,
    ContractMismatch,
    load_card,
    load_checkpoint,
    model_id,
    resolve_model,
    save_checkpoint,
)
from jepa_ros.world_model.model import ModelConfig, WorldModel

__all__ = [
    "CheckpointError",
    "ContractMismatch",
    "ModelConfig",
    "WorldModel",
    "load_card",
    "load_checkpoint",
    "model_id",
    "resolve_model",
    "save_checkpoint",
]
