# SPDX-License-Identifier: Apache-2.0
"""What of the processor this process may use."""

from __future__ import annotations

import os

#: Seconds after which a thread of Python lets another one go on, where several threads plan: most of their time they
#: are in code that needs no interpreter, and the usual 5 ms would keep them waiting at the end of each such piece.
SWITCH = 0.0005


def usable_cores() -> int:
    """Cores that this process may run on, at least 1; fewer than the machine has where it was pinned."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1
