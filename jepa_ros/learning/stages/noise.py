# SPDX-License-Identifier: Apache-2.0
"""Whether the predictor's noise samples spread as the world does: their spread against the error met, and its width."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from jepa_ros.learning.representation.diagnostics import Latents
from jepa_ros.world_model import WorldModel

STEPS = (1, 5, 12)
INTERVALS = (0.5, 0.9)
SAMPLES = 32
#: The noise is never narrowed or widened by more: what asks for it is broken otherwise.
WIDEST = 2.0
HALVINGS = 7  # of the range of widths: to less than 2 %


@dataclass
class _Windows:
    """Starts of futures, and what came: z (R, D), h (R, S), actions and truth (R, T, ...), steps that are judged."""

    start: torch.Tensor
    h: torch.Tensor
    actions: torch.Tensor
    truth: torch.Tensor
    steps: tuple[int, ...]


def _windows(model: WorldModel, episodes: Latents) -> _Windows | None:
    """None where the episodes are too short for any of the steps."""
    z, actions = episodes.z, episodes.actions
    steps = tuple(k for k in STEPS if z.shape[1] >= k + 2)
    if not steps or not len(z):
        return None
    longest = max(steps)
    starts = range(1, z.shape[1] - longest, 6)
    first, start, before = (torch.cat([x[:, s + d] for s in starts]) for x, d in ((z, -1), (z, 0), (actions, -1)))
    future = torch.cat([actions[:, s : s + longest] for s in starts])
    truth = torch.cat([z[:, s + 1 : s + longest + 1] for s in starts])
    device = model.device
    _, h = model.predict(first.to(device), before.to(device), None, model.initial_state(len(start)))
    return _Windows(start.to(device), h, future.to(device), truth, steps)


def _futures(model: WorldModel, windows: _Windows, samples: int, seed: int, width: float = 1.0) -> torch.Tensor:
    """(samples, R, T, D) with noise of standard deviation ``width``."""
    generator = torch.Generator().manual_seed(seed)
    shape = (*windows.actions.shape[:2], model.config.noise_dim)
    rolled = []
    for _ in range(samples):
        noise = width * torch.randn(shape, generator=generator).to(windows.start.device)
        rolled.append(model.rollout(windows.start, windows.h, windows.actions, noise)[0].cpu())
    return torch.stack(rolled)


@torch.inference_mode()
def calibrate_noise(model: WorldModel, episodes: Latents, seed: int = 1) -> float:
    """Widen or narrow the predictor's noise until the intervals of its futures hold the truth as often as they say.

    Trained futures fit the episodes that they were trained on; on others the errors are larger. One width for all
    steps, by bisection: the coverages of the 50 % and of the 90 % interval after 1, 5 and 12 steps are right on
    average. It is folded into the weights by which the noise enters, so that a search draws standard noise as before.

    Args:
        model: changed in place. episodes: of no training, and others than those that the result is judged on.

    Returns:
        The width; 1 where the episodes are too short or too few to tell.
    """
    windows = _windows(model, episodes)
    if windows is None:
        return 1.0
    low, high = -math.log(WIDEST), math.log(WIDEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        futures = _futures(model, windows, SAMPLES, seed, math.exp(middle))
        missing = [
            share - coverage(futures[:, :, k - 1], windows.truth[:, k - 1], share)
            for k in windows.steps
            for share in INTERVALS
        ]
        low, high = (middle, high) if sum(missing) > 0.0 else (low, middle)
    width = math.exp((low + high) / 2.0)
    model.predictor.scale_noise(width)
    return width


@torch.inference_mode()
def judge_noise(model: WorldModel, held_out: Latents, samples: int = SAMPLES, seed: int = 0) -> dict[str, Any]:
    """Calibration of the futures after 1, 5 and 12 steps; of longer ones than the episodes none.

    Returns:
        ``samples``; ``steps``: {steps: ``correlation`` (Spearman's, over windows, of the futures' spread with the error
        of their mean, both RMS over the latent), ``spread``, ``error`` (means of the two), ``coverage_50``,
        ``coverage_90``: how often the truth lies in the central interval of the futures, value by value}.
    """
    windows = _windows(model, held_out)
    if windows is None:
        return {"samples": samples, "steps": {}}
    futures = _futures(model, windows, samples, seed)
    return {
        "samples": samples,
        "steps": {str(k): _judge(futures[:, :, k - 1], windows.truth[:, k - 1]) for k in windows.steps},
    }


def coverage(futures: torch.Tensor, truth: torch.Tensor, share: float) -> float:
    """How often the truth (R, D) lies in the central interval of futures (samples, R, D), value by value.

    The ends of the interval are the order statistics p (samples + 1): among n samples of one distribution and one more,
    each rank of that one is equally likely, so that futures that spread as the world does are met by ``share`` exactly.
    The usual quantiles of 32 samples, p (samples - 1), would be met by 84.5 % where 90 % are asked for.
    """
    ordered, samples = futures.sort(dim=0).values, len(futures)
    place = (0.5 - share / 2.0) * (samples + 1) - 1.0
    if place < 0.0:
        raise ValueError(f"{samples} samples cannot tell a {share:.0%} interval")
    i, part = int(place), place - int(place)
    low = torch.lerp(ordered[i], ordered[i + 1], part)
    high = torch.lerp(ordered[samples - 1 - i], ordered[samples - 2 - i], part)
    return float(((truth >= low) & (truth <= high)).double().mean())


def _judge(futures: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    spread = futures.var(0).mean(-1).sqrt()
    error = (futures.mean(0) - truth).square().mean(-1).sqrt()
    ranks = torch.stack([x.argsort().argsort().double() for x in (spread, error)])
    found = {
        "correlation": float(torch.corrcoef(ranks)[0, 1]),
        "spread": float(spread.mean()),
        "error": float(error.mean()),
    }
    for share in INTERVALS:
        found[f"coverage_{round(100 * share)}"] = coverage(futures, truth, share)
    return found
