# SPDX-License-Identifier: Apache-2.0
"""Commands of a body whose action is a new command at every tick of the gate: an arm that is planned by its tip.

Inverse kinematics runs here, above the gate: from the joints that the gate sent last (from the measured ones before its
first command) to the next set-points. The stamp stays that of the image which the action came from, so that an action
that nobody renews grows old, and the gate stops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import JointState

from jepa_ros.agent.bodies import Body
from jepa_ros.agent.executed import ExecutedLog
from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError
from jepa_ros.messages.joints import JointStates, robot_joints
from jepa_ros.messages.stamps import stamp_of
from jepa_ros.nodes import qos

#: An action older than this many control steps is no longer turned into commands: the planner is gone.
OLD = 3.0


class Servo:
    """Sends commands at the gate's rate while there is an action.

    Args:
        node: that it runs in. contract: of the robot. body: of :func:`jepa_ros.agent.bodies.body_of`.
        log: is told the measured joints too. send: publishes a command (J,) with its stamp [s].
    """

    def __init__(
        self, node: Node, contract: RobotContract, body: Body, log: ExecutedLog,
        send: Callable[[NDArray[np.float64], float], None],
    ) -> None:  # fmt: skip
        self._node, self._body, self._log, self._send = node, body, log, send
        self._action: NDArray[np.float64] | None = None
        self._stamp = self._left = 0.0
        self._patience = OLD * contract.period
        self._tick = 1.0 / contract.gate_rate
        self._joints = JointStates(robot_joints(contract))
        topic = contract.state["joint_states"].topic
        self._heard = qos.subscription(node, JointState, topic, self._on_joints, qos.STATE)
        self._timer = node.create_timer(self._tick, self._on_tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def ask(self, action: NDArray[np.float64], stamp: float) -> None:
        """Take the action (A,) of the image of ``stamp`` [s] and send its first command now."""
        self._action, self._stamp, self._left = np.asarray(action, dtype=np.float64), stamp, self._patience
        self._on_tick()

    def rest(self) -> None:
        """Send no more until there is an action again."""
        self._action = None

    def close(self) -> None:
        """Stop listening and sending."""
        self._node.destroy_subscription(self._heard)
        self._node.destroy_timer(self._timer)

    def _on_joints(self, message: JointState) -> None:
        stamp = stamp_of(message)
        measured = self._joints.take(message, stamp, stamp)
        if measured is None:
            return
        try:
            self._body.measured("joint_states", measured)
            self._log.measured("joint_states", measured)
        except JepaRosError as error:
            self._node.get_logger().error(str(error), throttle_duration_sec=5.0)

    def _on_tick(self) -> None:
        self._left -= self._tick
        if self._action is None or self._left < 0.0:
            return
        values = self._body.command(self._action)
        if values is not None:
            self._send(values, self._stamp)


def servo_for(
    node: Node, contract: RobotContract, body: Body, log: ExecutedLog, send: Callable[[Any, float], None]
) -> Servo | None:
    """A servo for a body that needs one."""
    return Servo(node, contract, body, log, send) if body.every_tick else None
