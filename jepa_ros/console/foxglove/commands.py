# SPDX-License-Identifier: Apache-2.0
"""What a client of the bridge may say: services and topics of gate and planner, and nothing besides."""

from __future__ import annotations

import json
import time
from typing import Any

from foxglove import Schema
from foxglove.websocket import Client, ClientChannel, MessageSchema, Service, ServiceRequest, ServiceSchema
from geometry_msgs.msg import PoseStamped, Twist
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from jepa_ros.console.asking import DISCOVERY, SERVICES, Asking
from jepa_ros.console.desk import Refused, Said
from jepa_ros.console.driving import Driving
from jepa_ros.console.foxglove import CLIENT_TOPICS, STOP
from jepa_ros.nodes import qos

_TYPES: dict[str, type] = dict(zip(CLIENT_TOPICS, (Twist, PoseStamped, String), strict=True))
_ANSWER = b"bool success\nstring message\n"
_ASKED = {Trigger: b"", SetBool: b"bool data\n"}
_NAMES = {Trigger: "std_srvs/srv/Trigger", SetBool: "std_srvs/srv/SetBool"}


class Commands:
    """The commanding side of the bridge.

    Args:
        node: the bridge's. asking, driving: its ways to gate and planner. namespace: of the robot, "" or "/name".
        control: clients may command; otherwise they may only stop.
    """

    def __init__(self, node: Node, asking: Asking, driving: Driving, namespace: str, control: bool) -> None:
        self._node, self._asking, self._driving = node, asking, driving
        self._namespace, self._control = namespace, control
        self._types = {f"{namespace}/{topic}": kind for topic, kind in _TYPES.items()} if control else {}
        self._out = {
            topic: qos.publisher(node, kind, topic, qos.COMMAND)
            for topic, kind in self._types.items()
            if kind is not Twist  # which goes by the dead-man's handle
        }
        self._log = qos.publisher(node, String, "console/log", qos.STATUS)
        self._channels: dict[tuple[int, int], ClientChannel] = {}

    def services(self) -> list[Service]:
        """The services to advertise."""
        return [
            Service(f"{self._namespace}/{service}", schema=_schema(kind), handler=self._handler(name, kind))
            for name, service, kind in SERVICES
            if self._control or name == STOP
        ]

    def _handler(self, name: str, kind: type) -> Any:
        def handle(request: ServiceRequest) -> bytes:
            on = request.payload[4:5] == b"\x01" if kind is SetBool else None  # behind the 4 bytes of the encoding
            if name == STOP:
                self._driving.drop()
            about = "" if on is None else "on" if on else "off"
            try:
                answer = self._asking.answer(name, Trigger.Request() if on is None else SetBool.Request(data=on))
            except Refused as refused:
                answer = kind.Response(success=False, message=str(refused))  # type: ignore[attr-defined]
            self._note(request.client_id, name, about, "" if answer.success else answer.message)
            return bytes(serialize_message(answer))

        return handle

    def _note(self, client: int, what: str, about: str, refused: str) -> None:
        said = Said(time.time(), f"Foxglove client {client}", what, about[:200], refused[:300])
        self._log.publish(String(data=json.dumps(said.plain())))

    # ------------------------------------------------------------ topics

    def advertised(self, client: Client, channel: ClientChannel) -> None:
        """A client is about to publish."""
        self._channels[client.id, channel.id] = channel

    def unadvertised(self, client: Client, channel: int) -> None:
        """A client publishes there no more; a robot that it drove stands still."""
        gone = self._channels.pop((client.id, channel), None)
        if gone is not None and self._types.get(gone.topic) is Twist:
            self._driving.let_go()

    def heard(self, client: Client, channel: int, data: bytes) -> None:
        """A client published a message.

        Raises:
            Refused: it is none that clients may publish, or cannot be read.
        """
        known = self._channels.get((client.id, channel))
        if known is None:
            raise Refused("a message on a channel that was not advertised")
        kind = self._types.get(known.topic)
        if kind is None:
            names = ", ".join(self._types) or "none: start the bridge with foxglove_control:=true"
            raise Refused(f"{known.topic}: clients may not publish there; open are {names}")
        wanted = f"{kind.__module__.partition('.')[0]}/{kind.__name__}"
        if known.encoding != "cdr" or known.schema_name.replace("/msg/", "/") != wanted:
            raise Refused(f"{known.topic}: expected {wanted} in cdr, not {known.schema_name} in {known.encoding}")
        try:
            message = deserialize_message(data, kind)
        except Exception:  # whatever rclpy makes of bytes that are none of this type
            raise Refused(f"{known.topic}: that is no {wanted}") from None
        if kind is Twist:
            self._drive(client.id, message)
        else:
            self._publish(client.id, known.topic, message)

    def _publish(self, client: int, topic: str, message: Any) -> None:
        out, end = self._out[topic], time.monotonic() + DISCOVERY
        while not (listened := out.get_subscription_count() > 0) and time.monotonic() < end:
            time.sleep(0.02)
        refused = "" if listened else f"{topic}: nobody listens there: does the planner run?"
        self._note(client, topic.rpartition("/")[2], str(getattr(message, "data", "")), refused)
        if refused:
            raise Refused(refused)
        out.publish(message)

    def _drive(self, client: int, twist: Twist) -> None:
        if not self._driving.active:
            self._note(client, "drive", "by hand", "")
        axes = [str(axis["name"]).partition(".") for axis in self._driving.axes]
        parts = {"linear": twist.linear, "angular": twist.angular}
        self._driving.command([getattr(parts[p], axis) if p in parts else 0.0 for p, _, axis in axes])


def _schema(kind: type) -> ServiceSchema:
    name = _NAMES[kind]

    def side(text: bytes, end: str) -> MessageSchema:
        return MessageSchema(encoding="cdr", schema=Schema(name=f"{name}_{end}", encoding="ros2msg", data=text))

    return ServiceSchema(name, request=side(_ASKED[kind], "Request"), response=side(_ANSWER, "Response"))
