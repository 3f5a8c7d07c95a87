# SPDX-License-Identifier: Apache-2.0
"""The ``jog`` node: an operator moves an arm by a twist of its tip or by single joints, as MoveIt Servo takes them.

It hears ``~/delta_twist_cmds`` (``TwistStamped``) and ``~/delta_joint_cmds``: ``control_msgs/JointJog`` where that
package is installed, else a ``JointTrajectory`` whose last point has velocities. Inverse kinematics runs here, above
the gate: what leaves is a joint command on ``command_teleop``. What is asked for holds for ``timeout`` s; then the node
says "stand still", and then nothing. Decisions are :class:`jepa_ros.arm.jog.Jog`'s.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from jepa_ros.arm.jog import Jog
from jepa_ros.arm.urdf import ArmError
from jepa_ros.contract import load_contract
from jepa_ros.messages.joints import JointStates, positions_of, robot_joints
from jepa_ros.messages.stamps import stamp_of
from jepa_ros.nodes import params, qos
from jepa_ros.nodes.commands import CommandCodec
from jepa_ros.nodes.process import leave, run

PARAMS = (
    params.ROBOT,
    params.Param("timeout", 0.1, "A command is in force for so long [s].", low=0.01, high=2.0),
)


def joint_jog() -> type:
    """The type of ``~/delta_joint_cmds``: ``control_msgs/JointJog``, or ``JointTrajectory`` where there is none."""
    try:
        return importlib.import_module("control_msgs.msg").JointJog  # type: ignore[no-any-return]
    except (ImportError, AttributeError):
        return JointTrajectory


def rates_of(message: Any) -> dict[str, float]:
    """{joint: rate} of a ``JointJog``, or of the last point of a ``JointTrajectory``.

    Raises:
        ArmError: names and velocities differ in number, or there are none.
    """
    points = getattr(message, "points", None)
    source = message if points is None else points[-1] if points else None
    rates = [] if source is None else list(source.velocities)
    names = list(message.joint_names)
    if not names or len(names) != len(rates) or len(set(names)) != len(names):
        raise ArmError(f"{len(names)} joint names and {len(rates)} velocities: expected one velocity a joint")
    return dict(zip(names, map(float, rates), strict=True))


class JogNode(Node):
    """See the module."""

    def __init__(self, **options: Any) -> None:
        super().__init__("jog", **options)
        values = params.declare(self, PARAMS)
        contract = load_contract(values.robot)
        if contract.kinematics.arm is None:
            found = contract.kinematics.kind
            raise ArmError(f"{contract.source}: kinematics.kind: jogging is for an arm, found '{found}'")
        self._jog, self._codec = Jog(contract, values.timeout), CommandCodec(contract)
        self._names = robot_joints(contract)
        self._joints = JointStates(self._names)
        self._measured: Any = None
        self._out = qos.publisher(self, self._codec.input_type, "command_teleop", qos.COMMAND)
        qos.subscription(self, JointState, contract.state["joint_states"].topic, self._on_joints, qos.STATE)
        qos.subscription(self, TwistStamped, "~/delta_twist_cmds", self._guarded(self._on_twist), qos.COMMAND)
        qos.subscription(self, joint_jog(), "~/delta_joint_cmds", self._guarded(self._on_joint_jog), qos.COMMAND)
        self.create_timer(1.0 / contract.gate_rate, self._on_tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _guarded(self, take: Callable[[Any], None]) -> Callable[[Any], None]:
        def callback(message: Any) -> None:
            try:
                take(message)
            except ArmError as error:
                self.get_logger().error(f"jog refused: {error}", throttle_duration_sec=1.0)

        return callback

    def _on_joints(self, message: JointState) -> None:
        joints = self._joints.take(message, stamp_of(message), time.monotonic())
        self._measured = joints if joints is not None else self._measured

    def _on_twist(self, message: TwistStamped) -> None:
        parts = (message.twist.linear, message.twist.angular)
        twist = np.array([getattr(part, axis) for part in parts for axis in "xyz"])
        self._jog.twist(twist, message.header.frame_id, time.monotonic())

    def _on_joint_jog(self, message: Any) -> None:
        self._jog.joints(rates_of(message), time.monotonic())

    def _on_tick(self) -> None:
        at = positions_of(self._measured, self._names)
        if at is None:
            return
        command, speaks = self._jog.command(np.asarray(at, dtype=float), time.monotonic())
        if speaks:
            self._out.publish(self._codec.write_input(command, self.get_clock().now().nanoseconds * 1e-9))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal; return the exit code."""
    return run(lambda: [JogNode()], "jog", args)


if __name__ == "__main__":
    leave(main())
