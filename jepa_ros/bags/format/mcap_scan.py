# SPDX-License-Identifier: Apache-2.0
"""One MCAP file, read: by its summary where it has one, by walking its records where it has not (killed, cut, growing).

This is the place that knows how far a broken file can be trusted: `McapScan.end` is the byte behind the last whole
record, `problem` says in words what stands there, `damaged` names the chunks before it that had to be left out.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import (
    Attachment,
    AttachmentIndex,
    Channel,
    ChunkIndex,
    Footer,
    Header,
    Metadata,
    MetadataIndex,
    Schema,
)

from jepa_ros.bags import BagError
from jepa_ros.bags.format.mcap_file import MAGIC
from jepa_ros.bags.format.mcap_messages import load, records

_MESSAGE = struct.Struct("<HIQQ")
_HEAD = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQI")
_BROKEN = (struct.error, IndexError, ValueError, UnicodeDecodeError, KeyError, McapError)


@dataclass
class ChunkEntry:
    """A chunk in the file: where it is, what it holds. `counts` by channel id."""

    index: ChunkIndex
    counts: dict[int, int]


@dataclass
class McapScan:
    """What stands in an MCAP file. `loose` are messages outside chunks: (log time, offset, length, channel).

    `profile` and `library` are those of its header. `complete` is False where the file has no end, or a broken one.
    """

    path: Path
    profile: str = ""
    library: str = ""
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: list[ChunkEntry] = field(default_factory=list)
    loose: list[tuple[int, int, int, int]] = field(default_factory=list)
    attachments: list[AttachmentIndex] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    complete: bool = True
    end: int = 0
    problem: str | None = None

    @property
    def counts(self) -> dict[int, int]:
        """Messages by channel id."""
        total: dict[int, int] = {}
        for chunk in self.chunks:
            for channel, count in chunk.counts.items():
                total[channel] = total.get(channel, 0) + count
        for entry in self.loose:
            total[entry[3]] = total.get(entry[3], 0) + 1
        return total

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last log time in ns; None without messages."""
        filled = [chunk.index for chunk in self.chunks if chunk.counts]
        starts = [c.message_start_time for c in filled] + [entry[0] for entry in self.loose]
        ends = [c.message_end_time for c in filled] + [entry[0] for entry in self.loose]
        return (min(starts), max(ends)) if starts else None

    def read_metadata(self) -> dict[str, dict[str, str]]:
        """The metadata records, by name; of several with one name the last."""
        found = {}
        with self.path.open("rb") as file:
            for entry in self.metadata:
                file.seek(entry.offset + 9)
                with contextlib.suppress(*_BROKEN, EOFError):  # a damaged one says nothing
                    record = Metadata.read(ReadDataStream(BytesIO(file.read(entry.length - 9))))
                    found[record.name] = dict(record.metadata)
        return found

    def read_attachments(self) -> dict[str, tuple[str, bytes]]:
        """The attachments: name -> (media type, bytes)."""
        found = {}
        with self.path.open("rb") as file:
            for entry in self.attachments:
                file.seek(entry.offset + 9)
                with contextlib.suppress(*_BROKEN, EOFError):
                    record = Attachment.read(ReadDataStream(BytesIO(file.read(entry.length - 9))))
                    found[record.name] = (record.media_type, record.data)
        return found


def scan(path: str | Path, *, walk: bool = False) -> McapScan:
    """Read what the file holds.

    Args:
        path: an .mcap file.
        walk: ignore the summary and walk the records.

    Raises:
        BagError: it is empty, not MCAP, or has no whole record.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            magic = file.read(8)
            if not magic:
                raise BagError(f"{path}: the file is empty")
            if magic != MAGIC:
                raise BagError(f"{path}: byte 0: not an MCAP file (it begins with {magic!r})")
            found = None if walk else _from_summary(path, file)
            if found is None:
                found = _walk(path, file)
            file.seek(17)
            with contextlib.suppress(*_BROKEN, EOFError):
                header = Header.read(ReadDataStream(file))
                found.profile, found.library = header.profile, header.library
            return found
    except OSError as error:
        raise BagError(f"{path}: cannot be read: {error.strerror or error}") from error


def _from_summary(path: Path, file) -> McapScan | None:
    """The scan from the summary section; None when it is missing, damaged or does not cover the messages."""
    size = file.seek(0, 2)
    if size < 8 + 37:
        return None
    file.seek(size - 8)
    if file.read(8) != MAGIC:
        return None
    try:
        file.seek(0)
        summary = SeekingReader(file, validate_crcs=True).get_summary()
    except (*_BROKEN, OSError, EOFError):
        return None
    if summary is None or summary.statistics is None:
        return None
    found = McapScan(path, schemas=dict(summary.schemas), channels=dict(summary.channels), end=size)
    found.attachments, found.metadata = list(summary.attachment_indexes), list(summary.metadata_indexes)
    for index in sorted(summary.chunk_indexes, key=lambda c: c.chunk_start_offset):
        if _end(index) > size:
            return None
        counts = _counts_from_offsets(index)
        if counts is None:
            return None
        found.chunks.append(ChunkEntry(index, counts))
    return found if sum(found.counts.values()) == summary.statistics.message_count else None


def _counts_from_offsets(index: ChunkIndex) -> dict[int, int] | None:
    """Messages by channel from the lengths of the message indexes behind a chunk (15 bytes + 16 a message each)."""
    offsets = sorted((offset, channel) for channel, offset in index.message_index_offsets.items())
    if not offsets:
        return None
    ends = [offset for offset, _ in offsets[1:]]
    ends.append(_end(index))
    return {channel: (end - offset - 15) // 16 for (offset, channel), end in zip(offsets, ends, strict=True)}


def _walk(path: Path, file) -> McapScan:
    found = McapScan(path, complete=False, end=8)
    size = file.seek(0, 2)
    while True:
        offset = found.end
        file.seek(offset)
        head = file.read(9)
        if len(head) < 9:
            if size == offset:
                found.problem = f"byte {offset}: the file ends without a summary"
            else:
                found.problem = f"byte {offset}: the file ends inside a record"
            break
        opcode, length = _HEAD.unpack(head)
        if offset + 9 + length > size:
            found.problem = f"byte {offset}: the file ends inside a record ({size - offset} of {length + 9} bytes)"
            break
        try:
            if opcode == Opcode.DATA_END:
                found.complete = _has_ending(file, size)
                if not found.complete:
                    found.problem = f"byte {offset}: the summary is missing or damaged"
                break
            if opcode > Opcode.DATA_END or opcode == 0:
                found.problem = f"byte {offset}: not a record (opcode {opcode:#04x})"
                break
            _take(found, file, opcode, offset, length)
        except BagError as error:
            found.problem = str(error).removeprefix(f"{path}: ")
            break
        except _BROKEN as error:
            found.problem = f"byte {offset}: damaged record (opcode {opcode:#04x}): {error}"
            break
        found.end = offset + 9 + length
    if found.end == 8:
        raise BagError(f"{path}: {found.problem}; no whole record in it")
    for chunk in list(found.chunks):
        if any(channel not in found.channels for channel in chunk.counts):
            found.chunks.remove(chunk)
            found.damaged.append(f"byte {chunk.index.chunk_start_offset}: a chunk whose topics are declared nowhere")
    found.complete = found.complete and not found.damaged
    return found


def _has_ending(file, size: int) -> bool:
    """Whether a footer ends the file and the summary before it is as it was written.

    A summary may lack the indexes that would spare the walk, or be missing altogether: both are valid MCAP.
    """
    file.seek(max(0, size - 37))
    tail = file.read(37)
    if len(tail) < 37 or tail[29:] != MAGIC or _HEAD.unpack_from(tail) != (Opcode.FOOTER, 20):
        return False
    footer = Footer.read(ReadDataStream(BytesIO(tail[9:29])))
    if not footer.summary_start:
        return True
    if footer.summary_start > size - 37:
        return False
    file.seek(footer.summary_start)
    summary = file.read(size - 37 - footer.summary_start)
    return not footer.summary_crc or zlib.crc32(tail[:25], zlib.crc32(summary)) == footer.summary_crc


def _end(index: ChunkIndex) -> int:
    """The byte behind a chunk and its message indexes."""
    return index.chunk_start_offset + index.chunk_length + index.message_index_length


def _take(found: McapScan, file, opcode: int, offset: int, length: int) -> None:
    """Take one record (the file stands behind its head) into `found`."""
    if opcode == Opcode.CHUNK:
        start, end, raw_size, _ = _CHUNK.unpack(file.read(28))
        (name_length,) = struct.unpack("<I", file.read(4))
        compression = file.read(name_length).decode()
        (stored,) = struct.unpack("<Q", file.read(8))
        index = ChunkIndex(
            message_start_time=start,
            message_end_time=end,
            chunk_start_offset=offset,
            chunk_length=9 + length,
            message_index_offsets={},
            message_index_length=0,
            compression=compression,
            compressed_size=stored,
            uncompressed_size=raw_size,
        )
        entry = ChunkEntry(index, {})
        try:
            _count_inside(found, entry, load(found.path, index, file))
            found.chunks.append(entry)
        except (BagError, *_BROKEN) as error:
            found.damaged.append(str(error).removeprefix(f"{found.path}: "))
        return
    if opcode == Opcode.MESSAGE_INDEX:
        (channel,) = struct.unpack("<H", file.read(2))
        if found.chunks and _end(found.chunks[-1].index) == offset:
            index = found.chunks[-1].index
            index.message_index_offsets[channel] = offset
            index.message_index_length = offset + 9 + length - index.chunk_start_offset - index.chunk_length
        return
    if opcode == Opcode.MESSAGE:
        channel, _, log_time, _ = _MESSAGE.unpack(file.read(22))
        found.loose.append((log_time, offset + 9, length, channel))
        return
    if opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
        _declare(found, opcode, file.read(length))
    elif opcode == Opcode.METADATA:
        record = Metadata.read(ReadDataStream(BytesIO(file.read(length))))
        found.metadata.append(MetadataIndex(offset=offset, length=9 + length, name=record.name))
    elif opcode == Opcode.ATTACHMENT:
        record = Attachment.read(ReadDataStream(BytesIO(file.read(length))))
        found.attachments.append(
            AttachmentIndex(
                offset=offset, length=9 + length, create_time=record.create_time, log_time=record.log_time,
                data_size=len(record.data), name=record.name, media_type=record.media_type,
            )
        )  # fmt: skip


def _declare(found: McapScan, opcode: int, body: bytes | memoryview) -> None:
    stream = ReadDataStream(BytesIO(body))
    if opcode == Opcode.SCHEMA:
        schema = Schema.read(stream)
        found.schemas[schema.id] = schema
    else:
        channel = Channel.read(stream)
        found.channels[channel.id] = channel


def _count_inside(found: McapScan, entry: ChunkEntry, raw: bytes) -> None:
    """Count a chunk's messages and take the schemas and channels that stand inside it."""
    for opcode, body in records(raw):
        if opcode == Opcode.MESSAGE:
            (channel,) = struct.unpack_from("<H", body)
            entry.counts[channel] = entry.counts.get(channel, 0) + 1
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            _declare(found, opcode, body)
