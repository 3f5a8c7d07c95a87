# SPDX-License-Identifier: Apache-2.0
"""Teaching the way between states (readout ``way``): value iteration in imagination, on frozen latents.

The world model is asked what a few held actions lead to from many states, real ones and dreamed ones. The way to a goal
is the least, over those actions, of the steps taken and the way that is left (Bellman's equation of shortest ways), so
that ways join which nobody drove whole. Two things keep this cheap. What the actions lead to is imagined once and used
many times. And since a way follows from two codes (:mod:`jepa_ros.world_model.way_head`), every state of a batch is
taught its way to every goal of it at the price of encoding each once.

Goals are states of the same layout: a latent tells the robot's surroundings too.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from jepa_ros.learning.representation.diagnostics import Latents, encode_episodes
from jepa_ros.learning.representation.representation import cosine
from jepa_ros.learning.stages.order import Order
from jepa_ros.learning.stages.readouts import Report, optimizer_for
from jepa_ros.learning.stages.true_ways import true_ways
from jepa_ros.statistics import rank_correlation
from jepa_ros.world_model import WorldModel, load_checkpoint, save_checkpoint
from jepa_ros.world_model.readouts import WAY
from jepa_ros.world_model.way_head import WayHead

STATES = 12_000  # imagined from, over all layouts, each time
LEAST = 32  # of a layout
RENEWALS = 2  # times that they are drawn and imagined anew
DREAMT = 0.5  # share of the states that were dreamed: they lie where no episode went
DREAM = 40  # control steps of a dream at most
TURN = 0.2  # chance that a dream goes on with another action
ACTIONS = 16  # held from each state
LENGTHS = (1, 2, 4, 8)  # control steps for which they are held, in turn: long ones spread what is known of far goals
LAYOUTS, FROM, TO = 4, 48, 64  # of a batch: layouts, states in each, goals in each
NEAR = 0.25  # share of the goals that are what an action led to: ways of a few steps
SLOW = 0.05  # share of the head that its slow copy takes over with each batch
CHUNK = 8192  # states that are imagined from at once
GAPS = 12  # control steps up to which :func:`judge_way` looks ahead
TOP = 150.0  # control steps: no way is told to be longer while it is learned


@dataclass
class Imagined:
    """States of one layout and what actions lead to: z (n, D), after (n, A, D); ``spent`` (A,) are the steps taken."""

    z: Tensor
    after: Tensor
    spent: Tensor


@torch.inference_mode()
def imagine(model: WorldModel, latents: Latents, generator: torch.Generator) -> list[Imagined]:
    """Draw states of every layout, and imagine what actions held from them lead to."""
    members: dict[int, list[int]] = {}
    for piece, layout in enumerate(latents.layouts):
        members.setdefault(int(layout), []).append(piece)
    each = max(LEAST, STATES // len(members))
    pieces = torch.cat([
        torch.tensor(found)[torch.randint(0, len(found), (each,), generator=generator)] for found in members.values()
    ])  # fmt: skip
    found = [_imagine(model, latents, part, generator) for part in pieces.split(CHUNK)]
    z, after = (torch.cat(values).unflatten(0, (len(members), each)) for values in zip(*found))
    spent = torch.tensor([LENGTHS[i % len(LENGTHS)] for i in range(ACTIONS)], dtype=torch.float32)
    return [Imagined(a.clone(), b.clone(), spent) for a, b in zip(z, after)]


def _imagine(
    model: WorldModel, latents: Latents, pieces: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """States of pieces (n,) and what actions lead to: (n, D), (n, A, D)."""
    count, dims, device = len(pieces), model.config.action_dim, model.device
    t = torch.randint(1, latents.z.shape[1], (count,), generator=generator)
    before = latents.z[pieces, t - 1].to(device), latents.actions[pieces, t - 1].to(device)
    _, h = model.predict(*before, None, model.initial_state(count))
    z = latents.z[pieces, t].to(device)
    left = torch.randint(1, DREAM + 1, (count,), generator=generator)
    left[torch.rand(count, generator=generator) > DREAMT] = 0
    action = _actions(count, dims, generator).to(device)
    for _ in range(DREAM):
        going = (left > 0).to(device)[:, None]
        if not bool(going.any()):
            break
        turn = (torch.rand(count, generator=generator) < TURN).to(device)[:, None]
        action = torch.where(turn, _actions(count, dims, generator).to(device), action)
        moved, state = model.predict(z, action, None, h)
        z, h, left = torch.where(going, moved, z), torch.where(going, state, h), left - 1
    held = _actions(count * ACTIONS, dims, generator).to(device)
    zs, hs = z.repeat_interleave(ACTIONS, 0), h.repeat_interleave(ACTIONS, 0)
    after = torch.empty(count, ACTIONS, z.shape[-1], device=device)
    for step in range(1, max(LENGTHS) + 1):
        zs, hs = model.predict(zs, held, None, hs)
        if step in LENGTHS:
            which = slice(LENGTHS.index(step), None, len(LENGTHS))
            after[:, which] = zs.unflatten(0, (count, ACTIONS))[:, which]
    return z.cpu(), after.cpu()


def _actions(count: int, dims: int, generator: torch.Generator) -> Tensor:
    """(count, dims) in [-1, 1]; two of three as large as can be, in a direction of their own."""
    drawn = 2.0 * torch.rand(count, dims, generator=generator) - 1.0
    full = torch.rand(count, 1, generator=generator) < 2 / 3
    return torch.where(full, drawn / drawn.abs().amax(1, keepdim=True).clamp_min(1e-6), drawn)


def fit_way(model: WorldModel, latents: Latents, steps: int, seed: int, report: Report) -> None:
    """Fit the head ``way``, where the model has one."""
    if WAY.name not in model.readouts:
        return
    head, device = model.heads[WAY.name], model.device
    assert isinstance(head, WayHead)
    generator = torch.Generator().manual_seed(seed)
    head.train().requires_grad_(True)
    slow = copy.deepcopy(head).requires_grad_(False)
    optimizer = optimizer_for(head.parameters(), 1e-3)
    places: list[Imagined] = []
    for step in range(steps):
        if step % -(-steps // RENEWALS) == 0:
            places = imagine(model, latents, generator)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * cosine(step, steps)
        loss, told = _loss(head, slow, _batch(places, generator, device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for p, q in zip(slow.parameters(), head.parameters(), strict=True):
                p.lerp_(q, SLOW)
        if step % 50 == 0:
            report("way", step, steps, {"loss": loss.item(), "steps": told})
    head.eval().requires_grad_(False)


def _batch(places: list[Imagined], generator: torch.Generator, device: torch.device) -> tuple[Tensor, ...]:
    """States (L, n, D), what actions lead to (L, n, A, D), the steps taken (A,), and goals (L, m, D)."""
    states, after, goals = [], [], []
    near = int(NEAR * TO)
    for layout in torch.randint(0, len(places), (LAYOUTS,), generator=generator).tolist():
        place = places[layout]
        rows, others = (torch.randint(0, len(place.z), (n,), generator=generator) for n in (FROM, TO - near))
        led = place.after[rows].flatten(0, 1)
        to = led[torch.randint(0, len(led), (near,), generator=generator)]
        states.append(place.z[rows])
        after.append(place.after[rows])
        goals.append(torch.cat([place.z[others], to]))
    found = torch.stack(states), torch.stack(after), places[0].spent, torch.stack(goals)
    return tuple(value.to(device) for value in found)


def _loss(head: WayHead, slow: WayHead, batch: tuple[Tensor, ...]) -> tuple[Tensor, float]:
    """The error of the ways of a batch, and the mean way."""
    z, after, spent, goals = batch
    with torch.no_grad():
        to = slow.code(goals)[:, None]  # (L, 1, m, K)
        left = torch.stack([slow.steps(slow.code(after[:, :, a])[:, :, None], to) for a in range(len(spent))])
        target = (left + spent[:, None, None, None]).amin(0).clamp_max(TOP)  # (L, n, m)
    found = head.steps(head.code(z)[:, :, None], head.code(goals)[:, None])
    # A share of the way and not steps: near the goal a step decides, far away ten do not.
    weight = 1.0 / (1.0 + target.sqrt())
    return (weight * nn.functional.smooth_l1_loss(found, target, reduction="none")).mean(), float(found.detach().mean())


@torch.inference_mode()
def judge_way(model: WorldModel, held_out: Latents) -> dict[str, Any]:
    """Whether the way grows with the time that lies between two moments of an episode, held out.

    No truth is needed for that: who drives about is not as far as the time that passed, but on the whole the farther,
    the longer.

    Returns:
        ``order``: rank correlation of the way with the steps that passed, up to GAPS; ``latent_order``: that of the
        latents' distance; ``longer``: share of the pairs whose way is more than the steps that passed, which it cannot
        be; ``least``: what ``order`` has to reach; ``used``.
    """
    z = held_out.z
    gaps = range(1, min(GAPS, z.shape[1] - 1) + 1)
    head = model.heads[WAY.name]
    assert isinstance(head, WayHead)
    code = head.code(z.to(model.device)).cpu()
    starts = z.shape[1] - max(gaps)
    way = torch.stack([head.steps(code[:, :starts], code[:, k : k + starts]) for k in gaps], -1)
    latent = torch.stack([(z[:, :starts] - z[:, k : k + starts]).square().mean(-1).sqrt() for k in gaps], -1)
    passed = torch.tensor(list(gaps), dtype=torch.float32).expand_as(way)
    least = model.readouts[WAY.name].least_order
    order = rank_correlation(way.flatten().numpy(), passed.flatten().numpy())
    return {
        "order": order,
        "latent_order": rank_correlation(latent.flatten().numpy(), passed.flatten().numpy()),
        "longer": float((way > passed + 1.0).double().mean()),
        "least": least,
        "used": least is None or order >= least,
    }


def add_way(model: WorldModel, latents: Latents, steps: int, seed: int, report: Report) -> WorldModel:
    """The same model with a freshly fitted way."""
    readouts = tuple((model.readouts | {WAY.name: WAY}).values())
    grown = WorldModel(replace(model.config, readouts=readouts)).to(model.device)
    old = {k: v for k, v in model.state_dict().items() if not k.startswith(f"heads.{WAY.name}.")}
    grown.load_state_dict(old, strict=False)
    grown.eval().requires_grad_(False)
    fit_way(grown, latents, steps, seed, report)
    return grown


def renew_way(order: Order) -> dict[str, Any]:
    """Give a checkpoint the way, in place, unless it fails its check; returns the card as written."""
    data, seed = order.data, order.seed
    model, card = load_checkpoint(order.folder, data.contract)
    training, held_out = order.split(card)
    length = min(120, *(data.usual_length(part) for part in (training, held_out)))
    torch.manual_seed(seed)
    latents = encode_episodes(model, data, training, length, order.bf16)
    grown = add_way(model, latents, order.steps, seed + 6, order.report)
    judged = judge_way(grown, encode_episodes(grown, data, held_out, length, order.bf16))
    judged["true"] = true_ways(grown, data)
    if not judged["used"]:
        del grown.heads[WAY.name]
        grown.config = replace(grown.config, readouts=tuple(r for r in grown.config.readouts if r.name != WAY.name))
    return save_checkpoint(order.folder, grown, {**card, "metrics": {**card.get("metrics", {}), "way": judged}})
