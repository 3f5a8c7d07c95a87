# SPDX-License-Identifier: Apache-2.0
"""The files inside a bag behind one interface: MCAP (our own reading, broken files too) and sqlite3 (rosbags' reading).

A storage is closed under `messages`, `times` and `topics`; whole-file compression is undone by `open_storage`.
"""

from __future__ import annotations

import copy
import functools
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import zstandard
from mcap.opcode import Opcode

from jepa_ros.bags import BagError, mcap_scan
from jepa_ros.bags.mcap_file import MAGIC
from jepa_ros.yaml_text import YamlError, load_yaml

MCAP, SQLITE = "mcap", "sqlite3"


class Message(NamedTuple):
    """One message of a bag: times in ns, `data` is CDR. `publish_time` equals `time` where the bag lacks it."""

    topic: str
    msgtype: str
    time: int
    publish_time: int
    sequence: int
    data: bytes


@dataclass
class TopicInfo:
    """A topic of a bag. `definition` is its text ('' where the bag lacks it), `qos` its publishers' profiles."""

    name: str
    msgtype: str
    count: int
    definition: str = ""
    encoding: str = ""
    type_hash: str = ""
    qos: tuple[dict, ...] = ()


class Storage(Protocol):
    """A file of a bag. `problems` says what had to be left out, and where."""

    path: Path
    topics: dict[str, TopicInfo]
    span: tuple[int, int]
    complete: bool
    problems: list[str]

    def messages(self, topics: set[str], start: int | None, stop: int | None) -> Iterator[Message]: ...

    def times(self) -> dict[str, np.ndarray]: ...


class McapStorage:
    """An .mcap file."""

    def __init__(self, path: Path) -> None:
        """Scan the file."""
        self.path = path
        self.scan = mcap_scan.scan(path)
        self.complete = self.scan.complete
        self.problems = ([self.scan.problem] if self.scan.problem else []) + self.scan.damaged
        counts = self.scan.counts
        self.topics: dict[str, TopicInfo] = {}
        for channel in self.scan.channels.values():
            known = self.topics.get(channel.topic)
            if known is not None:
                known.count += counts.get(channel.id, 0)
                continue
            schema = self.scan.schemas.get(channel.schema_id)
            self.topics[channel.topic] = TopicInfo(
                channel.topic,
                schema.name if schema else "",
                counts.get(channel.id, 0),
                schema.data.decode("utf-8", "replace") if schema else "",
                schema.encoding if schema else "",
                channel.metadata.get("topic_type_hash", ""),
                tuple(parse_qos(channel.metadata.get("offered_qos_profiles", ""))),
            )
        self.span = self.scan.span

    def messages(self, topics: set[str], start: int | None = None, stop: int | None = None) -> Iterator[Message]:
        """Messages of `topics` in the order of their log time."""
        channels = {c.id: c.topic for c in self.scan.channels.values() if c.topic in topics}
        for time, channel, publish, sequence, data in mcap_scan.messages(self.scan, set(channels), start, stop):
            name = channels[channel]
            yield Message(name, self.topics[name].msgtype, time, publish or time, sequence, data)

    def times(self) -> dict[str, np.ndarray]:
        """Log times (ns, in file order) by topic, from the message indexes alone where the file has them."""
        found: dict[int, list[np.ndarray]] = {}
        with self.path.open("rb") as file:
            for chunk in self.scan.chunks:
                if set(chunk.index.message_index_offsets) >= set(chunk.counts):
                    for channel, offset in chunk.index.message_index_offsets.items():
                        file.seek(offset + 11)
                        (length,) = struct.unpack("<I", file.read(4))
                        entries = np.frombuffer(file.read(length), "<u8").reshape(-1, 2)
                        found.setdefault(channel, []).append(entries[:, 0].astype(np.int64))
                else:
                    for opcode, body in mcap_scan.records(mcap_scan.load(self.path, chunk.index, file)):
                        if opcode == Opcode.MESSAGE:
                            channel, _, log_time = struct.unpack_from("<HIQ", body)
                            found.setdefault(channel, []).append(np.array([log_time], np.int64))
        for log_time, _, _, channel in self.scan.loose:
            found.setdefault(channel, []).append(np.array([log_time], np.int64))
        by_topic: dict[str, list[np.ndarray]] = {}
        for channel, pieces in found.items():
            by_topic.setdefault(self.scan.channels[channel].topic, []).extend(pieces)
        return {topic: np.concatenate(pieces) for topic, pieces in by_topic.items()}


class SqliteStorage:
    """A .db3 file, read through rosbags."""

    def __init__(self, path: Path) -> None:
        """Open the database once for its tables."""
        from rosbags.interfaces import MessageDefinitionFormat

        self.path, self.complete, self.problems = path, True, []
        with self._open() as reader:
            self.topics = {
                c.topic: TopicInfo(
                    c.topic,
                    c.msgtype,
                    c.msgcount,
                    c.msgdef.data if c.msgdef.format != MessageDefinitionFormat.NONE else "",
                    {MessageDefinitionFormat.MSG: "ros2msg", MessageDefinitionFormat.IDL: "ros2idl"}.get(
                        c.msgdef.format, ""
                    ),
                    c.digest or "",
                )
                for c in reader.connections
            }
            count = reader.message_count
            self.span = (reader.start_time, reader.end_time - 1) if count else (0, 0)
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            self.complete = False
            self.problems.append(
                f"{log.name} holds {log.stat().st_size} bytes that are not in the database yet: the recorder did not "
                f"end; `sqlite3 {path.name} 'PRAGMA wal_checkpoint'` brings them in"
            )

    def _open(self):
        from rosbags.rosbag2 import Reader
        from rosbags.rosbag2.errors import ReaderError

        class Guarded(Reader):
            def __enter__(inner):
                try:
                    return super().__enter__()
                except (ReaderError, OSError, UnicodeDecodeError) as error:
                    raise BagError(f"{self.path}: not a readable sqlite3 bag: {error}") from error

        if self.path.stat().st_size == 0:
            raise BagError(f"{self.path}: the file is empty")
        return Guarded(self.path)

    def messages(self, topics: set[str], start: int | None = None, stop: int | None = None) -> Iterator[Message]:
        """Messages of `topics` in the order of their time stamps."""
        with self._open() as reader:
            wanted = [c for c in reader.connections if c.topic in topics]
            if not wanted:
                return
            try:
                for connection, time, data in reader.messages(wanted, start, stop):
                    yield Message(connection.topic, connection.msgtype, time, time, 0, data)
            except Exception as error:
                if type(error).__module__.split(".")[0] == "apsw":
                    raise BagError(f"{self.path}: the database is damaged: {error}") from error
                raise

    def times(self) -> dict[str, np.ndarray]:
        """Time stamps (ns) by topic."""
        found: dict[str, list[int]] = {}
        for message in self.messages(set(self.topics)):
            found.setdefault(message.topic, []).append(message.time)
        return {topic: np.array(times, np.int64) for topic, times in found.items()}


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


def open_storage(path: Path, scratch: Path) -> Storage:
    """Open one file of a bag; a `.zstd` file is decompressed into the folder `scratch` first.

    Raises:
        BagError: it is missing, empty, damaged, or of no known kind.
    """
    if not path.is_file():
        raise BagError(f"{path}: the bag's file is missing")
    if path.suffix in (".zstd", ".zst"):
        plain = scratch / path.stem
        if not plain.exists():
            try:
                with path.open("rb") as source, plain.open("wb") as target:
                    reader = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
                    shutil.copyfileobj(reader, target)
            except (zstandard.ZstdError, OSError) as error:
                raise BagError(f"{path}: cannot be decompressed: {error}") from error
        path = plain
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(MAGIC) or path.suffix == ".mcap":
        return McapStorage(path)
    if head.startswith(b"SQLite format 3") or path.suffix == ".db3":
        return SqliteStorage(path)
    raise BagError(f"{path}: neither MCAP nor sqlite3 (it begins with {head[:8]!r})")
