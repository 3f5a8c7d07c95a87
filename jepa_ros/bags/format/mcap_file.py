# SPDX-License-Identifier: Apache-2.0
"""One MCAP file, written chunk by chunk so that whatever was written stays readable if the process dies.

A `Chunk` is closed in memory, compressed, and reaches the file in one go. The file on disk is therefore always a
valid MCAP data section, except for a last record that a kill or a full disk cut; `repair.py` drops that record and
adds the summary. Schemas and channels stand outside the chunks, so that a chunk can be kept in memory (the ring buffer)
and written to any file later. Format: https://mcap.dev/spec
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import zlib
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Attachment,
    AttachmentIndex,
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from jepa_ros.bags.format.chunk import Chunk

MAGIC = b"\x89MCAP0\r\n"
CACHED_CHUNKS = 4
"""The newest chunks stay in the page cache; older ones are taken out of it once they are on the disk."""
_CHUNK_HEAD = struct.Struct("<BQQQQI")
_INDEX_HEAD = struct.Struct("<BQHI")


@dataclass
class _Written:
    """What the summary needs to know about a chunk in the file."""

    index: ChunkIndex
    counts: dict[int, int]


@dataclass
class _Tables:
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: list[_Written] = field(default_factory=list)
    attachments: list[AttachmentIndex] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)


class McapFile:
    """An MCAP file being written. Every `add_*` is on disk (in the page cache) when it returns."""

    def __init__(self, path: Path, library: str = "jepa_ros", profile: str = "ros2") -> None:
        """Create the file; it must not exist."""
        self.path = Path(path)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._lock()
        self.size = 0
        self._tables = _Tables()
        self._recent: deque[int] = deque(maxlen=CACHED_CHUNKS)
        builder = RecordBuilder()
        Header(profile, library).write(builder)
        try:
            self._append(MAGIC + builder.end())
        except OSError:
            self.abort()
            raise

    @classmethod
    def reopen(cls, found, path: Path) -> McapFile:
        """Take up a broken file behind its last whole record, so that `finish` can end it.

        Args:
            found: its McapScan.
            path: the file, or a copy of the one that was scanned.

        Raises:
            OSError: it cannot be written, or (BlockingIOError) another process is writing it.
        """
        self = cls.__new__(cls)
        self.path, self.size = path, found.end
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._lock()
        except OSError:
            self.abort()
            raise
        self._recent = deque(maxlen=CACHED_CHUNKS)
        self._tables = _Tables(
            dict(found.schemas),
            dict(found.channels),
            [_Written(chunk.index, dict(chunk.counts)) for chunk in found.chunks],
            list(found.attachments),
            list(found.metadata),
        )
        return self

    def _lock(self) -> None:
        """Mark the file as being written, for as long as it is open here; file systems without locks do without."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass

    def _append(self, *pieces: bytes) -> int:
        """Write whole records; returns their offset. `size` moves only when everything was written."""
        offset = end = self.size
        for piece in pieces:
            self._write_at(end, piece)
            end += len(piece)
        self.size = end
        return offset

    def _write_at(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            done = os.pwrite(self._fd, view, offset)
            offset += done
            view = view[done:]

    def _record(self, record) -> bytes:
        builder = RecordBuilder()
        record.write(builder)
        return builder.end()

    def add_schema(self, schema_id: int, name: str, encoding: str, data: bytes) -> None:
        """Register a message definition under `schema_id`."""
        schema = Schema(id=schema_id, name=name, encoding=encoding, data=data)
        self._append(self._record(schema))
        self._tables.schemas[schema_id] = schema

    def add_channel(
        self, channel_id: int, schema_id: int, topic: str, metadata: dict[str, str], encoding: str = "cdr"
    ) -> None:
        """Register a topic under `channel_id`."""
        channel = Channel(id=channel_id, schema_id=schema_id, topic=topic, message_encoding=encoding, metadata=metadata)
        self._append(self._record(channel))
        self._tables.channels[channel_id] = channel

    def add_metadata(self, name: str, values: dict[str, str]) -> None:
        """Write a metadata record (text to text)."""
        data = self._record(Metadata(name=name, metadata=values))
        offset = self._append(data)
        self._tables.metadata.append(MetadataIndex(offset=offset, length=len(data), name=name))

    def add_attachment(self, name: str, media_type: str, data: bytes, log_time: int = 0) -> None:
        """Write an attachment; `log_time` in ns."""
        attachment = Attachment(create_time=log_time, log_time=log_time, name=name, media_type=media_type, data=data)
        record = self._record(attachment)
        offset = self._append(record)
        self._tables.attachments.append(
            AttachmentIndex(
                offset=offset,
                length=len(record),
                create_time=log_time,
                log_time=log_time,
                data_size=len(data),
                name=name,
                media_type=media_type,
            )
        )

    def add_chunk(self, chunk: Chunk) -> None:
        """Write a chunk and its message indexes, in one go."""
        name = chunk.compression.encode()
        length = 28 + 4 + len(name) + 8 + chunk.size
        head = _CHUNK_HEAD.pack(Opcode.CHUNK, length, chunk.start, chunk.end, chunk.raw_size, chunk.crc) + struct.pack(
            f"<I{len(name)}sQ", len(name), name, chunk.size
        )
        indexes, offsets = [], {}
        chunk_length = len(head) + chunk.size
        position = self.size + chunk_length
        for channel, entries in chunk.index.items():
            flat = [value for entry in entries for value in entry]
            body = struct.pack(f"<{len(flat)}Q", *flat)
            offsets[channel] = position
            record = _INDEX_HEAD.pack(Opcode.MESSAGE_INDEX, 6 + len(body), channel, len(body)) + body
            indexes.append(record)
            position += len(record)
        offset = self._append(head, *chunk.pieces, b"".join(indexes))
        self._tables.chunks.append(
            _Written(
                ChunkIndex(
                    message_start_time=chunk.start,
                    message_end_time=chunk.end,
                    chunk_start_offset=offset,
                    chunk_length=chunk_length,
                    message_index_offsets=offsets,
                    message_index_length=self.size - offset - chunk_length,
                    compression=chunk.compression,
                    compressed_size=chunk.size,
                    uncompressed_size=chunk.raw_size,
                ),
                {channel: len(entries) for channel, entries in chunk.index.items()},
            )
        )
        self._release(offset)

    def _release(self, offset: int) -> None:
        """Let the disk begin with the chunk at `offset`, and give back the memory of those that it has.

        The same few pages serve for the whole recording then: fresh ones for every chunk cost three times the CPU time,
        push what other processes need out of the cache, and reach the disk in bursts of half a minute's data.
        """
        self._recent.append(offset)
        if hasattr(os, "posix_fadvise"):
            first = self._recent[0]
            with contextlib.suppress(OSError):  # an advice: file systems may decline it
                os.posix_fadvise(self._fd, first, self.size - first, os.POSIX_FADV_DONTNEED)

    def counts(self) -> dict[int, int]:
        """Messages written so far by channel."""
        total: dict[int, int] = {}
        for chunk in self._tables.chunks:
            for channel, count in chunk.counts.items():
                total[channel] = total.get(channel, 0) + count
        return total

    def span(self) -> tuple[int, int] | None:
        """First and last log time (ns) of the messages written so far; None when there are none."""
        chunks = [chunk.index for chunk in self._tables.chunks]
        if not chunks:
            return None
        return min(c.message_start_time for c in chunks), max(c.message_end_time for c in chunks)

    def drop_last_chunk(self) -> int:
        """Give back the room of the last chunk and of what follows it. Returns its messages; -1 if there is none."""
        if not self._tables.chunks:
            return -1
        last = self._tables.chunks.pop()
        self.size = last.index.chunk_start_offset
        self._tables.metadata = [entry for entry in self._tables.metadata if entry.offset < self.size]
        self._tables.attachments = [entry for entry in self._tables.attachments if entry.offset < self.size]
        os.ftruncate(self._fd, self.size)
        return sum(last.counts.values())

    @property
    def is_open(self) -> bool:
        """False after `finish` or `abort`."""
        return self._fd >= 0

    def finish(self) -> None:
        """Write the summary and close. After an OSError the file is still open, and `finish` may be tried again."""
        os.ftruncate(self._fd, self.size)
        self._write_at(self.size, self._ending())
        fd, self._fd = self._fd, -1
        os.close(fd)

    def abort(self) -> None:
        """Close without a summary: what was written is left as it is, for a repair."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _statistics(self) -> Statistics:
        counts, (start, end) = self.counts(), self.span() or (0, 0)
        return Statistics(
            attachment_count=len(self._tables.attachments),
            channel_count=len(self._tables.channels),
            channel_message_counts=counts,
            chunk_count=len(self._tables.chunks),
            message_count=sum(counts.values()),
            message_start_time=start,
            message_end_time=end,
            metadata_count=len(self._tables.metadata),
            schema_count=len(self._tables.schemas),
        )

    def _ending(self) -> bytes:
        """DataEnd, summary, summary offsets, footer and magic, for a data section that ends at `size`."""
        data_end = self._record(DataEnd(0))
        summary_start = self.size + len(data_end)
        tables, builder, groups = self._tables, RecordBuilder(), []
        for opcode, records in (
            (Opcode.SCHEMA, tables.schemas.values()),
            (Opcode.CHANNEL, tables.channels.values()),
            (Opcode.STATISTICS, [self._statistics()]),
            (Opcode.CHUNK_INDEX, [chunk.index for chunk in tables.chunks]),
            (Opcode.ATTACHMENT_INDEX, tables.attachments),
            (Opcode.METADATA_INDEX, tables.metadata),
        ):
            start = builder.count
            for record in records:
                record.write(builder)
            if builder.count > start:
                groups.append((opcode, start, builder.count - start))
        offset_start = summary_start + builder.count
        for opcode, start, length in groups:
            SummaryOffset(group_opcode=opcode, group_start=summary_start + start, group_length=length).write(builder)
        summary = builder.end()
        crc = zlib.crc32(summary)
        crc = zlib.crc32(struct.pack("<BQQQ", Opcode.FOOTER, 20, summary_start, offset_start), crc)
        footer = self._record(Footer(summary_start=summary_start, summary_offset_start=offset_start, summary_crc=crc))
        return data_end + summary + footer + MAGIC
