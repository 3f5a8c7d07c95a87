# SPDX-License-Identifier: Apache-2.0
"""Numbers that a running stack needs to judge what it sees, taken from held-out data and carried by the model card."""

from __future__ import annotations

from typing import Any

import torch

from jepa_ros.learning.representation.diagnostics import Latents, pose_targets
from jepa_ros.world_model import WorldModel

QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)


@torch.inference_mode()
def calibrate(model: WorldModel, held_out: Latents) -> dict[str, Any]:
    """Quantiles of what is normal, on episodes that were never trained on.

    Returns:
        ``surprise``: quantiles of the one-step prediction error (RMS over the latent, predicted with the executed
        action). ``prediction_error``: its 99 % quantile, the unit of the planner's surprise.
        ``pose_error_m``: quantiles of the pose readout's error against the localisation.
        ``latent_rms``: root mean square of the latent about its mean, the unit that latent distances are given in.
        ``latent_mean``, ``latent_precision``: for the Mahalanobis distance of an input from the data;
        ``novelty``: its quantiles.
    """
    z, a = held_out.z, held_out.actions
    device = model.device
    h = model.initial_state(z.shape[0])
    errors = []
    for t in range(z.shape[1] - 1):
        predicted, h = model.predict(z[:, t].to(device), a[:, t].to(device), None, h)
        if t > 0:  # the recurrent state is filled by the first step
            errors.append((predicted.cpu() - z[:, t + 1]).square().mean(1).sqrt())
    flat = z.flatten(0, 1).double()
    mean = flat.mean(0)
    centred = flat - mean
    precision = torch.linalg.inv(centred.T @ centred / len(flat) + 1e-3 * torch.eye(flat.shape[1], dtype=flat.dtype))
    novelty = (centred @ precision * centred).sum(1).sqrt()
    surprise = _quantiles(torch.cat(errors))
    result: dict[str, Any] = {
        "surprise": surprise,
        "prediction_error": surprise["0.99"],
        "latent_rms": float(centred.square().mean().sqrt()),
        "latent_mean": mean.tolist(),
        "latent_precision": precision.tolist(),
        "novelty": _quantiles(novelty),
    }
    if "pose" in model.readouts and bool(torch.isfinite(held_out.poses).all()):
        error = model.read("pose", z.to(device)).cpu()[..., :2] - pose_targets(held_out.poses)[..., :2]
        result["pose_error_m"] = _quantiles(error.norm(dim=-1).flatten())
    return result


def _quantiles(values: torch.Tensor) -> dict[str, float]:
    ordered = values.double().sort().values
    return {str(q): float(ordered[min(len(ordered) - 1, int(q * len(ordered)))]) for q in QUANTILES}
