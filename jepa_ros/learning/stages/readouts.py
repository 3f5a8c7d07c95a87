# SPDX-License-Identifier: Apache-2.0
"""Phase two of training: on frozen latents, the predictor over a long horizon with noise, and the readouts.

Everything here runs on latents that were encoded once, so that it costs minutes and cannot touch the encoder.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.parallel.watch import at
from jepa_ros.learning.representation.diagnostics import Latents
from jepa_ros.learning.representation.losses import energy_score
from jepa_ros.learning.representation.representation import cosine
from jepa_ros.learning.stages.labels import labels_of
from jepa_ros.world_model import WorldModel

#: The losses of readouts that are learned from labels alone, of a head's output (B, n) and labels (B, n).
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": lambda output, wanted: (output - wanted).square().sum(1).mean(),
    "bernoulli": nn.functional.binary_cross_entropy_with_logits,
}
#: A label whose variance is less is the same all over the data: there is nothing to explain.
VARIES = 1e-9

Report = Callable[[str, int, int, dict[str, float]], None]


def _draw(latents: Latents, batch: int, frames: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Episode indices and start indices of ``batch`` windows of ``frames`` frames."""
    episodes = torch.randint(0, latents.z.shape[0], (batch,), generator=generator)
    starts = torch.randint(0, latents.z.shape[1] - frames + 1, (batch,), generator=generator)
    return episodes, starts


def descend(
    loss: Callable[..., dict[str, Tensor]], optimizer: torch.optim.Optimizer, rows: int, clip: float | None, *given: Any
) -> dict[str, Tensor]:
    """One step down a loss of this process's :func:`~jepa_ros.learning.parallel.ranks.share` of ``rows`` rows.

    Args:
        loss: of :func:`~jepa_ros.learning.parallel.ranks.learned`: means over rows, the first of which is followed.
        given: what it is called with.

    Returns:
        The terms, of this process's rows.
    """
    terms = loss(*given)
    optimizer.zero_grad(set_to_none=True)
    (ranks.weight(rows) * next(iter(terms.values()))).backward()
    if clip is not None:
        nn.utils.clip_grad_norm_((p for group in optimizer.param_groups for p in group["params"]), clip)
    optimizer.step()
    return terms


def _windows(array: Tensor, episodes: Tensor, starts: Tensor, frames: int) -> Tensor:
    return array[episodes[:, None], starts[:, None] + torch.arange(frames)]


def optimizer_for(parameters: Iterable[nn.Parameter], rate: float, weight_decay: float = 1e-4) -> torch.optim.AdamW:
    """AdamW for a head on frozen latents."""
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=weight_decay)


def refit_predictor(
    model: WorldModel, latents: Latents, horizon: int, steps: int, seed: int, report: Report, batch: int = 256
) -> None:
    """Fit the predictor to open-loop rollouts over ``horizon`` steps, stochastic.

    Two rollouts with independent noise are scored by the energy score, which is least when their distribution is the
    true one; a third without noise is fitted by squared error, so that zero noise is the mean.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = optimizer_for(model.predictor.parameters(), 1e-3)
    n, device = model.config.noise_dim, model.device
    model.predictor.train().requires_grad_(True)

    def losses(z: Tensor, a: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Of z (B, T + 2, D), a (B, T + 2, A), noise (3, B, T + 1, N)."""
        z3, a3, rows = z.repeat(3, 1, 1), a.repeat(3, 1, 1), len(z)
        noise = noise.flatten(0, 1)
        _, h = model.predict(z3[:, 0], a3[:, 0], noise[:, 0], model.initial_state(3 * rows))
        rolled, _ = model.rollout(z3[:, 1], h, a3[:, 1:-1], noise[:, 1:])
        one, two, mean = rolled.view(3, rows, horizon, -1)
        target = z[:, 2:]
        score = energy_score((one, two), target)
        error = (mean - target).square().mean()
        return {"loss": score / math.sqrt(target.shape[-1]) + error, "energy_score": score, "error": error}

    learned, mine = ranks.learned(losses, model.predictor), ranks.share(batch)
    for step in range(steps):
        at(f"predictor, step {step}")
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * cosine(step, steps)
        episodes, starts = _draw(latents, batch, horizon + 2, generator)
        noise = torch.randn(2, batch, horizon + 1, n, generator=generator)[:, mine].to(device)
        noise = torch.cat([noise, torch.zeros_like(noise[:1])])
        z = _windows(latents.z, episodes[mine], starts[mine], horizon + 2).to(device)
        a = _windows(latents.actions, episodes[mine], starts[mine], horizon + 2).to(device)
        terms = descend(learned, optimizer, batch, 1.0, z, a, noise)
        if step % 50 == 0:
            told = ranks.averaged(terms, batch)
            report("predictor", step, steps, {k: told[k] for k in ("energy_score", "error")})
    model.predictor.eval().requires_grad_(False)


def fit_distance(model: WorldModel, latents: Latents, steps: int, seed: int, report: Report, batch: int = 1024) -> None:
    """Fit the temporal distance: the number of control steps that a good driver needs from z to a goal.

    Two upper bounds meet in one expectile regression towards the low side: the steps that an episode really took from
    one frame to a later one (hindsight), and one step plus the distance from the next frame (bootstrapped, so that
    pieces of different episodes join into ways that nobody drove whole).
    Sources: hindsight distances after Hartikainen et al., "Dynamical distance learning", 2020; expectiles after
    Kostrikov et al., "Implicit Q-learning", 2022, equation 5.
    """
    head, device = model.heads["distance"], model.device
    generator = torch.Generator().manual_seed(seed)
    optimizer = optimizer_for(head.parameters(), 1e-3)
    slow = copy.deepcopy(model.heads["distance"])
    head.train().requires_grad_(True)
    longest = model.config.max_distance
    length = latents.z.shape[1]

    def value(net: nn.Module, a: Tensor, b: Tensor) -> Tensor:
        return nn.functional.softplus(net(torch.cat([a, b], dim=-1)).squeeze(-1))

    def losses(z: Tensor, following: Tensor, goal: Tensor, hindsight: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            target = torch.minimum(hindsight, 1.0 + value(slow, following, goal)).clamp_max(longest)
        difference = target - value(head, z, goal)
        weight = torch.where(difference > 0, 0.15, 0.85)  # expectile 0.15: near the least that was seen
        off = nn.functional.huber_loss(difference, torch.zeros_like(difference), delta=5.0, reduction="none")
        return {"loss": (weight * off).mean()}

    learned, mine = ranks.learned(losses, head), ranks.share(batch)
    groups = _same_layout(latents)
    for step in range(steps):
        at(f"distance, step {step}")
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * cosine(step, steps)
        e = torch.randint(0, latents.z.shape[0], (batch,), generator=generator)
        t = torch.randint(0, length - 1, (batch,), generator=generator)
        kind = torch.rand(batch, generator=generator)
        gap = torch.randint(0, int(longest), (batch,), generator=generator)
        anywhere = torch.randint(0, length, (batch,), generator=generator)
        near = kind < 0.6
        goal_t = torch.where(near, torch.minimum(t + gap, torch.tensor(length - 1)), anywhere)
        other = kind > 0.85  # the goal lies in another episode of the same layout
        pick = torch.rand(batch, generator=generator)
        counts, table = groups
        goal_e = torch.where(other, table[e, (pick * counts[e]).long().clamp_max(table.shape[1] - 1)], e)
        e, t, goal_e, goal_t = (drawn[mine] for drawn in (e, t, goal_e, goal_t))
        z, following = latents.z[e, t].to(device), latents.z[e, t + 1].to(device)
        goal = latents.z[goal_e, goal_t].to(device)
        hindsight = torch.where((goal_e == e) & (goal_t >= t), (goal_t - t).float(), torch.tensor(longest)).to(device)
        terms = descend(learned, optimizer, batch, 1.0, z, following, goal, hindsight)
        with torch.no_grad():
            for p, q in zip(slow.parameters(), head.parameters(), strict=True):
                p.lerp_(q, 0.01)
        if step % 50 == 0:
            report("distance", step, steps, ranks.averaged(terms, batch))
    head.eval().requires_grad_(False)


def _same_layout(latents: Latents) -> tuple[Tensor, Tensor]:
    """For each piece of an episode the pieces of the same layout: counts (E,), padded table (E, most)."""
    members: dict[int, list[int]] = {}
    for i, layout in enumerate(latents.layouts):
        members.setdefault(int(layout), []).append(i)
    most = min(64, max(len(m) for m in members.values()))
    table = torch.tensor([(members[int(v)] * most)[:most] for v in latents.layouts])
    counts = torch.tensor([min(most, len(members[int(v)])) for v in latents.layouts])
    return counts, table


def fit_heads(model: WorldModel, latents: Latents, steps: int, seed: int, report: Report, batch: int = 1024) -> None:
    """Fit every plain readout of a single latent to its labels: what the robot's own sensors said.

    Values that are regressed are brought to mean 0 and variance 1 while they are learned, so that centimetres in a
    label of metres count for as much as anything; the last layer takes the units back at the end.

    Raises:
        TrainError: a readout without labels.
    """
    generator = torch.Generator().manual_seed(seed)
    fitted = {name: r for name, r in model.readouts.items() if r.loss in LOSSES and not r.pair}
    if not fitted:
        return
    labels = {name: labels_of(readout, latents) for name, readout in fitted.items()}
    units = {name: _units(labels[name]) for name, readout in fitted.items() if readout.loss == "squared"}
    labels |= {name: (labels[name] - mean) / spread for name, (mean, spread) in units.items()}
    parameters = [p for name in fitted for p in model.heads[name].parameters()]
    for name in fitted:
        model.heads[name].train().requires_grad_(True)
    optimizer = optimizer_for(parameters, 1e-3)
    length, device = latents.z.shape[1], model.device

    def losses(z: Tensor, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
        found = {
            name: LOSSES[readout.loss](model.heads[name](z).float(), wanted[name]) for name, readout in fitted.items()
        }
        return {"": torch.stack(list(found.values())).sum(), **found}

    learned, mine = ranks.learned(losses, *(model.heads[name] for name in fitted)), ranks.share(batch)
    for step in range(steps):
        at(f"readouts, step {step}")
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * cosine(step, steps)
        e = torch.randint(0, latents.z.shape[0], (batch,), generator=generator)
        t = torch.randint(0, length, (batch,), generator=generator)
        e, t = e[mine], t[mine]
        wanted = {name: labels[name][e, t].to(device) for name in fitted}
        terms = descend(learned, optimizer, batch, None, latents.z[e, t].to(device), wanted)
        if step % 50 == 0:
            report("readouts", step, steps, {k: v for k, v in ranks.averaged(terms, batch).items() if k})
    for name in fitted:
        model.heads[name].eval().requires_grad_(False)
    for name, (mean, spread) in units.items():
        last = model.heads[name][-1]  # type: ignore[index]
        last.weight.mul_(spread.to(device)[:, None])
        last.bias.mul_(spread.to(device)).add_(mean.to(device))


def _units(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (n,) of labels (E, T, n); 1 for a value that never changes."""
    flat = labels.flatten(0, 1)
    spread = flat.std(0)
    return flat.mean(0), torch.where(spread > 1e-6, spread, torch.ones_like(spread))


@torch.inference_mode()
def judge_readouts(model: WorldModel, held_out: Latents) -> dict[str, dict[str, Any]]:
    """R2 of every readout that :func:`fit_heads` fits, on episodes that were never trained on.

    Returns:
        {name: ``r2`` (of each value, in the order of the readout's dims; None where the labels do not vary), ``least``
        (what it has to reach), ``used``}.
    """
    found = {}
    for name, readout in model.readouts.items():
        if readout.loss not in LOSSES or readout.pair:
            continue
        labels = labels_of(readout, held_out).flatten(0, 1).double()
        read = model.read(name, held_out.z.flatten(0, 1).to(model.device)).cpu().double().view(labels.shape)
        found[name] = verdict(read, labels, readout.least_r2)
    return ranks.same(found)


def verdict(read: Tensor, labels: Tensor, least: float | None) -> dict[str, Any]:
    """What was read (N, n) beside its labels (N, n): see :func:`judge_readouts`."""
    spread = (labels - labels.mean(0)).square().sum(0)
    r2 = 1.0 - (read - labels).square().sum(0) / spread
    told = [float(v) if s > VARIES * len(labels) else None for v, s in zip(r2, spread, strict=True)]
    return {"r2": told, "least": least, "used": least is None or all(v is None or v >= least for v in told)}


def drop_readouts(model: WorldModel, judged: dict[str, dict[str, Any]]) -> list[str]:
    """Take readouts that miss their least R2 from the model; returns their names."""
    dropped = [name for name, verdict in judged.items() if not verdict["used"]]
    for name in dropped:
        del model.heads[name]
    kept = tuple(r for r in model.config.readouts if r.name not in dropped)
    model.config = replace(model.config, readouts=kept)
    return dropped
