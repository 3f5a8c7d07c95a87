# SPDX-License-Identifier: Apache-2.0
"""One process of a stack: it ends with its parent, and its output is read line by line."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jepa_ros.bringup.spec import NodeSpec

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Fault:
    """A process that ended or misbehaved unasked."""

    process: str
    what: str
    lines: tuple[str, ...] = ()
    fatal: bool = False

    def __str__(self) -> str:
        text = f"{self.process}: {self.what}"
        return text + "".join(f"\n    {line}" for line in self.lines[-12:])


@dataclass
class Process:
    """A process of the graph, while it runs and between two runs.

    Attributes:
        lines: the last that it wrote. starts: monotonic times [s] at which it was started. start_at: when it is started
            again, None while it runs.
    """

    spec: NodeSpec
    popen: subprocess.Popen[str] | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=40))
    reader: threading.Thread | None = None
    starts: list[float] = field(default_factory=list)
    start_at: float | None = None

    @property
    def name(self) -> str:
        """Of its executable."""
        return self.spec.executable

    @property
    def alive(self) -> bool:
        """Whether it runs now."""
        return self.popen is not None and self.popen.poll() is None

    def start(self, environment: Mapping[str, str], on_line: Callable[[str, str], None] | None) -> None:
        """Start it; ``on_line`` hears (name, line) of all that it writes, from another thread.

        Raises:
            OSError: it cannot be started.
        """
        self.start_at = None
        self.starts.append(time.monotonic())
        # A session of its own: Ctrl-C in the terminal reaches this process only, which then stops the rest in order.
        self.popen = subprocess.Popen(
            [sys.executable, "-m", *self.spec.words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**environment, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        self.reader = threading.Thread(target=self._read, args=(self.popen, on_line), daemon=True)
        self.reader.start()

    def _read(self, popen: subprocess.Popen[str], on_line: Callable[[str, str], None] | None) -> None:
        assert popen.stdout is not None
        for line in popen.stdout:
            line = line.rstrip("\n")
            self.lines.append(line)
            if on_line is not None:
                on_line(self.name, line)
        popen.stdout.close()


try:
    _libc: ctypes.CDLL | None = ctypes.CDLL(None)
except OSError:
    _libc = None


def _end_with_parent() -> None:
    """In the child, before it runs: SIGTERM when the parent dies, even by SIGKILL (Linux)."""
    if _libc is not None and sys.platform.startswith("linux"):
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def exit_text(code: int) -> str:
    """What an exit code says."""
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit code {code}"
