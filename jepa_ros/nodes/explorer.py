# SPDX-License-Identifier: Apache-2.0
"""Exploratory driving through ROS: the policy of ``jepa-ros collect`` in the place of an operator.

It publishes on ``command_teleop``, so that a robot can be explored before there is a model: the gate asks for neither
perception nor planner while teleoperation drives, and keeps every limit. Steps begin at images, as the planner's do.
The tip of an arm keeps to its workspace, by the planner's own inverse kinematics.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Bool

from jepa_ros.agent.bodies import body_of, executed_log
from jepa_ros.agent.policies import RandomPolicy
from jepa_ros.agent.step_clock import StepClock
from jepa_ros.contract import RobotContract
from jepa_ros.messages.images import raw_image
from jepa_ros.nodes import qos
from jepa_ros.nodes.commands import CommandCodec
from jepa_ros.nodes.servo import servo_for
from jepa_ros.safety.output import MOVING_NAMES
from jepa_ros.worlds.exploration import Exploration
from jepa_ros.worlds.protocols import Observation

#: Reasons of the gate that say that something is in the way; the policy then backs off, as it does after a contact.
IN_THE_WAY = ("obstacle", "region", "inside_region", "contact")


class ExplorerNode(Node):
    """Drives a robot about.

    Args:
        contract: of the robot. seed: of the policy.
        scale: share of the contract's range that is used, in (0, 1].

    Attributes:
        steps: control steps so far. driven: those during which the gate let commands through.
        mode, reason: what the gate said last; empty before it was heard.
    """

    def __init__(self, contract: RobotContract, seed: int = 0, scale: float = 1.0, **options: Any) -> None:
        super().__init__("explorer", start_parameter_services=False, **options)
        self.steps = self.driven = 0
        self.mode = self.reason = ""
        self._contract, self._scale = contract, scale
        self._codec = CommandCodec(contract)
        camera, state = contract.cameras[0], contract.state
        self._step_clock = StepClock(contract.rate, camera.rate)
        self._touched = False
        self._command: np.ndarray | None = contract.neutral()
        self._sent = 0.0
        self._gate_bytes: bytes | None = None
        self._body = body_of(contract)
        self._servo = servo_for(self, contract, self._body, executed_log(contract), self._publish)
        rng = np.random.default_rng(seed)
        # An arm has no forward. Where a motion leads out of its workspace, inverse kinematics ends it.
        random = self._servo is not None
        self._policy: Exploration | RandomPolicy = RandomPolicy(contract, rng) if random else Exploration(contract, rng)
        if self._servo is not None:
            topic = contract.command.topic
            qos.subscription(self, self._codec.output_type, topic, self._on_gated, qos.COMMAND)
        self._out = qos.publisher(self, self._codec.input_type, "command_teleop", qos.COMMAND)
        kind: type = CompressedImage if camera.compressed else Image
        qos.subscription(self, kind, camera.image_topic, self._on_image, qos.IMAGE, raw=True)
        qos.subscription(self, DiagnosticArray, "safety_gate/state", self._on_gate, qos.LATCHED, raw=True)
        if "contact" in state:
            qos.subscription(self, Bool, state["contact"].topic, self._on_contact, qos.STATE)
        # A robot with long steps hears its command again before the gate's time-out.
        self._patience = 0.5 * contract.watchdog.command_timeout
        self.create_timer(0.25 * self._patience, self._repeat, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def restart(self) -> None:
        """Begin an episode anew, at another place, as the robot stands there."""
        self._policy.hold = 0
        if isinstance(self._policy, Exploration):
            self._policy.reflex = 0
        self._touched = False
        self._step_clock.reset()

    def stop(self) -> None:
        """Ask for a standstill."""
        if self._servo is not None:
            self._servo.rest()
        self._publish(self._contract.neutral(), self._now())

    # ------------------------------------------------------------ details

    def _now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _on_gated(self, message: Any) -> None:
        self._body.gated(self._codec.read_output(message).values)

    def _on_contact(self, message: Bool) -> None:
        self._touched |= bool(message.data)

    def _on_gate(self, data: bytes) -> None:
        self._gate_bytes = data  # it speaks at 50 Hz and is read once a step

    def _read_gate(self) -> None:
        if self._gate_bytes is None:
            return
        state = deserialize_message(self._gate_bytes, DiagnosticArray)
        values = {pair.key: pair.value for pair in state.status[0].values} if state.status else {}
        self.mode, self.reason = values.get("mode", ""), values.get("reason", "")

    def _on_image(self, data: bytes) -> None:
        stamp = raw_image(data).stamp
        if not self._step_clock.begins_step(stamp):
            return
        self._read_gate()
        blocked = self._touched or (self.mode == "STOPPED" and self.reason in IN_THE_WAY)
        seen = Observation(stamp, step=self.steps, gated=self._command, gate_reason=self.reason, touched=blocked)
        self._touched = False
        self._command = self._scale * self._policy.act(seen).command
        self.steps += 1
        self.driven += self.mode in MOVING_NAMES
        self._send(self._command, stamp)

    def _repeat(self) -> None:
        # Without new images the robot is not driven on: the command is repeated within one step alone.
        if self._servo is None and self._patience < time.monotonic() - self._sent < self._contract.period:
            self._publish(self._command, self._now())

    def _send(self, values: np.ndarray, stamp: float) -> None:
        self._sent = time.monotonic()
        (self._publish if self._servo is None else self._servo.ask)(values, stamp)

    def _publish(self, values: np.ndarray | None, stamp: float) -> None:
        self._out.publish(self._codec.write_input(values, stamp))
