# SPDX-License-Identifier: Apache-2.0
"""Motion in the plane as odometry tells it: poses (x m, y m, yaw rad), and how they follow from actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Poses = NDArray[np.float64]


def beyond(here: Poses, step: Poses) -> Poses:
    """Poses (..., 3) that lie at ``step`` (..., 3) as seen from ``here`` (..., 3), broadcast."""
    here, step = np.asarray(here, dtype=np.float64), np.asarray(step, dtype=np.float64)
    c, s = np.cos(here[..., 2]), np.sin(here[..., 2])
    x = here[..., 0] + c * step[..., 0] - s * step[..., 1]
    y = here[..., 1] + s * step[..., 0] + c * step[..., 1]
    return np.stack([x, y, wrapped(here[..., 2] + step[..., 2])], axis=-1)


def between(here: Poses, there: Poses) -> Poses:
    """The second of poses (..., 3) as seen from the first, broadcast."""
    here, there = np.asarray(here, dtype=np.float64), np.asarray(there, dtype=np.float64)
    dx, dy = there[..., 0] - here[..., 0], there[..., 1] - here[..., 1]
    c, s = np.cos(here[..., 2]), np.sin(here[..., 2])
    return np.stack([c * dx + s * dy, c * dy - s * dx, wrapped(there[..., 2] - here[..., 2])], axis=-1)


def wrapped(angle: Any) -> Any:
    """An angle in [-pi, pi)."""
    return (angle + np.pi) % (2.0 * np.pi) - np.pi


class Motion:
    """What a base's actions do, as long as nothing is in the way.

    Args:
        contract: of a base whose actions are components of a twist.
    """

    def __init__(self, contract: Any) -> None:
        names = [axis.name for axis in contract.action]
        self.period = contract.period
        self._low = torch.from_numpy(contract.action_low).float()
        self._span = torch.from_numpy(contract.action_high - contract.action_low).float()
        self._rows = [names.index(n) if n in names else None for n in ("linear.x", "linear.y", "angular.z")]

    def ways(self, actions: torch.Tensor) -> torch.Tensor:
        """Normalised actions (..., T, A) -> poses (..., T, 3) after each, from where the first begins."""
        twist = self._low + 0.5 * (actions.cpu().float() + 1.0) * self._span
        still = torch.zeros_like(twist[..., 0])
        vx, vy, w = (still if row is None else twist[..., row] for row in self._rows)
        turned = (w * self.period).cumsum(-1)
        middle = turned - 0.5 * w * self.period
        x = (self.period * (vx * middle.cos() - vy * middle.sin())).cumsum(-1)
        y = (self.period * (vx * middle.sin() + vy * middle.cos())).cumsum(-1)
        return torch.stack([x, y, turned], dim=-1)

    def step(self, executed: np.ndarray, steps: float) -> Poses:
        """(3,) where the mean action (A,) [physical units] of so many control steps led to."""
        vx, vy, w = (0.0 if row is None else float(executed[row]) for row in self._rows)
        seconds = self.period * steps
        middle = 0.5 * w * seconds
        c, s = np.cos(middle), np.sin(middle)
        return np.array([seconds * (vx * c - vy * s), seconds * (vx * s + vy * c), w * seconds])
