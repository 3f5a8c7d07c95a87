# SPDX-License-Identifier: Apache-2.0
"""A running robot, seen and spoken to by the console. Requests come from the server's worker threads."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String

from jepa_ros.console.asking import PATIENCE, Asking
from jepa_ros.console.desk import Refused, Said
from jepa_ros.console.driving import Driving
from jepa_ros.console.hearing import AROUND, POLLS, Hearing
from jepa_ros.console.pictures import is_picture
from jepa_ros.console.rules import Rules
from jepa_ros.console.showing import Section, Showing
from jepa_ros.console.words import gate_word
from jepa_ros.contract import RobotContract
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import set_yaw


class Robot:
    """One running robot.

    Args:
        contract: of the robot. namespace: of its nodes. sim_time: its time is /clock.
    """

    def __init__(self, contract: RobotContract, namespace: str = "", sim_time: bool = False) -> None:
        self.contract = contract
        self._context = Context()
        rclpy.init(args=[], context=self._context)
        self.node = rclpy.create_node(
            "console",
            namespace=namespace,
            context=self._context,
            start_parameter_services=False,
            parameter_overrides=[Parameter("use_sim_time", value=sim_time)],
        )
        self._ended, self._called = threading.Event(), threading.Event()
        self._hearing = Hearing(self.node, contract)
        self._asking = Asking(self.node, self._called.set)
        self._rules = Rules(contract, self._hearing, self._asking)
        self._showing = Showing(self._hearing)
        self._driving = Driving(self.node, contract)
        self._pose_out = qos.publisher(self.node, PoseStamped, "goal_pose", qos.COMMAND)
        self._picture_out = qos.publisher(self.node, CompressedImage, "goal_image/compressed", qos.COMMAND)
        self._tag_out = qos.publisher(self.node, String, "goal_tag", qos.COMMAND)
        self._place_out = qos.publisher(self.node, String, "goal_place", qos.COMMAND)
        self._remember_out = qos.publisher(self.node, String, "planner/remember", qos.COMMAND)
        self._log_out = qos.publisher(self.node, String, "~/log", qos.STATUS)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="console-ros", daemon=True)
        self._thread.start()
        # What a page sees.
        self.look, self.look_at_futures = self._hearing.look, self._hearing.look_at_futures
        self.look_at_places = self._hearing.look_at_places
        self.picture, self.goal_picture = self._hearing.picture, self._hearing.goal_picture
        # What a page says.
        self.drive, self.let_go = self._driving.drive, self._driving.let_go
        self.parameter, self.set_parameter = self._asking.parameter, self._asking.set_parameter
        self.guardrails, self.put = self._rules.guardrails, self._rules.put

    def _spin(self) -> None:
        """Fetch messages now and then; let the executor run while an answer is waited for."""
        while not self._ended.is_set():
            if self._asking.waiting:
                self._executor.spin_once(timeout_sec=0.02)
            else:
                self._hearing.fetch()
                self._called.wait(1.0 / POLLS)
                self._called.clear()

    def close(self) -> None:
        """Leave the graph; a robot that was being driven is told to stand still first."""
        self._driving.close()
        self._ended.set()
        self._called.set()
        self._thread.join(timeout=2.0)
        self.node.destroy_node()
        self._context.try_shutdown()

    # ------------------------------------------------------------ what a page sees

    def sections(self) -> list[Section]:
        """What a page shows besides pictures and curves."""
        self._rules.follow()
        body = {
            "robot": self.contract.name, "axes": self._driving.axes, "can_drive": self._driving.possible,
            "camera": self.contract.cameras[0].topic, "camera_rate": self.contract.cameras[0].rate,
            "paths": self._has_paths, "pose": self._hearing.pose_topic,
            "around": [name for name, _ in AROUND if self._hearing.pose_topic and name in self.contract.state],
        }  # fmt: skip
        return [
            Section("body", body["can_drive"], lambda: body),
            Section("driving", self._driving.active, lambda: self._driving.active),
            *self._showing.sections(),
        ]

    @property
    def _has_paths(self) -> bool:
        """Whether plans of this robot can be drawn into its picture: it has a place, and its camera stands still."""
        contract = self.contract
        return "pose" in contract.state and contract.cameras[0].frame == contract.frames.map

    def curve(self) -> tuple[int, list[str]]:
        """How many points of surprise and novelty came so far, and the newest of them as JSON texts."""
        return self._hearing.curve_count, list(self._hearing.curve)

    def remembered(self, number: int) -> bytes | None:
        """The JPEG of a remembered picture by its number; None where it is forgotten."""
        return None if self._hearing.album is None else self._hearing.album.picture(number)

    def thumbnail(self, key: str) -> bytes | None:
        """The JPEG of a place or tag of the planner's memory; None where it has none."""
        return self._hearing.thumbnails.get(key)

    # ------------------------------------------------------------ what a page says

    def stop(self) -> str:
        """Latch the gate's e-stop."""
        self._driving.drop()
        return self._asking.ask("stop")

    def reset(self) -> str:
        """Release a latched gate, if its cause is gone."""
        return self._asking.ask("reset")

    def enable(self, on: bool) -> str:
        """Let the gate pass commands, or none."""
        return self._asking.ask("enable", on)

    def pause(self, on: bool) -> str:
        """Let the planner rest, or go on."""
        return self._asking.ask("pause", on)

    def clear(self) -> str:
        """No goal."""
        return self._asking.ask("clear")

    def here(self) -> str:
        """What the camera sees now is the goal."""
        return self._asking.ask("here")

    def interventions(self) -> dict[str, Any]:
        """What the gate did lately, each with its headline; see :func:`jepa_ros.safety.gate.describe`."""
        found: dict[str, Any] = json.loads(self._asking.ask("interventions"))
        for entry in found["interventions"]:
            entry["headline"] = gate_word(entry["mode"], entry["reason"]).headline
        return found

    def log(self, said: Said) -> None:
        """Publish what was said, so that a bag has it."""
        self._log_out.publish(String(data=json.dumps(said.plain())))

    def goal_pixel(self, u: float, v: float) -> tuple[float, float]:
        """Where on the ground a pixel of the camera's picture lies, x, y [m].

        Raises:
            Refused: the camera's place is not known, or the pixel shows no ground.
        """
        projection = self._hearing.camera()
        if projection is None:
            raise Refused("this camera has no fixed place in the map, so a click has none: use a picture or a tag")
        at = projection.ground(u, v)
        if at is None:
            raise Refused("that pixel shows no ground")
        return at

    def towards(self, x: float, y: float) -> float:
        """The heading [rad] from where the robot is to a place; 0 where its pose is not known."""
        at = self._hearing.pose()
        return 0.0 if at is None else math.atan2(y - at[1], x - at[0])

    def goal_pose(self, x: float, y: float, yaw: float) -> str:
        """Send a pose in the map as goal (m, rad)."""
        if not all(map(math.isfinite, (x, y, yaw))):
            raise Refused("a goal needs finite numbers")
        message = PoseStamped()
        message.header.frame_id = self.contract.frames.map
        message.pose.position.x, message.pose.position.y = x, y
        set_yaw(message.pose.orientation, yaw)
        return self._goal(self._pose_out, message)

    def goal_file(self, data: bytes, name: str) -> str:
        """Send a JPEG or PNG as goal picture."""
        is_picture(data, name)
        message = CompressedImage(format="jpeg" if data[0] == 0xFF else "png")
        message.header.frame_id = name[:60]
        message.data.frombytes(data)
        return self._goal(self._picture_out, message)

    def goal_remembered(self, number: int) -> str:
        """Send a remembered picture as goal."""
        data = self.remembered(number)
        if data is None:
            raise Refused("that picture is forgotten meanwhile")
        return self.goal_file(data, f"remembered picture {number}")

    def goal_tag(self, name: str) -> str:
        """Send a remembered place as goal."""
        return self._goal(self._tag_out, String(data=name))

    def goal_place(self, number: int, key: str) -> str:
        """Send a place of the planner's memory as goal; the key tells that it still is the one that was shown."""
        return self._goal(self._place_out, String(data=f"{number} {key}"))

    def remember(self, name: str) -> str:
        """Remember this place under a name."""
        before = self._hearing.kept["planner/memory"].values().get("answers", "")
        self._heard(self._remember_out)
        values = self._until("planner/memory", lambda v: v.get("answers", "") != before, self._remember_out, name)
        if values.get("refused"):
            raise Refused(values["refused"])
        return f"remembered as '{name}'"

    def _goal(self, publisher: Any, message: Any) -> str:
        self._heard(publisher)
        before = self._hearing.kept["planner/status"].values().get("goal_answers", "")
        values = self._until("planner/status", lambda v: v.get("goal_answers", "") != before, publisher, message)
        if values.get("goal_refused"):
            raise Refused(values["goal_refused"])
        return "goal taken"

    def _heard(self, publisher: Any) -> None:
        end = time.monotonic() + PATIENCE
        while publisher.get_subscription_count() == 0:
            if time.monotonic() > end:
                raise Refused(f"nobody listens to {publisher.topic_name}: does the planner run?")
            time.sleep(0.02)

    def _until(self, topic: str, test: Callable[[dict[str, str]], bool], publisher: Any, what: Any) -> dict[str, str]:
        """Publish, and wait for a diagnostic that passes a test."""
        kept = self._hearing.kept[topic]
        start, end = kept.version, time.monotonic() + PATIENCE
        publisher.publish(String(data=what) if isinstance(what, str) else what)
        while time.monotonic() < end:
            if kept.version != start and test(values := kept.values()):
                return values
            time.sleep(0.02)
        raise Refused(f"no answer on {topic} within {PATIENCE:g} s: is the planner active, and are there pictures?")

    # ------------------------------------------------------------ rules

    def put_drawn(self, name: str, pixels: list[Any]) -> str:
        """Add a forbidden area that was drawn in the picture; the set as a whole may be refused."""
        try:
            corners = [self.goal_pixel(float(u), float(v)) for u, v in pixels]
        except (TypeError, ValueError):
            raise Refused("a drawn area is a list of pixels") from None
        polygon = [[round(x, 3), round(y, 3)] for x, y in corners]
        return self.put([*self.guardrails(), {"name": name, "kind": "keep_out", "unit": "m", "polygon": polygon}])
