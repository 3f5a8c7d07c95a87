# SPDX-License-Identifier: Apache-2.0
"""What was measured lately, and which of it counted at a time: the ONE rule for live data, bags and replays."""

from __future__ import annotations

from collections import deque
from typing import Any

KEPT = 256  # more than two seconds of the fastest sensor
UNORDERED = 0.5  # s: what is older by less than this came out of order, by more, time has jumped
SAME = 1e-6  # s: stamps that differ by less are of one time


class Recent:
    """Values by their stamps [s], the newest of them."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, Any]] = deque(maxlen=KEPT)

    def take(self, stamp: float, value: Any) -> None:
        """Note a value. One that came out of order is passed over; where time jumped back, all begins anew."""
        if self._kept and stamp < self._kept[-1][0]:
            if self._kept[-1][0] - stamp < UNORDERED:
                return
            self._kept.clear()
        self._kept.append((stamp, value))

    def newest(self, stamp: float) -> tuple[float, Any] | None:
        """How old the newest value of a time [s] or before it was then [s], and the value; None before the first."""
        for taken, value in reversed(self._kept):
            if taken <= stamp + SAME:
                return stamp - taken, value
        return None
