# SPDX-License-Identifier: Apache-2.0
"""The simulated arm at its table: joint servos, things that can be pushed, sensors with their errors.

No ROS, no torch. Time is the simulator's own and moves only in :meth:`TableSim.advance`. Everything is a function of
what :meth:`TableSim.reset` was given and of the calls made: the same calls give the same numbers and pictures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from jepa_ros.arm import ArmBody
from jepa_ros.contract import RobotContract

from ..common.engine import pybullet as p
from ..common.errors import SimError
from ..common.simulator import DT, Simulator, finite, steps_of, streams
from .camera import TABLE, Camera, Placed, make_thing
from .robot import Robot
from .scene import Draw, TableConfig, Thing, draw

COARSE = 4  # steps of DT that physics takes at once while the hand is far from everything
FORCE_WINDOW = 8  # steps of DT that a reading of the wrist is the mean of, as a driver filters its sensor
ASLEEP = 1e-5  # (m/s)^2 and (rad/s)^2, in sum, below which a thing comes to rest after two seconds
NEAR_THINGS = 0.12  # m between the tip and a thing or the table below which physics takes every step
STREAMS = ("look", "image", "goal", "joints", "force")  # each its own generator


@dataclass(frozen=True)
class Truth:
    """The true state: for scoring and for the oracle only, never for the robot."""

    time: float  # s
    joints: tuple[float, ...]
    tip: tuple[float, float, float]  # m
    things: tuple[tuple[float, ...], ...]  # x, y, z [m] and quaternion of each
    force: float  # N at the wrist
    contact_steps: int  # steps with the collision switch closed since the reset


@dataclass
class _State:
    """All that changes outside PyBullet."""

    rngs: dict[str, np.random.Generator]
    sent: np.ndarray  # (J,) the set-point that the servos run to
    target: np.ndarray  # (J,) where their interpolation is
    step: int = 0
    commanded_at: int = 0
    queue: list[tuple[int, np.ndarray]] = field(default_factory=list)  # (step due, set-point)
    contact_steps: int = 0
    touched: bool = False
    forces: deque[tuple[int, np.ndarray]] = field(default_factory=deque)  # (steps, wrist (6,) [N, N m]), newest last


class TableSim(Simulator):
    """A Panda (or another arm) at a table.

    Args:
        contract: of kind ``arm``, commanded by joint positions.
        config: what the table looks like and how it behaves.

    Raises:
        SimError: the contract is of another robot. ArmError: contract and URDF do not fit.
    """

    def __init__(self, contract: RobotContract, config: TableConfig | None = None) -> None:
        if contract.kinematics.kind != "arm" or contract.command.values != "position":
            raise SimError(
                f"contract of '{contract.name}': the table needs an arm that is commanded by joint positions"
            )
        self.contract, self.config = contract, config or TableConfig()
        self.body = ArmBody(contract)
        super().__init__()
        self.camera = Camera(contract.cameras[0], self.body, self.config)
        self._tick = round(1.0 / contract.gate_rate / DT)
        if abs(self._tick * DT * contract.gate_rate - 1.0) > 1e-9:
            raise SimError(f"contract: gate_rate: expected a divisor of {1 / DT:g} Hz, found {contract.gate_rate:g}")

    # ---- episodes ----------------------------------------------------------------------------------------------
    def reset(self, seed: int, tip: Sequence[float] | None = None, opening: float = 0.04,
              things: Sequence[Thing] = ()) -> None:  # fmt: skip
        """Begin an episode at time 0, at rest.

        Args:
            seed: of everything that is drawn. tip: where the tip is [m]; home by default.
            opening: of the gripper. things: what stands on the table, before the distractors.

        Raises:
            ArmError: the tip cannot be put there.
        """
        rngs = streams(seed, STREAMS)
        self.draw: Draw = draw(self.config, self.body.low, self.body.high, rngs["look"])
        posture = self.body.home if tip is None else self.body.inverse.posture(np.asarray(tip, dtype=float))
        joints = self._with_hand(posture, opening)
        self.things = (*things, *self.draw.distractors)
        self._s = _State(rngs, joints.copy(), joints.copy())
        self._build(joints)
        self.camera.set_scene(self.draw.look, self.things)

    def _with_hand(self, posture: np.ndarray, opening: float) -> np.ndarray:
        return np.append(posture, opening) if len(posture) < self.body.size else np.array(posture)

    def _build(self, joints: np.ndarray) -> None:
        c = self._client
        self._empty(30)
        self._resolution(1)
        p.setGravity(0, 0, -9.81, physicsClientId=c)
        (x0, x1), (y0, y1) = TABLE
        shape = p.createCollisionShape(p.GEOM_BOX, halfExtents=((x1 - x0) / 2, (y1 - y0) / 2, 0.05), physicsClientId=c)
        self._table = p.createMultiBody(0, shape, -1, ((x0 + x1) / 2, (y0 + y1) / 2, -0.05), physicsClientId=c)
        p.changeDynamics(self._table, -1, lateralFriction=0.7, physicsClientId=c)
        self._robot = Robot(c, self.body, drawn=False)
        self._robot.put(joints)
        p.setCollisionFilterPair(self._robot.id, self._table, -1, -1, 0, physicsClientId=c)  # it is bolted down there
        p.enableJointForceTorqueSensor(self._robot.id, self._robot.hand, True, physicsClientId=c)
        self._bodies = [make_thing(c, thing, solid=True) for thing in self.things]
        for finger in self._robot.fingers:
            p.changeDynamics(self._robot.id, finger, lateralFriction=1.0, physicsClientId=c)
        self._settle()

    def _settle(self) -> None:
        """Let things come to rest on the table before time begins. What rests is not computed until it is touched."""
        self._robot.drive(self._s.target, np.zeros(self.body.size), self.draw.gain)
        for _ in range(20 if self._bodies else 0):
            p.stepSimulation(physicsClientId=self._client)
        for body in self._bodies:
            p.changeDynamics(body, -1, sleepThreshold=ASLEEP, physicsClientId=self._client,
                             activationState=p.ACTIVATION_STATE_ENABLE_SLEEPING)  # fmt: skip

    def _resolution(self, steps: int) -> None:
        self._stride = steps
        p.setPhysicsEngineParameter(fixedTimeStep=steps * DT, physicsClientId=self._client)

    # ---- time and command --------------------------------------------------------------------------------------
    def set_command(self, values) -> None:
        """Take set-points (J,) of all joints, as a driver would; the servos hold where they are when none follows.

        Raises:
            SimError: not J finite numbers (the command in force is kept).
        """
        values, s = finite(values, self.body.size, ", ".join(self.body.names)), self._s
        s.commanded_at = s.step
        s.queue.append((s.step + round(self.draw.latency / DT), values))

    def advance(self, duration: float) -> None:
        """Move time on by ``duration`` s, a multiple of 0.005 s.

        Raises:
            SimError: not a multiple of it.
        """
        steps = steps_of(duration)
        s, left = self._s, steps
        stride = 1 if self._close() else COARSE
        if stride != self._stride:
            self._resolution(stride)
        while left > 0:
            if left < self._stride:
                self._resolution(1)
            self._servo(self._stride * DT)
            p.stepSimulation(physicsClientId=self._client)
            s.step += self._stride
            left -= self._stride
            self._weigh()
        s.touched = self._feel()
        s.contact_steps += steps if s.touched else 0

    def _weigh(self) -> None:
        """Keep what the wrist's sensor felt in the last physics step."""
        s, wrist = self._s, p.getJointState(self._robot.id, self._robot.hand, physicsClientId=self._client)[2]
        s.forces.append((self._stride, np.array(wrist)))
        while sum(steps for steps, _ in s.forces) - s.forces[0][0] >= FORCE_WINDOW:
            s.forces.popleft()

    def _wrist(self) -> np.ndarray:
        """Force and torque (6,) [N, N m] at the wrist, the mean over the last FORCE_WINDOW steps."""
        s = self._s
        if not s.forces:
            self._weigh()
        whole = sum(steps for steps, _ in s.forces)
        return sum((steps * force for steps, force in s.forces), np.zeros(6)) / whole

    def _servo(self, seconds: float) -> None:
        """Move the servos' target towards the set-point in force, evenly over a tick of the gate, within the limits of
        the joints' speed."""
        s = self._s
        while s.queue and s.queue[0][0] <= s.step:
            s.sent = s.queue.pop(0)[1]
        if (s.step - s.commanded_at) * DT >= self.config.command_timeout:
            s.queue.clear()
            s.sent = s.target
        most = self.contract.limits.velocity * seconds * 1.5
        share = min(1.0, seconds / (self._tick * DT))
        moved = np.clip(share * (s.sent - s.target) if share < 1.0 else s.sent - s.target, -most, most)
        s.target = s.target + moved
        self._robot.drive(s.target, moved / seconds, self.draw.gain)

    def _close(self) -> bool:
        """Whether the hand is near anything, so that physics has to be fine."""
        tip = self.body.tip(self._s.target)
        for body in self._bodies:
            at = p.getBasePositionAndOrientation(body, physicsClientId=self._client)[0]
            if sum((a - b) ** 2 for a, b in zip(at, tip)) < NEAR_THINGS**2:
                return True
        return bool(tip[2] < 0.02)

    def _feel(self) -> bool:
        """Whether the arm, or the hand, hits something with more than the switch's force."""
        force = 0.0
        for contact in p.getContactPoints(bodyA=self._robot.id, physicsClientId=self._client):
            force += contact[9]
        return force > self.config.collision_force

    # ---- what the robot measures -------------------------------------------------------------------------------
    def image(self) -> np.ndarray:
        """The camera's picture now, with sensor noise: uint8 ``(height, width, 3)`` RGB."""
        return self.camera.render(self._robot.state()[0], self.placed(), self._s.rngs["image"])

    def image_at(self, tip: Sequence[float], opening: float | None = None, things: Sequence[Placed] | None = None,
                 noise: bool = True) -> np.ndarray:  # fmt: skip
        """The picture with the tip elsewhere: a goal picture. Nothing in the simulation changes.

        Args:
            tip: [m]. opening: of the gripper, as now by default. things: where they are, as now by default.
        """
        now = float(self._robot.state()[0][-1])
        joints = self._with_hand(self.body.inverse.posture(np.asarray(tip)), now if opening is None else opening)
        placed = self.placed() if things is None else things
        return self.camera.render(joints, placed, self._s.rngs["goal"] if noise else None)

    def placed(self) -> list[Placed]:
        """Where each thing is now."""
        rows = [p.getBasePositionAndOrientation(body, physicsClientId=self._client) for body in self._bodies]
        return [(thing, *row) for thing, row in zip(self.things, rows, strict=True)]

    def joint_states(self) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        """Names, positions and velocities of arm and gripper, as the encoders say."""
        at, rates = self._robot.state()
        noise = self._s.rngs["joints"].standard_normal((2, len(at)))
        return self.body.names, at + self.config.joint_noise * noise[0], rates + 10 * self.config.joint_noise * noise[1]

    def wrench(self) -> np.ndarray:
        """Force and torque (6,) [N, N m] that the world puts on the hand, in the hand's frame; with noise and offset.

        The hand's own weight is taken off, as a driver does that knows its payload.
        """
        reading = self._wrist()
        weight = self._robot.hand_mass * 9.81
        turn = self.body.kinematics.pose(self._robot.state()[0][: self.body.kinematics.size])[0]
        reading[:3] = -reading[:3] - turn.T @ np.array([0.0, 0.0, -weight]) + self.draw.force_offset
        noise = self._s.rngs["force"].standard_normal(6)
        return reading + self.config.force_noise * noise * np.array([1, 1, 1, 0.05, 0.05, 0.05])

    def contact(self) -> bool:
        """The collision switch."""
        return self._s.touched

    # ---- the truth ---------------------------------------------------------------------------------------------
    def truth(self) -> Truth:
        """The true state, for scoring and the oracle only."""
        joints = self._robot.state()[0]
        things = tuple((*position, *turn) for _, position, turn in self.placed())
        force = self._wrist()[:3]
        tip = self.body.tip(joints).tolist()
        return Truth(self.time, tuple(joints.tolist()), tuple(tip), things, float(np.linalg.norm(force)),
                     self._s.contact_steps)  # fmt: skip
