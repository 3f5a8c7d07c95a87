# SPDX-License-Identifier: Apache-2.0
"""A robot that is played: a real gate among inputs that are made up, of which one at a time goes wrong."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Pose, PoseArray, PoseStamped
from nav_msgs.msg import Path
from sensor_msgs.msg import CameraInfo, Image, LaserScan
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from benchmarks.rigs.ros_probe import GateWorld, Probe
from jepa_ros.contract import load_contract
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import fill
from jepa_ros.safety.guardrails import GuardrailSet, guardrails_for

RULES = (
    "[{name: charging corner, kind: keep_out, unit: m, box: {center: [0.62, 0.0], size: [0.3, 0.6]}},"
    " {name: people, kind: near_person, unit: m/s, distance: 0.6, max_speed: 0.05}]"
)
SETTINGS = "{surprise: [1, 2], novelty: [1, 2]}"
FOCUS, EDGE = 128.0 * 1.2, 128


@dataclass(frozen=True)
class Cause:
    """One thing that goes wrong.

    Attributes:
        name: what a reader should find. reasons: words by which the gate may act for it.
        silent: inputs of the world that fall silent. changes: attributes of the stage meanwhile.
    """

    name: str
    reasons: tuple[str, ...]
    silent: tuple[str, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)


PLANNER = ("planner", "command", "signals", "status", "plan")
CAUSES = (
    Cause("the camera is covered", ("novelty",), changes={"camera": "covered", "novelty": 2.6}),
    Cause("the camera is unplugged: no pictures come", ("image_stale",), ("image",)),
    Cause("the robot would enter a forbidden area", ("region", "inside_region"), changes={"place": (0.36, 0.0)}),
    Cause("the localisation is lost", ("pose_lost",), ("pose",)),
    Cause("a person is near", ("person",), changes={"person": (0.45, 0.1)}),
    Cause("the planner is dead", ("heartbeat", "command_timeout", "signals_lost"), PLANNER),
    Cause("something unexpected happens: surprise", ("surprise",), changes={"surprise": 2.7}),
    Cause("an obstacle is close ahead", ("obstacle",), changes={"ahead": 0.13}),
    Cause("a wheel is jammed: it does not move as told", ("command_not_obeyed",), changes={"jammed": True}),
    Cause("somebody pressed the robot's emergency stop", ("estop",), changes={"estop": True}),
)  # fmt: skip


class Stage(GateWorld):
    """The world of a gate, with a picture, a planner's words, people, a scan and a bumper besides."""

    def __init__(self) -> None:
        super().__init__(Probe())
        self.contract = load_contract("arena")
        rules: GuardrailSet = guardrails_for(self.contract, RULES).bind(self.contract)
        self.guardrail_hash = str(rules.hash)
        self.mode = self.reason = ""
        self._normal()
        node = self.probe.node
        make = node.create_publisher
        self.outs |= {
            "people": (make(PoseArray, "people", qos.STATE), 0.1, self._people),
            "scan": (make(LaserScan, "scan", qos.STATE), 0.1, self._scan),
            "contact": (make(Bool, "contact", qos.STATE), 0.1, lambda: Bool(data=False)),
            "status": (make(DiagnosticArray, "planner/status", qos.STATUS), 0.2, self._status),
            "plan": (make(Path, "plan", qos.STATUS), 0.2, self._plan),
            "info": (make(CameraInfo, "camera_info", qos.STATE), 0.5, self._info),
        }
        self._next |= dict.fromkeys(self.outs, 0.0)
        node.create_subscription(DiagnosticArray, "safety_gate/state", self._told_state, qos.LATCHED)
        self._reset = node.create_client(Trigger, "safety_gate/reset")
        self._enable = node.create_client(SetBool, "safety_gate/enable")
        words = ["auto_enable:=true", f"guardrails:={json.dumps(RULES)}", f"settings:={json.dumps(SETTINGS)}"]
        self._gate = subprocess.Popen(
            [sys.executable, "-m", "jepa_ros.nodes.safety_gate", "--ros-args", "--log-level", "fatal",
             *(word for text in words for word in ("-p", text))], start_new_session=True,
        )  # fmt: skip

    def _normal(self) -> None:
        self.camera, self.place, self.person = "open", (0.0, 0.0), None
        self.surprise, self.novelty, self.ahead, self.jammed, self.estop = 0.12, 0.08, math.inf, False, None
        self.command = (0.2, 0.0)

    def play(self, ended: threading.Event) -> None:
        """Publish and listen until it is ended, in a thread of its own."""
        while not ended.is_set():
            self.probe.spin(0.2)

    def close(self) -> None:
        """End the gate."""
        self._gate.terminate()
        self._gate.wait(10.0)
        self.probe.close()

    def _told_state(self, message: Any) -> None:
        values = {pair.key: pair.value for pair in message.status[0].values}
        self.mode, self.reason = values.get("mode", ""), values.get("reason", "")

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether something comes true in time."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def begin(self, cause: Cause) -> None:
        """Let a thing go wrong."""
        self.silent = set(cause.silent)
        for name, value in cause.changes.items():
            setattr(self, name, value)

    def end(self) -> None:
        """All is well again."""
        self.silent = set()
        self._normal()
        if self.estop is None:
            self.estop = False

    def recover(self) -> None:
        """Let the gate pass commands again, whatever latched it."""
        def ready() -> bool:
            if self.mode == "ESTOP" and self._reset.service_is_ready():
                self._reset.call_async(Trigger.Request())
            elif self.mode == "DISABLED" and self._enable.service_is_ready():
                self._enable.call_async(SetBool.Request(data=True))
            time.sleep(0.4)
            return self.mode == "ACTIVE"

        self.until(ready, 60.0)

    # ------------------------------------------------------------ what is published

    def _obey(self, message: Any) -> None:
        super()._obey(message)
        if getattr(self, "jammed", False):
            self._told = type(self._told)()

    def _image(self) -> Image:
        picture = np.full((EDGE, EDGE, 3), 208, np.uint8)
        cv2.rectangle(picture, (6, 6), (EDGE - 7, EDGE - 7), (150, 150, 160), 2)
        x, y = self._pixel(*self.place)
        cv2.circle(picture, (x, y), 6, (40, 90, 190), -1)
        if self.person is not None:
            cv2.circle(picture, self._pixel(*self.person), 8, (200, 60, 50), -1)
        if math.isfinite(self.ahead):
            u, v = self._pixel(self.place[0] + self.ahead + 0.12, self.place[1])
            cv2.rectangle(picture, (u - 6, v - 6), (u + 6, v + 6), (90, 60, 30), -1)
        if self.camera == "covered":
            picture[:] = 6
        noise = self._noise.integers(-3, 4, picture.shape)
        message = fill(Image(), np.clip(picture + noise, 0, 255).astype(np.uint8), "rgb8")
        message.header.stamp = self.now
        return message

    def _pixel(self, x: float, y: float) -> tuple[int, int]:
        """Where the overhead camera of the contract sees a place on the ground."""
        scale = FOCUS / 2.4
        return round(EDGE / 2 + scale * x), round(EDGE / 2 - scale * y)

    def _pose(self) -> Any:
        message = super()._pose()
        message.pose.pose.position.x, message.pose.pose.position.y = self.place
        return message

    def _people(self) -> PoseArray:
        message = PoseArray()
        message.header.stamp, message.header.frame_id = self.now, "map"
        if self.person is not None:
            pose = Pose()
            pose.position.x, pose.position.y = self.person
            message.poses.append(pose)
        return message

    def _scan(self) -> LaserScan:
        message = LaserScan(angle_min=-math.pi, angle_max=math.pi, range_min=0.02, range_max=8.0)
        message.header.stamp, message.header.frame_id = self.now, "base_link"
        ranges = np.full(181, 3.0, np.float32)
        if math.isfinite(self.ahead):
            ranges[86:95] = self.ahead
        message.angle_increment = 2 * math.pi / 180
        message.ranges.frombytes(ranges.tobytes())
        return message

    def _signals(self) -> DiagnosticArray:
        message = super()._signals()
        told = {"surprise": self.surprise, "novelty": self.novelty}
        message.status[0].values += [KeyValue(key=k, value=f"{v:.3f}") for k, v in told.items()]
        return message

    def _status(self) -> DiagnosticArray:
        pairs = {
            "reason": "ok", "goal": "pose", "goal_name": "", "goal_at": "0.4 0.4", "arrived": "false",
            "feasible": "true", "iterations": "3", "elapsed_s": "0.041", "cost": "1.9", "distance": "6.2",
            "terms/latent": "1.6", "terms/effort": "0.3",
        }  # fmt: skip
        values = [KeyValue(key=k, value=v) for k, v in pairs.items()]
        return DiagnosticArray(status=[DiagnosticStatus(message="driving to the goal", values=values)])

    def _plan(self) -> Path:
        message = Path()
        message.header.frame_id = "map"
        for k in range(8):
            pose = PoseStamped()
            pose.pose.position.x, pose.pose.position.y = self.place[0] + 0.05 * k, self.place[1]
            message.poses.append(pose)
        return message

    def _info(self) -> CameraInfo:
        return CameraInfo(width=EDGE, height=EDGE, k=[FOCUS, 0.0, EDGE / 2, 0.0, FOCUS, EDGE / 2, 0.0, 0.0, 1.0])
