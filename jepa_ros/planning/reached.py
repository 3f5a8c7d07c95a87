# SPDX-License-Identifier: Apache-2.0
"""Whether an imagined plan reaches the goal: the stop rule that means "solved", for every search.

A plan is there as soon as one of its steps is within the tolerance at which the robot itself would count as arrived
(:mod:`jepa_ros.planning.arrival`). With several futures, it is solved if enough of them are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from jepa_ros.cost.futures import latent_rms
from jepa_ros.cost.goal import Target
from jepa_ros.cost.terms import compare
from jepa_ros.planning.arrival import ArrivalConfig, in_metres, in_steps


class Reached:
    """Measures imagined states against a goal.

    Args:
        model: the world model, or its readouts as an engine computes them. goal: as these read it.
        arrival: says what counts as there.

    Attributes:
        unit: of the distance, "m", "steps" or "latent". tolerance: within which a state is there.
    """

    def __init__(self, model: Any, goal: Target, arrival: ArrivalConfig) -> None:
        self.model, self.goal = model, goal
        self._metres = in_metres(model, goal)
        self._steps = in_steps(model)
        self.unit = "m" if self._metres else "steps" if self._steps else "latent"
        self.tolerance = arrival.limits(self.unit)[0]
        #: RMS difference of latents that is asked besides, None for none. A learned distance may take two states for
        #: near that are not; only near states have nearly equal latents.
        self.latent_tolerance: float | None = None
        self._turned = 1.0 - torch.cos(torch.tensor(min(arrival.heading, torch.pi))).item()

    def distance(self, latents: Tensor) -> Tensor:
        """How far latents (..., D) are from the goal, in ``unit``: (...)."""
        return self._measure(latents)[0]

    def inside(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Distances (...) of latents (..., D), and which are there (...): near enough, and turned as the goal says."""
        distance, turned = self._measure(latents)
        there = distance <= self.tolerance
        if self.latent_tolerance is not None:
            assert self.goal.latent is not None  # asked of such goals alone
            there &= latent_rms(latents, self.goal.latent) <= self.latent_tolerance
        return distance, there if turned is None else there & (turned <= self._turned)

    def _measure(self, latents: Tensor) -> tuple[Tensor, Tensor | None]:
        """Distances, and 1 - cos of the heading's error where the goal has a heading."""
        if self._metres is not None:
            readout, part, wanted = self._metres
            values = self.model.read(readout.name, latents)
            angle = next((p for p in readout.parts if p.metric == "angle"), None)
            turned = None
            if angle is not None and not bool(wanted[list(angle.dims)].isnan().any()):
                turned = compare(angle, values[..., list(angle.dims)], wanted[list(angle.dims)])
            return compare(part, values[..., list(part.dims)], wanted[list(part.dims)]), turned
        assert self.goal.latent is not None  # a goal in values was refused without its readout
        if self._steps:
            return self.model.read(self._steps, latents, self.goal.latent), None
        return latent_rms(latents, self.goal.latent), None


def solved(inside: Tensor) -> tuple[Tensor, Tensor]:
    """Of plans (C, S, T) whose steps are there or not: the share of futures that come there (C,), and the first step at
    which the first future does (C,), T where it never does."""
    steps = inside.shape[-1]
    first = torch.where(inside.any(-1), inside.int().argmax(-1), steps)  # (C, S)
    return (first < steps).float().mean(-1), first[:, 0]
