# SPDX-License-Identifier: Apache-2.0
"""An .mcap file as a storage of a bag, whole or broken."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jepa_ros.bags.format import mcap_messages, mcap_scan
from jepa_ros.bags.format.chunk import ChunkBuilder
from jepa_ros.bags.format.mcap_file import McapFile
from jepa_ros.bags.format.storage import CDR, Channel, Message, parse_qos

CHUNK_BYTES = 4 << 20
"""Messages that stand outside chunks are put into chunks of this size: other readers find them by the index alone."""


class McapStorage:
    """An .mcap file."""

    def __init__(self, path: Path, source: Path | None = None, *, walk: bool = False) -> None:
        """Scan the file; with `walk` record by record, whatever its summary says.

        Raises:
            BagError: it is empty, not MCAP, or has no whole record.
        """
        self.path, self.source = path, source or path
        self.scan = mcap_scan.scan(path, walk=walk)
        self.complete = self.scan.complete
        self.problems = ([self.scan.problem] if self.scan.problem else []) + self.scan.damaged
        self.span = self.scan.span
        self.profile = self.scan.profile
        self.embedded = self.scan.read_metadata().get("rosbag2", {}).get("serialized_metadata", "")
        counts = self.scan.counts
        self.channels = [self._describe(channel, counts.get(channel.id, 0)) for channel in self.scan.channels.values()]

    def _describe(self, channel, count: int) -> Channel:
        schema = self.scan.schemas.get(channel.schema_id)
        return Channel(
            channel.topic,
            schema.name if schema else "",
            count,
            schema.data.decode("utf-8", "replace") if schema else "",
            schema.encoding if schema else "",
            channel.metadata.get("topic_type_hash", ""),
            tuple(parse_qos(channel.metadata.get("offered_qos_profiles", ""))),
            channel.message_encoding or CDR,
        )

    def messages(self, topics: set[str], start: int | None = None, stop: int | None = None) -> Iterator[Message]:
        """Messages of `topics` in the order of their log time, each with the type of its own channel."""
        schemas = self.scan.schemas
        names = {
            c.id: (c.topic, schemas[c.schema_id].name if c.schema_id in schemas else "")
            for c in self.scan.channels.values()
            if c.topic in topics
        }
        for time, channel, publish, sequence, data in mcap_messages.messages(self.scan, set(names), start, stop):
            yield Message(*names[channel], time, publish, sequence, data)

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
                    for channel, _, log_time, _, _ in mcap_messages.inside(self.path, chunk.index, file):
                        found.setdefault(channel, []).append(np.array([log_time], np.int64))
        for log_time, _, _, channel in self.scan.loose:
            found.setdefault(channel, []).append(np.array([log_time], np.int64))
        by_topic: dict[str, list[np.ndarray]] = {}
        for channel, pieces in found.items():
            by_topic.setdefault(self.scan.channels[channel].topic, []).extend(pieces)
        return {topic: np.concatenate(pieces) for topic, pieces in by_topic.items()}

    # ------------------------------------------------------------------ mending
    def mend(self, target: Path) -> str:
        """Write the file with the summary that it lacks; returns what was done.

        What stands up to the last whole record is copied as it is. Chunks that are damaged stay in the file but not in
        its index.

        Raises:
            BlockingIOError: another process is writing the file. OSError: the disk refuses.
        """
        size = self.path.stat().st_size
        if self.scan.loose:
            self._rewrite(target)
        else:
            shutil.copyfile(self.path, target)
            file = McapFile.reopen(self.scan, target)
            try:
                file.finish()
            except OSError:
                file.abort()
                raise
        left_out = f", {len(self.scan.damaged)} damaged chunks left out" if self.scan.damaged else ""
        return f"{sum(self.scan.counts.values())} messages kept, {size - self.scan.end} bytes behind them cut{left_out}"

    def _rewrite(self, target: Path) -> None:
        """Write all that was found anew, with every message in a chunk."""
        scan = self.scan
        file = McapFile(target, scan.library, scan.profile)
        try:
            for name, values in scan.read_metadata().items():
                file.add_metadata(name, values)
            for name, (media_type, data) in scan.read_attachments().items():
                file.add_attachment(name, media_type, data)
            for schema in scan.schemas.values():
                file.add_schema(schema.id, schema.name, schema.encoding, schema.data)
            for channel in scan.channels.values():
                described = channel.schema_id, channel.topic, channel.metadata, channel.message_encoding
                file.add_channel(channel.id, *described)
            builder = ChunkBuilder()
            for time, number, publish, sequence, data in mcap_messages.messages(scan, set(scan.channels)):
                builder.add(number, time, publish, data, sequence)
                if builder.size >= CHUNK_BYTES:
                    file.add_chunk(builder.close())
            if builder.count:
                file.add_chunk(builder.close())
            file.finish()
        except BaseException:
            file.abort()
            raise
