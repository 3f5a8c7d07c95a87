# SPDX-License-Identifier: Apache-2.0
"""Whether the predictor's noise samples spread as the world does: their spread against the error met."""

from __future__ import annotations

from typing import Any

import torch

from jepa_ros.learning.diagnostics import Latents
from jepa_ros.world_model import WorldModel

STEPS = (1, 5, 12)
INTERVALS = (0.5, 0.9)


@torch.inference_mode()
def judge_noise(model: WorldModel, held_out: Latents, samples: int = 32, seed: int = 0) -> dict[str, Any]:
    """Calibration of the futures after 1, 5 and 12 steps; of longer ones than the episodes none.

    Returns:
        ``samples``; ``steps``: {steps: ``correlation`` (Spearman's, over windows, of the futures' spread with the error
        of their mean, both RMS over the latent), ``spread``, ``error`` (means of the two), ``coverage_50``,
        ``coverage_90``: how often the truth lies in the central interval of the futures, value by value}.
    """
    z, actions = held_out.z, held_out.actions
    generator = torch.Generator().manual_seed(seed)
    steps = tuple(k for k in STEPS if z.shape[1] >= k + 2)
    longest = max(steps, default=0)
    if not longest:
        return {"samples": samples, "steps": {}}
    starts = range(1, z.shape[1] - longest, 6)
    first, start, before = (torch.cat([x[:, s + d] for s in starts]) for x, d in ((z, -1), (z, 0), (actions, -1)))
    future = torch.cat([actions[:, s : s + longest] for s in starts])
    truth = torch.cat([z[:, s + 1 : s + longest + 1] for s in starts])
    device, rows = model.device, len(start)
    _, h = model.predict(first.to(device), before.to(device), None, model.initial_state(rows))
    rolled = []
    for _ in range(samples):
        noise = torch.randn(rows, longest, model.config.noise_dim, generator=generator).to(device)
        rolled.append(model.rollout(start.to(device), h, future.to(device), noise)[0].cpu())
    futures = torch.stack(rolled)  # (samples, rows, T, D)
    return {"samples": samples, "steps": {str(k): _judge(futures[:, :, k - 1], truth[:, k - 1]) for k in steps}}


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
        low, high = (torch.quantile(futures, q, dim=0) for q in (0.5 - share / 2, 0.5 + share / 2))
        found[f"coverage_{round(100 * share)}"] = float(((truth >= low) & (truth <= high)).double().mean())
    return found
