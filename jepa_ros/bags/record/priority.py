# SPDX-License-Identifier: Apache-2.0
"""The priority of the recorder's process: low enough that the robot's loop does not feel it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path

NICE = 5
"""A third of an ordinary process's share where the processor is short: four times what 27 MB/s of images take."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc, malloc.h
_KEPT_BYTES, _LARGEST_KEPT = 256 << 20, 32 << 20


def lower_priority() -> None:
    """Yield to the loop and keep freed memory; for the process of the recorder, before it starts threads.

    SCHED_BATCH: a message that arrives for the recorder never interrupts what is running. The memory of an image is
    used for the next one: glibc would give every megabyte back and have the kernel clear a new one, 30 times a second.
    Where the kernel groups processes by session (sched_autogroup), nice counts within one alone, and the session has
    one of its own (sched(7)).
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError):  # refused in some containers: it records at ordinary priority then
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with contextlib.suppress(OSError):
        os.nice(NICE)
    if os.getsid(0) == os.getpid():  # as `up` and Recorder start it; from a terminal the session is the shell's
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(NICE), encoding="ascii")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    gc.freeze()
