# SPDX-License-Identifier: Apache-2.0
"""What a table may look like and how it may behave: the ONE place for the ranges of domain randomisation.

:class:`TableConfig` is what the user states; :class:`Draw` is what one episode got, drawn from its seed.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, field, fields

import numpy as np

from ..common.errors import SimError

SHAPES = ("box", "cylinder", "ball", "bar")
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Thing:
    """Something that stands on the table and can be moved.

    ``size`` [m]: half edges of a box or bar; radius, radius and half height of a cylinder; the radius of a ball.
    ``place``: x, y [m] and yaw [rad] on the table.
    """

    shape: str
    size: tuple[float, float, float]
    colour: Colour
    mass: float  # kg
    friction: float
    place: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise SimError(f"thing: shape: found {self.shape!r}, expected one of {', '.join(SHAPES)}")

    @property
    def height(self) -> float:
        """Of its middle above the table as it stands [m]."""
        return self.size[2]


@dataclass(frozen=True)
class Ranges:
    """Domain randomisation: each value is drawn uniformly between the two numbers, once an episode."""

    table_value: tuple[float, float] = (0.35, 0.85)  # brightness of the table's top
    table_saturation: tuple[float, float] = (0.05, 0.5)
    room_value: tuple[float, float] = (0.3, 0.8)  # of what is behind
    texture: tuple[float, float] = (0.0, 0.18)  # contrast of grain and stains
    robot_value: tuple[float, float] = (0.75, 1.0)
    ambient: tuple[float, float] = (0.45, 0.7)
    diffuse: tuple[float, float] = (0.3, 0.5)
    light_elevation: tuple[float, float] = (40.0, 80.0)  # degrees
    light_tint: tuple[float, float] = (0.9, 1.0)  # each colour channel of the light
    camera_shift: tuple[float, float] = (-0.04, 0.04)  # m, where it stands, each axis
    camera_turn: tuple[float, float] = (-3.0, 3.0)  # degrees about each axis
    latency: tuple[float, float] = (0.0, 0.04)  # s, from a command to the motors, beyond the contract's
    gain: tuple[float, float] = (0.7, 1.0)  # of the joint servos' position gain
    thing_size: tuple[float, float] = (0.018, 0.032)  # m, half an edge
    thing_mass: tuple[float, float] = (0.03, 0.25)  # kg
    thing_friction: tuple[float, float] = (0.4, 1.0)


@dataclass(frozen=True)
class TableConfig:
    """The table: sensors, servos, and whether look and dynamics change from episode to episode."""

    randomise: bool = False
    ranges: Ranges = field(default_factory=Ranges)
    distractors: int = 0  # things that no task speaks of
    fov: float = 46.0  # degrees, vertical, of the external camera
    camera_noise: float = 2.5  # standard deviation, grey levels of 255
    joint_noise: float = 2e-4  # rad, standard deviation of a measured position
    force_noise: float = 0.4  # N, standard deviation of the wrist's reading
    force_drift: float = 0.5  # N, standard deviation of its offset, drawn once an episode
    collision_force: float = 25.0  # N at which the collision switch closes
    command_timeout: float = 0.5  # s without a command after which the servos hold where they are
    extra_latency: float = 0.0  # s, from a command to the motors

    def __post_init__(self) -> None:
        for name in ("camera_noise", "joint_noise", "force_noise", "force_drift", "extra_latency"):
            value = getattr(self, name)
            if not np.isfinite(value) or value < 0:
                raise SimError(f"table: {name}: found {value}, expected a number of at least 0")
        for name in ("fov", "command_timeout", "collision_force"):
            value = getattr(self, name)
            if not np.isfinite(value) or value <= 0:
                raise SimError(f"table: {name}: found {value}, expected a number above 0")
        for item in fields(self.ranges):
            low, high = getattr(self.ranges, item.name)
            if not low <= high:
                raise SimError(f"table: ranges.{item.name}: found ({low}, {high}), expected low <= high")


@dataclass(frozen=True)
class Look:
    """What the camera sees besides shapes; ``eye`` and ``turn`` are the camera's own errors of mounting."""

    table: Colour = (0.62, 0.50, 0.38)
    room: Colour = (0.55, 0.58, 0.62)
    texture: float = 0.08
    grain: int = 7  # seed of the texture
    robot: float = 0.92
    ambient: float = 0.58
    diffuse: float = 0.42
    light: tuple[float, float, float] = (0.6, 0.5, 1.4)
    tint: Colour = (1.0, 1.0, 1.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)  # m
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)  # rad, roll, pitch, yaw


@dataclass(frozen=True)
class Draw:
    """What one episode got."""

    look: Look
    latency: float  # s
    gain: float
    force_offset: tuple[float, float, float]  # N
    distractors: tuple[Thing, ...]


def draw(config: TableConfig, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> Draw:
    """Draw one episode; without ``randomise`` the nominal look and servos.

    Args:
        low, high: corners of the tip's workspace: things stand below it.
    """
    r = config.ranges
    offset = tuple(float(v) for v in config.force_drift * rng.standard_normal(3))
    things = _scatter(config, low, high, rng)
    if not config.randomise:
        return Draw(Look(), config.extra_latency, 1.0, offset, things)  # type: ignore[arg-type]

    def u(pair, n=None):
        return rng.uniform(*pair, size=n)

    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.radians(u(r.light_elevation))
    light = (np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation))
    look = Look(
        table=colorsys.hsv_to_rgb(rng.random(), u(r.table_saturation), u(r.table_value)),
        room=colorsys.hsv_to_rgb(rng.random(), 0.15, u(r.room_value)),
        texture=u(r.texture),
        grain=int(rng.integers(1 << 30)),
        robot=u(r.robot_value),
        ambient=u(r.ambient),
        diffuse=u(r.diffuse),
        light=tuple(float(v) for v in light),  # type: ignore[arg-type]
        tint=tuple(u(r.light_tint, 3).tolist()),  # type: ignore[arg-type]
        shift=tuple(u(r.camera_shift, 3).tolist()),  # type: ignore[arg-type]
        turn=tuple(np.radians(u(r.camera_turn, 3)).tolist()),  # type: ignore[arg-type]
    )
    return Draw(look, config.extra_latency + u(r.latency), u(r.gain), offset, things)  # type: ignore[arg-type]


def draw_thing(config: TableConfig, place: tuple[float, float, float], rng: np.random.Generator) -> Thing:
    """A thing of a random shape, size, colour, mass and friction, standing at ``place``."""
    r = config.ranges
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    a, b, c = rng.uniform(*r.thing_size, size=3).tolist()
    size = {"box": (a, b, c), "cylinder": (a, a, c), "ball": (a, a, a), "bar": (min(2.2 * a, 0.07), 0.7 * b, 0.8 * c)}
    colour = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.6, 1.0), rng.uniform(0.5, 1.0))
    mass, friction = float(rng.uniform(*r.thing_mass)), float(rng.uniform(*r.thing_friction))
    return Thing(shape, size[shape], colour, mass, friction, place)


def _scatter(config: TableConfig, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> tuple[Thing, ...]:
    """Distractors, at least 0.1 m from each other."""
    places: list[np.ndarray] = []
    for _ in range(1000):
        if len(places) == config.distractors:
            break
        at = rng.uniform(low[:2], high[:2])
        if all(np.hypot(*(at - other)) > 0.1 for other in places):
            places.append(at)
    if len(places) < config.distractors:
        raise SimError(f"table: distractors: {config.distractors} do not fit 0.1 m from each other")
    return tuple(draw_thing(config, (float(x), float(y), float(rng.uniform(-np.pi, np.pi))), rng) for x, y in places)
