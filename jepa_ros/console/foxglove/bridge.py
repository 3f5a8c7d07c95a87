# SPDX-License-Identifier: Apache-2.0
"""The bridge: every topic of the robot that a client subscribes to, as it stands on the wire, and the imagined paths
drawn into the camera's picture. A topic that nobody subscribes to is not received."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter

import foxglove
import rclpy
from foxglove import Capability, Channel, Context, Schema
from foxglove.channels import FrameTransformChannel, ImageAnnotationsChannel
from foxglove.messages import (
    Color,
    FrameTransform,
    ImageAnnotations,
    Point2,
    PointsAnnotation,
    PointsAnnotationType,
    Quaternion,
    Timestamp,
    Vector3,
)
from foxglove.websocket import ChannelView, Client, ClientChannel, ServerListener, StatusLevel
from rclpy.context import Context as RosContext
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.subscription import Subscription

from jepa_ros.bags import BagError
from jepa_ros.bags.format.schema import definition
from jepa_ros.bags.record.recorder_node import matching_qos
from jepa_ros.console.asking import Asking
from jepa_ros.console.desk import Refused
from jepa_ros.console.driving import Driving
from jepa_ros.console.foxglove import ANNOTATIONS, FRAMES
from jepa_ros.console.foxglove.commands import Commands
from jepa_ros.console.hearing import Hearing
from jepa_ros.console.rules import Rules
from jepa_ros.console.showing import Showing
from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError
from jepa_ros.messages.types import MessageTypeError, message_class
from jepa_ros.nodes import qos

#: Times a second that messages are fetched, and seconds between two looks for new topics.
POLLS, DISCOVERY = 40.0, 1.0
DEPTH = 10
PLAN = Color(r=0.0, g=0.45, b=0.7, a=1.0)
OTHERS = Color(r=0.34, g=0.71, b=0.91, a=0.7)
AREA = Color(r=0.9, g=0.62, b=0.0, a=1.0)


class Bridge(ServerListener):
    """A running bridge.

    Args:
        contract: of the robot. namespace: of its nodes, "" or "/name". port: to listen on, 0 for any.
        control: clients may give goals, enable, reset and drive; all may stop.
        sim_time: the robot's time is /clock.

    Raises:
        JepaRosError: the port is taken.
    """

    def __init__(
        self, contract: RobotContract, namespace: str = "", port: int = 0, control: bool = False, sim_time: bool = False
    ) -> None:
        self._contract, self._namespace, self._sim_time = contract, namespace, sim_time
        self._ros = RosContext()
        rclpy.init(args=[], context=self._ros)
        self.node = rclpy.create_node(
            "foxglove", namespace=namespace, context=self._ros, start_parameter_services=False,
            parameter_overrides=[Parameter("use_sim_time", value=sim_time)],
        )  # fmt: skip
        self._ended, self._called = threading.Event(), threading.Event()
        self._hearing = Hearing(self.node, contract, pictures=False)
        self._asking = Asking(self.node, self._called.set)
        self._showing = Showing(self._hearing)
        self._rules = Rules(contract, self._hearing, self._asking)
        self._driving = Driving(self.node, contract)
        self._commands = Commands(self.node, self._asking, self._driving, namespace, control)
        self._context = Context()
        self._channels: dict[str, Channel] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._wanted: Counter[str] = Counter()
        self._renew: set[str] = set()
        self._lock = threading.Lock()
        self._drawn: object = None
        self._placed: object = 0
        self._annotations = ImageAnnotationsChannel(f"{namespace}/{ANNOTATIONS}", context=self._context)
        self._frame = FrameTransformChannel(f"{namespace}/{FRAMES}", context=self._context)
        capabilities = [Capability.Services, *([Capability.ClientPublish] if control else [])]
        try:
            self.server = foxglove.start_server(
                name=f"jepa_ros {contract.name}", host="127.0.0.1", port=port, context=self._context,
                capabilities=[*capabilities, *([Capability.Time] if sim_time else [])], supported_encodings=["cdr"],
                server_listener=self, services=self._commands.services(), message_backlog_size=64,
            )  # fmt: skip
        except Exception as error:
            self._leave()
            raise JepaRosError(f"cannot listen on port {port}: is it taken? see --port ({error})") from None
        self._executor = SingleThreadedExecutor(context=self._ros)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="foxglove-ros", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the server and leave the graph; a robot that was being driven is told to stand still first."""
        self._driving.close()
        self._ended.set()
        self._called.set()
        self._thread.join(timeout=2.0)
        self.server.stop()
        self._leave()

    def _leave(self) -> None:
        self._driving.close()
        self.node.destroy_node()
        self._ros.try_shutdown()

    # ------------------------------------------------------------ from ROS

    def _spin(self) -> None:
        looked = 0.0
        while not self._ended.is_set():
            if self._asking.waiting:
                self._executor.spin_once(timeout_sec=0.02)
                continue
            now = time.monotonic()
            if now - looked > DISCOVERY:
                looked = now
                self._discover()
            self._follow()
            for subscription in self._subscriptions.values():
                qos.fetch(subscription)
            self._hearing.fetch()
            self._make()
            self._called.wait(1.0 / POLLS)
            self._called.clear()

    def _discover(self) -> None:
        """A channel for each topic of the robot that is new."""
        for topic, types in self.node.get_topic_names_and_types():
            ours = topic.startswith(f"{self._namespace}/") or topic in ("/clock", "/diagnostics", "/tf", "/tf_static")
            if topic in self._channels or len(types) != 1 or not ours:
                continue
            try:
                found = definition(types[0])
                message_class(types[0])
            except (BagError, MessageTypeError):  # a type of which nobody here knows the fields
                continue
            schema = Schema(name=types[0], encoding=found.encoding, data=found.text.encode())
            self._channels[topic] = Channel(topic, schema=schema, message_encoding="cdr", context=self._context)

    def _follow(self) -> None:
        """Subscribe to what clients want; anew for a client that came later, so that it gets what is latched."""
        with self._lock:
            wanted, renew = {topic for topic, count in self._wanted.items() if count > 0}, self._renew
            self._renew = set()
        for topic in list(self._subscriptions):
            if topic not in wanted or topic in renew:
                self.node.destroy_subscription(self._subscriptions.pop(topic))
        for topic in wanted & set(self._channels):
            if topic not in self._subscriptions:
                channel = self._channels[topic]
                offers = self.node.get_publishers_info_by_topic(topic)
                schema = channel.schema()
                if not offers or schema is None:
                    continue
                profile = matching_qos([offer.qos_profile for offer in offers], DEPTH)
                self._subscriptions[topic] = qos.subscription(
                    self.node, message_class(schema.name), topic, lambda data, to=channel: self._pass(to, data),
                    profile, raw=True,
                )  # fmt: skip
        drawn = (f"{self._namespace}/{ANNOTATIONS}", f"{self._namespace}/{FRAMES}")
        self._hearing.look(any(topic in wanted for topic in drawn))

    def _now(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    def _pass(self, channel: Channel, data: bytes) -> None:
        channel.log(data, log_time=self._now())

    def _make(self) -> None:
        """What the bridge makes itself: paths in the picture, the robot's frame, the time."""
        if self._sim_time:
            self.server.broadcast_time(self._now())
        sections = {section.name: section for section in self._showing.sections()}
        now = self._now()
        if self._annotations.has_sinks():
            self._rules.follow()
        if self._annotations.has_sinks() and (key := sections["drawing"].key) != self._drawn:
            self._drawn = key
            self._annotations.log(annotations(sections["drawing"].build(), now), log_time=now)
        if self._frame.has_sinks() and (key := sections["pose"].key) != self._placed:
            self._placed = key
            if (pose := self._hearing.pose()) is not None:
                self._frame.log(frame(self._contract, pose, now), log_time=now)

    # ------------------------------------------------------------ from clients, in the server's threads

    def on_subscribe(self, client: Client, channel: ChannelView) -> None:
        """A client wants a topic."""
        with self._lock:
            self._wanted[channel.topic] += 1
            if self._wanted[channel.topic] > 1:
                self._renew.add(channel.topic)
        self._called.set()

    def on_unsubscribe(self, client: Client, channel: ChannelView) -> None:
        """A client wants a topic no more, or is gone."""
        with self._lock:
            self._wanted[channel.topic] -= 1

    def on_client_advertise(self, client: Client, channel: ClientChannel) -> None:
        """A client is about to publish."""
        self._commands.advertised(client, channel)

    def on_client_unadvertise(self, client: Client, client_channel_id: int) -> None:
        """A client publishes no more, or is gone."""
        self._commands.unadvertised(client, client_channel_id)

    def on_message_data(self, client: Client, client_channel_id: int, data: bytes) -> None:
        """A client published."""
        try:
            self._commands.heard(client, client_channel_id, data)
        except Refused as refused:
            self.server.publish_status(str(refused), StatusLevel.Error)


def annotations(drawing: dict, now: int) -> ImageAnnotations:
    """The chosen plan, the other candidates and the forbidden areas, in pixels.

    Args:
        drawing: the section of that name of :class:`~jepa_ros.console.showing.Showing`. now: [ns].
    """
    stamp = Timestamp(*divmod(now, 1_000_000_000))

    def line(points: list, colour: Color, thickness: float, closed: bool = False) -> PointsAnnotation:
        kind = PointsAnnotationType.LineLoop if closed else PointsAnnotationType.LineStrip
        at = [Point2(x=u, y=v) for u, v in points]
        return PointsAnnotation(timestamp=stamp, type=kind, points=at, outline_color=colour, thickness=thickness)

    lines = drawing.get("pixels", [])
    found = [line(points, OTHERS, 0.5) for points in lines[1:]] + [line(points, PLAN, 1.0) for points in lines[:1]]
    found += [line(points, AREA, 1.0, closed=True) for points in drawing.get("rules", [])]
    return ImageAnnotations(timestamp=stamp, points=found)


def frame(contract: RobotContract, pose: tuple[float, float, float], now: int) -> FrameTransform:
    """Where the robot is, for the 3D panel: what is in its base frame is shown at its place."""
    x, y, yaw = pose
    return FrameTransform(
        timestamp=Timestamp(*divmod(now, 1_000_000_000)), parent_frame_id=contract.frames.map,
        child_frame_id=contract.frames.base, translation=Vector3(x=x, y=y, z=0.0),
        rotation=Quaternion(x=0.0, y=0.0, z=math.sin(yaw / 2.0), w=math.cos(yaw / 2.0)),
    )  # fmt: skip
