# SPDX-License-Identifier: Apache-2.0
"""The ``follow`` node: ros2_control's action ``follow_joint_trajectory``, answered through our gate.

It needs ``control_msgs`` and is started by itself (``ros2 run jepa_ros follow``), beside an arm's stack and in its
namespace. MoveIt and others send it trajectories as they send them to a ``joint_trajectory_controller``. What leaves is
a joint command on ``command_teleop``: the gate limits it, and puts it before the planner's. Decisions are
:class:`jepa_ros.arm.follow.Follower`'s.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.action import GoalResponse
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectoryPoint

from jepa_ros.arm.follow import Follower, JointsError
from jepa_ros.arm.urdf import ArmError
from jepa_ros.contract import load_contract
from jepa_ros.messages.diagnostics import raw_value
from jepa_ros.messages.joints import JointStates, positions_of, robot_joints
from jepa_ros.messages.stamps import seconds, stamp_of
from jepa_ros.nodes import optional, params, qos
from jepa_ros.nodes.commands import CommandCodec
from jepa_ros.nodes.one_goal import OneGoal
from jepa_ros.nodes.process import leave, run

PARAMS = (
    params.ROBOT,
    params.Param("patience", 5.0, "An arm that stands still on its path for so long [s] has failed.", low=0.1),
)
#: Codes of FollowJointTrajectory.Result; 0 is success.
INVALID_GOAL, INVALID_JOINTS, PATH, GOAL = -1, -2, -4, -5
ENDS = {"path": PATH, "goal": GOAL}
#: "Stand still" is said for so long after the end [s], and feedback so often [Hz].
GOODBYE, FEEDBACK = 0.5, 10.0
#: Joint states that are older than this are no measurement [s].
STALE = 0.5


class FollowNode(Node):
    """See the module. One trajectory at a time: a new one ends the one before it."""

    def __init__(self) -> None:
        super().__init__("follow")
        values = params.declare(self, PARAMS)
        contract = load_contract(values.robot)
        if contract.kinematics.arm is None:
            found = contract.kinematics.kind
            raise ArmError(f"{contract.source}: kinematics.kind: a joint trajectory is for an arm, found '{found}'")
        self._action = optional.action("control_msgs", "FollowJointTrajectory")
        self._follower, self._codec = Follower(contract, values.patience), CommandCodec(contract)
        self._names = robot_joints(contract)
        self._joints = JointStates(self._names)
        self._measured: tuple[Any, float] = (None, 0.0)
        self._gate = b""
        self._still_until = self._ticked = self._fed = 0.0
        self._out = qos.publisher(self, self._codec.input_type, "command_teleop", qos.COMMAND)
        qos.subscription(self, JointState, contract.state["joint_states"].topic, self._on_joints, qos.STATE)
        qos.subscription(self, DiagnosticArray, "safety_gate/state", self._on_gate, qos.LATCHED, raw=True)
        self.create_timer(1.0 / contract.gate_rate, self._on_tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._goal = OneGoal(
            self, self._action, "follow_joint_trajectory", accept=self._on_goal, begin=self._take,
            result=lambda code, text: self._action.Result(error_code=code, error_string=text),
            noun="trajectory", replaced=INVALID_GOAL,
        )  # fmt: skip

    def _on_joints(self, message: JointState) -> None:
        joints = self._joints.take(message, stamp_of(message), time.monotonic())
        if joints is not None:
            self._measured = joints, time.monotonic()

    def _on_gate(self, data: bytes) -> None:
        self._gate = data

    def _at(self) -> NDArray[np.float64] | None:
        """Where the joints are; None where nobody says so any more."""
        joints, when = self._measured
        at = positions_of(joints, self._names) if joints is not None and time.monotonic() - when < STALE else None
        return None if at is None else np.asarray(at, dtype=float)

    # ------------------------------------------------------------ goals

    def _on_goal(self, goal: Any) -> GoalResponse:
        if goal.multi_dof_trajectory.points:
            self.get_logger().error("trajectory refused: this arm has joints of one degree of freedom")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _take(self, handle: Any) -> None:
        request, at = handle.request, self._at()
        try:
            if at is None:
                raise ArmError("the joints are not measured")
            points = request.trajectory.points
            names = list(request.trajectory.joint_names)
            self._follower.take(
                names, [seconds(point.time_from_start) for point in points],
                [list(point.positions) for point in points], [list(point.velocities) for point in points], at,
                self._tolerances(request.goal_tolerance), self._tolerances(request.path_tolerance),
                seconds(request.goal_time_tolerance),
            )  # fmt: skip
        except ArmError as error:
            self._end("abort", INVALID_JOINTS if isinstance(error, JointsError) else INVALID_GOAL, str(error))

    def _tolerances(self, told: Sequence[Any]) -> NDArray[np.float64]:
        """Of each joint; NaN where the sender says 0 or nothing, infinite where it says -1, as the action has it."""
        found = {one.name: one.position for one in told}
        values = np.array([found.get(name, 0.0) for name in self._names], dtype=float)
        return np.where(values > 0.0, values, np.where(values < 0.0, np.inf, np.nan))

    def _end(self, how: str, code: int = 0, text: str = "") -> None:
        if self._goal.end(how, code, text):
            self._follower.drop()
            self._still_until = time.monotonic() + GOODBYE

    # ------------------------------------------------------------ a tick

    def _on_tick(self) -> None:
        now = time.monotonic()
        period, self._ticked = min(now - self._ticked, STALE), now
        if self._goal.handle is None:
            if now < self._still_until:
                self._send(None)
            return
        at, mode = self._at(), raw_value(self._gate, "mode") if self._gate else None
        if self._goal.handle.is_cancel_requested:
            self._end("canceled")
        elif at is None:
            self._end("abort", PATH, "the joints are not measured any more")
        elif mode in ("ESTOP", "DISABLED"):
            self._end("abort", PATH, f"the gate is in {mode}: {raw_value(self._gate, 'reason')}")
        else:
            self._follow(at, period, now)

    def _follow(self, at: NDArray[np.float64], period: float, now: float) -> None:
        command, ended = self._follower.command(at, period)
        if ended == "reached":
            self._end("succeed")
        elif ended:
            why = raw_value(self._gate, "reason") if self._gate else None
            where = "is too far from its way, or held up" if ended == "path" else "does not come to its goal"
            self._end("abort", ENDS[ended], f"the arm {where}; the gate says: {why or 'nothing'}")
        else:
            self._send(command)
            if now - self._fed > 1.0 / FEEDBACK:
                self._fed = now
                self._feed_back(at)

    def _send(self, command: NDArray[np.float64] | None) -> None:
        self._out.publish(self._codec.write_input(command, self.get_clock().now().nanoseconds * 1e-9))

    def _feed_back(self, at: NDArray[np.float64]) -> None:
        desired = self._follower.desired
        if desired is None:
            return
        feedback = self._action.Feedback(joint_names=list(self._names))
        feedback.header.stamp = self.get_clock().now().to_msg()
        feedback.desired = JointTrajectoryPoint(positions=desired.tolist())
        feedback.actual = JointTrajectoryPoint(positions=at.tolist())
        feedback.error = JointTrajectoryPoint(positions=(desired - at).tolist())
        self._goal.handle.publish_feedback(feedback)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal; return the exit code."""
    return run(lambda: [FollowNode()], "follow", args)


if __name__ == "__main__":
    leave(main())
