# SPDX-License-Identifier: Apache-2.0
"""Building a dataset shard by shard, in several processes, from whatever has episodes. Shards that are there are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from jepa_ros.learning.data.dataset import DatasetWriter
from jepa_ros.workers import worker_pool

#: A shard is closed after so many steps: 18 MB of 64x64 pictures, a unit of work and of resuming.
SHARD_STEPS = 1500

T = TypeVar("T")


class Job(Protocol):
    """One shard to be made: plain data for another process."""

    @property
    def shard(self) -> int:
        """Its number."""
        ...


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
