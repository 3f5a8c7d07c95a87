# SPDX-License-Identifier: Apache-2.0
"""Teaching the learned proposal: a goal-conditioned inverse model on frozen latents, by hindsight.

Whatever an episode came to later was a goal that its actions led to: those up to the goal are the answer, those after
it say nothing (Ghosh et al., "Learning to reach goals via iterated supervised learning", 2021).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from jepa_ros.learning.representation.diagnostics import Latents, encode_episodes
from jepa_ros.learning.representation.representation import cosine
from jepa_ros.learning.stages.order import Order
from jepa_ros.learning.stages.readouts import Report, optimizer_for
from jepa_ros.world_model import WorldModel, load_checkpoint, save_checkpoint
from jepa_ros.world_model.inverse_model import InverseModel
from jepa_ros.world_model.readouts import PROPOSAL

LONGEST = 2.0  # goals lie up to so many times the proposal's steps ahead


def _loss(head: InverseModel, latents: Latents, batch: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Squared error of the actions up to the goal."""
    length, steps = latents.z.shape[1], head.steps
    e = torch.randint(0, latents.z.shape[0], (batch,), generator=generator)
    t = (torch.rand(batch, generator=generator) * (length - 1)).long()
    room = (length - 1 - t).clamp_max(int(LONGEST * steps))
    gap = 1 + (torch.rand(batch, generator=generator) * room).long().clamp_max(room - 1)
    at = t[:, None] + torch.arange(steps)  # (batch, steps)
    counts = (torch.arange(steps) < gap[:, None]).float().to(device)
    wanted = latents.actions[e[:, None], at.clamp_max(length - 1)].to(device)
    found = head(latents.z[e, t].to(device), latents.z[e, t + gap].to(device))
    return ((found - wanted).square().mean(-1) * counts).sum() / counts.sum()


def fit_proposal(
    model: WorldModel, latents: Latents, steps: int, seed: int, report: Report, batch: int = 512
) -> None:  # fmt: skip
    """Fit the head ``proposal``, where the model has one."""
    if "proposal" not in model.readouts:
        return
    head = model.heads["proposal"]
    assert isinstance(head, InverseModel)
    head.train().requires_grad_(True)
    optimizer, generator = optimizer_for(head.parameters(), 1e-3), torch.Generator().manual_seed(seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * cosine(step, steps)
        loss = _loss(head, latents, batch, generator, model.device)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            report("proposal", step, steps, {"error": loss.item()})
    head.eval().requires_grad_(False)


@torch.inference_mode()
def judge_proposal(model: WorldModel, held_out: Latents, batch: int = 4096) -> dict[str, float]:
    """Squared error on held-out episodes, beside that of the mean action: 1 would be as good as not looking."""
    head = model.heads["proposal"]
    assert isinstance(head, InverseModel)
    error = _loss(head, held_out, batch, torch.Generator().manual_seed(0), model.device)
    spread = held_out.actions.flatten(0, 1).var(0).mean()
    return {"error": float(error), "ratio": float(error / spread)}


def add_proposal(
    model: WorldModel, latents: Latents, proposal_steps: int, steps: int, seed: int, report: Report
) -> WorldModel:
    """The same model with a freshly fitted proposal: for checkpoints that were trained without one."""
    readouts = tuple((model.readouts | {"proposal": PROPOSAL}).values())
    config = replace(model.config, readouts=readouts, proposal_steps=proposal_steps)
    grown = WorldModel(config).to(model.device)
    grown.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("heads.proposal.")}, False)
    grown.eval().requires_grad_(False)
    fit_proposal(grown, latents, steps, seed, report)
    return grown


def renew_proposal(order: Order, proposal_steps: int = 12) -> dict[str, Any]:
    """Give a checkpoint a proposal, in place; returns the card as written."""
    data, seed = order.data, order.seed
    model, card = load_checkpoint(order.folder, data.contract)
    training, held_out = data.split(float(card.get("settings", {}).get("held_out", 0.08)), seed)
    length = min(120, *(data.usual_length(part) for part in (training, held_out)))
    latents = encode_episodes(model, data, training, length)
    grown = add_proposal(model, latents, proposal_steps, order.steps, seed, order.report)
    judged = judge_proposal(grown, encode_episodes(model, data, held_out, length))
    return save_checkpoint(order.folder, grown, {**card, "metrics": {**card.get("metrics", {}), "proposal": judged}})
