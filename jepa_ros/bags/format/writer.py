# SPDX-License-Identifier: Apache-2.0
"""The one place that writes bags: a rosbag2 folder of MCAP files with its metadata.yaml.

Chunks are closed by time as well as by size, so that a process killed with -9 loses at most the chunk it was filling.
metadata.yaml (version 9, as Jazzy writes it) is written when the bag is opened and renewed while it grows. A disk that
fills up ends the bag: the last chunks are given back until the summary fits, and the error says what is missing.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import jepa_ros
from jepa_ros.bags import BagError
from jepa_ros.bags.format.chunk import Chunk, ChunkBuilder
from jepa_ros.bags.format.contents import Done, FileInfo, Topic, metadata_of
from jepa_ros.bags.format.mcap_file import McapFile
from jepa_ros.bags.format.metadata import metadata_text, write_metadata
from jepa_ros.bags.format.schema import Definition, definition, qos_text

CHUNK_SECONDS = 0.4
"""A chunk is closed after this long: with the time to compress it, the loss under kill -9 stays below a second."""
CHUNK_BYTES = 4 << 20
METADATA_SECONDS = 2.0
"""metadata.yaml is renewed no more often than this while the bag grows."""


@dataclass
class WriterConfig:
    """How a bag is laid out. Sizes in bytes, times in seconds; 0 means no limit."""

    compression: str = "zstd"
    level: int = 1
    chunk_bytes: int = CHUNK_BYTES
    chunk_seconds: float = CHUNK_SECONDS
    max_file_bytes: int = 0
    max_file_seconds: float = 0.0
    min_free_bytes: int = 64 << 20
    """The recording ends when the disk has less than this left: a robot's other processes need room too."""
    ros_distro: str = "jazzy"


class BagWriter:
    """A bag being written. Not thread-safe: one thread calls it.

    `close` ends a bag that is whole, `abort` one that is not (its file stays without a summary and can be repaired).
    As a context manager it closes, or aborts when the block raised.
    """

    def __init__(
        self,
        path: str | Path,
        config: WriterConfig | None = None,
        *,
        custom_data: dict[str, str] | None = None,
        attachments: dict[str, tuple[str, bytes]] | None = None,
    ) -> None:
        """Create the folder and its first file.

        Args:
            path: folder of the bag; must not exist.
            config: layout.
            custom_data: texts for metadata.yaml; repeated as MCAP metadata `jepa_ros` in every file.
            attachments: name -> (media type, bytes), put into every file.

        Raises:
            BagError: the folder exists or cannot be created.
        """
        self.path = Path(path)
        self.config = config or WriterConfig()
        self.custom_data = dict(custom_data or {})
        self.attachments = dict(attachments or {})
        self.topics: dict[str, Topic] = {}
        self._schemas: dict[str, int] = {}
        self._done = Done()
        self._builder = ChunkBuilder(self.config.compression, self.config.level)
        self._chunk_opened = 0.0
        self._metadata_written = 0.0
        self._metadata_stale = False
        self.closed = False
        try:
            self.path.mkdir(parents=True)
        except FileExistsError:
            raise BagError(f"{self.path} exists already: choose another folder, or remove it first") from None
        except OSError as error:
            raise BagError(f"{self.path}: cannot create the folder of the bag: {error.strerror}") from error
        try:
            self._file: McapFile | None = self._open_file()
            self._write_metadata()
        except OSError as error:
            raise BagError(f"{self.path}: cannot start the bag: {error.strerror}") from error

    # ------------------------------------------------------------------ topics and messages
    def add_topic(self, name: str, msgtype: str | Definition, qos: list[dict] | tuple[dict, ...] = ()) -> Topic:
        """Register a topic; the same name and type again gives the topic that is there.

        Raises:
            BagError: the name is there with another type, or the type has no definition.
        """
        described = msgtype if isinstance(msgtype, Definition) else definition(msgtype)
        known = self.topics.get(name)
        if known is not None:
            if known.msgtype != described.msgtype:
                raise BagError(f"{self.path}: topic {name} is {known.msgtype} here, not {described.msgtype}")
            return known
        topic = Topic(len(self.topics) + 1, name, described, tuple(qos))
        self.topics[name] = topic
        self._guard(lambda: self._declare(self._open, topic))
        self._metadata_stale = True
        return topic

    def write(
        self, topic: Topic, log_time: int, data: bytes, publish_time: int | None = None, sequence: int = 0
    ) -> None:
        """Append one serialised (CDR) message. Times in ns.

        Raises:
            BagError: the disk refuses; the bag is then closed, and readable as far as it goes.
        """
        self._check_open()
        if not self._builder.count:
            self._chunk_opened = time.monotonic()
        self._builder.add(topic.id, log_time, log_time if publish_time is None else publish_time, data, sequence)
        if self._builder.size >= self.config.chunk_bytes:
            self.flush()
        else:
            self.tick()

    def tick(self) -> None:
        """Close the chunk if its time is up. Call it at least every 0.1 s while no message comes."""
        if self._builder.count and time.monotonic() - self._chunk_opened >= self.config.chunk_seconds:
            self.flush()
        elif self._metadata_stale and time.monotonic() - self._metadata_written >= METADATA_SECONDS:
            self._guard(self._write_metadata)

    def flush(self) -> None:
        """Close the chunk now and write it."""
        if self._builder.count:
            self.write_chunk(self._builder.close())

    def write_chunk(self, chunk: Chunk) -> None:
        """Write a chunk that was closed elsewhere; its channels must be topics of this bag."""
        self._check_open()
        self._guard(lambda: self._write_chunk(chunk), pending=chunk.count)

    def _write_chunk(self, chunk: Chunk) -> None:
        config = self.config
        if config.min_free_bytes:
            free = os.statvfs(self.path)
            if free.f_bavail * free.f_frsize < config.min_free_bytes + chunk.size:
                raise OSError(28, f"less than {config.min_free_bytes / 1e6:.0f} MB left on the disk")
        span = self._open.span()
        if span is not None and (
            (config.max_file_bytes and self._open.size + chunk.size > config.max_file_bytes)
            or (config.max_file_seconds and chunk.end - span[0] > config.max_file_seconds * 1e9)
        ):
            self.split()
        self._open.add_chunk(chunk)
        self._metadata_stale = True
        if time.monotonic() - self._metadata_written >= METADATA_SECONDS:
            self._write_metadata()

    @property
    def counts(self) -> dict[str, int]:
        """Messages by topic, those of the open chunk left out."""
        counts = dict(self._done.counts)
        if self._file is not None:
            for channel, count in self._file.counts().items():
                counts[channel] = counts.get(channel, 0) + count
        return {topic.name: counts.get(topic.id, 0) for topic in self.topics.values()}

    @property
    def size(self) -> int:
        """Bytes of all files so far."""
        return sum(path.stat().st_size for path in self.path.glob("*.mcap"))

    # ------------------------------------------------------------------ files
    def _open_file(self) -> McapFile:
        name = f"{self.path.name}_{len(self._done.files)}.mcap"
        file = McapFile(self.path / name, f"jepa_ros {jepa_ros.__version__}")
        try:
            if self.custom_data:
                file.add_metadata("jepa_ros", self.custom_data)
            for key, (media_type, data) in self.attachments.items():
                file.add_attachment(key, media_type, data, time.time_ns())
            declared: set[str] = set()
            for topic in self.topics.values():
                self._declare(file, topic, declared)
        except OSError:
            file.abort()
            raise
        return file

    def _declare(self, file: McapFile, topic: Topic, declared: set[str] | None = None) -> None:
        """Write a topic's channel, and its schema where `declared` (default: the whole bag so far) lacks it."""
        new_type = topic.msgtype not in self._schemas
        schema = self._schemas.setdefault(topic.msgtype, len(self._schemas) + 1)
        if new_type or (declared is not None and topic.msgtype not in declared):
            text = topic.definition
            file.add_schema(schema, text.msgtype, text.encoding, text.text.encode())
        if declared is not None:
            declared.add(topic.msgtype)
        metadata = {"offered_qos_profiles": qos_text(list(topic.qos))}
        if topic.definition.type_hash:
            metadata["topic_type_hash"] = topic.definition.type_hash
        file.add_channel(topic.id, schema, topic.name, metadata)

    @property
    def _open(self) -> McapFile:
        """The file that is being written."""
        if self._file is None:
            raise BagError(f"{self.path}: the bag is closed")
        return self._file

    def _info(self) -> FileInfo:
        start, end = self._open.span() or (0, 0)
        return FileInfo(self._open.path.name, start, end, sum(self._open.counts().values()))

    def _retire(self) -> None:
        """Take the finished file into the totals."""
        self._done.files.append(self._info())
        for channel, count in self._open.counts().items():
            self._done.counts[channel] = self._done.counts.get(channel, 0) + count
        self._file = None

    def split(self) -> None:
        """Finish this file and go on in the next one."""
        self._open.add_metadata("rosbag2", {"serialized_metadata": self._metadata_text()})
        self._open.finish()
        self._retire()
        self._file = self._open_file()

    # ------------------------------------------------------------------ metadata.yaml
    def _metadata(self) -> dict:
        files = [*self._done.files, *([self._info()] if self._file is not None else [])]
        counts = self.counts
        return metadata_of(files, self.topics.values(), counts, self.custom_data, self.config.ros_distro)

    def _metadata_text(self) -> str:
        return metadata_text(self._metadata())

    def _write_metadata(self) -> None:
        write_metadata(self.path, self._metadata())
        self._metadata_written, self._metadata_stale = time.monotonic(), False

    # ------------------------------------------------------------------ the end
    def close(self, report: dict | None = None) -> None:
        """Write what is pending, the summary and metadata.yaml; `report` goes into custom_data (REPORT_KEY).

        Raises:
            BagError: the disk refuses; the bag is readable as far as the error says.
        """
        if self.closed:
            return
        self.flush()
        if report is not None:
            self._remember(report)
        self._guard(self._finish)

    def _remember(self, report: dict) -> None:
        from jepa_ros.bags import REPORT_KEY

        self.custom_data[REPORT_KEY] = json.dumps(report, sort_keys=True)

    def _finish(self) -> None:
        self._open.add_metadata("rosbag2", {"serialized_metadata": self._metadata_text()})
        self._open.finish()
        self._retire()
        self.closed = True
        self._write_metadata()

    def abort(self) -> None:
        """Close after an error: nothing more is written."""
        if not self.closed and self._file is not None:
            self._file.abort()
        self.closed = True

    def _check_open(self) -> None:
        if self.closed:
            raise BagError(f"{self.path}: the bag is closed")

    def _guard(self, action, pending: int = 0) -> None:
        """Run `action`; when the disk refuses, close the bag readable and say so."""
        try:
            action()
        except OSError as error:
            lost = pending + self._builder.count + self._rescue()
            raise BagError(
                f"{self.path}: recording ended, the disk refused: {error.strerror or error}. The bag is readable with "
                f"{sum(info.count for info in self._done.files)} messages; the last {lost} are lost"
            ) from error

    def _rescue(self) -> int:
        """End the bag on a disk that is full, giving back chunks until the ending fits. Returns messages dropped."""
        dropped = 0
        self.closed = True
        while True:
            file = self._file
            try:
                self._write_metadata()
                if file is not None:
                    file.finish()
                    self._retire()
                return dropped
            except OSError as error:
                if file is not None and (count := file.drop_last_chunk()) >= 0:
                    dropped += count
                    continue
                if file is not None:
                    file.abort()
                raise BagError(
                    f"{self.path}: the disk is full and the bag could not be ended: free some room, then run "
                    f"`jepa-ros info --repair {self.path}`"
                ) from error

    def __enter__(self) -> BagWriter:
        """Use as a context manager."""
        return self

    def __exit__(self, kind, value, trace) -> None:
        """Close, or abort after an exception."""
        if kind is None:
            self.close()
        else:
            self.abort()
