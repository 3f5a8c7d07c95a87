# SPDX-License-Identifier: Apache-2.0
"""A bag that is looked at in a process of its own: a console that thinks a moment over again must not delay a stop.

The process has a lower priority, so that gate and planner of a robot that runs meanwhile come first.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

from jepa_ros.errors import JepaRosError

#: Seconds to wait for an answer: a model is loaded, a moment is thought over, while the robot has its share first.
PATIENCE = 300.0
PRIORITY = 5


class BagProcess:
    """What :class:`jepa_ros.console.afterwards.Afterwards` offers, answered by another process.

    Args:
        path: of the bag. model, namespace: see :class:`~jepa_ros.bags.replay.rethink.Moments`.
    """

    def __init__(self, path: str, model: str = "", namespace: str = "") -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._lock = threading.Lock()
        words = (other, path, model, namespace)
        self._process = context.Process(target=_serve, args=words, name="console-bag", daemon=True)
        self._process.start()
        other.close()

    @property
    def alive(self) -> bool:
        """Whether it still answers."""
        return self._process.is_alive()

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join(5.0)
        self._pipe.close()

    def _ask(self, name: str, *words: Any) -> Any:
        with self._lock:
            try:
                self._pipe.send((name, words))
                if not self._pipe.poll(PATIENCE):
                    self._process.terminate()
                    raise JepaRosError(f"the bag did not answer within {PATIENCE:.0f} s")
                done, found = self._pipe.recv()
            except (EOFError, OSError):
                raise JepaRosError("the bag was closed: open it again") from None
        if not done:
            raise JepaRosError(str(found))
        return found

    def timeline(self) -> dict[str, Any]:
        """See Afterwards.timeline; it waits until the bag is open."""
        found: dict[str, Any] = self._ask("timeline")
        return found

    def moment(self, number: int) -> dict[str, Any]:
        """See Afterwards.moment."""
        found: dict[str, Any] = self._ask("moment", number)
        return found

    def picture(self, number: int) -> bytes:
        """See Afterwards.picture."""
        return bytes(self._ask("picture", number))

    def again(self, number: int) -> dict[str, Any]:
        """See Afterwards.again."""
        found: dict[str, Any] = self._ask("again", number)
        return found

    def rethink(self, number: int, wanted: dict[str, Any]) -> dict[str, Any]:
        """See Afterwards.rethink."""
        found: dict[str, Any] = self._ask("rethink", number, wanted)
        return found

    def save(self, number: int, wanted: dict[str, Any]) -> dict[str, Any]:
        """See Afterwards.save."""
        found: dict[str, Any] = self._ask("save", number, wanted)
        return found


def _serve(pipe: Connection, path: str, model: str, namespace: str) -> None:
    """The process: answer until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the console, which ends this
    with contextlib.suppress(OSError):
        os.nice(PRIORITY)
    with contextlib.suppress(EOFError, OSError):
        try:
            import torch

            from jepa_ros.console.afterwards import open_bag

            torch.set_num_threads(1)  # as `jepa-ros replay`: the same sums in the same order
            bag = open_bag(path, None, model, namespace)
        except JepaRosError as error:
            pipe.recv()
            pipe.send((False, str(error)))
            return
        while True:
            name, words = pipe.recv()
            try:
                pipe.send((True, getattr(bag, name)(*words)))
            except JepaRosError as error:
                pipe.send((False, str(error)))
            except Exception as error:  # whatever it is, the page is told, and the bag stays open
                pipe.send((False, f"{type(error).__name__}: {error}"))
