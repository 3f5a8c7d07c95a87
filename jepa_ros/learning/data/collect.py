# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros collect``: exploratory driving in simulation, through the loop and the gate, into a dataset."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.agent.loop import Loop, StepRecord
from jepa_ros.cluster import add_ray
from jepa_ros.options import number, positive, seed, whole
from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json, write_json
from jepa_ros.learning.data.layout import Episode
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros.perception.preprocess import model_input
from jepa_ros.perception.state import kept_state
from jepa_ros.processor import usable_cores
from jepa_ros.progress import Progress
from jepa_ros.workers import Pool, worker_pool
from jepa_ros.worlds import Scene, Task, World
from jepa_ros.worlds.assignment import Assignment
from jepa_ros.worlds.choose import add_world_arguments, assign, choose

SHARD_EPISODES = 8
TRIES = 20  # of an episode, until one is long enough to be learned from


@dataclass(frozen=True)
class CollectSettings:
    """How much is collected: number of episodes, control steps in each at most, and what everything random follows.

    ``gate_rate`` [Hz]: ticks of the gate while data is collected; None for the contract's. The dataset has the contract.
    """

    episodes: int
    length: int
    seed: int
    gate_rate: float | None = None

    def driven(self, assignment: Assignment) -> Assignment:
        """The assignment with the gate's ticks as they are while data is collected.

        Raises:
            ContractError: no contract may have this rate.
        """
        if self.gate_rate is None:
            return assignment
        changed = RobotContract.from_dict({**assignment.robot, "gate_rate": self.gate_rate})
        return replace(assignment, robot=changed.to_dict())


_worker: dict[str, Any] = {}


def collect_episode(scene: Scene, task: Task, world: World, settings: CollectSettings, number: int) -> Episode:
    """Drive one episode; a function of the settings and its number alone.

    Raises:
        JepaRosError: the world ends every attempt before training could use it.
    """
    for attempt in range(TRIES):
        spec = task.outing(settings.seed, number, attempt)
        scene.reset(spec)
        # The lidar is hidden from the gate: a model that is to know what a contact is must have touched something.
        loop = Loop(scene, task.explore(scene, spec), gated=world.gated, blind=("scan",))
        records: list[StepRecord] = []
        while len(records) < settings.length and not scene.over:
            records.append(loop.step())
        if len(records) >= world.shortest:
            return _episode(records, scene.contract, spec.group)
    raise JepaRosError(
        f"{scene.contract.name}: {TRIES} episodes ended within {world.shortest} steps of random actions; lower "
        "--action-repeat, or switch the early end off by --env-args"
    )


def _episode(records: list[StepRecord], contract: RobotContract, group: int) -> Episode:
    camera = contract.step_camera
    poses = [r.observation.state.get("pose") for r in records]
    felt = [kept_state(contract, r.observation.state) for r in records]
    further = {f"state_{s.name}": np.stack([f[s.name] for f in felt]) for s in contract.kept_state}
    for other in (c for c in contract.model_cameras if c is not camera):
        pictures = [model_input(r.observation.images[other.name], other) for r in records]
        further[f"images_{other.name}"] = np.stack(pictures)
    return Episode(
        images=np.stack([model_input(r.observation.images[camera.name], camera) for r in records]),
        actions=np.array([r.executed for r in records], dtype=np.float32),
        commands=np.array([r.decision.command for r in records], dtype=np.float32),
        poses=np.array([(np.nan,) * 3 if p is None else (p.x, p.y, p.yaw) for p in poses], dtype=np.float32),
        contacts=np.array([r.touched for r in records], dtype=bool),
        layout=group,
        further=further,
    )


def described(task: Task, settings: CollectSettings) -> dict[str, Any]:
    """The dataset's description; compared when a run is resumed."""
    return {**task.settings(), **{name: value for name, value in vars(settings).items() if value is not None}}


def _start_worker(assignment: Assignment, settings: CollectSettings) -> None:
    _worker.clear()
    _worker.update(assignment=assignment, settings=settings)


def _drive_shard(shard: int) -> list[Episode]:
    """The episodes of a shard."""
    assignment, settings = _worker["assignment"], _worker["settings"]
    if "scene" not in _worker:  # here and not at the start, so that what goes wrong comes back as an error
        _worker["scene"], _worker["task"] = settings.driven(assignment).open()
    scene, task = _worker["scene"], _worker["task"]
    first = shard * SHARD_EPISODES
    numbers = range(first, min(first + SHARD_EPISODES, settings.episodes))
    return [collect_episode(scene, task, assignment.world, settings, n) for n in numbers]


def _driven_shard(shard: int) -> tuple[int, list[Episode]]:
    """A shard as a cluster sends it: its machines need not see the dataset's folder."""
    return shard, _drive_shard(shard)


def _collect_shard(job: tuple[str, int]) -> tuple[int, int, float]:
    folder, shard = job
    episodes = _drive_shard(shard)
    writer = DatasetWriter(folder, _worker["assignment"].contract, described(_worker["task"], _worker["settings"]))
    return _written(writer, shard, episodes)


def _written(writer: DatasetWriter, shard: int, episodes: list[Episode]) -> tuple[int, int, float]:
    """Write a shard: how many episodes, steps, and steps with a contact it has."""
    writer.write_shard(shard, episodes)
    return len(episodes), sum(map(len, episodes)), float(sum(e.contacts.sum() for e in episodes))


def _shards(
    pool: Pool, writer: DatasetWriter, todo: list[int], cluster: bool
) -> Iterator[tuple[int, int, float]]:  # fmt: skip
    if cluster:
        for shard, episodes in pool.results(_driven_shard, todo, ordered=False):
            yield _written(writer, shard, episodes)
    else:
        yield from pool.results(_collect_shard, [(str(writer.folder), s) for s in todo], ordered=False)


def collect(
    assignment: Assignment, folder: Path | str, settings: CollectSettings, workers: int, ray: str | None = None
) -> dict[str, Any]:
    """Collect a dataset, in parallel; what a killed run wrote is kept and not collected again.

    ``ray`` is the address of a cluster that drives in the place of ``workers`` processes here.

    Returns:
        A report: episodes, steps, share of steps with contact, control steps a second.

    Raises:
        DatasetError: the folder holds something else or data of other settings.
    """
    contract = assignment.contract
    task = assignment.world.task(assignment.task, contract, assignment.options)
    writer = DatasetWriter(folder, contract, described(task, settings))
    shards = -(-settings.episodes // SHARD_EPISODES)
    writer.begin()
    todo = [s for s in range(shards) if not writer.has_shard(s)]
    started, steps, contacts = time.monotonic(), 0, 0.0
    given = assignment, settings
    with Progress() as progress, worker_pool(workers, "collect", _start_worker, given, ray=ray) as pool:
        workers = pool.slots
        bar = progress.task("episodes", settings.episodes, done=settings.episodes - _episodes(todo, settings))
        for episodes, n, touched in _shards(pool, writer, todo, ray is not None):
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


def _episodes(todo: list[int], settings: CollectSettings) -> int:
    return sum(min(SHARD_EPISODES, settings.episodes - s * SHARD_EPISODES) for s in todo)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_world_arguments(parser, "about ten control steps a second")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dataset; the same command resumes")
    parser.add_argument("--episodes", type=positive, help="number of episodes (default: 1600; with --env 400)")
    parser.add_argument("--length", type=whole(2), default=120, help="control steps per episode (default: %(default)s)")
    parser.add_argument("--seed", type=seed, default=0, help="all randomness follows from it (default: %(default)s)")
    parser.add_argument("--layout", metavar="NAME", help="in the arena, the same as --task: its obstacles")
    parser.add_argument(
        "--distractors", type=whole(0), metavar="N", help="objects on the table that have no part in the task"
    )
    parser.add_argument("--per-layout", type=positive, help="episodes that share a random layout (default: 1)")
    parser.add_argument(
        "--no-randomise", action="store_true", help="no random lighting, colours, camera pose, slip and latency"
    )
    parser.add_argument("--workers", type=positive, default=usable_cores(), help="processes (default: %(default)s)")
    parser.add_argument(
        "--gate-rate", type=number(above=True), metavar="HZ",
        help="ticks of the safety gate while data is collected; fewer are faster (default: the contract's)",
    )  # fmt: skip
    add_ray(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    args.randomise = False if args.no_randomise else None
    choice = choose(args, False, ("per_layout", "randomise", "distractors"))
    world = choice.world
    if args.length < world.shortest:
        raise JepaRosError(f"--length {args.length}: training needs episodes of at least {world.shortest} control steps")
    assignment = assign(args, choice)
    contract = assignment.contract
    settings = CollectSettings(args.episodes or world.episodes, args.length, args.seed, args.gate_rate)
    if args.gate_rate is not None and not world.gated:
        raise JepaRosError(f"--gate-rate {args.gate_rate:g}: '{world.name}' has no safety gate")
    settings.driven(assignment)  # refuses a rate that no contract may have
    report = collect(assignment, args.out, settings, args.workers, args.ray)
    print(
        f"{args.out}: {report['episodes']} episodes, {report['robot_minutes']:.0f} minutes of robot time; "
        f"{report['steps_per_second']:.0f} steps/s"
        + (f", contact in {report['contact_share']:.0%} of the steps" if report["contact_share"] is not None else "")
    )
    if args.json is not None:
        write_json(args.json, {
            "dataset": str(args.out), "robot": contract.name, "world": world.name, "task": assignment.task,
            "seed": args.seed, **report,
        })
    return 0
