# SPDX-License-Identifier: Apache-2.0
"""Pictures as a browser takes them, and back."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa_ros.console.desk import Refused

MAX_PICTURE = 8_000_000
#: Longer side of a picture that is remembered [px].
SMALL = 160


def jpeg(pixels: NDArray[Any], encoding: str) -> bytes:
    """A JPEG of an 8-bit picture.

    Raises:
        ValueError: it cannot be packed.
    """
    import cv2

    if encoding.startswith("rgb"):
        pixels = pixels[..., [2, 1, 0, *range(3, pixels.shape[-1])]]
    ok, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., :3]), [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not ok:
        raise ValueError("the picture cannot be packed")
    return bytes(data)


def thumbnail(pixels: NDArray[Any], encoding: str) -> bytes:
    """A small JPEG of an 8-bit picture, its longer side at most :data:`SMALL` pixels; see :func:`jpeg` for errors."""
    import cv2

    height, width = pixels.shape[:2]
    share = SMALL / max(height, width)
    if share < 1.0:
        size = max(1, round(share * width)), max(1, round(share * height))
        small = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA)
        pixels = small.reshape(*small.shape[:2], -1)
    return jpeg(pixels, encoding)


def parts_of(message: Any) -> dict[str, bytes]:
    """The pictures in a UInt8MultiArray, by the labels of its dimensions; none where they are not all there."""
    data, found, begin = bytes(message.data), {}, 0
    for dim in message.layout.dim:
        found[dim.label] = data[begin : begin + dim.size]
        begin += dim.size
    return found if begin == len(data) else {}


def is_picture(data: bytes, name: str) -> None:
    """Raise Refused where a file is too large, or is no JPEG or PNG by its first bytes."""
    if len(data) > MAX_PICTURE:
        raise Refused(f"a goal picture may have {MAX_PICTURE / 1e6:.0f} MB, this file has {len(data) / 1e6:.1f}")
    if not (data.startswith(b"\xff\xd8") or data.startswith(b"\x89PNG")):
        raise Refused(f"'{name[:60]}' is neither a JPEG nor a PNG picture")


def opened(text: Any, name: str) -> tuple[NDArray[np.uint8], str]:
    """(pixels, encoding) of a JPEG or PNG in base64.

    Raises:
        Refused: it is none, or too large.
    """
    import cv2

    try:
        data = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("the picture's text is not base64") from None
    is_picture(data, name)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise Refused(f"'{name[:60]}' is a damaged picture")
    return np.asarray(pixels, np.uint8), "bgr8"
