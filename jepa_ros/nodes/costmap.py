# SPDX-License-Identifier: Apache-2.0
"""The ``costmap`` node: lethal cells of a costmap, and areas to stay out of, enter the scan that the gate hears.

The contract's ``costmap`` says which topics, in which frame, and from which cost on; see docs/neighbours.md. The node
is started by itself (``ros2 run jepa_ros costmap``), beside a stack and in its namespace. It publishes the contract's
``scan``: with each of the lidar's, or where the robot has none with each odometry or pose. Where something is wrong it
publishes nothing, and the gate stops on a scan that is lost; ``~/status`` and the log say why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PolygonStamped
from nav_msgs.msg import OccupancyGrid
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import LaserScan

from jepa_ros.contract import load_contract
from jepa_ros.contract.topics import STATE_TYPES
from jepa_ros.errors import JepaRosError
from jepa_ros.messages import MessageError
from jepa_ros.messages.costmap import area_in, grid_in
from jepa_ros.messages.state import odom_in, pose_in
from jepa_ros.messages.types import message_class
from jepa_ros.nodes import params, planner_messages, qos
from jepa_ros.nodes.convert import to_stamp
from jepa_ros.nodes.process import leave, run
from jepa_ros.planar.costmap_scan import CostmapScan
from jepa_ros.safety import settings

PARAMS = (
    params.ROBOT,
    params.Param("settings", "", "The gate's settings, as the same YAML text; this node uses pose_sigma."),
)
#: s between two scans of a robot without a lidar, at least; and between two looks whether the inputs still come.
EVERY, LOOK = 0.05, 0.5
#: Ranges of a scan of which no lidar is a part [m].
LEAST = 0.01


class CostmapNode(Node):
    """See the module."""

    def __init__(self, **options: Any) -> None:
        super().__init__("costmap", **options)
        values = params.declare(self, PARAMS)
        self._contract = contract = load_contract(values.robot)
        sigmas = settings.parse(values.settings).get("pose_sigma", settings.default("pose_sigma"))
        self._scan = CostmapScan(contract, sigmas)
        self._declared = declared = self._scan.declared
        self._out = qos.publisher(self, LaserScan, contract.state["scan"].topic, qos.STATE)
        self._status_out = qos.publisher(self, DiagnosticArray, "~/status", qos.LATCHED)
        if declared.topic:
            self._listen(OccupancyGrid, declared.topic, grid_in)
        for area in declared.polygons:
            self._listen(PolygonStamped, area, area_in)
        if self._scan.place:
            kind = message_class(STATE_TYPES[self._scan.place])
            qos.subscription(self, kind, contract.state[self._scan.place].topic, self._on_place, qos.STATE)
        if declared.lidar:
            qos.subscription(self, LaserScan, declared.lidar, lambda scan: self._publish(scan), qos.STATE)
        elif not self._scan.place:
            self.create_timer(EVERY, lambda: self._without_lidar(self._now()))
        self._sent = time.monotonic()
        self._wrong: str | None = None
        self.create_timer(LOOK, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _listen(self, kind: type, topic: str, read: Callable[[Any], Any]) -> None:
        def heard(message: Any) -> None:
            try:
                self._scan.take(topic, read(message), time.monotonic())
            except MessageError as error:
                self._scan.unreadable(topic, str(error), time.monotonic())

        qos.subscription(self, kind, topic, heard, qos.COMMAND)

    def _on_place(self, message: Any) -> None:
        now = time.monotonic()
        pose = self._scan.place == "pose"
        measured = pose_in(message, now) if pose else odom_in(message, self._contract, now)
        self._scan.take_place(measured)
        if not self._declared.lidar:
            self._without_lidar(measured.stamp)

    def _without_lidar(self, stamp: float) -> None:
        if time.monotonic() - self._sent >= EVERY or self._wrong:
            reach = float(self._declared.reach) + 1.0
            scan = LaserScan(range_min=LEAST, range_max=reach)
            scan.header.frame_id = self._contract.state["scan"].frame or self._contract.frames.base
            scan.header.stamp = to_stamp(stamp)
            self._publish(scan, lidar=False)

    def _publish(self, scan: LaserScan, lidar: bool = True) -> None:
        """Publish a scan with what is in the way: a lidar's own, or one to be filled."""
        try:
            beams = self._scan.beams(scan if lidar else None, time.monotonic(), self._now())
        except JepaRosError as error:
            self._tell(str(error))
            return
        scan.angle_min, scan.angle_increment = beams.first, beams.step
        scan.angle_max = beams.first + beams.step * (len(beams.ranges) - 1)
        scan.ranges, scan.intensities = beams.ranges.tolist(), []
        self._out.publish(scan)
        self._sent = time.monotonic()
        self._tell("")

    def _look(self) -> None:
        """Say so where nothing comes that a scan would be made of."""
        silent = time.monotonic() - self._sent
        if silent > self._contract.state["scan"].timeout and not self._wrong:
            place = self._scan.place
            source = self._declared.lidar or (self._contract.state[place].topic if place else "the clock")
            self._tell(f"{source} is silent for {silent:.1f} s")

    def _tell(self, wrong: str) -> None:
        if wrong:
            self.get_logger().error(f"no scan for the gate: {wrong}", throttle_duration_sec=2.0)
        if wrong == self._wrong:
            return
        self._wrong = wrong
        level = DiagnosticStatus.ERROR if wrong else DiagnosticStatus.OK
        stamp = self.get_clock().now().to_msg()
        self._status_out.publish(planner_messages.array(stamp, "costmap", level, wrong, {}))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal; return the exit code."""
    return run(lambda: [CostmapNode()], "costmap", args)


if __name__ == "__main__":
    leave(main())
