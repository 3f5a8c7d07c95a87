# SPDX-License-Identifier: Apache-2.0
"""The external camera: the ONE place that makes pictures of the table.

Table and room are flat and never move: they are worked out once an episode, texture and light included. A frame draws
only the window around what moves, through the matching part of the same frustum, and puts it in by depth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jepa_ros.arm import ArmBody
from jepa_ros.contract import Camera as CameraSpec

from ..common.engine import pybullet as p
from ..common.noise import noisy
from ..common.view import View
from .robot import Robot
from .scene import Look, TableConfig, Thing

NEAR, FAR = 0.1, 4.0
TABLE = ((-0.25, 1.0), (-0.75, 0.75))  # m, x and y of its top, which is at height 0
FLOOR = -0.75  # m
SPOTS = 64  # edge of the grid of stains on the table
NOISE_BANK = np.random.default_rng(20251).standard_normal(1 << 19, dtype=np.float32)

#: A thing where it is: the thing, position (3,) [m], quaternion (4,).
Placed = tuple[Thing, tuple[float, ...], tuple[float, ...]]


def make_view(spec: CameraSpec, look: Look, fov: float) -> View:
    """The camera of one episode: where the contract mounts it (x forward, z up: REP-103), with the errors drawn."""
    roll, pitch, yaw = (a + b for a, b in zip(spec.orientation, look.turn, strict=True))
    turn = np.array(p.getMatrixFromQuaternion(p.getQuaternionFromEuler((roll, pitch, yaw)))).reshape(3, 3)
    eye = np.array(spec.position) + look.shift
    values = p.computeViewMatrix(tuple(eye), tuple(eye + turn[:, 0]), tuple(turn[:, 2]))
    return View(spec.width, spec.height, float(np.radians(fov)), np.array(values).reshape(4, 4).T)


class Camera:
    """Renders one table. Holds one headless PyBullet client with what moves.

    Args:
        spec: of the contract. body: the arm. config: noise and angle of view.
    """

    def __init__(self, spec: CameraSpec, body: ArmBody, config: TableConfig) -> None:
        self.spec, self._body, self._config = spec, body, config
        self.client = p.connect(p.DIRECT)
        self._robot = Robot(self.client, body, drawn=True)
        self._look: Look | None = None
        self._things: dict[Thing, int] = {}
        self._bank = np.rint(NOISE_BANK * config.camera_noise).astype(np.int16)

    def close(self) -> None:
        """Free the client."""
        if self.client >= 0:
            p.disconnect(physicsClientId=self.client)
            self.client = -1

    def set_scene(self, look: Look, things: Sequence[Thing]) -> None:
        """Draw what stands still anew, and make the bodies of what moves."""
        if look != self._look:
            self.view = make_view(self.spec, look, self._config.fov)
            self._matrix = tuple(self.view.matrix.T.ravel())
            self._background, self._depth = self._room(look)
            self._robot.shade(look.robot)
        for thing in [thing for thing in self._things if thing not in things]:
            p.removeBody(self._things.pop(thing), physicsClientId=self.client)
        for thing in things:
            if thing not in self._things:
                self._things[thing] = make_thing(self.client, thing, solid=False)
        self._look = look
        self._light = dict(
            lightDirection=look.light,
            lightColor=look.tint,
            lightDistance=3.0,
            lightAmbientCoeff=look.ambient,
            lightDiffuseCoeff=look.diffuse,
            lightSpecularCoeff=0.05,
        )

    def render(self, joints: np.ndarray, placed: Sequence[Placed], noise: np.random.Generator | None) -> np.ndarray:
        """One picture.

        Args:
            joints: (J,) positions. placed: where the things are. noise: of the sensor; None gives a clean picture.

        Returns:
            uint8 ``(height, width, 3)``, RGB.
        """
        self._robot.put(joints)
        for thing, position, turn in placed:
            p.resetBasePositionAndOrientation(self._things[thing], position, turn, physicsClientId=self.client)
        image = self._background.copy()
        window = self._window(placed)
        if window is not None:
            self._insert(image, *window)
        return image if noise is None else self._noisy(image, noise)

    def _window(self, placed: Sequence[Placed]) -> tuple[int, int, int, int] | None:
        """The pixels that robot and things can touch: columns and rows [x0, x1) x [y0, y1)."""
        robot = self._robot
        rows = p.getLinkStates(robot.id, list(robot.links.values()), physicsClientId=self.client)
        points = np.array([(0.0, 0.0, 0.1), *(row[4] for row in rows), *(position for _, position, _ in placed)])
        eye = points @ self.view.matrix[:3, :3].T + self.view.matrix[:3, 3]
        scale = self.view.focal / np.maximum(-eye[:, 2], 0.1)
        columns, lines = self.view.width / 2 + eye[:, 0] * scale, self.view.height / 2 - eye[:, 1] * scale
        reach = 0.16 * scale  # m: further from its frame no link has a part
        x0, x1 = max(int((columns - reach).min()), 0), min(int((columns + reach).max()) + 1, self.view.width)
        y0, y1 = max(int((lines - reach).min()), 0), min(int((lines + reach).max()) + 1, self.view.height)
        return (x0, x1, y0, y1) if x0 < x1 and y0 < y1 else None

    def _insert(self, image: np.ndarray, x0: int, x1: int, y0: int, y1: int) -> None:
        top = NEAR * float(np.tan(self.view.fov / 2))
        right = top * self.view.width / self.view.height
        dx, dy = 2 * right / self.view.width, 2 * top / self.view.height
        frustum = p.computeProjectionMatrix(x0 * dx - right, x1 * dx - right, top - y1 * dy, top - y0 * dy, NEAR, FAR)
        width, height, rgba, depth, _ = p.getCameraImage(
            x1 - x0, y1 - y0, self._matrix, frustum, shadow=0, renderer=p.ER_TINY_RENDERER,
            flags=p.ER_NO_SEGMENTATION_MASK, physicsClientId=self.client, **self._light,
        )  # fmt: skip
        rgb = np.asarray(rgba, dtype=np.uint8).reshape(height, width, 4)[..., :3]
        depth = np.asarray(depth, dtype=np.float32).reshape(height, width)
        window = (slice(y0, y1), slice(x0, x1))
        np.copyto(image[window], rgb, where=(depth < self._depth[window])[..., None])

    def _room(self, look: Look) -> tuple[np.ndarray, np.ndarray]:
        """Picture of table and room, and its depth as the renderer's buffer counts it."""
        rays, eye = self.view.rays(), self.view.eye
        rng = np.random.default_rng(look.grain)
        down = np.where(rays[..., 2] < -1e-6, rays[..., 2], -1e-6)
        along = eye[2] / -down  # camera depth of the table's plane [m]
        at = eye[:2] + rays[..., :2] * along[..., None]
        (x0, x1), (y0, y1) = TABLE
        on = (at[..., 0] > x0) & (at[..., 0] < x1) & (at[..., 1] > y0) & (at[..., 1] < y1) & (along < FAR)
        lit = look.ambient + look.diffuse * look.light[2] / float(np.linalg.norm(look.light))
        wood = 1.0 + look.texture * (_stains(rng, at) + 0.5 * np.sin(60.0 * at[..., 1] + 4.0 * _stains(rng, at)))
        deep = (eye[2] - FLOOR) / -down
        ground = eye[:2] + rays[..., :2] * np.minimum(deep, 10.0)[..., None]
        shade = 0.75 * (1.0 + look.texture * _stains(rng, ground))
        colour = np.where(
            on[..., None],
            np.array(look.table) * (lit * wood)[..., None],
            np.array(look.room) * np.clip(shade, 0.3, 1.2)[..., None],
        )
        image = np.clip(255.0 * colour * look.tint, 0, 255).astype(np.uint8)
        metres = np.where(on, along, np.minimum(deep, FAR))
        depth = FAR * (metres - NEAR) / (metres * (FAR - NEAR))
        return image, depth.astype(np.float32)

    def _noisy(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add Gaussian sensor noise: a stretch, at a random place, of a bank drawn beforehand."""
        if self._config.camera_noise == 0.0:
            return image
        return noisy(image, self._bank, rng)


def _stains(rng: np.random.Generator, at: np.ndarray) -> np.ndarray:
    """Smooth noise of unit scale over points (..., 2) [m], with spots of about 6 cm."""
    grid = rng.standard_normal((SPOTS, SPOTS))
    u = np.clip((at + 2.0) / 4.0, 0.0, 1.0) * (SPOTS - 1.001)
    i = u.astype(int)
    f = u - i
    a, b = grid[i[..., 0], i[..., 1]], grid[i[..., 0] + 1, i[..., 1]]
    c, d = grid[i[..., 0], i[..., 1] + 1], grid[i[..., 0] + 1, i[..., 1] + 1]
    fx, fy = f[..., 0], f[..., 1]
    return np.asarray((a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy)


def make_thing(client: int, thing: Thing, solid: bool) -> int:
    """A body of a thing: drawn, or with mass and friction to be pushed about."""
    a, _, c = thing.size
    kind, drawn, shape = {
        "box": (p.GEOM_BOX, {"halfExtents": thing.size}, {"halfExtents": thing.size}),
        "bar": (p.GEOM_BOX, {"halfExtents": thing.size}, {"halfExtents": thing.size}),
        "ball": (p.GEOM_SPHERE, {"radius": a}, {"radius": a}),
        "cylinder": (p.GEOM_CYLINDER, {"radius": a, "length": 2 * c}, {"radius": a, "height": 2 * c}),
    }[thing.shape]
    x, y, yaw = thing.place
    turn = (0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2)))
    if not solid:
        visual = p.createVisualShape(kind, rgbaColor=(*thing.colour, 1.0), physicsClientId=client, **drawn)
        return int(p.createMultiBody(0, -1, visual, (x, y, thing.height), turn, physicsClientId=client))
    collision = p.createCollisionShape(kind, physicsClientId=client, **shape)
    body = p.createMultiBody(thing.mass, collision, -1, (x, y, thing.height), turn, physicsClientId=client)
    rolling = 2e-3 if thing.shape in ("ball", "cylinder") else 0.0
    p.changeDynamics(body, -1, lateralFriction=thing.friction, rollingFriction=rolling, spinningFriction=1e-3,
                     physicsClientId=client)  # fmt: skip
    return int(body)
