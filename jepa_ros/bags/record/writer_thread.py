# SPDX-License-Identifier: Apache-2.0
"""Between the robot's loop and the disk: a bounded queue with its writer thread, and the ring buffer. No ROS in here.

The thread that receives messages only puts a reference into the queue. When the disk or the compressor cannot keep up,
the queue reaches its bound in bytes and further messages are dropped and counted; nobody ever waits.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from jepa_ros.bags import BagError
from jepa_ros.bags.format.mcap_file import Chunk, ChunkBuilder
from jepa_ros.bags.format.schema import Definition
from jepa_ros.bags.format.writer import BagWriter, Topic, WriterConfig

QUEUE_BYTES = 256 << 20
"""Default bound of the queue: about 9 s of 640x480 rgb8 at 30 Hz."""
_OVERHEAD = 200
"""Bytes charged for a message besides its data, so that a flood of tiny messages is bounded too."""


class MessageWriter(Protocol):
    """What the writer thread needs: a BagWriter or a RingWriter."""

    def add_topic(self, name: str, msgtype: Definition, qos: list[dict]) -> Topic: ...

    def write(self, topic: Topic, log_time: int, data: bytes, publish_time: int, sequence: int) -> None: ...

    def tick(self) -> None: ...

    def close(self, report: dict | None = None) -> None: ...


class WriterThread(threading.Thread):
    """Owns a MessageWriter. `declare`, `offer` and `hand_over` are called from one other thread and never block.

    `dropped` counts by topic what found the queue full; `error` is set when the writer ended by itself (full disk).
    """

    def __init__(self, writer: MessageWriter | None, max_bytes: int = QUEUE_BYTES) -> None:
        """Take over `writer` (it may be set until `start`); `max_bytes` bounds the queue."""
        super().__init__(name="bag writer", daemon=True)
        self.writer: Any = writer
        self.max_bytes = max_bytes
        self.dropped: dict[str, int] = {}
        self.error: Exception | None = None
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        self._in = self._out = 0  # bytes; each is written by one thread only
        self._batch: list[tuple[str, int, int, bytes, int]] = []

    @property
    def pending_bytes(self) -> int:
        """Bytes in the queue now."""
        return self._in - self._out

    def declare(self, name: str, msgtype: Definition, qos: list[dict]) -> None:
        """Register a topic before its first message."""
        self.hand_over()
        self._queue.put(("topic", name, msgtype, qos))

    def offer(self, name: str, log_time: int, publish_time: int, data: bytes, sequence: int = 0) -> bool:
        """Take a message for the next `hand_over`; False (and counted) if the queue is full or the writer ended."""
        cost = len(data) + _OVERHEAD
        if self.error is not None or self._in - self._out + cost > self.max_bytes:
            self.dropped[name] = self.dropped.get(name, 0) + 1
            return False
        self._in += cost
        self._batch.append((name, log_time, publish_time, data, sequence))
        return True

    def hand_over(self) -> None:
        """Let the thread have what was offered; once for many messages, since each time wakes it up."""
        if self._batch:
            self._queue.put(("messages", self._batch))
            self._batch = []

    def finish(self, report: Callable[[], dict] | None = None) -> None:
        """Write what is queued, close the writer, end the thread. `report` is called just before the bag is closed."""
        self.hand_over()
        self._queue.put(("end", report))
        self.join()

    def run(self) -> None:
        """The thread."""
        topics: dict[str, Topic] = {}
        while True:
            try:
                item = self._queue.get(timeout=0.1)
            except queue.Empty:
                item = ("tick",)
            try:
                if item[0] == "messages":
                    for name, log_time, publish_time, data, sequence in item[1]:
                        self._out += len(data) + _OVERHEAD
                        if self.error is None:
                            self.writer.write(topics[name], log_time, data, publish_time, sequence)
                elif item[0] == "end":
                    if self.error is None:
                        self.writer.close(item[1]() if item[1] else None)
                    return
                elif self.error is None and item[0] == "topic":
                    topics[item[1]] = self.writer.add_topic(*item[1:])
                elif self.error is None:
                    self.writer.tick()
            except Exception as error:  # the receiving thread reports it and ends
                self.error = error
                if item[0] == "end":
                    return


class RingWriter:
    """Keeps the last `seconds` in memory, compressed, and writes them as a bag when `watch` names a reason.

    Attributes:
        bags: the folders written so far.
    """

    def __init__(
        self,
        folder: str | Path,
        seconds: float,
        after: float,
        watch: Callable[[str, bytes], str | None],
        config: WriterConfig | None = None,
        *,
        custom_data: dict[str, str] | None = None,
        attachments: dict[str, tuple[str, bytes]] | None = None,
        max_bytes: int = 1 << 30,
    ) -> None:
        """Start an empty ring.

        Args:
            folder: holds one bag an intervention, `<local time>_<reason>`; must not exist.
            seconds: how much is kept before an intervention.
            after: how much is written after it.
            watch: called with (topic name, CDR bytes) of every message; a text means "write now, for this reason".
            config: layout of the bags.
            custom_data: as for BagWriter.
            attachments: as for BagWriter.
            max_bytes: bound of the ring (compressed); older chunks go first.

        Raises:
            BagError: the folder exists or cannot be created.
        """
        self.folder = Path(folder)
        self.seconds, self.after, self.watch, self.max_bytes = seconds, after, watch, max_bytes
        self.config = config or WriterConfig()
        self.custom_data, self.attachments = dict(custom_data or {}), dict(attachments or {})
        self.bags: list[Path] = []
        self._topics: dict[str, Topic] = {}
        self._latched: dict[str, tuple[int, int, bytes, int]] = {}
        self._ring: deque[Chunk] = deque()
        self._ring_bytes = 0
        self._builder = ChunkBuilder(self.config.compression, self.config.level)
        self._opened = 0.0
        self._bag: BagWriter | None = None
        self._until = 0
        try:
            self.folder.mkdir(parents=True)
        except FileExistsError:
            raise BagError(f"{folder} exists already: choose another folder, or remove it first") from None
        except OSError as error:
            raise BagError(f"{folder}: cannot create the folder of the ring buffer: {error.strerror}") from error

    def add_topic(self, name: str, msgtype: Definition, qos: list[dict]) -> Topic:
        """Register a topic."""
        topic = Topic(len(self._topics) + 1, name, msgtype, tuple(qos))
        self._topics[name] = topic
        if self._bag is not None:
            self._bag.add_topic(name, msgtype, qos)
        return topic

    def write(self, topic: Topic, log_time: int, data: bytes, publish_time: int, sequence: int = 0) -> None:
        """Take one message into the ring; times in ns."""
        # A process that was held up takes a backlog in one go; the ring is measured by when things happened.
        if self._builder.count and log_time - self._builder.start > self.config.chunk_seconds * 1e9:
            self._close_chunk()
        if not self._builder.count:
            self._opened = time.monotonic()
        self._builder.add(topic.id, log_time, publish_time, data, sequence)
        if any(entry.get("durability") == "transient_local" for entry in topic.qos):
            self._latched[topic.name] = (log_time, publish_time, data, sequence)
        reason = self.watch(topic.name, data)
        if reason:
            self._fire(reason, log_time)
        elif self._builder.size >= self.config.chunk_bytes:
            self._close_chunk()
        else:
            self.tick()
        if self._bag is not None and log_time > self._until:
            self._end_bag()

    def tick(self) -> None:
        """Close the chunk if its time is up."""
        if self._builder.count and time.monotonic() - self._opened >= self.config.chunk_seconds:
            self._close_chunk()

    def _close_chunk(self) -> None:
        if not self._builder.count:
            return
        chunk = self._builder.close()
        self._ring.append(chunk)
        self._ring_bytes += chunk.size
        horizon = chunk.end - int(self.seconds * 1e9)
        while len(self._ring) > 1 and (self._ring[0].end < horizon or self._ring_bytes > self.max_bytes):
            self._ring_bytes -= self._ring.popleft().size
        if self._bag is not None:
            self._bag.write_chunk(chunk)

    def _fire(self, reason: str, log_time: int) -> None:
        self._until = log_time + int(self.after * 1e9)
        self._close_chunk()
        if self._bag is not None:
            return
        word = re.sub(r"[^A-Za-z0-9_-]+", "_", reason)[:40]
        name = f"{time.strftime('%Y%m%d-%H%M%S')}_{word}"
        path = self.folder / name
        for number in range(2, 10_000):
            if not path.exists():
                break
            path = self.folder / f"{name}_{number}"
        custom = {**self.custom_data, "jepa_ros.trigger": reason, "jepa_ros.trigger_time_ns": str(log_time)}
        bag = BagWriter(path, self.config, custom_data=custom, attachments=self.attachments)
        for topic in self._topics.values():
            bag.add_topic(topic.name, topic.definition, topic.qos)
        start = self._ring[0].start
        for topic_name, (received, publish_time, data, sequence) in self._latched.items():
            if received < start:  # latched before the ring begins: it still holds, so it opens the bag
                bag.write(bag.topics[topic_name], start, data, publish_time, sequence)
        bag.flush()
        for chunk in self._ring:
            bag.write_chunk(chunk)
        self._bag = bag
        self.bags.append(path)

    def _end_bag(self) -> None:
        self._close_chunk()
        bag, self._bag = self._bag, None
        if bag is not None:
            bag.close()

    def close(self, report: dict | None = None) -> None:
        """End the bag that is being written, if any."""
        self._close_chunk()
        bag, self._bag = self._bag, None
        if bag is not None:
            bag.close(report)
