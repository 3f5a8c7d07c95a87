# SPDX-License-Identifier: Apache-2.0
"""Teaching vigilance: scene maps on frozen features, what is normal, and the levels at which to slow down and to stop.

What is normal is fitted on training episodes, the levels on held-out ones, by the code that runs on the robot. A level
is the measure that an episode exceeds so rarely that false alarms keep to a stated rate per hour. Such rates are rarer
than a held-out set of an hour can show, so that the tail is carried on as an exponential one from the largest fifth of
the episodes' maxima (peaks over threshold, Pickands 1975); its scale is told by the median excess, because in a few
episodes the robot rubs along something and no bumper tells. One maximum an episode: what happens in one is not
independent. Steps about a contact do not count: the bumper tells of those, and a push is a surprise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.optimize import nnls

from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.sampler import tensors
from jepa_ros.learning.data.storage import DatasetError
from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.parallel.watch import at
from jepa_ros.learning.stages.order import Order
from jepa_ros.learning.stages.readouts import Report
from jepa_ros.memory.picture_memory import REACH, PictureMemory, rings
from jepa_ros.planning.bodies import watch_for
from jepa_ros.planning.surprise import SPANS, BodyWatch, Due, Motion, Normal
from jepa_ros.world_model import WorldModel, load_checkpoint
from jepa_ros.world_model.context import ContextPart, read_part
from jepa_ros.world_model.picture_maps import NOISE, PATCH, NoveltyHead, PictureMaps, patches, summarise
from jepa_ros.world_model.readouts import NOVELTY
from jepa_ros.world_model.seam import Inputs

CHANNELS = 8  # of the scene maps
RINGS = 16  # of distance from the robot, RING cells each
#: False alarms an hour that the levels are for, over all measures together, on data like the held-out.
SLOW_RATE, STOP_RATE = 0.5, 0.05
#: Exploration, which the data come from, rubs along things so many times as often as a robot that is driven by plans:
#: of its steps 15 in 100 have a contact, of those of plans hardly any. "close" may be exceeded as many times as often.
RUBS = 20.0
#: Levels of the scene, in spreads, are at least these: what is put down changes by ten, and less is none to anybody.
SURE = (2.0, 3.0)
#: Share of the episodes' maxima that the tail is fitted on.
TAIL = 0.2
#: Share of the residuals of a span that are less than 1 in its units.
BULK = 0.99
#: Episodes that what is normal is fitted on, at most; pictures of each training episode that tell what is familiar.
EPISODES, PICTURES = 60, 4
#: Times that a place is looked at until its change exceeds its spread once.
RARE = 1000
#: Control steps at an episode's start that do not count: the predictions there have no past.
FILL = max(SPANS) + 2
#: Steps with a contact, so many before and one after do not count.
CONTACT = max(SPANS) + 2


@torch.inference_mode()
def fit_picture_maps(model: WorldModel, watch: BodyWatch, data: Dataset, episodes: np.ndarray, seed: int = 0) -> None:
    """Give the model scene maps, in closed form: the channels in which places differ most, over their own noise."""
    width, grid = 3 * PATCH**2, model.config.grid
    rng = np.random.default_rng(seed)
    noise, square, total, n, pairs = np.zeros((width, width)), np.zeros((width, width)), np.zeros(width), 0, 0
    for e in rng.choice(episodes, min(EPISODES, len(episodes)), replace=False):
        inputs = tensors(data.inputs(int(e)), model.device, slice(None, None, 10))
        images = inputs[model.encoder.camera]
        cells = watch.cell(model.latent(inputs))
        rows, columns = np.mgrid[: grid[0], : grid[1]]
        away = np.hypot(columns - cells[:, 0, None, None], rows - cells[:, 1, None, None]) > REACH
        f = patches(images).cpu().numpy().transpose(0, 2, 3, 1).astype(np.float64)
        change = (f[1:] - f[:-1])[away[1:] & away[:-1]]
        noise += 0.5 * change.T @ change
        pairs += len(change)
        seen = f[away]
        square += seen.T @ seen
        total += seen.sum(0)
        n += len(seen)
    mean = total / n
    noise /= pairs
    noise += 1e-6 * np.trace(noise) / width * np.eye(width)
    _, vectors = eigh(square / n - np.outer(mean, mean), noise)  # ascending
    weight = NOISE * vectors[:, ::-1][:, :CHANNELS].T
    head = model.add_context(ContextPart("scene", (len(weight), *grid)))
    assert isinstance(head, PictureMaps)
    head.weight.copy_(torch.from_numpy(weight.reshape(len(weight), 3, PATCH, PATCH)))
    head.bias.copy_(torch.from_numpy(-weight @ mean))


@torch.inference_mode()
def _encode(model: WorldModel, watch: BodyWatch, inputs: Inputs) -> tuple[torch.Tensor, np.ndarray | None, np.ndarray]:
    """Of inputs (N, ...): latents (N, D), scene maps (N, C, rows, columns) or None where the model has none, and
    whether the robot is close to something (N,)."""
    parts = [
        {name: v[i : i + 64] for name, v in inputs.items()} for i in range(0, len(next(iter(inputs.values()))), 64)
    ]
    told = torch.cat([model.pack(model.encode(part)).float() for part in parts])
    plain = told.cpu().numpy()
    scenes = read_part(model.config, plain, "scene") if "scene" in model.context else None
    return told[:, : model.config.latent_dim], scenes, watch.close(plain)


class _Drive:
    """One episode as the robot would see it: what each measure is made of, step by step."""

    def __init__(self, model: WorldModel, watch: BodyWatch, data: Dataset, episode: int) -> None:
        z, self.scenes, close = _encode(model, watch, tensors(data.inputs(episode), model.device))
        actions = torch.from_numpy(data.contract.normalise(data.slice("actions", episode)).astype(np.float32))
        contacts = np.array(data.slice("contacts", episode), dtype=int)
        steps = len(z)
        touched = np.convolve(contacts, np.ones(CONTACT + 2, int))[1 : steps + 1] > 0
        self.counts = ~touched & (np.arange(steps) >= FILL)
        self.z = z.cpu()
        motion, h = Motion(model, watch), model.initial_state(1)
        self.due: list[Due] = []
        with torch.inference_mode():
            for t in range(steps):
                if t:
                    _, h = model.predict(z[t - 1 : t], actions[t - 1 : t].to(z.device), None, h)
                self.due.append(motion.observe(z[t], h[0], actions[t - 1] if t else None, int(t > 0), bool(close[t])))
        self.cells = watch.cell(z) if self.scenes is not None else None
        self.hours = float(self.counts.sum()) * data.contract.period / 3600.0

    def changes(self) -> tuple[np.ndarray, np.ndarray]:
        """Of all places that were known at the steps that count: ring (n,) and change (n,)."""
        memory, ring, change = PictureMemory(), [], []
        assert self.scenes is not None and self.cells is not None
        for t, (scene, cell) in enumerate(zip(self.scenes, self.cells, strict=True)):
            found, distance = memory.compare(scene, cell)
            seen = np.isfinite(found) & bool(self.counts[t])
            ring.append(rings(distance, RINGS)[seen])
            change.append(found[seen])
            memory.observe(scene, cell, 0.0)
        return np.concatenate(ring), np.concatenate(change)

    def worst(self, normal: Normal) -> dict[str, float]:
        """The largest of each measure over the steps that count."""
        found = [normal.motion_of(d) for d, c in zip(self.due, self.counts, strict=True) if c]
        worst = {name: max(f[name] for f in found) for name in found[0]}
        if self.scenes is not None and self.cells is not None:
            memory = PictureMemory(normal.spread)
            score = [memory.observe(s, c, 0.0) for s, c in zip(self.scenes, self.cells, strict=True)]
            worst["scene"] = float(np.array(score)[self.counts].max())
            worst["familiar"] = max(normal.familiar_of(s) for s in self.scenes[self.counts])
        return worst

    def novelty(self, head: NoveltyHead) -> float:
        """The largest of a head's novelty over the steps that count."""
        return float(head(self.z[torch.from_numpy(self.counts)]).max())


def levels_of(maxima: np.ndarray, hours: float, rates: tuple[float, float]) -> tuple[float, float]:
    """The levels that episodes like these exceed so many times an hour; the second is at least a tenth higher.

    Args:
        maxima: (n,) of each episode. hours: of an episode, on average. rates: falling.
    """
    ordered = np.sort(maxima)
    first = max(1, int(np.ceil((1.0 - TAIL) * len(ordered)))) - 1
    threshold, above = float(ordered[first]), ordered[first + 1 :]
    middle = float(np.median(above - threshold)) if len(above) else 0.0
    excess = max(middle / np.log(2.0), 0.02 * threshold, 1e-6)
    share = max(len(above), 1) / len(ordered)
    slow, stop = (threshold + excess * max(0.0, float(np.log(share / (rate * hours)))) for rate in rates)
    return slow, max(stop, 1.1 * slow)


def fit_alarms(
    model: WorldModel, data: Dataset, training: np.ndarray, held_out: np.ndarray, report: Report, seed: int = 0
) -> dict[str, Any] | None:
    """What is normal and the levels, as plain data for the model card (``calibration.vigilance``).

    Gives the model scene maps where it can have them, and the readout "novelty"; the rest of it stays as it is. None
    where there is too little data: no step of an episode without a contact about it.
    """
    watch = watch_for(data.contract, model)
    if watch.sees_places:
        fit_picture_maps(model, watch, data, training, seed)
    rng = np.random.default_rng([seed, 1])
    chosen = rng.choice(training, min(EPISODES, len(training)), replace=False)
    total = len(chosen) + len(held_out)

    def driven(number: int, episode: int) -> _Drive:
        at(f"alarms, episode {episode}")
        report("vigilance", number, total, {})
        return _Drive(model, watch, data, episode)

    drives = ranks.each(lambda item: driven(*item), list(enumerate(chosen.tolist())))
    drives = [d for d in drives if d.counts.any()]
    if not drives:
        return None
    normal = Normal(_fit_motion(drives), np.ones(RINGS), np.zeros(0), np.zeros((0, 0)), {})
    if "scene" in model.context:
        mean, precision = _fit_familiar(model, watch, data, training, rng)
        normal = replace(normal, spread=_fit_spread(drives), mean=mean, precision=precision)
    novelty = _fit_novelty(drives, model.config.latent_dim)
    maxima: dict[str, list[float]] = {}
    latent: list[float] = []
    hours = []

    def extremes(item: tuple[int, int]) -> tuple[float, float, dict[str, float]] | None:
        drive = driven(*item)
        return (drive.hours, drive.novelty(novelty), drive.worst(normal)) if drive.counts.any() else None

    for found in ranks.each(extremes, list(enumerate(held_out.tolist(), len(chosen)))):
        if found is not None:
            hours.append(found[0])
            latent.append(found[1])
            for name, value in found[2].items():
                maxima.setdefault(name, []).append(value)
    if not maxima:
        return None
    if min(max(maxima["motion"]), max(maxima["close"])) == 0.0:  # no map, or never or always close: it is all one
        maxima["motion"] = [max(pair) for pair in zip(maxima["motion"], maxima.pop("close"), strict=True)]
    if "scene" not in model.context:
        maxima["familiar"] = latent
    mean_hours = float(np.mean(hours))
    rates = (SLOW_RATE / len(maxima), STOP_RATE / len(maxima))
    slow, stop = levels_of(np.array(latent), mean_hours, rates)
    novelty.root /= slow
    often = {"close": (RUBS * rates[0], RUBS * rates[1])}
    levels = {name: list(levels_of(np.array(v), mean_hours, often.get(name, rates))) for name, v in maxima.items()}
    if "scene" not in model.context:
        levels["familiar"] = [1.0, stop / slow]
    else:
        levels["scene"] = [max(pair) for pair in zip(levels["scene"], SURE, strict=True)]
    model.heads["novelty"] = novelty.to(model.device)
    model.config = replace(model.config, readouts=tuple((model.readouts | {"novelty": NOVELTY}).values()))
    return {
        "levels": levels,
        "rates_per_hour": [SLOW_RATE, STOP_RATE],
        "held_out_hours": float(np.sum(hours)),
        "latent_novelty": [1.0, stop / slow],
        "held_out_largest": {name: max(values) for name, values in maxima.items()},
        "motion": {str(k): {"precision": p.tolist(), "drive": b.tolist()} for k, (p, b) in normal.motion.items()},
        "spread": normal.spread.tolist(),
        "mean": normal.mean.tolist(),
        "precision": normal.precision.tolist(),
    }


def _fit_motion(drives: list[_Drive]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Precision of the residuals of each span, and how much of their length the drive lets expect, at least 0 each."""
    found = {}
    for span in SPANS:
        rows = [d[span] for drive in drives for d, c in zip(drive.due, drive.counts, strict=True) if c and span in d]
        rows = [row for row in rows if not row[2]] or rows
        r, f = (np.stack([row[i] for row in rows]) for i in (0, 1))
        covariance = r.T @ r / len(r)
        precision = np.linalg.inv(covariance + 1e-4 * np.trace(covariance) / len(covariance) * np.eye(r.shape[1]))
        length = np.einsum("ni,ij,nj->n", r, precision, r)
        coefficients, _ = nnls(f, np.minimum(length, 10.0 * length.mean()))  # outliers shall not set the scale
        coefficients[0] = max(coefficients[0], 0.05 * length.mean())
        coefficients *= np.quantile(length / (f @ coefficients), BULK)  # so that one level does for all spans
        found[span] = (precision, coefficients)
    return found


def _fit_novelty(drives: list[_Drive], size: int) -> NoveltyHead:
    """The readout "novelty" of latents, not yet on its scale."""
    z = torch.cat([d.z for d in drives]).double()
    centred = z - z.mean(0)
    covariance = centred.T @ centred / len(z)
    covariance += 1e-3 * covariance.trace() / size * torch.eye(size, dtype=z.dtype)
    head = NoveltyHead(size)
    head.mean.copy_(z.mean(0))
    head.root.copy_(torch.linalg.cholesky(torch.linalg.inv(covariance)))
    return head


def _fit_spread(drives: list[_Drive]) -> np.ndarray:
    """What the change of a place in each ring exceeds once in RARE times; it does not grow with the distance.

    A ring has that of the next one within, if that is more: rarely, the robot or its shadow reaches further than usual.
    """
    ring, change = (np.concatenate(parts) for parts in zip(*(d.changes() for d in drives), strict=True))
    found = [np.quantile(change[ring == r], 1.0 - 1.0 / RARE) if (ring == r).any() else 0.0 for r in range(RINGS)]
    falling = np.maximum.accumulate(np.array(found)[::-1])[::-1]
    return np.maximum(np.concatenate([falling[:1], falling[:-1]]), NOISE)


def _fit_familiar(
    model: WorldModel, watch: BodyWatch, data: Dataset, episodes: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (6 C,) and precision (6 C, 6 C) of the descriptions of pictures."""
    drawn = [(int(e), np.sort(rng.choice(int(data.index[e, 2]), PICTURES))) for e in episodes]

    def described(item: tuple[int, np.ndarray]) -> np.ndarray:
        at(f"alarms, pictures of episode {item[0]}")
        _, scene, _ = _encode(model, watch, tensors(data.inputs(item[0]), model.device, item[1]))
        assert scene is not None
        return summarise(scene)

    x = np.concatenate(ranks.each(described, drawn)).astype(np.float64)
    covariance = np.cov(x.T)
    covariance += 1e-3 * np.diag(np.diag(covariance)) + 1e-9 * np.eye(len(covariance))
    return x.mean(0), np.linalg.inv(covariance)


def renew_alarms(order: Order) -> dict[str, Any]:
    """Give a checkpoint the levels of surprise and novelty anew, in place; returns the card as written.

    Raises:
        DatasetError: too little data to tell what is normal.
    """
    data, seed = order.data, order.seed
    model, card = load_checkpoint(order.folder, data.contract)
    training, held_out = order.split(card)
    model.drop_context("scene")  # where it has it already it is made anew
    found = fit_alarms(model, data, training, held_out, order.report, seed)
    if found is None:
        raise DatasetError(f"{data.folder}: no step without a contact about it: collect more or longer episodes")
    calibration = {**card.get("calibration", {}), "vigilance": found}
    return order.save(model, {**card, "calibration": calibration})
