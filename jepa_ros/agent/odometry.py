# SPDX-License-Identifier: Apache-2.0
"""Where a base is as a step begins: the newest place measured by then, for live data and bags alike; and how far it can
have come by itself."""

from __future__ import annotations

import math
from typing import Any

from jepa_ros.agent.recent import Recent

Place = tuple[float, float, float]
#: What a place may be off by besides what the robot can have driven [m] and turned [rad]: noise, and not a jump.
MOVED_METRES, TURNED_RADIANS = 0.15, 0.5
#: How far a base may overshoot its velocity limits, as a factor.
FASTER = 1.2


class Places:
    """Places of the recent past, (x m, y m, yaw rad) by their stamps [s].

    Args:
        patience: how old one may be [s].
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._recent = Recent()

    def take(self, measured: Any) -> None:
        """Note a measurement, OdomIn or PoseIn of :mod:`jepa_ros.safety.inputs`; one that is wrong is passed over."""
        place = (measured.x, measured.y, measured.yaw)
        if not measured.fault and all(map(math.isfinite, place)):
            self._recent.take(measured.stamp, place)

    def at(self, stamp: float) -> Place | None:
        """Where the robot was at a time [s]; None where that was not measured."""
        found = self._recent.newest(stamp)
        return found[1] if found is not None and found[0] <= self._patience else None


class Odometry(Places):
    """Places by the odometry of a base with its camera on board. From elsewhere it sees where it is, and is told none.

    Args:
        contract: says how old one may be; a robot without odometry has none.

    Attributes:
        topic: of the measurements, as in the contract; None where nobody is told.
    """

    def __init__(self, contract: Any) -> None:
        self.topic = contract.state.get("odom") if contract.on_board else None
        super().__init__(0.0 if self.topic is None else self.topic.timeout)

    def take(self, measured: Any) -> None:
        if self.topic is not None:
            super().take(measured)


def farthest(contract: Any, seconds: float) -> tuple[float, float]:
    """How far the robot can have driven [m] and turned [rad] by itself in some seconds, as its places tell; inf where
    the contract does not say."""
    limits = list(zip(contract.limits.velocity, contract.axes, strict=True))
    linear = [limit for limit, axis in limits if axis.unit == "m/s"]
    turning = [limit for limit, axis in limits if axis.unit == "rad/s"]
    speed, rate = math.hypot(*linear) if linear else math.inf, max(turning) if turning else math.inf
    return FASTER * speed * seconds + MOVED_METRES, FASTER * rate * seconds + TURNED_RADIANS
