# SPDX-License-Identifier: Apache-2.0
"""Jobs for others to do: what worker processes here and the machines of a cluster have in common."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from jepa_ros.errors import JepaRosError

J = TypeVar("J")
T = TypeVar("T")
LOOK_EVERY = 1.0  # s between two looks at whether the workers live
AHEAD = 2  # jobs a worker has been given: the one that it is at, and the next
#: What OpenMP, OpenBLAS, MKL, NumExpr, Apple's Accelerate and OpenCV read when they are loaded.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)  # fmt: skip


class Pool(Protocol):
    """What does jobs: worker processes here, or a cluster (:mod:`jepa_ros.cluster`)."""

    @property
    def slots(self) -> int:
        """Jobs that run at a time."""
        ...

    def results(self, work: Callable[[J], T], jobs: Iterable[J], ordered: bool = True) -> Iterator[T]:
        """See :meth:`Workers.results`."""
        ...


def answer(work: Callable[[J], T], job: J) -> tuple[bool, T | JepaRosError]:
    """Do a job: (True, its result) or (False, the mistake that it met)."""
    try:
        return True, work(job)
    except JepaRosError as error:
        return False, portable(error)


def portable(error: JepaRosError) -> JepaRosError:
    """An error as it can be sent to the parent: as it is, or as its text where it cannot be pickled."""
    try:
        return error if str(pickle.loads(pickle.dumps(error))) == str(error) else JepaRosError(str(error))
    except Exception:
        return JepaRosError(str(error))
