# SPDX-License-Identifier: Apache-2.0
"""The ROS side of recording: finds topics, matches their publishers' QoS, and hands raw messages to the writer thread.

Messages are taken with `raw=True`: the bag holds the bytes that were on the wire. The subscription asks for what all
publishers of a topic offer (reliable only if all are, latched only if all are), and is renewed when that changes.
Topics that somebody listens to are subscribed to before anybody publishes: a goal is one message, sent by a process
that ends at once. Everything happens in the thread that calls `look` and `poll`.
"""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from jepa_ros.bags import BagError
from jepa_ros.bags.format.schema import Definition, definition, qos_entry
from jepa_ros.bags.record.simulated_time import SimulatedTime
from jepa_ros.bags.record.writer_thread import WriterThread
from jepa_ros.messages.types import MessageTypeError, message_class

DEPTH = 100
"""Messages a subscription may hold while this process is kept from running (3 s of 30 Hz images)."""
UNPUBLISHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=DEPTH,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
"""Of a topic that nobody publishes yet. Reliable: a publisher that says one thing at once says it again until it was
heard, whereas a best-effort subscription takes nothing from a publisher that it does not know yet."""
RENEWAL_SECONDS = 1.0
"""So long the old subscription is kept beside the new one: publishers find that in well under a second."""
FAST_DISCOVERY_SECONDS = 10.0
"""So long after the start, and after a topic appeared, new ones are looked for every 0.1 s, later every 0.5 s."""


@dataclass
class Selection:
    """Which topics to record. `names` are full names; empty means all that match `regex` and are not excluded."""

    names: tuple[str, ...] = ()
    regex: str | None = None
    exclude: str | None = None
    include_hidden: bool = False

    def takes(self, topic: str) -> bool:
        """True for a topic that is to be recorded."""
        if self.exclude and re.search(self.exclude, topic):
            return False
        if self.names or self.regex:
            return topic in self.names or bool(self.regex and re.search(self.regex, topic))
        return self.include_hidden or not any(part.startswith("_") for part in topic.split("/"))


@dataclass
class TopicState:
    """A topic that is being recorded. `lost` counts messages that never reached this process (sequence gaps).

    `declared`: it is in the bag, since somebody publishes it. While a subscription is renewed both hear, the old one
    (`retiring`) until a time; `recent` tells what came twice.
    """

    name: str
    msgtype: str
    definition: Definition
    qos: QoSProfile
    declared: bool = False
    recent: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=DEPTH))
    retiring: tuple[Any, float] | None = None
    renewed: bool = False
    subscription: Any = None
    take: Any = None
    publishers: int = 0
    messages: int = 0
    lost: int = 0
    last_sequence: int | None = None
    first: int = 0
    last: int = 0
    warnings: list[str] = field(default_factory=list)


def matching_qos(profiles: list[QoSProfile], depth: int = DEPTH) -> QoSProfile:
    """The most demanding profile that is compatible with every one of `profiles` (publishers)."""
    reliable = all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles)
    latched = all(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


class RecorderNode(Node):
    """Subscribes to what the selection takes and feeds `writer`. Everything runs in the thread that spins it."""

    def __init__(
        self,
        writer: WriterThread,
        selection: Selection,
        *,
        name: str = "recorder",
        namespace: str = "",
        clock: str = "",
    ) -> None:
        """Create the node; topic names of the selection may be relative and are resolved here."""
        super().__init__(
            name,
            namespace=namespace,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._writer = writer
        selection.names = tuple(self.resolve_topic_name(topic) for topic in selection.names)
        self.selection = selection
        self._sim_time = SimulatedTime(self, clock) if clock else None
        self.topics: dict[str, TopicState] = {}
        self.refused: dict[str, str] = {}
        self._appeared = time.monotonic()
        self._next_look = 0.0

    def look(self, force: bool = False) -> None:
        """Subscribe to topics that appeared, and follow changes of their publishers. Cheap to call often."""
        now = time.monotonic()
        if now < self._next_look and not force:
            return
        self._next_look = now + (0.1 if now - self._appeared < FAST_DISCOVERY_SECONDS else 0.5)
        for topic, types in self.get_topic_names_and_types():
            if topic in self.refused or not self.selection.takes(topic):
                continue
            if len(types) != 1:
                self.refused[topic] = f"more than one type: {', '.join(types)}"
                continue
            self._follow(topic, types[0])

    def _follow(self, topic: str, msgtype: str) -> None:
        offers = self.get_publishers_info_by_topic(topic)
        state = self.topics.get(topic)
        if not offers and state is not None:
            state.publishers = 0
            return
        wanted = matching_qos([offer.qos_profile for offer in offers]) if offers else UNPUBLISHED
        if state is None:
            try:
                described, kind = definition(msgtype), message_class(msgtype)
            except (BagError, MessageTypeError) as error:
                if offers:
                    self.refused[topic] = str(error)
                return
            state = self.topics[topic] = TopicState(topic, msgtype, described, wanted)
            self._appeared = time.monotonic()
            self._subscribe(state, kind)
        elif (wanted.reliability, wanted.durability) != (state.qos.reliability, state.qos.durability):
            self._retire(state)
            state.retiring = state.subscription, time.monotonic() + RENEWAL_SECONDS
            state.qos, state.renewed = wanted, True
            self._subscribe(state, message_class(msgtype))
        if offers and not state.declared:
            self._declare(state, offers)
        if state.publishers != len(offers):
            state.publishers, state.last_sequence = len(offers), None

    def _declare(self, state: TopicState, offers: list[Any]) -> None:
        """Put a topic into the bag, with its publishers' QoS."""
        heard = str(offers[0].topic_type_hash) if offers else ""
        if state.definition.type_hash and heard.startswith("RIHS01") and heard != state.definition.type_hash:
            state.warnings.append(
                f"{state.name}: its publisher has another version of {state.msgtype} than is installed here"
            )
        entries: list[dict] = []
        for offer in offers:
            entry = qos_entry(offer.qos_profile)
            if entry not in entries:
                entries.append(entry)
        self._writer.declare(state.name, state.definition, entries)
        state.declared = True

    def _subscribe(self, state: TopicState, kind) -> None:
        offer, sim_time, name = self._writer.offer, self._sim_time, state.name

        def take(data: bytes, info: dict) -> None:
            received = info["received_timestamp"] or time.time_ns()
            if sim_time is not None:
                received = sim_time.at(received)
            sequence = info["publication_sequence_number"] or 0
            known = (info["source_timestamp"], sequence)
            if state.renewed and sequence and known in state.recent:
                return
            state.recent.append(known)
            if not state.declared:
                self._declare(state, self.get_publishers_info_by_topic(name))
            if state.publishers == 1 and sequence:
                last = state.last_sequence
                if last is not None and sequence > last + 1:
                    state.lost += sequence - last - 1
                state.last_sequence = sequence
            if not state.messages:
                state.first = received
            state.messages += 1
            state.last = received
            offer(name, received, info["source_timestamp"] or received, data, sequence)

        state.last_sequence = None
        state.take = take
        quiet = SubscriptionEventCallbacks(use_default_callbacks=False)  # what does not fit is subscribed to anew
        state.subscription = self.create_subscription(
            kind, name, take, state.qos, raw=True, event_callbacks=quiet,  # type: ignore[arg-type]
        )  # fmt: skip

    def poll(self) -> int:
        """Take everything that has arrived; returns how many messages that were.

        Readers are asked in turn instead of spinning an executor: a wait set of some 30 readers costs more to set up
        for each message than to ask them all every 20 ms. When a message arrived is told by the middleware.
        """
        count = 0
        now = time.monotonic()
        if self._sim_time is not None:
            self._sim_time.listen()  # before anything else is taken, since times are told by it
        for state in self.topics.values():
            if state.retiring is not None:
                count += self._take_all(state, state.retiring[0])
                if now >= state.retiring[1]:
                    self._retire(state)
            count += self._take_all(state, state.subscription)
        self._writer.hand_over()
        return count

    def _retire(self, state: TopicState) -> None:
        if state.retiring is not None:
            self.destroy_subscription(state.retiring[0])
            state.retiring = None

    @staticmethod
    def _take_all(state: TopicState, subscription: Any) -> int:
        handle, kind = subscription.handle, subscription.msg_type
        with handle:
            for count in range(DEPTH):
                taken = handle.take_message(kind, True)
                if taken is None:
                    return count
                state.take(*taken)
        return DEPTH

    def report(self) -> dict:
        """What was received, dropped, lost and refused so far, by topic."""
        dropped = self._writer.dropped
        states = [state for state in self.topics.values() if state.declared]
        known = {state.name for state in states} | self.refused.keys()
        missing = [name for name in self.selection.names if name not in known]
        return {
            "messages": sum(state.messages - dropped.get(state.name, 0) for state in states),
            "dropped": sum(dropped.values()),
            "lost": sum(state.lost for state in states),
            "topics": {
                state.name: {
                    "type": state.msgtype,
                    "received": state.messages,
                    "dropped": dropped.get(state.name, 0),
                    "lost": state.lost,
                }
                for state in states
            },
            "refused": dict(self.refused),
            "never_seen": missing,
            "warnings": [text for state in states for text in state.warnings],
        }
