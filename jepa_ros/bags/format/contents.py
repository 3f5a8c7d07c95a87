# SPDX-License-Identifier: Apache-2.0
"""What a bag that is being written holds, and what its metadata.yaml says of it (version 9, as Jazzy writes it)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from jepa_ros.bags.format.schema import Definition


@dataclass(frozen=True)
class Topic:
    """A topic of the bag: `id` is its channel; `qos` are its publishers' profiles as metadata version 9 has them."""

    id: int
    name: str
    definition: Definition
    qos: tuple[dict, ...] = ()

    @property
    def msgtype(self) -> str:
        """ROS type, such as sensor_msgs/msg/Image."""
        return self.definition.msgtype


@dataclass
class FileInfo:
    """A file of the bag: its name, the log times [ns] of its first and last message, and how many there are."""

    name: str
    start: int = 0
    end: int = 0
    count: int = 0

    def to_dict(self) -> dict:
        """As it stands in metadata.yaml."""
        return {
            "path": self.name,
            "starting_time": {"nanoseconds_since_epoch": self.start},
            "duration": {"nanoseconds": self.end - self.start},
            "message_count": self.count,
        }


@dataclass
class Done:
    """What the closed files of a split bag hold."""

    files: list[FileInfo] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)


def metadata_of(
    files: Collection[FileInfo], topics: Collection[Topic], counts: Mapping[str, int], custom_data: Mapping[str, str],
    ros_distro: str,
) -> dict:  # fmt: skip
    """The content of metadata.yaml, of all files so far; ``counts`` are messages by topic."""
    filled = [info for info in files if info.count]
    start = min((info.start for info in filled), default=0)
    end = max((info.end for info in filled), default=0)
    return {
        "version": 9,
        "storage_identifier": "mcap",
        "duration": {"nanoseconds": end - start},
        "starting_time": {"nanoseconds_since_epoch": start},
        "message_count": sum(info.count for info in files),
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic.name,
                    "type": topic.msgtype,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": [dict(entry) for entry in topic.qos],
                    "type_description_hash": topic.definition.type_hash,
                },
                "message_count": counts[topic.name],
            }
            for topic in topics
        ],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [info.name for info in files],
        "files": [info.to_dict() for info in files],
        "custom_data": custom_data or None,
        "ros_distro": ros_distro,
    }
