# SPDX-License-Identifier: Apache-2.0
"""The searches: each proposes candidates and learns from their order. Scoring, time and choice are search.py's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from jepa_ros.planning.config import SearchConfig
from jepa_ros.planning.proposals import GRADIENT, MEAN, NOISE, ar1_


class Sampler:
    """A diagonal Gaussian over plans with AR(1) noise: the part that all searches share. On its own: random shooting.

    Args:
        config: the search's settings. action_dim: A.
    """

    def __init__(self, config: SearchConfig, action_dim: int) -> None:
        self.config = config
        shape = (config.horizon, action_dim)
        self.mean = torch.zeros(shape)
        self.std = torch.full(shape, config.sigma)
        self.kept = torch.zeros((config.keep, *shape))
        self.kept_source = np.zeros(config.keep, dtype=np.int64)
        self.kept_count = 0

    def start(self, mean: torch.Tensor) -> None:
        """Begin a plan around a warm start (T, A)."""
        self.mean.copy_(mean)
        self.std.fill_(self.config.sigma)
        self.kept_count = 0

    def propose(
        self, iteration: int, seeds: list[tuple[int, torch.Tensor]], out: torch.Tensor, source: np.ndarray,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        """Fill the candidates (C, T, A) and sources (C,); `seeds` are (source, (n, T, A)) of iteration 0."""
        torch.randn(out.shape, generator=generator, out=out)
        ar1_(out, self.config.ar).mul_(self.std).add_(self.mean)
        source.fill(NOISE)
        row = 0
        if iteration == 0:
            for kind, plans in seeds:
                count = min(len(plans), len(out) - row)
                out[row : row + count] = plans[:count]
                source[row : row + count] = kind
                row += count
        else:
            if self.has_mean:
                out[0] = self.mean
                source[0] = MEAN
                row = 1
            out[row : row + self.kept_count] = self.kept[: self.kept_count]
            source[row : row + self.kept_count] = self.kept_source[: self.kept_count]
        out.clamp_(-1.0, 1.0)

    has_mean = False

    def keep(self, candidates: torch.Tensor, source: np.ndarray, order: np.ndarray) -> None:
        """Remember the best few (order: indices, best first) for the next iteration."""
        self.kept_count = min(self.config.keep, len(order))
        best = order[: self.kept_count]
        self.kept[: self.kept_count] = candidates[torch.from_numpy(best)]
        self.kept_source[: self.kept_count] = source[best]

    def update(self, candidates: torch.Tensor, source: np.ndarray, order: np.ndarray, cost: np.ndarray) -> None:
        """Learn from scored candidates (C, T, A) with costs (C,); order holds the usable ones, best first."""


class ICem(Sampler):
    """iCEM: the distribution is fitted to the elites, the best few live on, the mean itself is a candidate."""

    has_mean = True

    def update(self, candidates, source, order, cost):
        elites = candidates[torch.from_numpy(order[: self.config.elites])]
        momentum = self.config.momentum
        self.mean.mul_(momentum).add_(elites.mean(0), alpha=1.0 - momentum)
        self.std.mul_(momentum).add_(elites.std(0, correction=0), alpha=1.0 - momentum)
        self.std.clamp_min_(self.config.sigma_floor)
        self.keep(candidates, source, order)


class Mppi(Sampler):
    """MPPI: the mean moves to the average of the candidates weighted by exp(-cost / temperature)."""

    has_mean = True

    def update(self, candidates, source, order, cost):
        values = cost[order]
        scale = self.config.temperature * max(float(values.std()), 1e-9)
        weights = np.exp(-(values - values.min()) / scale)
        weights = torch.from_numpy((weights / weights.sum()).astype(np.float32))
        self.mean.copy_(torch.einsum("n,nta->ta", weights, candidates[torch.from_numpy(order)]))
        self.keep(candidates, source, order[:1])


class Gradient(ICem):
    """The elites follow the gradient of the cost through the model (Adam); the rest is drawn as in iCEM.

    `search` gives the gradient: a callable (n, T, A) -> (n, T, A).
    """

    def __init__(self, config: SearchConfig, action_dim: int) -> None:
        super().__init__(config, action_dim)
        self.gradient: Callable[[torch.Tensor], torch.Tensor] = torch.zeros_like
        self._refined = torch.zeros((config.elites, config.horizon, action_dim))
        self._m = torch.zeros_like(self._refined)
        self._v = torch.zeros_like(self._refined)
        self._count = self._age = 0

    def start(self, mean):
        super().start(mean)
        self._count = self._age = 0

    def propose(self, iteration, seeds, out, source, generator):
        super().propose(iteration, seeds, out, source, generator)
        if iteration and self._count:
            count = min(self._count, len(out) - 1 - self.kept_count)
            out[len(out) - count :] = self._refined[:count]
            source[len(out) - count :] = GRADIENT

    def update(self, candidates, source, order, cost):
        super().update(candidates, source, order, cost)
        if self._count == 0:  # refine the best of the first iteration, and the same ones further on
            self._count = min(self.config.elites, len(order))
            self._refined[: self._count] = candidates[torch.from_numpy(order[: self._count])]
            self._m.zero_()
            self._v.zero_()
        now = self._refined[: self._count]
        slope = torch.nan_to_num(self.gradient(now), nan=0.0, posinf=0.0, neginf=0.0)
        self._age += 1
        m, v = self._m[: self._count], self._v[: self._count]
        m.mul_(0.9).add_(slope, alpha=0.1)
        v.mul_(0.99).addcmul_(slope, slope, value=0.01)
        step = (m / (1.0 - 0.9**self._age)) / ((v / (1.0 - 0.99**self._age)).sqrt() + 1e-8)
        now.sub_(step, alpha=self.config.learning_rate).clamp_(-1.0, 1.0)


SAMPLERS = {"icem": ICem, "mppi": Mppi, "random": Sampler, "gradient": Gradient}
