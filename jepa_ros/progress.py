# SPDX-License-Identifier: Apache-2.0
"""How far a long command is: bars on a terminal, and a line every ten seconds in a log. Every long command uses this.

It is written to the error stream, so that a command's output holds its results alone. The lines come by the clock, not
by the work: a log shows that a command is alive even where one step takes minutes.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

EVERY = 10.0  # s between the lines of a log
REDRAW = 0.1  # s between two pictures of the bars


@dataclass
class Task:
    """One thing that takes long.

    Attributes:
        name: what it is. total: how much there is; None where nobody knows. done: how much of it. note: what else.
        began, resumed: when it began (monotonic), and what was done then. changed: when it last went on.
    """

    name: str
    total: float | None = None
    done: float = 0.0
    note: str = ""
    began: float = field(default_factory=time.monotonic)
    resumed: float = 0.0
    changed: float = field(default_factory=time.monotonic)

    def update(self, done: float | None = None, total: float | None = None, note: str | None = None) -> None:
        """Set what has changed."""
        self.done = self.done if done is None else done
        self.total = self.total if total is None else total
        self.note = self.note if note is None else note
        self.changed = time.monotonic()

    def advance(self, by: float = 1.0, note: str | None = None) -> None:
        """So much more is done."""
        self.update(self.done + by, note=note)

    @property
    def finished(self) -> bool:
        """Whether all of it is done."""
        return self.total is not None and self.done >= self.total

    def left(self, now: float) -> float | None:
        """Seconds that the rest will take at the present rate; None where nobody knows."""
        if self.total is None or self.done <= self.resumed:
            return None
        return (now - self.began) * (self.total - self.done) / (self.done - self.resumed)

    def line(self, now: float) -> str:
        """How far it is, for a log."""
        amount = "" if self.total is None else f" {_number(self.done)} of {_number(self.total)}"
        left = self.left(now)
        rest = "" if left is None or self.finished else f", {_span(left)} to go"
        return f"{self.name}:{amount}{f'  {self.note}' if self.note else ''}  ({_span(now - self.began)}{rest})"


class Progress:
    """Shows tasks while a block runs::

        with Progress() as progress:
            episodes = progress.task("episodes", total=1600)
            for ...:
                episodes.advance(note="340 steps/s")

    Args:
        keep: leave finished bars on a terminal. stream: where to (default: the error stream).
        every: seconds between two lines where that is no terminal (default: :data:`EVERY`).
        quiet: show nothing.
    """

    def __init__(
        self, keep: bool = True, stream: TextIO | None = None, every: float | None = None, quiet: bool = False
    ) -> None:
        self.tasks: list[Task] = []
        self._stream = sys.stderr if stream is None else stream
        self._keep, self._quiet, self._told = keep, quiet, False
        self._every = EVERY if every is None else every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def task(self, name: str, total: float | None = None, done: float = 0.0) -> Task:
        """Begin a task, of which `done` was there before."""
        task = Task(name, total, done, resumed=done)
        self.tasks.append(task)
        return task

    def __enter__(self) -> Progress:
        """Begin to show."""
        if not self._quiet:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Show the end of it; nothing where nothing was shown before."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            self._draw() if self._stream.isatty() else self._write()

    def _write(self) -> None:
        while not self._ended.wait(self._every):
            self._line()
            self._told = True
        if self._told:
            self._line()

    def _line(self) -> None:
        """The task that went on last, and those beside it that are not at their end."""
        now = time.monotonic()
        shown = [t for t in self.tasks if not t.finished] or self.tasks
        latest = max(shown, key=lambda t: t.changed, default=None)
        if latest is not None:
            self._stream.write(f"{latest.line(now)}\n")
            self._stream.flush()

    def _draw(self) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self._stream)
        with Live(console=console, auto_refresh=False, transient=not self._keep, get_renderable=self._table) as live:
            while not self._ended.wait(REDRAW):
                live.refresh()
            live.refresh()

    def _table(self) -> object:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table, now = Table.grid(padding=(0, 1)), time.monotonic()
        for task in list(self.tasks):
            left = task.left(now)
            amount = "" if task.total is None else f"{_number(task.done)}/{_number(task.total)}"
            bar = ProgressBar(task.total, task.done, width=40, pulse=task.total is None, animation_time=now)
            spent = _span((task.changed if task.finished else now) - task.began)
            rest = "" if left is None or task.finished else f"{_span(left)} to go"
            table.add_row(task.name, bar, amount, task.note, spent, rest)
        return table


class StatusLine:
    """One line, for a loop that comes by often anyway: renewed in place on a terminal, written every so often in a log.

    Args:
        redraw: seconds between two pictures on a terminal. every: between two lines elsewhere (default: :data:`EVERY`).
        quiet: show nothing. stream: where to (default: the error stream).
    """

    def __init__(
        self, redraw: float = 1.0, every: float | None = None, quiet: bool = False, stream: TextIO | None = None
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._in_place, self._quiet = self._stream.isatty(), quiet
        self._period = redraw if self._in_place else EVERY if every is None else every
        self._next = time.monotonic() + (0.0 if self._in_place else self._period)

    def tell(self, text: str | Callable[[], str]) -> None:
        """Show a text, or what a function says, when it is time to."""
        now = time.monotonic()
        if self._quiet or now < self._next:
            return
        self._next = now + self._period
        said = text if isinstance(text, str) else text()
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            self._stream.write(f"\r\033[K{said}" if self._in_place else f"{said}\n")
            self._stream.flush()

    def end(self) -> None:
        """Take the line off a terminal."""
        if self._in_place and not self._quiet:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write("\r\033[K")
                self._stream.flush()


def _number(value: float) -> str:
    return f"{value:.1f}" if value != int(value) else f"{int(value)}"


def _span(seconds: float) -> str:
    """A length of time for people: 48 s, 12:05, 3:02:09."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
