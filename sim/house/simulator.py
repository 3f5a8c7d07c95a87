# SPDX-License-Identifier: Apache-2.0
"""The simulated base in its house.

No ROS, no torch. Time is the simulator's own and moves only in :meth:`HouseSim.advance`. Everything is a function of
what :meth:`HouseSim.reset` was given and of the calls made: the same calls give the same numbers and pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from jepa_ros.contract import RobotContract

from ..common.base import Body, Motors, WheeledBase
from ..common.driving import TICK, Driving, DrivingSimulator
from ..common.engine import pybullet as p
from ..common.errors import SimError
from ..common.sensors import Odometry
from ..common.simulator import DT, streams
from .camera import PERSON_HEIGHT, Camera
from .draw import ROOMS, draw_house
from .look import Look, draw_light, draw_look
from .people import RADIUS, Walker
from .plan import Block, House

LIDAR_HEIGHT = 0.12  # m: it looks under what hangs
ROVER = WheeledBase("the house's rover", Path(__file__).parent / "assets" / "rover.urdf", 0.036, 0.234, 0.05, 25.0)
ROBOT_RADIUS = 0.17  # m, as in the URDF
STREAMS = ("draw", "odom", "image", "goal", "scan", "people")  # each its own generator
PERSON_COLOURS = ((0.80, 0.10, 0.45), (0.10, 0.35, 0.80), (0.95, 0.60, 0.10))


@dataclass(frozen=True)
class HouseConfig:
    """The house: how large it is, who walks there, and the errors of the sensors."""

    rooms: tuple[int, int] = ROOMS  # least, most
    people: int = 0
    randomise: bool = False  # light and motors are drawn each episode
    fov: float = 100.0  # degrees, horizontal
    supersample: float = 1.5
    camera_noise: float = 2.5  # standard deviation, grey levels of 255
    friction: float = 0.8
    motor_torque: float = 0.35  # N m a wheel
    command_timeout: float = 0.5  # s without a command after which the base stops its wheels
    odom_scale_error: float = 0.01  # std of the wheel radius (and track) that odometry believes in, relative
    odom_noise: float = 0.03  # std of each 20 ms wheel increment, relative
    scan_beams: int = 120
    scan_noise: float = 0.01  # m
    scan_range: tuple[float, float] = (0.12, 6.0)  # m, shortest and longest
    bumper_hold: float = 0.1  # s that the bumper stays pressed after a touch

    def __post_init__(self) -> None:
        if not 0 <= self.people <= len(PERSON_COLOURS):
            raise SimError(f"house: people: found {self.people}, expected 0 to {len(PERSON_COLOURS)}")


@dataclass(frozen=True)
class Truth:
    """The true state: for scoring and for the oracle only, never for the robot."""

    time: float  # s
    x: float
    y: float
    yaw: float
    v: float  # m/s, forward
    w: float  # rad/s
    room: int | None  # None in a doorway
    contact: bool  # touching something now
    contact_steps: int  # physics steps with a touch since the reset
    driven: float  # m since the reset


@dataclass
class _State(Driving):
    """What the house adds."""

    walkers: list[Walker] = field(default_factory=list)
    at: tuple[float, float] = (0.0, 0.0)
    driven: float = 0.0


class HouseSim(DrivingSimulator):
    """A differential-drive base with a camera in a house.

    Args:
        contract: the robot contract; of it ``kinematics`` and the first camera are used. config: of the house.

    Raises:
        SimError: the contract is of another robot.
    """

    lidar_height = LIDAR_HEIGHT

    def __init__(self, contract: RobotContract, config: HouseConfig | None = None) -> None:
        self.config = config or HouseConfig()
        super().__init__(ROVER, contract, self.config)
        c = self.config
        self.camera = Camera(contract.cameras[0], c.fov, c.supersample, c.camera_noise)

    # ---- episodes ----------------------------------------------------------------------------------------------
    def reset(self, seed: int, house_seed: int, start: tuple[float, float, float],
              closed: tuple[int, ...] = ()) -> None:  # fmt: skip
        """Begin an episode at time 0, at rest.

        Args:
            seed: of everything that is drawn. house_seed: of the house and its look.
            start: (x, y, yaw) [m, rad]. closed: the doors that are shut.

        Raises:
            SimError: ``start`` is in something, or there is no such door.
        """
        config = self.config
        rngs = streams(seed, STREAMS)
        self.house = house_of(house_seed, config.rooms, closed)
        if not self.house.free(np.array(start[:2]), ROBOT_RADIUS):
            raise SimError(f"start: found {tuple(start)}, expected an (x, y, yaw) where the robot touches nothing")
        self.look = look_of(house_seed, config.rooms, seed if config.randomise else None)
        rng = rngs["draw"]
        gains = tuple(rng.uniform(0.97, 1.03, 2).tolist()) if config.randomise else (1.0, 1.0)
        latency = round(rng.uniform(0.0, 0.04) / DT) if config.randomise else 0
        away = [i for i, room in enumerate(self.house.rooms) if not room.holds(*start[:2])]
        rooms = rngs["people"].permutation(away)[: config.people].tolist()
        walkers = [Walker.begin(self.house, room) for room in rooms]
        odometry = Odometry.draw(config, ROVER.radius, ROVER.separation, rngs["odom"])
        self._s: _State = _State(rngs, odometry, latency, walkers=walkers, at=(start[0], start[1]))
        self.camera.set_house(self.house, self.look, PERSON_COLOURS[: len(walkers)])
        self.camera.set_fault(None)
        self._build(start, gains)  # type: ignore[arg-type]

    def _build(self, start: tuple[float, float, float], gains: tuple[float, float]) -> None:
        c, floor = self._client, self._floor()
        for block in self.house.blocks:
            self._add(block)
        shape = p.createCollisionShape(p.GEOM_CYLINDER, radius=RADIUS, height=PERSON_HEIGHT, physicsClientId=c)
        self._people = [p.createMultiBody(0, shape, physicsClientId=c) for _ in self._s.walkers]
        self._place_people()
        self._body = Body(ROVER, c, floor, start, Motors(self.config.friction, self.config.motor_torque, gains))

    def _add(self, block: Block) -> None:
        half = (block.hx, block.hy, (block.high - block.low) / 2)
        shape = p.createCollisionShape(p.GEOM_BOX, halfExtents=half, physicsClientId=self._client)
        at = (block.cx, block.cy, (block.high + block.low) / 2)
        body = p.createMultiBody(0, shape, basePosition=at, physicsClientId=self._client)
        p.changeDynamics(body, -1, lateralFriction=0.4, restitution=0.0, physicsClientId=self._client)

    def _tick(self) -> None:
        """People walk."""
        for walker in self._s.walkers:
            walker.walk(TICK * DT, self._s.rngs["people"])
        self._place_people()

    def _place_people(self) -> None:
        for body, walker in zip(self._people, self._s.walkers, strict=True):
            p.resetBasePositionAndOrientation(body, (walker.x, walker.y, PERSON_HEIGHT / 2), (0, 0, 0, 1),
                                              physicsClientId=self._client)  # fmt: skip

    def _read_encoders(self) -> None:
        super()._read_encoders()
        s = self._s
        x, y, _ = self._body.pose()
        s.driven += float(np.hypot(x - s.at[0], y - s.at[1]))
        s.at = (x, y)

    # ---- what the robot measures -------------------------------------------------------------------------------
    def image(self) -> np.ndarray:
        """The camera's picture now, with sensor noise: uint8 ``(height, width, 3)`` RGB."""
        return self.camera.take(self._body.pose(), self.people(), self._s.rngs["image"])

    def image_at(self, pose: tuple[float, float, float], noise: bool = True) -> np.ndarray:
        """The picture from ``pose`` (x, y, yaw): a goal picture, nobody in it. Nothing in the simulation changes."""
        away = [(-100.0, -100.0)] * len(self._people)
        return self.camera.render(pose, away, self._s.rngs["goal"] if noise else None)

    # ---- the truth ---------------------------------------------------------------------------------------------
    def people(self) -> list[tuple[float, float]]:
        """Where people truly are [m]."""
        return [(walker.x, walker.y) for walker in self._s.walkers]

    def truth(self) -> Truth:
        """The true state, for scoring and the oracle only."""
        s = self._s
        x, y, yaw = self._body.pose()
        return Truth(self.time, x, y, yaw, *self._body.velocity(yaw), self.house.room_of(x, y), s.touching,
                     s.contact_steps, s.driven)  # fmt: skip


@lru_cache(maxsize=32)
def house_of(seed: int, rooms: tuple[int, int], closed: tuple[int, ...] = ()) -> House:
    """The house of a seed with some doors shut.

    Raises:
        SimError: there is no such door.
    """
    if not closed:
        return draw_house(seed, rooms)
    house = house_of(seed, rooms)
    if any(not 0 <= i < len(house.doors) for i in closed):
        raise SimError(f"house: closed: found {closed}, expected numbers of its {len(house.doors)} doors")
    return replace(house, closed=tuple(sorted(set(closed))))


@lru_cache(maxsize=32)
def look_of(seed: int, rooms: tuple[int, int], light: int | None) -> Look:
    """The look of the house of a seed; ``light`` seeds another light."""
    look = draw_look(house_of(seed, rooms), seed)
    return look if light is None else replace(look, light=draw_light(np.random.default_rng([light, 33])))
