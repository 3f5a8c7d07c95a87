# SPDX-License-Identifier: Apache-2.0
"""Somebody else's robot: its own names, rates, frames, image and command type. Nothing of jepa_ros is used here.

A delivery cart in a room of 3 m x 2.25 m under a ceiling camera (320x240 bgr8, 15 Hz, reliable), odometry, a
localisation, a front laser, a bumper, and an emergency-stop panel; driven by a Twist, with a time-out of its own.
"""

from __future__ import annotations

import math
import sys
import time

import cv2
import numpy as np
import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped, Twist
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image, LaserScan
from std_msgs.msg import Bool

ROOM = (1.5, 1.125)  # m, half of its width and depth
RADIUS, LASER_AHEAD = 0.12, 0.08  # m
ACCELERATION = (0.8, 4.0)  # m/s2, rad/s2
TIME_OUT = 0.4  # s without a command: it stops by itself
PIXELS_PER_METRE = 320 / 3.2
#: It has to move so far [m, rad] before the localisation speaks again: finer than AMCL's defaults, to be learned from.
UPDATE_D, UPDATE_A = 0.05, 0.05
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Cart(Node):
    """The cart, its sensors and its base controller."""

    def __init__(self) -> None:
        super().__init__("cart_driver")
        self.x, self.y, self.yaw, self.v, self.w = -0.6, -0.4, 0.3, 0.0, 0.0
        self.wanted, self.heard, self.bumped = (0.0, 0.0), -math.inf, False
        self.floor, self.noise = self.paint_floor(), np.random.default_rng(0)
        self.create_subscription(Twist, "/mobile_base/cmd_vel", self.on_command, 1)
        self.images = self.create_publisher(Image, "/ceiling_cam/color/image_raw", 10)
        self.odometry = self.create_publisher(Odometry, "/wheels/odometry", 10)
        self.poses = self.create_publisher(PoseWithCovarianceStamped, "/amcl_pose", LATCHED)
        self.told: tuple[float, float, float] | None = None  # where the localisation said last that it is
        self.laser = self.create_publisher(LaserScan, "/front_laser/scan", qos_profile_sensor_data)
        self.bumper = self.create_publisher(Bool, "/bumper/pressed", 10)
        self.panel = self.create_publisher(Bool, "/panel/emergency_stop", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        for period, callback in (
            (0.02, self.move), (1 / 15, self.see), (1 / 20, self.count_wheels), (1 / 6, self.localise),
            (0.1, self.sweep), (0.1, self.tell_switches),
        ):  # fmt: skip
            self.create_timer(period, callback, clock=steady)

    @staticmethod
    def paint_floor() -> np.ndarray:
        rng = np.random.default_rng(7)
        tiles = rng.integers(90, 150, (12, 16, 3), dtype=np.uint8)
        floor = cv2.resize(tiles, (320, 240), interpolation=cv2.INTER_NEAREST)
        cv2.rectangle(floor, (10, 7), (309, 232), (40, 40, 40), 3)
        return floor

    def on_command(self, message: Twist) -> None:
        self.wanted, self.heard = (message.linear.x, message.angular.z), time.monotonic()

    def move(self) -> None:
        wanted = self.wanted if time.monotonic() - self.heard < TIME_OUT else (0.0, 0.0)
        steps = [np.clip(to - now, -a * 0.02, a * 0.02) for to, now, a in zip(wanted, (self.v, self.w), ACCELERATION)]
        self.v, self.w = self.v + float(steps[0]), self.w + float(steps[1])
        self.yaw += self.w * 0.02
        x, y = self.x + self.v * 0.02 * math.cos(self.yaw), self.y + self.v * 0.02 * math.sin(self.yaw)
        limit_x, limit_y = ROOM[0] - RADIUS, ROOM[1] - RADIUS
        self.bumped = abs(x) > limit_x or abs(y) > limit_y
        if self.bumped:
            self.v = 0.0
        self.x, self.y = min(max(x, -limit_x), limit_x), min(max(y, -limit_y), limit_y)

    def stamped(self, message, frame: str):
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = frame
        return message

    def see(self) -> None:
        picture = self.floor.copy()
        at = (round(160 + self.x * PIXELS_PER_METRE), round(120 - self.y * PIXELS_PER_METRE))
        nose = (round(at[0] + 14 * math.cos(self.yaw)), round(at[1] - 14 * math.sin(self.yaw)))
        cv2.circle(picture, at, 12, (30, 60, 220), -1)
        cv2.line(picture, at, nose, (255, 255, 255), 4)
        picture ^= self.noise.integers(0, 4, picture.shape, np.uint8)  # no two pictures of a camera are the same
        message = self.stamped(Image(height=240, width=320, encoding="bgr8", step=960), "ceiling_cam_optical")
        message.data.frombytes(picture.tobytes())
        self.images.publish(message)

    def count_wheels(self) -> None:
        message = self.stamped(Odometry(child_frame_id="chassis"), "wheel_odom")
        self.place(message.pose.pose)
        message.twist.twist.linear.x, message.twist.twist.angular.z = self.v, self.w
        self.odometry.publish(message)

    def localise(self) -> None:
        """As AMCL does it: once, for whoever comes later, and again only after the cart has moved."""
        if self.told is not None:
            x, y, yaw = self.told
            if math.hypot(self.x - x, self.y - y) < UPDATE_D and abs(self.yaw - yaw) < UPDATE_A:
                return
        self.told = (self.x, self.y, self.yaw)
        message = self.stamped(PoseWithCovarianceStamped(), "world")
        self.place(message.pose.pose)
        message.pose.covariance = np.diag([4e-4, 4e-4, 1e-9, 1e-9, 1e-9, 1e-3]).ravel()
        self.poses.publish(message)

    def place(self, pose) -> None:
        pose.position.x, pose.position.y = self.x, self.y
        pose.orientation.z, pose.orientation.w = math.sin(self.yaw / 2), math.cos(self.yaw / 2)

    def sweep(self) -> None:
        angles = np.linspace(-math.pi / 2, math.pi / 2, 91)
        x, y = self.x + LASER_AHEAD * math.cos(self.yaw), self.y + LASER_AHEAD * math.sin(self.yaw)
        dx, dy = np.cos(angles + self.yaw), np.sin(angles + self.yaw)
        with np.errstate(divide="ignore"):
            reach = np.minimum((np.sign(dx) * ROOM[0] - x) / dx, (np.sign(dy) * ROOM[1] - y) / dy)
        message = self.stamped(LaserScan(), "front_laser_link")
        message.angle_min, message.angle_max, message.angle_increment = -math.pi / 2, math.pi / 2, math.pi / 90
        message.range_min, message.range_max = 0.02, 8.0
        message.ranges = reach.astype(np.float32).tolist()
        self.laser.publish(message)

    def tell_switches(self) -> None:
        self.bumper.publish(Bool(data=self.bumped))
        self.panel.publish(Bool(data=False))


def main() -> None:
    """Run until a signal."""
    rclpy.init()
    try:
        rclpy.spin(Cart())
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        sys.exit(0)


if __name__ == "__main__":
    main()
