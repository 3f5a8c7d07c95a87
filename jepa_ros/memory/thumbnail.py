# SPDX-License-Identifier: Apache-2.0
"""Thumbnails of remembered views, for people: small JPEGs, and how several are kept as two arrays."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

#: px of the longer side, at most; and bytes of a JPEG.
LONGEST, LARGEST = 64, 4096
#: JPEG qualities, best first: the first that is small enough is taken.
QUALITIES = (80, 50, 20)


def thumbnail(picture: NDArray[np.uint8]) -> bytes:
    """A picture (H, W, 3) RGB as a small JPEG; b"" of one that cannot be made small enough."""
    height, width = picture.shape[:2]
    scale = LONGEST / max(height, width)
    if scale < 1.0:
        size = max(1, round(scale * width)), max(1, round(scale * height))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    bgr = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR)
    for quality in QUALITIES:
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= LARGEST:
            return data
    return b""


def pixels_of(data: bytes) -> NDArray[np.uint8] | None:
    """The pixels (H, W, 3) RGB of a thumbnail; None where there is none, or it is no picture."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return None if found is None else np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)


def packed(thumbnails: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Thumbnails as arrays: all bytes (n,), and the size of each (k,)."""
    sizes = np.array([len(data) for data in thumbnails], np.int64)
    return np.frombuffer(b"".join(thumbnails), np.uint8).copy(), sizes


def unpacked(data: NDArray[np.uint8], sizes: NDArray[np.int64], count: int) -> list[bytes]:
    """The inverse of :func:`packed`, of ``count`` thumbnails.

    Raises:
        ValueError: they do not fit together, or one is larger than a thumbnail can be.
    """
    fits = data.dtype == np.uint8 and data.ndim == 1 and sizes.shape == (count,) and sizes.dtype == np.int64
    if not fits or ((sizes < 0) | (sizes > LARGEST)).any() or int(sizes.sum()) != len(data):
        raise ValueError(f"thumbnails of {len(data)} bytes in {sizes.shape} parts do not fit {count} places")
    ends = np.cumsum(sizes).tolist()
    whole = data.tobytes()
    return [whole[end - size : end] for end, size in zip(ends, sizes.tolist(), strict=True)]
