# SPDX-License-Identifier: Apache-2.0
"""A node that waits on conditions, and everything that a gate listens to: what the ROS tests and the campaign share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseWithCovarianceStamped, Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, Header, String

from jepa_ros.messages.stamps import stamp_of
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import fill, to_stamp
from jepa_ros.safety.guardrails import GuardrailSet


class Probe:
    """A node in the test's own process. Everything happens inside :meth:`until`, in the test's thread."""

    _count = 0

    def __init__(self, namespace: str = "") -> None:
        Probe._count += 1
        self._context = Context()
        rclpy.init(args=[], context=self._context)
        self.node = rclpy.create_node(f"probe_{Probe._count}", namespace=namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.received: dict[str, list[tuple[float, Any]]] = {}
        self.each_spin: list[Callable[[], None]] = []

    def listen(self, kind: type, topic: str, profile: Any) -> None:
        """Keep every message of a topic with its time of receipt, in ``received[topic]``."""
        kept = self.received.setdefault(topic, [])
        self.node.create_subscription(kind, topic, lambda m: kept.append((time.monotonic(), m)), profile)

    def last(self, topic: str) -> Any:
        """The newest message, or None."""
        return self.received[topic][-1][1] if self.received[topic] else None

    def values(self, topic: str) -> dict[str, str]:
        """The key-value pairs of the newest diagnostic on a topic."""
        message = self.last(topic)
        return {} if message is None else {p.key: p.value for s in message.status for p in s.values}

    def until(self, condition: Callable[[], Any], what: str, timeout: float = 60.0) -> Any:
        """Spin until ``condition()`` is true and return its value; fail with ``what`` was waited for."""
        end = time.monotonic() + timeout
        while True:
            for hook in self.each_spin:
                hook()
            self._executor.spin_once(timeout_sec=0.005)
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                seen = {topic: self.values(topic) for topic, kept in self.received.items()
                        if kept and isinstance(kept[-1][1], DiagnosticArray)}  # fmt: skip
                raise AssertionError(f"not within {timeout:g} s: {what}; last seen: {seen}")

    def spin(self, seconds: float) -> None:
        """Spin for a time (where it is a duration that is tested, not a condition)."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, "time to pass", seconds + 10)

    def call(self, kind: type, service: str, request: Any = None, timeout: float = 60.0) -> Any:
        """Call a service and return its response."""
        client = self.node.create_client(kind, service)
        self.until(client.service_is_ready, f"service {service}", timeout)
        future = client.call_async(request or kind.Request())
        self.until(future.done, f"an answer of {service}", timeout)
        self.node.destroy_client(client)
        return future.result()

    def close(self) -> None:
        self._executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        self._context.try_shutdown()


class GateWorld:
    """Everything that a gate listens to, published at its rates while the probe spins; each input can fall silent.

    The base does as it is told: its odometry has the velocities that left the gate last. It stays where it is, though.

    Attributes:
        guardrail_hash, model_id: what planner and perception say of themselves; the hash is that of no guardrails.

    Args:
        clock: publish /clock too, for a gate that takes its time from there.
    """

    def __init__(self, probe: Probe, *, clock: bool = False) -> None:
        self.probe, node = probe, probe.node
        self.silent: set[str] = set()
        self.command = (0.2, 0.5)
        self.estop: bool | None = None
        self._told = Twist()
        node.create_subscription(TwistStamped, "cmd_vel", self._obey, qos.COMMAND)
        self.on_command: Callable[[float], None] | None = None  # told the stamp of each command as it leaves
        self.offset = 0.0  # s of this world's clock from the machine's; every stamp has it
        self.guardrail_hash, self.model_id = str(GuardrailSet().hash), "m"
        self._noise = np.random.default_rng(0)
        self.outs: dict[str, tuple[Any, float, Callable[[], Any]]] = {
            "command": (node.create_publisher(TwistStamped, "command_raw", qos.COMMAND), 0.05, self._command),
            "image": (node.create_publisher(Image, "image", qos.IMAGE), 0.1, self._image),
            "odom": (node.create_publisher(Odometry, "odom", qos.STATE), 0.04, self._odom),
            "pose": (node.create_publisher(PoseWithCovarianceStamped, "pose", qos.STATE), 0.1, self._pose),
            "perception": (node.create_publisher(Header, "perception/heartbeat", qos.HEARTBEAT), 0.1, self._beat),
            "planner": (node.create_publisher(Header, "planner/heartbeat", qos.HEARTBEAT), 0.1, self._beat),
            "estop": (node.create_publisher(Bool, "estop", qos.ESTOP), 0.1, self._estop),
            "signals": (node.create_publisher(DiagnosticArray, "signals", qos.SIGNALS), 0.1, self._signals),
            "model_id": (node.create_publisher(String, "model_id", qos.LATCHED), 1.0, self._model),
        }
        if clock:
            self.outs["clock"] = (node.create_publisher(Clock, "/clock", qos.CLOCK), 0.01, self._clock)
        self._next = dict.fromkeys(self.outs, 0.0)
        probe.each_spin.append(self.feed)

    def feed(self) -> None:
        now = time.monotonic()
        for name, (publisher, period, make) in self.outs.items():
            if name in self.silent or now < self._next[name]:
                continue
            self._next[name] = max(now, self._next[name] + period) if self._next[name] else now + period
            message = make()
            if message is not None:
                publisher.publish(message)

    @property
    def now(self) -> Any:
        return to_stamp(time.time() + self.offset)

    def _obey(self, message: TwistStamped) -> None:
        self._told = message.twist

    def _clock(self) -> Clock:
        return Clock(clock=self.now)

    def _command(self) -> TwistStamped:
        message = TwistStamped()
        message.header.stamp = self.now
        message.twist.linear.x, message.twist.angular.z = (float(v) for v in self.command)
        if self.on_command is not None:
            self.on_command(stamp_of(message))
        return message

    def _image(self) -> Image:
        message = fill(Image(), self._noise.integers(0, 255, (128, 128, 3), dtype=np.uint8), "rgb8")
        message.header.stamp = self.now
        return message

    def _odom(self) -> Odometry:
        message = Odometry(child_frame_id="base_link")
        message.header.stamp, message.header.frame_id = self.now, "odom"
        message.pose.pose.orientation.w = 1.0
        message.twist.twist = self._told
        return message

    def _pose(self) -> PoseWithCovarianceStamped:
        message = PoseWithCovarianceStamped()
        message.header.stamp, message.header.frame_id = self.now, "map"
        message.pose.pose.orientation.w = 1.0
        message.pose.covariance = np.diag([1e-4, 1e-4, 1e-9, 1e-9, 1e-9, 1e-4]).ravel()
        return message

    def _beat(self) -> Header:
        return Header(stamp=self.now)

    def _estop(self) -> Bool | None:
        return None if self.estop is None else Bool(data=self.estop)

    def _signals(self) -> DiagnosticArray:
        pairs = {"guardrail_hash": self.guardrail_hash, "model_id": self.model_id}
        values = [KeyValue(key=k, value=v) for k, v in pairs.items()]
        message = DiagnosticArray(status=[DiagnosticStatus(values=values)])
        message.header.stamp = self.now
        return message

    def _model(self) -> String:
        return String(data=self.model_id)


def is_zero(message: TwistStamped) -> bool:
    """A command that stands still."""
    return math.hypot(message.twist.linear.x, message.twist.angular.z) == 0.0
