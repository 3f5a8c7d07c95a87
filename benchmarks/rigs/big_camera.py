# SPDX-License-Identifier: Apache-2.0
"""A camera of prepared frames: publishes them at a rate until it is told to end, then says how many it sent.

python -m benchmarks.rigs.big_camera TOPIC WIDTH HEIGHT RATE
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import Image

from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import fill
from jepa_ros.nodes.process import leave, run

FRAMES = 8


class BigCamera(Node):
    """See the module. The frames are random, which no compression makes smaller."""

    def __init__(self, topic: str, width: int, height: int, rate: float) -> None:
        super().__init__("big_camera", start_parameter_services=False)
        rng = np.random.default_rng(0)
        self._frames: list[Any] = [
            fill(Image(), rng.integers(0, 255, (height, width, 3), dtype=np.uint8), "rgb8") for _ in range(FRAMES)
        ]
        self.sent = 0
        self._out = qos.publisher(self, Image, topic, qos.IMAGE)
        self.create_timer(1.0 / rate, self._send, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _send(self) -> None:
        message = self._frames[self.sent % FRAMES]
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = str(self.sent)
        self._out.publish(message)
        self.sent += 1

    def close(self) -> None:
        """Say how many were sent."""
        print(f"sent {self.sent}", flush=True)


if __name__ == "__main__":
    topic, width, height, rate = sys.argv[1:5]
    leave(run(lambda: [BigCamera(topic, int(width), int(height), float(rate))], "big_camera", []))
