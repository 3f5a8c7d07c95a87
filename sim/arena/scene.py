# SPDX-License-Identifier: Apache-2.0
"""What a scene may look like and how it may behave: the ONE place for the ranges of domain randomisation.

:class:`SceneConfig` is what the user states; :class:`Draw` is what one episode got, drawn from its seed.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, field, fields, replace

import numpy as np

from ..common.errors import SimError

LAYOUTS = ("fixed", "random", "empty", "maze", "dead_end")
# Warm and cool mid-tones that are neither the robot's yellow nor its navy.
BOX_PALETTE = ((0.78, 0.36, 0.26), (0.27, 0.55, 0.53), (0.50, 0.60, 0.38), (0.58, 0.38, 0.54), (0.72, 0.53, 0.38))


@dataclass(frozen=True)
class Ranges:
    """Domain randomisation: each value is drawn uniformly between the two numbers, once an episode."""

    floor_value: tuple[float, float] = (0.55, 0.92)  # brightness of the floor
    floor_saturation: tuple[float, float] = (0.0, 0.22)
    box_value: tuple[float, float] = (0.35, 0.85)
    box_saturation: tuple[float, float] = (0.15, 0.75)
    wall_value: tuple[float, float] = (0.25, 0.60)
    ambient: tuple[float, float] = (0.50, 0.72)
    diffuse: tuple[float, float] = (0.25, 0.45)
    light_elevation: tuple[float, float] = (45.0, 80.0)  # degrees above the floor
    light_tint: tuple[float, float] = (0.92, 1.0)  # each colour channel of the light
    camera_shift: tuple[float, float] = (-0.02, 0.02)  # m, where the camera aims, in x and y
    camera_offset: tuple[float, float] = (-0.08, 0.08)  # m, where it hangs: with the aim up to 2 degrees of tilt
    camera_lift: tuple[float, float] = (-0.03, 0.03)  # m
    camera_roll: tuple[float, float] = (-2.0, 2.0)  # degrees about the optical axis
    friction: tuple[float, float] = (0.35, 1.0)  # wheel on floor
    wheel_gain: tuple[float, float] = (0.97, 1.03)  # speed that a wheel makes of the speed that it is told
    torque: tuple[float, float] = (0.85, 1.15)  # factor on the motors' limit
    mass: tuple[float, float] = (0.9, 1.1)  # factor on the body's mass
    latency: tuple[float, float] = (0.0, 0.04)  # s, from a command to the motors, beyond the contract's


@dataclass(frozen=True)
class SceneConfig:
    """The scene: layout, sensors, and whether look and dynamics change from episode to episode."""

    layout: str = "fixed"  # "fixed", "empty", or drawn from the layout seed: "random", "maze", "dead_end"
    seed: int = 0  # where reset() without a seed begins to count
    n_obstacles: tuple[int, int] = (3, 6)  # boxes of a random layout: fewest, most
    patches: int = 0  # slippery patches of a random layout
    randomise: bool = False  # draw from `ranges` at every reset
    ranges: Ranges = field(default_factory=Ranges)
    # camera
    camera_span: float = 2.18  # m of floor from edge to edge of the picture; the camera hangs where the contract says
    camera_noise: float = 3.0  # standard deviation of the sensor noise, grey levels of 255
    supersample: int = 2  # samples a pixel edge
    shadows: bool = True
    # dynamics
    friction: float = 0.8  # wheel on floor
    motor_torque: float = 0.09  # N m a wheel
    extra_latency: float = 0.0  # s, from a command to the motors
    command_timeout: float = 0.5  # s without a command after which the base stops its wheels
    # other sensors
    odom_scale_error: float = 0.01  # std of the wheel radius (and track) that odometry believes in, relative
    odom_noise: float = 0.02  # std of each 20 ms wheel increment, relative
    pose_noise: tuple[float, float] = (0.01, 0.02)  # std of `pose`: m (x and y each), rad
    scan_beams: int = 180
    scan_noise: float = 0.005  # m
    scan_range: tuple[float, float] = (0.05, 3.0)  # m, shortest and longest
    bumper_hold: float = 0.1  # s that the bumper stays pressed after a touch
    # a person who walks
    person: str = "none"  # "none", "random" (from place to place) or "path"
    person_path: tuple[tuple[float, float], ...] = ()  # way points of "path", walked in a circle
    person_speed: float = 0.2  # m/s
    person_radius: float = 0.08  # m
    people_noise: float = 0.02  # m, std of where `people`, a tracker, sees the person (x and y each)

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise SimError(f"scene: layout: found {self.layout!r}, expected one of {', '.join(LAYOUTS)}")
        if self.person not in ("none", "random", "path"):
            raise SimError(f"scene: person: found {self.person!r}, expected none, random or path")
        if self.person == "path" and len(self.person_path) < 2:
            raise SimError(f"scene: person_path: found {len(self.person_path)} points, expected at least 2")
        for name in (
            "camera_noise",
            "friction",
            "motor_torque",
            "extra_latency",
            "odom_scale_error",
            "odom_noise",
            "scan_noise",
            "bumper_hold",
            "person_speed",
            "people_noise",
        ):
            value = getattr(self, name)
            if not np.isfinite(value) or value < 0:
                raise SimError(f"scene: {name}: found {value}, expected a number of at least 0")
        for name in ("camera_span", "command_timeout", "person_radius", "scan_beams", "supersample"):
            value = getattr(self, name)
            if not np.isfinite(value) or value <= 0:
                raise SimError(f"scene: {name}: found {value}, expected a number above 0")
        for item in fields(self.ranges):
            low, high = getattr(self.ranges, item.name)
            if not low <= high:
                raise SimError(f"scene: ranges.{item.name}: found ({low}, {high}), expected low <= high")

    def with_(self, **changes) -> SceneConfig:
        """The same scene with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Look:
    """What the camera sees besides shapes."""

    floor: tuple[float, float, float] = (0.84, 0.83, 0.80)
    wall: tuple[float, float, float] = (0.33, 0.36, 0.41)
    boxes: tuple[tuple[float, float, float], ...] = BOX_PALETTE
    ambient: float = 0.62
    diffuse: float = 0.38
    light: tuple[float, float, float] = (0.45, 0.65, 1.5)
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    eye: tuple[float, float, float] = (0.0, 0.0, 2.4)  # m
    aim: tuple[float, float] = (0.0, 0.0)  # m, the place on the floor in the middle of the picture
    up: tuple[float, float, float] = (0.0, 1.0, 0.0)  # towards the picture's upper edge
    height: float = 2.4  # m above the floor where it was meant to hang


@dataclass(frozen=True)
class Draw:
    """What one episode got."""

    look: Look
    friction: float
    wheel_gain: tuple[float, float]  # left, right
    torque: float  # N m
    mass: float  # factor
    latency: float  # s

    def with_look(self, **changes) -> Draw:
        """The same with another look."""
        return replace(self, look=replace(self.look, **changes))


def mounting(position, orientation) -> Look:
    """A nominal look from where the contract says that the camera hangs (x forward, z up: REP-103).

    Raises:
        SimError: the camera does not look down at the arena's floor.
    """
    cr, cp, cy = np.cos(orientation)
    sr, sp, sy = np.sin(orientation)
    forward = np.array([cy * cp, sy * cp, -sp])
    up = np.array([cy * sp * cr + sy * sr, sy * sp * cr - cy * sr, cp * cr])
    eye = np.array(position, dtype=float)
    aim = eye - forward * eye[2] / min(forward[2], -1e-9)
    if forward[2] > -0.5 or not 1.5 <= eye[2] <= 4.0 or np.max(np.abs(aim[:2])) > 0.5:
        raise SimError(
            f"contract: cameras[0].mounting: found position {tuple(position)}, orientation "
            f"{tuple(orientation)}: expected 1.5 to 4 m up, looking down at the middle of the arena"
        )
    return Look(eye=tuple(eye), aim=tuple(aim[:2]), up=tuple(up), height=float(eye[2]))


def draw(scene: SceneConfig, nominal: Look, rng: np.random.Generator) -> Draw:
    """Draw one episode's look and dynamics; without ``randomise`` always the nominal one."""
    if not scene.randomise:
        return Draw(nominal, scene.friction, (1.0, 1.0), scene.motor_torque, 1.0, scene.extra_latency)
    r = scene.ranges

    def u(pair, n=None):
        return rng.uniform(*pair, size=n)

    x, y, z = nominal.eye
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.radians(u(r.light_elevation))
    aim, offset, roll = u(r.camera_shift, 2), u(r.camera_offset, 2), np.radians(u(r.camera_roll))
    ux, uy, uz = nominal.up
    look = Look(
        floor=colorsys.hsv_to_rgb(rng.random(), u(r.floor_saturation), u(r.floor_value)),
        wall=colorsys.hsv_to_rgb(rng.random(), 0.15, u(r.wall_value)),
        boxes=tuple(colorsys.hsv_to_rgb(rng.random(), u(r.box_saturation), u(r.box_value)) for _ in range(8)),
        ambient=u(r.ambient),
        diffuse=u(r.diffuse),
        light=(np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)),
        tint=tuple(u(r.light_tint, 3)),
        eye=(x + offset[0], y + offset[1], z + u(r.camera_lift)),
        aim=(nominal.aim[0] + aim[0], nominal.aim[1] + aim[1]),
        up=(np.cos(roll) * ux + np.sin(roll) * uy, np.cos(roll) * uy - np.sin(roll) * ux, uz),
        height=nominal.height,
    )
    return Draw(
        look,
        u(r.friction),
        tuple(u(r.wheel_gain, 2)),
        scene.motor_torque * u(r.torque),
        u(r.mass),
        scene.extra_latency + u(r.latency),
    )
