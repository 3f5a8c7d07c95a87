# SPDX-License-Identifier: Apache-2.0
"""Hears what the gate listens to, and notes the time of receipt on the steady clock.

Nothing is judged here: a message is taken as it is, and the gate decides. What cannot even be read (bytes that are no
image, a publisher whose QoS cannot be received) is noted in ``errors``, which the gate answers with a stop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped, WrenchStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSCompatibility, QoSProfile, qos_check_compatible
from sensor_msgs.msg import CompressedImage, Image, JointState, LaserScan
from std_msgs.msg import Bool, Header, String

from jepa_ros.contract import RobotContract
from jepa_ros.contract.topics import STATE_TYPES
from jepa_ros.messages.commands import command_in
from jepa_ros.messages.diagnostics import identities, signals_in
from jepa_ros.messages.images import image_in
from jepa_ros.messages.joints import JointStates, robot_joints
from jepa_ros.messages.stamps import stamp_of
from jepa_ros.messages.state import odom_in, people_in, pose_in, scan_in, wrench_in
from jepa_ros.messages.types import message_class
from jepa_ros.nodes import qos
from jepa_ros.nodes.commands import CommandCodec
from jepa_ros.safety.inputs import (
    CommandIn,
    ContactIn,
    EstopIn,
    GateInputs,
    JointsIn,
    Requests,
)

#: Seconds between two looks at the graph for publishers that cannot be received, or that keep their last message.
LOOK_PERIOD = 0.2


class InputCollector:
    """Subscribes to everything the gate listens to and keeps the newest of each.

    Args:
        node: the gate's node.
        contract: names the topics.
        codec: reads command messages.
        compressed: the camera publishes ``image/compressed``.
        model_id: of the model that planner and perception are to run; None accepts any that both run.
    """

    def __init__(
        self, node: Node, contract: RobotContract, codec: CommandCodec, compressed: bool, model_id: str | None = None
    ) -> None:
        self._node = node
        self._codec = codec
        self._contract = contract
        self._joints = JointStates(robot_joints(contract))
        self._newest = GateInputs(heartbeats={}, identities={"model/gate": model_id} if model_id else {})
        self._commands: list[CommandIn] = []
        self._teleop: list[CommandIn] = []
        self._pressed = {"estop": False, "contact": False}  # at any time since the last tick
        self._seq = {"command_raw": 0, "command_teleop": 0}
        self._unreadable: dict[str, str] = {}
        self._latched: dict[str, tuple[type, Callable[[Any], None]]] = {}
        self._mismatched: dict[str, tuple[QoSProfile, str]] = {}
        self._next_look = 0.0
        self._subscribe_all(compressed)

    @property
    def joint_states(self) -> JointsIn | None:
        """The newest measured joints."""
        return self._newest.joint_states

    def collect(self, requests: Requests, output_publishers: int | None) -> GateInputs:
        """The inputs of one tick. Commands and read errors that came in since the last one are handed over once; an
        emergency stop or a bumper that was pressed and let go again in between is told as pressed."""
        inputs = self._newest
        if self._commands:
            inputs.command = self._commands[-1]
        if self._teleop:
            inputs.teleop = self._teleop[-1]
        inputs.earlier_commands, inputs.earlier_teleop = tuple(self._commands[:-1]), tuple(self._teleop[:-1])
        self._commands.clear()
        self._teleop.clear()
        self._pressed = dict.fromkeys(self._pressed, False)
        inputs.requests = requests
        inputs.output_publishers = output_publishers
        self._look_at_publishers()
        inputs.errors = (*(text for _, text in self._mismatched.values()), *self._unreadable.values())
        self._unreadable.clear()
        return inputs

    # ------------------------------------------------------------ subscriptions

    def _subscribe_all(self, compressed: bool) -> None:
        camera = self._contract.watched_camera
        if compressed or camera.compressed:
            self._subscribe(CompressedImage, f"{camera.topic}/compressed", qos.IMAGE, self._on_image, raw=True)
        else:
            self._subscribe(Image, camera.topic, qos.IMAGE, self._on_image, raw=True)
        kind = self._codec.input_type
        self._subscribe(kind, "command_raw", qos.COMMAND, self._on_command)
        self._subscribe(kind, "command_teleop", qos.COMMAND, self._on_teleop)
        self._subscribe(DiagnosticArray, "signals", qos.SIGNALS, self._on_signals)
        self._subscribe(Bool, self._contract.estop_topic, qos.ESTOP, self._on_estop)
        self._subscribe(String, "model_id", qos.LATCHED, self._on_model_id)
        for name in ("perception", "planner"):
            self._subscribe(Header, f"{name}/heartbeat", qos.HEARTBEAT, self._heartbeat(name))
        readers: dict[str, Callable[[Any], None]] = {
            "odom": self._on_odom,
            "pose": self._on_pose,
            "joint_states": self._on_joints,
            "scan": self._on_scan,
            "contact": self._on_contact,
            "people": self._on_people,
            "wrench": self._on_wrench,
        }
        for key, state in self._contract.state.items():
            self._subscribe(message_class(STATE_TYPES[key]), state.topic, qos.STATE, readers[key])
        # What was published once, before the gate ran: a localisation's pose, a stop that is pressed.
        self._latched |= {self._contract.estop_topic: (Bool, self._on_estop)}
        if "pose" in self._contract.state:
            heard = partial(self._on_pose, latched=True)
            self._latched[self._contract.state["pose"].topic] = (PoseWithCovarianceStamped, heard)

    def _subscribe(
        self,
        kind: type,
        topic: str,
        profile: QoSProfile,
        callback: Callable[[Any], None],
        raw: bool = False,
        besides: bool = False,
    ) -> None:
        """Subscribe; ``besides``: to a topic that is heard already, whatever else publishes there."""

        def guarded(message: Any) -> None:
            try:
                callback(message)
            except Exception as error:
                # Whatever a sender put into a message, this process lives on, and the gate is told.
                self._unreadable[topic] = f"{topic}: {type(error).__name__}: {error}"
                self._node.get_logger().error(
                    f"a message on '{topic}' cannot be read: {error}", throttle_duration_sec=1.0
                )

        def mismatch(where: str, policy: str) -> None:
            if besides:
                return
            text = f"{where}: a publisher's {policy} QoS cannot be received"
            self._mismatched[where] = (profile, text)
            self._node.get_logger().error(f"{text}; change that publisher")

        events = qos.incompatible(mismatch, topic)
        self._node.create_subscription(kind, topic, guarded, profile, raw=raw, event_callbacks=events)

    def _look_at_publishers(self) -> None:
        """Now and then: hear those that keep their last message for whoever comes later, besides by the ordinary
        subscription (one that asked all publishers for it would make the others complain); and forget a QoS mismatch
        once the publisher is gone, for the middleware tells only of its coming."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_PERIOD
        for topic, (kind, callback) in list(self._latched.items()):
            offers = self._node.get_publishers_info_by_topic(topic)
            if any(o.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for o in offers):
                del self._latched[topic]
                self._subscribe(kind, topic, qos.LATCHED, callback, besides=True)
        for topic, (profile, _) in list(self._mismatched.items()):
            offers = self._node.get_publishers_info_by_topic(topic)
            bad = [o for o in offers if qos_check_compatible(o.qos_profile, profile)[0] == QoSCompatibility.ERROR]
            if not bad:
                del self._mismatched[topic]

    # ------------------------------------------------------------ one callback an input

    def _on_image(self, data: bytes) -> None:
        self._newest.image = image_in(data, time.monotonic())

    def _command(self, message: Any, topic: str) -> CommandIn:
        self._seq[topic] += 1
        return command_in(message, self._contract, time.monotonic(), self._seq[topic])

    def _on_command(self, message: Any) -> None:
        self._commands.append(self._command(message, "command_raw"))

    def _on_teleop(self, message: Any) -> None:
        self._teleop.append(self._command(message, "command_teleop"))

    def _on_signals(self, message: DiagnosticArray) -> None:
        self._newest.signals = signals_in(message, time.monotonic())
        self._newest.identities.update(identities(self._newest.signals))  # type: ignore[attr-defined]

    def _on_model_id(self, message: String) -> None:
        self._newest.identities["model/perception"] = message.data  # type: ignore[index]

    def _on_estop(self, message: Bool) -> None:
        self._newest.estop = EstopIn(time.monotonic(), self._press("estop", message))

    def _press(self, name: str, message: Bool) -> bool:
        """Whether it was pressed at any time since the last tick: a short press is not hidden by its release."""
        self._pressed[name] = self._pressed[name] or bool(message.data)
        return self._pressed[name]

    def _heartbeat(self, component: str) -> Callable[[Header], None]:
        def on_heartbeat(_message: Header) -> None:
            self._newest.heartbeats[component] = time.monotonic()  # type: ignore[index]

        return on_heartbeat

    def _on_odom(self, message: Odometry) -> None:
        self._newest.odom = odom_in(message, self._contract, time.monotonic())

    def _on_pose(self, message: PoseWithCovarianceStamped, latched: bool = False) -> None:
        pose, before = pose_in(message, time.monotonic(), latched), self._newest.pose
        if before is not None and (before.stamp, before.x, before.y) == (pose.stamp, pose.x, pose.y):
            if before.latched:
                return  # by the other subscription, or sent again: it tells nothing new of where the robot is
            pose.received = before.received if latched else pose.received
        self._newest.pose = pose

    def _on_joints(self, message: JointState) -> None:
        joints = self._joints.take(message, stamp_of(message), time.monotonic())
        if joints is not None:
            self._newest.joint_states = joints

    def _on_scan(self, message: LaserScan) -> None:
        self._newest.scan = scan_in(message, time.monotonic())

    def _on_people(self, message: PoseArray) -> None:
        self._newest.people = people_in(message, time.monotonic())

    def _on_wrench(self, message: WrenchStamped) -> None:
        self._newest.wrench = wrench_in(message, time.monotonic())

    def _on_contact(self, message: Bool) -> None:
        # A Bool carries no stamp: the time of its receipt stands in.
        now = self._node.get_clock().now().nanoseconds * 1e-9
        self._newest.contact = ContactIn(now, time.monotonic(), self._press("contact", message))
