# SPDX-License-Identifier: Apache-2.0
"""The ``navigate`` node: Nav2's action ``navigate_to_pose``, answered by our planner.

It needs ``nav2_msgs`` and is started by itself (``ros2 run jepa_ros navigate``), beside a stack and in its namespace.
A goal goes to the planner as ``goal_pose``; its ``planner/status`` says how it goes. Nothing here moves the robot, and
the gate stays what it is: a robot that is stopped keeps its goal, and goes on once the gate lets it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from rclpy.action import GoalResponse
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_srvs.srv import Trigger

from jepa_ros.contract import load_contract
from jepa_ros.nodes import optional, params, qos
from jepa_ros.nodes.one_goal import OneGoal
from jepa_ros.nodes.process import leave, run

PARAMS = (
    params.ROBOT,
    params.Param("patience", 3.0, "Seconds within which the planner must accept a goal, and report again.", low=0.1),
)
#: Nav2's codes of NavigateToPose.Result; 0 is success.
UNKNOWN, TIMEOUT = 9000, 9003


class NavigateNode(Node):
    """See the module. One goal at a time: a new one ends the one before it."""

    def __init__(self) -> None:
        super().__init__("navigate")
        self.values = params.declare(self, PARAMS)
        contract = load_contract(self.values.robot)
        self._frame = contract.frames.map
        self._action = optional.action("nav2_msgs", "NavigateToPose")
        self._goal_out = qos.publisher(self, PoseStamped, "goal_pose", qos.LATCHED)
        qos.subscription(self, DiagnosticArray, "planner/status", self._on_status, qos.STATUS)
        if "pose" in contract.state:
            topic = contract.state["pose"].topic
            qos.subscription(self, PoseWithCovarianceStamped, topic, self._on_pose, qos.STATE)
        self._clear = self.create_client(Trigger, "planner/clear_goal")
        self._pose: PoseStamped | None = None
        self._told: dict[str, str] = {}
        self._heard = self._began = 0.0
        self._before, self._own = "", ""  # times by which the planner names its goals
        self.create_timer(0.2, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._goal = OneGoal(
            self, self._action, "navigate_to_pose", accept=self._on_goal, begin=self._take, result=self._result,
            noun="goal", replaced=UNKNOWN,
        )  # fmt: skip

    def _on_goal(self, goal: Any) -> GoalResponse:
        frame = goal.pose.header.frame_id
        if frame not in ("", self._frame):
            self.get_logger().error(f"goal refused: it is in frame '{frame}'; expected '{self._frame}'")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _take(self, handle: Any) -> None:
        self._began = self._heard = time.monotonic()
        self._before, self._own = self._told.get("goal_ns", "0"), ""
        self._goal_out.publish(handle.request.pose)

    def _result(self, code: int, text: str) -> Any:
        result = self._action.Result(error_code=code)
        optional.explain(result, text)
        return result

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        self._pose = PoseStamped(header=message.header, pose=message.pose.pose)

    def _on_status(self, message: DiagnosticArray) -> None:
        self._told = {pair.key: pair.value for pair in message.status[0].values}
        self._heard = time.monotonic()
        if self._goal.handle is None:
            return
        now = self._told.get("goal_ns", "0")
        if not self._own and now != self._before:
            self._own = now
        if not self._own:
            return
        if self._told.get("goal") == "none":
            self._goal.end("abort", UNKNOWN, "the goal was taken away")
        elif now != self._own:
            self._own = ""  # somebody else's goal: it is not ours to take away
            self._goal.end("abort", UNKNOWN, "somebody gave the planner another goal")
        elif self._told.get("arrived") == "true":
            self._goal.end("succeed")
        else:
            self._feed_back()

    def _feed_back(self) -> None:
        feedback = self._action.Feedback()
        if self._pose is not None:
            feedback.current_pose = self._pose
        if self._told.get("distance_unit") == "m":
            left = float(self._told["distance"])
            feedback.distance_remaining = left if math.isfinite(left) else 0.0
        spent = time.monotonic() - self._began
        feedback.navigation_time.sec, feedback.navigation_time.nanosec = int(spent), int(spent % 1.0 * 1e9)
        self._goal.handle.publish_feedback(feedback)

    def _look(self) -> None:
        """A goal that is to be cancelled, or that the planner does not take, ends."""
        if self._goal.handle is None:
            return
        if self._goal.handle.is_cancel_requested:
            self._clear.call_async(Trigger.Request())
            self._goal.end("canceled")
            return
        now = time.monotonic()
        if now - self._heard > self.values.patience:
            self._goal.end("abort", TIMEOUT, f"the planner is silent for {self.values.patience:g} s")
        elif not self._own and now - self._began > self.values.patience:
            why = self._told.get("goal_refused") or "it said nothing about it"
            self._goal.end("abort", UNKNOWN, f"the planner did not take the goal: {why}")


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal; return the exit code."""
    return run(lambda: [NavigateNode()], "navigate", args)


if __name__ == "__main__":
    leave(main())
