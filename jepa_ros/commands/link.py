# SPDX-License-Identifier: Apache-2.0
"""A short-lived node that calls services, hears one message or publishes one, and says what did not answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from jepa_ros.errors import JepaRosError
from jepa_ros.ros_env import starting_ros

#: Seconds: a recorder may be found a moment after the node that a message is meant for.
SETTLE = 0.3


class LinkError(JepaRosError):
    """Nobody answered; the message names the service or topic and the ROS domain."""


class Link:
    """A node of its own, as a context manager.

    Args:
        namespace: of the robot's nodes. timeout: seconds to wait for whatever is asked.
    """

    def __init__(self, namespace: str = "", timeout: float = 10.0) -> None:
        import rclpy
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor

        self.timeout = timeout
        self._context = Context()
        name = f"jepa_operator_{os.getpid()}"
        with starting_ros():
            rclpy.init(args=[], context=self._context)
            self.node = rclpy.create_node(
                name, namespace=namespace, context=self._context, start_parameter_services=False, enable_rosout=False
            )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Spin until ``condition()`` is true and return its value.

        Raises:
            LinkError: it did not become true in time.
        """
        end = time.monotonic() + self.timeout
        while not (value := condition()):
            if time.monotonic() > end:
                domain = os.environ.get("ROS_DOMAIN_ID", "0")
                reach = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "not set")
                raise LinkError(
                    f"{what} within {self.timeout:g} s (ROS_DOMAIN_ID {domain}, discovery range {reach}): "
                    "does the stack run, in this domain and namespace? `jepa-ros doctor` looks"
                )
            self._executor.spin_once(timeout_sec=0.02)
        return value

    def call(self, kind: type, service: str, request: Any = None) -> Any:
        """Call a service and return its response."""
        client = self.node.create_client(kind, service)
        self.until(client.service_is_ready, f"nobody offers the service {client.srv_name}")
        future = client.call_async(request or kind.Request())  # type: ignore[attr-defined]
        self.until(future.done, f"no answer of {client.srv_name}")
        return future.result()

    def hear(self, kind: type, topic: str, profile: Any) -> Any:
        """The next message of a topic."""
        kept: list[Any] = []
        subscription = self.node.create_subscription(kind, topic, kept.append, profile)
        self.until(lambda: kept, f"no message on {subscription.topic_name}")
        return kept[-1]

    def say(self, kind: type, topic: str, profile: Any, message: Any) -> None:
        """Publish one message once somebody listens, and wait until it has arrived."""
        from rclpy.duration import Duration

        from jepa_ros.nodes import qos

        publisher = qos.publisher(self.node, kind, topic, profile)
        self.wait_heard(publisher)
        publisher.publish(message)
        publisher.wait_for_all_acked(Duration(seconds=self.timeout))

    def wait_heard(self, publisher: Any) -> None:
        """Wait until somebody listens, and nobody has joined for SETTLE seconds."""
        self.until(publisher.get_subscription_count, f"nobody listens to {publisher.topic_name}")
        found, since = 0, time.monotonic()

        def settled() -> bool:
            nonlocal found, since
            if publisher.get_subscription_count() != found:
                found, since = publisher.get_subscription_count(), time.monotonic()
            return time.monotonic() - since > SETTLE

        self.until(settled, f"the listeners of {publisher.topic_name} come and go")

    def __enter__(self) -> Link:
        """The link itself."""
        return self

    def __exit__(self, *_: Any) -> None:
        """Leave the graph."""
        self._executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        self._context.try_shutdown()
