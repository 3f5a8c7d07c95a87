# SPDX-License-Identifier: Apache-2.0
"""The camera that the robot carries: the ONE place that makes pictures of a house.

What a room looks like from inside is one mesh a surface, so that the renderer has few things to draw. Pictures are
drawn larger and reduced, since the renderer does not smooth edges.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from jepa_ros.contract import Camera as CameraSpec

from ..common.engine import pybullet as p
from ..common.errors import SimError
from ..common.noise import noisy
from .look import TILE, Look
from .plan import ROOM_HEIGHT, WALL, Block, House, Picture, Room

NEAR, FAR = 0.05, 15.0  # m
FAULTS = ("covered", "dark", "frozen")
COVER = (28, 24, 22)  # what a covered lens sees, RGB
PERSON_HEIGHT, PERSON_RADIUS = 1.6, 0.2  # m
NOISE_BANK = np.random.default_rng(20252).standard_normal(1 << 19, dtype=np.float32)
Point = tuple[float, float, float]
#: Four corners, counter-clockwise as seen from the front, the normal, and the texture's place of each corner.
Quad = tuple[tuple[Point, Point, Point, Point], Point, tuple[tuple[float, float], ...]]


class Camera:
    """Renders one house. Holds one headless PyBullet client.

    Args:
        spec: of the contract; its mounting is seen from the robot's base. fov: horizontal [degrees].
        supersample: samples a pixel edge. noise: standard deviation of the sensor's noise, grey levels of 255.
    """

    def __init__(self, spec: CameraSpec, fov: float, supersample: float, noise: float) -> None:
        self.spec = spec
        self.client = p.connect(p.DIRECT)
        if self.client < 0:
            raise SimError("PyBullet gave no client: too many simulations are open in this process")
        self._size = (round(spec.width * supersample), round(spec.height * supersample))
        upright = 2 * np.degrees(np.arctan(np.tan(np.radians(fov) / 2) * spec.height / spec.width))
        self._frustum = p.computeProjectionMatrixFOV(float(upright), spec.width / spec.height, NEAR, FAR)
        self._bank = np.rint(NOISE_BANK * noise).astype(np.int16) if noise > 0.0 else None
        self._people: list[int] = []
        self._key: object = None
        self.fault: str | None = None
        self._frozen: np.ndarray | None = None

    def close(self) -> None:
        """Free the client."""
        if self.client >= 0:
            p.disconnect(physicsClientId=self.client)
            self.client = -1

    def set_fault(self, kind: str | None) -> None:
        """Fail from now on in one of FAULTS; None mends the camera.

        Raises:
            SimError: an unknown fault.
        """
        if kind is not None and kind not in FAULTS:
            raise SimError(f"camera fault: found {kind!r}, expected one of {', '.join(FAULTS)} or None")
        self.fault, self._frozen = kind, None

    def set_house(self, house: House, look: Look, people: Sequence[tuple[float, float, float]]) -> None:
        """Build what is drawn. ``people``: a colour each."""
        key = (id(look), house, tuple(people))
        if self._key == key:
            return
        self._key, self._look = key, look
        c = self.client
        p.resetSimulation(physicsClientId=c)
        with tempfile.TemporaryDirectory() as folder:
            surfaces = _Surfaces(c, Path(folder))
            for number, room in enumerate(house.rooms):
                surfaces.add(_walls(house, number), look.walls[number])
                surfaces.add([_floor(room)], look.floors[number])
            surfaces.add([quad for door in house.doors for quad in _frame(door)], look.frame)
            surfaces.add([_threshold(door) for door in house.doors], look.floors[0])
            for thing, image in zip(house.things, look.things, strict=True):
                surfaces.add(_box(thing), image)
            for i in house.closed:
                surfaces.add(_box(house.doors[i].block), look.leaf)
            for picture, image in zip(house.pictures, look.pictures, strict=True):
                surfaces.add([_painting(picture, house.rooms[picture.room])], image)
        self._people = []
        for colour in people:
            shape = p.createVisualShape(p.GEOM_CYLINDER, radius=PERSON_RADIUS, length=PERSON_HEIGHT,
                                        rgbaColor=(*colour, 1.0), physicsClientId=c)  # fmt: skip
            self._people.append(p.createMultiBody(0, -1, shape, (0, 0, -50), physicsClientId=c))
        light = look.light
        self._light = dict(
            lightDirection=light.direction, lightColor=light.tint, lightDistance=3.0, lightAmbientCoeff=light.ambient,
            lightDiffuseCoeff=light.diffuse, lightSpecularCoeff=0.0,
        )  # fmt: skip

    def take(self, pose: tuple[float, float, float], people: Sequence[tuple[float, float]],
             rng: np.random.Generator) -> np.ndarray:  # fmt: skip
        """What the camera delivers: :meth:`render`, or what its fault makes of it."""
        if self.fault == "covered":
            return self._noisy(np.full((self.spec.height, self.spec.width, 3), COVER, np.uint8), rng)
        if self.fault == "frozen":
            if self._frozen is None:
                self._frozen = self.render(pose, people, rng)
            return self._frozen.copy()
        if self.fault == "dark":
            return self._noisy(self.render(pose, people, None) // 12, rng)
        return self.render(pose, people, rng)

    def render(self, pose: tuple[float, float, float], people: Sequence[tuple[float, float]],
               rng: np.random.Generator | None) -> np.ndarray:  # fmt: skip
        """One picture.

        Args:
            pose: (x, y, yaw) of the robot's base [m, rad]. people: where they are [m]. rng: of the sensor's noise;
                None gives a clean picture.

        Returns:
            uint8 ``(height, width, 3)``, RGB.
        """
        for body, (x, y) in zip(self._people, people, strict=True):
            p.resetBasePositionAndOrientation(body, (x, y, PERSON_HEIGHT / 2), (0, 0, 0, 1),
                                              physicsClientId=self.client)  # fmt: skip
        x, y, yaw = pose
        px, py, pz = self.spec.position
        eye = (x + np.cos(yaw) * px - np.sin(yaw) * py, y + np.sin(yaw) * px + np.cos(yaw) * py, pz)
        roll, pitch, turn = self.spec.orientation
        axes = np.array(p.getMatrixFromQuaternion(p.getQuaternionFromEuler((roll, pitch, turn + yaw)))).reshape(3, 3)
        view = p.computeViewMatrix(eye, tuple(np.array(eye) + axes[:, 0]), tuple(axes[:, 2]))
        width, height = self._size
        rgba = p.getCameraImage(
            width, height, view, self._frustum, shadow=0, renderer=p.ER_TINY_RENDERER,
            flags=p.ER_NO_SEGMENTATION_MASK, physicsClientId=self.client, **self._light,
        )[2]  # fmt: skip
        image = np.ascontiguousarray(np.asarray(rgba, dtype=np.uint8).reshape(height, width, 4)[..., :3])
        if (width, height) != (self.spec.width, self.spec.height):
            image = cv2.resize(image, (self.spec.width, self.spec.height), interpolation=cv2.INTER_AREA)
        return image if rng is None else self._noisy(image, rng)

    def _noisy(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add Gaussian sensor noise: a stretch, at a random place, of a bank drawn beforehand."""
        if self._bank is None:
            return image
        return noisy(image, self._bank, rng)


class _Surfaces:
    """Adds textured meshes to a client."""

    def __init__(self, client: int, folder: Path) -> None:
        self.client, self.folder, self.count = client, folder, 0

    def add(self, quads: Sequence[Quad], image: np.ndarray) -> None:
        """One mesh of several quads that share a texture."""
        if not quads:
            return
        c, vertices, normals, places, indices = self.client, [], [], [], list[int]()
        for corners, normal, uvs in quads:
            k = len(vertices)
            vertices += corners
            normals += [normal] * 4
            places += uvs
            indices += [k, k + 1, k + 2, k, k + 2, k + 3]
        path = self.folder / f"{self.count}.png"
        self.count += 1
        cv2.imwrite(str(path), image[..., ::-1])
        texture = p.loadTexture(str(path), physicsClientId=c)
        shape = p.createVisualShape(p.GEOM_MESH, vertices=vertices, indices=indices, uvs=places, normals=normals,
                                    rgbaColor=(1, 1, 1, 1), physicsClientId=c)  # fmt: skip
        body = p.createMultiBody(0, -1, shape, physicsClientId=c)
        p.changeVisualShape(body, -1, textureUniqueId=texture, physicsClientId=c)


def _upright(a: tuple[float, float], b: tuple[float, float], low: float, high: float, whole: bool = False) -> Quad:
    """A wall from ``a`` to ``b``, seen from the side on which ``a`` is to the left.

    ``whole``: the texture covers it once, as a picture does; else it repeats every tile.
    """
    (ax, ay), (bx, by) = a, b
    length = float(np.hypot(bx - ax, by - ay))
    normal = ((by - ay) / length, (ax - bx) / length, 0.0)
    corners = ((ax, ay, low), (bx, by, low), (bx, by, high), (ax, ay, high))
    if whole:
        return corners, normal, ((0, 0), (1, 0), (1, 1), (0, 1))
    start = (ax * abs(normal[1]) + ay * abs(normal[0])) / TILE
    u, v0, v1 = start + length / TILE, low / TILE, high / TILE
    return corners, normal, ((start, v0), (u, v0), (u, v1), (start, v1))


def _flat(x0: float, y0: float, x1: float, y1: float, z: float) -> Quad:
    corners = ((x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z))
    return corners, (0.0, 0.0, 1.0), tuple((x / TILE, y / TILE) for x, y, _ in corners)


def _floor(room: Room) -> Quad:
    return _flat(room.x0, room.y0, room.x1, room.y1, 0.0)


def _threshold(door) -> Quad:
    x, y = door.middle
    half = (door.high - door.low) / 2
    hx, hy = (WALL / 2, half) if door.axis == 0 else (half, WALL / 2)
    return _flat(x - hx, y - hy, x + hx, y + hy, 0.0)


def _walls(house: House, number: int) -> list[Quad]:
    """The four walls of a room from inside, without its doorways."""
    room = house.rooms[number]
    sides = (
        (1, room.y0, room.x0, room.x1, -1),
        (0, room.x1, room.y0, room.y1, -1),
        (1, room.y1, room.x0, room.x1, 1),
        (0, room.x0, room.y0, room.y1, 1),
    )
    quads = []
    for axis, at, low, high, way in sides:
        gaps = sorted((d.low, d.high) for d in house.doors
                      if number in d.rooms and d.axis == axis and abs(abs(d.at - at) - WALL / 2) < 1e-6)  # fmt: skip
        ends = [low, *(end for gap in gaps for end in gap), high]
        for begin, end in zip(ends[::2], ends[1::2], strict=True):
            left, right = (begin, end) if way == 1 else (end, begin)  # as seen from inside
            a, b = ((at, left), (at, right)) if axis == 0 else ((left, at), (right, at))
            quads.append(_upright(a, b, 0.0, ROOM_HEIGHT))
    return quads


def _frame(door) -> list[Quad]:
    """The two sides of a doorway."""
    half = WALL / 2
    if door.axis == 0:
        return [
            _upright((door.at + half, door.low), (door.at - half, door.low), 0.0, ROOM_HEIGHT),
            _upright((door.at - half, door.high), (door.at + half, door.high), 0.0, ROOM_HEIGHT),
        ]
    return [
        _upright((door.low, door.at - half), (door.low, door.at + half), 0.0, ROOM_HEIGHT),
        _upright((door.high, door.at + half), (door.high, door.at - half), 0.0, ROOM_HEIGHT),
    ]


def _box(block: Block) -> list[Quad]:
    """The faces of a block that can be seen from the floor or from above, and from below where it hangs."""
    x0, x1, y0, y1 = block.cx - block.hx, block.cx + block.hx, block.cy - block.hy, block.cy + block.hy
    quads = [
        _upright((x0, y0), (x1, y0), block.low, block.high),
        _upright((x1, y0), (x1, y1), block.low, block.high),
        _upright((x1, y1), (x0, y1), block.low, block.high),
        _upright((x0, y1), (x0, y0), block.low, block.high),
        _flat(x0, y0, x1, y1, block.high),
    ]
    if block.low > 0.0:
        corners, _, places = _flat(x0, y0, x1, y1, block.low)
        a, b, c, d = corners
        quads.append(((d, c, b, a), (0.0, 0.0, -1.0), places[::-1]))
    return quads


def _painting(picture: Picture, room: Room) -> Quad:
    """A picture on its wall, a little in front of it."""
    half, off = picture.width / 2, 0.015
    low, high = picture.along - half, picture.along + half
    a, b = {
        0: ((high, room.y0 + off), (low, room.y0 + off)),
        1: ((room.x1 - off, high), (room.x1 - off, low)),
        2: ((low, room.y1 - off), (high, room.y1 - off)),
        3: ((room.x0 + off, low), (room.x0 + off, high)),
    }[picture.side]
    return _upright(a, b, picture.low, picture.high, whole=True)
