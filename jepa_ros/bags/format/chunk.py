# SPDX-License-Identifier: Apache-2.0
"""A chunk of an MCAP file in memory: messages are collected, compressed in one go, and written to any file later."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import zstandard
from mcap.opcode import Opcode

_MESSAGE_HEAD = struct.Struct("<BQHIQQ")


@dataclass(frozen=True)
class Chunk:
    """A closed, compressed run of messages. Times in ns; `index` maps a channel to its (log time, offset) pairs.

    `pieces` are its bytes one after the other: joining megabytes would cost as much as compressing them.
    """

    start: int
    end: int
    compression: str
    pieces: tuple[bytes, ...]
    size: int
    raw_size: int
    crc: int
    index: dict[int, list[tuple[int, int]]]

    @property
    def count(self) -> int:
        """Number of messages."""
        return sum(len(entries) for entries in self.index.values())


class ChunkBuilder:
    """Collects messages and closes them into a Chunk."""

    def __init__(self, compression: str = "zstd", level: int = 1) -> None:
        """Start an empty chunk; `compression` is "zstd" or "" (none), `level` is zstd's."""
        if compression not in ("zstd", ""):
            raise ValueError(f"compression {compression!r}: expected 'zstd' or '' (none)")
        self.compression = compression
        self._compressor = zstandard.ZstdCompressor(level=level) if compression else None
        self._reset()

    def _reset(self) -> None:
        self._pieces: list[bytes] = []
        self._index: dict[int, list[tuple[int, int]]] = {}
        self.start, self._end = 2**63 - 1, 0
        self.size = 0
        self.count = 0

    def add(self, channel: int, log_time: int, publish_time: int, data: bytes, sequence: int = 0) -> None:
        """Append one message; `data` is kept by reference until `close`. Times in ns."""
        head = _MESSAGE_HEAD.pack(
            Opcode.MESSAGE, 22 + len(data), channel, sequence & 0xFFFFFFFF, log_time, publish_time
        )
        self._index.setdefault(channel, []).append((log_time, self.size))
        self._pieces += (head, data)
        self.size += len(head) + len(data)
        self.count += 1
        self.start, self._end = min(self.start, log_time), max(self._end, log_time)

    def close(self) -> Chunk:
        """Compress what was added and start anew."""
        crc, pieces = 0, []
        stream = self._compressor.compressobj(size=self.size) if self._compressor else None
        for piece in self._pieces:
            crc = zlib.crc32(piece, crc)
            pieces.append(stream.compress(piece) if stream else piece)
        if stream:
            pieces.append(stream.flush())
        size = sum(map(len, pieces))
        kept = tuple(piece for piece in pieces if piece)
        chunk = Chunk(self.start, self._end, self.compression, kept, size, self.size, crc, self._index)
        self._reset()
        return chunk
