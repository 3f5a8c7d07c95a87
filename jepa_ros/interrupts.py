# SPDX-License-Identifier: Apache-2.0
"""The signals that ask a process to end, and Ctrl-C while modules are imported: one line and exit code 130.

A KeyboardInterrupt inside the import of an extension module comes out as an ImportError about something else.
Nothing has been started at that time, so the process may simply end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

INTERRUPTED = 130
#: Signals that ask a process to end: Ctrl-C, a supervisor, a terminal or an ssh that closes, Ctrl-\.
ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def say_interrupted() -> None:
    """The one line that Ctrl-C leaves, on the line where a terminal shows ``^C``."""
    sys.stderr.write("\r\033[Kinterrupted\n" if sys.stderr.isatty() else "interrupted\n")
    sys.stderr.flush()


def _end(_number: int, _frame: Any) -> None:
    say_interrupted()
    os._exit(INTERRUPTED)


@contextlib.contextmanager
def while_importing() -> Iterator[None]:
    """For a block that imports and starts nothing: Ctrl-C in it ends the process at once."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # somebody else has taken the signal
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
