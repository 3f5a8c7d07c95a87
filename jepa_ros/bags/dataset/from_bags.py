# SPDX-License-Identifier: Apache-2.0
"""Bags become a dataset.

Two passes over each bag: the first finds the steps and the cuts (:mod:`jepa_ros.bags.dataset.episodes`), the second
decodes the images that are used, shard by shard and in several processes. Shards that are there are kept: the same
call resumes.
"""

from __future__ import annotations

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
from jepa_ros.bags.image_topic import require_images
from jepa_ros.contract import RobotContract
from jepa_ros.learning.data.layout import Episode
from jepa_ros.learning.data.shards import Job, in_shards, write_shards
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros.messages import MessageError
from jepa_ros.messages.images import pixels
from jepa_ros.perception.preprocess import ImageError, model_input

#: Fewer shards than this are done sooner in one process than others have started.
WORTH_PROCESSES = 6


@dataclass(frozen=True)
class _Job(Job):
    """One shard: episodes of one bag."""

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
    began, layout = time.monotonic(), 1
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
    frames = write_shards(writer, jobs, _write_shard, workers, progress, WORTH_PROCESSES)
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
        for group in in_shards(segments, len):
            where = (str(writer.folder), contract.to_dict(), described, len(jobs), str(path), topics.image)
            jobs.append(_Job(*where, group))
    return jobs


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
    contract = job.robot()
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
    return job.write(contract, episodes)


def _decode(reader: BagReader, topic: str, segment: Segment, contract: RobotContract) -> np.ndarray:
    """The model inputs of a segment, (T, height, width, 3) uint8."""
    camera = contract.step_camera
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
