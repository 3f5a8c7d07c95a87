# SPDX-License-Identifier: Apache-2.0
"""Worker processes that run other people's code: one that dies is an error, where a pool would wait for it for ever."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.pool import IMapIterator
from typing import TypeVar

from jepa_ros.errors import JepaRosError

T = TypeVar("T")
LOOK_EVERY = 1.0  # s


def answers(waiting: IMapIterator[T], what: str) -> Iterator[T]:
    """What the workers of the one pool of this process answer, as ``imap`` or ``imap_unordered`` gives it.

    A pool replaces a worker that died, but what the worker was at is lost: nobody would ever answer.

    Args:
        waiting: the pool's iterator. what: what the workers do, for the message.

    Raises:
        JepaRosError: a worker died.
    """
    begun = {worker.pid for worker in multiprocessing.active_children()}
    while True:
        try:
            answer = waiting.next(timeout=LOOK_EVERY)
        except StopIteration:
            return
        except multiprocessing.TimeoutError:
            if {worker.pid for worker in multiprocessing.active_children()} != begun:
                hint = "the machine may be out of memory (take fewer --workers), or the simulator crashed"
                raise JepaRosError(f"{what}: a worker process died; {hint}") from None
            continue
        yield answer
