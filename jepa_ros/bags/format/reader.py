# SPDX-License-Identifier: Apache-2.0
"""The one reader of bags, for info, dataset and replay alike: MCAP and sqlite3, compressed, split, whole or broken.

metadata.yaml of rosbag2 versions 1 (Dashing) to 9 (Jazzy) is read where there is one; the files themselves are the
authority, so a bag without it, with a stale one (a killed recorder) or with a torn last file is read as far as it goes,
and `problems` says what is missing.
"""

from __future__ import annotations

import contextlib
import heapq
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import zstandard

from jepa_ros.bags import BagError
from jepa_ros.bags.format.folder import BagFolder
from jepa_ros.bags.format.mcap_storage import McapStorage
from jepa_ros.bags.format.message_types import MessageTypes, undecodable
from jepa_ros.bags.format.metadata import BagMetadata
from jepa_ros.bags.format.storage import CDR, Message, Storage, TopicInfo
from jepa_ros.bags.format.unpack import is_packed


class BagReader:
    """A bag, opened for reading. Use it as a context manager, or call `close`.

    Attributes:
        topics: what it holds, by topic name.
        files: its files in the order of time.
        start, end: first and last log time in ns; 0, 0 when it is empty (0 is a time as well: see `message_count`).
        custom_data: texts that the recorder put in (see CONTRACT_KEY and others in jepa_ros.bags).
        version: of metadata.yaml; 0 when there is none.
        metadata: what metadata.yaml says; embedded: what the files say in its place. None where they say nothing.
        metadata_stale: metadata.yaml is missing or does not fit the files.
        superseded: files that are cut or damaged, in whose place another was read.
        unpacked: messages read so far that were compressed one by one.
        problems: what is broken or missing, each with its file and, for MCAP, the byte.
        notes: what is odd, but not broken.
    """

    def __init__(self, path: str | Path, *, thorough: bool = False) -> None:
        """Open a bag's folder or a single file of one.

        Args:
            thorough: trust no summary and no index of a file (see `open_storage`).

        Raises:
            BagError: it does not exist, holds no bag, or nothing in it can be read.
        """
        self.path = Path(path)
        self.unpacked = 0
        self._scratch = tempfile.TemporaryDirectory(prefix="jepa_ros_bag_")
        self._types: MessageTypes | None = None
        self._checked: set[str] = set()
        try:
            folder = BagFolder(self.path, Path(self._scratch.name), thorough)
        except BaseException:
            self._scratch.cleanup()
            raise
        self.files, self.problems, self.metadata = folder.files, folder.problems, folder.metadata
        self.metadata_stale, self.superseded = folder.stale, folder.superseded
        self.embedded = None if self.metadata else self._read_embedded()
        known = self.metadata or self.embedded
        self.version = self.metadata.version if self.metadata else 0
        self.distro = known.distro if known else ""
        self.custom_data = self._read_custom_data(known)
        self.topics = self._merge_topics()
        self._compare_metadata()
        self.notes = self._describe_types()
        spans = [storage.span for storage in self.files if storage.span is not None]
        self.start = min((span[0] for span in spans), default=0)
        self.end = max((span[1] for span in spans), default=0)
        if self.message_count > 1 and self.start == self.end:
            self.notes.append(
                f"all {self.message_count} messages have the log time {self.start * 1e-9:.3f} s: the recorder's clock "
                "stood (was it told to use simulated time, and no /clock came?)"
            )

    # ------------------------------------------------------------------ opening
    def _merge_topics(self) -> dict[str, TopicInfo]:
        merged: dict[str, TopicInfo] = {}
        qos = self.metadata.qos if self.metadata else {}
        hashes = self.metadata.hashes if self.metadata else {}
        for storage in self.files:
            for channel in storage.channels:
                found = replace(
                    channel,
                    qos=channel.qos or qos.get(channel.topic, ()),
                    type_hash=channel.type_hash or hashes.get((channel.topic, channel.msgtype), ""),
                )
                channels = merged.setdefault(channel.topic, TopicInfo(channel.topic, [])).channels
                known = next((c for c in channels if c.same(found)), None)
                if known is None:
                    channels.append(found)
                    continue
                known.count += found.count
                if not known.definition:
                    known.definition, known.encoding = found.definition, found.encoding
        return dict(sorted(merged.items()))

    def _compare_metadata(self) -> None:
        """Note where metadata.yaml does not say what the files hold, though all of them are there and whole."""
        if self.metadata is None or self.problems:
            return
        compression = self._compression()
        if self.message_count and compression != self.metadata.compression:
            said = self.metadata.compression or "none"
            self._stale(f"metadata.yaml: says compression by {said}, found {compression or 'none'}")
        told = sum(self.metadata.counts.values())
        if told != self.message_count:
            self._stale(f"metadata.yaml: says {told} messages, the files hold {self.message_count}")
        bare = [name for name, info in self.topics.items() if info.qos and not self.metadata.qos.get(name)]
        if bare:
            self._stale(f"metadata.yaml: lacks the QoS of {', '.join(bare)}, which the files have")

    def _compression(self) -> str:
        """How the bag is compressed: "file", "message" or "", by its files and its first message."""
        if any(is_packed(storage.source) for storage in self.files):
            return "file"
        with contextlib.suppress(BagError):  # where it is damaged, reading will say so
            for message in self._ordered(set(self.topics), None, None):
                return "message" if message.data.startswith(zstandard.FRAME_HEADER) else ""
        return ""

    def _read_embedded(self) -> BagMetadata | None:
        """The metadata that the recorder put into the last of the files that have it."""
        found = None
        for storage in self.files:
            with contextlib.suppress(ValueError, BagError):
                found = BagMetadata.parse(storage.embedded) if storage.embedded else found
        return found

    def _read_custom_data(self, known: BagMetadata | None) -> dict[str, str]:
        """Custom data of the metadata, and what our recorder wrote into each file."""
        found = dict(known.custom_data) if known else {}
        for storage in self.files:
            if isinstance(storage, McapStorage):
                for key, value in storage.scan.read_metadata().get("jepa_ros", {}).items():
                    found.setdefault(key, value)
        return found

    def _stale(self, problem: str) -> None:
        """Note something that metadata.yaml says wrongly."""
        self.metadata_stale = True
        self.problems.append(problem)

    def _describe_types(self) -> list[str]:
        """A line for each topic on which messages of several types came."""
        lines = []
        for name, info in self.topics.items():
            types = {kind: count for kind, count in info.types.items() if count}
            if len(types) > 1:
                told = ", ".join(f"{kind or 'no type'} ({count})" for kind, count in types.items())
                lines.append(f"{name}: {len(types)} types on one topic: {told}; each message is read as its own")
        return lines

    # ------------------------------------------------------------------ reading
    @property
    def complete(self) -> bool:
        """True when nothing is broken or missing."""
        return not self.problems

    @property
    def message_count(self) -> int:
        """All messages."""
        return sum(info.count for info in self.topics.values())

    def attachments(self) -> dict[str, tuple[str, bytes]]:
        """MCAP attachments: name -> (media type, bytes); of several files the first one's."""
        found: dict[str, tuple[str, bytes]] = {}
        for storage in self.files:
            if isinstance(storage, McapStorage):
                for name, value in storage.scan.read_attachments().items():
                    found.setdefault(name, value)
        return found

    def messages(
        self, topics: list[str] | set[str] | None = None, start: int | None = None, stop: int | None = None
    ) -> Iterator[Message]:
        """Messages in the order of their log time; `start` <= time < `stop` in ns, `topics` None means all.

        Raises:
            BagError: a topic is not in the bag (it says what is), or a file is damaged where it is read.
        """
        wanted = set(self.topics if topics is None else topics)
        if topics is not None:
            self.require(*wanted)
        return self._decompressed(self._ordered(wanted, start, stop))

    def _ordered(self, wanted: set[str], start: int | None, stop: int | None) -> Iterator[Message]:
        groups: list[list[Storage]] = []
        latest = -1
        for storage in self.files:
            if storage.span is None:
                continue
            if groups and storage.span[0] <= latest:
                groups[-1].append(storage)
            else:
                groups.append([storage])
            latest = max(latest, storage.span[1])
        for group in groups:
            if len(group) == 1:
                yield from group[0].messages(wanted, start, stop)
            else:  # files that overlap in time
                streams = [storage.messages(wanted, start, stop) for storage in group]
                yield from heapq.merge(*streams, key=lambda message: message.time)

    def _decompressed(self, stream: Iterator[Message]) -> Iterator[Message]:
        """The messages themselves where they were compressed one by one; CDR begins with a zero, a frame does not.

        metadata.yaml may be missing or wrong, so the messages are asked.
        """
        for message in stream:
            if not message.data.startswith(zstandard.FRAME_HEADER):
                yield message
                continue
            self.unpacked += 1
            frame = zstandard.ZstdDecompressor().decompressobj()
            try:
                data = frame.decompress(message.data)
            except zstandard.ZstdError as error:
                raise BagError(undecodable(self.path, message, f"cannot be decompressed: {error}")) from error
            if not frame.eof:
                raise BagError(undecodable(self.path, message, "is compressed, and cut"))
            yield message._replace(data=data)

    def require(self, *topics: str) -> None:
        """Check that topics are there.

        Raises:
            BagError: one is not; the message lists what is.
        """
        for topic in topics:
            if topic not in self.topics:
                has = (
                    ", ".join(f"{name} ({' or '.join(i.types)})" for name, i in self.topics.items())
                    or "no topic at all"
                )
                raise BagError(f"{self.path}: no topic {topic} in this bag; it has {has}")

    def require_cdr(self, *topics: str) -> None:
        """Check that topics are there and hold messages as ROS 2 serialises them.

        Raises:
            BagError: one is not, or holds something else; says what.
        """
        self.require(*topics)
        for topic in topics:
            for channel in self.topics[topic].channels:
                if channel.serialization != CDR:
                    raise BagError(
                        f"{self.path}: {topic} holds {channel.msgtype or 'messages'} serialised as "
                        f"{channel.serialization!r}; expected {CDR!r}, which is what ROS 2 records"
                    )

    def deserialize(self, message: Message) -> Any:
        """The message as an object with the fields of its type (arrays are numpy arrays).

        Raises:
            BagError: its bytes do not fit its type, or the type is unknown.
        """
        if message.topic not in self._checked:
            self.require_cdr(message.topic)
            self._checked.add(message.topic)
        return self._message_types().deserialize(message)

    def fields(self, msgtype: str) -> list[str]:
        """The types of a message type's fields, where a field is itself a message (else ''), in their order.

        Raises:
            BagError: the type is unknown.
        """
        return self._message_types().fields(msgtype)

    def _message_types(self) -> MessageTypes:
        if self._types is None:
            channels = [channel for info in self.topics.values() for channel in info.channels]
            self._types = MessageTypes(self.path, channels, self.distro, self.version)
            self.problems += self._types.problems
        return self._types

    def close(self) -> None:
        """Remove what was decompressed."""
        self._scratch.cleanup()

    def __enter__(self) -> BagReader:
        """Use as a context manager."""
        return self

    def __exit__(self, kind, value, trace) -> None:
        """Close."""
        self.close()
