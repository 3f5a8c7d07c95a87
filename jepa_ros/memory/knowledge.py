# SPDX-License-Identifier: Apache-2.0
"""What is known beside the latent: the seam between memories and the planner. Nothing needs to be inherited.

The planner tells each image to all its knowledge, has it prepare for the goal, and gives its terms and constraints to
the search. Anybody can try their own with :func:`jepa_ros.memory.check.check_knowledge`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:  # who only remembers does without torch
    import torch

    from jepa_ros.cost.goal import Target
    from jepa_ros.cost.seam import Constraint, CostTerm
    from jepa_ros.safety.inputs import ScanIn

#: Gives the image that was taken, (H, W, 3) uint8 RGB, None where nobody has it any more.
Picture = Callable[[], "np.ndarray | None"]


@dataclass(frozen=True)
class Seen:
    """What the planner knows at an image. Nothing in it comes from a simulator's truth.

    Attributes:
        latent: (D,) tensor. embedding: (E,) float32, the latent and its context.
        stamp: s, of the image. steps: control steps since the last one, less than 0 where the past counts no more.
        commanded: (A,) physical, what was sent at the last image; None: nothing, or it stands still.
        executed: (A,) physical, the mean of what the gate let through since then; None where it is not known.
        odometry: (x m, y m, yaw rad) at the stamp, in its own frame, which drifts; None where there is none.
        picture: gives the image (H, W, 3) uint8 RGB to who keeps it for people, None where nobody has it any more.
        gate_reason: the gate's word at the stamp. failed: the last search found no plan to send.
        scan: what the gate's scan showed by then; None where the planner is told of none.
    """

    latent: torch.Tensor
    embedding: np.ndarray
    stamp: float
    steps: int
    commanded: np.ndarray | None = None
    executed: np.ndarray | None = None
    gate_reason: str = ""
    failed: bool = False
    odometry: tuple[float, float, float] | None = None
    picture: Picture | None = None
    scan: ScanIn | None = None


class Knowledge(Protocol):
    """Something that is known beside the latent."""

    def reset(self) -> None:
        """Forget the drive: the robot was moved, or the clock jumped."""
        ...

    def observe(self, seen: Seen) -> None:
        """Take what one image and the step before it tell."""
        ...

    def prepare(self, goal: Target, distance: float | None = None, stamp: float = 0.0) -> None:
        """A plan towards the goal is searched next.

        ``distance`` is how far it is in the unit of the goal's readout, None where no readout tells; ``stamp`` [s] is
        the image's.
        """
        ...

    def terms(self) -> Sequence[CostTerm]:
        """Cost terms, the same ones always; one of the name of a model's term takes that one's place."""
        ...

    def constraints(self) -> Sequence[Constraint]:
        """What has to be kept, by what is known now."""
        ...

    def views(self, latents: torch.Tensor | None = None) -> Mapping[str, Any]:
        """What people may look at, by name; ``latents`` (N, T, D) are plans to be drawn."""
        ...
