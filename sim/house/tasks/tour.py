# SPDX-License-Identifier: Apache-2.0
"""A tour of a house as a person would drive it: into every room, and once round in each. It knows the true map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from jepa_ros.worlds import Decision, Observation

from ..plan import House
from ..simulator import ROBOT_RADIUS
from .oracle import Driver

if TYPE_CHECKING:
    from ..world import HouseScene

ROOM = ROBOT_RADIUS + 0.12  # m from a stop to the nearest thing
NEAR = 0.25  # m from a stop at which it turns round
TURN = 1.0  # rad/s


class Tour:
    """Drives from room to room, through every room, and turns round once in each.

    Args:
        scene: that was reset to where the tour begins.
    """

    def __init__(self, scene: HouseScene) -> None:
        self._scene = scene
        house, truth = scene.sim.house, scene.truth()
        first = house.room_of(truth.x, truth.y) or 0
        self._stops = [_stop(house, room) for room in _order(house, first)]
        self._turned, self._yaw = 0.0, truth.yaw
        self._driver: Driver | None = None
        self.over = False  # every room was seen

    def act(self, observation: Observation) -> Decision:
        """Towards the next stop, or round at one."""
        truth = self._scene.truth()
        turned = math.remainder(truth.yaw - self._yaw, math.tau)
        self._yaw = truth.yaw
        still = np.zeros(2)
        if not self._stops:
            self.over = True
            return Decision(still)
        stop, look = self._stops[0]
        if math.hypot(truth.x - stop[0], truth.y - stop[1]) > NEAR and self._turned == 0.0:
            if self._driver is None:
                self._driver = Driver(self._scene, stop)
            return self._driver.act(observation)
        self._turned += abs(turned)
        if look and self._turned < math.tau:
            self._turned = max(self._turned, 1e-6)
            return Decision(np.array([0.0, TURN]))
        self._stops.pop(0)
        self._turned, self._driver = 0.0, None
        return Decision(still)


def _order(house: House, first: int) -> list[tuple[int, bool]]:
    """Rooms in the order of a walk through all of them, and whether each is new there."""
    order: list[tuple[int, bool]] = []
    seen: set[int] = set()

    def walk(room: int) -> None:
        seen.add(room)
        order.append((room, True))
        for _, other in house.neighbours(room):
            if other not in seen:
                walk(other)
                order.append((room, False))

    walk(first)
    while order and not order[-1][1]:
        order.pop()  # nothing new lies on the way back
    return order


def _stop(house: House, room: tuple[int, bool]) -> tuple[tuple[float, float, float], bool]:
    """The free place nearest to the middle of a room."""
    inner = house.rooms[room[0]]
    xs, ys = np.linspace(inner.x0, inner.x1, 25), np.linspace(inner.y0, inner.y1, 25)
    places = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)
    for margin in (ROOM, ROBOT_RADIUS + 0.03):
        free = places[house.free(places, margin)]
        if len(free):
            break
    x, y = free[np.argmin(np.hypot(*(free - inner.middle).T))].tolist()
    return (x, y, 0.0), room[1]
