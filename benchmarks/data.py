# SPDX-License-Identifier: Apache-2.0
"""Data larger than memory: training from disk against memory, and what a dataset of ten million frames asks for.

``stream``: steps of training on a dataset that is kept in memory and on the same one with none of its pages kept, which
is harder than memory for a quarter of it. ``plan``: a dataset of so many frames in files without contents, with a real
index: time to write and to read it, memory, and how fast batches are put together when the disk costs nothing.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.rigs import output
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.files import add_json
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import ARRAYS, Episode
from jepa_ros.learning.data.sampler import BatchShape, WindowSampler
from jepa_ros.learning.data.storage import shard_names
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros.learning.representation.representation import RepresentationTrainer, run
from jepa_ros.learning.settings import TrainSettings
from jepa_ros.world_model import ModelConfig, WorldModel

LENGTH = 120  # control steps of an episode
ROUND = 10  # steps of a measurement; memory and disk take turns, so that a busy machine is busy for both


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--frames", type=int, default=10_000_000, help="frames of the plan (default: %(default)s)")
    parser.add_argument("--shard", type=int, default=8, help="episodes a shard of the plan (default: %(default)s)")
    parser.add_argument("--stream-frames", type=int, default=23_040, help="frames of the set (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help=f"rounds of {ROUND} steps each (default: %(default)s)")
    add_json(parser)
    parser.add_argument("--markdown", type=Path, help="write the tables there too")


def main(args: argparse.Namespace) -> int:
    """Measure both."""
    with tempfile.TemporaryDirectory(prefix="bench_data_") as folder:
        report = {
            "benchmark": "data", "version": 1, "machine": output.machine(),
            "stream": stream(Path(folder) / "stream", args.stream_frames, args.rounds),
            "plan": plan(Path(folder) / "plan", args.frames, args.shard),
        }  # fmt: skip
    output.deliver(report, _text(report), args.json, args.markdown)
    return 0


def stream(folder: Path, frames: int, rounds: int) -> dict[str, Any]:
    """Frames a second and the share of waiting, from memory and from disk in turns."""
    contract, rng = load_contract("arena"), np.random.default_rng(0)
    writer = DatasetWriter(folder, contract, {"seed": 0})
    writer.begin()
    for shard in range(max(2, frames // (8 * LENGTH))):
        writer.write_shard(shard, [_episode(rng, contract) for _ in range(8)])
    writer.finish()
    os.sync()
    data, settings = Dataset(folder), replace(TrainSettings(), precision="fp32")
    trainer = RepresentationTrainer(WorldModel(ModelConfig(**ModelConfig.inputs_of(contract))), settings, False)
    sampler = WindowSampler(data, np.arange(len(data)), settings.batch, 0)
    run(trainer, sampler.batches(0, 3), lambda *_: None)
    found: dict[str, list[tuple[float, float, float]]] = {"memory": [], "disk": []}
    for turn in range(rounds):
        for place, rows in found.items():
            _pages(folder, keep=place == "memory")
            trainer.waited = 0.0
            begun, used = time.monotonic(), time.process_time()
            first = 3 + ROUND * turn
            run(trainer, _forgetting(sampler.batches(first, first + ROUND), folder, place), lambda *_: None)
            rows.append((time.monotonic() - begun, trainer.waited, time.process_time() - used))
            output.say("data", f"stream, {place}, {turn + 1} of {rounds}")
    images = ROUND * settings.batch.images
    size = sum(p.stat().st_size for p in folder.rglob("*.npy"))
    told: dict[str, Any] = {"frames": data.steps, "megabytes": size / 1e6, "rounds": rounds}
    for place, rows in found.items():
        wall, waited, cpu = np.median(np.array(rows), axis=0)
        told[place] = {"frames_per_second": images / wall, "loader_share": waited / wall, "cpu_seconds": cpu}
    told["slower"] = told["memory"]["frames_per_second"] / told["disk"]["frames_per_second"] - 1.0
    told["slower_cpu"] = told["disk"]["cpu_seconds"] / told["memory"]["cpu_seconds"] - 1.0
    return told


def _forgetting(batches: Any, folder: Path, place: str) -> Any:
    """The batches; of those from disk no page is kept from one to the next."""
    for batch in batches:
        yield batch
        if place == "disk":
            _pages(folder, keep=False)


def _pages(folder: Path, keep: bool) -> None:
    """Bring all of a dataset into the page cache, or none."""
    for shard in shard_names(folder):
        for name in ARRAYS[:-1]:
            with (folder / shard / f"{name}.npy").open("rb") as file:
                if keep:
                    while file.read(1 << 24):
                        pass
                else:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _episode(rng: np.random.Generator, contract: RobotContract, length: int = LENGTH) -> Episode:
    return Episode(
        images=rng.integers(0, 255, (length, 64, 64, 3), dtype=np.uint8),
        actions=rng.uniform(-0.4, 0.4, (length, contract.action_dim)).astype(np.float32),
        commands=np.zeros((length, contract.action_dim), np.float32),
        poses=rng.normal(size=(length, 3)).astype(np.float32),
        contacts=np.zeros(length, bool),
        layout=int(rng.integers(1, 1000)),
    )


def plan(folder: Path, frames: int, episodes: int) -> dict[str, Any]:
    """A dataset of so many frames, whose arrays are holes: what opening and reading it asks for."""
    contract, rng = load_contract("arena"), np.random.default_rng(0)
    writer = DatasetWriter(folder, contract, {"seed": 0})
    writer.begin()
    writer.write_shard(0, [_episode(rng, contract) for _ in range(episodes)])
    first = writer.shard_path(0)
    heads = {p.name: (p.read_bytes()[:128], p.stat().st_size) for p in first.glob("*.npy")}
    table = (first / "episodes.npy").read_bytes()
    shards = -(-frames // (episodes * LENGTH))
    for i in range(1, shards):
        there = writer.shard_path(i)
        there.mkdir()
        for name, (head, size) in heads.items():
            with (there / name).open("wb") as file:
                file.write(table if name == "episodes.npy" else head)
                file.truncate(size)
        if i % 500 == 0:
            output.say("data", f"plan, shard {i} of {shards}")
    begun = time.monotonic()
    writer.finish()
    index_s = time.monotonic() - begun
    process = psutil.Process()
    before, begun = process.memory_info().rss, time.monotonic()
    data = Dataset(folder)
    open_s, opened = time.monotonic() - begun, process.memory_info().rss
    training, _ = data.split(0.08, 0)
    sampler = WindowSampler(data, training, BatchShape(), 0)
    count, begun, used = 40, time.monotonic(), time.process_time()
    for _ in sampler.batches(0, count):
        pass
    wall, cpu = time.monotonic() - begun, time.process_time() - used
    images = count * BatchShape().images
    return {
        "frames": data.steps, "shards": shards, "index_seconds": index_s, "open_seconds": open_s,
        "index_megabytes": sum((folder / n).stat().st_size for n in ("index.npy", "index.json")) / 1e6,
        "open_megabytes": (opened - before) / 1e6, "sampled_megabytes": (process.memory_info().rss - opened) / 1e6,
        "frames_per_second": images / wall, "frames_per_cpu_second": images / cpu,
    }  # fmt: skip


def _text(report: dict[str, Any]) -> str:
    s, p = report["stream"], report["plan"]
    rows = [
        f"| {place} | {s[place]['frames_per_second']:.0f} | {s[place]['loader_share']:.1%} | "
        f"{s[place]['cpu_seconds']:.2f} |" for place in ("memory", "disk")
    ]  # fmt: skip
    return "\n".join([
        f"Training on {s['frames']} frames ({s['megabytes']:.0f} MB), medians of {s['rounds']} rounds.",
        f"From disk it is {s['slower']:+.1%} slower by the clock, {s['slower_cpu']:+.1%} in processor time.\n",
        "| from | frames/s | waiting for data | processor time [s] |", "|---|---|---|---|", *rows, "",
        "| dataset, simulated | |", "|---|---|",
        f"| frames, shards | {p['frames']}, {p['shards']} |",
        f"| to write the index, once | {p['index_seconds']:.1f} s |",
        f"| to open | {p['open_seconds']:.2f} s |",
        f"| the index: on disk, in memory | {p['index_megabytes']:.1f} MB, {p['open_megabytes']:.1f} MB |",
        f"| more memory after 40 batches | {p['sampled_megabytes']:.1f} MB |",
        f"| batches put together | {p['frames_per_second']:.0f} frames/s, {p['frames_per_cpu_second']:.0f} a second of "
        "processor time |",
    ]) + "\n"  # fmt: skip
