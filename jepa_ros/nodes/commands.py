# SPDX-License-Identifier: Apache-2.0
"""The one place where an action vector becomes a command message, as the contract's command says.

``command_raw`` and ``command_teleop`` are always a stamped type (``TwistStamped`` or ``JointTrajectory``); the
gate's output is what the robot's controller takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Twist, TwistStamped
from numpy.typing import NDArray
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from jepa_ros.contract import RobotContract
from jepa_ros.contract.topics import BASE_COMMANDS, COMMAND_TYPES, JOINT_COMMANDS, asked_type
from jepa_ros.messages.commands import gate_output
from jepa_ros.messages.stamps import stamp_of
from jepa_ros.messages.types import message_class
from jepa_ros.nodes.convert import to_stamp
from jepa_ros.nodes.params import ParameterError
from jepa_ros.nodes.rate_points import Point


@dataclass(frozen=True)
class Reading:
    """What left the gate: values (A,) in the order of the contract's axes, and its stamp [s], None without one."""

    values: NDArray[np.float64]
    stamp: float | None


class CommandCodec:
    """Writes the command messages of one robot, and reads what its gate wrote.

    Args:
        contract: the robot's.
        kind: overrides the contract's kind of output ("" keeps it).

    Raises:
        ParameterError: ``kind`` does not fit the robot (a twist for an arm).
    """

    def __init__(self, contract: RobotContract, kind: str = "") -> None:
        self._names = tuple(dim.name for dim in contract.axes)
        self._position = np.array([dim.unit in ("rad", "m") for dim in contract.axes])
        self._joints = contract.command.joints or self._names
        self._frame = contract.frames.base
        self._contract = contract
        self._tick = 1.0 / contract.gate_rate
        self.kind = kind or contract.command.kind
        self.is_base = not contract.jointed
        allowed = BASE_COMMANDS if self.is_base else JOINT_COMMANDS
        if self.kind not in allowed:
            raise ParameterError(
                f"command kind '{self.kind}' does not fit robot '{contract.name}' "
                f"({contract.kinematics.kind}); expected one of {', '.join(allowed)}"
            )

    @property
    def input_type(self) -> type:
        """The type of ``command_raw`` and ``command_teleop``."""
        return message_class(asked_type(not self.is_base))  # type: ignore[no-any-return]

    @property
    def output_type(self) -> type:
        """The type that the robot takes."""
        return message_class(COMMAND_TYPES[self.kind])  # type: ignore[no-any-return]

    def write_input(self, values: Sequence[float] | NDArray[Any] | None, stamp: float) -> Any:
        """A ``command_raw`` that carries the stamp [s] of the image that it came from.

        Joints that are to stand still (None, see ``RobotContract.neutral``) get a trajectory without a point.
        """
        if values is None:
            return self._trajectory([], stamp)
        if self.is_base:
            return self._twist_stamped(values, stamp)
        rates = np.asarray(values, dtype=np.float64)
        positions = rates if self._position.all() else None
        return self._trajectory([(positions, None if positions is not None else rates, self._contract.period)], stamp)

    @property
    def needs_points(self) -> bool:
        """Whether the robot is commanded by rates and its controller follows positions: see ``points`` below."""
        return self.kind == "joint_trajectory" and not self._position.all()

    def write_output(self, values: Sequence[float] | NDArray[Any], stamp: float, points: Sequence[Point] = ()) -> Any:
        """The robot's command, stamped [s] where its type has a stamp.

        Args:
            points: what a trajectory of rates says besides (:mod:`jepa_ros.nodes.rate_points`).
        """
        if self.kind == "twist_stamped":
            return self._twist_stamped(values, stamp)
        if self.kind == "twist":
            message = Twist()
            self._fill_twist(message, values)
            return message
        if self.needs_points:
            return self._trajectory([(p.positions, p.velocities, p.due) for p in points], stamp)
        if self.kind == "joint_trajectory":
            return self._trajectory([(np.asarray(values), None, self._tick)], stamp)
        return Float64MultiArray(data=[float(v) for v in values])

    def read_output(self, message: Any) -> Reading:
        """What the gate wrote for the robot, of any of the four types."""
        stamp = stamp_of(message) if hasattr(message, "header") else None
        return Reading(gate_output(message, self._contract), stamp)

    # ------------------------------------------------------------ details

    def _twist_stamped(self, values: Any, stamp: float) -> TwistStamped:
        message = TwistStamped()
        message.header.stamp = to_stamp(stamp)
        message.header.frame_id = self._frame
        self._fill_twist(message.twist, values)
        return message

    def _fill_twist(self, twist: Twist, values: Any) -> None:
        for name, value in zip(self._names, values, strict=True):
            part, axis = name.split(".")
            setattr(getattr(twist, part), axis, float(value))

    def _trajectory(
        self, points: Sequence[tuple[NDArray[Any] | None, NDArray[Any] | None, float]], stamp: float
    ) -> JointTrajectory:
        """Points of (positions, velocities, s until due); what is None is left out."""
        message = JointTrajectory(joint_names=list(self._joints))
        message.header.stamp = to_stamp(stamp)
        for positions, velocities, due in points:
            point = JointTrajectoryPoint()
            if positions is not None:
                point.positions = positions.tolist()
            if velocities is not None:
                point.velocities = velocities.tolist()
            whole, fraction = divmod(due, 1.0)
            point.time_from_start = Duration(sec=int(whole), nanosec=int(fraction * 1e9))
            message.points.append(point)
        return message
