# SPDX-License-Identifier: Apache-2.0
"""What a file of a bag offers to the reader, whatever its format: channels, messages, times.

:mod:`jepa_ros.bags.format.mcap_storage` and :mod:`jepa_ros.bags.format.sqlite_storage` are the two kinds.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from jepa_ros.yaml_text import YamlError, load_yaml

CDR = "cdr"


class Message(NamedTuple):
    """One message of a bag: times in ns, `data` is CDR. `publish_time` equals `time` where the bag lacks it."""

    topic: str
    msgtype: str
    time: int
    publish_time: int
    sequence: int
    data: bytes


@dataclass
class Channel:
    """Messages of one type, one serialisation and one set of publishers' profiles on one topic.

    `definition` is the type's text ('' where the bag lacks it) and `encoding` what it is written in. `serialization` is
    "cdr" in everything that ROS 2 records.
    """

    topic: str
    msgtype: str
    count: int
    definition: str = ""
    encoding: str = ""
    type_hash: str = ""
    qos: tuple[dict, ...] = ()
    serialization: str = CDR

    def same(self, other: Channel) -> bool:
        """Whether messages of both are described by one entry of metadata.yaml."""
        mine = (self.topic, self.msgtype, self.serialization, self.qos)
        return mine == (other.topic, other.msgtype, other.serialization, other.qos)


@dataclass
class TopicInfo:
    """A topic of a bag. Most have one channel; a publisher that came back with another type or QoS makes a second."""

    name: str
    channels: list[Channel]

    @property
    def types(self) -> dict[str, int]:
        """Messages by type, the most frequent type first."""
        counts: dict[str, int] = {}
        for channel in self.channels:
            counts[channel.msgtype] = counts.get(channel.msgtype, 0) + channel.count
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    @property
    def msgtype(self) -> str:
        """The type of most of its messages."""
        return next(iter(self.types))

    @property
    def count(self) -> int:
        """Messages of all types."""
        return sum(channel.count for channel in self.channels)

    @property
    def qos(self) -> tuple[dict, ...]:
        """The publishers' profiles, each once."""
        found: list[dict] = []
        for channel in self.channels:
            found += [entry for entry in channel.qos if entry not in found]
        return tuple(found)


class Storage(Protocol):
    """A file of a bag.

    Attributes:
        source: the file as it lies in the bag. path: what is read, which may be an unpacked copy of it.
        span: first and last log time in ns; None without messages.
        complete: False where `repair` can make something of the file that other tools read better.
        problems: what had to be left out, and where.
        profile: "ros2" for what ROS 2 recorded; other writers of MCAP have others.
        embedded: the text of the bag's metadata that the recorder put into the file ('' without one).
    """

    source: Path
    path: Path
    channels: list[Channel]
    span: tuple[int, int] | None
    complete: bool
    problems: list[str]
    profile: str
    embedded: str

    def messages(self, topics: set[str], start: int | None, stop: int | None) -> Iterator[Message]: ...

    def times(self) -> dict[str, np.ndarray]: ...

    def mend(self, target: Path) -> str:
        """Write a whole file with all that can be read to `target`; returns what was done, as words."""
        ...


def parse_qos(value) -> list[dict]:
    """`offered_qos_profiles` of any version (a YAML text or a list) as a list of dicts; [] when it cannot be read."""
    if isinstance(value, str):
        return copy.deepcopy(_qos_of(value))
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


@functools.lru_cache(maxsize=256)
def _qos_of(text: str) -> list[dict]:
    """As parse_qos; most topics of a bag share a few texts, and reading YAML is slow."""
    try:
        return parse_qos(load_yaml(text, "offered_qos_profiles") or [])
    except YamlError:
        return []
