# SPDX-License-Identifier: Apache-2.0
"""A driver that knows the true map and its true place: what could be done at best. Scoring only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from jepa_ros.worlds import Decision, Observation

from ...common.ways import Ways
from ..simulator import ROBOT_RADIUS

if TYPE_CHECKING:
    from ..world import HouseScene

AHEAD = 0.30  # m along the way that are looked ahead
NEAR = 0.06  # m from the goal from which on it only turns


class Driver:
    """Follows the shortest way, then turns to where the picture was taken.

    Args:
        scene: that was reset to the episode. goal: (x, y, yaw) [m, rad].
    """

    def __init__(self, scene: HouseScene, goal: tuple[float, float, float]) -> None:
        self._scene, self._goal = scene, goal
        house = scene.sim.house
        for margin in (0.12, 0.06, 0.02):  # as much room as there is
            ways = Ways(house, (0.0, 0.0, house.width, house.depth), ROBOT_RADIUS + margin)
            length = ways.to(goal)
            truth = scene.truth()
            path = np.empty((0, 2)) if length is None else ways.path((truth.x, truth.y), length)
            if len(path) and math.dist(path[-1], goal[:2]) < 0.15:
                break
        self._path = np.concatenate([path, [goal[:2]]])
        self._low, self._high = scene.contract.action_low, scene.contract.action_high

    def act(self, observation: Observation) -> Decision:
        """Towards a point a little further on the way."""
        truth, period = self._scene.truth(), self._scene.contract.period
        here = np.array([truth.x, truth.y])
        yaw = truth.yaw
        if observation.executed is not None:  # what is under way until this command takes effect
            yaw += float(observation.executed[1]) * self._scene.contract.actuation_latency
        left = math.dist(here, self._goal[:2])
        if left < NEAR:
            turn = math.remainder(self._goal[2] - yaw, math.tau)
            return Decision(np.clip(np.array([0.0, turn / (1.5 * period)]), self._low, self._high))
        gaps = np.hypot(*(self._path - here).T)
        nearest = int(np.argmin(gaps))
        ahead = nearest + int(np.argmax(gaps[nearest:] >= AHEAD)) if np.any(gaps[nearest:] >= AHEAD) else -1
        way = self._path[ahead] - here
        turn = math.remainder(math.atan2(way[1], way[0]) - yaw, math.tau)
        speed = min(self._high[0], left / (1.5 * period)) * max(0.0, math.cos(turn)) ** 3
        return Decision(np.clip(np.array([speed, turn / (1.5 * period)]), self._low, self._high))
