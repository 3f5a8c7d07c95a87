# SPDX-License-Identifier: Apache-2.0
"""The picture behind an embedding, for a planner whose memory keeps thumbnails: unpacked only if somebody asks."""

from __future__ import annotations

import contextlib
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image

from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError
from jepa_ros.messages import MessageError
from jepa_ros.messages.images import pixels
from jepa_ros.messages.stamps import raw_stamp
from jepa_ros.nodes import qos

if TYPE_CHECKING:  # and the memory with it
    from jepa_ros.memory.knowledge import Picture

#: Images that are kept until their embedding comes.
KEPT = 8


def picture_in(message: Image | CompressedImage) -> np.ndarray | None:
    """The picture of an image message (H, W, 3) uint8 RGB; None where it cannot be unpacked."""
    from jepa_ros.perception.preprocess import to_rgb  # and OpenCV with it

    try:
        return to_rgb(*pixels(message))
    except JepaRosError:
        return None


def _picture_in_raw(data: bytes, kind: type) -> np.ndarray | None:
    """The same of a message as it came."""
    return picture_in(deserialize_message(data, kind))


class RecentPictures:
    """Listens to the camera that begins steps."""

    def __init__(self, node: Node, contract: RobotContract) -> None:
        self._node = node
        self._kept: deque[tuple[int, type, bytes]] = deque(maxlen=KEPT)
        topic = contract.step_camera.topic
        self._entities = [  # who publishes the one does not publish the other
            self._listen(Image, topic),
            self._listen(CompressedImage, f"{topic}/compressed"),
        ]

    def _listen(self, kind: type, topic: str) -> Any:
        return qos.subscription(self._node, kind, topic, partial(self._heard, kind), qos.IMAGE, raw=True)

    def _heard(self, kind: type, data: bytes) -> None:
        with contextlib.suppress(MessageError):  # perception says what is wrong with an image
            self._kept.append((raw_stamp(data), kind, data))

    def at(self, stamp: float) -> Picture | None:
        """Gives the picture of a stamp [s], see :func:`picture_in`; None where it did not come."""
        for taken, kind, data in reversed(self._kept):
            if abs(taken * 1e-9 - stamp) < 1e-6:
                return partial(_picture_in_raw, data, kind)
        return None

    def close(self) -> None:
        """Stop listening."""
        for entity in self._entities:
            self._node.destroy_subscription(entity)
