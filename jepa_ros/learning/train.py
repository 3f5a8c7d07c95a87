# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros train``: from a dataset to a checkpoint. Resumes after a kill; logs to terminal, JSON and TensorBoard."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jepa_ros.commands.options import number, positive, seed, whole
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.files import add_json, write_json
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.mirrored import Mirrored
from jepa_ros.learning.data.sampler import BatchShape, WindowSampler
from jepa_ros.learning.log import Log, NoLog
from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.parallel.start import here, joined
from jepa_ros.learning.report import write_report
from jepa_ros.learning.representation.diagnostics import Encoded, encode_episodes, judge
from jepa_ros.learning.representation.representation import RepresentationTrainer, run, seed_everything
from jepa_ros.learning.settings import TrainError, TrainSettings, choose_device, has_fast_bf16
from jepa_ros.learning.stages import readouts
from jepa_ros.learning.stages.alarm_levels import fit_alarms
from jepa_ros.learning.stages.alone import STAGES
from jepa_ros.learning.stages.calibration import calibrate
from jepa_ros.learning.stages.noise import calibrate_noise, judge_noise
from jepa_ros.learning.stages.order import Order
from jepa_ros.learning.stages.place_map import (
    MAP_CELLS,
    can_fit,
    fit_map,
    judge_map,
    map_extent,
)
from jepa_ros.learning.stages.proposal import fit_proposal, judge_proposal
from jepa_ros.learning.stages.scene import fit_scene, judge_scene
from jepa_ros.learning.state import put_state, read_info, read_state, save_state
from jepa_ros.planar.map_head import map_part
from jepa_ros.processor import usable_cores
from jepa_ros.progress import Progress, Task
from jepa_ros.world_model import ModelConfig, WorldModel, load_checkpoint, save_checkpoint
from jepa_ros.world_model.backbone import Backbone, BackboneEncoder
from jepa_ros.world_model.readouts import CONTACT, DISTANCE, Readout, body_readouts

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


def finish(
    model: WorldModel,
    data: Dataset,
    settings: TrainSettings,
    training: np.ndarray,
    validation: np.ndarray,
    piece: int,
    bf16: bool,
    log: Log | NoLog,
    progress: Progress,
) -> dict[str, Any]:
    """Phase two on frozen latents, and the metrics and calibration that the card carries."""
    model.eval().requires_grad_(False)
    shortest, usual = (min(120, n) for n in (int(data.index[training, 2].min()), data.usual_length(training)))
    bars: dict[str, Task] = {}

    def report(phase: str, step: int, total: int, values: dict[str, float]) -> None:
        if phase not in bars:
            bars[phase] = progress.task(phase, total)
        bars[phase].update(step, note=_told(values))
        log.write(phase, step, values)

    steps, seed = settings.readout_steps, settings.seed
    fit_scene(model, data, training, steps, seed, report)
    encoded = Encoded(model, data, bf16)
    latents = encoded.pieces(training, shortest)
    long_ones = latents if usual == shortest else encoded.pieces(training, usual)
    held_out = encoded.pieces(validation, piece)
    readouts.refit_predictor(model, latents, settings.horizon, steps, seed, report)
    tuned_on, others = held_out.halves()
    noise_width = calibrate_noise(model, tuned_on)
    if "distance" in model.readouts:
        readouts.fit_distance(model, long_ones, 2 * steps, seed + 1, report)
    readouts.fit_heads(model, latents, steps, seed + 2, report)
    judged = readouts.judge_readouts(model, held_out)
    readouts.drop_readouts(model, judged)
    fit_proposal(model, long_ones, steps, seed + 4, report)
    if "map" in model.context:
        fitted = "pose" in model.readouts and fit_map(model, data, training, steps, seed + 3, report, bf16)
        if not fitted:  # the picture does not tell where the robot is: no map is better than a wrong one
            model.drop_context("map")
    metrics: dict[str, Any] = judge(model, encoded.pieces(training[:60], piece), held_out)
    if "map" in model.context:
        metrics["traversability"] = judge_map(model, data, validation)
    metrics["readouts"] = judged
    if model.config.scene_dim:
        metrics["scene"] = judge_scene(model, data, validation, seed)
    metrics["noise"] = {**judge_noise(model, others), "width": noise_width}
    if "proposal" in model.readouts:
        metrics["proposal"] = judge_proposal(model, held_out)
    log.write("final", settings.steps, metrics)
    return {
        "contract": data.contract.to_dict(),
        "data": {
            "folder": data.name,
            "settings": data.settings,
            "episodes": len(data),
            "steps": data.steps,
            "robot_minutes": round(data.steps * data.contract.period / 60.0, 1),
            "held_out_episodes": len(validation),
        },
        "settings": settings.to_dict(),
        "metrics": metrics,
        "calibration": {
            **calibrate(model, held_out),
            "vigilance": fit_alarms(model, data, training, validation, report, settings.seed + 5),
        },
    }


def _told(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items())


def readouts_for(contract: RobotContract, has_pose: bool) -> tuple[Readout, ...]:
    """The readouts that the data can teach: the temporal distance, those of the body's room, and contact."""
    own = [r for r in body_readouts(contract.kinematics.kind) if r.labels != "poses" or has_pose]
    contact = [CONTACT] if "contact" in contract.state else []
    return (DISTANCE, *own, *contact)


def config_for(data: Dataset, settings: TrainSettings, **sizes: Any) -> ModelConfig:
    """The model that the data can teach: its inputs, readouts and map; ``sizes`` as in ModelConfig."""
    contract = data.contract
    has_pose = "pose" in contract.state and bool(np.isfinite(data.slice("poses", 0)).all())
    config = ModelConfig(
        **ModelConfig.inputs_of(contract),
        action_dim=contract.action_dim,
        readouts=readouts_for(contract, has_pose),
        **sizes,
    )
    if not can_fit(contract, has_pose):
        return config
    extent = map_extent(data, data.split(settings.held_out, settings.seed)[0])
    return replace(config, context=(map_part(MAP_CELLS, extent),))


def _commit() -> str:
    """The commit of a checkout, ``unknown`` in an installed package."""
    try:
        here = Path(__file__).resolve().parents[2]
        out = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return out.stdout.strip() or "unknown"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    d = TrainSettings()
    parser.add_argument(
        "--data", required=True, metavar="PLACE", help="folder of a dataset, or its URL in object storage (s3://...)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint; the same command resumes")
    parser.add_argument("--robot", metavar="NAME|FILE", help="refuse data of anything but this robot")
    parser.add_argument("--env", metavar="ID", help="refuse data of anything but this Gymnasium environment")
    parser.add_argument(
        "--seed", type=seed, default=d.seed, help="all randomness follows from it (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=positive, default=d.steps, help="batches of the representation phase (default: %(default)s)"
    )
    parser.add_argument(
        "--readout-steps",
        type=positive,
        default=d.readout_steps,
        help="batches on frozen latents (default: %(default)s)",
    )
    parser.add_argument(
        "--batch",
        type=positive,
        default=d.batch.episodes,
        help="episodes in a batch of the representation phase, of all processes together (default: %(default)s)",
    )
    parser.add_argument(
        "--accumulate",
        type=positive,
        default=d.accumulate,
        help="parts that a process works through its share of a batch in, for less memory (default: %(default)s)",
    )
    parser.add_argument(
        "--horizon",
        type=positive,
        default=d.horizon,
        help="open-loop steps of the predictor's refit (default: %(default)s)",
    )
    parser.add_argument(
        "--learning-rate", type=number(above=True), default=d.learning_rate, help="AdamW's (default: %(default)s)"
    )
    parser.add_argument(
        "--latent-dim",
        type=positive,
        default=ModelConfig().latent_dim,
        help="size of the latent (default: %(default)s)",
    )
    parser.add_argument(
        "--scene-dim",
        type=whole(0),
        default=ModelConfig().scene_dim,
        help="of those, values that tell what stands about and that no prediction changes: for layouts that differ "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--encoder-width",
        type=positive,
        default=ModelConfig().encoder_width,
        help="channels of the encoder (default: %(default)s)",
    )
    parser.add_argument(
        "--mirror",
        metavar="ACROSS,DOWN",
        help="learn from mirror images of the episodes too: the actions that are turned round where pictures are "
        "mirrored left to right, and top to bottom, such as linear.x,linear.y; - mirrors not that way",
    )
    parser.add_argument(
        "--keypoints",
        type=positive,
        default=ModelConfig().keypoints,
        help="attention maps of the encoder (default: %(default)s)",
    )
    parser.add_argument(
        "--encoder",
        metavar="FOLDER",
        help="an encoder of transformers that looks at the first camera too: a folder, or hf:OWNER/NAME; its weights "
        "stay as they are (pip install 'jepa_ros[hf]')",
    )
    parser.add_argument(
        "--encoder-size", type=positive, metavar="PX", help="edge of the picture that it sees (default: its own)"
    )
    parser.add_argument("--fine-tune", action="store_true", help="train that encoder along, at a twentieth of the rate")
    parser.add_argument(
        "--checkpoint-gradients", action="store_true", help="less memory for a fine-tuned encoder, and more computing"
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default=d.precision,
        help="of the arithmetic (default: %(default)s: bf16 where it is fast)",
    )
    parser.add_argument(
        "--only",
        choices=sorted(STAGES),
        metavar="STAGE",
        help="renew one thing in the checkpoint in --out and leave all else as it is: "
        + "; ".join(f"{name}: {stage.does}" for name, stage in sorted(STAGES.items())),
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default: %(default)s)")
    parser.add_argument(
        "--threads",
        type=positive,
        default=max(1, usable_cores() // here()),
        help="of torch on a CPU, in each process (default: %(default)s)",
    )
    parser.add_argument(
        "--rank-timeout",
        type=number(above=True),
        default=600.0,
        metavar="SECONDS",
        help="under torchrun: a process that does not go on for so long is named and the run ends (default: "
        "%(default)s)",
    )
    add_json(parser, "write the model card there too")


#: Options without which the same command would not train the same model.
SHAPING = ("seed", "steps", "readout_steps", "batch", "accumulate", "horizon", "learning_rate", "latent_dim",
           "scene_dim", "mirror", "encoder_width", "keypoints", "encoder", "encoder_size", "fine_tune",
           "checkpoint_gradients", "precision")  # fmt: skip


def command_of(args: argparse.Namespace) -> str:
    """The command that trains this model again, for its card."""
    words = ["jepa-ros", "train", "--data", str(args.data), "--out", str(args.out)]
    for name in SHAPING:
        if getattr(args, name) is True:
            words.append(f"--{name.replace('_', '-')}")
        elif getattr(args, name) not in (None, False):
            words += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    return shlex.join(words)


def alone_command(args: argparse.Namespace) -> str:
    """The command that renews a stage again, for the card."""
    words = ["jepa-ros", "train", "--data", str(args.data), "--out", str(args.out), "--only", args.only]
    words += ["--readout-steps", str(args.readout_steps), "--seed", str(args.seed)]
    return shlex.join(words + (["--mirror", args.mirror] if args.mirror else []))


def run_alone(
    name: str, folder: Path, data: Dataset, settings: TrainSettings, bf16: bool, command: str
) -> dict[str, Any]:  # fmt: skip
    """``--only STAGE`` on the checkpoint in ``folder``; the card as written, which keeps the command."""
    stage = STAGES[name]
    with Progress(quiet=not ranks.writes()) as progress:
        bar = progress.task(name, settings.readout_steps)

        def report(phase: str, step: int, total: int, values: dict[str, float]) -> None:
            bar.update(step + 1, total, note=_told(values))

        began = time.monotonic()
        card = stage.run(Order(folder, data, settings.readout_steps, settings.seed, report, bf16))
        spent = round(time.monotonic() - began, 1)
    model, _ = load_checkpoint(folder, data.contract)
    done = {"stage": name, "command": command, "seconds": spent}
    if ranks.writes():
        card = save_checkpoint(folder, model, {**card, "renewed": [*card.get("renewed", []), done]})
    if ranks.writes():
        print(f"{folder}: {stage.does}, anew; {stage.tell(card)}")
    return card


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    torch.set_num_threads(args.threads)
    with joined(choose_device(args.device), args.rank_timeout) as device:
        return _train(args, device)


def _train(args: argparse.Namespace, device: str) -> int:
    settings = replace(
        TrainSettings(),
        seed=args.seed,
        steps=args.steps,
        readout_steps=args.readout_steps,
        batch=replace(BatchShape(), episodes=args.batch),
        accumulate=args.accumulate,
        checkpoint_gradients=args.checkpoint_gradients,
        horizon=args.horizon,
        learning_rate=args.learning_rate,
        precision=args.precision,
        mirror=args.mirror or "",
    )
    data = Dataset(args.data, min_length=max(BatchShape().frames, settings.horizon + 2))
    named = args.robot is not None and Path(args.robot).suffix in (".yaml", ".yml")
    data.check_source(load_contract(args.robot).name if named else args.robot, args.env)
    if settings.mirror:
        data = Mirrored.as_told(data, settings.mirror)
    config = config_for(
        data,
        settings,
        latent_dim=args.latent_dim,
        scene_dim=args.scene_dim,
        encoder_width=args.encoder_width,
        keypoints=args.keypoints,
        backbone=Backbone.read(args.encoder, args.encoder_size, args.fine_tune) if args.encoder else None,
    )
    if args.only:
        bf16 = settings.precision == "bf16" or (settings.precision == "auto" and has_fast_bf16("cpu"))
        card = run_alone(args.only, args.out, data, settings, bf16, alone_command(args))
        if args.json is not None and ranks.writes():
            write_json(args.json, card)
        return 0
    with Progress(quiet=not ranks.writes()) as progress:
        card = train(data, args.out, settings, config, device, command_of(args), progress)
    if not ranks.writes():
        return 0
    if args.json is not None:
        write_json(args.json, card)
    metrics = card["metrics"]
    probe = ", ".join(f"{k} {v:.3f}" for k, v in metrics["probe_r2"].items()) or "none (no poses)"
    ratio = ", ".join(f"{k[6:]} steps {v:.3f}" for k, v in metrics["open_loop"].items() if k.startswith("ratio"))
    unused = [name for name, verdict in metrics["readouts"].items() if not verdict["used"]]
    if unused:
        print(f"{args.out}: not used, because held-out R2 is below what is declared: {', '.join(unused)}")
    print(
        f"{args.out}: {card['parameters']} parameters, {card['training_seconds']:.0f} s; held out: probes {probe}; "
        f"error against copy: {ratio}"
    )
    return 0
