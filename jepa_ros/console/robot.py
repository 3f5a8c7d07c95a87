# SPDX-License-Identifier: Apache-2.0
"""What the console hears of a running robot and says to it: the ONE place where it talks ROS.

Messages are kept as bytes and read when a page looks, so that a console nobody looks at costs next to nothing. Requests
are made from the server's worker threads; the node spins in a thread of its own.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import deque
from typing import Any

import numpy as np
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid, Path
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import GetParameters, SetParametersAtomically
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import MarkerArray

from jepa_ros.console.desk import Refused, Said
from jepa_ros.console.pictures import is_picture, jpeg
from jepa_ros.console.projection import Projection
from jepa_ros.contract import RobotContract
from jepa_ros.messages.images import pixels as pixels_of
from jepa_ros.messages.rotation import yaw_of
from jepa_ros.nodes import qos
from jepa_ros.nodes.commands import CommandCodec
from jepa_ros.nodes.convert import set_yaw
from jepa_ros.yaml_text import load_yaml

#: Seconds to wait for an answer; a stop waits shorter, and is repeated by whoever presses again.
PATIENCE, STOP_PATIENCE = 3.0, 1.0
#: A page that drives speaks ten times a second; after this long without a word the robot is told to stand still.
DEAD_MAN = 0.2
#: Seconds for which standing still is said after that; then the console is silent and the planner has the robot again.
STILL = 0.5
RATE_WINDOW = 3.0
#: Points of the curves of surprise and novelty that are kept, one a control step.
CURVE = 300


def values_of(message: DiagnosticArray) -> dict[str, str]:
    """All key-value pairs of a diagnostic, the first status' text under ``message``."""
    found = {pair.key: pair.value for status in message.status for pair in status.values}
    return {**found, "message": message.status[0].message if message.status else ""}


def numbers(values: dict[str, str], prefix: str) -> dict[str, float]:
    """The finite numbers whose key begins with ``prefix``, by the rest of the key."""
    found = {}
    for key, text in values.items():
        if key.startswith(prefix):
            try:
                value = float(text)
            except ValueError:
                continue
            if math.isfinite(value):
                found[key[len(prefix) :]] = value
    return found


class Kept:
    """The newest message of one topic, as bytes, with when it came."""

    def __init__(self, kind: type, latched: bool = False) -> None:
        self.kind = kind
        self.latched = latched  # spoken when something changes, so that its age says nothing
        self.data: bytes | None = None
        self.version = 0
        self.times: deque[float] = deque(maxlen=200)
        self._read: tuple[int, Any] = (0, None)

    def put(self, data: bytes) -> None:
        """Keep a serialised message."""
        self.data = data
        self.version += 1
        self.times.append(time.monotonic())

    def get(self) -> Any:
        """The newest message, or None; each is deserialised at most once."""
        if self.data is None:
            return None
        version, data = self.version, self.data
        if self._read[0] != version:
            self._read = version, deserialize_message(data, self.kind)
        return self._read[1]

    def account(self, now: float) -> dict[str, Any]:
        """Rate [Hz] over the last seconds, and age [s] of the newest; None before the first."""
        recent = [t for t in list(self.times) if now - t < RATE_WINDOW]
        return {
            "rate": round(len(recent) / RATE_WINDOW, 1),
            "age": round(now - self.times[-1], 2) if self.times else None,
            "latched": self.latched,
        }


class Robot:
    """One running robot, seen and spoken to by the console.

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
        self._codec = CommandCodec(contract)
        self._kept: dict[str, Kept] = {}
        self._curves: deque[dict[str, float]] = deque(maxlen=CURVE)
        self._goal_picture: bytes | None = None
        self._goal_version = 0
        self._picture: tuple[int, bytes] = (0, b"")
        self._projection: Projection | None = None
        self._rules: list[dict[str, Any]] = []
        self._drive: tuple[np.ndarray | None, float] = (None, -math.inf)
        self._listen()
        self._offer()
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="console-ros", daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._ended.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        """Leave the graph; a robot that was being driven is told to stand still first."""
        if self._drive[0] is not None:
            self._say_drive(np.zeros(self.contract.action_dim))
        self._ended.set()
        self._executor.wake()
        self._thread.join(timeout=2.0)
        self.node.destroy_node()
        self._context.try_shutdown()

    # ------------------------------------------------------------ hearing

    def _listen(self) -> None:
        camera = self.contract.cameras[0].topic
        pose = self.contract.state["pose"].topic if "pose" in self.contract.state else None
        rows: list[tuple[str, type, Any]] = [
            (camera, Image, qos.IMAGE),
            (f"{camera}/compressed", CompressedImage, qos.IMAGE),
            ("camera_info", CameraInfo, qos.STATE),
            ("plan", Path, qos.STATUS),
            ("planner/candidates", MarkerArray, qos.STATUS),
            ("planner/status", DiagnosticArray, qos.STATUS),
            ("planner/traversability", OccupancyGrid, qos.LATCHED),
            ("planner/memory", DiagnosticArray, qos.LATCHED),
            ("signals", DiagnosticArray, qos.SIGNALS),
            ("perception/status", DiagnosticArray, qos.STATUS),
            ("safety_gate/state", DiagnosticArray, qos.LATCHED),
        ]
        if pose is not None:
            rows.append((pose, PoseWithCovarianceStamped, qos.STATE))
        self._pose_topic = pose
        for topic, kind, profile in rows:
            kept = self._kept[topic] = Kept(kind, topic == "planner/memory")
            take = self._on_signals if topic == "signals" else kept.put
            if topic == "safety_gate/state":
                take = self._on_gate
            qos.subscription(self.node, kind, topic, take, profile, raw=True)
        qos.subscribe_goal(self.node, Image, "goal_image", self._on_goal)
        qos.subscribe_goal(self.node, CompressedImage, "goal_image/compressed", self._on_goal)

    def _on_signals(self, data: bytes) -> None:
        kept = self._kept["signals"]
        kept.put(data)
        values = values_of(kept.get())
        point = {name: v for name in ("surprise", "novelty") if (v := numbers(values, name).get("")) is not None}
        if point:
            self._curves.append(point)

    def _on_gate(self, data: bytes) -> None:
        # The gate speaks 50 times a second and adds its counts ten times a second: keep the newest of both kinds.
        self._kept["safety_gate/state"].put(data)
        if b"count/" in data or b"age/" in data:
            self._gate_counts = data

    _gate_counts: bytes | None = None

    def _on_goal(self, message: Image | CompressedImage) -> None:
        try:
            pixels, encoding = pixels_of(message)
        except ValueError:
            return
        self._goal_picture = jpeg(pixels, encoding)
        self._goal_version += 1

    def _values(self, topic: str) -> dict[str, str]:
        message = self._kept[topic].get()
        return {} if message is None else values_of(message)

    # ------------------------------------------------------------ what a page sees

    def picture(self, seen: int) -> tuple[int, bytes] | None:
        """(version, JPEG) of the newest camera picture, or None if version ``seen`` is the newest."""
        topic = self.contract.cameras[0].topic
        raw, packed = self._kept[topic], self._kept[f"{topic}/compressed"]
        kept = raw if raw.version else packed
        if kept.version == 0 or kept.version == seen:
            return None
        if self._picture[0] != kept.version:
            version, message = kept.version, kept.get()
            try:
                packed_already = isinstance(message, CompressedImage)
                data = bytes(message.data) if packed_already else jpeg(*pixels_of(message))
            except ValueError:  # a picture of an encoding that nobody can read: perception says so, the page shows none
                return None
            self._picture = version, data
        return self._picture

    def goal_picture(self, seen: int) -> tuple[int, bytes] | None:
        """(version, JPEG) of the newest goal picture, or None if version ``seen`` is the newest."""
        if self._goal_picture is None or self._goal_version == seen:
            return None
        return self._goal_version, self._goal_picture

    def snapshot(self) -> dict[str, Any]:
        """All that a page shows, for JSON."""
        now = time.monotonic()
        gate, status = self._values("safety_gate/state"), self._values("planner/status")
        counts = {} if self._gate_counts is None else values_of(deserialize_message(self._gate_counts, DiagnosticArray))
        memory = self._values("planner/memory")
        return {
            "robot": self.contract.name,
            "gate": {
                "mode": gate.get("mode", ""),
                "reason": gate.get("reason", ""),
                "reasons": gate.get("reasons", "").split(),
                "sentence": gate.get("message", ""),
                "scale": gate.get("scale", ""),
                "source": gate.get("source", ""),
                "values": gate.get("values", "").split(),
                "guardrail_hash": gate.get("guardrail_hash", ""),
                "ages": numbers(counts, "age/"),
                "counts": numbers(counts, "count/"),
                "age": self._kept["safety_gate/state"].account(now)["age"],
            },
            "planner": {
                "reason": status.get("reason", ""),
                "sentence": status.get("message", ""),
                "goal": status.get("goal", ""),
                "goal_name": status.get("goal_name", ""),
                "refused": status.get("goal_refused", ""),
                "arrived": status.get("arrived", ""),
                "feasible": status.get("feasible", ""),
                "iterations": status.get("iterations", ""),
                "elapsed": status.get("elapsed_s", ""),
                "cost": status.get("cost", ""),
                "distance": status.get("distance", ""),
                "terms": numbers(status, "terms/"),
                "guardrails": numbers(status, "guardrails/"),
                "left_to_the_gate": status.get("guardrails_left_to_the_gate", ""),
                "age": self._kept["planner/status"].account(now)["age"],
            },
            "inputs": {topic: kept.account(now) for topic, kept in self._kept.items()},
            "curves": list(self._curves),
            "memory": {
                "folder": memory.get("folder", ""),
                "tags": {k[4:]: v for k, v in memory.items() if k.startswith("tag/")},
                "refused": memory.get("refused", ""),
            },
            "drawing": self._drawing(now),
            "driving": self._drive[0] is not None,
            "axes": [
                {"name": a.name, "unit": a.unit, "low": float(a.low), "high": float(a.high)}
                for a in self.contract.action
            ],
            "can_drive": self._codec.is_base,
        }

    def _drawing(self, now: float) -> dict[str, Any]:
        """Plan, candidates and pose, in map metres and, where the camera's place is known, in pixels."""
        projection = self._camera()
        fresh = (self._kept["planner/status"].account(now)["age"] or 0.0) < 2.0
        plan = self._kept["plan"].get() if fresh and self._values("planner/status").get("reason") == "ok" else None
        lines = [] if plan is None else [[(p.pose.position.x, p.pose.position.y) for p in plan.poses]]
        markers = self._kept["planner/candidates"].get() if lines else None
        costs = []
        for marker in [] if markers is None else markers.markers:
            if len(marker.points) > 1:
                lines.append([(p.x, p.y) for p in marker.points])
                costs.append(marker.text)
        found: dict[str, Any] = {"plan": lines[0] if lines else [], "candidates": lines[1:], "costs": costs}
        pose = self._kept[self._pose_topic].get() if self._pose_topic else None
        if pose is not None:
            at = pose.pose.pose
            found["pose"] = [at.position.x, at.position.y, yaw_of(at.orientation)]
        found["placed"] = projection is not None
        if projection is not None:
            found["size"] = projection.size
            found["pixels"] = [projection.drawn(line) for line in lines]
            areas = [rule["polygon"] for rule in self._rules if "polygon" in rule]
            found["rules"] = [projection.drawn(area) for area in areas]
        return found

    def _camera(self) -> Projection | None:
        if self._projection is None and (info := self._kept["camera_info"].get()) is not None:
            camera = self.contract.cameras[0]
            if camera.frame == self.contract.frames.map:
                size = (info.width, info.height)
                self._projection = Projection.of(camera.position, camera.orientation, list(info.k), size)
        return self._projection

    def map(self) -> dict[str, Any] | None:
        """Where the robot can drive, as the planner believes: width, origin, resolution and rows of 0 to 100."""
        grid = self._kept["planner/traversability"].get()
        if grid is None:
            return None
        return {
            "width": grid.info.width,
            "height": grid.info.height,
            "resolution": grid.info.resolution,
            "origin": [grid.info.origin.position.x, grid.info.origin.position.y],
            "data": np.asarray(grid.data, dtype=np.int8).tolist(),
        }

    # ------------------------------------------------------------ saying

    def _offer(self) -> None:
        node = self.node
        self._services = {
            "stop": node.create_client(Trigger, "safety_gate/estop"),
            "reset": node.create_client(Trigger, "safety_gate/reset"),
            "enable": node.create_client(SetBool, "safety_gate/enable"),
            "interventions": node.create_client(Trigger, "safety_gate/interventions"),
            "pause": node.create_client(SetBool, "planner/pause"),
            "clear": node.create_client(Trigger, "planner/clear_goal"),
            "here": node.create_client(Trigger, "planner/goal_from_current"),
        }
        self._parameters = {
            name: (
                node.create_client(GetParameters, f"{name}/get_parameters"),
                node.create_client(SetParametersAtomically, f"{name}/set_parameters_atomically"),
            )
            for name in ("safety_gate", "planner")
        }
        self._pose_out = qos.publisher(node, PoseStamped, "goal_pose", qos.COMMAND)
        self._picture_out = qos.publisher(node, CompressedImage, "goal_image/compressed", qos.COMMAND)
        self._tag_out = qos.publisher(node, String, "goal_tag", qos.COMMAND)
        self._remember_out = qos.publisher(node, String, "planner/remember", qos.COMMAND)
        self._log_out = qos.publisher(node, String, "~/log", qos.STATUS)
        self._teleop_out = qos.publisher(node, self._codec.input_type, "command_teleop", qos.COMMAND)
        node.create_timer(0.05, self._on_drive, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _call(self, client: Any, request: Any, patience: float = PATIENCE) -> Any:
        if not client.service_is_ready():
            raise Refused(f"{client.srv_name} is not there: does the stack run?")
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(patience):
            client.remove_pending_request(future)
            raise Refused(f"{client.srv_name} did not answer within {patience:g} s")
        return future.result()

    def _ask(self, name: str, request: Any, patience: float = PATIENCE) -> str:
        answer = self._call(self._services[name], request, patience)
        if not answer.success:
            raise Refused(answer.message)
        return str(answer.message)

    def stop(self) -> str:
        """Latch the gate's e-stop."""
        self._drive = None, -math.inf
        return self._ask("stop", Trigger.Request(), STOP_PATIENCE)

    def reset(self) -> str:
        """Release a latched gate, if its cause is gone."""
        return self._ask("reset", Trigger.Request())

    def enable(self, on: bool) -> str:
        """Let the gate pass commands, or none."""
        return self._ask("enable", SetBool.Request(data=on))

    def pause(self, on: bool) -> str:
        """Let the planner rest, or go on."""
        return self._ask("pause", SetBool.Request(data=on))

    def clear(self) -> str:
        """No goal."""
        return self._ask("clear", Trigger.Request())

    def here(self) -> str:
        """What the camera sees now is the goal."""
        return self._ask("here", Trigger.Request())

    def interventions(self) -> dict[str, Any]:
        """What the gate did lately; see :func:`jepa_ros.safety.gate.describe`."""
        found: dict[str, Any] = json.loads(self._ask("interventions", Trigger.Request()))
        return found

    def log(self, said: Said) -> None:
        """Publish what was said, so that a bag has it."""
        self._log_out.publish(String(data=json.dumps(said.plain())))

    def goal_pixel(self, u: float, v: float) -> tuple[float, float]:
        """Where on the ground a pixel of the camera's picture lies, x, y [m].

        Raises:
            Refused: the camera's place is not known, or the pixel shows no ground.
        """
        projection = self._camera()
        if projection is None:
            raise Refused("this camera has no fixed place in the map, so a click has none: use a picture or a tag")
        at = projection.ground(u, v)
        if at is None:
            raise Refused("that pixel shows no ground")
        return at

    def towards(self, x: float, y: float) -> float:
        """The heading [rad] from where the robot is to a place; 0 where its pose is not known."""
        pose = self._kept[self._pose_topic].get() if self._pose_topic else None
        if pose is None:
            return 0.0
        at = pose.pose.pose.position
        return math.atan2(y - at.y, x - at.x)

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

    def goal_tag(self, name: str) -> str:
        """Send a remembered place as goal."""
        return self._goal(self._tag_out, String(data=name))

    def remember(self, name: str) -> str:
        """Remember this place under a name."""
        before = self._values("planner/memory").get("answers", "")
        self._heard(self._remember_out)
        self._remember_out.publish(String(data=name))
        values = self._until("planner/memory", lambda v: v.get("answers", "") != before)
        if values.get("refused"):
            raise Refused(values["refused"])
        return f"remembered as '{name}'"

    def _goal(self, publisher: Any, message: Any) -> str:
        self._heard(publisher)
        before = self._values("planner/status").get("goal_ns", "")
        publisher.publish(message)

        def answered(v: dict[str, str]) -> bool:
            return bool(v.get("goal_refused")) or v.get("goal_ns", "") != before

        values = self._until("planner/status", answered)
        if values.get("goal_refused"):
            raise Refused(values["goal_refused"])
        return "goal taken"

    def _heard(self, publisher: Any) -> None:
        end = time.monotonic() + PATIENCE
        while publisher.get_subscription_count() == 0:
            if time.monotonic() > end:
                raise Refused(f"nobody listens to {publisher.topic_name}: does the planner run?")
            time.sleep(0.02)

    def _until(self, topic: str, test: Any) -> dict[str, str]:
        end = time.monotonic() + PATIENCE
        start = self._kept[topic].version
        while time.monotonic() < end:
            if self._kept[topic].version != start and test(values := self._values(topic)):
                return values
            time.sleep(0.02)
        raise Refused(f"no answer on {topic} within {PATIENCE:g} s: is the planner active, and are there pictures?")

    # ------------------------------------------------------------ rules

    def parameter(self, node: str, name: str) -> str:
        """A text parameter of the planner or the gate."""
        answer = self._call(self._parameters[node][0], GetParameters.Request(names=[name]))
        return str(answer.values[0].string_value) if answer.values else ""

    def set_parameter(self, node: str, name: str, value: Any) -> None:
        """Set it, or say why the node refuses.

        Raises:
            Refused: with the node's own words.
        """
        messages: list[ParameterMessage] = [Parameter(name, value=value).to_parameter_msg()]
        answer = self._call(self._parameters[node][1], SetParametersAtomically.Request(parameters=messages))
        if not answer.result.successful:
            raise Refused(f"{node}: {answer.result.reason}")

    def guardrails(self) -> list[dict[str, Any]]:
        """The guardrails in force at the gate, as they are written in YAML."""
        found = load_yaml(self.parameter("safety_gate", "guardrails"), "guardrails")
        self._rules = list(self.contract.guardrails) if found is None else found
        return self._rules

    def put(self, rules: list[dict[str, Any]]) -> str:
        """Give gate and planner another guardrail set; if either refuses, both keep the old one."""
        text = yaml.safe_dump(rules, default_flow_style=None)
        before = self.parameter("safety_gate", "guardrails")
        self.set_parameter("safety_gate", "guardrails", text)
        try:
            self.set_parameter("planner", "guardrails", text)
        except Refused:
            self.set_parameter("safety_gate", "guardrails", before)
            raise
        return "guardrails changed"

    def put_drawn(self, name: str, pixels: list[Any]) -> str:
        """Add a forbidden area that was drawn in the picture; the set as a whole may be refused."""
        try:
            corners = [self.goal_pixel(float(u), float(v)) for u, v in pixels]
        except (TypeError, ValueError):
            raise Refused("a drawn area is a list of pixels") from None
        polygon = [[round(x, 3), round(y, 3)] for x, y in corners]
        return self.put([*self.guardrails(), {"name": name, "kind": "keep_out", "unit": "m", "polygon": polygon}])

    # ------------------------------------------------------------ holding to drive

    def drive(self, command: list[float]) -> None:
        """One word of a page that is held to drive: shares of the range of each axis, -1 to 1. See :data:`DEAD_MAN`.

        Raises:
            Refused: the robot is no base, or the numbers do not fit.
        """
        if not self._codec.is_base:
            raise Refused("this robot is not driven by hand from here")
        share = np.asarray(command, dtype=float)
        if share.shape != (self.contract.action_dim,) or not np.isfinite(share).all():
            raise Refused(f"expected {self.contract.action_dim} finite numbers")
        share = np.clip(share, -1.0, 1.0)
        low, high = (np.array([getattr(a, side) for a in self.contract.action]) for side in ("low", "high"))
        first = self._drive[0] is None
        self._drive = np.where(share >= 0.0, share * high, -share * low), time.monotonic()
        if first:
            self._on_drive()

    def let_go(self) -> None:
        """The page let go: stand still now."""
        if self._drive[0] is not None:
            self._drive = np.zeros(self.contract.action_dim), min(self._drive[1], time.monotonic() - DEAD_MAN)
            self._on_drive()

    def _on_drive(self) -> None:
        command, since = self._drive
        if command is None:
            return
        silent = time.monotonic() - since
        if silent > DEAD_MAN + STILL:
            self._drive = None, -math.inf
            return
        self._say_drive(command if silent <= DEAD_MAN else np.zeros_like(command))

    def _say_drive(self, command: np.ndarray) -> None:
        now = self.node.get_clock().now().nanoseconds * 1e-9
        self._teleop_out.publish(self._codec.write_input(command, now))
