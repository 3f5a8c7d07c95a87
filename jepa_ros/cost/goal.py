# SPDX-License-Identifier: Apache-2.0
"""Where the robot shall be: as a latent (from a goal image or from memory) or as a pose. The ONE place for goals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from jepa_ros.errors import JepaRosError

KINDS = ("image", "pose", "memory")


#: No map of a robot is larger than this [m]; what lies beyond is a mistake in units or frame.
FARTHEST = 1e5


class GoalError(JepaRosError):
    """A goal that cannot be used; the message says what was found and what was expected."""


@dataclass(frozen=True)
class Goal:
    """A goal that the planner can be given.

    Args:
        kind: "image" and "memory" carry a latent, "pose" carries a pose.
        latent: (D,) float32, the goal image's latent; an embedding (E,) may be given, of which it is the first part.
        pose: (x m, y m, yaw rad or None) in the frame of the model's pose readout; yaw None leaves it free.
        name: what people call it (a memory tag, a topic).

    Raises:
        GoalError: unknown kind, the field that the kind needs is missing, or a value is not finite.
    """

    kind: str
    latent: np.ndarray | None = None
    pose: tuple[float, float, float | None] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise GoalError(f"goal kind {self.kind!r}; expected one of {', '.join(KINDS)}")
        if self.kind == "pose":
            self._check_pose()
        else:
            self._check_latent()

    def _check_latent(self) -> None:
        if self.latent is None:
            raise GoalError(f"goal of kind {self.kind!r} has no latent; encode the goal image first")
        latent = np.ascontiguousarray(self.latent, dtype=np.float32).reshape(-1)
        if latent.size == 0 or not np.isfinite(latent).all():
            raise GoalError(f"goal latent of {latent.size} values is empty or not finite")
        object.__setattr__(self, "latent", latent)

    def _check_pose(self) -> None:
        if self.pose is None or len(self.pose) != 3:
            raise GoalError(f"goal of kind 'pose' has pose {self.pose!r}; expected (x, y, yaw or None)")
        x, y, yaw = self.pose
        if not all(math.isfinite(v) for v in (x, y) + (() if yaw is None else (yaw,))):
            raise GoalError(f"goal pose {self.pose!r} is not finite; expected metres and radians")
        if max(abs(x), abs(y)) > FARTHEST:
            raise GoalError(f"goal pose {self.pose!r} is over {FARTHEST:g} m away; expected metres in the map's frame")
        object.__setattr__(self, "pose", (float(x), float(y), None if yaw is None else float(yaw)))

    @classmethod
    def from_latent(cls, latent: np.ndarray, kind: str = "image", name: str = "") -> Goal:
        """A goal from an embedding of any shape (rows are tokens); see the class for errors."""
        return cls(kind, latent=np.asarray(latent), name=name)

    @classmethod
    def from_pose(cls, x: float, y: float, yaw: float | None = None, name: str = "") -> Goal:
        """A goal from a pose in metres and radians; see the class for errors."""
        return cls("pose", pose=(x, y, yaw), name=name)

    def check_model(self, model) -> None:
        """Refuse a goal that the model cannot read.

        Raises:
            GoalError: the latent has another size than the model's, or a pose goal meets a model without a pose
                readout.
        """
        sizes = (model.config.latent_dim, embedding_dim(model))
        if self.latent is not None and self.latent.size not in sizes:
            raise GoalError(
                f"goal latent has {self.latent.size} values; this model's have {model.config.latent_dim}: "
                "encode the goal with the model that plans"
            )
        if self.kind == "pose" and not model.has_readout("pose"):
            raise GoalError("a goal pose needs a model with a pose readout; this one has none: give a goal image")

    def target(self, model, like: torch.Tensor) -> torch.Tensor | None:
        """The goal's latent (D,) as a tensor of the kind of ``like``; None for a pose goal."""
        if self.latent is None:
            return None
        return torch.as_tensor(self.latent[: model.config.latent_dim], dtype=like.dtype, device=like.device)


def embedding_dim(model) -> int:
    """Values of a model's embedding; a model without a context beside the latent need not say it."""
    return int(getattr(model.config, "embedding_dim", model.config.latent_dim))
