# SPDX-License-Identifier: Apache-2.0
"""The simulated time at which a message was received, for log times under ``--use-sim-time``.

A node's own clock would not do: a recorder that was kept from running takes a backlog in one go, and all of it would
have the time at which it was taken. Here the time of receipt, which the middleware tells, is looked up in how /clock
came.
"""

from __future__ import annotations

import bisect
import time

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from jepa_ros.messages.stamps import raw_stamp

DEPTH = 5000
"""Words of /clock that are waited for and remembered: 20 s of a simulation that speaks at 250 Hz."""


class SimulatedTime:
    """Hears the clock's topic for a node that polls."""

    def __init__(self, node: Node, topic: str = "/clock") -> None:
        """Subscribe."""
        profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._clock = node.create_subscription(Clock, topic, lambda _: None, profile, raw=True)
        self._received: list[int] = []
        self._times: list[int] = []

    def listen(self) -> None:
        """Take what /clock has said since the last call."""
        handle = self._clock.handle
        with handle:
            while (taken := handle.take_message(Clock, True)) is not None:
                data, info = taken
                self._received.append(info["received_timestamp"] or time.time_ns())
                self._times.append(raw_stamp(data))
        if len(self._times) > 2 * DEPTH:
            del self._received[:-DEPTH], self._times[:-DEPTH]

    def at(self, received: int) -> int:
        """What /clock had said last at the system's time `received` (both ns).

        Before its first word that is the first word, and 0 while there is none.
        """
        at = bisect.bisect_right(self._received, received) - 1
        return self._times[max(at, 0)] if self._times else 0
