# SPDX-License-Identifier: Apache-2.0
"""Between the robot's loop and the disk: a bounded queue with its writer thread. No ROS in here.

The thread that receives messages only puts a reference into the queue. When the disk or the compressor cannot keep up,
the queue reaches its bound in bytes and further messages are dropped and counted; nobody ever waits.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

from jepa_ros.bags.format.contents import Topic
from jepa_ros.bags.format.schema import Definition

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
