# SPDX-License-Identifier: Apache-2.0
"""Where a base is by its odometry as a step begins: the newest measured by then, for live data and bags alike."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from jepa_ros.agent.senses import KEPT, SAME, UNORDERED

Place = tuple[float, float, float]


class Odometry:
    """Poses of the recent past, (x m, y m, yaw rad) by their stamps [s].

    Args:
        contract: says how old one may be; a robot without odometry has none.
    """

    def __init__(self, contract: Any) -> None:
        topic = contract.state.get("odom")
        self._patience = 0.0 if topic is None else topic.timeout
        self._kept: deque[tuple[float, Place]] = deque(maxlen=KEPT)

    def take(self, measured: Any) -> None:
        """Note a measurement, see :class:`jepa_ros.safety.inputs.OdomIn`; one that is wrong is passed over."""
        place = (measured.x, measured.y, measured.yaw)
        if measured.fault or not all(map(math.isfinite, place)):
            return
        if self._kept and measured.stamp < self._kept[-1][0]:
            if self._kept[-1][0] - measured.stamp < UNORDERED:
                return
            self._kept.clear()  # time jumped back
        self._kept.append((measured.stamp, place))

    def at(self, stamp: float) -> Place | None:
        """Where the robot was at a time [s]; None where that was not measured."""
        for taken, place in reversed(self._kept):
            if taken <= stamp + SAME:
                return place if stamp - taken <= self._patience else None
        return None
