# SPDX-License-Identifier: Apache-2.0
"""What part of a command is let through where a base must keep clear of something: all of it, a share, or braking.

What it must keep clear of is a region, a zone, a person, or what the scan sees; each gives the room at a place.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from jepa_ros.safety import envelope
from jepa_ros.safety.envelope import next_tick
from jepa_ros.safety.geometry import Circle, Point, Shape
from jepa_ros.safety.outlines import outline_clear, within
from jepa_ros.safety.reach import Reach
from jepa_ros.safety.tick import Tick

Pose = tuple[float, float, float]
Clearance = Callable[[float, float], float]

#: A scale that a geometric row has cut grows back by this much a second: the noise of a pose must not make the robot
#: nod at a boundary, nor creep over it in the moments in which the noise is kind.
RECOVERY = 1.0
#: A command scaled to less than this share of the velocity limits is a stop.
LEAST = 0.01
#: Shares of the one that was too much that are tried in turn.
TRIED = (0.94, 0.75, 0.4)
#: Share of the way to standstill by which a base that brakes may come too near before it is sent zeros.
TOO_NEAR = 0.15
#: Least stride along the edge of what can be reached [m], and as a share of its length.
STRIDE, STRIDE_SHARE = 0.004, 0.04


def reach_of(t: Tick, share: float = 1.0) -> Reach:
    """What may come of the command on its way out, scaled; the last few are kept."""
    moves = share > 0.0 and any(t.u)
    asked = [share * v for v in t.u] if moves else [0.0] * t.cfg.size
    key = (moves, *asked)
    found = t.reached.get(key)
    if found is None:
        found = t.reached[key] = Reach(t, asked, moves)
    return found


def farthest(t: Tick) -> float:
    """No place further than this can be reached, whatever the command [m]: what is further off is not looked at."""
    if t.farthest is None:
        cfg = t.cfg
        fast, stop = cfg.fastest_way
        if t.measured is not None:
            fast = max(fast, math.hypot(*[max(cfg.velocity[k], abs(t.measured[k])) for k in cfg.linear]))
            for v, b in zip(t.measured, cfg.braking, strict=True):
                if abs(v) / b > stop:
                    stop = abs(v) / b
        t.farthest = fast * (cfg.reaction_time + 2.0 * next_tick(t) + 0.5 * stop)
    return t.farthest


def clear(
    start: Pose, reach: Reach, clearance: Clearance, here: float, inside: Callable[[list[Point]], bool],
    time: float | None = None, spare: float = 0.0, plainly: Callable[[list[Point], float], bool | None] | None = None,
) -> bool:  # fmt: skip
    """Whether every place within reach keeps clear.

    Args:
        start: where it is. clearance: room at a place [m], all margins in it; ``here``: at the start.
        inside: whether what is to be kept clear of lies wholly inside of a convex polygon.
        time: [s] until which, None: until it stands. spare: room that has to be left besides [m].
        plainly: whether the outline of a convex polygon plainly has more than so much clearance, or not; asked first.
    """
    if here >= reach.length + spare:
        return True
    if not here > spare:
        return False
    found = reach.places(time)
    if found is None:
        return False
    corners, more = found
    at_x, at_y, c, s = start[0], start[1], math.cos(start[2]), math.sin(start[2])
    placed = [(at_x + c * x - s * y, at_y + s * x + c * y) for x, y in corners]
    least = more + spare
    known = None if plainly is None else plainly(placed, least)
    if known is not None:
        return known and not inside(placed)
    x, y, round_it = middle(placed)
    if clearance(x, y) > round_it + more + spare:
        return True
    step = min(STRIDE, STRIDE_SHARE * reach.length)
    return outline_clear(clearance, placed, least, step) and not inside(placed)


def middle(corners: list[Point]) -> tuple[float, float, float]:
    """A disc around some points: (x, y, radius)."""
    left, low = right, high = corners[0]
    for x, y in corners:
        if x < left:
            left = x
        elif x > right:
            right = x
        if y < low:
            low = y
        elif y > high:
            high = y
    x, y = 0.5 * (left + right), 0.5 * (low + high)
    return x, y, math.sqrt(max([(a - x) ** 2 + (b - y) ** 2 for a, b in corners]))


def holds(shape: Shape | None) -> Callable[[list[Point]], bool]:
    """Whether a polygon holds a shape that its outline does not touch."""
    if shape is None:
        return lambda corners: False
    at = (shape.x, shape.y) if isinstance(shape, Circle) else shape.points[0]
    return lambda corners: within(corners, *at)


def fastest(fits: Callable[[float], bool], bad: float, good: float = 0.0) -> float:
    """The largest share of the command that is found to fit, above ``good``, which does, and below ``bad``, which does
    not. What can be reached grows with the share, so that one that is smaller than one that fits does so, too."""
    for part in TRIED:
        share = part * bad
        if share <= good:
            break
        if fits(share):
            return share
    return good


def braking(t: Tick, surely: bool = False) -> list[float]:
    """A command (A,) along the base's own motion, under which it comes no further than zeros may let it come.

    Every axis is asked for the same part of the highest rate that it may have, so that by one ratio none holds up
    another, and for no more than is left of that rate at the next tick if it brakes as it is reckoned to.

    Args:
        surely: it brakes up to the next tick as under zeros, however slow it is now.
    """
    cfg = t.cfg
    lows, highs = envelope.hull(t)
    most = [high if high > -low else low for low, high in zip(lows, highs, strict=True)]
    stops = [abs(v) / b for v, b in zip(most, cfg.braking, strict=True)]
    stop = max(stops)
    if stop <= 0.0:
        return [0.0] * cfg.size
    wait = cfg.reaction_time + next_tick(t)
    part = 1.0 - wait / stop
    ways = [low > 0.0 or high < 0.0 for low, high in zip(lows, highs, strict=True)]
    for k, way in enumerate(ways):
        if way:  # none is given more than is asked of it, nor has one to come up again
            part = min(part, max(0.0, t.u[k] / most[k]))
            least = min(abs(lows[k]), abs(highs[k]))
            if surely:
                part = min(part, least / abs(most[k]) - wait / stop)
            up = min(cfg.acceleration[k], cfg.braking[k]) * stop
            part = min(part, (least + up) / (abs(most[k]) + up))
        else:
            part = min(part, 1.0 - stops[k] / stop)
    part = max(part, 0.0)
    return [part * v if way else 0.0 for v, way in zip(most, ways, strict=True)]


def size(t: Tick, u: list[float]) -> float:
    """The largest share of a velocity limit that a command asks for."""
    return max(abs(v) / most for v, most in zip(u, t.cfg.velocity, strict=True))


def scaled(t: Tick, fits: Callable[[float, float], bool], most: float, last: float) -> float:
    """The share of the command that is let through; ``fits(share, spare)`` says whether one does with so much to spare.

    A base that can only brake is left to brake along its own motion (``t.brake``): zeros would change nothing but the
    tick after. So is one that may come a little too near all the same, as long as it surely brakes. One that may come
    much too near is sent zeros.
    """
    if most < 1.0 and fits(1.0, 0.0):
        return 1.0  # another way is asked for, and it is free
    last = min(most, last)  # near a boundary it changes little from tick to tick
    if fits(last, 0.0):
        return most if last == most or fits(most, 0.0) else last
    soon = TRIED[0] * last
    if fits(soon, 0.0):
        return soon
    clear_of, asked = fits(0.0, 0.0), size(t, t.u)
    brake = braking(t, surely=not clear_of)
    eased = size(t, brake) / asked if asked > 0.0 else 0.0
    if clear_of:
        found = 0.0 if _faster(brake, t.u, soon) else fastest(lambda share: fits(share, 0.0), soon)
        if found > 0.0 and not _faster(brake, t.u, found):
            return found
    elif not fits(0.0, -TOO_NEAR * reach_of(t, 0.0).length):
        t.brake = [0.0] * t.cfg.size
        return 0.0
    if eased > most:
        brake, eased = [v * most / eased for v in brake], most
    t.brake = brake if t.brake is None or size(t, brake) < size(t, t.brake) else t.brake
    return min(soon, eased)


def _faster(brake: list[float], u: list[float], share: float) -> bool:
    """Whether a command of braking asks each axis for no less than a share of another command does."""
    return all(b * v >= share * v * v for b, v in zip(brake, u, strict=True))


def apply(t: Tick, name: str, scale: float, sentence: str) -> None:
    """Scale the command, or brake; to nothing, or next to nothing, is a stop."""
    u, brakes = [v * scale for v in t.u], t.brake is not None
    if t.brake is not None:
        u, t.brake = t.brake, None
    if size(t, u) < LEAST:
        t.stop(name, sentence + ": stop")
    else:
        t.u = u
        t.trip(name, f"{sentence}: {'brakes' if brakes else 'slowed'}")


def ceiling(t: Tick, kept: float) -> float:
    """The scale that may be given after ``kept`` was the last one: it falls at once and grows back slowly."""
    return 1.0 if kept >= 1.0 else min(1.0, kept + RECOVERY * min(t.dt, 0.1))
