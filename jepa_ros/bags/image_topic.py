# SPDX-License-Identifier: Apache-2.0
"""Which topic of a bag carries a camera's images."""

from __future__ import annotations

from jepa_ros.bags import BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.contract import Camera, RobotContract
from jepa_ros.messages.images import COMPRESSED, IMAGE
from jepa_ros.names import full_name


def camera_topic(reader: BagReader, contract: RobotContract, namespace: str = "", camera: Camera | None = None) -> str:
    """The full name of the topic of a camera's images in a bag, raw or else compressed; the default begins steps.

    Raises:
        BagError: neither is there; it lists what is.
    """
    name = full_name((camera or contract.step_camera).topic, namespace)
    if name not in reader.topics and f"{name}/compressed" in reader.topics:
        name = f"{name}/compressed"
    require_images(reader, name)
    return name


def require_images(reader: BagReader, topic: str) -> None:
    """Check that all messages of a topic are images as ROS 2 records them.

    Raises:
        BagError: there is no such topic (it lists what is), or something else on it.
    """
    reader.require_cdr(topic)
    for kind, count in reader.topics[topic].types.items():
        if count and kind not in (IMAGE, COMPRESSED):
            raise BagError(f"{reader.path}: {topic} is {kind}; expected {IMAGE} or {COMPRESSED}")
