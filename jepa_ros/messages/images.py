# SPDX-License-Identifier: Apache-2.0
"""Images: pixels, latents that travel as images, and what the gate looks at in the bytes of one.

Encodings rgb8, bgr8, mono8, rgba8, bgra8, and JPEG or PNG (``CompressedImage``). What pixels become for the model is
not decided here but in :mod:`jepa_ros.perception.preprocess`.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa_ros.messages import MessageError
from jepa_ros.safety.inputs import ImageIn

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
#: Encodings that are read, and the channels of each.
CHANNELS = {"rgb8": 3, "bgr8": 3, "mono8": 1, "rgba8": 4, "bgra8": 4}
#: How the files of a compressed image begin.
MAGIC = (b"\xff\xd8", b"\x89PNG")


def pixels(message: Any) -> tuple[NDArray[np.uint8], str]:
    """Pixels (H, W, C) and their encoding, of an ``Image`` or a ``CompressedImage``.

    Of an ``Image`` they are a view on the message's data, whose rows may be padded (``step`` larger than a row).

    Raises:
        MessageError: an encoding that is not supported, or data that does not fit.
    """
    return _decompressed(message) if hasattr(message, "format") else (_raw(message), message.encoding)


def _raw(message: Any) -> NDArray[np.uint8]:
    channels = CHANNELS.get(message.encoding)
    if channels is None:
        raise MessageError(
            f"image encoding '{message.encoding}' is not supported; expected one of {', '.join(CHANNELS)}, "
            "or JPEG or PNG on the compressed topic"
        )
    height, width = message.height, message.width
    row = width * channels
    step = message.step or row
    if 0 in (height, width) or step < row or len(message.data) < step * height:
        raise MessageError(
            f"image of {width} x {height} {message.encoding} with step {step} needs {max(step, row) * height} bytes "
            f"of data, found {len(message.data)}"
        )
    flat = np.frombuffer(message.data, dtype=np.uint8, count=step * height)
    return flat.reshape(height, step)[:, :row].reshape(height, width, channels)


def _decompressed(message: Any) -> tuple[NDArray[np.uint8], str]:
    import cv2

    data = np.frombuffer(message.data, dtype=np.uint8)
    if not data[:8].tobytes().startswith(MAGIC):
        raise MessageError(f"compressed image with format {message.format!r} is neither JPEG nor PNG")
    found = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if found is None:
        raise MessageError(f"compressed image ({message.format!r}, {data.size} bytes) cannot be decoded")
    if found.dtype != np.uint8:
        raise MessageError(f"compressed image has {found.dtype} pixels; expected 8 bit a channel")
    if found.ndim == 2:
        return np.asarray(found[:, :, None], dtype=np.uint8), "mono8"
    return np.asarray(found, dtype=np.uint8), {3: "bgr8", 4: "bgra8"}[found.shape[2]]


def latent_of(message: Any) -> NDArray[np.float32]:
    """The embedding (tokens, width) that travels as a 32FC1 image, one token a row.

    Raises:
        MessageError: it is no such image, or too short.
    """
    if message.encoding != "32FC1" or message.is_bigendian:
        raise MessageError(f"embedding has encoding {message.encoding!r}; expected little-endian '32FC1'")
    count = message.height * message.width
    if count == 0 or len(message.data) != 4 * count:
        raise MessageError(
            f"embedding of {message.height} x {message.width} needs {4 * count} bytes, found {len(message.data)}"
        )
    return np.frombuffer(message.data, dtype=np.float32).reshape(message.height, message.width)


@dataclass(frozen=True)
class RawImage:
    """What is known of an image without unpacking it: when it was taken [s], where, and whether its bytes are new."""

    stamp: float
    frame_id: str
    checksum: int


def raw_image(data: bytes) -> RawImage:
    """Header and checksum of a serialised ``Image`` or ``CompressedImage``: both begin with a header.

    The checksum (Adler-32, the cheapest in the standard library) runs over everything after the header: pixels, size
    and encoding, not the stamp.

    Raises:
        MessageError: the bytes are too short to hold a header, or are not plain CDR.
    """
    if len(data) < 16 or data[0] != 0 or data[1] not in (0, 1):
        raise MessageError(f"{len(data)} bytes are no serialised image (expected plain CDR)")
    sec, nanosec, length = struct.unpack_from(("<" if data[1] else ">") + "iII", data, 4)
    end = 16 + length
    if end > len(data):
        raise MessageError(f"serialised image of {len(data)} bytes claims a frame name of {length} bytes")
    frame_id = bytes(data[16 : max(16, end - 1)]).decode("utf-8", "replace")
    return RawImage(sec + nanosec * 1e-9, frame_id, zlib.adler32(memoryview(data)[end:]))


def image_in(data: bytes, received: float) -> ImageIn:
    """A serialised image as an input of the gate; ``received`` [steady s]. See :func:`raw_image` for errors."""
    image = raw_image(data)
    return ImageIn(image.stamp, received, image.checksum)
