# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros collect``: exploratory driving in simulation, through the loop and the gate, into a dataset."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.files import add_json, write_json
from jepa_ros.learning.data.dataset import DatasetWriter, Episode
from jepa_ros.learning.data.exploration import Exploration
from jepa_ros.learning.gym_collect import GymSettings, add_env_arguments, settings_from
from jepa_ros.agent.loop import Loop
from jepa_ros.commands.options import positive, refuse_given, seed, whole
from jepa_ros.perception.preprocess import model_input
from jepa_ros.processor import usable_cores
from jepa_ros.progress import Progress
from jepa_ros.workers import worker_pool
from jepa_ros.contract import RobotContract, load_contract

SHARD_EPISODES = 8
#: Share of the episodes of ``--layout mixed`` that run in the fixed layout.
FIXED_SHARE = 0.2


@dataclass(frozen=True)
class CollectSettings:
    """How a dataset is made; written into it, and compared when a run is resumed.

    Attributes:
        episodes, length: number of episodes, control steps in each.
        seed: everything random follows from it.
        layout: ``fixed``, ``random`` (a new one each episode) or ``mixed``.
        randomise: draw lighting, colours, camera pose, slip and latency anew each episode.
        per_layout: episodes in a row that share a random layout, so that detours can be learned.
    """

    episodes: int
    length: int
    seed: int
    layout: str
    randomise: bool
    per_layout: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the dataset's description."""
        return {"source": "simulation", **vars(self)}

    def episode(self, contract: RobotContract, number: int) -> Episode:
        """Collect episode ``number``."""
        return collect_episode(contract, self, number)


AnySettings = CollectSettings | GymSettings


def collect_episode(contract: RobotContract, settings: CollectSettings, number: int) -> Episode:
    """Drive one episode; a function of the settings and its number alone."""
    from jepa_ros_sim.arena import ArenaSim, SceneConfig

    seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
    rng = np.random.default_rng([settings.seed, number, 1])
    group = number // settings.per_layout
    layout_rng = np.random.default_rng([settings.seed, group, 2])
    fixed = settings.layout == "fixed" or (settings.layout == "mixed" and layout_rng.random() < FIXED_SHARE)
    layout_seed = 0 if fixed else int(layout_rng.integers(1, 2**31 - 1))
    scene = SceneConfig(layout="fixed" if fixed else "random", randomise=settings.randomise)
    with ArenaSim(contract, scene) as sim:
        sim.reset(seed, layout_seed=None if fixed else layout_seed)
        loop = Loop(contract, sim, Exploration(contract, rng), scan=False)
        records = [loop.step() for _ in range(settings.length)]
    camera = contract.cameras[0]
    return Episode(
        images=np.stack([model_input(r.observation.image, camera) for r in records]),
        actions=np.array([r.executed for r in records], dtype=np.float32),
        commands=np.array([r.decision.command for r in records], dtype=np.float32),
        poses=np.array([r.observation.pose for r in records], dtype=np.float32),
        contacts=np.array([r.contact for r in records], dtype=bool),
        layout=layout_seed,
    )


def _collect_shard(job: tuple[str, dict[str, Any], AnySettings, int]) -> tuple[int, int, float]:
    folder, contract_data, settings, shard = job
    contract = RobotContract.from_dict(contract_data)
    writer = DatasetWriter(folder, contract, settings.to_dict())
    first = shard * SHARD_EPISODES
    numbers = range(first, min(first + SHARD_EPISODES, settings.episodes))
    episodes = [settings.episode(contract, n) for n in numbers]
    writer.write_shard(shard, episodes)
    steps = sum(len(e) for e in episodes)
    return len(episodes), steps, float(sum(e.contacts.sum() for e in episodes))


def collect(contract: RobotContract, folder: Path | str, settings: AnySettings, workers: int) -> dict[str, Any]:
    """Collect a dataset, in parallel; what a killed run wrote is kept and not collected again.

    Returns:
        A report: episodes, steps, share of steps with contact, control steps a second.

    Raises:
        DatasetError: the folder holds something else or data of other settings.
    """
    writer = DatasetWriter(folder, contract, settings.to_dict())
    shards = -(-settings.episodes // SHARD_EPISODES)
    writer.begin()
    todo = [s for s in range(shards) if not writer.has_shard(s)]
    jobs = [(str(folder), contract.to_dict(), settings, s) for s in todo]
    started, steps, contacts = time.monotonic(), 0, 0.0
    with Progress() as progress, worker_pool(workers, "collect") as pool:
        bar = progress.task("episodes", settings.episodes, done=settings.episodes - _episodes(todo, settings))
        for episodes, n, touched in pool.results(_collect_shard, jobs, ordered=False):
            steps, contacts = steps + n, contacts + touched
            bar.advance(episodes, note=f"{steps / (time.monotonic() - started):.0f} steps/s")
    elapsed = time.monotonic() - started
    report = {
        "episodes": settings.episodes,
        "collected_now": steps,
        "robot_minutes": settings.episodes * settings.length * contract.period / 60.0,
        "contact_share": contacts / steps if steps and "contact" in contract.state else None,
        "steps_per_second": steps / elapsed,
        "workers": workers,
    }
    writer.finish(report)
    return report


def _episodes(todo: list[int], settings: AnySettings) -> int:
    return sum(min(SHARD_EPISODES, settings.episodes - s * SHARD_EPISODES) for s in todo)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--robot", default="arena", help="contract: a name or a YAML file (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dataset; the same command resumes")
    parser.add_argument("--episodes", type=positive, help="number of episodes (default: 1600; with --env 400)")
    parser.add_argument("--length", type=whole(2), default=120, help="control steps an episode (default: %(default)s)")
    parser.add_argument("--seed", type=seed, default=0, help="all randomness follows from it (default: %(default)s)")
    parser.add_argument(
        "--layout", choices=("fixed", "random", "mixed"), default="mixed", help="obstacles (default: %(default)s)"
    )
    parser.add_argument(
        "--per-layout", type=positive, default=1, help="episodes that share a random layout (default: %(default)s)"
    )
    parser.add_argument(
        "--no-randomise", action="store_true", help="keep lighting, colours, camera, slip and latency as they are"
    )
    parser.add_argument("--workers", type=positive, default=usable_cores(), help="processes (default: %(default)s)")
    add_json(parser)
    add_env_arguments(parser, "about ten control steps a second")


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    args.episodes = args.episodes if args.episodes is not None else (400 if args.env else 1600)
    settings: AnySettings
    if args.env:
        ours = ("robot", "layout", "per_layout", "no_randomise")
        refuse_given(args, add_arguments, ours, "is of our own arena, and does nothing with --env")
        contract, settings = settings_from(args)
    else:
        refuse_given(args, add_arguments, ("env_args", "action_repeat"), "does nothing without --env")
        contract = load_contract(args.robot)
        import jepa_ros_sim.arena.world  # noqa: F401  (told here, before a dataset is begun, where PyBullet is missing)

        settings = CollectSettings(
            args.episodes, args.length, args.seed, args.layout, not args.no_randomise, args.per_layout
        )
    report = collect(contract, args.out, settings, args.workers)
    print(
        f"{args.out}: {report['episodes']} episodes, {report['robot_minutes']:.0f} minutes of robot time; "
        f"{report['steps_per_second']:.0f} steps/s"
        + (f", contact in {report['contact_share']:.0%} of the steps" if report["contact_share"] is not None else "")
    )
    if args.json is not None:
        write_json(args.json, {"dataset": str(args.out), "robot": contract.name, "seed": args.seed, **report})
    return 0
