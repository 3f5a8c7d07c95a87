# SPDX-License-Identifier: Apache-2.0
"""A deliberation in a thread beside the fast search, by turns: it rests while a control step is planned.

Both compute on the same cores and read the same knowledge. An expansion under way is given up when a step begins, so
the step waits a millisecond or two, and then has the processor for itself. What a deliberation knows changes between
two expansions only.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from jepa_ros.planning.deliberate.deliberation import Deliberation


class Turns:
    """Expands one deliberation after another while nobody plans a step.

    Attributes:
        error: why the last deliberation broke off, None if it did not.
    """

    def __init__(self) -> None:
        self._work: tuple[Deliberation, float] | None = None
        self._turn, self._go = threading.RLock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._closing = False
        self.error: Exception | None = None

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Nothing is expanded inside. Pauses may be nested."""
        self._go.clear()
        with self._turn:
            yield
        if self._work is not None:
            self._go.set()

    def work(self, deliberation: Deliberation | None, calls: float = 0.0) -> None:
        """Work on a deliberation up to so many calls of the model, None on nothing; to be called in a pause."""
        self._work = None if deliberation is None else (deliberation, calls)
        self.error = None
        if self._work is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="deliberation", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread, after the expansion under way."""
        self._closing = True
        self._go.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._closing = False
        self._work = None

    def _run(self) -> None:
        while not self._closing:
            self._go.wait()
            with self._turn:
                if not self._go.is_set() or self._closing:
                    continue
                if self._work is None or self._work[0].solved or not self._work[0].fits(self._work[1]):
                    self._go.clear()
                    continue
                try:
                    self._work[0].expand(lambda: not self._go.is_set())
                except Exception as error:  # told at the next step
                    self.error = error
                    self._work = None
