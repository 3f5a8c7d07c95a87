# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros train``: the command's options, and what it says."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from jepa_ros.contract import load_contract
from jepa_ros.files import add_json, write_json
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.mirrored import Mirrored
from jepa_ros.learning.data.sampler import BatchShape
from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.parallel.start import here, joined
from jepa_ros.learning.settings import PRECISIONS, TrainSettings, choose_device, has_fast_bf16
from jepa_ros.learning.stages.alone import STAGES, run_alone
from jepa_ros.learning.teachable import config_for
from jepa_ros.learning.train import train
from jepa_ros.options import number, positive, seed, whole
from jepa_ros.processor import usable_cores
from jepa_ros.progress import Progress
from jepa_ros.world_model import ModelConfig
from jepa_ros.world_model.backbone import Backbone
from jepa_ros.world_model.checkpoint import load_card


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    d, sizes = TrainSettings(), ModelConfig()

    def setting(name: str, kind: Any, default: Any, told: str, **more: Any) -> None:
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"{told} (default: %(default)s)", **more)

    parser.add_argument(
        "--data", required=True, metavar="PLACE", help="folder of a dataset, or its URL in object storage (s3://...)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint; the same command resumes")
    parser.add_argument("--robot", metavar="NAME|FILE", help="refuse data of any other robot")
    parser.add_argument("--env", metavar="ID", help="refuse data of any other Gymnasium environment")
    parser.add_argument(
        "--mirror",
        metavar="ACROSS,DOWN",
        help="also learn from mirrored episodes: the action that changes sign if pictures are mirrored left to right, "
        "and the one if top to bottom, such as linear.x,linear.y; - does not mirror in this direction",
    )
    setting("seed", seed, d.seed, "seed of all randomness")
    setting("steps", positive, d.steps, "batches of the first phase: encoder and predictor together")
    setting("readout-steps", positive, d.readout_steps, "batches of each stage on the frozen encoder")
    batch = "episodes per batch of the first phase, over all processes"
    setting("batch", positive, d.batch.episodes, batch)
    parts = "process each batch in so many parts, to save memory"
    setting("accumulate", positive, d.accumulate, parts)
    parser.add_argument(
        "--horizon",
        type=positive,
        help=f"open-loop steps of the predictor's refit (default: {d.horizon}; with --only those of the checkpoint)",
    )
    setting("learning-rate", number(above=True), d.learning_rate, "learning rate of AdamW")
    setting("latent-dim", positive, sizes.latent_dim, "size of the latent")
    still = "values of the latent reserved for static obstacles, for data with many layouts"
    setting("scene-dim", whole(0), sizes.scene_dim, still)
    setting("encoder-width", positive, sizes.encoder_width, "channels of the encoder's convolutions")
    setting("keypoints", positive, sizes.keypoints, "attention maps of the encoder")
    parser.add_argument(
        "--encoder",
        metavar="FOLDER",
        help="additional encoder from transformers for the first camera: a folder, or hf:OWNER/NAME; its weights stay "
        "fixed (pip install 'jepa_ros[hf]')",
    )
    parser.add_argument(
        "--encoder-size", type=positive, metavar="PX", help="edge of that encoder's picture (default: its own)"
    )
    parser.add_argument(
        "--fine-tune", action="store_true", help="train that encoder too, at a twentieth of the learning rate"
    )
    parser.add_argument(
        "--checkpoint-gradients",
        action="store_true",
        help="recompute the fine-tuned encoder's activations, to save memory",
    )
    precision = "number format; auto: bf16 if it is fast on this machine"
    setting("precision", str, d.precision, precision, choices=PRECISIONS)
    parser.add_argument(
        "--only",
        choices=sorted(STAGES),
        metavar="STAGE",
        help="train one part of the checkpoint in --out again and change nothing else. "
        + "; ".join(f"{name}: {stage.does}" for name, stage in sorted(STAGES.items())),
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default: %(default)s)")
    setting("threads", positive, max(1, usable_cores() // here()), "torch threads per process, on a CPU")
    patience = "under torchrun: if a process makes no progress for so long, name it and end"
    setting("rank-timeout", number(above=True), 600.0, patience, metavar="SECONDS")
    add_json(parser, "also write the model card to this file")


#: From on board views are compared with others that were taken near by, and one drive shows little of a house: few
#: windows of a drive, in sight of each other, and so more drives in a batch of as many pictures.
ON_BOARD = BatchShape(windows=2, near=2.0)

#: Options without which the same command would not train the same model.
SHAPING = ("seed", "steps", "readout_steps", "batch", "accumulate", "horizon", "learning_rate", "latent_dim",
           "scene_dim", "mirror", "encoder_width", "keypoints", "encoder", "encoder_size", "fine_tune",
           "checkpoint_gradients", "precision")  # fmt: skip


#: The same of one stage that is renewed alone.
SHAPING_ALONE = ("only", "seed", "readout_steps", "horizon", "mirror", "precision")


def command_of(args: argparse.Namespace, names: tuple[str, ...] = SHAPING) -> str:
    """The command that trains this model again, or renews a stage of it, for its card: with options of these names."""
    words = ["jepa-ros", "train", "--data", str(args.data), "--out", str(args.out)]
    for name in names:
        if getattr(args, name) is True:
            words.append(f"--{name.replace('_', '-')}")
        elif getattr(args, name) not in (None, False):
            words += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    return shlex.join(words)


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    torch.set_num_threads(args.threads)
    with joined(choose_device(args.device), args.rank_timeout) as device:
        return _train(args, device)


def _horizon(args: argparse.Namespace) -> int:
    """Open-loop steps of the refit: those asked for, or those that a checkpoint was trained with.

    Raises:
        CheckpointError: a stage is to be run alone, and there is no checkpoint.
    """
    usual = TrainSettings.horizon
    if args.horizon is not None or not args.only:
        return args.horizon or usual
    return int(load_card(args.out).get("settings", {}).get("horizon", usual))


def _train(args: argparse.Namespace, device: str) -> int:
    args.horizon = _horizon(args)
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
    if args.only:
        # A stage loads the checkpoint onto the CPU and runs there, whatever --device says.
        bf16 = settings.precision == "bf16" or (settings.precision == "auto" and has_fast_bf16("cpu"))
        card = run_alone(args.only, args.out, data, settings, bf16, command_of(args, SHAPING_ALONE))
        if args.json is not None and ranks.writes():
            write_json(args.json, card)
        return 0
    config = config_for(
        data,
        settings,
        latent_dim=args.latent_dim,
        scene_dim=args.scene_dim,
        encoder_width=args.encoder_width,
        keypoints=args.keypoints,
        backbone=Backbone.read(args.encoder, args.encoder_size, args.fine_tune) if args.encoder else None,
    )
    if config.encoder == "view":
        settings = replace(settings, batch=replace(settings.batch, windows=ON_BOARD.windows, near=ON_BOARD.near))
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
