# SPDX-License-Identifier: Apache-2.0
"""The scene: a round robot that goes where it is told unless a wall is in the way, and a picture from above."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepa_ros.contract import RobotContract
from jepa_ros.worlds import Observation, WorldError

from .layout import HALF, RADIUS, Layout, Points

SPEED = 1.0  # m/s, in any direction
TICK = 0.04  # s of one movement
FLOOR, WALLS, ROBOT = (230, 230, 230), (51, 77, 128), (230, 26, 26)


@dataclass(frozen=True)
class Episode:
    """One episode; ``goal`` is None where data is gathered. Places in m."""

    number: int
    seed: int
    group: int
    layout: Layout
    start: tuple[float, float]
    goal: tuple[float, float] | None = None


@dataclass(frozen=True)
class Truth:
    """Where the robot is [m]."""

    x: float
    y: float


def moved(layout: Layout, places: Points, velocities: Points, seconds: float) -> Points:
    """Where robots at (N, 2) m that are driven at (N, 2) m/s are later: (N, 2).

    A velocity faster than SPEED keeps its direction. What a wall stops goes on along it.

    Args:
        seconds: a multiple of TICK.
    """
    at = np.array(places, dtype=np.float64)
    fast = np.linalg.norm(velocities, axis=-1, keepdims=True) / SPEED
    step = TICK * np.asarray(velocities, dtype=np.float64) / np.maximum(1.0, fast)
    for _ in range(round(seconds / TICK)):
        for axis in (0, 1):
            to = at.copy()
            to[:, axis] = np.clip(to[:, axis] + step[:, axis], RADIUS - HALF, HALF - RADIUS)
            free = ~layout.blocked(to)
            at[free] = to[free]
    return at


class Picture:
    """Draws a layout once, and the robot into it as often as it is asked to."""

    def __init__(self, layout: Layout, size: int) -> None:
        self.size = size
        axis = (np.arange(size) + 0.5) / size * 2 * HALF - HALF
        self._x, self._y = axis[None, :], -axis[:, None]
        self._pixel = 2 * HALF / size
        free = np.full((size, size), 1.0)
        for left, bottom, right, top in layout.walls:
            across = self._share(np.minimum(self._x - left, right - self._x))
            along = self._share(np.minimum(self._y - bottom, top - self._y))
            free = np.minimum(free, 1.0 - across * along)
        self._empty = _mixed(free[..., None], np.array(FLOOR, float), np.array(WALLS, float))

    def _share(self, depth: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much of a pixel is covered whose middle lies so deep inside."""
        return np.clip(depth / self._pixel + 0.5, 0.0, 1.0)

    def draw(self, at: Points) -> NDArray[np.uint8]:
        """(size, size, 3) with the robot at (2,) m."""
        share = self._share(RADIUS - np.hypot(self._x - at[0], self._y - at[1]))
        return np.round(_mixed(share[..., None], np.array(ROBOT, float), self._empty)).astype(np.uint8)


def _mixed(share: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return share * a + (1.0 - share) * b


class RoomsScene:
    """See the module.

    Args:
        contract: of the robot.
    """

    rates: Mapping[str, float] = {}
    over = False

    def __init__(self, contract: RobotContract) -> None:
        if contract.kinematics.kind != "holonomic" or contract.footprint.radius != RADIUS:
            raise WorldError(
                f"{contract.name}: the rooms have a holonomic robot with a radius of {RADIUS} m; "
                f"found {contract.kinematics.kind} of {contract.footprint.radius} m"
            )
        self.contract = contract
        self.camera = contract.cameras[0]
        self._episode: Episode | None = None
        self._picture: Picture | None = None
        self._velocity = np.zeros(2)
        self._ticks = 0

    @property
    def episode(self) -> Episode:
        """What the scene was reset to.

        Raises:
            WorldError: nothing yet.
        """
        if self._episode is None:
            raise WorldError("the rooms have no episode: reset them first")
        return self._episode

    @property
    def time(self) -> float:
        """Seconds since the reset."""
        return self._ticks * TICK

    def reset(self, spec: Episode) -> None:
        """Begin an episode."""
        if self._picture is None or self._episode is None or spec.layout != self._episode.layout:
            self._picture = Picture(spec.layout, self.camera.width)
        self._episode, self._at = spec, np.array(spec.start)
        self._velocity, self._ticks = np.zeros(2), 0

    def observe(self, names: Collection[str] | None = None) -> Observation:
        """The picture now."""
        name = self.camera.name
        return Observation(self.time, {name: self.picture(self._at)} if names is None or name in names else {})

    def picture(self, at: Points) -> NDArray[np.uint8]:
        """The picture with the robot at (2,) m."""
        assert self.episode and self._picture is not None  # both are made by a reset
        return self._picture.draw(at)

    def command(self, values: NDArray[np.float64]) -> None:
        """A velocity (2,) [m/s]."""
        self._velocity = np.asarray(values, dtype=np.float64)

    def advance(self, seconds: float) -> None:
        """Move for a multiple of TICK, see :func:`moved`."""
        self._at = moved(self.episode.layout, self._at[None], self._velocity[None], seconds)[0]
        self._ticks += round(seconds / TICK)

    def truth(self) -> Truth:
        """Where the robot is."""
        return Truth(float(self._at[0]), float(self._at[1]))

    def close(self) -> None:
        """Nothing is held."""
