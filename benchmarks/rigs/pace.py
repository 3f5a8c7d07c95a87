# SPDX-License-Identifier: Apache-2.0
"""How fast a running stack is, heard from outside: time of a plan, and from a picture to the command made of it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, TwistStamped
from sensor_msgs.msg import Image

from benchmarks.rigs.listener import Listener
from jepa_ros.messages.stamps import stamp_ns
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import set_yaw

#: Seconds for which the planner drives to one goal.
EACH = 4.0


class Pace(Listener):
    """Keeps the planner busy with goals, and listens.

    Args:
        goals: poses x, y, yaw to drive to, in turn.

    Attributes:
        plans: times of plans [ms]. ways: times from the receipt of a picture to that of its command [ms].
    """

    def __init__(self, goals: Sequence[Sequence[float]]) -> None:
        super().__init__("console_pace")
        self._goals = itertools.cycle(goals)
        self.plans: list[float] = []
        self.ways: list[float] = []
        self._pictures: dict[int, float] = {}
        self._out = self.node.create_publisher(PoseStamped, "goal_pose", qos.COMMAND)
        self.node.create_subscription(Image, "image", self._picture, qos.IMAGE)
        self.node.create_subscription(TwistStamped, "command_raw", self._command, qos.COMMAND)
        self.node.create_subscription(DiagnosticArray, "planner/status", self._status, qos.STATUS)
        self.node.create_timer(EACH, self._goal)
        self.listen()

    def _goal(self) -> None:
        x, y, yaw = next(self._goals)
        message = PoseStamped()
        message.header.frame_id = "map"
        message.pose.position.x, message.pose.position.y = x, y
        set_yaw(message.pose.orientation, yaw)
        self._out.publish(message)

    def _picture(self, message: Image) -> None:
        self._pictures[stamp_ns(message) or 0] = time.monotonic()

    def _command(self, message: TwistStamped) -> None:
        taken = self._pictures.pop(stamp_ns(message) or 0, None)
        if taken is not None:
            self.ways.append(1e3 * (time.monotonic() - taken))

    def _status(self, message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for pair in message.status[0].values}
        if values.get("reason") in ("ok", "deadline"):
            self.plans.append(1e3 * float(values["elapsed_s"]))

    def clear(self) -> None:
        """Begin anew to collect."""
        self.plans, self.ways, self._pictures = [], [], {}
