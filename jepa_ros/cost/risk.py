# SPDX-License-Identifier: Apache-2.0
"""One number from the costs of several possible futures: mean, CVaR at a level, or the worst."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from jepa_ros.errors import JepaRosError

KINDS = ("mean", "cvar", "worst")


class RiskError(JepaRosError):
    """A risk measure that cannot be computed; the message says what was expected."""


@dataclass(frozen=True)
class Risk:
    """A risk measure over noise samples.

    Args:
        kind: "mean", "cvar" or "worst".
        level: for "cvar" the share of the worst samples that is averaged, in (0, 1]; level 1 is the mean.

    Raises:
        RiskError: unknown kind, or a level that is missing, superfluous or out of range.
    """

    kind: str = "mean"
    level: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise RiskError(f"risk {self.kind!r}; expected one of {', '.join(KINDS)}")
        if self.kind == "cvar":
            if self.level is None or not (math.isfinite(self.level) and 0.0 < self.level <= 1.0):
                raise RiskError(f"risk cvar has level {self.level}; expected a share in (0, 1], for example 0.25")
        elif self.level is not None:
            raise RiskError(f"risk {self.kind} takes no level (found {self.level}); only cvar does")

    def check(self, samples: int) -> None:
        """Refuse a level that so few samples cannot resolve.

        Raises:
            RiskError: the level is below 1/samples.
        """
        if self.kind == "cvar" and self.level * samples < 1.0 - 1e-9:
            raise RiskError(
                f"risk cvar at level {self.level} needs at least {math.ceil(1 / self.level)} noise samples; "
                f"found {samples}: draw more samples or raise the level to {1 / samples:.3g}"
            )

    def weights(self, samples: int) -> np.ndarray:
        """Weights (samples,) of the costs sorted from worst to best; they sum to 1.

        CVaR follows Rockafellar and Uryasev (2000) for a discrete distribution: the sample that the level cuts
        through counts in part.
        """
        self.check(samples)
        if self.kind == "mean":
            return np.full(samples, 1.0 / samples)
        if self.kind == "worst":
            return np.eye(1, samples)[0]
        mass = self.level * samples
        return np.clip(mass - np.arange(samples), 0.0, 1.0) / mass

    def __call__(self, costs):
        """Reduce the last axis (noise samples) of a tensor or an array of costs: (..., S) -> (...)."""
        samples = costs.shape[-1]
        self.check(samples)
        if samples == 1:
            return costs[..., 0]
        if isinstance(costs, np.ndarray):
            if self.kind == "mean":
                return costs.mean(-1)
            if self.kind == "worst":
                return costs.max(-1)
            return np.sort(costs, axis=-1)[..., ::-1] @ self.weights(samples)
        if self.kind == "mean":
            return costs.mean(-1)
        if self.kind == "worst":
            return costs.amax(-1)
        weights = torch.as_tensor(self.weights(samples), dtype=costs.dtype, device=costs.device)
        return torch.sort(costs, dim=-1, descending=True).values @ weights
