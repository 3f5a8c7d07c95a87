# SPDX-License-Identifier: Apache-2.0
"""The demonstration's eyes on the running graph: the ONE place where it talks ROS. It commands nothing but the goal.

Subscribes to what the nodes publish, keeps the newest of each, turns every camera image into a
:class:`~jepa_ros.commands.demo.log.Frame`, and measures rates, delays and the real-time factor. It shares the machine
with the stack that it measures, so what comes often is kept as bytes and read only when it is needed.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Path
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from jepa_ros.commands.demo.log import Episode, Frame
from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError
from jepa_ros.messages.images import pixels
from jepa_ros.messages.stamps import stamp_of
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import fill
from jepa_ros.ros_env import starting_ros
from jepa_ros.safety.output import MOVING_NAMES
from jepa_ros.worlds.truth import heard

NAN = math.nan
RATE_WINDOW = 3.0  # s of wall time over which rates are taken


class ObserverError(JepaRosError):
    """A node did not answer; the message names the service or topic."""


def read_values(message: DiagnosticArray) -> dict[str, str]:
    """The key-value pairs of the first status, with its text under ``message``."""
    if not message.status:
        return {}
    status = message.status[0]
    return {**{pair.key: pair.value for pair in status.values}, "message": status.message}


def number(values: dict[str, str], key: str) -> float:
    """A value as a number; NaN where it is missing or is none."""
    try:
        return float(values.get(key, "nan"))
    except ValueError:
        return NAN


class Newest:
    """The newest diagnostics of one topic, deserialised when somebody asks."""

    def __init__(self) -> None:
        self._bytes: bytes | None = None
        self._values: dict[str, str] = {}

    def put(self, data: bytes) -> None:
        """Keep a serialised DiagnosticArray."""
        self._bytes = data

    def get(self) -> dict[str, str]:
        """Its values; see :func:`read_values`."""
        if self._bytes is not None:
            self._values = read_values(deserialize_message(self._bytes, DiagnosticArray))
            self._bytes = None
        return self._values


class Observer:
    """Watches one graph from outside.

    Args:
        contract: of the robot that is watched.

    Attributes:
        end_to_end: s from a camera stamp (machine's monotonic clock, before rendering) to the first gate output that
            followed it. image_age: s, the same, for every output; both are filled by :meth:`settle`.
        plan_seconds, encode_seconds, iterations: one a plan (or image).
    """

    def __init__(self, contract: RobotContract) -> None:
        self.contract = contract
        self._context = Context()
        with starting_ros():
            rclpy.init(args=[], context=self._context)
            self.node = rclpy.create_node(
                "demo", context=self._context, enable_rosout=False, start_parameter_services=False
            )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.episode: Episode | None = None
        self.goal_time = NAN
        self.now = NAN  # s, simulated
        self.place: tuple[float, ...] = ()
        self.image: np.ndarray | None = None
        self.plan: np.ndarray | None = None
        self.candidates: list[tuple[np.ndarray, float]] = []
        self.tree: dict[str, Any] | None = None
        self.status: dict[str, str] = {}
        self.timing: dict[str, str] = {}
        self._gate = Newest()
        self._gate_log: list[bytes] = []
        self.end_to_end: list[float] = []
        self.image_age: list[float] = []
        self.plan_seconds: list[float] = []
        self.encode_seconds: list[float] = []
        self.iterations: list[float] = []
        self._captured: dict[int, float] = {}  # image stamp [ms] -> monotonic [s]
        self._followed = -1
        self._times: dict[str, deque[float]] = {}
        self._subscribe()

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        self._context.try_shutdown()

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # ---------------------------------------------------------------- what comes in

    def _subscribe(self) -> None:
        rows: list[tuple[type, str, Any, Any]] = [
            (Image, "image", qos.IMAGE, self._on_image),
            (Path, "plan", qos.STATUS, self._on_plan),
            (MarkerArray, "planner/candidates", qos.STATUS, self._on_candidates),
            (DiagnosticArray, "planner/status", qos.STATUS, self._on_status),
            (String, "planner/deliberation", qos.LATCHED, self._on_tree),
            (DiagnosticArray, "perception/status", qos.STATUS, self._on_perception),
            (DiagnosticArray, "sim/score", qos.STATUS, self._on_truth),
            (DiagnosticArray, "sim/timing", qos.STATUS, self._on_timing),
        ]
        unread: list[tuple[type, str, Any, Any]] = [
            (Image, "embedding", qos.EMBEDDING, lambda data: None),
            (self._command_type(), "command_raw", qos.COMMAND, lambda data: None),
            (DiagnosticArray, "safety_gate/state", qos.STATUS, self._on_gate),
        ]
        for group, raw in ((rows, False), (unread, True)):
            for kind, topic, profile, handle in group:
                take = partial(self._take, topic, handle)
                qos.subscription(self.node, kind, topic, take, profile, raw=raw)
        self._goal_out = qos.publisher(self.node, Image, "goal_image", qos.LATCHED)

    def _command_type(self) -> type:
        from jepa_ros.nodes.commands import CommandCodec

        return CommandCodec(self.contract).input_type

    def _take(self, topic: str, handle: Callable[[Any], None], message: Any) -> None:
        self._times.setdefault(topic, deque(maxlen=400)).append(time.monotonic())
        handle(message)

    def _on_truth(self, message: DiagnosticArray) -> None:
        self.now = stamp_of(message)
        if self.episode is not None:
            truth = heard({pair.key: pair.value for pair in message.status[0].values}, self.episode.begun)
            self.place = self.episode.place(truth)
            self.episode.track.append((self.now - self.goal_time, truth))

    def _on_timing(self, message: DiagnosticArray) -> None:
        self.timing = read_values(message)
        self._captured[round(1e3 * number(self.timing, "image_stamp"))] = number(self.timing, "captured_monotonic")

    def _on_gate(self, data: bytes) -> None:
        self._gate.put(data)
        if self.episode is not None:
            self._gate_log.append(data)

    @property
    def gate(self) -> dict[str, str]:
        """The gate's newest state."""
        return self._gate.get()

    def settle(self) -> None:
        """Work out the delays of the episode that ended; afterwards its bytes are forgotten."""
        for data in self._gate_log:
            gate = read_values(deserialize_message(data, DiagnosticArray))
            stamp, sent = number(gate, "image_stamp"), number(gate, "monotonic")
            if gate.get("mode") not in MOVING_NAMES or not math.isfinite(stamp):
                continue
            key = round(1e3 * stamp)
            age = sent - self._captured.get(key, NAN)
            if math.isfinite(age):
                self.image_age.append(age)
                if key > self._followed:
                    self.end_to_end.append(age)
                    self._followed = key
        self._gate_log.clear()
        self._captured.clear()

    def _on_status(self, message: DiagnosticArray) -> None:
        self.status = read_values(message)
        if self.episode is None:
            return
        self.episode.arrivals.append((self.now - self.goal_time, self.status.get("arrived") == "true"))
        seconds, iterations = number(self.status, "elapsed_s"), number(self.status, "iterations")
        if math.isfinite(seconds):
            self.plan_seconds.append(seconds)
        if math.isfinite(iterations):
            self.iterations.append(iterations)
        if self.status.get("reason") != "ok":
            self.plan, self.candidates = None, []

    def _on_perception(self, message: DiagnosticArray) -> None:
        seconds = number(read_values(message), "encode_s")
        if self.episode is not None and math.isfinite(seconds):
            self.encode_seconds.append(seconds)

    def _on_plan(self, message: Path) -> None:
        points = [(p.pose.position.x, p.pose.position.y) for p in message.poses]
        self.plan = np.array(points) if points else None

    def _on_candidates(self, message: MarkerArray) -> None:
        found = []
        for marker in message.markers:
            if len(marker.points) > 1:
                found.append((np.array([(p.x, p.y) for p in marker.points]), number({"cost": marker.text}, "cost")))
        self.candidates = found

    def _on_tree(self, message: String) -> None:
        self.tree = json.loads(message.data)

    def _on_image(self, message: Image) -> None:
        self.image = pixels(message)[0].copy()  # the simulator publishes rgb8
        if self.episode is None:
            return
        self.episode.frames.append(self.frame(stamp_of(message) - self.goal_time))

    def frame(self, at: float) -> Frame:
        """The newest of everything, as a frame at `at` seconds since the goal."""
        assert self.image is not None and self.episode is not None
        gate = self.gate
        return Frame(
            time=at,
            image=self.image,
            place=self.place,
            distance=self.episode.away(self.place),
            steps_to_go=number(self.status, "distance"),
            cost=number(self.status, "cost"),
            plan_ms=1e3 * number(self.status, "elapsed_s"),
            iterations=number(self.status, "iterations"),
            mode=gate.get("mode", "-"),
            reason=gate.get("reason", ""),
            scale=number(gate, "scale"),
            planner=self.status.get("reason", ""),
            plan=self.plan,
            candidates=self.candidates,
            terms=self.terms(),
            image_age_ms=1e3 * number(gate, "image_age"),
            tree=self.tree,
        )

    def terms(self) -> dict[str, float]:
        """The cost by term, of the plan in force."""
        return {key.removeprefix("terms/"): number(self.status, key) for key in self.status if key.startswith("terms/")}

    def rate(self, topic: str) -> float:
        """Messages a second of wall time over the last seconds; 0 for a topic that is silent."""
        now = time.monotonic()
        times = [t for t in self._times.get(topic, ()) if now - t < RATE_WINDOW]
        return len(times) / RATE_WINDOW

    @property
    def real_time_factor(self) -> float:
        """Simulated seconds in a second since the simulator's last reset; NaN before it is known."""
        return number(self.timing, "real_time_factor")

    # ---------------------------------------------------------------- what goes out

    def spin(self, seconds: float) -> None:
        """Handle what arrives for `seconds`."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def wait_for(self, what: str, test: Callable[[], bool], timeout: float, watch: Callable[[], None]) -> None:
        """Spin until `test` holds; `watch` is called meanwhile and may raise.

        Raises:
            ObserverError: it did not within `timeout` seconds; the message ends in `what`.
        """
        end = time.monotonic() + timeout
        while not test():
            watch()
            if time.monotonic() > end:
                raise ObserverError(f"within {timeout:.0f} s {what}")
            self.spin(0.05)

    def send_goal(self, picture: np.ndarray) -> None:
        """Publish a goal picture, (H, W, 3) uint8 RGB."""
        message = Image()
        message.header.stamp = self.node.get_clock().now().to_msg()
        self._goal_out.publish(fill(message, picture, "rgb8"))

    def goal_listeners(self) -> int:
        """How many subscribe to the goal's topic."""
        return self._goal_out.get_subscription_count()

    def call(self, kind: type, service: str, request: Any, timeout: float = 5.0) -> Any:
        """Call a service and return its answer.

        Raises:
            ObserverError: nobody answers within `timeout` seconds.
        """
        client = self.node.create_client(kind, service)
        try:
            end = time.monotonic() + timeout
            while not client.service_is_ready():
                if time.monotonic() > end:
                    raise ObserverError(f"service '{service}' is not there")
                self.spin(0.05)
            future = client.call_async(request)
            while not future.done():
                if time.monotonic() > end:
                    raise ObserverError(f"service '{service}' did not answer within {timeout:.0f} s")
                self.spin(0.02)
            return future.result()
        finally:
            self.node.destroy_client(client)

    def trigger(self, service: str) -> None:
        """Call a Trigger service.

        Raises:
            ObserverError: it is not there, or it refused.
        """
        answer = self.call(Trigger, service, Trigger.Request())
        if not answer.success:
            raise ObserverError(f"service '{service}' refused: {answer.message}")

    def set_parameters(self, node: str, values: dict[str, Any]) -> None:
        """Set a node's parameters, all or none.

        Raises:
            ObserverError: the node is not there, or refused; with its reason.
        """
        request = SetParametersAtomically.Request()
        messages: list[ParameterMessage] = [Parameter(name, value=v).to_parameter_msg() for name, v in values.items()]
        request.parameters = messages
        answer = self.call(SetParametersAtomically, f"{node}/set_parameters_atomically", request)
        if not answer.result.successful:
            raise ObserverError(f"node '{node}' refused {json.dumps(values)}: {answer.result.reason}")
