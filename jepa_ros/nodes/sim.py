# SPDX-License-Identifier: Apache-2.0
"""The ``sim`` node: a simulated world behind the topics of a real robot, with a clock of its own.

The world is any that is registered (:mod:`jepa_ros.worlds`); the arena's parameters besides are for it alone.

Takes the gate's output and publishes the pictures of all cameras, ``camera_info`` of the first, ``/clock`` and what the
scene measures. For scoring and measuring only: ``~/score`` (the scene's truth, each value as JSON), in the arena
``~/truth`` (``nav_msgs/Odometry``), and ``~/timing`` (when, on the machine's monotonic clock, each image was taken;
before it was rendered). Services: ``~/reset`` starts an episode with the present ``seed``, ``layout_seed`` and
``start``; ``~/pause`` stops time. The clock never runs backwards.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import SetBool, Trigger

from jepa_ros.contract import Camera, RobotContract
from jepa_ros.errors import JepaRosError
from jepa_ros.nodes import params, qos
from jepa_ros.nodes.commands import CommandCodec
from jepa_ros.nodes.convert import fill, to_stamp
from jepa_ros.nodes.process import leave, run
from jepa_ros.nodes.sim_arena import ArenaSide
from jepa_ros.nodes.sim_messages import camera_info, diagnostics
from jepa_ros.nodes.sim_world import WorldSide
from jepa_ros.worlds import Scene, World, find

#: Simulated seconds between two wake-ups; also the resolution of /clock and of the gate's tick.
TICK = 0.02
#: At most so much time is made up for at once; a machine that is too slow then runs below real time, and says so.
MAX_CATCH_UP = 0.2
#: The clock starts here, so that no stamp is ever zero ("not set").
CLOCK_START = 1.0
PARAMS = (
    params.ROBOT,
    params.Param(
        "layout", "fixed", "Obstacles of the arena.", choices=("fixed", "random", "empty", "maze", "dead_end")
    ),
    params.Param("person", "none", "A person who walks about in the arena.", choices=("none", "random")),
    params.Param("randomise", False, "Draw lighting, colours, camera pose and slip from the seed."),
    params.Param("distractors", 0, "Objects on the table that have no part in the task.", low=0),
    params.Param("gui", False, "Show PyBullet's window."),
    params.Param("seed", 0, "Seed of the episode, or its number within the task; used at ~/reset.", low=0, live=True),
    params.Param("layout_seed", 0, "Seed of the layout, or of the task's episodes; used at ~/reset.", low=0, live=True),
    params.Param("start", [math.nan] * 3, "Start x, y [m], yaw [rad]; NaN: random. Used at ~/reset.", live=True),
    params.Param("task", "", "Task whose episodes are run; empty: the world's first, in the arena none."),
    params.Param("real_time_factor", 1.0, "Simulated seconds per second.", low=0.01, high=100.0),
)


def _side(node: Node, contract: RobotContract, world: World, values: Any) -> WorldSide:
    """The world of a robot; parameters that it has no use for are refused where they were set."""
    kind = ArenaSide if world.name == "arena" else WorldSide
    try:
        side = kind(node, contract, world, values)
    except ImportError as error:
        raise JepaRosError(f"the simulator cannot be imported ({error}): pip install 'jepa_ros[sim]'") from None
    for param in PARAMS:
        if param.name in side.unused and str(getattr(values, param.name)) != str(param.default):
            raise params.ParameterError(
                f"parameter {param.name} does nothing in task '{side.task.name}' of the world '{world.name}'"
            )
    return side


class SimNode(Node):
    """See the module."""

    def __init__(self, **options: Any) -> None:
        super().__init__("sim", **options)
        params.declare(self, PARAMS)
        self._values = params.read(self, PARAMS)
        self._contract, world = find(self._values.robot)
        self._side = _side(self, self._contract, world, self._values)
        self._offset = CLOCK_START
        self._paused = False
        said = self._begin_episode()
        self._live = params.LiveParameters(self, PARAMS, self._check_episode)
        self._make_topics()
        self._due = dict.fromkeys(self._emitters, 0.0)
        self._factor = self._values.real_time_factor
        self._wall_start, self._sim_start = time.monotonic(), self._now
        self._late_said = 0.0
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(TICK / self._factor, self._on_tick, clock=steady)
        self.get_logger().info(f"'{self._contract.name}', {said}: running")

    @property
    def _scene(self) -> Scene:
        return self._side.scene

    # ------------------------------------------------------------ topics

    def _make_topics(self) -> None:
        codec = CommandCodec(self._contract)
        self._codec = codec
        qos.subscription(self, codec.output_type, self._contract.command.topic, self._on_command, qos.COMMAND)
        self._clock_out = qos.publisher(self, ClockMessage, "/clock", qos.CLOCK)
        if self._side.focal is not None:
            self._info_out = qos.publisher(self, CameraInfo, "camera_info", qos.STATE)
        self._timing_out = qos.publisher(self, DiagnosticArray, "~/timing", qos.STATUS)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetBool, "~/pause", self._on_pause)
        self._emitters = {
            **self._side.emitters(),
            **{f"camera {c.name}": (c.rate, self._camera(c, not i)) for i, c in enumerate(self._contract.cameras)},
        }

    def _on_command(self, message: Any) -> None:
        try:
            self._scene.command(self._codec.read_output(message).values)
        except JepaRosError as error:
            self.get_logger().warning(f"command ignored: {error}", throttle_duration_sec=1.0)

    # ------------------------------------------------------------ time

    @property
    def _now(self) -> float:
        return round(self._offset + self._scene.time, 6)

    def _on_tick(self) -> None:
        if self._paused:
            return
        wall = time.monotonic()
        behind = (wall - self._wall_start) * self._factor - (self._now - self._sim_start)
        steps = int(min(behind, MAX_CATCH_UP) / TICK + 1e-6)
        for _ in range(steps):
            self._scene.advance(TICK)
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

    def _camera(self, camera: Camera, first: bool) -> Callable[[float], None]:
        """What publishes the pictures of a camera, and with those of the first one how they were taken."""
        out = qos.publisher(self, Image, camera.topic, qos.IMAGE)

        def emit(now: float) -> None:
            taken = time.monotonic()
            pixels = self._scene.observe((camera.name,)).images[camera.name]
            message = Image()
            message.header.stamp = to_stamp(now)
            message.header.frame_id = "camera" if first else camera.name
            out.publish(fill(message, pixels, "rgb8"))
            if first:
                focal = self._side.focal
                if focal is not None:
                    self._info_out.publish(camera_info(message.header, camera, focal))
                self._emit_timing(now, taken)

        return emit

    def _emit_timing(self, now: float, taken: float) -> None:
        stamp = to_stamp(now)
        known = taken - self._wall_start > 0.5
        factor = (now - self._first_now) / max(1e-9, taken - self._first_wall)
        values = {
            "image_stamp": f"{stamp.sec}.{stamp.nanosec:09d}",
            "captured_monotonic": f"{taken:.6f}",
            "published_monotonic": f"{time.monotonic():.6f}",
            "real_time_factor": f"{factor:.4f}" if known else "nan",
        }
        self._timing_out.publish(diagnostics(stamp, "sim/timing", values))

    # ------------------------------------------------------------ episodes

    def _check_episode(self, changes: dict[str, Any]) -> None:
        start = changes.get("start")
        if start is not None and len(start) != 3:
            raise params.ParameterError(f"start has {len(start)} numbers; expected x, y, yaw")

    def _begin_episode(self) -> str:
        said = self._side.begin(params.read(self, PARAMS))
        self._first_wall, self._first_now = time.monotonic(), self._now
        return said

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        before = self._now
        try:
            self._offset = before
            response.message = self._begin_episode()
            response.success = True
        except JepaRosError as error:
            self._offset = before - self._scene.time
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
        self._scene.close()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal; return the exit code."""
    return run(lambda: [SimNode()], "sim", args)


if __name__ == "__main__":
    leave(main())
