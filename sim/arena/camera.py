# SPDX-License-Identifier: Apache-2.0
"""The overhead camera: the ONE place that makes pictures.

PyBullet's software renderer draws 128x128 of this scene in about 4 ms, nearly all of it floor and boxes that never
move. So what stands still is drawn once per scene (supersampled, with depth and shadow) and a frame draws only a small
window around each thing that moves, through the matching part of the same frustum, and puts it in by depth: the
result is the picture that drawing everything would give.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..common.engine import pybullet as p
from ..common.errors import SimError
from ..common.noise import noisy
from ..common.shadow import Floor
from ..common.view import View
from .layout import ROBOT_RADIUS, Box, Layout
from .scene import Look, SceneConfig

ASSETS = Path(__file__).parent / "assets"
NEAR, FAR = 1.0, 4.5
WALL_HEIGHT, WALL_THICKNESS = 0.10, 0.06
PERSON_HEIGHT = 0.25
PERSON_COLOUR = (0.80, 0.10, 0.45)
FAULTS = ("covered", "dark", "frozen", "shifted")
PATCH_SHADE = 0.80  # brightness of a slippery patch against the floor about it
COVER = (28, 24, 22)  # what a covered lens sees, RGB
SHIFT = 0.08  # share of the picture's edge by which a knocked camera has moved
NOISE_BANK = np.random.default_rng(20250).standard_normal(1 << 20, dtype=np.float32)


def make_view(scene: SceneConfig, look: Look, width: int, height: int) -> View:
    """The camera of one episode; its angle of view takes in ``camera_span`` m of floor where it was meant to hang."""
    values = p.computeViewMatrix(look.eye, (*look.aim, 0.0), look.up)
    fov = 2 * np.arctan(scene.camera_span / 2 / look.height)
    return View(width, height, float(fov), np.array(values).reshape(4, 4).T)


class Camera:
    """Renders one scene. Holds two headless PyBullet clients: what stands still and what moves."""

    def __init__(self, scene: SceneConfig, width: int, height: int) -> None:
        self.scene, self.width, self.height = scene, width, height
        self.static = p.connect(p.DIRECT)
        self.moving = p.connect(p.DIRECT)
        self.robot = p.loadURDF(str(ASSETS / "arena_robot.urdf"), (0, 0, -50), physicsClientId=self.moving)
        self.person: int | None = None
        if scene.person != "none":
            self.person = add_cylinder(self.moving, scene.person_radius, PERSON_HEIGHT, PERSON_COLOUR)
        self._key: object = None
        self.fault: str | None = None
        self._frozen: np.ndarray | None = None
        self._noise_std = None

    def close(self) -> None:
        for client in (self.static, self.moving):
            p.disconnect(physicsClientId=client)

    def set_fault(self, kind: str | None) -> None:
        """Fail from now on in one of FAULTS; None mends the camera.

        Raises:
            SimError: an unknown fault.
        """
        if kind is not None and kind not in FAULTS:
            raise SimError(f"camera fault: found {kind!r}, expected one of {', '.join(FAULTS)} or None")
        self.fault, self._frozen = kind, None

    def take(self, robot: tuple, person: tuple | None, noise: np.random.Generator) -> np.ndarray:
        """What the camera delivers: :meth:`render`, or what its fault makes of that."""
        if self.fault == "frozen":
            if self._frozen is None:
                self._frozen = self.render(robot, person, noise)
            return self._frozen.copy()
        image = self.render(robot, person, None if self.fault else noise)
        if self.fault is None:
            return image
        if self.fault == "covered":
            image[:] = COVER
        elif self.fault == "dark":
            image //= 12
        elif self.fault == "shifted":
            shift = round(SHIFT * self.width)
            image = np.roll(image, (shift, -shift), axis=(0, 1))
            image[:shift], image[:, -shift:] = image[shift], image[:, -shift - 1 : -shift]
        return self._noisy(image, noise)

    def set_scene(self, layout: Layout, look: Look) -> None:
        """Draw what stands still, unless it is what was drawn last."""
        if self._key == (layout, look):
            return
        self._key = (layout, look)
        self.view = make_view(self.scene, look, self.width, self.height)
        self._matrix = tuple(self.view.matrix.T.ravel())
        self._rows, self._focal = self.view.matrix[:3].tolist(), float(self.view.focal)
        self._light = dict(
            lightDirection=look.light,
            lightColor=look.tint,
            lightDistance=3.0,
            lightAmbientCoeff=look.ambient,
            lightDiffuseCoeff=look.diffuse,
            lightSpecularCoeff=0.05,
        )
        p.resetSimulation(physicsClientId=self.static)
        build_static(self.static, layout, look)
        k = self.scene.supersample
        self._fine, self._depth = self._shoot(self.static, 0, 0, self.width * k, self.height * k)
        self._fine = self._fine.copy()
        self._floor = Floor(
            self.view.matrix, self._focal * k, self.width * k, self.height * k, self._depth, NEAR, FAR, look.light
        )
        for patch in layout.patches:
            if patch.visible:
                self._tint(self._fine, self._floor.disc(patch.cx, patch.cy, patch.radius), PATCH_SHADE)
        if self.scene.shadows:
            up = look.light[2] / float(np.linalg.norm(look.light))
            self._dark = look.ambient / (look.ambient + look.diffuse * up)
            shadow = np.zeros(self._depth.shape, bool)
            for box in (*layout.boxes, *walls(layout.half)):
                reach = float(np.hypot(box.hx, box.hy)) + box.height * float(np.hypot(*self._floor.slope))
                window = self._window(((box.cx, box.cy, 0.0),), reach, k)
                if window:
                    shadow[window] |= self._floor.box(box.cx, box.cy, box.hx, box.hy, box.yaw, box.height, window)
            self._tint(self._fine, shadow, self._dark)
            self._lit = ~shadow
        self._background = _shrink(self._fine, k)

    def render(self, robot: tuple, person: tuple | None = None, noise: np.random.Generator | None = None) -> np.ndarray:
        """One picture.

        Args:
            robot: position (3) and quaternion (4) of the robot's centre of mass.
            person: position (x, y) of the person, or None to leave them out.
            noise: where the sensor noise comes from; None gives a clean picture.

        Returns:
            uint8 ``(height, width, 3)``, RGB.
        """
        image = self._background.copy()
        things = [(robot[0][0], robot[0][1], ROBOT_RADIUS, 0.10)]
        p.resetBasePositionAndOrientation(self.robot, *robot, physicsClientId=self.moving)
        if self.person is not None:
            x, y = person if person is not None else (0.0, 0.0)
            z = PERSON_HEIGHT / 2 if person is not None else -50.0
            p.resetBasePositionAndOrientation(self.person, (x, y, z), (0, 0, 0, 1), physicsClientId=self.moving)
            if person is not None:
                things.append((x, y, self.scene.person_radius, PERSON_HEIGHT))
        windows = [(thing, self._thing_window(*thing)) for thing in things]
        for i, (_, window) in enumerate(windows):
            if window:  # the windows of two things may overlap: the later one then shows both
                self._insert(image, window, [t for t, w in windows[: i + 1] if w] if i else [windows[0][0]])
        if noise is not None and self.scene.camera_noise > 0:
            image = self._noisy(image, noise)
        return image

    def _thing_window(self, x: float, y: float, radius: float, height: float) -> tuple[int, int, int, int] | None:
        """The pixels that an upright cylinder and its shadow can touch: (x0, x1, y0, y1)."""
        centres = [(x, y, 0.0), (x, y, height)]
        if self.scene.shadows:
            sx, sy = self._floor.slope
            centres.append((x - sx * height, y - sy * height, 0.0))
        return self._pixels(centres, radius * 1.08)

    def _pixels(self, centres, radius: float) -> tuple[int, int, int, int] | None:
        """The pixels that balls of ``radius`` at ``centres`` can touch: (x0, x1, y0, y1), None if there are none."""
        m, focal = self._rows, self._focal
        x0 = y0 = 10**6
        x1 = y1 = -(10**6)
        for x, y, z in centres:
            ex, ey, ez = (r[0] * x + r[1] * y + r[2] * z + r[3] for r in m)
            scale = focal / -ez
            col, row, reach = self.width / 2 + ex * scale, self.height / 2 - ey * scale, radius * scale
            x0, x1 = min(x0, int(col - reach)), max(x1, int(col + reach) + 1)
            y0, y1 = min(y0, int(row - reach)), max(y1, int(row + reach) + 1)
        x0, x1, y0, y1 = max(x0, 0), min(x1, self.width), max(y0, 0), min(y1, self.height)
        return (x0, x1, y0, y1) if x0 < x1 and y0 < y1 else None

    def _window(self, centres, radius: float, k: int) -> tuple[slice, slice] | None:
        found = self._pixels(centres, radius)
        return found and (slice(found[2] * k, found[3] * k), slice(found[0] * k, found[1] * k))

    def _insert(self, image: np.ndarray, pixels: tuple[int, int, int, int], things: list[tuple]) -> None:
        """Draw the moving things inside one window into ``image``, where they are nearer than what stands still."""
        k = self.scene.supersample
        x0, x1, y0, y1 = pixels
        rgb, depth = self._shoot(self.moving, x0 * k, y0 * k, x1 * k, y1 * k)
        window = (slice(y0 * k, y1 * k), slice(x0 * k, x1 * k))
        fine = self._fine[window].copy()
        if self.scene.shadows:
            shadow = self._floor.cylinder(*things[0], window)
            for thing in things[1:]:
                shadow |= self._floor.cylinder(*thing, window)
            self._tint(fine, shadow & self._lit[window], self._dark)
        near = depth < self._depth[window]
        np.copyto(fine, rgb, where=near[..., None])
        image[y0:y1, x0:x1] = _shrink(fine, k)

    def _tint(self, fine: np.ndarray, where: np.ndarray, factor: float) -> None:
        fine[where] = (fine[where] * np.float32(factor)).astype(np.uint8)

    def _shoot(self, client: int, x0: int, y0: int, x1: int, y1: int) -> tuple[np.ndarray, np.ndarray]:
        """Render the fine pixels [x0, x1) x [y0, y1): uint8 RGB and the depth buffer."""
        k = self.scene.supersample
        top = NEAR * float(np.tan(self.view.fov / 2))
        right = top * self.width / self.height
        dx, dy = 2 * right / (self.width * k), 2 * top / (self.height * k)
        frustum = p.computeProjectionMatrix(x0 * dx - right, x1 * dx - right, top - y1 * dy, top - y0 * dy, NEAR, FAR)
        width, height, rgba, depth, _ = p.getCameraImage(
            x1 - x0,
            y1 - y0,
            self._matrix,
            frustum,
            shadow=0,
            renderer=p.ER_TINY_RENDERER,
            flags=p.ER_NO_SEGMENTATION_MASK,
            physicsClientId=client,
            **self._light,
        )
        rgb = np.asarray(rgba, dtype=np.uint8).reshape(height, width, 4)[..., :3]
        return rgb, np.asarray(depth, dtype=np.float32).reshape(height, width)

    def _noisy(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add Gaussian sensor noise: a stretch of a bank drawn beforehand."""
        if self._noise_std != self.scene.camera_noise:
            self._noise_std = self.scene.camera_noise
            self._bank = np.rint(NOISE_BANK * self._noise_std).astype(np.int16)
        return noisy(image, self._bank, rng)


def _shrink(fine: np.ndarray, k: int) -> np.ndarray:
    """Mean over k x k blocks: ``(h*k, w*k, 3)`` to ``(h, w, 3)``, uint8."""
    if k == 1:
        return np.ascontiguousarray(fine)
    height, width = fine.shape[0] // k, fine.shape[1] // k
    total = fine.reshape(height, k, width, k, 3).sum(axis=(1, 3), dtype=np.uint16)
    return ((total + k * k // 2) // (k * k)).astype(np.uint8)


def add_box(client: int, half: tuple, position: tuple, yaw: float, colour: tuple, solid: bool) -> int:
    """A fixed box, drawn and (if ``solid``) collided with."""
    visual = p.createVisualShape(p.GEOM_BOX, halfExtents=half, rgbaColor=(*colour, 1), physicsClientId=client)
    shape = p.createCollisionShape(p.GEOM_BOX, halfExtents=half, physicsClientId=client) if solid else -1
    turn = (0, 0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2)))
    return p.createMultiBody(0, shape, visual, position, turn, physicsClientId=client)


def add_cylinder(client: int, radius: float, height: float, colour: tuple, solid: bool = False) -> int:
    """An upright cylinder about its middle, out of sight until it is placed."""
    visual = p.createVisualShape(
        p.GEOM_CYLINDER, radius=radius, length=height, rgbaColor=(*colour, 1), physicsClientId=client
    )
    shape = -1
    if solid:
        shape = p.createCollisionShape(p.GEOM_CYLINDER, radius=radius, height=height, physicsClientId=client)
    return p.createMultiBody(0, shape, visual, (0, 0, -50), physicsClientId=client)


def build_static(client: int, layout: Layout, look: Look, solid: bool = False) -> list[int]:
    """Floor, walls, patches and boxes; returns what a robot can bump into (walls, then boxes)."""
    half = layout.half
    add_box(client, (half + 1.0, half + 1.0, 0.05), (0, 0, -0.05), 0, look.floor, False)
    for patch in layout.patches:
        if patch.visible and solid:  # for PyBullet's window; the camera tints the floor instead
            disc = add_cylinder(client, patch.radius, 0.002, tuple(0.75 * c + 0.1 for c in look.floor))
            p.resetBasePositionAndOrientation(disc, (patch.cx, patch.cy, 0.001), (0, 0, 0, 1), physicsClientId=client)
    bodies = []
    for wall in walls(half):
        bodies.append(
            add_box(
                client, (wall.hx, wall.hy, wall.height / 2), (wall.cx, wall.cy, wall.height / 2), 0, look.wall, solid
            )
        )
    for i, box in enumerate(layout.boxes):
        colour = look.boxes[i % len(look.boxes)]
        bodies.append(
            add_box(client, (box.hx, box.hy, box.height / 2), (box.cx, box.cy, box.height / 2), box.yaw, colour, solid)
        )
    return bodies


def walls(half: float) -> list[Box]:
    """The four walls round an arena, outside its free square."""
    t = WALL_THICKNESS / 2
    upright = [Box(sign * (half + t), 0.0, t, half + 2 * t, 0.0, WALL_HEIGHT) for sign in (-1, 1)]
    level = [Box(0.0, sign * (half + t), half, t, 0.0, WALL_HEIGHT) for sign in (-1, 1)]
    return upright + level
