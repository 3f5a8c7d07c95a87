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
from functools import cache
from pathlib import Path
from typing import Any

import zstandard

from jepa_ros.bags import BagError
from jepa_ros.bags.format.mcap_storage import McapStorage
from jepa_ros.bags.format.metadata import BagMetadata
from jepa_ros.bags.format.storage import CDR, Message, Storage, TopicInfo
from jepa_ros.bags.format.unpack import is_packed, open_storage, plain_name

_SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
_STORES = {1: "DASHING", 2: "ELOQUENT", 3: "FOXY", 4: "GALACTIC", 5: "HUMBLE", 6: "IRON", 7: "IRON", 8: "IRON"}


@cache
def typestore(distro: str = "JAZZY"):
    """rosbags' table of the common message types of a ROS distribution (Jazzy's where it knows none)."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(getattr(Stores, f"ROS2_{distro.upper()}", Stores.ROS2_JAZZY))


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
        self.problems: list[str] = []
        self.version, self.distro = 0, ""
        self.metadata: BagMetadata | None = None
        self.embedded: BagMetadata | None = None
        self.metadata_stale = False
        self.superseded: list[Path] = []
        self.unpacked = 0
        self.custom_data: dict[str, str] = {}
        self._scratch = tempfile.TemporaryDirectory(prefix="jepa_ros_bag_")
        self._store: Any = None
        self._checked: set[str] = set()
        try:
            self.files = self._open_all(self._find_files(), thorough)
        except BaseException:
            self._scratch.cleanup()
            raise
        self._read_embedded()
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
    def _find_files(self) -> list[list[Path]]:
        """The bag's files in their order; each as the paths that it may be read from, the best first."""
        if not self.path.exists():
            raise BagError(f"{self.path}: no such bag")
        if self.path.is_file():
            if self.path.name == "metadata.yaml":
                raise BagError(f"{self.path}: give the bag's folder, {self.path.parent}")
            return [[self.path]]
        present: dict[str, list[Path]] = {}
        for path in sorted(
            (p for p in self.path.iterdir() if p.is_file() and p.name.endswith(_SUFFIXES)), key=_natural
        ):
            present.setdefault(plain_name(path.name), []).append(path)
        for paths in present.values():
            # `ros2 bag play` leaves what it decompressed beside the compressed file, and a recorder that was killed
            # while it compressed leaves a part beside the whole: the same messages once more.
            paths.sort(key=lambda path: not is_packed(path))
        listed = self._read_metadata()
        if listed is None:
            if not present:
                holds = ", ".join(sorted(p.name for p in self.path.iterdir())[:8]) or "nothing"
                raise BagError(f"{self.path}: no bag in here: no metadata.yaml, no .mcap, no .db3 (it holds {holds})")
            return list(present.values())
        found, missing = [], []
        for name in dict.fromkeys(listed):
            paths = present.pop(plain_name(name), [])
            paths = [p for p in paths if p.name == name] + [p for p in paths if p.name != name]
            if not paths:
                missing.append(name)
                self._stale(f"{name}: listed in metadata.yaml, but the file is missing")
            elif paths[0].name != name:
                self._stale(f"{name}: listed in metadata.yaml, found as {paths[0].name}")
            found += [paths] if paths else []
        # A recorder that was killed just after a split has a file more than metadata.yaml says; or one was renamed.
        for paths in present.values():
            self._stale(f"{paths[0].name}: not listed in metadata.yaml; read all the same")
            found.append(paths)
        if not found:
            raise BagError(f"{self.path}: every file that metadata.yaml lists is missing: {', '.join(sorted(missing))}")
        return found

    def _stale(self, problem: str) -> None:
        """Note something that metadata.yaml says wrongly."""
        self.metadata_stale = True
        self.problems.append(problem)

    def _read_metadata(self) -> list[str] | None:
        """The names of the files that metadata.yaml lists; None where it is missing or says nothing."""
        path = self.path / "metadata.yaml"
        if not path.exists():
            self._stale("metadata.yaml is missing; the topics were read from the files")
            return None
        try:
            self.metadata = BagMetadata.parse(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise BagError(f"{path}: cannot be read: {error}") from error
        except BagError as error:
            raise BagError(f"{path}: {error}") from None
        except ValueError as error:
            self._stale(f"metadata.yaml: {error}; the topics were read from the files")
            return None
        self.version, self.distro = self.metadata.version, self.metadata.distro
        self.custom_data = dict(self.metadata.custom_data)
        return self.metadata.files

    def _open_all(self, units: list[list[Path]], thorough: bool) -> list[Storage]:
        files: list[Storage] = []
        errors: list[str] = []
        for paths in units:
            storage = self._open_best(paths, errors, thorough)
            if storage is not None:
                files.append(storage)
                self.problems += [f"{storage.source.name}: {problem}" for problem in storage.problems]
        if not files:
            raise BagError(errors[0] if len(errors) == 1 else f"{self.path}: no file can be read: {'; '.join(errors)}")
        self.problems += errors
        return sorted(files, key=lambda storage: storage.span or (2**63, 0))

    def _open_best(self, paths: list[Path], errors: list[str], thorough: bool) -> Storage | None:
        """The first whole one of the paths of a file, else the one that holds most."""
        opened: list[Storage] = []
        failed: list[str] = []
        for path in paths:
            try:
                storage = open_storage(path, Path(self._scratch.name), thorough=thorough)
            except BagError as error:
                failed.append(str(error))
                continue
            opened.append(storage)
            if storage.complete:
                break
        best = max(opened, key=lambda storage: sum(channel.count for channel in storage.channels), default=None)
        if best is None:
            errors += failed
        elif best.source != paths[0]:
            self._stale(f"{paths[0].name}: cut or damaged; {best.source.name} beside it was read in its place")
            self.superseded.append(paths[0])
        return best

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

    def _read_embedded(self) -> None:
        """What the recorder put into the files themselves, where metadata.yaml does not say it."""
        for storage in self.files:
            with contextlib.suppress(ValueError, BagError):
                embedded = BagMetadata.parse(storage.embedded) if storage.embedded else None
                if embedded is not None and self.metadata is None:
                    self.embedded = embedded
        if self.metadata is None and self.embedded is not None:
            self.distro = self.embedded.distro
            self.custom_data = dict(self.embedded.custom_data)
        for storage in self.files:
            if isinstance(storage, McapStorage):
                for key, value in storage.scan.read_metadata().get("jepa_ros", {}).items():
                    self.custom_data.setdefault(key, value)

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
                raise BagError(self._undecodable(message, f"cannot be decompressed: {error}")) from error
            if not frame.eof:
                raise BagError(self._undecodable(message, "is compressed, and cut"))
            yield message._replace(data=data)

    def _undecodable(self, message: Message, why: str) -> str:
        return f"{self.path}: {message.topic}: the message of time {message.time} {why}"

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

    def deserialize(self, message: Message):
        """The message as an object with the fields of its type (arrays are numpy arrays).

        Raises:
            BagError: its bytes do not fit its type, or the type is unknown.
        """
        from rosbags.serde import SerdeError

        if message.topic not in self._checked:
            self.require_cdr(message.topic)
            self._checked.add(message.topic)
        store = self._types()
        if message.msgtype not in store.fielddefs:
            raise BagError(self._unknown(message.msgtype))
        try:
            return store.deserialize_cdr(message.data, message.msgtype)
        except (SerdeError, KeyError, AssertionError, ValueError, IndexError) as error:
            raise BagError(self._undecodable(message, f"is not a {message.msgtype}: {error}")) from error

    def fields(self, msgtype: str) -> list[str]:
        """The types of a message type's fields, where a field is itself a message (else ''), in their order.

        Raises:
            BagError: the type is unknown.
        """
        from rosbags.interfaces import Nodetype

        store = self._types()
        if msgtype not in store.fielddefs:
            raise BagError(self._unknown(msgtype))
        return [node[1] if node[0] == Nodetype.NAME else "" for _, node in store.fielddefs[msgtype][1]]

    def _unknown(self, msgtype: str) -> str:
        return f"{self.path}: type {msgtype} is defined neither in the bag nor among the common types"

    def _types(self):
        if self._store is None:
            from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

            base = typestore(self.distro or _STORES.get(self.version, "JAZZY"))
            # Events of services and actions: nothing here reads them, nor can their texts be parsed.
            channels = [channel for info in self.topics.values() for channel in info.channels]
            new = [c for c in channels if "/msg/" in c.msgtype and c.definition and c.msgtype not in base.fielddefs]
            store = base
            if new:
                store = get_typestore(Stores.EMPTY)
                store.register({name: value for name, value in base.fielddefs.items()})
            for channel in new:
                try:
                    if channel.encoding == "ros2msg":
                        store.register(get_types_from_msg(channel.definition, channel.msgtype))
                    elif channel.encoding == "ros2idl":
                        parts = channel.definition.split("=" * 80 + "\n")
                        for part in parts[1:] if len(parts) > 1 else parts:
                            store.register(get_types_from_idl(part.split("\n", 1)[1] if len(parts) > 1 else part))
                except TypesysError as error:
                    self.problems.append(
                        f"{channel.topic}: its definition of {channel.msgtype} cannot be read: {error}"
                    )
            self._store = store
        return self._store

    def close(self) -> None:
        """Remove what was decompressed."""
        self._scratch.cleanup()

    def __enter__(self) -> BagReader:
        """Use as a context manager."""
        return self

    def __exit__(self, kind, value, trace) -> None:
        """Close."""
        self.close()


def _natural(path: Path) -> list:
    """Sort key that puts x_10 behind x_9."""
    import re

    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
