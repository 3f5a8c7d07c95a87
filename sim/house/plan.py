# SPDX-License-Identifier: Apache-2.0
"""A house as plain data: rooms, walls, doors, and what stands or hangs in it.

The physics, the camera, the tasks and the oracle all read the same :class:`House`. Lengths in metres; walls run along
x and y; the origin is a corner of the house.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

WALL = 0.12  # m, thickness of every wall
ROOM_HEIGHT = 2.2  # m
DOOR_HEIGHT = 2.0  # m


@dataclass(frozen=True)
class Room:
    """The inner rectangle of a room."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def middle(self) -> tuple[float, float]:
        """Its middle."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies in it."""
        return self.x0 <= x <= self.x1 and self.y0 <= y <= self.y1


@dataclass(frozen=True)
class Door:
    """An opening in the wall between two rooms.

    ``axis`` 0: the wall stands at x = ``at`` and the opening runs along y; 1: the other way round.
    """

    rooms: tuple[int, int]
    axis: int
    at: float
    low: float
    high: float

    @property
    def middle(self) -> tuple[float, float]:
        """Of the doorway."""
        along = (self.low + self.high) / 2
        return (self.at, along) if self.axis == 0 else (along, self.at)

    @property
    def block(self) -> Block:
        """What closes it."""
        half = (self.high - self.low) / 2
        x, y = self.middle
        return Block(x, y, *((WALL / 2, half) if self.axis == 0 else (half, WALL / 2)), 0.0, DOOR_HEIGHT)


@dataclass(frozen=True)
class Block:
    """A box along the axes: middle, half edges, lower and upper end. Furniture, a closed door, a piece of wall."""

    cx: float
    cy: float
    hx: float
    hy: float
    low: float = 0.0
    high: float = ROOM_HEIGHT


@dataclass(frozen=True)
class Picture:
    """A picture on a wall of a room. ``side``: 0 to 3, the walls at y0, x1, y1, x0; ``along``: where on it."""

    room: int
    side: int
    along: float
    width: float
    low: float
    high: float


@dataclass(frozen=True)
class House:
    """Rooms joined by doors.

    Attributes:
        width, depth: of the whole house [m]; it reaches from (0, 0). walls: pieces of wall. things: furniture; what
        hangs has a ``low`` above 0. closed: the doors, by their numbers, that are shut.
    """

    width: float
    depth: float
    rooms: tuple[Room, ...]
    doors: tuple[Door, ...]
    walls: tuple[Block, ...]
    things: tuple[Block, ...] = ()
    pictures: tuple[Picture, ...] = ()
    closed: tuple[int, ...] = ()
    _frames: tuple = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        rows = [(b.cx, b.cy, b.hx, b.hy) for b in self.blocks]
        object.__setattr__(self, "_frames", (np.array(rows, dtype=float).reshape(-1, 4),))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Everything that a robot can drive against: walls, furniture, shut doors."""
        return (*self.walls, *self.things, *(self.doors[i].block for i in self.closed))

    def clearance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance [m] of points (..., 2) to the nearest thing (negative inside): (...,)."""
        points = np.asarray(points, dtype=float)
        cx, cy, hx, hy = self._frames[0].T
        qx = np.abs(points[..., :1] - cx) - hx
        qy = np.abs(points[..., 1:2] - cy) - hy
        outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
        gaps: np.ndarray = np.min(outside + np.minimum(np.maximum(qx, qy), 0), axis=-1)
        return gaps

    def free(self, points: np.ndarray, margin: float) -> np.ndarray:
        """Whether a disc of radius ``margin`` [m] at each point (..., 2) touches nothing."""
        return self.clearance(points) > margin

    def room_of(self, x: float, y: float) -> int | None:
        """The number of the room at a point; None in a doorway or a wall."""
        return next((i for i, room in enumerate(self.rooms) if room.holds(x, y)), None)

    def neighbours(self, room: int) -> list[tuple[int, int]]:
        """(door, room behind it) of the doors of a room that are open."""
        found = []
        for i, door in enumerate(self.doors):
            if i not in self.closed and room in door.rooms:
                found.append((i, door.rooms[1] if door.rooms[0] == room else door.rooms[0]))
        return found

    def rooms_between(self, start: int, goal: int) -> int | None:
        """Doors on the way from one room to another that passes the fewest; None where there is no way."""
        reached, edge, doors = {start}, [start], 0
        while edge:
            if goal in reached:
                return doors
            edge = [other for room in edge for _, other in self.neighbours(room) if other not in reached]
            reached.update(edge)
            doors += 1
        return None
