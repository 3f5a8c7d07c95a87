# SPDX-License-Identifier: Apache-2.0
"""Mending a bag whose recorder was killed or whose disk was full: the summary and metadata.yaml are written anew.

A file is mended in place: what stands behind its last whole record (at most the one that was cut) is taken away, and
the summary that was never written is added. Chunks that are damaged stay in the file but not in its index.
"""

from __future__ import annotations

from pathlib import Path

from jepa_ros.bags import BagError
from jepa_ros.bags.mcap_file import McapFile
from jepa_ros.bags.reader import BagReader
from jepa_ros.bags.schema import definition
from jepa_ros.bags.storage import McapStorage
from jepa_ros.bags.writer import write_metadata


def repair(path: str | Path) -> list[str]:
    """Mend a bag (a folder, or one .mcap file) in place; returns what was done, a line each.

    Raises:
        BagError: it is being recorded right now, cannot be written, or holds nothing to recover.
    """
    path = Path(path)
    done = []
    with BagReader(path) as bag:
        for storage in bag.files:
            if isinstance(storage, McapStorage) and not storage.complete:
                done.append(_mend(storage))
        stale = path.is_dir() and bool(bag.problems)
    if stale:
        with BagReader(path) as bag:
            try:
                write_metadata(path, _information(bag))
            except OSError as error:
                raise BagError(f"{path}/metadata.yaml: cannot be written: {error.strerror}") from error
        done.append("metadata.yaml: written anew")
    return done


def _mend(storage: McapStorage) -> str:
    scan = storage.scan
    try:
        size = storage.path.stat().st_size
        file = McapFile.reopen(scan)
    except BlockingIOError as error:
        raise BagError(f"{storage.path}: is being recorded right now; end the recorder first") from error
    except OSError as error:
        raise BagError(f"{storage.path}: cannot be written: {error.strerror}") from error
    try:
        file.finish()
    except OSError as error:
        file.abort()
        raise BagError(f"{storage.path}: cannot be mended: {error.strerror}") from error
    count = sum(scan.counts.values())
    left_out = f", {len(scan.damaged)} damaged chunks left out" if scan.damaged else ""
    return f"{storage.path.name}: {count} messages kept, {size - scan.end} bytes behind them cut{left_out}"


def _information(bag: BagReader) -> dict:
    """The content of metadata.yaml, version 9, from what the files hold."""
    storage_identifier = "mcap" if isinstance(bag.files[0], McapStorage) else "sqlite3"
    return {
        "version": 9,
        "storage_identifier": storage_identifier,
        "duration": {"nanoseconds": bag.end - bag.start},
        "starting_time": {"nanoseconds_since_epoch": bag.start},
        "message_count": bag.message_count,
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": info.name,
                    "type": info.msgtype,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": list(info.qos),
                    "type_description_hash": info.type_hash or _hash(info.msgtype),
                },
                "message_count": info.count,
            }
            for info in bag.topics.values()
        ],
        "compression_format": "zstd" if bag.compression_mode else "",
        "compression_mode": bag.compression_mode,
        "relative_file_paths": [storage.path.name for storage in bag.files],
        "files": [
            {
                "path": storage.path.name,
                "starting_time": {"nanoseconds_since_epoch": storage.span[0]},
                "duration": {"nanoseconds": storage.span[1] - storage.span[0]},
                "message_count": sum(info.count for info in storage.topics.values()),
            }
            for storage in bag.files
        ],
        "custom_data": bag.custom_data or None,
        "ros_distro": bag.distro or "jazzy",
    }


def _hash(msgtype: str) -> str:
    try:
        return definition(msgtype).type_hash
    except BagError:
        return ""
