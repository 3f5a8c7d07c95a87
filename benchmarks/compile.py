# SPDX-License-Identifier: Apache-2.0
"""Does `torch.compile` pay: one plan, and one step of training, with and without it, in turns.

    jepa-ros bench compile [--plans N] [--steps N] [--json FILE]

A plan of 10 steps, 128 candidates and 3 iterations: native code, the model's own code, and that compiled. A training
step on random pictures at the default batch: as it is, and with the loss compiled. What compiling takes is told too.
On a busy machine compare the time of the processor, with ``--threads 1``.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.rigs import options, output
from benchmarks.rigs.search.plan_measure import SIZES, load, machine, make_planner, milliseconds, timed
from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json
from jepa_ros.processor import usable_cores

#: Plans or training steps of a case before the next one has its turn.
TURN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model(parser)
    parser.add_argument("--plans", type=int, default=100, help="plans a case (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="training steps a case (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="compute threads (default: the cores at hand)")
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Measure and print."""
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # what compiling takes the first time
    import torch

    if min(args.plans, args.steps) < 10:
        raise JepaRosError(f"--plans {args.plans}, --steps {args.steps}; expected at least 10 of each")
    threads = args.threads or usable_cores()
    torch.set_num_threads(threads)
    model, contract, about = load(args.robot, args.model)
    del about["success"]
    report: dict[str, Any] = {"benchmark": "compile", "version": 1, "machine": machine(threads), "model": about}
    report["plan"] = _plans(model, contract, args.plans)
    report["training"] = _training(model, contract, args.steps)
    output.deliver(report, _tables(report), args.json, None)
    return 0


def _plans(model: Any, contract: Any, count: int) -> list[dict[str, Any]]:
    import torch

    planners, took, says = {}, {}, {}
    for name, backend in (("native", "auto"), ("model", "model"), ("model, compiled", "model")):
        output.say("compile", f"plan: {name}")
        planner = make_planner(model, contract, SIZES[0], "auto", backend, 1)
        says[name], began = planner.search.backend, time.perf_counter()
        if name.endswith("compiled"):
            engine = planner.search.engine
            planner.search.engine = replace(engine, rollout=torch.compile(engine.rollout, dynamic=False))
        timed(planner, model, 2)
        planners[name], took[name] = planner, time.perf_counter() - began
    wall: dict[str, list[float]] = {name: [] for name in planners}
    used: dict[str, list[float]] = {name: [] for name in planners}
    for first in range(0, count, TURN):
        for name, planner in planners.items():
            clock, processor = timed(planner, model, TURN, first)
            wall[name], used[name] = wall[name] + clock, used[name] + processor
    return [
        {"engine": name, "says": says[name], "plans": len(wall[name]), "first_two_s": took[name],
         **milliseconds(wall[name]), "processor_ms": 1e3 * float(np.median(used[name]))}
        for name in planners
    ]  # fmt: skip


def _training(model: Any, contract: Any, count: int) -> list[dict[str, Any]]:
    import torch

    from jepa_ros.learning.representation.representation import RepresentationTrainer
    from jepa_ros.learning.settings import TrainSettings
    from jepa_ros.planning import native
    from jepa_ros.world_model import WorldModel

    settings, bf16 = TrainSettings(), native.has_bfloat16()
    shape = (settings.batch.episodes, settings.batch.windows, settings.batch.frames)
    generator = torch.Generator().manual_seed(0)
    size = contract.model_cameras[0].size[::-1]
    pictures = torch.randint(0, 256, (*shape, *size, 3), generator=generator, dtype=torch.uint8)
    actions = 2.0 * torch.rand(*shape, contract.action_dim, generator=generator) - 1.0
    inputs = {contract.model_cameras[0].name: pictures}
    trainers: dict[str, RepresentationTrainer] = {}
    took: dict[str, float] = {}
    for name in ("as it is", "compiled"):
        output.say("compile", f"training: {name}")
        torch.manual_seed(0)
        trainer = RepresentationTrainer(WorldModel(model.config), settings, bf16)
        began = time.perf_counter()
        if name == "compiled":
            trainer.learned = torch.compile(trainer.losses, dynamic=False)
        for number in range(2):
            trainer.step(number, inputs, actions)
        trainers[name], took[name] = trainer, time.perf_counter() - began
    wall: dict[str, list[float]] = {name: [] for name in trainers}
    used: dict[str, list[float]] = {name: [] for name in trainers}
    for first in range(0, count, TURN):
        for name, trainer in trainers.items():
            for number in range(first, first + TURN):
                began, ran = time.perf_counter(), time.process_time()
                trainer.step(number, inputs, actions)
                wall[name].append(time.perf_counter() - began)
                used[name].append(time.process_time() - ran)
    frames = math.prod(shape)
    return [
        {"loss": name, "bfloat16": bf16, "steps": len(wall[name]), "frames": frames, "first_two_s": took[name],
         **milliseconds(wall[name]), "processor_ms": 1e3 * float(np.median(used[name])),
         "frames_per_second": frames / float(np.median(wall[name]))}
        for name in trainers
    ]  # fmt: skip


def _tables(report: dict[str, Any]) -> str:
    about = report["machine"]
    lines = [f"{about['processor']}, {about['threads']} threads, torch {about['torch']}"]
    for what, key in (("plan 10 x 128 x 3", "engine"), ("training step", "loss")):
        lines += ["", f"| {what} | p50 ms | of the processor, ms | first two, s |", "|---|---|---|---|"]
        for r in report["plan" if key == "engine" else "training"]:
            lines.append(f"| {r[key]} | {r['p50_ms']:.1f} | {r['processor_ms']:.1f} | {r['first_two_s']:.1f} |")
    return "\n".join(lines) + "\n"
