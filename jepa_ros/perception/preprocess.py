# SPDX-License-Identifier: Apache-2.0
"""From a camera's pixels to the model's input: the ONE place, for live images, bags, goal images and training alike."""

from __future__ import annotations

import cv2
import numpy as np

from jepa_ros.contract import Camera
from jepa_ros.errors import JepaRosError
from jepa_ros.messages.images import CHANNELS

#: Encodings that are accepted (``sensor_msgs/Image`` names) and how OpenCV turns each into RGB.
ENCODINGS: dict[str, int | None] = {
    "rgb8": None,
    "bgr8": cv2.COLOR_BGR2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
}


class ImageError(JepaRosError):
    """An image that the model cannot take; the message says what was found and what is accepted."""


def to_rgb(image: np.ndarray, encoding: str) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB.

    Args:
        image: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8, as ``encoding`` says.
        encoding: one of :data:`ENCODINGS`.

    Raises:
        ImageError: the encoding is unknown, or the array does not have its shape.
    """
    if encoding not in ENCODINGS:
        raise ImageError(f"image encoding '{encoding}' is not supported; expected one of {', '.join(ENCODINGS)}")
    if image.dtype != np.uint8:
        raise ImageError(f"image of type {image.dtype}: expected uint8")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] != CHANNELS[encoding] or 0 in image.shape:
        raise ImageError(
            f"image of shape {image.shape} does not fit encoding '{encoding}' ({CHANNELS[encoding]} channels)"
        )
    code = ENCODINGS[encoding]
    return image if code is None else cv2.cvtColor(image, code)


def model_input(image: np.ndarray, camera: Camera, encoding: str = "rgb8") -> np.ndarray:
    """Crop and resample an image as the contract's camera says.

    An image of another resolution than the contract's is accepted when its aspect ratio is the same (a goal picture
    that was saved smaller, say): the crop is scaled with it.

    Returns:
        (height, width, 3) uint8 RGB of the camera's ``size``, C-contiguous.

    Raises:
        ImageError: unknown encoding, or another aspect ratio than the camera's.
    """
    rgb = to_rgb(image, encoding)
    height, width = rgb.shape[:2]
    if abs(width * camera.height - height * camera.width) > max(camera.height, camera.width):
        raise ImageError(
            f"image of {width}x{height} px for camera '{camera.name}' of {camera.width}x{camera.height} px: "
            "the aspect ratios differ; crop it to the camera's"
        )
    if camera.crop is not None:
        sx, sy = width / camera.width, height / camera.height
        x, y, w, h = camera.crop
        rgb = rgb[round(y * sy) : round((y + h) * sy), round(x * sx) : round((x + w) * sx)]
    width, height = camera.size
    if rgb.shape[:2] != (height, width):
        # Area resampling averages what falls into a pixel; anything else aliases when it shrinks.
        shrinks = rgb.shape[0] >= height and rgb.shape[1] >= width
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.ascontiguousarray(rgb)
