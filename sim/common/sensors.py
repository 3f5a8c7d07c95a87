# SPDX-License-Identifier: Apache-2.0
"""What the robot measures besides pictures: wheel odometry, a localisation, a lidar. Their errors are stated here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .engine import pybullet as p

SCAN_HEIGHT = 0.06  # m above the floor, where a world does not say otherwise
ROBOT_GROUP = 64  # collision group of the robot: lidar beams pass through it (1 and 2 are Bullet's own)


class SensorSpec(Protocol):
    """What a world's settings state of its sensors' errors, see the arena's ``SceneConfig``."""

    odom_scale_error: float
    odom_noise: float
    scan_beams: int
    scan_noise: float
    scan_range: tuple[float, float]


@dataclass
class Odometry:
    """Dead reckoning from wheel turns, with believed wheel radii and track that are a little wrong.

    Starts at (0, 0, 0) where the robot starts, as an odometry frame does.
    """

    radius: tuple[float, float]  # m, believed, left and right
    track: float  # m, believed
    noise: float  # relative std of each increment
    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    v: float = 0.0
    w: float = 0.0

    @classmethod
    def draw(cls, scene: SensorSpec, radius: float, track: float, rng: np.random.Generator) -> Odometry:
        error = 1 + scene.odom_scale_error * rng.standard_normal(3)
        return cls((radius * error[0], radius * error[1]), track * error[2], scene.odom_noise)

    def update(self, left: float, right: float, dt: float, noise: tuple[float, float]) -> None:
        """Add one increment: wheel turns (rad) over ``dt`` s; ``noise`` are two standard normal numbers."""
        dl = left * self.radius[0] * (1 + self.noise * noise[0])
        dr = right * self.radius[1] * (1 + self.noise * noise[1])
        forward, turn = (dl + dr) / 2, (dr - dl) / self.track
        middle = self.yaw + turn / 2
        self.x += forward * np.cos(middle)
        self.y += forward * np.sin(middle)
        self.yaw = wrap(self.yaw + turn)
        self.v, self.w = forward / dt, turn / dt


@dataclass(frozen=True)
class Scan:
    """One turn of the lidar, in the robot's frame, as sensor_msgs/LaserScan has it (REP-117: +inf is no return)."""

    angle_min: float
    angle_max: float
    angle_increment: float
    range_min: float
    range_max: float
    ranges: np.ndarray  # (beams,) float32, m


def cast_scan(client: int, scene: SensorSpec, x: float, y: float, yaw: float, rng: np.random.Generator | None,
              height: float = SCAN_HEIGHT) -> Scan:  # fmt: skip
    """Cast the beams from (x, y), ``height`` m up: counter-clockwise over the whole circle, the first straight back.

    Nearer than the shortest range reads -inf, nothing within the longest reads +inf (REP-117).
    """
    n = scene.scan_beams
    nearest, longest = scene.scan_range
    step = 2 * np.pi / n
    angles = yaw - np.pi + step * np.arange(n)
    start = np.broadcast_to((x, y, height), (n, 3))
    end = start + longest * np.stack([np.cos(angles), np.sin(angles), np.zeros(n)], axis=-1)
    hits = p.rayTestBatch(
        start.tolist(), end.tolist(), collisionFilterMask=~ROBOT_GROUP & 0xFFFF, physicsClientId=client
    )
    fraction = np.array([hit[2] if hit[0] >= 0 else np.inf for hit in hits])
    ranges = fraction * longest
    if rng is not None and scene.scan_noise > 0:
        ranges = ranges + scene.scan_noise * rng.standard_normal(n)
    ranges = np.where(ranges > longest, np.inf, np.where(ranges < nearest, -np.inf, ranges))
    return Scan(-np.pi, -np.pi + step * (n - 1), step, nearest, longest, ranges.astype(np.float32))


def wrap(angle: float) -> float:
    """An angle in [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
