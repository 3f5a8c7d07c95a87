# SPDX-License-Identifier: Apache-2.0
"""Opening one file of a bag: whole-file compression is undone, and the format is told from the first bytes."""

from __future__ import annotations

from pathlib import Path

import zstandard

from jepa_ros.bags import BagError
from jepa_ros.bags.format.mcap_file import MAGIC
from jepa_ros.bags.format.mcap_storage import McapStorage
from jepa_ros.bags.format.sqlite_storage import SqliteStorage
from jepa_ros.bags.format.storage import Storage

ZSTD = (".zstd", ".zst")
"""Endings of compressed files; rosbag2 writes the first."""
BLOCK = 1 << 20


def is_packed(path: Path) -> bool:
    """Whether the file is compressed as a whole, by its name."""
    return path.suffix in ZSTD


def plain_name(name: str) -> str:
    """A file's name without the ending of its compression."""
    return next((name.removesuffix(ending) for ending in ZSTD if name.endswith(ending)), name)


def open_storage(path: Path, scratch: Path, *, thorough: bool = False) -> Storage:
    """Open one file of a bag; what has to be unpacked goes into the folder `scratch`.

    Args:
        thorough: look behind what the file says of itself (a summary, an index): for files that fail where they are
            read.

    Raises:
        BagError: it is missing, empty, damaged, or of no known kind.
    """
    if not path.is_file():
        raise BagError(f"{path}: the bag's file is missing")
    plain, problem = path, ""
    if is_packed(path):
        plain = scratch / path.stem
        problem = unpack(path, plain)
        if problem and not plain.stat().st_size:
            raise BagError(f"{path}: {problem}; nothing of it can be read")
    with plain.open("rb") as file:
        head = file.read(16)
    storage: Storage
    if head.startswith(MAGIC) or plain.suffix == ".mcap":
        storage = McapStorage(plain, path, walk=thorough)
    elif head.startswith(b"SQLite format 3") or plain.suffix == ".db3":
        storage = SqliteStorage(plain, path, scratch, thorough=thorough)
    elif head.startswith(b"#ROSBAG"):
        raise BagError(f"{path}: a bag of ROS 1; `rosbags-convert --src {path} --dst FOLDER` makes one of ROS 2 of it")
    else:
        raise BagError(f"{path}: neither MCAP nor sqlite3 (it begins with {head[:8]!r})")
    if problem:
        storage.problems.insert(0, problem)
        storage.complete = False
    return storage


def unpack(path: Path, target: Path) -> str:
    """Decompress a file as far as it goes; returns what is wrong with it, '' for a whole one.

    Raises:
        BagError: it cannot be read, or its content cannot be written.
    """
    read, problem = 0, ""
    try:
        with path.open("rb") as source, target.open("wb") as out:
            frame, left = zstandard.ZstdDecompressor().decompressobj(), b""
            while True:
                block = left or source.read(BLOCK)
                if not block:
                    break
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                try:
                    out.write(frame.decompress(block))
                except zstandard.ZstdError as error:
                    problem = f"byte {read}: cannot be decompressed from there on: {error}"
                    break
                left = frame.unused_data if frame.eof else b""
                read += len(block) - len(left)
            if not problem and not frame.eof:
                problem = f"byte {read}: the file ends inside a compressed frame" if read else "the file is empty"
    except OSError as error:
        raise BagError(f"{path}: cannot be unpacked: {error.strerror or error}") from error
    return problem


def pack(path: Path, target: Path) -> None:
    """Compress a file as rosbag2 does: one zstd frame."""
    with path.open("rb") as source, target.open("wb") as out:
        zstandard.ZstdCompressor(level=1).copy_stream(source, out, size=path.stat().st_size)
