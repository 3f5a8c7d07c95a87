# SPDX-License-Identifier: Apache-2.0
"""The ROS-free loop: perception, planner and gate, one control step at a time.

Collection, evaluation and in-process replay run this object; the nodes run the same parts behind topics. The timing is
written here once (see "Timing" in the README): the image of step k is taken at t_k = k / rate; the command that the
policy makes of it reaches the gate ``actuation_latency`` later; the *executed action* of step k is the mean of what the
gate let through over [t_k, t_k+1).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.safety.gate import Gate, GateConfig
from jepa_ros.safety.inputs import (
    CommandIn,
    ContactIn,
    GateInputs,
    ImageIn,
    JointsIn,
    OdomIn,
    PeopleIn,
    PoseIn,
    ScanIn,
    SignalsIn,
)
from jepa_ros.safety.output import GateOutput

COMPONENTS = ("perception", "planner")
#: Hz at which the gate hears of each sensor, as the ``sim`` node publishes them.
SENSOR_RATES = {"odom": 25.0, "pose": 10.0, "contact": 20.0, "scan": 10.0, "people": 10.0,
                "joint_states": 50.0}  # fmt: skip


class Robot(Protocol):
    """What the loop drives: a simulated robot, or anything that looks like one."""

    @property
    def time(self) -> float: ...
    def set_command(self, values: np.ndarray) -> None: ...
    def advance(self, duration: float) -> None: ...
    def image(self) -> np.ndarray: ...
    def odom(self) -> tuple[float, float, float, float, float]: ...
    def pose(self) -> tuple[float, float, float, np.ndarray]: ...
    def contact(self) -> bool: ...
    def scan(self) -> Any: ...
    def joints(self) -> tuple[Any, Any]: ...


@dataclass(frozen=True)
class Observation:
    """What a policy sees at t_k. Nothing in it comes from a simulator's ground truth.

    Attributes:
        step: k. stamp: t_k [s].
        image: (H, W, 3) uint8 RGB as the camera delivers it.
        executed: (A,) executed action of step k-1 in physical units, None at the first step.
        gated: (A,) the gate's output in effect at t_k. gate_reason: its reason word then.
        pose: localisation (x, y, yaw), or None. contact: the bumper during step k-1.
    """

    step: int
    stamp: float
    image: np.ndarray
    executed: np.ndarray | None
    gated: np.ndarray
    gate_reason: str
    pose: tuple[float, float, float] | None
    contact: bool


@dataclass(frozen=True)
class Decision:
    """What a policy answers: a command (A,) in physical units, its signals for the gate, and whatever else it knows.

    A command of None says "stand still" to joints that are commanded by position; see ``RobotContract.neutral``.
    """

    command: np.ndarray | None
    signals: dict[str, float] = field(default_factory=dict)
    info: Any = None


class Policy(Protocol):
    """Anything that turns observations into commands: the planner, exploration, an oracle, a random policy."""

    def act(self, observation: Observation) -> Decision: ...


@dataclass(frozen=True)
class StepRecord:
    """One control step as it happened; ``executed`` is the action of this step, ``modes`` one gate mode a tick."""

    observation: Observation
    decision: Decision
    executed: np.ndarray
    contact: bool
    modes: tuple[str, ...]
    reasons: tuple[str, ...]


class Loop:
    """Runs a robot, a policy and the gate in lock-step with the robot's clock.

    Args:
        contract: the robot's contract; gives rates, latency and the gate's limits.
        robot: started and reset.
        policy: asked once a step.
        gate: the safety gate; by default the contract's, armed by itself.
        scan: let the gate see the robot's lidar, where the contract has one. Exploration does without: a model that
            is to know what a contact is must have touched something.
        camera: let the gate see every picture of the contract's first camera, as it does on a robot, and not only those
            that a step begins with. Each costs a rendering.
    """

    def __init__(
        self, contract: RobotContract, robot: Robot, policy: Policy, gate: Gate | None = None, scan: bool = True,
        camera: bool = False,
    ) -> None:  # fmt: skip
        self.contract = contract
        self.robot = robot
        self.policy = policy
        self.gate = gate or Gate(GateConfig.from_contract(contract, auto_enable=True))
        self.gate_state = self.gate.initial_state()
        self.ticks = round(contract.gate_rate / contract.rate)
        self.tick = 1.0 / contract.gate_rate
        self.step_index = 0
        self.executed: np.ndarray | None = None
        self.gated = np.zeros(0)  # until it has armed
        self.gate_reason = ""
        self.touched = False
        self._pending: list[tuple[float, CommandIn, SignalsIn]] = []
        self._inputs: dict[str, Any] = {}
        self._sequence = 0
        sensors = {"odom": self._odom, "pose": self._pose, "contact": self._contact, "scan": self._scan}
        self._see_people: Any = getattr(robot, "people", None)  # a robot without a tracker need not have the method
        if self._see_people is not None:
            sensors["people"] = self._people
        if contract.jointed:
            sensors["joint_states"] = self._joints
        self._sensors = [
            (max(1, round(contract.gate_rate / SENSOR_RATES[name])), read)
            for name, read in sensors.items()
            if name in contract.state and (scan or name != "scan")
        ]
        self._ticked = 0
        self._between = max(1, round(contract.gate_rate / contract.cameras[0].rate)) if camera else self.ticks
        self._arm()

    def _arm(self) -> None:
        """Let the gate see fresh inputs and "stand still" for its arming time, as a robot does before it moves."""
        needed = self.contract.watchdog.rearm_time + 0.2
        still = Decision(self.contract.neutral())
        for i in range(round(needed * self.contract.gate_rate)):
            if i % self.ticks == 0:
                self._see(self.robot.image())
                self._send(still, delay=0.0)
            self.gated = np.asarray(self._gate_tick().values)

    def _see(self, image: np.ndarray) -> None:
        now = self.robot.time
        self._inputs["image"] = ImageIn(stamp=now, received=now, checksum=zlib.adler32(image.tobytes()))

    def _send(self, decision: Decision, delay: float) -> None:
        self._sequence += 1
        now = self.robot.time
        still = decision.command is None
        values = [] if still else np.asarray(decision.command, dtype=np.float64).tolist()
        command = CommandIn(values=values, stamp=now, received=now + delay, seq=self._sequence, still=still)
        signals = SignalsIn(stamp=now, received=now + delay, values=decision.signals)
        self._pending.append((now + delay, command, signals))

    def _odom(self, now: float) -> None:
        x, y, yaw, v, w = self.robot.odom()
        self._inputs["odom"] = OdomIn(
            stamp=now, received=now, x=x, y=y, yaw=yaw, v=(v, w), frame_id=self.contract.frames.odom
        )

    def _pose(self, now: float) -> None:
        x, y, yaw, cov = self.robot.pose()
        self._inputs["pose"] = PoseIn(
            stamp=now, received=now, x=x, y=y, yaw=yaw, cov=cov, frame_id=self.contract.frames.map
        )

    def _contact(self, now: float) -> None:
        self._inputs["contact"] = ContactIn(stamp=now, received=now, value=self.robot.contact())

    def _people(self, now: float) -> None:
        self._inputs["people"] = PeopleIn(
            stamp=now, received=now, positions=self._see_people(), frame_id=self.contract.frames.map
        )

    def _joints(self, now: float) -> None:
        position, velocity = self.robot.joints()
        names = self.contract.command.joints
        self._inputs["joint_states"] = JointsIn(
            stamp=now, received=now, names=names, position=list(position), velocity=list(velocity)
        )

    def _scan(self, now: float) -> None:
        s = self.robot.scan()
        self._inputs["scan"] = ScanIn(
            stamp=now,
            received=now,
            angle_min=s.angle_min,
            angle_increment=s.angle_increment,
            ranges=s.ranges,
            range_min=s.range_min,
            range_max=s.range_max,
            frame_id=self.contract.frames.base,
        )

    def _gate_tick(self) -> GateOutput:
        """One tick of the gate: newest inputs in, command out to the robot, robot moves on by a tick."""
        now = self.robot.time
        while self._pending and self._pending[0][0] <= now + 1e-9:
            _, self._inputs["command"], self._inputs["signals"] = self._pending.pop(0)
        for every, read in self._sensors:
            if self._ticked % every == 0:
                read(now)
        self._ticked += 1
        inputs = GateInputs(heartbeats=dict.fromkeys(COMPONENTS, now), output_publishers=1, **self._inputs)
        self.gate_state, output = self.gate.step(self.gate_state, inputs, now, now)
        if output.publish:
            self.robot.set_command(output.values)
        self.robot.advance(self.tick)
        self.touched |= self.robot.contact()
        return output

    def step(self) -> StepRecord:
        """Run one control step and return what happened in it."""
        image = self.robot.image()
        self._see(image)
        pose = self.robot.pose()[:3] if "pose" in self.contract.state else None
        observation = Observation(
            step=self.step_index,
            stamp=self.robot.time,
            image=image,
            executed=self.executed,
            gated=self.gated,
            gate_reason=self.gate_reason,
            pose=pose,
            contact=self.touched,
        )
        decision = self.policy.act(observation)
        self._send(decision, self.contract.actuation_latency)
        self.touched = False
        outputs = []
        for k in range(self.ticks):
            if k and k % self._between == 0:
                self._see(self.robot.image())
            outputs.append(self._gate_tick())
        self.executed = np.mean([o.values for o in outputs], axis=0)
        self.gated = np.asarray(outputs[-1].values)
        self.gate_reason = str(outputs[-1].reason)
        self.step_index += 1
        return StepRecord(
            observation,
            decision,
            self.executed,
            self.touched,
            tuple(o.mode.name for o in outputs),
            tuple(o.reason for o in outputs),
        )
