# SPDX-License-Identifier: Apache-2.0
"""How long the planner of a running stack takes, heard on its status; and a goal that keeps it busy."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from jepa_ros.commands.link import Link

#: Where to go next (x, y, yaw): another goal as soon as one is reached.
GOALS = ((0.6, 0.6, 0.0), (-0.6, 0.6, 1.5), (-0.6, -0.6, 3.0), (0.6, -0.6, -1.5))


class PlannerTimes:
    """A listener, as a context manager."""

    def __enter__(self) -> PlannerTimes:
        """Begin to listen."""
        from diagnostic_msgs.msg import DiagnosticArray

        from jepa_ros.nodes import qos

        self._link = Link(timeout=60.0).__enter__()
        self._seconds: list[float] = []
        self._goal = 0
        self._link.node.create_subscription(DiagnosticArray, "planner/status", self._take, qos.STATUS)
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the graph."""
        self._link.__exit__(kind, value, trace)

    def forget(self) -> None:
        """Let the planner begin anew: what it remembers from before a recording is not in the bag."""
        from std_srvs.srv import Trigger

        self._link.call(Trigger, "planner/clear_goal")

    def drive(self) -> None:
        """Give a goal and wait until it is planned for."""
        from jepa_ros.nodes import qos

        self._publisher = qos.publisher(self._link.node, self._kind(), "goal_pose", qos.COMMAND)
        self._link.wait_heard(self._publisher)
        self._next_goal()
        self._link.until(lambda: len(self._seconds) > 5, "the planner made no plan")

    def during(self, seconds: float) -> list[float]:
        """The times [s] that plans took in the next `seconds`."""
        first, end = len(self._seconds), time.monotonic() + seconds
        self._link.until(lambda: time.monotonic() >= end, "time did not pass") if seconds < 60.0 else self._spin(end)
        return self._seconds[first:]

    def _spin(self, end: float) -> None:
        while (left := end - time.monotonic()) > 0:
            stop = time.monotonic() + min(left, 10.0)
            self._link.until(lambda stop=stop: time.monotonic() >= stop, "time did not pass")

    @staticmethod
    def _kind() -> Any:
        from geometry_msgs.msg import PoseStamped

        return PoseStamped

    def _next_goal(self) -> None:
        from jepa_ros.nodes.convert import set_yaw

        x, y, yaw = GOALS[self._goal % len(GOALS)]
        self._goal += 1
        message = self._kind()()
        message.header.frame_id = "map"
        message.pose.position.x, message.pose.position.y = x, y
        set_yaw(message.pose.orientation, yaw)
        self._publisher.publish(message)

    def _take(self, message: Any) -> None:
        values = {pair.key: pair.value for status in message.status for pair in status.values}
        if int(float(values.get("iterations") or 0)) > 0:
            self._seconds.append(float(values["elapsed_s"]))
        if values.get("arrived") == "true":
            self._next_goal()
