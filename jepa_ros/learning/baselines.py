# SPDX-License-Identifier: Apache-2.0
"""Teaching policies without search, to be compared with it: they look at the picture and the goal picture, and answer.

``inverse``: a goal-conditioned inverse model on frozen latents, taught with goals few steps ahead. ``bc``: goal-
conditioned behaviour cloning on frozen latents, taught with goals up to :data:`LONGEST_GAP` ahead. ``bc_pixels``: the
same from pictures, with an encoder of its own; of the pictures of a batch each earlier one of a drive is taught every
later one, so that it sees near goals somewhat more often than ``bc`` does (the error that ends it is that of ``bc``).
All are taught from the planner's data, by hindsight, until the error on held-out episodes has not fallen for a while.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.sampler import tensors
from jepa_ros.learning.representation.diagnostics import Latents, encode_episodes
from jepa_ros.learning.settings import TrainError, has_fast_bf16
from jepa_ros.learning.stages.order import Order
from jepa_ros.learning.stages.readouts import fit_heads
from jepa_ros.world_model import ModelConfig, WorldModel, load_checkpoint, save_checkpoint
from jepa_ros.world_model.inverse_model import InverseModel

KINDS = ("inverse", "bc", "bc_pixels")
LONGEST_GAP = {"inverse": 12, "bc": 40, "bc_pixels": 40}  # control steps from the picture to the goal
CHECK_EVERY, PATIENCE = 250, 8  # steps between looks at the held-out error; looks without progress that end a training
#: From pictures: the same, and the least steps; for thousands of them the error stands still, until the robot is found.
PATIENCE_PIXELS, LEAST_PIXELS = 12, 8000
POSE_STEPS = 1500  # batches that fit the pose readout of an encoder of its own
#: Drives in a batch of pictures, and pictures of each, of which every earlier one is taught every later one as a goal.
DRIVES, PICTURES = 16, 12
HEAD, META = "reach.safetensors", "reach.json"
Report = Callable[[str, int, int, dict[str, float]], None]


def _moments(lengths: Tensor, batch: int, longest: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draw episodes, times, and later times of goals, each (batch,)."""
    e = torch.randint(0, len(lengths), (batch,), generator=generator)
    room = lengths[e] - 1  # the last frame can only be a goal
    t = (torch.rand(batch, generator=generator) * room).long()
    gap = 1 + (torch.rand(batch, generator=generator) * torch.minimum(room - t, torch.tensor(longest))).long()
    return e, t, torch.minimum(t + gap, room)


def _fit(
    modules: nn.Module, loss_of: Callable[[bool, torch.Generator], Tensor], steps: int, seed: int, report: Report,
    patience: int, least: int = 0,
) -> dict[str, float]:  # fmt: skip
    """AdamW until the held-out loss has not fallen for ``patience`` looks, for ``least`` to ``steps`` batches.

    The weights of the best look are kept.
    """
    optimizer = torch.optim.AdamW(modules.parameters(), lr=1e-3, weight_decay=1e-3)
    generator = torch.Generator().manual_seed(seed)
    best, best_step, weights = float("inf"), 0, copy.deepcopy(modules.state_dict())
    for step in range(steps + 1):
        if step % CHECK_EVERY == 0:
            modules.eval()
            with torch.no_grad():
                drawn = [loss_of(False, torch.Generator().manual_seed(1000 + i)) for i in range(8)]
            loss = float(torch.stack(drawn).mean())
            report("policy", step, steps, {"held_out": loss, "best": min(best, loss)})
            if loss < best * 0.999:
                best, best_step, weights = loss, step, copy.deepcopy(modules.state_dict())
            if step >= least and step - best_step >= patience * CHECK_EVERY:
                break
            modules.train()
        loss_now = loss_of(True, generator)
        optimizer.zero_grad(set_to_none=True)
        loss_now.backward()
        nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
        optimizer.step()
    modules.load_state_dict(weights)
    modules.eval().requires_grad_(False)
    return {"held_out_error": best, "steps": best_step, "converged": float(step < steps)}


def _fit_latents(
    kind: str, head: InverseModel, splits: dict[bool, Latents], steps: int, seed: int, report: Report
) -> dict[str, float]:
    lengths = {k: torch.full((len(v.z),), v.z.shape[1]) for k, v in splits.items()}

    device = next(head.parameters()).device

    def loss_of(training: bool, generator: torch.Generator) -> Tensor:
        part = splits[training]
        e, t, goal = _moments(lengths[training], 512, LONGEST_GAP[kind], generator)
        z, target, wanted = (v.to(device) for v in (part.z[e, t], part.z[e, goal], part.actions[e, t]))
        return (head(z, target)[:, 0] - wanted).square().mean()

    return _fit(head, loss_of, steps, seed, report, PATIENCE)


def _fit_pixels(
    model: WorldModel, head: InverseModel, data: Dataset, episodes: dict[bool, np.ndarray], steps: int, seed: int,
    report: Report,
) -> dict[str, float]:  # fmt: skip
    lengths = {k: torch.from_numpy(data.index[v, 2].copy()) for k, v in episodes.items()}
    action, longest = data.contract.normalise, LONGEST_GAP["bc_pixels"]
    bf16 = has_fast_bf16(model.device.type)

    def encode(pieces: list[dict[str, np.ndarray]]) -> Tensor:
        inputs = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=bf16):
            return model.latent(tensors(inputs, model.device))

    def held_out_loss(generator: torch.Generator) -> Tensor:
        e, t, goal = _moments(lengths[False], 96, longest, generator)
        rows = [(int(episodes[False][i]), int(a), int(b)) for i, a, b in zip(e, t, goal)]
        seen = [data.inputs(n, k, 1) for n, a, b in rows for k in (a, b)]
        wanted = np.stack([action(data.slice("actions", n, a, 1)[0]) for n, a, _ in rows]).astype(np.float32)
        z = encode(seen).view(len(rows), 2, -1)
        return (head(z[:, 0], z[:, 1])[:, 0] - torch.from_numpy(wanted).to(model.device)).square().mean()

    def loss_of(training: bool, generator: torch.Generator) -> Tensor:
        if not training:
            return held_out_loss(generator)
        drawn, seen, wanted = torch.randint(0, len(lengths[True]), (DRIVES,), generator=generator), [], []
        span = min(longest + 1, int(lengths[True][drawn].min()))  # the shortest drive of a batch is that of all
        count = min(PICTURES, span)
        for i in drawn.tolist():
            number = int(episodes[True][i])
            begin = int(torch.randint(0, int(lengths[True][i]) - span + 1, (1,), generator=generator))
            at = torch.randperm(span, generator=generator)[:count].sort().values.numpy()
            seen.append({name: v[at] for name, v in data.inputs(number, begin, span).items()})
            wanted.append(action(data.slice("actions", number, begin, span)[at]).astype(np.float32))
        now, goal = torch.triu_indices(count, count, 1).tolist()
        z = encode(seen).view(DRIVES, count, -1)
        answers = head(z[:, now].flatten(0, 1), z[:, goal].flatten(0, 1))[:, 0]
        taught = torch.from_numpy(np.stack(wanted)).to(model.device)[:, now].flatten(0, 1)
        return (answers - taught).square().mean()

    return _fit(nn.ModuleList([model.encoder, head]), loss_of, steps, seed, report, PATIENCE_PIXELS, LEAST_PIXELS)


def train_baseline(
    kind: str, data: Dataset, base: Path, folder: Path, seed: int, steps: int = 20_000, report: Report | None = None,
    device: str = "cpu",
) -> dict[str, Any]:  # fmt: skip
    """Teach a policy and write it to ``folder``.

    Args:
        kind: one of :data:`KINDS`. base: checkpoint whose latents are used (its sizes alone for ``bc_pixels``).
        steps: at most so many batches. device: to train on.

    Returns:
        What came of it: ``held_out_error`` (squared, of normalised actions), ``steps``, ``converged`` (1: it stopped
        because nothing improved any more).
    """
    if kind not in KINDS:
        raise TrainError(f"no baseline '{kind}'; known: {', '.join(KINDS)}")
    say: Report = report or (lambda *_: None)
    torch.manual_seed(seed)
    model, card = load_checkpoint(base, data.contract, device)
    head = InverseModel(model.config.latent_dim, model.config.action_dim).to(device)
    training, held_out = data.split(0.08, seed)
    if kind == "bc_pixels":
        pose = [r for r in model.config.readouts if r.name == "pose"]
        model = WorldModel(ModelConfig.from_dict({**model.config.to_dict(), "readouts": pose})).to(device)
        found = _fit_pixels(model, head, data, {True: training, False: held_out}, steps, seed, say)
        latents = encode_episodes(model, data, training, min(120, data.usual_length(training)))
        fit_heads(model, latents, POSE_STEPS, seed + 2, say)
        card = {key: card[key] for key in ("contract", "data")}
    else:
        length = min(120, *(data.usual_length(part) for part in (training, held_out)))
        splits = {
            True: encode_episodes(model, data, training, length),
            False: encode_episodes(model, data, held_out, length),
        }
        found = _fit_latents(kind, head, splits, steps, seed, say)
    save_checkpoint(folder, model, card)
    temporary = folder / (HEAD + ".partial")
    save_file({k: v.cpu().contiguous() for k, v in head.state_dict().items()}, temporary)
    os.replace(temporary, folder / HEAD)
    (folder / META).write_text(json.dumps({"kind": kind, "seed": seed, **found}, indent=1) + "\n", encoding="utf-8")
    return found


def renew_inverse(order: Order) -> dict[str, Any]:
    """Lay an inverse model beside a checkpoint, a policy for ``jepa-ros eval``; returns the card as written."""
    found = train_baseline("inverse", order.data, order.folder, order.folder, order.seed, order.steps, order.report)
    model, card = load_checkpoint(order.folder, order.data.contract)
    return save_checkpoint(order.folder, model, {**card, "metrics": {**card.get("metrics", {}), "inverse": found}})
