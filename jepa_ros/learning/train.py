# SPDX-License-Identifier: Apache-2.0
"""A training: from a dataset to a checkpoint. Resumes after a kill; logs to terminal, JSON and TensorBoard."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.sampler import WindowSampler
from jepa_ros.learning.finish import finish
from jepa_ros.learning.log import Log, NoLog
from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.report import write_report
from jepa_ros.learning.representation.diagnostics import encode_episodes, judge
from jepa_ros.learning.representation.looks import Looks
from jepa_ros.learning.representation.representation import RepresentationTrainer, run, seed_everything
from jepa_ros.learning.settings import TrainError, TrainSettings, has_fast_bf16
from jepa_ros.learning.state import put_state, read_info, read_state, save_state
from jepa_ros.progress import Progress
from jepa_ros.world_model import ModelConfig, WorldModel, save_checkpoint
from jepa_ros.world_model.backbone import BackboneEncoder

SAVE_EVERY = 200  # steps between saved states: a kill costs at most as many
JUDGE_EVERY = 500
PIECE = 40  # control steps of the pieces that episodes are cut into for diagnostics and readouts


def train(
    data: Dataset,
    folder: Path,
    settings: TrainSettings,
    config: ModelConfig,
    device: str,
    command: str,
    progress: Progress,
    make_trainer: Callable[..., RepresentationTrainer] = RepresentationTrainer,
) -> dict[str, Any]:
    """Train a model on a dataset and write the checkpoint into ``folder``.

    ``make_trainer`` is the representation's objective: another one than ours for comparisons.

    Returns:
        The model card.

    Raises:
        TrainError: the folder holds another run, or the loss diverged.
    """
    training, validation = data.split(settings.held_out, settings.seed)
    if not len(training) or not len(validation):
        raise TrainError(
            f"{data.folder}: {len(data)} episodes are too few to train on some and judge by others: collect more"
        )
    most = settings.batch.episodes // settings.accumulate
    if ranks.size() > most:
        raise TrainError(
            f"--batch {settings.batch.episodes} and --accumulate {settings.accumulate}: at most {most} processes have "
            f"an episode each, found {ranks.size()}: take a larger batch or fewer processes"
        )
    folder.mkdir(parents=True, exist_ok=True)
    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and has_fast_bf16(device))
    description = {"settings": settings.to_dict(), "model": config.to_dict(), "data": str(data.folder), "bf16": bf16}
    seen = ranks.same({"data": str(data.folder), "episodes": len(data), "steps": data.steps, **description})
    if seen != {"data": str(data.folder), "episodes": len(data), "steps": data.steps, **description}:
        raise TrainError(f"rank {ranks.rank()}: {data.folder} or the settings are not those of rank 0")
    info = ranks.same(read_info(folder) if ranks.writes() else None)
    if info is not None and info["description"] != json.loads(json.dumps(description)):
        raise TrainError(
            f"{folder} holds a run with other settings or data: resume it with the same command, or take another --out"
        )
    seed_everything(settings.seed)
    model = WorldModel(config).to(device)
    if isinstance(model.encoder, BackboneEncoder):
        if info is None:
            model.encoder.take_weights()
        if settings.checkpoint_gradients:
            model.encoder.save_memory()
    trainer = make_trainer(model, settings, bf16)
    if config.encoder == "view":
        trainer.looks = Looks(data.contract, model.encoder.camera, settings.seed)
    first = 0
    if info is not None:
        saved = ranks.same(read_state(folder) if ranks.writes() else {})
        put_state(folder, saved, trainer.modules, trainer.optimizer)
        first = int(info["step"])
    spent = float(info["seconds"]) if info is not None else 0.0
    log = Log(folder, first) if ranks.writes() else NoLog()
    sampler = WindowSampler(data, training, settings.batch, settings.seed, ranks.share(settings.batch.episodes))
    if len(sampler.episodes) == 0:
        raise TrainError(f"{data.folder}: no episode is as long as the {settings.batch.frames} frames of a window")
    piece = min(PIECE, int(data.index[:, 2].min()))
    if piece < settings.horizon + 2:
        raise TrainError(
            f"{data.folder}: episodes of {piece} steps are shorter than the rollout of {settings.horizon} + 2 "
            "steps: collect longer ones or lower --horizon"
        )
    started = time.monotonic() - spent
    bar = progress.task("representation", settings.steps, done=first)
    rng = np.random.default_rng(settings.seed)
    probe_episodes = rng.choice(training, min(60, len(training)), replace=False)

    def judged() -> dict[str, dict[str, float]]:
        return judge(
            model,
            encode_episodes(model, data, probe_episodes, piece, bf16),
            encode_episodes(model, data, validation[:60], piece, bf16),
        )

    begun = time.monotonic()

    def each(number: int, terms: dict[str, float]) -> None:
        done = number + 1
        frames = (done - first) * settings.batch.images / (time.monotonic() - begun)
        bar.update(done, note=f"{frames:.0f} frames/s  loss {terms['total']:.3f}")
        if number % 20 == 0:
            share = trainer.waited / (time.monotonic() - begun)
            log.write("representation", number, {**terms, "frames_per_second": frames, "loader_share": share})
        if done % JUDGE_EVERY == 0 or done == settings.steps:
            log.write("judged", number, judged())
        if ranks.writes() and (done % SAVE_EVERY == 0 or done == settings.steps):
            save_state(
                folder,
                trainer.modules,
                trainer.optimizer,
                {"step": done, "seconds": time.monotonic() - started, "description": description},
            )

    run(trainer, sampler.batches(first, settings.steps), each)
    card = finish(model, data, settings, training, validation, piece, bf16, log, progress)
    card |= {
        "name": folder.name,
        "command": command,
        "commit": _commit(),
        "device": device,
        "precision": "bf16" if bf16 else "fp32",
        "threads": torch.get_num_threads(),
        "processes": ranks.size(),
        "training_seconds": round(time.monotonic() - started, 1),
    }
    log.close()
    if ranks.writes():
        card = save_checkpoint(folder, model, card)
        write_report(folder)
    return ranks.same(card)


def _commit() -> str:
    """The commit of a checkout, ``unknown`` in an installed package."""
    try:
        here = Path(__file__).resolve().parents[2]
        out = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return out.stdout.strip() or "unknown"
