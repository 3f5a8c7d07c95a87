# SPDX-License-Identifier: Apache-2.0
"""Teaching the learned proposal: a goal-conditioned inverse model on frozen latents, by hindsight.

Whatever an episode came to later was a goal that its actions led to: those up to the goal are the answer, those after
it say nothing (Ghosh et al., "Learning to reach goals via iterated supervised learning", 2021).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.parallel.watch import at
from jepa_ros.learning.representation.diagnostics import Latents, encode_episodes
from jepa_ros.learning.representation.representation import cosine
from jepa_ros.learning.stages.order import Order
from jepa_ros.learning.stages.readouts import Report, descend, optimizer_for
from jepa_ros.world_model import WorldModel, load_checkpoint
from jepa_ros.world_model.inverse_model import InverseModel
from jepa_ros.world_model.readouts import PROPOSAL

LONGEST = 2.0  # goals lie up to so many times the proposal's steps ahead


def _draw(
    head: InverseModel, latents: Latents, batch: int, generator: torch.Generator, mine: slice, device: torch.device
) -> tuple[Tensor, ...]:
    """Latents (B, D), goals (B, D), the actions wanted (B, steps, A), what each counts for (B, steps), of the rows
    ``mine`` of a batch."""
    length, steps = latents.z.shape[1], head.steps
    e = torch.randint(0, latents.z.shape[0], (batch,), generator=generator)
    t = (torch.rand(batch, generator=generator) * (length - 1)).long()
    room = (length - 1 - t).clamp_max(int(LONGEST * steps))
    gap = 1 + (torch.rand(batch, generator=generator) * room).long().clamp_max(room - 1)
    when = t[:, None] + torch.arange(steps)  # (batch, steps)
    counts = (torch.arange(steps) < gap[:, None]).float()
    counts = counts * (batch / counts.sum())  # of the whole batch, so that its loss is a mean over rows
    e, t, gap, when, counts = (drawn[mine] for drawn in (e, t, gap, when, counts))
    wanted = latents.actions[e[:, None], when.clamp_max(length - 1)]
    return tuple(v.to(device) for v in (latents.z[e, t], latents.z[e, t + gap], wanted, counts))


def _error(head: InverseModel, z: Tensor, goal: Tensor, wanted: Tensor, counts: Tensor) -> Tensor:
    """Squared error of the actions up to the goal."""
    return ((head(z, goal) - wanted).square().mean(-1) * counts).sum() / len(z)


def fit_proposal(
    model: WorldModel, latents: Latents, steps: int, seed: int, report: Report, batch: int = 512
) -> None:  # fmt: skip
    """Fit the head ``proposal``, where the model has one."""
    if "proposal" not in model.readouts:
        return
    head = model.heads["proposal"]
    head.train().requires_grad_(True)
    optimizer, generator = optimizer_for(head.parameters(), 1e-3), torch.Generator().manual_seed(seed)
    assert isinstance(head, InverseModel)
    learned = ranks.learned(lambda *drawn: {"error": _error(head, *drawn)}, head)
    mine = ranks.share(batch)
    for step in range(steps):
        at(f"proposal, step {step}")
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * cosine(step, steps)
        drawn = _draw(head, latents, batch, generator, mine, model.device)
        terms = descend(learned, optimizer, batch, 1.0, *drawn)
        if step % 50 == 0:
            report("proposal", step, steps, ranks.averaged(terms, batch))
    head.eval().requires_grad_(False)


@torch.inference_mode()
def judge_proposal(model: WorldModel, held_out: Latents, batch: int = 4096) -> dict[str, float]:
    """Squared error on held-out episodes, beside that of the mean action: 1 would be as good as not looking."""
    head = model.heads["proposal"]
    assert isinstance(head, InverseModel)
    drawn = _draw(head, held_out, batch, torch.Generator().manual_seed(0), slice(None), model.device)
    error = _error(head, *drawn)
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
    training, held_out = order.split(card)
    length = min(120, *(data.usual_length(part) for part in (training, held_out)))
    latents = encode_episodes(model, data, training, length)
    grown = add_proposal(model, latents, proposal_steps, order.steps, seed, order.report)
    judged = judge_proposal(grown, encode_episodes(model, data, held_out, length))
    return order.save(grown, {**card, "metrics": {**card.get("metrics", {}), "proposal": judged}})
