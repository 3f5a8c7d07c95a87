# SPDX-License-Identifier: Apache-2.0
"""What two views tell of each other: labels of pairs, from the robot's own odometry over short gaps, and their losses.

Nothing here knows where the robot is in a house: odometry tells only how two moments of one drive lie to each other,
and it drifts, so that moments far apart are not compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from jepa_ros.learning.data.sampler import LONGEST
from jepa_ros.world_model import WorldModel
from jepa_ros.world_model.readouts import Readout

REACH = 3.0  # m between them, at most
SAME, OTHER = 1.0, 2.0  # m: nearer is the same place, further away is another one
TURN = 2.0  # what the error of a turn counts for beside that of the place
FACING = 0.8  # rad: views of one place that are turned by more show little in common
BESIDE = 6  # views of its drive that each view of a batch is compared with, at most


@dataclass(frozen=True)
class Pairs:
    """Pairs of views: odometry (B, 3) where they were taken, control steps between them (B,), and whether they are of
    one drive, and of different houses (B,) bool."""

    here: Tensor
    there: Tensor
    gap: Tensor
    one_drive: Tensor
    elsewhere: Tensor

    @property
    def relative(self) -> Tensor:
        """The second as seen from the first: (B, 4), x and y [m], cosine and sine of the turn."""
        return relative(self.here, self.there)

    @property
    def comparable(self) -> Tensor:
        """Whether odometry may compare them (B,)."""
        return self.one_drive & (self.gap <= LONGEST)


def relative(here: Tensor, there: Tensor) -> Tensor:
    """Poses (..., 3) x, y, yaw -> the second in the frame of the first: (..., 4) x, y, cos, sin."""
    dx, dy = there[..., 0] - here[..., 0], there[..., 1] - here[..., 1]
    c, s, turn = here[..., 2].cos(), here[..., 2].sin(), there[..., 2] - here[..., 2]
    return torch.stack([c * dx + s * dy, c * dy - s * dx, turn.cos(), turn.sin()], dim=-1)


def _moved(pairs: Pairs) -> tuple[Tensor, Tensor]:
    found = pairs.relative
    return found, pairs.comparable & (found[:, :2].norm(dim=1) <= REACH)


def _revisits(pairs: Pairs) -> tuple[Tensor, Tensor]:
    found = pairs.relative
    away = found[:, :2].norm(dim=1)
    same = (away < SAME) & (found[:, 2] > torch.cos(torch.tensor(FACING)))
    counts = pairs.elsewhere | (pairs.comparable & (same | (away > OTHER)))
    return (same & pairs.one_drive)[:, None].float(), counts


#: Name of the labels of a readout of a pair -> labels (B, n), and which pairs have one (B,).
LABELS: dict[str, Callable[[Pairs], tuple[Tensor, Tensor]]] = {"odometry": _moved, "revisits": _revisits}


def _doubted(output: Tensor, wanted: Tensor) -> Tensor:
    """Likelihood of the error of the place, under a Laplace distribution whose mean error is what the readout says; and
    the error of the turn, which is far easier to see and would hide that of the place."""
    error = ((output[:, :2] - wanted[:, :2]).square().sum(1) + 1e-4).sqrt()
    turn = ((output[:, 2:-1] - wanted[:, 2:]).square().sum(1) + 1e-4).sqrt()
    return error / output[:, -1] + output[:, -1].log() + TURN * turn


def _bernoulli(output: Tensor, wanted: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy(output.clamp(1e-5, 1.0 - 1e-5)[:, None], wanted, reduction="none")[:, 0]


#: Losses (B,) of readouts of pairs, of their values and labels.
LOSSES = {"doubted": _doubted, "bernoulli": _bernoulli}


def taught(model: WorldModel) -> dict[str, Readout]:
    """The readouts of pairs that are learned from such labels."""
    return {name: r for name, r in model.readouts.items() if r.pair and r.labels in LABELS}


def pair_losses(model: WorldModel, here: Tensor, there: Tensor, pairs: Pairs) -> dict[str, Tensor]:
    """The mean loss of each readout of pairs of latents (B, D), (B, D)."""
    found = {}
    for name, readout in taught(model).items():
        wanted, counts = LABELS[readout.labels](pairs)
        each = LOSSES[readout.loss](model.read(name, here, there), wanted)
        found[name] = torch.where(counts, each, torch.zeros_like(each)).sum() / counts.sum().clamp_min(1)
    return found


def batch_losses(model: WorldModel, z: Tensor, odometry: Tensor, step: Tensor) -> dict[str, Tensor]:
    """Of latents (E, W, F, D) of a batch with odometry (E, W, F, 3) and control steps (E, W, F): each view beside
    others of its drive, near and far, and beside one of another drive."""
    z, odometry, step = z.flatten(1, 2), odometry.flatten(1, 2), step.flatten(1, 2)  # (E, N, ...)
    count = z.shape[1]
    here, there, parts = [], [], []
    beside = np.unique(np.linspace(1, count - 1, min(BESIDE, count - 1)).round().astype(int)).tolist()
    turns = [(0, k) for k in beside] + [(1, 0)]
    for other, k in turns:
        then = [torch.roll(v, (other, k), (0, 1)) for v in (z, odometry, step)]
        here += [z.flatten(0, 1)]
        there += [then[0].flatten(0, 1)]
        one = torch.full((z.shape[0] * count,), other == 0, device=z.device)
        gap = (then[2] - step).abs().flatten()
        parts.append((odometry.flatten(0, 1), then[1].flatten(0, 1), gap, one, ~one))
    pairs = Pairs(*(torch.cat(values) for values in zip(*parts, strict=True)))
    return pair_losses(model, torch.cat(here), torch.cat(there), pairs)
