# SPDX-License-Identifier: Apache-2.0
"""The cost terms that a model itself can give: latent distance, temporal distance, and parts of declared readouts.

Near the goal the latent's RMS distance is precise, far from it only readouts order states well, so they are added.
Latent and temporal distance know nothing of what is in between. Where the way round leads away from the goal they grow
while the way gets shorter: they have to stay small beside a place, or a robot stands still halfway between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from jepa_ros.cost.futures import Futures
from jepa_ros.cost.goal import Target
from jepa_ros.cost.seam import CostTerm
from jepa_ros.cost.to_go import WAY
from jepa_ros.world_model.readouts import Part, Readout

#: What a step of the way counts for beside latent distance.
WAY_WEIGHT = 0.1


class LatentTerm:
    """RMS latent distance; 1 is about one standard deviation of the latents."""

    name, unit, weight = "latent", "1", 0.1

    def fits(self, goal: Target | None) -> bool:
        """Goals with a latent."""
        return goal is None or goal.latent is not None

    def __call__(self, futures: Futures, goal: Target) -> torch.Tensor:
        """(C, S, T)."""
        return futures.latent_rms(goal)


class StepsTerm:
    """Control steps to the goal.

    Args:
        readout: "way", or the temporal distance "distance". A way can be trusted at range, where latents cannot: a step
            of it counts for more.
    """

    name, unit = "steps", "steps"

    def __init__(self, readout: str = "distance") -> None:
        self.readout = readout
        self.weight = WAY_WEIGHT if readout == WAY else 0.01

    def fits(self, goal: Target | None) -> bool:
        """Goals with a latent."""
        return goal is None or goal.latent is not None

    def __call__(self, futures: Futures, goal: Target) -> torch.Tensor:
        """(C, S, T)."""
        return futures.read_pair(self.readout, goal)


class PartTerm:
    """What a part of a readout differs from the goal's.

    Args:
        readout: whose values are compared. part: which of them, and how.
    """

    def __init__(self, readout: Readout, part: Part) -> None:
        self.readout, self.part = readout, part
        self.name, self.unit, self.weight = part.name, part.unit, part.weight
        self._dims = _columns(part.dims)

    def fits(self, goal: Target | None) -> bool:
        """Goals that say what the part shall be; pictures do."""
        if goal is None:
            return True
        wanted = goal.read(self.readout.name)
        return wanted is not None and not bool(wanted[self._dims].isnan().any())

    def __call__(self, futures: Futures, goal: Target) -> torch.Tensor:
        """(C, S, T)."""
        wanted = goal.read(self.readout.name)
        assert wanted is not None  # see fits
        return compare(self.part, futures.read(self.readout.name)[..., self._dims], wanted[self._dims])


def compare(part: Part, values: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Values (..., n) of a part against wanted ones (n,): (...), at least 0, by the part's metric."""
    if part.metric == "angle":
        wanted = wanted / wanted.norm().clamp_min(1e-3)
        return 1.0 - (values * wanted).sum(-1) / values.norm(dim=-1).clamp_min(1e-3)
    return torch.linalg.vector_norm(values - wanted, dim=-1)


def _columns(dims: tuple[int, ...]) -> slice | list[int]:
    """Neighbours as a slice, which copies nothing."""
    return slice(dims[0], dims[-1] + 1) if dims == tuple(range(dims[0], dims[-1] + 1)) else list(dims)


def model_terms(readouts: Mapping[str, Readout]) -> list[CostTerm]:
    """All terms that a model with these readouts can give."""
    terms: list[Any] = [LatentTerm()]
    if known := [name for name in (WAY, "distance") if name in readouts]:
        terms.append(StepsTerm(known[0]))
    return terms + [PartTerm(readout, part) for readout in readouts.values() for part in readout.parts]
