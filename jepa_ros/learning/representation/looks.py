# SPDX-License-Identifier: Apache-2.0
"""More houses than were driven in: a house in other light is a house, and so is its mirror image.

A view from on board shows little of what a small dataset's rooms have in common. Every drive of a batch is seen in
light of its own, the same all through the drive, and half of them in a mirror; what was done and where it led to is
mirrored with them. Colours keep their order: where they were exchanged, the place of a view was learned half as fast.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from jepa_ros.contract import RobotContract
from jepa_ros.learning.data.sampler import Batch

#: Components of a twist that a mirror turns round.
MIRRORED = ("linear.y", "angular.z")
GAIN, TINT = (0.8, 1.2), (0.93, 1.07)  # of the light, and of each colour beside


class Looks:
    """Draws looks for the drives of a batch.

    Args:
        contract: of a base that carries its camera. camera: the name of its pictures. seed: all that is drawn follows.
    """

    def __init__(self, contract: RobotContract, camera: str, seed: int) -> None:
        self.camera, self.seed = camera, seed
        turned = [axis.name in MIRRORED for axis in contract.action]
        self._signs = torch.tensor([-1.0 if t else 1.0 for t in turned])
        #: A range that is not the same in both directions has no mirror image.
        self._mirror = all(
            not t or abs(axis.low + axis.high) < 1e-9 for t, axis in zip(turned, contract.action, strict=True)
        )

    def __call__(self, number: int, inputs: Batch, actions: Tensor) -> tuple[Batch, Tensor]:
        """Batch ``number``: pictures (E, W, F, H, W', 3) uint8, ``odometry`` (E, W, F, 3), actions (E, W, F, A)."""
        rng = np.random.default_rng([self.seed, number, 7])
        pictures, actions = inputs[self.camera].clone(), actions.clone()
        odometry = inputs["odometry"].clone() if "odometry" in inputs else None
        for e in range(len(actions)):
            gains = torch.from_numpy((rng.uniform(*GAIN) * rng.uniform(*TINT, 3)).astype(np.float32))
            seen = pictures[e]
            if self._mirror and rng.random() < 0.5:
                seen = seen.flip(-2)
                actions[e] *= self._signs.to(actions.device)
                if odometry is not None:
                    odometry[e, ..., 1:] *= -1.0
            pictures[e] = (seen * gains.to(seen.device)).clamp_(max=255.0)
        further = {} if odometry is None else {"odometry": odometry}
        return {**inputs, self.camera: pictures, **further}, actions
