# SPDX-License-Identifier: Apache-2.0
"""Names the rank that hangs.

A rank that waits for another cannot tell which: torch's own time-out says "timed out". So each rank tells the store
that ``torchrun`` keeps how many exchanges it has come to, and a thread compares: those that have come to fewer, and do
nothing, are the ones that all others wait for.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: Exit code of a rank that ends because another hangs.
HUNG = 70


@dataclass
class _Seen:
    """What another rank told last: how many exchanges it came to, and when (of our clock) it last went on."""

    number: int = -1
    sign: tuple[int, int] = (-1, -1)
    told: str = ""
    moved: float = field(default_factory=time.monotonic)


class Watch:
    """Tells how far this rank is and looks after the others.

    Args:
        store: torch.distributed's; a connection of its own, since a thread uses it.
        rank, size: this one and how many. timeout: seconds without going on, after which a rank is said to hang.
        end: called with the message; the default prints it and ends the process.
    """

    def __init__(
        self, store: Any, rank: int, size: int, timeout: float, end: Callable[[str], None] | None = None
    ) -> None:
        self._store, self._rank, self._size, self._timeout = store, rank, size, timeout
        self._end = end or _leave
        self._number, self._steps, self._doing, self._since = 0, 0, "starting", time.monotonic()
        self._seen = [_Seen() for _ in range(size)]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rank watch", daemon=True)
        self._thread.start()

    def at(self, doing: str) -> None:
        """This rank goes on: it is about to do that."""
        self._steps, self._doing, self._since = self._steps + 1, doing, time.monotonic()

    def meets(self) -> None:
        """This rank comes to an exchange with the others."""
        self._number, self._since = self._number + 1, time.monotonic()

    def close(self) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        period = min(1.0, self._timeout / 5.0)
        own = f"{socket.gethostname()}, process {os.getpid()}"
        with contextlib.suppress(RuntimeError):  # the store is gone: torchrun ends this process too
            while not self._over.wait(period):
                plain = {"number": self._number, "steps": self._steps, "name": own, "doing": self._doing}
                self._store.set(f"watch/{self._rank}", json.dumps(plain))
                late = self._late()
                if late:
                    self._end("; ".join(late))
                    return

    def _late(self) -> list[str]:
        """The ranks that hang, as this one sees it; only once it has itself waited for so long."""
        now = time.monotonic()
        for rank, seen in enumerate(self._seen):
            key = f"watch/{rank}"
            if not self._store.check([key]):
                continue
            told = self._store.get(key).decode()
            plain = json.loads(told)
            sign = plain["number"], plain["steps"]
            if sign != seen.sign:
                seen.number, seen.sign, seen.moved = plain["number"], sign, now
            seen.told = f"rank {rank} of {self._size} ({plain['name']}) at {plain['doing']}"
        self._seen[self._rank].moved = self._since
        if now - self._since < self._timeout:
            return []
        behind = min(seen.number for seen in self._seen)
        last = [(r, seen) for r, seen in enumerate(self._seen) if seen.number == behind]
        if any(now - seen.moved < self._timeout for _, seen in last):
            return []
        names = [seen.told or f"rank {r} of {self._size} has never been heard of" for r, seen in last]
        return [f"{name} has not gone on for {now - seen.moved:.0f} s" for name, (_, seen) in zip(names, last)]


def _leave(message: str) -> None:
    print(f"error: {message}; the same command resumes", file=sys.stderr, flush=True)
    os._exit(HUNG)


#: The watch of this process, where it has one.
watching: list[Watch] = []


def at(doing: str) -> None:
    """Tell the others that this process goes on."""
    for watch in watching:
        watch.at(doing)


def meets() -> None:
    """Tell the others that this process comes to an exchange; all processes come to the same ones, in one order."""
    for watch in watching:
        watch.meets()
