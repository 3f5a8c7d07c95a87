# SPDX-License-Identifier: Apache-2.0
"""The readouts of a body that drives over a plane.

``pose``, in the contract's map frame, where something localises the robot and the picture tells where it is. A base
that carries its camera and knows no map has readouts of pairs: where one view lies as seen from another, and whether
both are of one place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jepa_ros.world_model.readouts import Part, Readout

POSE = Readout(
    "pose", ("x", "y", "cos", "sin"), "m", "poses", "squared", least_r2=0.5,
    parts=(Part("position", (0, 1), "m"), Part("heading", (2, 3), "1", "angle", weight=0.1)),
)  # fmt: skip
#: Where the second view was taken from, as seen from the first; ``doubt`` is the error of x and y to be expected [m].
#: It is not judged by R2: most pairs of views show nothing in common, and it says itself how wrong it is.
RELATIVE = Readout("relative", ("x", "y", "cos", "sin", "doubt"), "m", "odometry", "doubted", pair=True)
#: Probability that two views are of one place, and look into much the same direction.
SAME = Readout("same", ("probability",), "1", "revisits", "bernoulli", least_r2=0.0, pair=True)
READOUTS = (POSE, RELATIVE, SAME)


def to_poses(values: Any) -> np.ndarray:
    """Values (..., 4) of the readout as poses (..., 3): x m, y m, yaw rad."""
    raw = values.float().cpu().numpy()
    return np.concatenate([raw[..., :2], np.arctan2(raw[..., 3:], raw[..., 2:3])], axis=-1)
