# SPDX-License-Identifier: Apache-2.0
"""Commands: what is asked of the gate, and what the gate wrote for the robot, of any of the types that there are."""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa_ros.contract import RobotContract
from jepa_ros.messages.joints import joint_command, robot_joints
from jepa_ros.messages.stamps import stamp_of
from jepa_ros.safety.inputs import CommandIn

_PARTS, _AXES = ("linear", "angular"), ("x", "y", "z")
_TWIST = {f"{part}.{axis}": 3 * i + j for i, part in enumerate(_PARTS) for j, axis in enumerate(_AXES)}


def twist_values(twist: Any, contract: RobotContract) -> NDArray[np.float64]:
    """(A,) of a ``Twist`` in the order of the contract's axes; all NaN when any of its six numbers is not finite."""
    every = [getattr(getattr(twist, part), axis) for part in _PARTS for axis in _AXES]
    if not all(map(math.isfinite, every)):
        return np.full(len(contract.axes), math.nan)
    return np.array([every[_TWIST[dim.name]] for dim in contract.axes], dtype=np.float64)


def command_in(message: Any, contract: RobotContract, received: float = 0.0, seq: int = 0) -> CommandIn:
    """A ``command_raw`` or ``command_teleop`` (TwistStamped or JointTrajectory) as an input of the gate.

    Args:
        received: [steady s]. seq: counts the messages received.
    """
    stamp, frame = stamp_of(message), message.header.frame_id
    if not hasattr(message, "joint_names"):
        return CommandIn(twist_values(message.twist, contract).tolist(), stamp, received, seq, frame)
    joint = joint_command(message, contract)
    return CommandIn(joint.values, stamp, received, seq, frame, joint.names, joint.fault, joint.still)


def command_mark(command: CommandIn) -> str:
    """What tells a command of joints from the others with its stamp: an arm has many that come from one image."""
    return "" if command.names is None else f"{zlib.crc32(np.asarray(command.values, np.float64).tobytes()):08x}"


def gate_output(message: Any, contract: RobotContract) -> NDArray[np.float64]:
    """What left the gate, (A,) in the order of the contract's axes; NaN where it does not fit the robot.

    A Twist, TwistStamped, JointTrajectory (its first point: what holds now) or Float64MultiArray.
    """
    size = len(contract.axes)
    twist = getattr(message, "twist", message)
    if hasattr(twist, "linear"):
        return twist_values(twist, contract)
    if not hasattr(message, "points"):
        flat = np.array(message.data, dtype=np.float64)
        return flat if flat.shape == (size,) else np.full(size, math.nan)
    point = message.points[0] if message.points else None
    found = () if point is None else point.positions if contract.by_position else point.velocities
    index = {name: k for k, name in enumerate(message.joint_names)}
    wanted = robot_joints(contract)
    if len(found) != size or len(index) != size or any(name not in index for name in wanted):
        return np.full(size, math.nan)
    return np.array([found[index[name]] for name in wanted], dtype=np.float64)


def raw_command(
    data: bytes, stamped: bool | None, contract: RobotContract
) -> tuple[int, NDArray[np.float64]] | None:
    """Stamp in ns (0 without one) and :func:`gate_output` of a serialised Twist or TwistStamped, without an object.

    None for other messages (``stamped`` is None), where the contract's axes are no twist, and for bytes of another
    byte order or length: whoever takes the message apart then says what is wrong.
    """
    places = [_TWIST.get(dim.name, -1) for dim in contract.axes]
    if stamped is None or len(data) < 4 or data[:2] != b"\0\1" or min(places) < 0:
        return None
    stamp, at = 0, 4
    if stamped:
        if len(data) < 16:
            return None
        sec, nanosec, length = struct.unpack_from("<iII", data, 4)
        stamp, at = sec * 1_000_000_000 + nanosec, 16 + length
        at += (4 - at) % 8  # alignment counts from behind the encapsulation's 4 bytes
    if len(data) < at + 48:
        return None
    values = struct.unpack_from("<6d", data, at)
    if not all(map(math.isfinite, values)):
        return stamp, np.full(len(places), math.nan)
    return stamp, np.array([values[place] for place in places])
