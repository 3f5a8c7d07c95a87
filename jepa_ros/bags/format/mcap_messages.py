# SPDX-License-Identifier: Apache-2.0
"""The messages of an MCAP file: chunks decompressed and checked, and merged in the order of their log times."""

from __future__ import annotations

import heapq
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import zstandard
from mcap.opcode import Opcode
from mcap.records import ChunkIndex

from jepa_ros.bags import BagError

if TYPE_CHECKING:
    from jepa_ros.bags.format.mcap_scan import McapScan

_MESSAGE = struct.Struct("<HIQQ")
_HEAD = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQI")


def load(path: Path, index: ChunkIndex, file) -> bytes:
    """The records inside a chunk, decompressed and checked.

    Raises:
        BagError: it is cut, damaged or of an unknown compression; says at which byte it begins.
    """
    at = f"{path}: byte {index.chunk_start_offset}: "
    file.seek(index.chunk_start_offset + 9)
    try:
        _, _, raw_size, crc = _CHUNK.unpack(file.read(28))
        (name_length,) = struct.unpack("<I", file.read(4))
        compression = file.read(name_length).decode()
        (stored,) = struct.unpack("<Q", file.read(8))
    except (struct.error, UnicodeDecodeError) as error:
        raise BagError(f"{at}the chunk is cut") from error
    data = file.read(stored)
    if len(data) != stored:
        raise BagError(f"{at}the chunk is cut ({len(data)} of {stored} bytes)")
    try:
        if compression == "zstd":
            data = zstandard.ZstdDecompressor().decompress(data, max_output_size=raw_size)
        elif compression == "lz4":
            import lz4.frame

            data = lz4.frame.decompress(data)
        elif compression:
            raise BagError(f"{at}the chunk's compression {compression!r} is unknown; expected zstd, lz4 or none")
    except (zstandard.ZstdError, RuntimeError, MemoryError) as error:
        raise BagError(f"{at}the chunk is damaged: {error}") from error
    if len(data) != raw_size:
        raise BagError(f"{at}the chunk is damaged: {len(data)} bytes inside, its head says {raw_size}")
    if crc and zlib.crc32(data) != crc:
        raise BagError(f"{at}the chunk is damaged: its checksum does not fit")
    return data


def records(raw: bytes) -> Iterator[tuple[int, memoryview]]:
    """The (opcode, body) of the records inside a chunk."""
    view, position = memoryview(raw), 0
    while position < len(raw):
        opcode, length = _HEAD.unpack_from(raw, position)
        position += 9
        if position + length > len(raw):
            raise ValueError("a record reaches beyond its chunk")
        yield opcode, view[position : position + length]
        position += length


def inside(path: Path, index: ChunkIndex, file) -> Iterator[tuple[int, int, int, int, memoryview]]:
    """The messages in a chunk as they stand: (channel id, sequence, log time, publish time, bytes).

    Raises:
        BagError: it is damaged (without a checksum that shows only here); says at which byte it begins.
    """
    try:
        for opcode, body in records(load(path, index, file)):
            if opcode == Opcode.MESSAGE:
                yield *_MESSAGE.unpack_from(body), body[22:]
    except (struct.error, ValueError) as error:
        raise BagError(f"{path}: byte {index.chunk_start_offset}: the chunk is damaged: {error}") from error


def messages(
    found: McapScan, channels: set[int], start: int | None = None, stop: int | None = None
) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Messages in the order of their log time: (log time, channel id, publish time, sequence, CDR bytes).

    Memory holds the chunks that overlap in time, not the file. `start` <= log time < `stop`, in ns.

    Raises:
        BagError: a chunk is damaged; says at which byte it begins.
    """
    low, high = (0 if start is None else start), (2**63 if stop is None else stop)
    sources: list[tuple[int, int, ChunkIndex]] = sorted(
        (
            (chunk.index.message_start_time, number, chunk.index)
            for number, chunk in enumerate(found.chunks)
            if chunk.index.message_end_time >= low
            and chunk.index.message_start_time < high
            and not channels.isdisjoint(chunk.counts)
        ),
        key=lambda source: source[:2],
    )
    loose = sorted(entry for entry in found.loose if low <= entry[0] < high and entry[3] in channels)
    heap: list[tuple[int, int, int, int, int, bytes]] = []
    serial, at_loose = 0, 0
    with found.path.open("rb") as file:
        for position in range(len(sources) + 1):
            if position < len(sources):
                index = sources[position][2]
                for channel, sequence, log_time, publish_time, body in inside(found.path, index, file):
                    if channel in channels and low <= log_time < high:
                        heapq.heappush(heap, (log_time, serial, channel, publish_time, sequence, bytes(body)))
                        serial += 1
            limit = sources[position + 1][0] if position + 1 < len(sources) else 2**63
            while True:
                if at_loose < len(loose) and (not heap or loose[at_loose][0] < heap[0][0]):
                    log_time, offset, length, channel = loose[at_loose]
                    if log_time >= limit:
                        break
                    at_loose += 1
                    file.seek(offset)
                    record = file.read(length)
                    _, sequence, _, publish_time = _MESSAGE.unpack_from(record)
                    yield log_time, channel, publish_time, sequence, record[22:]
                elif heap and heap[0][0] < limit:
                    log_time, _, channel, publish_time, sequence, data = heapq.heappop(heap)
                    yield log_time, channel, publish_time, sequence, data
                else:
                    break
