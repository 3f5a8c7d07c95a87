# SPDX-License-Identifier: Apache-2.0
"""The ring buffer: the last seconds in memory, written as a bag when the gate intervenes. No ROS in here."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from jepa_ros.bags import BagError
from jepa_ros.bags.format.chunk import Chunk, ChunkBuilder
from jepa_ros.bags.format.contents import Topic
from jepa_ros.bags.format.schema import Definition
from jepa_ros.bags.format.writer import BagWriter, WriterConfig


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


def gate_watch(topic: str, modes: set[str]):
    """A RingWriter watch: names the gate's mode when it enters one of `modes` on `topic` (DiagnosticArray)."""
    last: list[str | None] = [None]

    def watch(name: str, data: bytes) -> str | None:
        if name != topic:
            return None
        mode = gate_mode(data)
        entered = mode is not None and mode in modes and last[0] not in (None, mode)
        last[0] = mode if mode is not None else last[0]
        return mode if entered else None

    return watch


def gate_mode(data: bytes) -> str | None:
    """The value `mode` in a serialised DiagnosticArray, in capitals; None when there is none.

    Raises:
        BagError: the bytes are of another type.
    """
    from rosbags.serde import SerdeError

    from jepa_ros.bags.format.message_types import typestore
    from jepa_ros.messages.diagnostics import key_values

    try:
        mode = key_values(typestore().deserialize_cdr(data, "diagnostic_msgs/msg/DiagnosticArray")).get("mode")
    except (SerdeError, AssertionError, ValueError, IndexError) as error:
        raise BagError(
            f"a message on the topic of --trigger is no diagnostic_msgs/msg/DiagnosticArray ({error}): give the topic "
            "of the gate's state"
        ) from None
    return None if mode is None else mode.upper()
