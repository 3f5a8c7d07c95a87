# SPDX-License-Identifier: Apache-2.0
"""The one place where ROS messages become numpy arrays and plain numbers, and back.

Images of encodings rgb8, bgr8, mono8, rgba8, bgra8 and JPEG or PNG (``CompressedImage``); the 32FC1 image that
carries a latent; stamps; and reading an image's header and checksum from its bytes without deserialising it.
What pixels become for the model is not decided here but in :mod:`jepa_ros.perception.preprocess`.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from jepa_ros.errors import JepaRosError

CHANNELS = {"rgb8": 3, "bgr8": 3, "mono8": 1, "rgba8": 4, "bgra8": 4}


class ConversionError(JepaRosError):
    """A message that cannot be converted; the text says what was found and what is accepted."""


# ---------------------------------------------------------------- stamps


def to_seconds(stamp: Time) -> float:
    """Seconds of a ROS stamp (float64 resolves about 0.2 us at today's epoch)."""
    return stamp.sec + stamp.nanosec * 1e-9


def to_stamp(seconds: float) -> Time:
    """The ROS stamp of a time in seconds, rounded to the nanosecond."""
    whole = math.floor(seconds)
    nanoseconds = round((seconds - whole) * 1e9)
    if nanoseconds >= 1_000_000_000:
        whole, nanoseconds = whole + 1, 0
    return Time(sec=int(whole), nanosec=int(nanoseconds))


# ---------------------------------------------------------------- angles


def set_yaw(quaternion: Any, yaw: float) -> None:
    """Write the rotation by ``yaw`` (rad) about z into a ``geometry_msgs/Quaternion``."""
    quaternion.x = quaternion.y = 0.0
    quaternion.z, quaternion.w = math.sin(yaw / 2.0), math.cos(yaw / 2.0)


# ---------------------------------------------------------------- images


def fill(message: Image, pixels: NDArray[Any], encoding: str) -> Image:
    """Write ``pixels`` ((H, W) or (H, W, C)) into ``message`` and return it.

    ``array.frombytes`` on a fresh message is some 30 times faster than assigning the bytes to ``data``.
    """
    pixels = np.ascontiguousarray(pixels)
    message.height, message.width = pixels.shape[:2]
    message.encoding = encoding
    message.is_bigendian = 0
    message.step = pixels.strides[0]
    if len(message.data):
        del message.data[:]
    message.data.frombytes(pixels.data.cast("B"))
    return message


def image_to_numpy(message: Image) -> NDArray[np.uint8]:
    """The pixels of an 8-bit image, (H, W, C) with C = 1, 3 or 4, in the order of ``message.encoding``.

    A view on the message's data; rows may be padded (``step`` larger than a row).

    Raises:
        ConversionError: the encoding is not one of :data:`CHANNELS`, or the data is shorter than it says.
    """
    channels = CHANNELS.get(message.encoding)
    if channels is None:
        raise ConversionError(
            f"image encoding {message.encoding!r} is not supported; expected one of {', '.join(CHANNELS)}, "
            "or JPEG or PNG on the compressed topic"
        )
    height, width, row = message.height, message.width, message.width * channels
    step = message.step or row
    if height == 0 or width == 0 or step < row or len(message.data) < step * height:
        raise ConversionError(
            f"image of {width} x {height} {message.encoding} with step {step} needs {max(step, row) * height} "
            f"bytes of data, found {len(message.data)}"
        )
    flat = np.frombuffer(message.data, dtype=np.uint8, count=step * height)
    return flat.reshape(height, step)[:, :row].reshape(height, width, channels)


def compressed_to_numpy(message: CompressedImage) -> tuple[NDArray[np.uint8], str]:
    """Pixels (H, W, C) and encoding ("bgr8", "mono8" or "bgra8") of a JPEG or PNG image.

    Raises:
        ConversionError: the bytes are neither JPEG nor PNG, or are broken.
    """
    import cv2

    data = np.frombuffer(message.data, dtype=np.uint8)
    head = data[:8].tobytes()
    if not (head.startswith(b"\xff\xd8") or head.startswith(b"\x89PNG")):
        raise ConversionError(
            f"compressed image with format {message.format!r} is neither JPEG nor PNG; publish one of these"
        )
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ConversionError(f"compressed image ({message.format!r}, {data.size} bytes) cannot be decoded")
    if pixels.dtype != np.uint8:
        raise ConversionError(f"compressed image has {pixels.dtype} pixels; expected 8 bit a channel")
    if pixels.ndim == 2:
        return np.asarray(pixels[:, :, None], dtype=np.uint8), "mono8"
    return np.asarray(pixels, dtype=np.uint8), {3: "bgr8", 4: "bgra8"}[pixels.shape[2]]


def any_image_to_numpy(message: Image | CompressedImage) -> tuple[NDArray[np.uint8], str]:
    """Pixels (H, W, C) and their encoding, from a raw or a compressed image."""
    if isinstance(message, CompressedImage):
        return compressed_to_numpy(message)
    return image_to_numpy(message), message.encoding


# ---------------------------------------------------------------- latents


def latent_to_image(message: Image, latent: NDArray[np.float32]) -> Image:
    """Write a latent (tokens, width) as a 32FC1 image, one token a row."""
    return fill(message, np.atleast_2d(np.asarray(latent, dtype=np.float32)), "32FC1")


def image_to_latent(message: Image) -> NDArray[np.float32]:
    """The latent (tokens, width) that :func:`latent_to_image` wrote.

    Raises:
        ConversionError: the image is not 32FC1, or too short.
    """
    if message.encoding != "32FC1" or message.is_bigendian:
        raise ConversionError(f"embedding has encoding {message.encoding!r}; expected little-endian '32FC1'")
    count = message.height * message.width
    if count == 0 or len(message.data) != 4 * count:
        raise ConversionError(
            f"embedding of {message.height} x {message.width} needs {4 * count} bytes, found {len(message.data)}"
        )
    return np.frombuffer(message.data, dtype=np.float32).reshape(message.height, message.width)


# ---------------------------------------------------------------- raw bytes


@dataclass(frozen=True)
class RawImage:
    """What the gate needs to know of an image: when it was taken, and whether its bytes are new."""

    stamp: float
    frame_id: str
    checksum: int


def read_raw_image(data: bytes) -> RawImage:
    """Header and checksum of a serialised ``Image`` or ``CompressedImage``, without deserialising it.

    Both messages begin with a header, so one reader serves. The checksum (Adler-32, the cheapest in the
    standard library) runs over everything after the header: pixels, size and encoding, not the stamp.

    Raises:
        ConversionError: the bytes are too short to hold a header, or are not plain CDR.
    """
    if len(data) < 16 or data[0] != 0 or data[1] not in (0, 1):
        raise ConversionError(f"{len(data)} bytes are no serialised image (expected plain CDR)")
    order = "<" if data[1] else ">"
    seconds, nanoseconds, length = struct.unpack_from(order + "iII", data, 4)
    end = 16 + length
    if end > len(data):
        raise ConversionError(f"serialised image of {len(data)} bytes claims a frame name of {length} bytes")
    frame_id = bytes(data[16 : max(16, end - 1)]).decode("utf-8", "replace")
    return RawImage(seconds + nanoseconds * 1e-9, frame_id, zlib.adler32(memoryview(data)[end:]))
