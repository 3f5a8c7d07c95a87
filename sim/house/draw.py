# SPDX-License-Identifier: Apache-2.0
"""Drawing a house from a seed: where walls, doors and furniture are."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np

from ..common.errors import SimError
from ..common.ways import Ways
from .plan import ROOM_HEIGHT, WALL, Block, Door, House, Picture, Room

ROOMS = (4, 9)  # least and most
SIDE = (1.9, 3.4)  # m, least edge of a room; a longer edge than the second is always split if rooms are left to make
DOOR_WIDTH = (0.80, 0.95)  # m
LOOPS = 0.5  # share of the walls without a needed door that get one all the same, so that there are detours
APART = 0.55  # m from a doorway to furniture
PASSABLE = 0.22  # m: a disc of this radius gets everywhere
REACHED = 0.6  # least share of the free places of each room that can be driven to
HANGS = 0.25  # share of the furniture that hangs: a lidar near the floor looks under it


def draw_house(seed: int, rooms: tuple[int, int] = ROOMS) -> House:
    """The house of a seed, with ``rooms`` (least, most) rooms; every room can be reached.

    Raises:
        SimError: numbers of rooms that cannot be built.
    """
    if not 2 <= rooms[0] <= rooms[1] <= 12:
        raise SimError(f"house: rooms: found {rooms}, expected 2 <= least <= most <= 12")
    rng = np.random.default_rng([seed, 31])
    for _ in range(200):
        count = int(rng.integers(rooms[0], rooms[1] + 1))
        house = _shell(count, rng)
        if house is not None and (furnished := _furnish(house, rng)) is not None:
            return _hang_pictures(furnished, rng)
    raise SimError(f"house: no house of {rooms[0]} to {rooms[1]} rooms found from seed {seed}")


def _shell(count: int, rng: np.random.Generator) -> House | None:
    """Rooms, walls and doors."""
    area = count * rng.uniform(6.0, 8.5)
    ratio = rng.uniform(1.1, 1.7)
    width, depth = float(np.sqrt(area * ratio)), float(np.sqrt(area / ratio))
    leaves, cuts = [(0.0, 0.0, width, depth)], list[tuple[int, float, float, float]]()
    while len(leaves) < count:
        leaves.sort(key=lambda r: -(r[2] - r[0]) * (r[3] - r[1]))
        x0, y0, x1, y1 = leaves.pop(0)
        axis = 0 if x1 - x0 > y1 - y0 else 1
        low, high = ((x0, x1), (y0, y1))[axis]
        if high - low < 2 * SIDE[0]:
            return None
        at = float(rng.uniform(low + SIDE[0], high - SIDE[0]))
        if axis == 0:
            leaves += [(x0, y0, at, y1), (at, y0, x1, y1)]
            cuts.append((0, at, y0, y1))
        else:
            leaves += [(x0, y0, x1, at), (x0, at, x1, y1)]
            cuts.append((1, at, x0, x1))
    half = WALL / 2
    rooms = tuple(Room(x0 + half, y0 + half, x1 - half, y1 - half) for x0, y0, x1, y1 in leaves)
    doors = _doors(rooms, rng)
    if doors is None:
        return None
    walls = [piece for cut in cuts for piece in _pieces(*cut, doors)]
    for at, axis, length in ((0.0, 0, depth), (width, 0, depth), (0.0, 1, width), (depth, 1, width)):
        walls += _pieces(axis, at, -half, length + half, ())
    return House(width, depth, rooms, doors, tuple(walls))


def _doors(rooms: tuple[Room, ...], rng: np.random.Generator) -> tuple[Door, ...] | None:
    """Doors that join all rooms, and some more."""
    walls = []
    for i, j in combinations(range(len(rooms)), 2):
        a, b = rooms[i], rooms[j]
        for axis, (end, begin) in ((0, (a.x1, b.x0)), (0, (b.x1, a.x0)), (1, (a.y1, b.y0)), (1, (b.y1, a.y0))):
            low, high = (max(a.y0, b.y0), min(a.y1, b.y1)) if axis == 0 else (max(a.x0, b.x0), min(a.x1, b.x1))
            if abs(begin - end - WALL) < 1e-6 and high - low > DOOR_WIDTH[1] + 0.3:
                walls.append((i, j, axis, end + WALL / 2, low, high))
    group = list(range(len(rooms)))
    doors = []
    for k in rng.permutation(len(walls)).tolist():
        i, j, axis, at, low, high = walls[k]
        needed = group[i] != group[j]
        if not needed and rng.random() > LOOPS:
            continue
        group = [group[i] if g == group[j] else g for g in group]
        wide = float(rng.uniform(*DOOR_WIDTH))
        begin = float(rng.uniform(low + 0.1, high - 0.1 - wide))
        doors.append(Door((i, j), axis, at, begin, begin + wide))
    return tuple(doors) if len(set(group)) == 1 else None


def _pieces(axis: int, at: float, low: float, high: float, doors: tuple[Door, ...]) -> list[Block]:
    """A wall from ``low`` to ``high`` without its doorways."""
    gaps = sorted((d.low, d.high) for d in doors if d.axis == axis and abs(d.at - at) < 1e-6 and low < d.low < high)
    ends = [low, *(end for gap in gaps for end in gap), high]
    found = []
    for begin, end in zip(ends[::2], ends[1::2], strict=True):
        middle, half = (begin + end) / 2, (end - begin) / 2
        found.append(Block(at, middle, WALL / 2, half) if axis == 0 else Block(middle, at, half, WALL / 2))
    return found


def _furnish(house: House, rng: np.random.Generator) -> House | None:
    """Furniture along the walls of each room, so that a robot still gets everywhere; None if it does not."""
    things = list[Block]()
    for room in house.rooms:
        wanted = int(rng.integers(1, 4))
        for _ in range(40):
            if wanted == 0:
                break
            thing = _thing(room, rng)
            if _fits(thing, house, things):
                things.append(thing)
                wanted -= 1
    furnished = replace(house, things=tuple(things))
    ways = Ways(furnished, (0.0, 0.0, house.width, house.depth), PASSABLE)
    reached = ways.to(house.rooms[0].middle)
    if reached is None:
        return None
    for room in house.rooms:
        inside = np.stack(np.meshgrid(np.linspace(room.x0, room.x1, 9), np.linspace(room.y0, room.y1, 9)), -1)
        free = furnished.free(inside, PASSABLE)
        if not free.any() or np.isfinite(reached(inside))[free].mean() < REACHED:
            return None
    return furnished


def _thing(room: Room, rng: np.random.Generator) -> Block:
    """Something with its back to a wall; part of it hangs."""
    long, deep = float(rng.uniform(0.35, 1.1)), float(rng.uniform(0.22, 0.5))
    side = int(rng.integers(4))
    hx, hy = (long / 2, deep / 2) if side in (0, 2) else (deep / 2, long / 2)
    hx, hy = min(hx, (room.x1 - room.x0) / 2 - 0.05), min(hy, (room.y1 - room.y0) / 2 - 0.05)
    cx = float(rng.uniform(room.x0 + hx, room.x1 - hx)) if side in (0, 2) else (room.x1 - hx, room.x0 + hx)[side == 3]
    cy = (room.y0 + hy, room.y1 - hy)[side == 2] if side in (0, 2) else float(rng.uniform(room.y0 + hy, room.y1 - hy))
    if rng.random() < HANGS:
        low = float(rng.uniform(0.20, 0.28))
        return Block(cx, cy, hx, hy, low, low + float(rng.uniform(0.15, 0.5)))
    return Block(cx, cy, hx, hy, 0.0, float(rng.uniform(0.35, 1.6)))


def _fits(thing: Block, house: House, things: list[Block]) -> bool:
    """Away from doorways, and either beside another thing or far enough for a robot to pass between."""
    for door in house.doors:
        x, y = door.middle
        reach = (door.high - door.low) / 2
        hx, hy = (APART, reach) if door.axis == 0 else (reach, APART)
        if abs(x - thing.cx) < hx + thing.hx and abs(y - thing.cy) < hy + thing.hy:
            return False
    for other in things:
        gap_x = abs(other.cx - thing.cx) - other.hx - thing.hx
        gap_y = abs(other.cy - thing.cy) - other.hy - thing.hy
        if max(gap_x, gap_y) < 0.02 or (gap_x < 2.5 * PASSABLE and gap_y < 2.5 * PASSABLE):
            return False
    return True


def _hang_pictures(house: House, rng: np.random.Generator) -> House:
    """Pictures on walls, not across doorways."""
    pictures = []
    for number, room in enumerate(house.rooms):
        for side in range(4):
            if rng.random() < 0.4:
                continue
            low, high = (room.x0, room.x1) if side in (0, 2) else (room.y0, room.y1)
            width = float(rng.uniform(0.3, 0.8))
            along = float(rng.uniform(low + width / 2 + 0.05, high - width / 2 - 0.05))
            if _across_door(house, number, side, along, width):
                continue
            base = float(rng.uniform(0.3, 0.9))
            top = min(base + float(rng.uniform(0.3, 0.7)), ROOM_HEIGHT - 0.1)
            pictures.append(Picture(number, side, along, width, base, top))
    return replace(house, pictures=tuple(pictures))


def _across_door(house: House, room: int, side: int, along: float, width: float) -> bool:
    axis, gap = (1 if side in (0, 2) else 0), width / 2 + 0.05
    doors = [door for door in house.doors if room in door.rooms and door.axis == axis]
    return any(door.low - gap < along < door.high + gap for door in doors)
