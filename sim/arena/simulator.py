# SPDX-License-Identifier: Apache-2.0
"""The simulated robot in its arena: the ONE object that collection, evaluation and the `sim` node drive.

No ROS, no torch. Time is the simulator's own and moves only in :meth:`ArenaSim.advance`. Everything is a function
of the seeds given to :meth:`ArenaSim.reset` and of the calls made: the same calls give the same numbers and pictures.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from ..common.engine import pybullet as p
from ..common.errors import SimError
from ..common.sensors import Odometry, Scan, cast_scan, wrap
from .body import COM_HEIGHT, JOINTS, LEFT, RIGHT, WHEEL_RADIUS, WHEEL_SEPARATION, Body, check_contract, wheel_speeds
from .camera import PERSON_COLOUR, PERSON_HEIGHT, Camera, View, add_box, add_cylinder, build_static
from .layout import Box, Layout, empty_layout, fixed_layout, random_layout
from .mazes import dead_end_layout, maze_layout
from .person import Walker
from .scene import Draw, SceneConfig, draw, mounting
from .window import Window

DT = 0.005  # s, one physics step
TICK = 4  # physics steps between encoder readings, floor checks and steps of the person: 20 ms
WINDOW_TICK = 8  # physics steps between pictures in the window: 40 ms
STREAMS = ("look", "odom", "pose", "image", "goal", "scan", "person", "start", "people")  # each its own generator


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
    """All that changes outside PyBullet, so that it is saved and restored in one piece."""

    rngs: dict[str, np.random.Generator]
    odometry: Odometry
    walker: Walker | None
    friction: list[float]  # left, right
    step: int = 0
    commanded_at: int = -(10**9)
    queue: list[tuple[int, tuple[float, float]]] = field(default_factory=list)  # (step due, wheel speeds)
    target: tuple[float, float] = (0.0, 0.0)  # rad/s, what the wheels are told
    blocked: str | None = None
    turns: tuple[float, float] = (0.0, 0.0)  # rad, last encoder reading
    touching: bool = False
    touched_at: int = -(10**9)
    contact_steps: int = 0
    contact_count: int = 0
    person_contact_steps: int = 0


class ArenaSim:
    """A differential-drive robot in a walled arena of 2 m x 2 m under a fixed camera.

    Args:
        contract: the robot contract; of it ``kinematics`` and the first camera are used.
        scene: what the arena looks like and how it behaves.
        gui: show PyBullet's window, see window.py.

    Raises:
        SimError: the contract is of another robot, or the window cannot be opened.
    """

    def __init__(self, contract, scene: SceneConfig | None = None, gui: bool = False) -> None:
        self.scene = scene if scene is not None else SceneConfig()
        self.contract = contract
        check_contract(contract)
        camera = contract.cameras[0]
        self._nominal = mounting(camera.position, camera.orientation)
        self._window = Window() if gui else None
        self._client = p.connect(p.DIRECT)
        if self._client < 0:
            raise SimError("PyBullet gave no client: too many simulations are open in this process")
        self._camera = Camera(self.scene, camera.width, camera.height)
        self._resets = 0
        self._saved: list[int] = []
        self.reset()

    # ---- episodes ----------------------------------------------------------------------------------------------
    def reset(self, seed: int | None = None, layout_seed: int | None = None,
              start: tuple[float, float, float] | None = None, layout: Layout | None = None) -> None:  # fmt: skip
        """Begin an episode at time 0, robot at rest.

        Args:
            seed: of everything that is drawn; None counts on from the scene's seed.
            layout_seed: of a random layout; None takes ``seed``.
            start: (x, y, yaw) in m and rad; None draws a free pose.
            layout: a layout to use in place of the scene's.

        Raises:
            SimError: ``start`` is in an obstacle or outside the arena.
        """
        seed = self.scene.seed + self._resets if seed is None else int(seed)
        layout_seed = seed if layout_seed is None else int(layout_seed)
        layout = layout if layout is not None else layout_of(self.scene, layout_seed)
        rngs = {name: np.random.default_rng([seed, i]) for i, name in enumerate(STREAMS)}
        if start is None:
            start = free_pose(layout, rngs["start"])
        elif len(start) != 3 or not np.all(np.isfinite(start)) or not layout.free(start[:2]):
            raise SimError(f"start: found {tuple(start)}, expected an (x, y, yaw) where the robot touches nothing")
        self._resets += 1
        self.seed, self.layout_seed, self.layout = seed, layout_seed, layout
        self.draw: Draw = draw(self.scene, self._nominal, rngs["look"])
        self._camera.set_scene(self.layout, self.draw.look)
        walker = None
        if self.scene.person != "none":
            walker = Walker.begin(self.scene, self.layout, start[:2], rngs["person"])
        odometry = Odometry.draw(self.scene, WHEEL_RADIUS, WHEEL_SEPARATION, rngs["odom"])
        self._s = _State(rngs, odometry, walker, [self.draw.friction, self.draw.friction])
        self._build(start)

    def _build(self, start: tuple[float, float, float]) -> None:
        """Make the physical world anew: PyBullet is only reproducible from an empty one."""
        c = self._client
        for state in self._saved:
            p.removeState(state, physicsClientId=c)
        self._saved = []
        p.resetSimulation(physicsClientId=c)
        p.setPhysicsEngineParameter(fixedTimeStep=DT, numSolverIterations=20, deterministicOverlappingPairs=1,
                                    physicsClientId=c)  # fmt: skip
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
        self._body = Body(c, floor, start, self.draw)
        self._show_scene()

    def _show_scene(self) -> None:
        if self._window is not None:
            self._window.build(self.layout, self.draw, None if self._person is None else self.scene.person_radius)
            self._window.show(self._body.frame(), self._person_at())

    def drop_box(self, box: Box, colour: tuple[float, float, float] = (0.90, 0.30, 0.60)) -> None:
        """Set a box down in the middle of an episode: something the robot has never seen.

        Raises:
            SimError: the robot stands there.
        """
        layout = Layout((*self.layout.boxes, box), self.layout.patches, self.layout.half, self.layout.name + "+box")
        if not layout.free(self._body.pose()[:2]):
            raise SimError(f"drop_box: {box} would stand on the robot")
        self.layout = layout
        look = self.draw.look
        colours = tuple(look.boxes[i % len(look.boxes)] for i in range(len(layout.boxes) - 1))
        self.draw = self.draw.with_look(boxes=(*colours, tuple(colour)))
        self._camera.set_scene(layout, self.draw.look)
        self._obstacles.append(add_box(
            self._client, (box.hx, box.hy, box.height / 2), (box.cx, box.cy, box.height / 2), box.yaw, colour,
            True))  # fmt: skip
        p.changeDynamics(self._obstacles[-1], -1, lateralFriction=0.4, restitution=0.0, physicsClientId=self._client)
        self._show_scene()

    def close(self) -> None:
        """Free PyBullet's clients. The object is of no use afterwards; closing twice is harmless."""
        if self._client >= 0:
            p.disconnect(physicsClientId=self._client)
            self._camera.close()
            if self._window is not None:
                self._window.close()
            self._client = -1

    def __enter__(self) -> ArenaSim:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    # ---- time and command --------------------------------------------------------------------------------------
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
        s = self._s
        s.commanded_at = s.step
        s.queue.append((s.step + round(self.draw.latency / DT), wheel_speeds(*values.tolist())))

    def block_wheel(self, side: str | None) -> None:
        """Jam the "left" or the "right" wheel; None frees it."""
        if side not in (None, "left", "right"):
            raise SimError(f"block_wheel: found {side!r}, expected 'left', 'right' or None")
        self._s.blocked = side
        self._body.drive(self._s.target, side)

    def set_camera_fault(self, kind: str | None) -> None:
        """Make the camera fail: "covered", "dark" (lights off), "frozen", "shifted"; None mends it."""
        self._camera.set_fault(kind)

    def advance(self, duration: float) -> None:
        """Move time on by ``duration`` s, a multiple of the physics step of 0.005 s.

        Raises:
            SimError: not a multiple of the physics step.
        """
        steps = round(duration / DT)
        if steps < 0 or abs(steps * DT - duration) > 1e-6:
            raise SimError(f"advance: found {duration} s, expected a multiple of the physics step, {DT} s")
        s, client = self._s, self._client
        timeout = round(self.scene.command_timeout / DT)
        for _ in range(steps):
            target = s.target
            while s.queue and s.queue[0][0] <= s.step:
                target = s.queue.pop(0)[1]
            if s.step - s.commanded_at >= timeout:
                s.queue.clear()
                target = (0.0, 0.0)
            if target != s.target:
                s.target = target
                self._body.drive(target, s.blocked)
            if s.step % TICK == 0:
                self._tick()
            p.stepSimulation(physicsClientId=client)
            s.step += 1
            self._feel()
            if s.step % TICK == 0:
                self._read_encoders()

    def _tick(self) -> None:
        """What happens every 20 ms: the person walks, the floor under the wheels is looked up."""
        s = self._s
        if s.walker is not None:
            s.walker.walk(TICK * DT, s.rngs["person"])
            self._place_person()
        if self._window is not None and s.step % WINDOW_TICK == 0:
            self._window.show(self._body.frame(), self._person_at())
        if not self.layout.patches:
            return
        x, y, yaw = self._body.pose()
        for side, half in ((LEFT, WHEEL_SEPARATION / 2), (RIGHT, -WHEEL_SEPARATION / 2)):
            friction = self.layout.friction((x - half * math.sin(yaw), y + half * math.cos(yaw)), self.draw.friction)
            if friction != s.friction[side]:
                s.friction[side] = friction
                self._body.set_friction(side, friction)

    def _place_person(self) -> None:
        walker = self._s.walker
        p.resetBasePositionAndOrientation(self._person, (walker.x, walker.y, PERSON_HEIGHT / 2), (0, 0, 0, 1),
                                          physicsClientId=self._client)  # fmt: skip

    def _feel(self) -> None:
        s = self._s
        touching, person = self._body.touches(self._person)
        if touching:
            s.contact_steps += 1
            s.person_contact_steps += person
            s.contact_count += not s.touching
            s.touched_at = s.step
        s.touching = touching

    def _read_encoders(self) -> None:
        s = self._s
        turns, _ = self._body.wheels()
        noise = s.rngs["odom"].standard_normal(2).tolist()
        s.odometry.update(turns[0] - s.turns[0], turns[1] - s.turns[1], TICK * DT, noise)
        s.turns = turns

    # ---- what the robot measures -------------------------------------------------------------------------------
    def image(self) -> np.ndarray:
        """The camera's picture now, with sensor noise: uint8 ``(height, width, 3)`` RGB."""
        return self._camera.take(self._body.frame(), self._person_at(), self._s.rngs["image"])

    def image_at(self, pose, noise: bool = True, person: bool = False) -> np.ndarray:
        """The picture with the robot at ``pose`` (x, y, yaw): a goal image. Nothing in the simulation changes."""
        x, y, yaw = (float(value) for value in pose)
        frame = ((x, y, COM_HEIGHT), (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)))
        return self._camera.render(frame, self._person_at() if person else None,
                                   self._s.rngs["goal"] if noise else None)  # fmt: skip

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
        x, y, yaw = self._body.pose()
        sx, sa = self.scene.pose_noise
        n = self._s.rngs["pose"].standard_normal(3).tolist()
        return x + sx * n[0], y + sx * n[1], wrap(yaw + sa * n[2]), np.diag([sx**2, sx**2, sa**2])

    def joint_states(self) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        """Wheel joints: names, positions (rad), velocities (rad/s)."""
        positions, velocities = self._body.wheels()
        return JOINTS, np.array(positions), np.array(velocities)

    def scan(self) -> Scan:
        """One turn of the lidar in the middle of the robot."""
        return cast_scan(self._client, self.scene, *self._body.pose(), self._s.rngs["scan"])

    def people(self) -> list[tuple[float, float]]:
        """What a tracker of people says: (x, y) of each in the arena's frame [m], noise as the scene states; it sees
        through walls, and misses nobody."""
        at = self._person_at()
        if at is None:
            return []
        n = self._s.rngs["people"].standard_normal(2).tolist()
        return [(at[0] + self.scene.people_noise * n[0], at[1] + self.scene.people_noise * n[1])]

    def contact(self) -> bool:
        """The bumper: pressed while the body touches something and for ``bumper_hold`` s after."""
        return (self._s.step - self._s.touched_at) * DT <= self.scene.bumper_hold

    # ---- the truth, and the whole state ------------------------------------------------------------------------
    def truth(self) -> Truth:
        """The true state, for scoring and the oracle only."""
        s = self._s
        x, y, yaw = self._body.pose()
        v, w = self._body.velocity(yaw)
        return Truth(self.time, x, y, yaw, v, w, s.touching, s.contact_steps, s.contact_count, self.layout.boxes,
                     self._person_at(), s.person_contact_steps)  # fmt: skip

    def save(self) -> tuple:
        """Everything as it is now, to go back to with :meth:`restore` within the same episode."""
        state = p.saveState(physicsClientId=self._client)
        self._saved.append(state)
        return state, copy.deepcopy(self._s), (self._resets, len(self._obstacles))

    def restore(self, saved: tuple) -> None:
        """Go back to a saved state of this episode; the same one can be gone back to again.

        Raises:
            SimError: the state is of another episode, or a box was dropped since.
        """
        state, python, world = saved
        if world != (self._resets, len(self._obstacles)):
            raise SimError("restore: the state was saved in another episode or before a box was dropped: "
                           "expected one saved since")  # fmt: skip
        p.restoreState(state, physicsClientId=self._client)
        self._s = copy.deepcopy(python)
        for side in (LEFT, RIGHT):
            self._body.set_friction(side, self._s.friction[side])
        self._body.drive(self._s.target, self._s.blocked)

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
def layout_of(scene: SceneConfig, seed: int) -> Layout:
    """The layout that a scene has for a layout seed."""
    if scene.layout == "fixed":
        return fixed_layout()
    if scene.layout == "empty":
        return empty_layout()
    if scene.layout == "maze":
        return maze_layout(seed)
    if scene.layout == "dead_end":
        return dead_end_layout(seed)
    return random_layout(seed, scene.n_obstacles, scene.patches)
