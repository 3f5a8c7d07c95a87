# SPDX-License-Identifier: Apache-2.0
"""Readouts of pairs of views, fitted on frozen latents: seen ones, and those that the predictor expects.

A search compares predicted latents with a goal's. Heads that learned from seen latents alone mislead there.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.parallel.watch import at
from jepa_ros.learning.representation.diagnostics import Latents
from jepa_ros.learning.representation.pairs import FACING, LABELS, LONGEST, Pairs, pair_losses, taught
from jepa_ros.learning.representation.representation import cosine
from jepa_ros.learning.stages.readouts import Report, descend, optimizer_for, verdict
from jepa_ros.world_model import WorldModel

#: Control steps that predicted latents are ahead.
AHEAD = (2, 5, 9)
#: Shares of a batch: the view that is compared is a predicted one; the other view is of another drive.
PREDICTED, OTHERS = 0.5, 0.25
#: Edges [m] of the distances by which the errors of a relative pose are told.
BINS = (0.0, 0.25, 0.5, 1.0, 2.0)


@torch.inference_mode()
def predicted(model: WorldModel, latents: Latents) -> Tensor:
    """(len(AHEAD), E, T, D): what the predictor expected of each moment so many steps before, the latent where there is
    nothing before."""
    z, actions, device = latents.z, latents.actions, model.device
    found = latents.z[None].repeat(len(AHEAD), 1, 1, 1)
    for start in range(1, z.shape[1] - 1):
        first, h = z[:, start - 1].to(device), model.initial_state(len(z))
        _, h = model.predict(first, actions[:, start - 1].to(device), None, h)
        now = z[:, start].to(device)
        for k in range(1, min(max(AHEAD), z.shape[1] - 1 - start) + 1):
            now, h = model.predict(now, actions[:, start + k - 1].to(device), None, h)
            if k in AHEAD:
                found[AHEAD.index(k), :, start + k] = now.cpu()
    return found


def _gaps(count: int, generator: torch.Generator) -> Tensor:
    """Control steps between two views (count,): short ones are likelier, of which more is to be seen in both."""
    share = torch.rand(count, generator=generator) * 2.0 - 1.0
    return (share * share.abs() * LONGEST).round().long()


def _draw(latents: Latents, ahead: Tensor, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Pairs]:
    """Latents (B, D) that are compared, those that they are compared with, and how the pairs lie to each other."""
    episodes, length = latents.z.shape[:2]
    odometry = latents.states["odom"]
    e = torch.randint(0, episodes, (batch,), generator=generator)
    t = torch.randint(0, length, (batch,), generator=generator)
    gap = _gaps(batch, generator)
    other = torch.rand(batch, generator=generator) < OTHERS
    e2 = torch.where(other, torch.randint(0, episodes, (batch,), generator=generator), e)
    t2 = (t + gap).clamp(0, length - 1)
    which = torch.randint(0, len(AHEAD), (batch,), generator=generator)
    foreseen = torch.rand(batch, generator=generator) < PREDICTED
    here = torch.where(foreseen[:, None], ahead[which, e, t], latents.z[e, t])
    layouts = torch.from_numpy(latents.layouts)
    pairs = Pairs(odometry[e, t], odometry[e2, t2], (t2 - t).abs(), e == e2, layouts[e] != layouts[e2])
    return here, latents.z[e2, t2], pairs


def fit_pairs(model: WorldModel, latents: Latents, steps: int, seed: int, report: Report, batch: int = 1024) -> None:
    """Fit the readouts of pairs that odometry teaches, where the model has some."""
    fitted = list(taught(model))
    if not fitted:
        return
    generator, ahead = torch.Generator().manual_seed(seed), predicted(model, latents).clone()
    heads = [model.heads[name].train().requires_grad_(True) for name in fitted]
    optimizer = optimizer_for((p for head in heads for p in head.parameters()), 1e-3)

    def losses(here: Tensor, there: Tensor, *pairs: Tensor) -> dict[str, Tensor]:
        found = pair_losses(model, here, there, Pairs(*pairs))
        return {"": torch.stack(list(found.values())).sum(), **found}

    learned, mine = ranks.learned(losses, *heads), ranks.share(batch)
    for step in range(steps):
        at(f"pairs, step {step}")
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * cosine(step, steps)
        here, there, pairs = _draw(latents, ahead, batch, generator)
        given = (here, there, pairs.here, pairs.there, pairs.gap, pairs.one_drive, pairs.elsewhere)
        terms = descend(learned, optimizer, batch, 1.0, *(v[mine].to(model.device) for v in given))
        if step % 50 == 0:
            report("pairs", step, steps, {k: v for k, v in ranks.averaged(terms, batch).items() if k})
    for head in heads:
        head.eval().requires_grad_(False)


@torch.inference_mode()
def judge_pairs(model: WorldModel, held_out: Latents, seed: int = 0, count: int = 20_000) -> dict[str, dict[str, Any]]:
    """The readouts of pairs on drives that were never trained on.

    Returns:
        {name: ``r2`` of each value, ``least``, ``used`` as :func:`~jepa_ros.learning.stages.readouts.judge_readouts`;
        of a relative pose also ``by_distance``: {``seen`` or ``predicted_STEPS``: {``metres``, ``degrees``, ``doubt``:
        the mean between each two edges of BINS, of views that are turned by at most FACING}}}.
    """
    found: dict[str, dict[str, Any]] = {}
    if not taught(model):
        return found
    generator = torch.Generator().manual_seed(seed)
    ahead = predicted(model, held_out)
    here, there, pairs = _draw(held_out, ahead, count, generator)
    for name, readout in taught(model).items():
        wanted, counts = LABELS[readout.labels](pairs)
        values = model.read(name, here.to(model.device), there.to(model.device)).cpu()
        read = values.reshape(len(values), -1)[counts, : wanted.shape[1]].double()
        labels = wanted[counts].double()
        found[name] = verdict(read, labels, readout.least_r2)
        if readout.labels == "odometry":
            found[name] |= _errors(model, held_out, ahead, name, generator)
    return ranks.same(found)


def _errors(
    model: WorldModel, latents: Latents, ahead: Tensor, name: str, generator: torch.Generator, count: int = 20_000
) -> dict[str, dict[str, dict[str, list[float | None]]]]:
    """Mean errors by distance, of seen and of predicted views."""
    length = latents.z.shape[1]
    e = torch.randint(0, len(latents.z), (count,), generator=generator)
    t = torch.randint(max(AHEAD) + 1, length, (count,), generator=generator)
    t2 = (t + _gaps(count, generator)).clamp(0, length - 1)
    odometry = latents.states["odom"]
    wanted = Pairs(odometry[e, t], odometry[e, t2], t, t == t, t != t).relative
    away, facing = wanted[:, :2].norm(dim=1), wanted[:, 2] > math.cos(FACING)
    told: dict[str, dict[str, list[float | None]]] = {}
    compared = {"seen": latents.z[e, t]} | {f"predicted_{k}": ahead[i, e, t] for i, k in enumerate(AHEAD)}
    for kind, here in compared.items():
        read = model.read(name, here.to(model.device), latents.z[e, t2].to(model.device)).cpu()
        metres = (read[:, :2] - wanted[:, :2]).norm(dim=1)
        turn = torch.atan2(read[:, 3], read[:, 2]) - torch.atan2(wanted[:, 3], wanted[:, 2])
        degrees = torch.rad2deg(torch.atan2(turn.sin(), turn.cos()).abs())
        rows = [(away >= low) & (away < high) & facing for low, high in pairwise(BINS)]
        values = {"metres": metres, "degrees": degrees, "doubt": read[:, 4]}
        told[kind] = {
            error: [float(value[row].mean()) if bool(row.any()) else None for row in rows]
            for error, value in values.items()
        }
    return {"by_distance": told}
