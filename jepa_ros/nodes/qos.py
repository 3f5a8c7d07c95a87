# SPDX-License-Identifier: Apache-2.0
"""The one place for quality-of-service profiles and for subscribing as permissively as possible.

Images are best effort, depth 1 (an old image is worth nothing). State is sensor data, depth 5. Commands are
reliable, depth 1. Gate state and ``model_id`` are transient local. Every node takes its profiles from here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.subscription import Subscription


def _profile(depth: int, reliable: bool, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


IMAGE = _profile(1, reliable=False)
EMBEDDING = IMAGE
STATE = _profile(5, reliable=False)
ESTOP = _profile(5, reliable=False)
HEARTBEAT = _profile(5, reliable=False)
COMMAND = _profile(1, reliable=True)
SIGNALS = _profile(1, reliable=True)
STATUS = _profile(5, reliable=True)
LATCHED = _profile(1, reliable=True, latched=True)
CLOCK = _profile(1, reliable=False)
_GOAL_VOLATILE = _profile(1, reliable=True)
_GOAL_BEST_EFFORT = _profile(1, reliable=False)


def _silent(_event: object) -> None:
    """Swallow the incompatible-QoS event of one of several subscriptions to one topic."""


def subscribe_goal(node: Node, message_type: type, topic: str, callback: Callable[[Any], None]) -> list[Subscription]:
    """Subscribe to a goal whatever its publisher offers.

    RViz publishes goals volatile, a script may publish one latched before the planner runs, and a camera-like
    publisher may be best effort; no single profile hears all three reliably. So there are three subscriptions,
    and a message that arrives by several of them is handed on once (told by its writer's source timestamp).
    """
    seen: list[int] = []

    def once(message: Any, info: dict[str, Any]) -> None:
        source = int(info["source_timestamp"])
        if source in seen:
            return
        seen.append(source)
        del seen[:-8]
        callback(message)

    events = SubscriptionEventCallbacks(incompatible_qos=_silent, use_default_callbacks=False)
    return [
        node.create_subscription(message_type, topic, once, profile, event_callbacks=events)  # type: ignore[arg-type]
        for profile in (_GOAL_VOLATILE, LATCHED, _GOAL_BEST_EFFORT)
    ]


def with_depth(profile: QoSProfile, depth: int) -> QoSProfile:
    """The same profile with room for more messages, for a subscriber that fetches them now and then."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=profile.reliability, durability=profile.durability
    )


def fetch(subscription: Subscription, with_info: bool = False) -> None:
    """Hand what waits on a subscription to its callback, without an executor.

    Args:
        with_info: the callback takes the message's information, too.
    """
    while True:
        with subscription.handle:
            found = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        if found is None:
            return
        if with_info:
            subscription.callback(*found)
        else:
            subscription.callback(found[0])


def incompatible(report: Callable[[str, str], None], topic: str) -> SubscriptionEventCallbacks:
    """Event callbacks that call ``report(topic, policy)`` when a publisher's QoS cannot be received."""

    def on_event(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        report(topic, str(policy).rsplit(".", 1)[-1])

    return SubscriptionEventCallbacks(incompatible_qos=on_event, use_default_callbacks=False)


def publisher(node: Node, message_type: type, topic: str, profile: QoSProfile) -> Publisher:
    """A publisher without event handlers.

    rclpy rebuilds its wait set, event handlers included, for every message: they are a good part of a node's load,
    and the subscriber's side tells of incompatible QoS too.
    """
    events = PublisherEventCallbacks(use_default_callbacks=False)
    return node.create_publisher(message_type, topic, profile, event_callbacks=events)


def subscription(
    node: Node, message_type: type, topic: str, callback: Callable[[Any], None], profile: QoSProfile, **options: Any
) -> Subscription:
    """A subscription with one event handler: an error in the log when a publisher's QoS cannot be received."""

    def report(where: str, policy: str) -> None:
        node.get_logger().error(f"{where}: a publisher's {policy} QoS cannot be received; change that publisher")

    events = incompatible(report, topic)
    return node.create_subscription(message_type, topic, callback, profile, event_callbacks=events, **options)
