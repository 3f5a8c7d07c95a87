# SPDX-License-Identifier: Apache-2.0
"""The planner's sense of time: which image begins a control step, and what the gate let through during the last one.

Image k is the newest one taken at or before t_k = k / rate, where t_0 is the stamp of the first image used. A camera
is usually faster than the control rate, and its stamps jitter. No ROS here: stamps are seconds.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray


class StepClock:
    """Chooses the images that begin a control step.

    Args:
        rate: control steps a second. camera_rate: images a second. Half the camera's period is the tolerance of t_k.
    """

    def __init__(self, rate: float, camera_rate: float) -> None:
        self._period = 1.0 / rate
        self._tolerance = 0.5 * min(1.0 / camera_rate, self._period)
        self.reset()

    def reset(self) -> None:
        """Begin anew with the next image."""
        self._due: float | None = None
        self._last = -np.inf

    def begins_step(self, stamp: float) -> bool:
        """Whether the image of this stamp [s] begins a step; an image that was seen before never does.

        If time jumps back, or after a gap of more than two steps, a new grid starts at this image.
        """
        if stamp == self._last:
            return False
        jumped = stamp < self._last
        self._last = stamp
        if self._due is not None and not jumped and stamp < self._due - self._tolerance:
            return False
        if self._due is None or jumped or stamp > self._due + 2.0 * self._period:
            self._due = stamp
        # The grid stays: a late image moves it on by whole steps only.
        while self._due <= stamp + self._tolerance:
            self._due += self._period
        return True


class CommandLog:
    """What the gate let through, as a function of time: each command holds until the next.

    Args:
        size: number of action dimensions, A. keep: seconds that are remembered.
    """

    def __init__(self, size: int, keep: float) -> None:
        self._size, self._keep = size, keep
        self._entries: deque[tuple[float, NDArray[np.float64]]] = deque()

    def add(self, stamp: float, values: NDArray[np.float64]) -> None:
        """Note a command (A,), in force from ``stamp`` [s] on; one that is not finite or not (A,) is dropped."""
        if values.shape != (self._size,) or not np.isfinite(values).all():
            return
        if self._entries and stamp < self._entries[-1][0]:
            self._entries.clear()  # time jumped back
        self._entries.append((stamp, values))
        while self._entries[0][0] < stamp - self._keep:
            self._entries.popleft()

    def at(self, time: float) -> NDArray[np.float64] | None:
        """The command in force at ``time`` [s], (A,); None if it is not known."""
        for stamp, values in reversed(self._entries):
            if stamp <= time:
                return values
        return None

    def mean(self, start: float, end: float) -> NDArray[np.float64] | None:
        """The executed action over [start, end) [s], (A,), weighted by time; None if part of it is not known."""
        if not end > start or not self._entries or self._entries[0][0] > start:
            return None
        total, until = np.zeros(self._size), end
        for stamp, values in reversed(self._entries):
            if stamp >= until:
                continue
            since = max(stamp, start)
            total += (until - since) * values
            until = since
            if until <= start:
                break
        return total / (end - start)
