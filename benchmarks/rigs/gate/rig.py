# SPDX-License-Identifier: Apache-2.0
"""A gate, good inputs at the usual rates, and a robot that does what a real one does: the bench of the gate's tests.

The robot obeys after a delay, accelerates and brakes no harder than its contract guarantees, and is seen through a
noisy pose. Every input is good until a test spoils it: ``rig.spoil["odom"] = function`` changes or drops (None) a
message on its way to the gate.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from jepa_ros.contract import RobotContract
from jepa_ros.safety import (
    CommandIn,
    ContactIn,
    EstopIn,
    Gate,
    GateConfig,
    GateInputs,
    GateOutput,
    ImageIn,
    JointsIn,
    OdomIn,
    PeopleIn,
    PoseIn,
    Requests,
    ScanIn,
    SignalsIn,
    WrenchIn,
    parse_guardrails,
)
from jepa_ros.safety.geometry import advance

#: A fence, a table and a pillar, as guardrails of the bench's base.
ROOM = parse_guardrails(
    [
        {"name": "room", "kind": "keep_in", "unit": "m", "box": {"center": [0.0, 0.0], "size": [1.6, 1.6], "yaw": 0.3}},
        {
            "name": "table",
            "kind": "keep_out",
            "unit": "m",
            "polygon": [[0.35, -0.3], [0.6, -0.25], [0.5, 0.2], [0.3, 0.1]],
        },
        {"name": "pillar", "kind": "keep_out", "unit": "m", "circle": {"center": [-0.4, 0.3], "radius": 0.1}},
    ]
)
Spoil = Callable[[Any], Any]
#: Radius of an obstacle [m].
POST = 0.02
#: Steps of the robot's motion in a tick.
PARTS = 4

BASE = {
    "contract": 1,
    "name": "bench_base",
    "rate": 5.0,
    "actuation_latency": 0.06,
    "footprint": {"kind": "circle", "radius": 0.1},
    "kinematics": {"kind": "diff_drive", "wheel_radius": 0.03, "wheel_separation": 0.14},
    "cameras": [{"name": "image", "width": 64, "height": 64, "rate": 10.0, "size": 64}],
    "action": [
        {"name": "linear.x", "unit": "m/s", "low": -0.5, "high": 0.5},
        {"name": "angular.z", "unit": "rad/s", "low": -2.0, "high": 2.0},
    ],
    "command": {"kind": "twist_stamped", "topic": "cmd_vel"},
    "state": {
        "odom": {"timeout": 0.3},
        "pose": {"timeout": 0.5},
        "scan": {"timeout": 0.5},
        "contact": {"timeout": 0.5},
    },
    "limits": {
        "velocity": {"linear.x": 0.5, "angular.z": 2.0},
        "acceleration": {"linear.x": 1.5, "angular.z": 8.0},
        "braking": {"linear.x": 1.0, "angular.z": 6.0},
    },
    "watchdog": {"rearm_time": 0.3, "estop_required": True, "bad_command_latch": 5, "resume_latch_count": 3,
                 "stop_motion_timeout": 0.5, "heartbeat_timeout": 0.5, "exit_duration": 0.5},
    "stop": "ramp",
}  # fmt: skip

ARM = {
    "contract": 1,
    "name": "bench_arm",
    "rate": 10.0,
    "footprint": {"kind": "circle", "radius": 0.1},
    "kinematics": {"kind": "joints"},
    "cameras": BASE["cameras"],
    "action": [
        {"name": "shoulder", "unit": "rad", "low": -1.5, "high": 1.5},
        {"name": "elbow", "unit": "rad", "low": -2.0, "high": 2.0},
    ],
    "command": {"kind": "joint_trajectory", "topic": "arm/joint_trajectory", "joints": ["shoulder", "elbow"]},
    "state": {"joint_states": {"timeout": 0.3}},
    "limits": {
        "velocity": {"shoulder": 1.0, "elbow": 1.5},
        "acceleration": {"shoulder": 4.0, "elbow": 6.0},
        "braking": {"shoulder": 4.0, "elbow": 6.0},
        "position": {"shoulder": [-1.2, 1.2], "elbow": [-1.8, 1.8]},
    },
    "watchdog": BASE["watchdog"],
    "stop": "ramp",
}


def twist_base(name: str, **axes: tuple[float, float, float]) -> dict[str, Any]:
    """A holonomic base with other axes: {``linear_x``: (velocity, acceleration, braking)}."""
    named = {key.replace("_", "."): value for key, value in axes.items()}
    units = {key: "m/s" if key.startswith("linear") else "rad/s" for key in named}
    return {
        **BASE,
        "name": f"bench_{name}",
        "kinematics": {"kind": "holonomic"},
        "action": [{"name": n, "unit": units[n], "low": -v[0], "high": v[0]} for n, v in named.items()],
        "limits": {
            key: {n: v[k] for n, v in named.items()} for k, key in enumerate(("velocity", "acceleration", "braking"))
        },
    }


#: The bench's robots: a differential drive, bases of other axes and of slow brakes, an arm by position and by rate.
ROBOTS: dict[str, dict[str, Any]] = {
    "base": BASE,
    "slick": {**BASE, "name": "bench_slick", "footprint": {"kind": "circle", "radius": 0.25}, "limits": {
        "velocity": {"linear.x": 0.5, "angular.z": 2.0},
        "acceleration": {"linear.x": 2.0, "angular.z": 6.0},
        "braking": {"linear.x": 0.2, "angular.z": 1.5},
    }},
    "holonomic": twist_base("holonomic", linear_x=(1.0, 3.0, 0.6), linear_y=(1.0, 3.0, 0.6), angular_z=(1.5, 6.0, 1.5)),
    "even": twist_base("even", linear_x=(1.0, 0.6, 0.6), linear_y=(1.0, 0.6, 0.6), angular_z=(1.5, 1.5, 1.5)),
    "sideways": twist_base("sideways", linear_y=(0.5, 2.0, 1.0), angular_z=(1.0, 6.0, 3.0)),
    "rail": twist_base("rail", linear_x=(0.3, 2.0, 1.5)),
    "tiny": twist_base("tiny", linear_x=(0.01, 0.02, 0.01), angular_z=(0.05, 0.5, 0.2)),
    "lift": twist_base("lift", linear_x=(1.0, 3.0, 2.0), linear_z=(1.0, 3.0, 2.0)),
    "drone": twist_base("drone", angular_z=(1.0, 4.0, 3.0), linear_z=(1.0, 3.0, 2.0), linear_y=(1.5, 3.0, 2.0),
                        angular_x=(0.5, 4.0, 4.0), angular_y=(0.5, 4.0, 4.0), linear_x=(2.0, 4.0, 3.0)),
    "arm": ARM,
    "joints": {**ARM, "name": "bench_joints", "action": [
        {"name": "shoulder", "unit": "rad/s", "low": -1.0, "high": 1.0},
        {"name": "elbow", "unit": "rad/s", "low": -1.5, "high": 1.5},
    ]},
}  # fmt: skip


def contract_of(name: str, **changes: Any) -> RobotContract:
    """One of :data:`ROBOTS`, with some keys of its contract changed."""
    data = {**ROBOTS[name], **changes}
    return RobotContract.from_dict(data, data["name"])


class Robot:
    """Obeys after ``delay`` s, no faster than it can: axis by axis, velocities or positions.

    A position arm is where it was told to be ``lag`` ticks ago, unless it is ``loose``: then somebody moves it by hand.
    """

    def __init__(self, cfg: GateConfig, delay: float) -> None:
        self.cfg = cfg
        self.x = self.y = self.yaw = 0.0
        self.q = [0.3] * cfg.size
        self.v = [0.0] * cfg.size
        self.broken = False  # a runaway: obeys no stop
        self.jammed = False  # a base's right wheel, or the first joint, does not turn
        self.one_ratio = False  # a base's axes keep together: all change by the share of the slowest
        self.lag = 0
        self.loose = False
        self._late: list[list[float]] = []
        self._told: list[list[float]] = []
        self._delay = round(delay / cfg.period)

    def move(self, command: list[float]) -> None:
        """One tick under the command that takes effect now."""
        cfg = self.cfg
        self._late.append(list(command))
        heard = self._late.pop(0) if len(self._late) > self._delay else [0.0] * cfg.size
        dt = cfg.period
        if cfg.by_position:
            self._told.append(list(command))
            before = self.q
            if not self.loose:
                self.q = list(self._told[max(0, len(self._told) - 1 - self.lag)])
            self.v = [(a - b) / dt for a, b in zip(self.q, before)]
            return
        for _ in range(PARTS):
            if not self.broken:
                self._obey(heard, dt / PARTS)
            if cfg.joints:
                self.q = [q + v * dt / PARTS for q, v in zip(self.q, self.v)]
            else:
                vx, vy, w = (0.0 if k is None else self.v[k] for k in (cfg.forward, cfg.sideways, cfg.turn))
                self.x, self.y, self.yaw = advance(self.x, self.y, self.yaw, vx, vy, w, dt / PARTS)

    def _obey(self, heard: list[float], dt: float) -> None:
        cfg = self.cfg
        most = [
            (b if abs(u) < abs(v) or u * v < 0.0 else a) * dt
            for u, v, a, b in zip(heard, self.v, cfg.acceleration, cfg.braking)
        ]
        share = min([1.0, *(m / abs(u - v) for u, v, m in zip(heard, self.v, most) if u != v)])
        for k, u in enumerate(heard):
            change = u - self.v[k]
            self.v[k] += share * change if self.one_ratio else min(max(change, -most[k]), most[k])
        if self.jammed:
            self._jam()

    def _jam(self) -> None:
        if self.cfg.joints:
            self.v[0] = 0.0
            return
        half = 0.5 * BASE["kinematics"]["wheel_separation"]
        left = self.v[0] - half * self.v[1]
        self.v = [0.5 * left, -left / (2.0 * half)]


class Rig:
    """A gate and everything around it.

    Args:
        robot: one of :data:`ROBOTS`. without: rows that the gate lacks (mutation). seed: of the noise.
        pose_noise: standard deviation [m]; the pose says so in its covariance.
        gate: one that was made before, instead of ``without`` and ``settings``. contract: another than the robot's.
        settings: further fields of GateConfig.
    """

    def __init__(
        self,
        robot: str = "base",
        *,
        without: frozenset[str] = frozenset(),
        seed: int = 0,
        pose_noise: float = 0.0,
        gate: Gate | None = None,
        contract: RobotContract | None = None,
        **settings: Any,
    ) -> None:
        settings.setdefault("auto_enable", True)
        contract = contract or contract_of(robot)
        self.gate = gate or Gate(GateConfig.from_contract(contract, **settings), without=without)
        self.cfg = self.gate.config
        self.state = self.gate.initial_state()
        self.robot = Robot(self.cfg, self.cfg.reaction_time)
        self.rng = random.Random(seed)
        self.pose_noise = pose_noise
        self.tick_index = 0
        self.steady = 100.0
        self.ros = 5000.0
        self.ros_rate = 1.0  # ROS seconds a steady second; 0 is a paused clock
        self.command: list[float] | None = list(self.robot.q) if self.cfg.by_position else [0.0] * self.cfg.size
        self.still = False  # commands say "stand still"
        self.teleop: list[float] | None = None
        self.signals: dict[str, float] = {}
        self.obstacles: list[tuple[float, float]] = []
        self.people: list[tuple[float, float]] | None = None  # None: nobody tells of people
        self.bumper = False
        self.force = (0.0, 0.0, 0.0)  # at the wrist [N]
        self.identities: dict[str, str] = {}
        self.spoil: dict[str, Spoil] = {}
        self.requests = Requests()
        self.publishers: int | None = 1
        self.errors: tuple[str, ...] = ()
        self.newest: dict[str, Any] = {}
        self.outputs: list[GateOutput] = []
        self.last_inputs = GateInputs()
        self.last_ros = self.ros
        self._sequence = 0

    # ------------------------------------------------------------ inputs

    def _deliver(self, name: str, message: Any) -> None:
        """A new message of input ``name`` on its way; a spoiler may change or drop it."""
        spoiler = self.spoil.get(name)
        if spoiler is not None:
            message = spoiler(message)
        if message is not None:
            self.newest[name] = message

    def _publish_all(self) -> None:
        k, now, ros, robot, cfg = self.tick_index, self.steady, self.ros, self.robot, self.cfg
        gauss = self.rng.gauss
        if k % 10 == 0 and self.command is not None:
            self._sequence += 1
            self._deliver("command", CommandIn(list(self.command), ros, now, self._sequence, still=self.still))
        if k % 5 == 0:
            self._deliver("image", ImageIn(ros, now, self.rng.getrandbits(32)))
            self._deliver("signals", SignalsIn(ros, now, dict(self.signals), self.gate.config.guardrails.hash, "model"))
        if self.teleop is not None and k % 3 == 0:
            self._sequence += 1
            self._deliver("teleop", CommandIn(list(self.teleop), ros, now, self._sequence))
        if k % 5 == 2:
            self._deliver("estop", EstopIn(now, False))
            self._deliver("contact", ContactIn(ros, now, self.bumper))
            for name in ("perception", "planner"):
                self._deliver(f"heartbeat/{name}", now)
        if k % 5 == 4 and self.people is not None:
            self._deliver("people", PeopleIn(ros, now, list(self.people), cfg.map_frame))
        if cfg.joints:
            if "wrench" in cfg.states and k % 2 == 0:
                self._deliver("wrench", WrenchIn(ros, now, self.force))
            if k % 2 == 0:
                self._deliver("joint_states", JointsIn(ros, now, cfg.joints, tuple(robot.q), tuple(robot.v)))
            return
        if k % 2 == 0:
            self._deliver("odom", OdomIn(ros, now, 0.0, 0.0, 0.0, tuple(robot.v), "odom"))
        if k % 5 == 1:
            n = self.pose_noise
            x, y = robot.x + n * gauss(0.0, 1.0), robot.y + n * gauss(0.0, 1.0)
            cov = ((n * n, 0.0, 0.0), (0.0, n * n, 0.0), (0.0, 0.0, n * n))
            self._deliver("pose", PoseIn(ros, now, x, y, robot.yaw + n * gauss(0.0, 1.0), cov, "map"))
        if k % 5 == 3 and "scan" in cfg.states:
            self._deliver("scan", self._scan(ros, now))

    def _scan(self, ros: float, now: float, beams: int = 72) -> ScanIn:
        """Obstacles are posts of radius ``POST``."""
        ranges = [math.inf] * beams
        step = 2.0 * math.pi / beams
        for ox, oy in self.obstacles:
            dx, dy = ox - self.robot.x, oy - self.robot.y
            distance = math.hypot(dx, dy)
            bearing = (math.atan2(dy, dx) - self.robot.yaw + math.pi) % (2.0 * math.pi)
            k = round(bearing / step) % beams
            seen = max(distance - POST, 0.0)
            ranges[k] = min(ranges[k], seen if seen >= 0.05 else -math.inf)
        return ScanIn(ros, now, -math.pi, step, ranges, 0.05, 5.0, "base_link")

    # ------------------------------------------------------------ running

    def inputs(self) -> GateInputs:
        """The newest of each input, as the gate sees it."""
        beats = {n[10:]: v for n, v in self.newest.items() if n.startswith("heartbeat/")}
        plain = {n: v for n, v in self.newest.items() if not n.startswith("heartbeat/")}
        return GateInputs(
            **plain, heartbeats=beats, identities=self.identities, requests=self.requests,
            output_publishers=self.publishers, errors=self.errors,
        )  # fmt: skip

    def tick(self, gap: float | None = None) -> GateOutput:
        """One tick; ``gap`` is the time that passed since the last one, where it was not the period."""
        cfg = self.cfg
        self._publish_all()
        inputs = self.inputs()
        self.last_inputs, self.last_ros = inputs, self.ros
        self.state, output = self.gate.step(self.state, inputs, self.steady, self.ros)
        self.requests = Requests()
        if output.publish or not cfg.by_position:
            self.robot.move(output.values.tolist())
        self.outputs.append(output)
        passed = self.cfg.period if gap is None else gap
        self.tick_index += 1
        self.steady += passed
        self.ros += passed * self.ros_rate
        return output

    def run(self, seconds: float) -> list[GateOutput]:
        """Ticks for so long; the outputs."""
        return [self.tick() for _ in range(round(seconds / self.cfg.period))]

    def arm(self, command: list[float] | None = None) -> GateOutput:
        """Let the gate arm and the robot follow ``command`` until it does so steadily."""
        if command is not None:
            self.command = command
        return self.run(self.cfg.rearm_time + 1.2)[-1]

    def ask(self, **requests: Any) -> GateOutput:
        """One tick with requests."""
        self.requests = Requests(**requests)
        return self.tick()
