# SPDX-License-Identifier: Apache-2.0
"""What stands in a bag's messages, as arrays and numbers, with no ROS installed: for building datasets and replaying.

The functions take messages by their fields, so that those of rosbags and of rclpy serve alike. What pixels become for
the model is not decided here but in :mod:`jepa_ros.perception.preprocess`.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import numpy as np

from jepa_ros.bags import BagError
from jepa_ros.contract import RobotContract
from jepa_ros.messages.rotation import yaw_of

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_AXES = ("x", "y", "z")


def raw_stamp(data: bytes) -> int:
    """The stamp in ns of a CDR message that begins with a Header or a time, without deserialising it.

    Raises:
        struct.error: it is shorter than a stamp.
    """
    little = data[1:2] == b"\x01"
    seconds, nanoseconds = struct.unpack_from("<iI" if little else ">iI", data, 4)
    return seconds * 1_000_000_000 + nanoseconds


def stamp_ns(message: Any) -> int | None:
    """The header's stamp in ns; None for types that have no header."""
    header = getattr(message, "header", None)
    return None if header is None else header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def pixels(message: Any) -> tuple[np.ndarray, str]:
    """Pixels (H, W, C) uint8 and their encoding, of an Image or a CompressedImage (JPEG or PNG).

    Raises:
        BagError: an encoding that is not supported, or data that does not fit the size.
    """
    return _decompressed(message) if hasattr(message, "format") else (_raw(message), message.encoding)


def _raw(message: Any) -> np.ndarray:
    from jepa_ros.perception.preprocess import CHANNELS  # and torch with it, which a recorder does without

    channels = CHANNELS.get(message.encoding)
    if channels is None:
        raise BagError(f"image encoding '{message.encoding}' is not supported; expected one of {', '.join(CHANNELS)}")
    height, width = message.height, message.width
    row, step = width * channels, message.step or width * channels
    data = np.frombuffer(message.data, np.uint8)
    if 0 in (height, width) or step < row or data.size < step * height:
        raise BagError(
            f"image of {width} x {height} {message.encoding} with step {step} needs {max(step, row) * height} bytes, "
            f"found {data.size}"
        )
    return data[: step * height].reshape(height, step)[:, :row].reshape(height, width, channels)


def _decompressed(message: Any) -> tuple[np.ndarray, str]:
    import cv2

    data = np.frombuffer(message.data, np.uint8)
    found = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if found is None or found.dtype != np.uint8:
        raise BagError(f"compressed image ('{message.format}', {data.size} bytes) is no 8-bit JPEG or PNG")
    if found.ndim == 2:
        return found[:, :, None], "mono8"
    return found, {3: "bgr8", 4: "bgra8"}[found.shape[2]]


def planar_pose(message: Any) -> tuple[float, float, float]:
    """x, y [m], yaw [rad] of a PoseStamped, PoseWithCovarianceStamped or Odometry."""
    pose = message.pose
    while hasattr(pose, "pose"):
        pose = pose.pose
    return pose.position.x, pose.position.y, yaw_of(pose.orientation)


_TWIST = {f"{part}.{axis}": 3 * i + j for i, part in enumerate(("linear", "angular")) for j, axis in enumerate(_AXES)}


def command(message: Any, contract: RobotContract) -> np.ndarray:
    """A command as a vector (A,) in the order of the contract's action; NaN where it does not fit it."""
    names = [dim.name for dim in contract.axes]
    twist = getattr(message, "twist", message)
    if hasattr(twist, "linear"):
        values = [getattr(getattr(twist, name.split(".")[0]), name.split(".")[1]) for name in names]
        every = [getattr(part, axis) for part in (twist.linear, twist.angular) for axis in _AXES]
        return np.array(values if all(map(math.isfinite, every)) else [math.nan] * len(names))
    if hasattr(message, "points"):
        joints = list(message.joint_names)
        wanted = list(contract.command.joints or names)
        point = message.points[0] if message.points else None
        position = all(dim.unit in ("rad", "m") for dim in contract.axes)
        numbers = np.asarray([] if point is None else point.positions if position else point.velocities, np.float64)
        if sorted(joints) != sorted(wanted) or len(numbers) != len(wanted):
            return np.full(len(names), math.nan)
        return numbers[[joints.index(name) for name in wanted]]
    flat = np.asarray(message.data, dtype=np.float64)
    return flat if flat.shape == (len(names),) else np.full(len(names), math.nan)


def raw_command(data: bytes, stamped: bool | None, contract: RobotContract) -> tuple[int, np.ndarray] | None:
    """Stamp in ns (0 without one) and :func:`command` of a serialised Twist or TwistStamped, without an object of it.

    None for other messages (``stamped`` is None), where the contract's action is no twist, and for bytes of another
    byte order or length: whoever takes the message apart then says what is wrong.
    """
    places = [_TWIST.get(dim.name, -1) for dim in contract.axes]
    if stamped is None or len(data) < 4 or data[:2] != b"\0\1" or min(places) < 0:
        return None
    stamp, at = 0, 4
    if stamped:
        if len(data) < 16:
            return None
        seconds, nanoseconds, length = struct.unpack_from("<iII", data, 4)
        stamp, at = seconds * 1_000_000_000 + nanoseconds, 16 + length
        at += (4 - at) % 8  # alignment counts from behind the encapsulation's 4 bytes
    if len(data) < at + 48:
        return None
    values = struct.unpack_from("<6d", data, at)
    if not all(map(math.isfinite, values)):
        return stamp, np.full(len(places), math.nan)
    return stamp, np.array([values[place] for place in places])


def key_values(message: Any) -> dict[str, str]:
    """The pairs of a DiagnosticArray, of all its statuses."""
    return {pair.key: pair.value for status in message.status for pair in status.values}


def raw_value(data: bytes, key: str) -> str | None:
    """The value of a key in a serialised DiagnosticArray, without taking the rest apart; None where it is not found.

    A key is its length, its letters and a zero; a zero is within no text, so that no text can look like it.
    """
    if len(data) < 4 or not data[1]:
        return None  # big-endian
    word = key.encode() + b"\0"
    at = data.find(struct.pack("<I", len(word)) + word, 4)
    if at < 0 or at % 4:
        return None
    at += 4 + len(word)
    at += -at % 4
    if at + 4 > len(data):
        return None
    (length,) = struct.unpack_from("<I", data, at)
    text = data[at + 4 : at + 4 + length]
    return text[:-1].decode("utf-8", "replace") if length and len(text) == length else None


def raw_image(data: bytes) -> tuple[float, int]:
    """Stamp [s] and Adler-32 checksum of a serialised Image or CompressedImage: what the gate looks at in one.

    The checksum runs over everything behind the header, as the gate's node does it.

    Raises:
        struct.error: the bytes are too short.
    """
    order = "<" if data[1] else ">"
    seconds, nanoseconds, length = struct.unpack_from(order + "iII", data, 4)
    return seconds + nanoseconds * 1e-9, zlib.adler32(memoryview(data)[16 + length :])
