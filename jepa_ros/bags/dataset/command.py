# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros dataset BAG... --robot NAME --out DIR`: bags become a dataset that `jepa-ros train` reads.

LeRobot's datasets come and go by `--from lerobot` and `--to lerobot` (:mod:`jepa_ros.bags.lerobot`).

Two passes over each bag: the first finds the steps and the cuts (:mod:`jepa_ros.bags.dataset.episodes`), the second
decodes the images that are used, shard by shard and in several processes. Shards that are there are kept: the same
command resumes.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.bags import BagError
from jepa_ros.bags.dataset.episodes import cut
from jepa_ros.bags.dataset.segments import CutReport, CutSettings, Segment
from jepa_ros.bags.dataset.series import Topics, resolve_topics
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.identity import contract_of
from jepa_ros.bags.lerobot import command as lerobot
from jepa_ros.bags.replay.recording import require_images
from jepa_ros.commands.options import duration, positive, refuse_given, whole
from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json, write_json
from jepa_ros.learning.data.dataset import DatasetWriter, Episode
from jepa_ros.messages import MessageError
from jepa_ros.messages.images import pixels
from jepa_ros.perception.preprocess import ImageError, model_input
from jepa_ros.processor import usable_cores
from jepa_ros.progress import Progress
from jepa_ros.workers import worker_pool

SHARD_STEPS = 1500
"""A shard is closed after so many steps: 18 MB of 64x64 pictures, a unit of work and of resuming."""


WORTH_PROCESSES = 6
"""Fewer shards than this are done sooner in one process than others have started."""


@dataclass(frozen=True)
class _Job:
    """One shard: episodes of one bag."""

    folder: str
    contract: dict[str, Any]
    settings: dict[str, Any]
    shard: int
    bag: str
    topic: str
    segments: tuple[Segment, ...]


def build(
    bags: list[str | Path],
    folder: str | Path,
    robot: str | None = None,
    *,
    settings: CutSettings | None = None,
    namespace: str = "",
    topics: dict[str, str] | None = None,
    workers: int = 1,
    progress=None,
) -> dict[str, Any]:
    """Build a dataset from bags; returns the report that is also in its `report.json`.

    Args:
        bags: folders or files, in the order of their episodes.
        folder: of the dataset; one that was begun with the same bags and settings is resumed.
        robot: contract name or file; None takes the one in the first bag.
        progress: called with (shards done, shards in all) after each.

    Raises:
        BagError: a bag cannot be read, lacks a topic, or does not fit the contract.
        DatasetError: the folder holds something else.
    """
    settings = settings or CutSettings()
    began, frames, layout = time.monotonic(), 0, 1
    if not bags:
        raise BagError("no bag was given")
    contract: RobotContract | None = None
    plans: list[tuple[Path, Topics, list[Segment], CutReport]] = []
    identity, problems = [], {}
    for bag in bags:
        with BagReader(bag) as reader, _telling_problems(reader):
            if reader.message_count == 0:
                raise BagError(f"{bag}: the bag has no messages")
            own = contract_of(reader, robot)
            if contract is not None and robot is None and (lines := contract.model_differences(own)):
                raise BagError(f"{bag} was recorded with another contract than {bags[0]}:\n  " + "\n  ".join(lines))
            contract = contract or own
            found = resolve_topics(reader, contract, namespace, topics)
            require_images(reader, found.image)
            segments, cuts = cut(reader, contract, found, settings, layout)
            layout = max([layout - 1, *(segment.layout for segment in segments)]) + 1
            plans.append((Path(bag), found, segments, cuts))
            identity.append({"path": str(bag), "start_ns": reader.start, "messages": reader.message_count})
            problems[str(bag)] = reader.problems
    assert contract is not None  # there was a bag
    if not any(segments for _, _, segments, _ in plans):
        raise BagError(f"no episode of {settings.min_length} steps\n{_why(plans, problems)}")
    described = {
        "source": "bags", "bags": identity, "cut": asdict(settings), "namespace": namespace, "topics": topics or {},
    }  # fmt: skip
    writer = DatasetWriter(folder, contract, described)
    jobs = _jobs(writer, contract, described, plans)
    writer.begin()
    todo = [job for job in jobs if not writer.has_shard(job.shard)]
    for done, count in enumerate(_run(todo, workers), 1):
        frames += count
        if progress is not None:
            progress(len(jobs) - len(todo) + done, len(jobs))
    elapsed = time.monotonic() - began
    images = sum(r.images for *_, r in plans)
    report: dict[str, Any] = {
        "steps": sum(r.kept for *_, r in plans),
        "episodes": sum(r.episodes for *_, r in plans),
        "robot_minutes": sum(r.kept for *_, r in plans) * contract.period / 60.0,
        "images_per_second": images / elapsed if frames else None,
        "bags": {str(path): asdict(r) | {"problems": problems[str(path)]} for path, _, _, r in plans},
    }
    writer.finish(report)
    return report


@contextlib.contextmanager
def _telling_problems(reader: BagReader) -> Iterator[None]:
    """Adds the bag's problems to an error about it: they may be its cause."""
    try:
        yield
    except BagError as error:
        raise BagError("\n".join([str(error), *(f"  problem: {text}" for text in reader.problems)])) from error


def _why(plans, problems: dict[str, list[str]]) -> str:
    """Why there is no episode: what was dropped, and for each bag what is odd or broken about it."""
    lines = []
    for path, _, _, report in plans:
        dropped = sorted(report.dropped.items(), key=lambda item: -item[1]["count"])
        listed = ", ".join(f"{reason}: {entry['count']}" for reason, entry in dropped)
        lines.append(f"{path}: {report.images} images begin {report.steps} steps. Dropped: {listed or 'nothing'}")
        lines += [f"  note: {note}" for note in report.notes]
        lines += [f"  problem: {problem}" for problem in problems[str(path)]]
    return "\n".join(lines)


def _jobs(writer: DatasetWriter, contract: RobotContract, described: dict, plans) -> list[_Job]:
    jobs: list[_Job] = []
    for path, topics, segments, _ in plans:
        group: list[Segment] = []
        for number, segment in enumerate(segments):
            group.append(segment)
            if sum(map(len, group)) >= SHARD_STEPS or number == len(segments) - 1:
                where = (str(writer.folder), contract.to_dict(), described, len(jobs), str(path), topics.image)
                jobs.append(_Job(*where, tuple(group)))
                group = []
    return jobs


def _run(jobs: list[_Job], workers: int):
    """Do the jobs; yields the number of frames of each that is done."""
    if workers <= 1 or len(jobs) < WORTH_PROCESSES:
        yield from map(_write_shard, jobs)
        return
    with worker_pool(min(workers, len(jobs)), "dataset") as pool:
        yield from pool.results(_write_shard, jobs, ordered=False)


_open: dict[str, BagReader] = {}


def _reader(path: str) -> BagReader:
    """The bag, opened once a process."""
    if path not in _open:
        for reader in _open.values():
            reader.close()
        _open.clear()
        _open[path] = BagReader(path)
    return _open[path]


def _write_shard(job: _Job) -> int:
    contract = RobotContract.from_dict(job.contract)
    reader = _reader(job.bag)
    episodes = [
        Episode(
            images=_decode(reader, job.topic, segment, contract),
            actions=segment.actions,
            commands=segment.commands,
            poses=segment.poses,
            contacts=segment.contacts,
            layout=segment.layout,
            further=segment.further,
        )
        for segment in job.segments
    ]
    DatasetWriter(job.folder, contract, job.settings).write_shard(job.shard, episodes)
    return sum(map(len, episodes))


def _decode(reader: BagReader, topic: str, segment: Segment, contract: RobotContract) -> np.ndarray:
    """The model inputs of a segment, (T, height, width, 3) uint8."""
    camera = contract.cameras[0]
    images = np.empty((len(segment), *camera.size[::-1], 3), np.uint8)
    wanted = {int(stamp): k for k, stamp in enumerate(segment.stamps)}
    left = set(wanted.values())
    for message in reader.messages({topic}, int(segment.times[0]), int(segment.times[-1]) + 1):
        content = reader.deserialize(message)
        k = wanted.get(content.header.stamp.sec * 1_000_000_000 + content.header.stamp.nanosec)
        if k is None or k not in left or message.time != segment.times[k]:
            continue
        try:
            image, encoding = pixels(content)
            images[k] = model_input(image, camera, encoding)
        except (MessageError, ImageError) as error:
            raise BagError(f"{reader.path}: {topic}: image of time {message.time}: {error}") from None
        left.discard(k)
    if left:
        raise BagError(f"{reader.path}: {topic}: {len(left)} images changed while the dataset was built")
    return images


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("bags", nargs="+", metavar="PATH", help="bags (folders or files), or one dataset")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dataset; the same command resumes")
    parser.add_argument("--robot", help="contract: a name or a YAML file (default: the one in the bag)")
    parser.add_argument("--namespace", default="", help="namespace of the robot in the bag")
    for name, what in (
        ("image", "images"), ("command", "executed commands (the gate's output)"), ("pose", "localisation"),
        ("contact", "bumper"), ("gate", "gate's state"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", default="", metavar="TOPIC", help=f"topic of the {what}")
    parser.add_argument(
        "--min-length", type=whole(2), default=20, help="shortest episode in steps (default: %(default)s)"
    )
    parser.add_argument(
        "--max-length", type=whole(2), default=600, help="longest episode in steps (default: %(default)s)"
    )
    parser.add_argument(
        "--max-idle", type=duration, default=2.0, help="cut longer standstills, s (default: %(default)s)"
    )
    parser.add_argument(
        "--static", action="store_true", help="what stands about was the same in all of these bags, all the time"
    )
    parser.add_argument("--workers", type=positive, default=usable_cores(), help="processes")
    lerobot.add_arguments(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.source == "lerobot" and args.target == "lerobot":
        raise JepaRosError("--from lerobot and --to lerobot at once: make a dataset first, then write it")
    if args.target == "lerobot":
        others = (*lerobot.OF_BAGS, *lerobot.OF_IMPORT, "robot", "static", "min_length")
        refuse_given(args, add_arguments, others, "does nothing with --to lerobot")
        return lerobot.export_set(args)
    refuse_given(args, add_arguments, lerobot.OF_EXPORT, "is for --to lerobot")
    if args.source == "lerobot":
        refuse_given(args, add_arguments, lerobot.OF_BAGS, "is for bags")
        return lerobot.import_set(args)
    refuse_given(args, add_arguments, lerobot.OF_IMPORT, "is for --from lerobot")
    if args.max_length < args.min_length:
        raise JepaRosError(f"--max-length {args.max_length} is below --min-length {args.min_length}")
    settings = CutSettings(args.min_length, args.max_length, args.max_idle, args.static)
    topics = {name: getattr(args, name) for name in ("image", "command", "pose", "contact", "gate")}
    with Progress() as progress:
        shards = progress.task("shards")
        report = build(
            args.bags, args.out, args.robot, settings=settings, namespace=args.namespace,
            topics={k: v for k, v in topics.items() if v}, workers=args.workers,
            progress=shards.update,
        )  # fmt: skip
    print(summary(args.out, report))
    if args.json:
        write_json(args.json, report)
    return 0


def summary(folder: Path, report: dict[str, Any]) -> str:
    """The report as text: what was kept, what was dropped and why."""
    speed = report["images_per_second"]
    rate = f", {speed:.0f} images of the bags a second" if speed else " (already there)"
    lines = [
        f"{folder}: {report['episodes']} episodes, {report['steps']} steps, "
        f"{report['robot_minutes']:.1f} minutes of robot time{rate}"
    ]
    for path, entry in report["bags"].items():
        lines.append(f"{path}: {entry['images']} images, {entry['steps']} steps, {entry['kept']} kept")
        for reason, dropped in sorted(entry["dropped"].items(), key=lambda item: -item[1]["count"]):
            where = ", ".join(f"{at:.1f}" for at in dropped["at"][:6])
            more = " ..." if len(dropped["at"]) > 6 else ""
            lines.append(f"  dropped {dropped['count']:6d}  {reason}  (at {where}{more} s)")
        lines += [f"  note: {note}" for note in entry["notes"]]
        lines += [f"  problem: {problem}" for problem in entry["problems"]]
    return "\n".join(lines)
