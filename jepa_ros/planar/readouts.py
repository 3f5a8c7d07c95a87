# SPDX-License-Identifier: Apache-2.0
"""The readout of a body that drives over a plane: its pose, in the contract's map frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from jepa_ros.world_model.readouts import Part, Readout

POSE = Readout(
    "pose", ("x", "y", "cos", "sin"), "m", "poses", "squared", least_r2=0.5,
    parts=(Part("position", (0, 1), "m"), Part("heading", (2, 3), "1", "angle", weight=0.1)),
)  # fmt: skip
READOUTS = (POSE,)


def to_poses(values: Any) -> np.ndarray:
    """Values (..., 4) of the readout as poses (..., 3): x m, y m, yaw rad."""
    raw = values.float().cpu().numpy()
    return np.concatenate([raw[..., :2], np.arctan2(raw[..., 3:], raw[..., 2:3])], axis=-1)
