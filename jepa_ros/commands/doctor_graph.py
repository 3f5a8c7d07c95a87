# SPDX-License-Identifier: Apache-2.0
"""How the doctor looks at a graph: nodes, ends of topics, and what comes in while it listens.

A graph becomes known bit by bit, and on a busy machine late: participants announce themselves every 3 s, their topics
after that, and a subscription gets its first message once its publisher knows of it as well. So every look is renewed
until it has shown that something is well, and only what has not by the end of :data:`PATIENCE` is called a fault.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.qos import DurabilityPolicy, QoSCompatibility, QoSProfile, qos_check_compatible

from jepa_ros.bags.record.recorder_node import matching_qos
from jepa_ros.commands.doctor_rules import (
    ERROR,
    OK,
    End,
    Expected,
    Finding,
    Heard,
    Seen,
    expected_topics,
    judge,
    judge_clock,
    judge_ends,
    judge_gate,
)
from jepa_ros.contract import RobotContract
from jepa_ros.messages.types import message_class
from jepa_ros.nodes.lifecycle import Watcher

#: Seconds in which three announcements in a row may be lost before something counts as not there, or as silent.
PATIENCE = 10.0
STEP = 0.1  # s between two looks at the graph
CLOCK = Expected("/clock", "rosgraph_msgs/msg/Clock")
GATE_STATE = "safety_gate/state"


def examine(
    contract: RobotContract, namespace: str, seconds: float, compressed: bool = False, brain: bool = True,
    tell: Callable[[str], None] = lambda what: None,
) -> list[Finding]:  # fmt: skip
    """Listen to the graph and judge it.

    Args:
        namespace: of the nodes, "" for none. seconds: to listen to each topic, from its first message on.
        brain: perception and planner are looked for too. tell: hears what it waits for.
    """
    watcher = Watcher(f"jepa_doctor_{os.getpid()}")
    try:
        space = "/" + namespace.strip("/")
        names = ("safety_gate", "perception", "planner") if brain else ("safety_gate",)
        nodes = [_Node(watcher, name, _resolve(space, name)) for name in names]
        topics = [
            _Topic(watcher.node, _resolve(space, e.topic), e) for e in expected_topics(contract, compressed, brain)
        ]
        clock = _Topic(watcher.node, CLOCK.topic, CLOCK)
        looks = [*nodes, *topics, clock]
        begun, waiting = time.monotonic(), list[str]()
        while (passed := time.monotonic() - begun) < PATIENCE + 2.0 * seconds:
            watcher.spin(STEP)
            for look in looks:
                look.look()
            waiting = [look.name for look in looks if not look.well(seconds)]
            if not waiting or (passed > PATIENCE and all(topic.judgeable(seconds) for topic in topics)):
                break
            tell(f"waits for {', '.join(waiting)}")
        found = [node.judge() for node in nodes]
        if not watcher.nodes():
            return [*found, _empty()]
        return found + _judge_topics(watcher.node, contract, topics, [n.full for n in nodes], brain) + [
            judge_clock(clock.seen())
        ] + _judge_gate(topics, brain)  # fmt: skip
    finally:
        watcher.close()


def _judge_topics(
    node: Any, contract: RobotContract, topics: list[_Topic], ours: list[str], brain: bool
) -> list[Finding]:
    found: list[Finding] = []
    _, values = _state(topics)
    for topic in topics:
        if topic.expected.topic == contract.command.topic and values.get("published") == "false":
            found.append(Finding(OK, topic.expected.topic, "the gate decides and sends nothing (dry run or shadow)"))
        else:
            found += judge(topic.expected, topic.seen())
    known = {topic.name for topic in topics} | {CLOCK.topic}
    for name in sorted(name for name, _ in node.get_topic_names_and_types() if name not in known):
        seen = _ends(node, name)
        if any(end.node in ours for end in (*seen.publishers, *seen.listeners)):
            found += judge_ends(name.lstrip("/"), seen)
    return found


def _judge_gate(topics: list[_Topic], brain: bool) -> list[Finding]:
    status, values = _state(topics)
    return [] if status is None else judge_gate(values, status.message, brain)


def _state(topics: list[_Topic]) -> tuple[Any, dict[str, str]]:
    """What the gate said last: its status and the values in it."""
    last = next(topic.last for topic in topics if topic.expected.topic == GATE_STATE)
    status = last.status[0] if last is not None and last.status else None
    return status, {} if status is None else {pair.key: pair.value for pair in status.values}


def _empty() -> Finding:
    domain, reach = os.environ.get("ROS_DOMAIN_ID", "0"), os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "not set")
    rmw = rclpy.get_rmw_implementation_identifier()
    where = f"no node at all in ROS_DOMAIN_ID {domain} with discovery range {reach}, RMW {rmw}"
    return Finding(ERROR, "graph", f"{where}: are they those of the robot?")


def _resolve(space: str, topic: str) -> str:
    return topic if topic.startswith("/") else f"{space.rstrip('/')}/{topic}"


class _Node:
    """A node that should run and, the gate apart, be active."""

    def __init__(self, watcher: Watcher, name: str, full: str) -> None:
        self.watcher, self.name, self.full = watcher, name, full
        self.managed = name != "safety_gate"
        self.there, self.state = False, None

    def look(self) -> None:
        self.there = self.full in self.watcher.nodes()
        if self.there and self.managed:
            self.state = self.watcher.state(self.full)

    def well(self, seconds: float) -> bool:
        return self.there and (not self.managed or self.state is not None)

    def judge(self) -> Finding:
        if not self.there:
            return Finding(ERROR, self.name, f"node {self.full} is not running")
        if not self.managed or self.state == "active":
            return Finding(OK, self.name, self.state or "running")
        return Finding(
            ERROR, self.name, f"{self.state or 'does not answer'}: see its log, or configure and activate it"
        )


class _Topic:
    """One topic, listened to as permissively as can be and without deserialising, save for the gate's state."""

    def __init__(self, node: Any, name: str, expected: Expected) -> None:
        self.node, self.name, self.expected = node, name, expected
        self.last: Any = None
        self._raw = expected.topic != GATE_STATE
        self._subscription: Any = None
        self._profile: QoSProfile | None = None
        self._ends = Seen()
        self._heard = Heard()

    def look(self) -> None:
        """See who is there now, and listen to it as soon as somebody is."""
        self._ends = _ends(self.node, self.name)
        offers = [o for o in self.node.get_publishers_info_by_topic(self.name) if o.topic_type == self.expected.type]
        profile = matching_qos([o.qos_profile for o in offers]) if offers else None
        if profile is None or profile == self._profile:
            return
        if self._subscription is not None:
            self.node.destroy_subscription(self._subscription)
        kind = message_class(self.expected.type)
        self._subscription = self.node.create_subscription(kind, self.name, self._take, profile, raw=self._raw)
        self._profile = profile

    def _take(self, message: Any, info: dict[str, Any]) -> None:
        self._heard.add(time.monotonic(), info["source_timestamp"], info["publication_sequence_number"] or 0)
        if not self._raw:
            self.last = message

    def well(self, seconds: float) -> bool:
        """Whether it was listened to for long enough, and nothing is wrong."""
        if self.expected == CLOCK and not self._ends.publishers:
            return True
        good = all(finding.level == OK for finding in judge(self.expected, self.seen()))
        return good and self._heard.messages > 0 and self.judgeable(seconds)

    def judgeable(self, seconds: float) -> bool:
        """Whether nothing came, or it was listened to for so long."""
        heard = self._heard
        return not heard.messages or not self.expected.rate or time.monotonic() - heard.first >= seconds

    def seen(self) -> Seen:
        """What is known of it now."""
        ends, heard = self._ends, self._heard
        rate = heard.rate(time.monotonic(), numbered=len(ends.publishers) == 1)
        return Seen(ends.publishers, ends.listeners, ends.mismatches, heard.messages, rate)


def _ends(node: Any, topic: str) -> Seen:
    """Who publishes a topic and who listens to it, this node left out."""
    offers = node.get_publishers_info_by_topic(topic)
    takers = [t for t in node.get_subscriptions_info_by_topic(topic) if t.node_name != node.get_name()]
    return Seen(
        tuple(
            End(_full(o), o.topic_type, o.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL) for o in offers
        ),
        tuple(dict.fromkeys(End(_full(t), t.topic_type) for t in takers)),
        tuple(_mismatches(offers, takers)),
    )


def _full(endpoint: Any) -> str:
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def _mismatches(offers: list[Any], takers: list[Any]) -> list[str]:
    """Pairs that DDS will not connect: the publisher offers less than the subscriber asks for.

    A subscriber that has several subscriptions to a topic (goals are heard in three ways) is content with one match.
    """
    found = []
    for offer in offers:
        alike = [t for t in takers if t.topic_type == offer.topic_type]
        for name in sorted({_full(t) for t in alike}):
            answers = [qos_check_compatible(offer.qos_profile, t.qos_profile) for t in alike if _full(t) == name]
            if all(compatible == QoSCompatibility.ERROR for compatible, _ in answers):
                found.append(
                    f"{name} does not hear {_full(offer)}, incompatible QoS: {' '.join(answers[0][1].split())}"
                )
    return found
