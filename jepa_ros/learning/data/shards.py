# SPDX-License-Identifier: Apache-2.0
"""Building a dataset shard by shard, in several processes, from whatever has episodes. Shards that are there are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from jepa_ros.contract import RobotContract
from jepa_ros.learning.data.layout import Episode
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros.workers import worker_pool

#: A shard is closed after so many steps: 18 MB of 64x64 pictures, a unit of work and of resuming.
SHARD_STEPS = 1500

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """One shard to be made: plain data for another process. Whoever makes it adds what it is made of.

    Attributes:
        folder, contract, settings: of the dataset's writer. shard: its number.
    """

    folder: str
    contract: dict[str, Any]
    settings: dict[str, Any]
    shard: int

    def robot(self) -> RobotContract:
        """The contract, in the process that makes the shard."""
        return RobotContract.from_dict(self.contract)

    def write(self, contract: RobotContract, episodes: Sequence[Episode]) -> int:
        """Write the shard; returns its frames."""
        DatasetWriter(self.folder, contract, self.settings).write_shard(self.shard, episodes)
        return sum(map(len, episodes))


def in_shards(episodes: Iterable[T], steps: Callable[[T], int]) -> Iterator[tuple[T, ...]]:
    """Episodes in groups, each a shard of SHARD_STEPS or a little more; the last one may be shorter."""
    group: list[T] = []
    for episode in episodes:
        group.append(episode)
        if sum(map(steps, group)) >= SHARD_STEPS:
            yield tuple(group)
            group = []
    if group:
        yield tuple(group)


def write_shards(
    writer: DatasetWriter, jobs: Sequence[Job], write: Callable[[Any], int], workers: int,
    progress: Callable[[int, int], None] | None, worth: int = 2,
) -> int:  # fmt: skip
    """Do what is left of the jobs.

    Args:
        write: does one, and returns its frames. worth: fewer shards than this are done sooner in one process than
            others have started. progress: called with (shards done, shards in all) after each.

    Returns:
        The frames that were written now.
    """
    writer.begin()
    todo = [job for job in jobs if not writer.has_shard(job.shard)]
    frames = 0
    for done, count in enumerate(_run(todo, write, workers, worth), len(jobs) - len(todo) + 1):
        frames += count
        if progress is not None:
            progress(done, len(jobs))
    return frames


def _run(jobs: Sequence[Job], write: Callable[[Any], int], workers: int, worth: int) -> Iterator[int]:
    if workers <= 1 or len(jobs) < worth:
        yield from map(write, jobs)
        return
    with worker_pool(min(workers, len(jobs)), "dataset") as pool:
        yield from pool.results(write, jobs, ordered=False)
