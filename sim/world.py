# SPDX-License-Identifier: Apache-2.0
"""The simulated robot in its arena: the ONE object that collection, evaluation and the `sim` node drive.

No ROS, no torch. Time is the simulator's own and moves only in :meth:`ArenaSim.advance`. Everything is a function of
the seeds given to :meth:`ArenaSim.reset` and of the commands: the same calls give the same numbers and pictures.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pybullet as p

from .camera import ASSETS, PERSON_COLOUR, PERSON_HEIGHT, Camera, View, add_cylinder, build_static
from .errors import SimError
from .layout import Box, Layout, empty_layout, fixed_layout, random_layout
from .person import Walker
from .scene import Draw, SceneConfig, draw, mounting
from .sensors import ROBOT_GROUP, Odometry, Scan, cast_scan, wrap

DT = 0.005  # s, one physics step
TICK = 4  # physics steps between encoder readings, floor checks and steps of the person: 20 ms
WHEEL_RADIUS, WHEEL_SEPARATION = 0.03, 0.14  # m, as in assets/arena_robot.urdf
MAX_WHEEL_SPEED = 30.0  # rad/s, what the motors can do
BASE, LEFT, RIGHT = -1, 0, 1  # link indices
TOUCHING = 0.001  # m: a contact point nearer than this is a touch
BODY_MASS, COM_HEIGHT = 1.3, 0.035  # kg, m: of base_link, as in the URDF
POSE_STREAMS = ("look", "odom", "pose", "image", "goal", "scan", "person", "start")


@dataclass(frozen=True)
class Truth:
    """The true state: for scoring and for the oracle only, never for the robot."""

    time: float  # s
    x: float
    y: float
    yaw: float
    v: float  # m/s, forward
    w: float  # rad/s
    contact: bool  # touching a wall, a box or the person now
    contact_steps: int  # physics steps with a touch since the reset
    contact_count: int  # touches begun since the reset
    obstacles: tuple[Box, ...]
    person: tuple[float, float] | None
    person_contact_steps: int  # those of contact_steps in which it was the person


@dataclass
class _State:
    """All that changes outside PyBullet, so that it can be saved and restored in one piece."""

    rngs: dict[str, np.random.Generator]
    odometry: Odometry
    walker: Walker | None
    step: int = 0
    commanded_at: int = -1
    queue: list[tuple[int, float, float]] = field(default_factory=list)  # (step, left, right)
    target: tuple[float, float] = (0.0, 0.0)  # rad/s, what the wheels are told
    friction: list[float] = field(default_factory=lambda: [0.0, 0.0])
    turns: tuple[float, float] = (0.0, 0.0)  # rad, last encoder reading
    touching: bool = False
    touched_at: int = -(10**9)
    contact_steps: int = 0
    contact_count: int = 0
    person_contact_steps: int = 0


class ArenaSim:
    """A differential-drive robot in a walled arena of 2 m x 2 m under a fixed camera.

    Args:
        contract: the robot contract (or anything with its ``kinematics``, ``cameras``, ``footprint``).
        scene: what the arena looks like and how it behaves.
        gui: show PyBullet's window.

    Raises:
        SimError: the contract is of another robot.
    """

    def __init__(self, contract, scene: SceneConfig | None = None, gui: bool = False) -> None:
        self.scene = scene if scene is not None else SceneConfig()
        self.contract = contract
        _check_contract(contract)
        camera = contract.cameras[0]
        self._nominal = mounting(camera.position, camera.orientation)
        self._client = p.connect(p.GUI if gui else p.DIRECT)
        if self._client < 0:
            raise SimError("PyBullet could not open its window: set DISPLAY, or run with gui=False")
        if gui:
            p.configureDebugVisualizer(p.COV_ENABLE_GUI, 0, physicsClientId=self._client)
            p.resetDebugVisualizerCamera(1.6, 0, -75, (0, 0, 0), physicsClientId=self._client)
        self._camera = Camera(self.scene, camera.width, camera.height)
        self._resets = 0
        self.reset()

    # ---- episodes -------------------------------------------------------------------------------------------------
    def reset(self, seed: int | None = None, layout_seed: int | None = None,
              start: tuple[float, float, float] | None = None, layout: Layout | None = None) -> None:
        """Begin an episode at time 0, robot at rest.

        Args:
            seed: of everything that is drawn; None counts on from the scene's seed.
            layout_seed: of a random layout; None takes ``seed``.
            start: (x, y, yaw) in m and rad; None draws a free pose.
            layout: a layout to use in place of the scene's.

        Raises:
            SimError: ``start`` is in an obstacle or outside the arena.
        """
        if seed is None:
            seed = self.scene.seed + self._resets
        self._resets += 1
        self.seed = int(seed)
        self.layout_seed = self.seed if layout_seed is None else int(layout_seed)
        self.layout = layout if layout is not None else _layout(self.scene, self.layout_seed)
        rngs = {name: np.random.default_rng([self.seed, i]) for i, name in enumerate(POSE_STREAMS)}
        self.draw: Draw = draw(self.scene, self._nominal, rngs["look"])
        if start is None:
            start = free_pose(self.layout, rngs["start"])
        elif not (np.all(np.isfinite(start)) and self.layout.free(start[:2])):
            raise SimError(f"start: {tuple(start)} overlaps a wall or an obstacle: expected a free (x, y, yaw)")
        self._camera.set_scene(self.layout, self.draw.look)
        walker = None
        if self.scene.person != "none":
            walker = Walker.begin(self.scene, self.layout, start[:2], rngs["person"])
        self._s = _State(rngs, Odometry.draw(self.scene, WHEEL_RADIUS, WHEEL_SEPARATION, rngs["odom"]), walker)
        self._build(start)

    def _build(self, start: tuple[float, float, float]) -> None:
        """Make the physical world anew: PyBullet is only reproducible from an empty one."""
        c = self._client
        p.resetSimulation(physicsClientId=c)
        p.setPhysicsEngineParameter(fixedTimeStep=DT, numSolverIterations=20, deterministicOverlappingPairs=1,
                                    enableConeFriction=0, physicsClientId=c)
        p.setGravity(0, 0, -9.81, physicsClientId=c)
        floor = p.createMultiBody(0, p.createCollisionShape(p.GEOM_PLANE, physicsClientId=c), physicsClientId=c)
        p.changeDynamics(floor, -1, lateralFriction=1.0, restitution=0.0, physicsClientId=c)
        self._obstacles = build_static(c, self.layout, self.draw.look, solid=True)
        for body in self._obstacles:
            p.changeDynamics(body, -1, lateralFriction=0.4, restitution=0.0, physicsClientId=c)
        self._person = None
        if self._s.walker is not None:
            self._person = add_cylinder(c, self.scene.person_radius, PERSON_HEIGHT, PERSON_COLOUR, solid=True)
            self._place_person()
        x, y, yaw = start
        turn = (0, 0, math.sin(yaw / 2), math.cos(yaw / 2))
        self._robot = p.loadURDF(str(ASSETS / "arena_robot.urdf"), (x, y, 0.0), turn, physicsClientId=c)
        for link in range(-1, p.getNumJoints(self._robot, physicsClientId=c)):
            wheel = link in (LEFT, RIGHT)
            p.changeDynamics(self._robot, link, lateralFriction=self.draw.friction if wheel else 0.0,
                             restitution=0.0, linearDamping=0.0, angularDamping=0.0, jointDamping=0.0,
                             physicsClientId=c)
            p.setCollisionFilterGroupMask(self._robot, link, ROBOT_GROUP, 0xFFFF, physicsClientId=c)
        p.changeDynamics(self._robot, BASE, mass=BODY_MASS * self.draw.mass, lateralFriction=0.4,
                         activationState=p.ACTIVATION_STATE_DISABLE_SLEEPING, physicsClientId=c)
        p.setCollisionFilterPair(self._robot, floor, BASE, -1, 0, physicsClientId=c)
        self._s.friction = [self.draw.friction, self.draw.friction]
        self._drive()

    def close(self) -> None:
        """Free PyBullet's clients. The object is of no use afterwards; closing twice is harmless."""
        if self._client >= 0:
            p.disconnect(physicsClientId=self._client)
            self._camera.close()
            self._client = -1

    def __enter__(self) -> ArenaSim:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    # ---- time and command -----------------------------------------------------------------------------------------
    @property
    def time(self) -> float:
        """Simulated seconds since the reset."""
        return self._s.step * DT

    def set_command(self, values) -> None:
        """Command (v m/s, w rad/s) for the base, as its driver would take it; it holds until the watchdog ends it.

        Raises:
            SimError: not two finite numbers (the command in force is kept).
        """
        values = np.asarray(values, dtype=float).ravel()
        if values.shape != (2,) or not np.all(np.isfinite(values)):
            raise SimError(f"command: found {values}, expected 2 finite numbers (v m/s, w rad/s)")
        v, w = float(values[0]), float(values[1])
        wheels = ((v - w * WHEEL_SEPARATION / 2) / WHEEL_RADIUS, (v + w * WHEEL_SEPARATION / 2) / WHEEL_RADIUS)
        biggest = max(abs(wheels[0]), abs(wheels[1]), MAX_WHEEL_SPEED) / MAX_WHEEL_SPEED
        self._s.commanded_at = self._s.step
        due = self._s.step + round(self.draw.latency / DT)
        self._s.queue.append((due, wheels[0] / biggest, wheels[1] / biggest))

    def advance(self, duration: float) -> None:
        """Move time on by ``duration`` s, a multiple of the physics step of 0.005 s.

        Raises:
            SimError: not a positive multiple of the physics step.
        """
        steps = round(duration / DT)
        if steps < 0 or abs(steps * DT - duration) > 1e-6:
            raise SimError(f"advance: found {duration} s, expected a multiple of the physics step, {DT} s")
        s, client = self._s, self._client
        timeout = round(self.scene.command_timeout / DT)
        for _ in range(steps):
            if s.queue and s.queue[0][0] <= s.step:
                self._take_commands()
            if s.step - s.commanded_at >= timeout and s.target != (0.0, 0.0):
                s.queue.clear()
                s.target = (0.0, 0.0)
                self._drive()
            if s.step % TICK == 0:
                self._tick()
            p.stepSimulation(physicsClientId=client)
            s.step += 1
            self._feel()
            if s.step % TICK == 0:
                self._read_encoders()

    def _take_commands(self) -> None:
        s = self._s
        while s.queue and s.queue[0][0] <= s.step:
            target = s.queue.pop(0)[1:]
        if target != s.target:
            s.target = target
            self._drive()

    def _drive(self) -> None:
        """Tell the motors their speeds; their torque is limited, so the body takes its time."""
        left, right = self._s.target
        gain = self.draw.wheel_gain
        p.setJointMotorControlArray(self._robot, (LEFT, RIGHT), p.VELOCITY_CONTROL,
                                    targetVelocities=(left * gain[0], right * gain[1]),
                                    forces=(self.draw.torque, self.draw.torque), physicsClientId=self._client)

    def _tick(self) -> None:
        """What happens every 20 ms: the person walks, the floor under the wheels is looked up."""
        if self._s.walker is not None:
            self._s.walker.walk(TICK * DT, self._s.rngs["person"])
            self._place_person()
        if self.layout.patches:
            self._set_floor()

    def _set_floor(self) -> None:
        (x, y, _), turn = p.getBasePositionAndOrientation(self._robot, physicsClientId=self._client)
        yaw = 2 * math.atan2(turn[2], turn[3])
        for side, sign in ((LEFT, 1), (RIGHT, -1)):
            wx = x - sign * math.sin(yaw) * WHEEL_SEPARATION / 2
            wy = y + sign * math.cos(yaw) * WHEEL_SEPARATION / 2
            friction = self.draw.friction
            for patch in self.layout.patches:
                if (wx - patch.cx) ** 2 + (wy - patch.cy) ** 2 < patch.radius**2:
                    friction = min(friction, patch.friction)
            if friction != self._s.friction[side]:
                self._s.friction[side] = friction
                p.changeDynamics(self._robot, side, lateralFriction=friction, physicsClientId=self._client)

    def _place_person(self) -> None:
        walker = self._s.walker
        p.resetBasePositionAndOrientation(self._person, (walker.x, walker.y, PERSON_HEIGHT / 2), (0, 0, 0, 1),
                                          physicsClientId=self._client)

    def _feel(self) -> None:
        """Look for contact points between the body and anything."""
        s = self._s
        touching = person = False
        for point in p.getContactPoints(self._robot, linkIndexA=BASE, physicsClientId=self._client):
            if point[8] < TOUCHING:
                touching = True
                person = person or point[2] == self._person
        if touching:
            s.contact_steps += 1
            s.person_contact_steps += person
            s.contact_count += not s.touching
            s.touched_at = s.step
        s.touching = touching

    def _read_encoders(self) -> None:
        s = self._s
        states = p.getJointStates(self._robot, (LEFT, RIGHT), physicsClientId=self._client)
        turns = (states[0][0], states[1][0])
        s.odometry.update(turns[0] - s.turns[0], turns[1] - s.turns[1], TICK * DT,
                          s.rngs["odom"].standard_normal(2).tolist())
        s.turns = turns

    # ---- what the robot measures ----------------------------------------------------------------------------------
    def image(self) -> np.ndarray:
        """The camera's picture now, with sensor noise: uint8 ``(height, width, 3)`` RGB."""
        return self._camera.render(self._body(), self._person_at(), self._s.rngs["image"])

    def image_at(self, pose, noise: bool = True, person: bool = False) -> np.ndarray:
        """The picture with the robot at ``pose`` (x, y, yaw): a goal image. Nothing in the simulation changes."""
        x, y, yaw = (float(value) for value in pose)
        body = ((x, y, COM_HEIGHT), (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)))
        return self._camera.render(body, self._person_at() if person else None,
                                   self._s.rngs["goal"] if noise else None)

    @property
    def view(self) -> View:
        """The true camera of this episode; ``view.project(points)`` gives pixels, to draw a path into a picture."""
        return self._camera.view

    def odom(self) -> tuple[float, float, float, float, float]:
        """Wheel odometry (x, y, yaw, v, w) in m, rad and s, from where the episode began; it drifts."""
        o = self._s.odometry
        return o.x, o.y, o.yaw, o.v, o.w

    def pose(self) -> tuple[float, float, float, np.ndarray]:
        """A localisation in the arena's frame: (x, y, yaw, covariance 3x3), noise as the scene states."""
        x, y, yaw = self._true_pose()
        sx, sa = self.scene.pose_noise
        n = self._s.rngs["pose"].standard_normal(3)
        return x + sx * n[0], y + sx * n[1], wrap(yaw + sa * n[2]), np.diag([sx**2, sx**2, sa**2])

    def joint_states(self) -> tuple[tuple[str, str], np.ndarray, np.ndarray]:
        """Wheel joints: names, positions (rad), velocities (rad/s)."""
        states = p.getJointStates(self._robot, (LEFT, RIGHT), physicsClientId=self._client)
        return (("left_wheel_joint", "right_wheel_joint"), np.array([q[0] for q in states]),
                np.array([q[1] for q in states]))

    def scan(self) -> Scan:
        """One turn of the lidar in the middle of the robot."""
        return cast_scan(self._client, self.scene, *self._true_pose(), self._s.rngs["scan"])

    def contact(self) -> bool:
        """The bumper: pressed while the body touches something and for ``bumper_hold`` s after."""
        return (self._s.step - self._s.touched_at) * DT <= self.scene.bumper_hold

    # ---- the truth, and the whole state ---------------------------------------------------------------------------
    def truth(self) -> Truth:
        """The true state, for scoring and the oracle only."""
        s = self._s
        x, y, yaw = self._true_pose()
        (vx, vy, _), (_, _, w) = p.getBaseVelocity(self._robot, physicsClientId=self._client)
        return Truth(self.time, x, y, yaw, vx * math.cos(yaw) + vy * math.sin(yaw), w, s.touching, s.contact_steps,
                     s.contact_count, self.layout.boxes, self._person_at(), s.person_contact_steps)

    def save(self) -> tuple:
        """Everything as it is now, to go back to with :meth:`restore` within the same episode."""
        state = p.saveState(physicsClientId=self._client)
        return state, copy.deepcopy(self._s), (self.seed, self.layout_seed, self._resets)

    def restore(self, saved: tuple) -> None:
        """Go back to a state of this episode; it can be restored again.

        Raises:
            SimError: the state is of another episode.
        """
        state, python, episode = saved
        if episode != (self.seed, self.layout_seed, self._resets):
            raise SimError("restore: the saved state is of an earlier episode: expected one of the current episode")
        p.restoreState(state, physicsClientId=self._client)
        self._s = copy.deepcopy(python)
        for side in (LEFT, RIGHT):
            p.changeDynamics(self._robot, side, lateralFriction=self._s.friction[side], physicsClientId=self._client)
        self._drive()

    def _body(self) -> tuple:
        """Centre of mass (position, quaternion) of the base link: COM_HEIGHT above its frame's origin."""
        return p.getBasePositionAndOrientation(self._robot, physicsClientId=self._client)

    def _true_pose(self) -> tuple[float, float, float]:
        (x, y, _), turn = self._body()
        return x, y, math.atan2(2 * (turn[3] * turn[2] + turn[0] * turn[1]), 1 - 2 * (turn[1] ** 2 + turn[2] ** 2))

    def _person_at(self) -> tuple[float, float] | None:
        walker = self._s.walker
        return None if walker is None else (walker.x, walker.y)


def free_pose(layout: Layout, rng: np.random.Generator, margin: float = 0.12) -> tuple[float, float, float]:
    """A pose at least ``margin`` m from everything, uniform over what is free."""
    for _ in range(10_000):
        x, y = rng.uniform(-layout.half, layout.half, 2)
        if layout.free((x, y), margin):
            return float(x), float(y), float(rng.uniform(-np.pi, np.pi))
    raise SimError(f"layout {layout.name!r}: no place at least {margin} m from every obstacle was found")


@lru_cache(maxsize=64)
def _layout(scene: SceneConfig, seed: int) -> Layout:
    if scene.layout == "fixed":
        return fixed_layout()
    if scene.layout == "empty":
        return empty_layout()
    return random_layout(seed, scene.n_obstacles, scene.patches)


def _check_contract(contract) -> None:
    """Refuse a contract of another robot, by name of the key."""
    kinematics = contract.kinematics
    if kinematics.kind != "diff_drive":
        raise SimError(f"contract: kinematics.kind: found {kinematics.kind!r}, the arena's robot is 'diff_drive'")
    for key, own in (("wheel_radius", WHEEL_RADIUS), ("wheel_separation", WHEEL_SEPARATION)):
        found = getattr(kinematics, key)
        if abs(found - own) > 1e-6:
            raise SimError(f"contract: kinematics.{key}: found {found}, the arena's robot (sim/assets) has {own}")
