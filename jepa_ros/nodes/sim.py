# SPDX-License-Identifier: Apache-2.0
"""The ``sim`` node: the simulated arena behind the topics of a real robot, with a clock of its own.

Takes the gate's output and publishes ``image``, ``camera_info``, ``odom`` (wheel odometry that drifts), ``pose`` (a
localisation with stated noise), ``joint_states``, ``scan``, ``contact``, ``people`` (a tracker with stated noise, where
the contract declares it) and ``/clock``. For scoring and measuring
only: ``~/truth`` (``nav_msgs/Odometry``), ``~/score`` (contact counts) and ``~/timing`` (when, on the machine's
monotonic clock, each image was taken; before it was rendered). Services: ``~/reset`` starts an episode with the
present ``seed``, ``layout_seed`` and ``start``; ``~/pause`` stops time. The clock never runs backwards.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Pose, PoseArray, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo, Image, JointState, LaserScan
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from jepa_ros.contract import load_contract
from jepa_ros.contract.topics import STATE_TYPES
from jepa_ros.errors import JepaRosError
from jepa_ros.messages.types import message_class
from jepa_ros.nodes import params, qos
from jepa_ros.nodes.commands import CommandCodec
from jepa_ros.nodes.convert import fill, set_yaw, to_stamp
from jepa_ros.nodes.process import leave, run

#: Simulated seconds between two wake-ups; also the resolution of /clock and of the gate's tick.
TICK = 0.02
#: At most so much time is made up for at once; a machine that is too slow then runs below real time, and says so.
MAX_CATCH_UP = 0.2
#: The clock starts here, so that no stamp is ever zero ("not set").
CLOCK_START = 1.0
RATES = {"odom": 25.0, "joint_states": 10.0, "contact": 20.0, "truth": 25.0, "pose": 10.0, "scan": 10.0,
         "people": 10.0}  # fmt: skip

PARAMS = (
    params.ROBOT,
    params.Param(
        "layout", "fixed", "Obstacles of the arena.", choices=("fixed", "random", "empty", "maze", "dead_end")
    ),
    params.Param("person", "none", "A person who walks about in the arena.", choices=("none", "random")),
    params.Param("randomise", False, "Draw lighting, colours, camera pose and slip from the seed."),
    params.Param("gui", False, "Show PyBullet's window."),
    params.Param("seed", 0, "Seed of the episode; taken at ~/reset.", low=0, live=True),
    params.Param("layout_seed", 0, "Seed of a random layout; taken at ~/reset.", low=0, live=True),
    params.Param("start", [math.nan] * 3, "Start x, y [m], yaw [rad]; NaN draws it. Taken at ~/reset.", live=True),
    params.Param("real_time_factor", 1.0, "Simulated seconds in a second.", low=0.01, high=100.0),
)


def _wheel_covariance(x: float, y: float, yaw: float) -> np.ndarray:
    """A 6 x 6 row-major covariance with the given variances; what a planar robot cannot do is near zero."""
    covariance = np.zeros((6, 6))
    np.fill_diagonal(covariance, [x, y, 1e-9, 1e-9, 1e-9, yaw])
    return covariance.ravel()


class SimNode(Node):
    """See the module."""

    def __init__(self, **options: Any) -> None:
        super().__init__("sim", **options)
        params.declare(self, PARAMS)
        self._values = params.read(self, PARAMS)
        self._contract = load_contract(self._values.robot)
        try:
            from jepa_ros_sim.arena import ArenaSim, SceneConfig
        except ImportError as error:
            raise JepaRosError(f"the simulator cannot be imported ({error}): pip install 'jepa_ros[sim]'") from None
        values = self._values
        scene = SceneConfig(layout=values.layout, seed=values.seed, randomise=values.randomise, person=values.person)
        self._sim = ArenaSim(self._contract, scene, gui=self._values.gui)
        self._offset = CLOCK_START
        self._paused = False
        self._begin_episode()
        self._live = params.LiveParameters(self, PARAMS, self._check_episode)
        self._make_topics()
        self._due = dict.fromkeys(self._emitters, 0.0)
        self._factor = self._values.real_time_factor
        self._wall_start, self._sim_start = time.monotonic(), self._now
        self._late_said = 0.0
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(TICK / self._factor, self._on_tick, clock=steady)
        self.get_logger().info(
            f"arena '{self._contract.name}', layout {self._sim.layout.name}, seed {self._values.seed}: running"
        )

    # ------------------------------------------------------------ topics

    def _make_topics(self) -> None:
        codec = CommandCodec(self._contract)
        self._codec = codec
        qos.subscription(self, codec.output_type, self._contract.command.topic, self._on_command, qos.COMMAND)
        self._clock_out = qos.publisher(self, ClockMessage, "/clock", qos.CLOCK)
        state = {key: topic.topic for key, topic in self._contract.state.items()}
        self._image_out = qos.publisher(self, Image, self._contract.cameras[0].topic, qos.IMAGE)
        self._info_out = qos.publisher(self, CameraInfo, "camera_info", qos.STATE)
        told = ("odom", "pose", "joint_states", "scan", "contact", *(("people",) if "people" in state else ()))
        self._state_out = {
            name: qos.publisher(self, message_class(STATE_TYPES[name]), state.get(name, name), qos.STATE)
            for name in told
        }
        self._truth_out = qos.publisher(self, Odometry, "~/truth", qos.STATE)
        self._score_out = qos.publisher(self, DiagnosticArray, "~/score", qos.STATUS)
        self._timing_out = qos.publisher(self, DiagnosticArray, "~/timing", qos.STATUS)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetBool, "~/pause", self._on_pause)
        camera_rate = self._contract.cameras[0].rate
        self._emitters: dict[str, tuple[float, Callable[[float], None]]] = {
            "odom": (RATES["odom"], self._emit_odom),
            "joint_states": (RATES["joint_states"], self._emit_joints),
            "contact": (RATES["contact"], self._emit_contact),
            "truth": (RATES["truth"], self._emit_truth),
            "pose": (RATES["pose"], self._emit_pose),
            "scan": (RATES["scan"], self._emit_scan),
            "image": (camera_rate, self._emit_image),
        }
        if "people" in state:
            self._emitters["people"] = (RATES["people"], self._emit_people)

    def _on_command(self, message: Any) -> None:
        try:
            self._sim.set_command(self._codec.read_output(message).values)
        except JepaRosError as error:
            self.get_logger().warning(f"command ignored: {error}", throttle_duration_sec=1.0)

    # ------------------------------------------------------------ time

    @property
    def _now(self) -> float:
        return round(self._offset + self._sim.time, 6)

    def _on_tick(self) -> None:
        if self._paused:
            return
        wall = time.monotonic()
        behind = (wall - self._wall_start) * self._factor - (self._now - self._sim_start)
        steps = int(min(behind, MAX_CATCH_UP) / TICK + 1e-6)
        for _ in range(steps):
            self._sim.advance(TICK)
            self._emit_due()
        if behind > MAX_CATCH_UP + TICK:
            # What cannot be made up for is given up: time runs slower, never in leaps.
            if wall - self._late_said > 5.0:
                self.get_logger().warning(
                    f"the machine is too slow for real_time_factor {self._factor:g}: "
                    f"{behind - MAX_CATCH_UP:.2f} s dropped"
                )
                self._late_said = wall
            self._sim_start -= behind - MAX_CATCH_UP

    def _emit_due(self) -> None:
        now = self._now
        self._clock_out.publish(ClockMessage(clock=to_stamp(now)))
        for name, (rate, emit) in self._emitters.items():
            if now >= self._due[name] - 1e-6:
                # On a grid of its own period, so that the times do not depend on when the node started.
                self._due[name] = (math.floor(now * rate + 1e-6) + 1) / rate
                emit(now)

    # ------------------------------------------------------------ sensors

    def _emit_image(self, now: float) -> None:
        taken = time.monotonic()
        pixels = self._sim.image()
        stamp = to_stamp(now)
        message = Image()
        message.header.stamp = stamp
        message.header.frame_id = "camera"
        self._image_out.publish(fill(message, pixels, "rgb8"))
        camera = self._contract.cameras[0]
        info = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob")
        info.header = message.header
        focal = self._sim.view.focal
        cx, cy = camera.width / 2.0, camera.height / 2.0
        info.d = [0.0] * 5
        info.k = [focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0]
        info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        info.p = [focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
        self._info_out.publish(info)
        elapsed = max(1e-9, taken - self._wall_start)
        self._timing_out.publish(
            _diagnostics(
                stamp,
                "sim/timing",
                {
                    "image_stamp": f"{stamp.sec}.{stamp.nanosec:09d}",
                    "captured_monotonic": f"{taken:.6f}",
                    "published_monotonic": f"{time.monotonic():.6f}",
                    "real_time_factor": f"{(now - self._first_now) / max(1e-9, taken - self._first_wall):.4f}"
                    if elapsed > 0.5
                    else "nan",
                },
            )
        )

    def _emit_odom(self, now: float) -> None:
        x, y, yaw, v, w = self._sim.odom()
        message = self._odometry(now, self._contract.frames.odom, x, y, yaw, v, w)
        message.pose.covariance = _wheel_covariance(0.01, 0.01, 0.01)
        message.twist.covariance = _wheel_covariance(1e-4, 1e-9, 1e-3)
        self._state_out["odom"].publish(message)

    def _emit_pose(self, now: float) -> None:
        x, y, yaw, covariance = self._sim.pose()
        message = PoseWithCovarianceStamped()
        message.header.stamp = to_stamp(now)
        message.header.frame_id = self._contract.frames.map
        message.pose.pose.position.x, message.pose.pose.position.y = x, y
        set_yaw(message.pose.pose.orientation, yaw)
        full = np.zeros((6, 6))
        rows = np.array([0, 1, 5])
        full[np.ix_(rows, rows)] = covariance
        message.pose.covariance = full.ravel()
        self._state_out["pose"].publish(message)

    def _emit_joints(self, now: float) -> None:
        names, positions, velocities = self._sim.joint_states()
        message = JointState(name=list(names), position=positions.tolist(), velocity=velocities.tolist())
        message.header.stamp = to_stamp(now)
        self._state_out["joint_states"].publish(message)

    def _emit_scan(self, now: float) -> None:
        scan = self._sim.scan()
        message = LaserScan(
            angle_min=float(scan.angle_min),
            angle_max=float(scan.angle_max),
            angle_increment=float(scan.angle_increment),
            range_min=float(scan.range_min),
            range_max=float(scan.range_max),
        )
        message.header.stamp = to_stamp(now)
        message.header.frame_id = self._contract.frames.base
        message.ranges.frombytes(np.ascontiguousarray(scan.ranges, dtype=np.float32).tobytes())
        self._state_out["scan"].publish(message)

    def _emit_people(self, now: float) -> None:
        message = PoseArray()
        message.header.stamp, message.header.frame_id = to_stamp(now), self._contract.frames.map
        for x, y in self._sim.people():
            pose = Pose()
            pose.position.x, pose.position.y = x, y
            message.poses.append(pose)
        self._state_out["people"].publish(message)

    def _emit_contact(self, now: float) -> None:
        self._state_out["contact"].publish(Bool(data=bool(self._sim.contact())))

    def _emit_truth(self, now: float) -> None:
        truth = self._sim.truth()
        message = self._odometry(now, self._contract.frames.map, truth.x, truth.y, truth.yaw, truth.v, truth.w)
        self._truth_out.publish(message)
        values = {
            "episode_time": f"{truth.time:.3f}",
            "contact": str(truth.contact).lower(),
            "contact_steps": str(truth.contact_steps),
            "contact_count": str(truth.contact_count),
            "person_contact_steps": str(truth.person_contact_steps),
        }
        self._score_out.publish(_diagnostics(message.header.stamp, "sim/score", values))

    def _odometry(self, now: float, frame: str, x: float, y: float, yaw: float, v: float, w: float) -> Odometry:
        message = Odometry()
        message.header.stamp = to_stamp(now)
        message.header.frame_id = frame
        message.child_frame_id = self._contract.frames.base
        message.pose.pose.position.x, message.pose.pose.position.y = float(x), float(y)
        set_yaw(message.pose.pose.orientation, yaw)
        message.twist.twist.linear.x, message.twist.twist.angular.z = float(v), float(w)
        return message

    # ------------------------------------------------------------ episodes

    def _check_episode(self, changes: dict[str, Any]) -> None:
        start = changes.get("start")
        if start is not None and len(start) != 3:
            raise params.ParameterError(f"start has {len(start)} numbers; expected x, y, yaw")

    def _begin_episode(self) -> str:
        values = params.read(self, PARAMS)
        start = tuple(values.start) if np.all(np.isfinite(values.start)) else None
        self._sim.reset(seed=values.seed, layout_seed=values.layout_seed, start=start)
        self._first_wall, self._first_now = time.monotonic(), self._now
        truth = self._sim.truth()
        return f"seed {values.seed}: robot at x {truth.x:.2f} m, y {truth.y:.2f} m, yaw {truth.yaw:.2f} rad"

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        before = self._now
        try:
            self._offset = before
            response.message = self._begin_episode()
            response.success = True
        except JepaRosError as error:
            self._offset = before - self._sim.time
            response.message = str(error)
        self._wall_start, self._sim_start = time.monotonic(), self._now
        self.get_logger().info(f"reset: {response.message}")
        return response

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._paused = bool(request.data)
        self._wall_start, self._sim_start = time.monotonic(), self._now
        self._first_wall, self._first_now = self._wall_start, self._sim_start
        response.success = True
        response.message = "paused" if self._paused else "running"
        return response

    def close(self) -> None:
        """Free the simulator."""
        self._sim.close()


def _diagnostics(stamp: Any, name: str, values: dict[str, str]) -> DiagnosticArray:
    status = DiagnosticStatus(level=DiagnosticStatus.OK, name=name)
    status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
    message = DiagnosticArray(status=[status])
    message.header.stamp = stamp
    return message


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal; return the exit code."""
    return run(lambda: [SimNode()], "sim", args)


if __name__ == "__main__":
    leave(main())
