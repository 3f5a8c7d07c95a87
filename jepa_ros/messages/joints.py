# SPDX-License-Identifier: Apache-2.0
"""Messages about joints: a trajectory as a command for now, and measured states put together from several publishers.

Joints are known by their names, and another order is put right. A command has to name every joint of the robot and no
other; a measurement may name others besides, or only some.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa_ros.contract import RobotContract
from jepa_ros.messages.stamps import seconds
from jepa_ros.safety.inputs import JointsIn

#: A command for now has one point or a short window of them (MoveIt Servo's); more is a plan, and costs time to read.
MOST_POINTS = 100
_FIELDS = ("positions", "velocities", "accelerations", "effort")


@dataclass(frozen=True)
class JointCommand:
    """A ``trajectory_msgs/JointTrajectory`` as a command for now.

    Attributes:
        values: (A,) in the order of the robot's joints; all NaN when any number of the message is not finite.
        names: the robot's joints where the message names them all and no other, else as received.
        fault: what is wrong with its shape; empty where nothing is.
        still: it has no point, which says "stand still"; values is empty.
    """

    values: list[float]
    names: tuple[str, ...]
    fault: str
    still: bool = False


def read_trajectory(message: Any, joints: Sequence[str], *, positions: bool, horizon: float) -> JointCommand:
    """The last point of a trajectory, which has to be due within ``horizon`` [s] of the message's stamp.

    The gate follows what is asked of it now and plans no path: points are streamed, and a trajectory that goes on for
    longer than a command is believed is refused. A trajectory without a point says "stand still".

    Args:
        joints: of the robot, in the order of its action. positions: it is commanded by position, else by rate.
    """
    names = tuple(message.joint_names)
    fault = _names_fault(names, joints)
    if not fault and not message.points:
        return JointCommand([], tuple(joints), "", still=True)
    fault = fault or _points_fault(message.points, len(names), positions, horizon)
    if fault:
        return JointCommand([], names, fault)
    last = message.points[-1]
    numbers = last.positions if positions else last.velocities
    if not all(math.isfinite(v) for point in message.points for field in _FIELDS for v in getattr(point, field)):
        numbers = [math.nan] * len(names)
    index = {name: k for k, name in enumerate(names)}
    return JointCommand([float(numbers[index[name]]) for name in joints], tuple(joints), "")


def robot_joints(contract: RobotContract) -> tuple[str, ...]:
    """The joints that a robot is commanded by, in the order of its commands; empty for a base."""
    if not contract.jointed:
        return ()
    return tuple(contract.command.joints) or tuple(dim.name for dim in contract.axes)


def joint_command(message: Any, contract: RobotContract) -> JointCommand:
    """:func:`read_trajectory` for a robot: a command is believed for ``command_timeout``, or a control step."""
    horizon = max(contract.watchdog.command_timeout, contract.period)
    return read_trajectory(message, robot_joints(contract), positions=contract.by_position, horizon=horizon)


def _names_fault(names: tuple[str, ...], joints: Sequence[str]) -> str:
    """What is wrong with the joints that a command names."""
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        return f"names joint '{twice:.60}' twice"
    for name in joints:
        if name not in names:
            return f"lacks joint '{name}': a command has to name {', '.join(joints)}"
    for name in names:
        if name not in joints:
            return f"names joint '{name:.60}', which is none of {', '.join(joints)}"
    return ""


def _points_fault(points: Sequence[Any], size: int, positions: bool, horizon: float) -> str:
    """What is wrong with the points of a trajectory, but for numbers that are not finite."""
    if len(points) > MOST_POINTS:
        return f"has {len(points)} points, expected at most {MOST_POINTS}"
    wanted, before = ("positions" if positions else "velocities"), -1.0
    for k, point in enumerate(points):
        for field in _FIELDS:
            count = len(getattr(point, field))
            if count != size and (count or field == wanted):
                return f"point {k} has {count} {field}, expected {size}"
        due = seconds(point.time_from_start)
        if due < 0.0:
            return f"point {k} is due {-due:.2f} s before the message's stamp"
        if due <= before:
            return f"point {k} is due at {due:.2f} s, not after the point before it"
        before = due
    if before > horizon:
        return f"its last point is due in {before:.2f} s (limit {horizon:.2f} s): the gate takes what is to be done now"
    return ""


def positions_of(measured: JointsIn | None, joints: Sequence[str]) -> NDArray[np.float64] | None:
    """Measured positions (A,) of the robot's joints; None where one is not known or not finite."""
    if measured is None or len(measured.position) != len(measured.names):
        return None
    found = dict(zip(measured.names, measured.position, strict=True))
    values = np.array([found.get(name, math.nan) for name in joints], dtype=np.float64)
    return values if bool(np.isfinite(values).all()) else None


@dataclass(frozen=True)
class _Joint:
    position: float
    velocity: float | None
    stamp: float
    received: float


class JointStates:
    """The newest measured state of each joint of a robot, whoever publishes it.

    An arm and its gripper often have a driver each that publish on one topic. A message that names no joint of the
    robot is none of its business; one that names some of them is put together with what came of the others, and is
    as old as the oldest of them.

    Args:
        joints: of the robot; empty for a base, whose wheels the contract does not name.
    """

    def __init__(self, joints: Sequence[str]) -> None:
        self._joints = tuple(joints)
        self._known: dict[str, _Joint] = {}

    def take(self, message: Any, stamp: float, received: float) -> JointsIn | None:
        """What is known with this ``sensor_msgs/JointState``, or None where it names none of the robot's joints.

        Args:
            stamp: of the message [ROS s]. received: its receipt [steady s].
        """
        names = tuple(message.name)
        position, velocity = tuple(message.position), tuple(message.velocity)
        own = [name for name in names if name in self._joints]
        if self._joints and not own:
            return None
        told = len(position) == len(names) and len(velocity) in (0, len(names)) and len(set(own)) == len(own)
        if not self._joints or not told:
            return JointsIn(stamp, received, names, position, velocity)  # as it is: the gate says what is wrong
        for k, name in enumerate(names):
            if name in self._joints:
                self._known[name] = _Joint(position[k], velocity[k] if velocity else None, stamp, received)
        found = [name for name in self._joints if name in self._known]
        states = [self._known[name] for name in found]
        rates = [state.velocity for state in states]
        return JointsIn(
            min(state.stamp for state in states),
            min(state.received for state in states),
            tuple(found),
            tuple(state.position for state in states),
            () if None in rates else tuple(rates),  # type: ignore[arg-type]
        )
