# SPDX-License-Identifier: Apache-2.0
"""What a bag's messages are, in a form that shows any difference: for reading a mended bag back by two libraries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from jepa_ros.bags.format.mcap_storage import McapStorage
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.storage import CDR

DEFINITIONS = ("ros2msg", "ros2idl", "omgidl", "")
"""Kinds of message definitions in an MCAP file that the library rosbags opens."""


@dataclass
class Fingerprint:
    """Messages by topic and type: their number, and the sum of the hashes of their times and bytes.

    `compressed`: they are stored one by one as zstd frames. It is no part of the comparison.
    """

    messages: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    compressed: bool = field(default=False, compare=False)

    @property
    def total(self) -> int:
        """All messages."""
        return sum(count for count, _ in self.messages.values())

    def add(self, topic: str, msgtype: str, time: int, data: bytes) -> None:
        """Take one message in; messages of one time may come in any order."""
        mark = hashlib.blake2b(data, digest_size=8, key=time.to_bytes(8, "little", signed=True)).digest()
        count, total = self.messages.get((topic, msgtype), (0, 0))
        self.messages[topic, msgtype] = count + 1, (total + int.from_bytes(mark, "little")) % 2**64


def by_this_package(bag: BagReader) -> Fingerprint:
    """The fingerprint of a bag.

    Raises:
        BagError: a file is damaged where it is read.
    """
    found = Fingerprint()
    for message in bag.messages():
        found.add(message.topic, message.msgtype, message.time, message.data)
    found.compressed = bag.unpacked > 0
    return found


def by_another_library(bag: BagReader) -> tuple[str, Fingerprint | str]:
    """The library's name, and the fingerprint that it reads or why it cannot.

    ROS 2's own recordings are read by rosbags as a bag; what it declines (other profiles, serialisations and kinds of
    definitions) by the library mcap, file by file.
    """
    ros2 = all(storage.profile == "ros2" for storage in bag.files)
    channels = [channel for storage in bag.files for channel in storage.channels]
    known = all(channel.serialization == CDR and channel.encoding in DEFINITIONS for channel in channels)
    name, read = "rosbags", _by_rosbags
    if not (ros2 and known) and all(isinstance(storage, McapStorage) for storage in bag.files):
        name, read = "mcap", _by_mcap
    found = Fingerprint()
    try:
        for path in [bag.path] if bag.path.is_dir() and name == "rosbags" else [s.path for s in bag.files]:
            for message in read(path):
                found.add(*message)
    except Exception as error:  # whatever stops another library from reading it is a reason to leave the bag alone
        return name, f"{type(error).__name__}: {error}"
    return name, found


def _by_rosbags(path: Path) -> Iterable[tuple[str, str, int, bytes]]:
    from rosbags.rosbag2 import Reader

    with Reader(path) as reader:
        for connection, time, data in reader.messages():
            yield connection.topic, connection.msgtype, time, bytes(data)


def _by_mcap(path: Path) -> Iterable[tuple[str, str, int, bytes]]:
    from mcap.reader import make_reader

    with path.open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            yield channel.topic, schema.name if schema else "", message.log_time, message.data
