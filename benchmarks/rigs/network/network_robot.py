# SPDX-License-Identifier: Apache-2.0
"""The robot's side of the two-machine measurement: a light robot with a camera, which tells what its gate says.

It publishes what the arena's contract asks for (pictures of noise, odometry, a pose) and obeys ``cmd_vel``; every
state of the gate becomes a line of JSON on standard output. A line on standard input is a new skew [s] of the images'
stamps: the camera then stands on a machine whose clock is off by so much.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import Image

from jepa_ros.contract import load_contract
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import fill, set_yaw, to_stamp
from jepa_ros.nodes.process import leave, run


class NetworkRobot(Node):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("network_robot", start_parameter_services=False)
        contract = load_contract("arena")
        camera, self._frames = contract.cameras[0], contract.frames
        self._rng, self._shape = np.random.default_rng(0), (camera.height, camera.width, 3)
        self._speed, self._skew = (0.0, 0.0), 0.0
        self._images = qos.publisher(self, Image, "image", qos.IMAGE)
        self._odom = qos.publisher(self, Odometry, "odom", qos.STATE)
        self._pose = qos.publisher(self, PoseWithCovarianceStamped, "pose", qos.STATE)
        self._goal = qos.publisher(self, Image, "goal_image", qos.LATCHED)
        qos.subscription(self, TwistStamped, "cmd_vel", self._on_command, qos.COMMAND)
        qos.subscription(self, DiagnosticArray, "safety_gate/state", self._on_gate, qos.LATCHED)
        self._goal.publish(fill(Image(), self._noise(), "rgb8"))
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        for period, callback in ((1.0 / camera.rate, self._see), (0.04, self._feel), (0.1, self._read_input)):
            self.create_timer(period, callback, clock=steady)
        os.set_blocking(sys.stdin.fileno(), False)

    def _noise(self) -> np.ndarray:
        return self._rng.integers(0, 255, self._shape, dtype=np.uint8)

    def _see(self) -> None:
        message = fill(Image(), self._noise(), "rgb8")
        message.header.stamp = to_stamp(time.time() + self._skew)
        self._images.publish(message)

    def _feel(self) -> None:
        now = to_stamp(time.time())
        odom = Odometry(child_frame_id=self._frames.base)
        odom.header.stamp, odom.header.frame_id = now, self._frames.odom
        set_yaw(odom.pose.pose.orientation, 0.0)
        odom.twist.twist.linear.x, odom.twist.twist.angular.z = self._speed
        self._odom.publish(odom)
        pose = PoseWithCovarianceStamped()
        pose.header.stamp, pose.header.frame_id = now, self._frames.map
        set_yaw(pose.pose.pose.orientation, 0.0)
        pose.pose.covariance = np.diag([1e-4, 1e-4, 1e-9, 1e-9, 1e-9, 1e-4]).ravel()
        self._pose.publish(pose)

    def _read_input(self) -> None:
        text = sys.stdin.readline().strip()
        if text:
            self._skew = float(text)

    def _on_command(self, message: TwistStamped) -> None:
        self._speed = (message.twist.linear.x, message.twist.angular.z)

    def _on_gate(self, message: DiagnosticArray) -> None:
        if not message.status:
            return
        values = {pair.key: pair.value for pair in message.status[0].values}
        line: dict[str, Any] = {"time": time.monotonic(), "mode": values.get("mode"), "reason": values.get("reason")}
        age = float(values.get("image_age", "nan"))
        line["image_age"] = age if math.isfinite(age) else None
        line["moving"] = any(abs(float(v)) > 1e-6 for v in values.get("values", "").split())
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    leave(run(lambda: [NetworkRobot()], "network_robot"))
