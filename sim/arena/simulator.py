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

from ..common.base import JOINTS, LEFT, RIGHT
from ..common.driving import TICK, Driving, DrivingSimulator
from ..common.engine import pybullet as p
from ..common.errors import SimError
from ..common.sensors import Odometry, wrap
from ..common.simulator import DT, streams
from .body import ROBOT, make_body
from .camera import PERSON_COLOUR, PERSON_HEIGHT, Camera, View, add_box, add_cylinder, build_static
from .layout import Box, Layout, empty_layout, fixed_layout, random_layout
from .mazes import dead_end_layout, maze_layout
from .person import Walker
from .scene import Draw, SceneConfig, draw, mounting
from .window import Window

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
class _State(Driving):
    """What the arena adds."""

    walker: Walker | None = None
    friction: list[float] = field(default_factory=list)  # left, right
    person_contact_steps: int = 0


class ArenaSim(DrivingSimulator):
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
        super().__init__(ROBOT, contract, self.scene)
        camera = contract.cameras[0]
        self._nominal = mounting(camera.position, camera.orientation)
        self._window = Window() if gui else None
        self.camera = Camera(self.scene, camera.width, camera.height)
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
        rngs = streams(seed, STREAMS)
        if start is None:
            start = free_pose(layout, rngs["start"])
        elif len(start) != 3 or not np.all(np.isfinite(start)) or not layout.free(start[:2]):
            raise SimError(f"start: found {tuple(start)}, expected an (x, y, yaw) where the robot touches nothing")
        self._resets += 1
        self.seed, self.layout_seed, self.layout = seed, layout_seed, layout
        self.draw: Draw = draw(self.scene, self._nominal, rngs["look"])
        self.camera.set_scene(self.layout, self.draw.look)
        walker = None
        if self.scene.person != "none":
            walker = Walker.begin(self.scene, self.layout, start[:2], rngs["person"])
        odometry = Odometry.draw(self.scene, ROBOT.radius, ROBOT.separation, rngs["odom"])
        latency, friction = round(self.draw.latency / DT), [self.draw.friction, self.draw.friction]
        self._s: _State = _State(rngs, odometry, latency, walker=walker, friction=friction)
        self._build(start)

    def _build(self, start: tuple[float, float, float]) -> None:
        c = self._client
        for state in self._saved:
            p.removeState(state, physicsClientId=c)
        self._saved = []
        floor = self._floor()
        self._obstacles = build_static(c, self.layout, self.draw.look, solid=True)
        for body in self._obstacles:
            p.changeDynamics(body, -1, lateralFriction=0.4, restitution=0.0, physicsClientId=c)
        self._person = None
        if self._s.walker is not None:
            self._person = add_cylinder(c, self.scene.person_radius, PERSON_HEIGHT, PERSON_COLOUR, solid=True)
            self._place_person()
        self._body = make_body(c, floor, start, self.draw)
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
        self.camera.set_scene(layout, self.draw.look)
        self._obstacles.append(add_box(
            self._client, (box.hx, box.hy, box.height / 2), (box.cx, box.cy, box.height / 2), box.yaw, colour,
            True))  # fmt: skip
        p.changeDynamics(self._obstacles[-1], -1, lateralFriction=0.4, restitution=0.0, physicsClientId=self._client)
        self._show_scene()

    def close(self) -> None:
        """Free PyBullet's clients, and close the window."""
        if self._client >= 0 and self._window is not None:
            self._window.close()
        super().close()

    # ---- time and command --------------------------------------------------------------------------------------
    def block_wheel(self, side: str | None) -> None:
        """Jam the "left" or the "right" wheel; None frees it."""
        if side not in (None, "left", "right"):
            raise SimError(f"block_wheel: found {side!r}, expected 'left', 'right' or None")
        self._s.blocked = side
        self._body.drive(self._s.target, side)

    def set_camera_fault(self, kind: str | None) -> None:
        """Make the camera fail: "covered", "dark" (lights off), "frozen", "shifted"; None mends it."""
        self.camera.set_fault(kind)

    def _tick(self) -> None:
        """The person walks, and the floor under the wheels is looked up."""
        s = self._s
        if s.walker is not None:
            s.walker.walk(TICK * DT, s.rngs["person"])
            self._place_person()
        if self._window is not None and s.step % WINDOW_TICK == 0:
            self._window.show(self._body.frame(), self._person_at())
        if not self.layout.patches:
            return
        x, y, yaw = self._body.pose()
        for side, half in ((LEFT, ROBOT.separation / 2), (RIGHT, -ROBOT.separation / 2)):
            friction = self.layout.friction((x - half * math.sin(yaw), y + half * math.cos(yaw)), self.draw.friction)
            if friction != s.friction[side]:
                s.friction[side] = friction
                self._body.set_friction(side, friction)

    def _place_person(self) -> None:
        walker = self._s.walker
        p.resetBasePositionAndOrientation(self._person, (walker.x, walker.y, PERSON_HEIGHT / 2), (0, 0, 0, 1),
                                          physicsClientId=self._client)  # fmt: skip

    def _feel(self, touched: list[int]) -> None:
        super()._feel(touched)
        self._s.person_contact_steps += self._person in touched

    # ---- what the robot measures -------------------------------------------------------------------------------
    def image(self) -> np.ndarray:
        """The camera's picture now, with sensor noise: uint8 ``(height, width, 3)`` RGB."""
        return self.camera.take(self._body.frame(), self._person_at(), self._s.rngs["image"])

    def image_at(self, pose, noise: bool = True, person: bool = False) -> np.ndarray:
        """The picture with the robot at ``pose`` (x, y, yaw): a goal image. Nothing in the simulation changes."""
        x, y, yaw = (float(value) for value in pose)
        frame = ((x, y, ROBOT.centre), (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)))
        return self.camera.render(frame, self._person_at() if person else None,
                                   self._s.rngs["goal"] if noise else None)  # fmt: skip

    @property
    def view(self) -> View:
        """The true camera of this episode; ``view.project(points)`` gives pixels, to draw a path into a picture."""
        return self.camera.view

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

    def people(self) -> list[tuple[float, float]]:
        """What a tracker of people says: (x, y) of each in the arena's frame [m], noise as the scene states; it sees
        through walls, and misses nobody."""
        at = self._person_at()
        if at is None:
            return []
        n = self._s.rngs["people"].standard_normal(2).tolist()
        return [(at[0] + self.scene.people_noise * n[0], at[1] + self.scene.people_noise * n[1])]

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
