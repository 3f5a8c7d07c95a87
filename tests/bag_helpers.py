# SPDX-License-Identifier: Apache-2.0
"""Small bags for the tests of jepa_ros.bags."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from jepa_ros.bags.format.message_types import typestore
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.schema import default_qos
from jepa_ros.bags.format.writer import BagWriter, WriterConfig

START = 1_700_000_000_000_000_000


def string(text: str) -> bytes:
    """A serialised std_msgs/msg/String."""
    store = typestore()
    return bytes(store.serialize_cdr(store.types["std_msgs/msg/String"](data=text), "std_msgs/msg/String"))


def header(stamp: int, frame: str = "base"):
    """A std_msgs/msg/Header; `stamp` in ns."""
    types = typestore().types
    time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    return types["std_msgs/msg/Header"](stamp=time, frame_id=frame)


def image(stamp: int, pixels: np.ndarray, encoding: str = "rgb8") -> bytes:
    """A serialised sensor_msgs/msg/Image; `pixels` is (H, W, C) or (H, W) uint8."""
    store = typestore()
    message = store.types["sensor_msgs/msg/Image"](
        header=header(stamp, "camera"),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=int(np.prod(pixels.shape[1:])),
        data=np.ascontiguousarray(pixels).reshape(-1),
    )
    return bytes(store.serialize_cdr(message, "sensor_msgs/msg/Image"))


def write_bag(path: Path, count: int = 50, config: WriterConfig | None = None, flush_every: int = 5, **kwargs):
    """A bag of `count` messages on /a (text) and /image (noise), 0.1 s apart; returns [(topic, time, bytes)]."""
    sent = []
    with BagWriter(path, config or WriterConfig(min_free_bytes=0), **kwargs) as writer:
        a = writer.add_topic("/a", "std_msgs/msg/String", [default_qos()])
        b = writer.add_topic("/image", "sensor_msgs/msg/Image", [default_qos("best_effort")])
        for k in range(count):
            now = START + k * 100_000_000
            pixels = np.frombuffer(os.urandom(8 * 8 * 3), np.uint8).reshape(8, 8, 3)
            for topic, time, data in ((a, now, string(f"m{k}")), (b, now + 1000, image(now, pixels))):
                writer.write(topic, time, data, publish_time=time - 500, sequence=k)
                sent.append((topic.name, time, data))
            if (k + 1) % flush_every == 0:
                writer.flush()
    return sent


def merged(target: Path, storage: StoragePlugin, *bags: Path) -> None:
    """One bag of several, by the library rosbags: a topic has a channel for each of its types."""
    topics = {}
    with Writer(target, version=9, storage_plugin=storage) as writer:
        for bag in bags:
            with BagReader(bag) as reader:
                for key, value in reader.custom_data.items():
                    writer.set_custom_data(key, value)
                for m in reader.messages():
                    if (m.topic, m.msgtype) not in topics:
                        topics[m.topic, m.msgtype] = writer.add_connection(m.topic, m.msgtype, typestore=typestore())
                    writer.write(topics[m.topic, m.msgtype], m.time, m.data)
