# SPDX-License-Identifier: Apache-2.0
"""Scheduling of the gate's process: ahead of everything that may load the machine, as far as the system permits it."""

from __future__ import annotations

import gc
import os
import sys
import time
from pathlib import Path

#: Of SCHED_FIFO, 1..99: above every ordinary process, below drivers that ask for real time on purpose.
FIFO_PRIORITY = 1
NICE = -10
#: Seconds between two collections of garbage; each takes well under a millisecond once everything is frozen.
COLLECT_PERIOD = 1.0


def raise_priority() -> tuple[bool, str]:
    """Give every thread of this process (the middleware's receive, the main one ticks) real time, or else nice.

    Returns:
        Whether any of it was granted, and a sentence that says what was, or what to do about it.
    """
    if not sys.platform.startswith("linux"):
        return False, "its scheduling priority is left as it is: known for Linux alone"
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK  # what this process starts runs as usual
    try:
        for task in Path("/proc/self/task").iterdir():
            os.sched_setscheduler(int(task.name), policy, os.sched_param(FIFO_PRIORITY))
        return True, f"runs under SCHED_FIFO, priority {FIFO_PRIORITY}"
    except OSError as error:
        refused = error.strerror or "refused"
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        return True, f"runs at nice {NICE} (SCHED_FIFO: {refused})"
    except OSError:
        return False, (
            f"runs at ordinary priority, and ticks late on a loaded machine (SCHED_FIFO and nice: {refused}): allow it "
            "rtprio in /etc/security/limits.conf, or give the service LimitRTPRIO=1"
        )


class Collector:
    """Garbage is collected after a tick, when there is time, never in the middle of one.

    What was made before this lives as long as the process: it is frozen, and no collection walks through it.
    """

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()
        gc.disable()
        self._next = time.monotonic() + COLLECT_PERIOD

    def after_tick(self, now: float) -> None:
        """Collect, if it is time."""
        if now >= self._next:
            self._next = now + COLLECT_PERIOD
            gc.collect()
