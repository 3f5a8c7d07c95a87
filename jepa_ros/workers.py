# SPDX-License-Identifier: Apache-2.0
"""The ONE place that starts worker processes: collect, eval, dataset and the benchmarks all do it here.

A worker is spawned, not forked: PyBullet's and torch's threads do not survive a fork. Its thread variables are set
before it imports anything, for libraries read them once. Workers that each start a thread for every core wait for each
other most of the time: an environment that draws with torch was collected thirty times slower.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import os
import queue
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from jepa_ros.errors import JepaRosError
from jepa_ros.jobs import AHEAD, LOOK_EVERY, THREAD_VARIABLES, Pool, answer, portable

J = TypeVar("J")
T = TypeVar("T")


@contextlib.contextmanager
def thread_environment(threads: int = 1) -> Iterator[None]:
    """For a block that starts processes: they compute with `threads` threads each, unless the user has set another
    number in the environment. This process, which has loaded its libraries, is not changed."""
    added = [name for name in THREAD_VARIABLES if not os.environ.get(name)]
    os.environ.update(dict.fromkeys(added, str(threads)))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


class Workers:
    """A pool of worker processes, made by :func:`worker_pool`."""

    def __init__(self, pool: Any, count: int, what: str) -> None:
        self._pool, self._count, self._what = pool, count, what

    @property
    def slots(self) -> int:
        """Jobs that run at a time."""
        return self._count

    def results(self, work: Callable[[J], T], jobs: Iterable[J], ordered: bool = True) -> Iterator[T]:
        """What ``work(job)`` gives for each of ``jobs``; in their order, or as they come where not ``ordered``.

        A job is handed out when a worker is about to be free: whoever stops asking has no long queue to wait for.

        Args:
            work: a function of a module.

        Raises:
            JepaRosError: ``work`` raised one, or a worker died: a pool would wait for its answer for ever.
        """
        begun = self._pids()
        answers: queue.SimpleQueue[tuple[int, bool, Any]] = queue.SimpleQueue()
        left, early = enumerate(jobs), dict[int, T]()
        asked = answered = told = 0
        while True:
            for number, job in itertools.islice(left, AHEAD * self._count - (asked - answered)):
                asked += 1
                self._pool.apply_async(
                    _answer, (work, job), callback=functools.partial(_put, answers, number),
                    error_callback=lambda error: answers.put((-1, False, error)),
                )  # fmt: skip
            if asked == answered:
                return
            number, good, value = self._next(answers, begun)
            if not good:
                raise value
            answered += 1
            early[told if not ordered else number] = value
            while told in early:
                yield early.pop(told)
                told += 1

    def _next(self, answers: queue.SimpleQueue[tuple[int, bool, Any]], begun: set[int | None]) -> tuple[int, bool, Any]:
        while True:
            with contextlib.suppress(queue.Empty):
                return answers.get(timeout=LOOK_EVERY)
            if self._pids() != begun:
                hint = "the machine may be out of memory (take fewer --workers), or the simulator crashed"
                raise JepaRosError(f"{self._what}: a worker process died; {hint}")

    @staticmethod
    def _pids() -> set[int | None]:
        return {worker.pid for worker in multiprocessing.active_children()}


@contextlib.contextmanager
def worker_pool(
    workers: int, what: str, start: Callable[..., None] | None = None, given: Iterable[Any] = (), threads: int = 1,
    ray: str | None = None,
) -> Iterator[Pool]:  # fmt: skip
    """A pool of worker processes for a block; they end with it.

    Args:
        workers: how many. what: what they do, for messages. threads: that each computes with.
        start: a function of a module; each worker calls ``start(*given)`` before its first job.
        ray: address of the Ray cluster that works in the place of processes here, see :mod:`jepa_ros.cluster`.
    """
    if ray is not None:
        from jepa_ros.cluster import cluster_pool

        with cluster_pool(ray, what, start, given, threads) as cluster:
            yield cluster
        return
    with thread_environment(threads):
        pool = multiprocessing.get_context("spawn").Pool(workers, _remember, (start, tuple(given)))
        with pool:
            yield Workers(pool, workers, what)
            pool.close()  # other people's code may catch the signal that ends a worker: let it end by itself
            pool.join()


_start: list[Callable[[], None]] = []


def _remember(start: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    """Runs first in a worker. A pool whose initialiser raises starts workers for ever, so that comes with a job."""
    if start is not None:
        _start.append(functools.partial(start, *given))


def _put(answers: queue.SimpleQueue[tuple[int, bool, Any]], number: int, answer: tuple[bool, Any]) -> None:
    answers.put((number, *answer))


def _answer(work: Callable[[J], T], job: J) -> tuple[bool, T | JepaRosError]:
    """Do a job in a worker: (True, its result) or (False, the mistake that it met)."""
    try:
        while _start:
            _start[0]()
            _start.clear()
    except JepaRosError as error:
        return False, portable(error)
    return answer(work, job)
