# SPDX-License-Identifier: Apache-2.0
"""What of the processor this process may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores that this process may run on, at least 1; fewer than the machine has where it was pinned."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1
