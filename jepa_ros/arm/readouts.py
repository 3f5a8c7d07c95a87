# SPDX-License-Identifier: Apache-2.0
"""The readout of an arm: where its tip is, in the base frame. Labels: the arm's own joints through its kinematics."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from jepa_ros.world_model.readouts import Part, Readout

TIP = Readout(
    "tip", ("x", "y", "z"), "m", "jepa_ros.arm.readouts:tips", "squared", least_r2=0.8,
    parts=(Part("tip", (0, 1, 2), "m", weight=3.0),),
)  # fmt: skip
READOUTS = (TIP,)


def tips(latents: Any) -> torch.Tensor:
    """Places (E, T, 3) [m] of the tip in encoded episodes, from the joints that the data holds."""
    from jepa_ros.arm import ArmBody

    body, joints = ArmBody(latents.contract), latents.states["joint_states"].numpy().astype(np.float64)
    found = np.array([body.tip(q) for q in joints.reshape(-1, joints.shape[-1])], dtype=np.float32)
    return torch.from_numpy(found.reshape(*joints.shape[:-1], 3))
