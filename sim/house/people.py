# SPDX-License-Identifier: Apache-2.0
"""People who walk through a house, from room to room."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .plan import House

RADIUS = 0.2  # m
SPEED = 0.35  # m/s


@dataclass
class Walker:
    """Walks through doors to the middle of a room, then to another; waits for nobody, walks round nothing but walls."""

    house: House
    room: int
    x: float
    y: float
    way: list[tuple[float, float]] = field(default_factory=list)

    @classmethod
    def begin(cls, house: House, room: int) -> Walker:
        """In the middle of a room."""
        return cls(house, room, *house.rooms[room].middle)

    def walk(self, seconds: float, rng: np.random.Generator) -> None:
        """Walk on."""
        if not self.way:
            self._choose(rng)
        if not self.way:
            return  # every door is shut
        dx, dy = self.way[0][0] - self.x, self.way[0][1] - self.y
        left, reach = float(np.hypot(dx, dy)), SPEED * seconds
        if left <= reach:
            self.x, self.y = self.way.pop(0)
        else:
            self.x += dx / left * reach
            self.y += dy / left * reach

    def _choose(self, rng: np.random.Generator) -> None:
        """Through one of the doors of this room."""
        open_doors = self.house.neighbours(self.room)
        if open_doors:
            door, self.room = open_doors[int(rng.integers(len(open_doors)))]
            self.way = [self.house.doors[door].middle, self.house.rooms[self.room].middle]
