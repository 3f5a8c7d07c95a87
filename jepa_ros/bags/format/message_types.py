# SPDX-License-Identifier: Apache-2.0
"""The message types of a bag, from its own definitions and from the common ones, and messages as objects of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jepa_ros.bags import BagError
from jepa_ros.bags.format.storage import Channel, Message

_STORES = {1: "DASHING", 2: "ELOQUENT", 3: "FOXY", 4: "GALACTIC", 5: "HUMBLE", 6: "IRON", 7: "IRON", 8: "IRON"}
"""The distribution that wrote a version of metadata.yaml."""


@cache
def typestore(distro: str = "JAZZY"):
    """rosbags' table of the common message types of a ROS distribution (Jazzy's where it knows none)."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(getattr(Stores, f"ROS2_{distro.upper()}", Stores.ROS2_JAZZY))


def undecodable(path: Path, message: Message, why: str) -> str:
    """What to say of a message that cannot be decoded."""
    return f"{path}: {message.topic}: the message of time {message.time} {why}"


class MessageTypes:
    """The types of a bag. `problems`: definitions in it that cannot be read."""

    def __init__(self, path: Path, channels: list[Channel], distro: str, version: int) -> None:
        """Register the types that a bag defines beside those of its distribution (or of its metadata's version)."""
        from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

        self.path = path
        self.problems: list[str] = []
        base = typestore(distro or _STORES.get(version, "JAZZY"))
        # Events of services and actions: nothing here reads them, nor can their texts be parsed.
        new = [c for c in channels if "/msg/" in c.msgtype and c.definition and c.msgtype not in base.fielddefs]
        self._store = base
        if new:
            self._store = get_typestore(Stores.EMPTY)
            self._store.register({name: value for name, value in base.fielddefs.items()})
        for channel in new:
            try:
                if channel.encoding == "ros2msg":
                    self._store.register(get_types_from_msg(channel.definition, channel.msgtype))
                elif channel.encoding == "ros2idl":
                    parts = channel.definition.split("=" * 80 + "\n")
                    for part in parts[1:] if len(parts) > 1 else parts:
                        self._store.register(get_types_from_idl(part.split("\n", 1)[1] if len(parts) > 1 else part))
            except TypesysError as error:
                self.problems.append(f"{channel.topic}: its definition of {channel.msgtype} cannot be read: {error}")

    def deserialize(self, message: Message) -> Any:
        """See BagReader.deserialize."""
        from rosbags.serde import SerdeError

        self._require(message.msgtype)
        try:
            return self._store.deserialize_cdr(message.data, message.msgtype)
        except (SerdeError, KeyError, AssertionError, ValueError, IndexError) as error:
            raise BagError(undecodable(self.path, message, f"is not a {message.msgtype}: {error}")) from error

    def fields(self, msgtype: str) -> list[str]:
        """See BagReader.fields."""
        from rosbags.interfaces import Nodetype

        self._require(msgtype)
        return [node[1] if node[0] == Nodetype.NAME else "" for _, node in self._store.fielddefs[msgtype][1]]

    def _require(self, msgtype: str) -> None:
        if msgtype not in self._store.fielddefs:
            raise BagError(f"{self.path}: type {msgtype} is defined neither in the bag nor among the common types")
