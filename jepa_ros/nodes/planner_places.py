# SPDX-License-Identifier: Apache-2.0
"""What people are shown of the planner's memory, to choose a goal in it: published while somebody listens.

``~/_places``: a JSON text, see :func:`told`. ``~/_thumbnails``: what the places and tags in it look like,
JPEGs one after the other; the layout has a dimension for each, with the key as label and the bytes as size. Both are
hidden topics, latched, and bounded whatever the memory holds: no recording has them unless it asks.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import MultiArrayDimension, String, UInt8MultiArray

from jepa_ros.memory.long_term import LongTerm, Where
from jepa_ros.memory.overview import Overview, key_of, overview_of
from jepa_ros.nodes import qos

#: s between looks for what is new, and the share of them that taking it in may need.
LOOK, SHARE = 0.1, 0.05
#: s between two messages, and between two with pictures.
PLACES, THUMBNAILS = 0.5, 3.0
#: Bytes of all pictures together; tags come first.
PICTURE_BYTES = 400_000


class PlacesTopic:
    """See the module."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._out = qos.publisher(node, String, "~/_places", qos.LATCHED)
        self._pictures_out = qos.publisher(node, UInt8MultiArray, "~/_thumbnails", qos.LATCHED)
        self._timer: Any = None
        self._planner: Any = None
        self._overview: Overview | None = None
        self._told, self._told_at = "", -math.inf
        self._keys: list[str] = []
        self._pictured_at = -math.inf

    def open(self, planner: Any) -> None:
        """Tell of a planner's memory, if it has one."""
        self.close()
        if planner.memory is not None:
            self._planner, self._overview = planner, overview_of(planner.memory)
            self._timer = self._node.create_timer(LOOK, self.look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        self._timer = self._planner = self._overview = None

    def look(self) -> None:
        """Take in what is new, and tell it, if somebody listens."""
        if self._overview is None or not self._out.get_subscription_count():
            return
        whole, now = self._overview.follow(SHARE * LOOK), time.monotonic()
        if now - self._told_at < PLACES:
            return
        self._told_at = now
        text = json.dumps(told(self._planner, self._overview, whole), separators=(",", ":"))
        if text != self._told:
            self._told = text
            self._out.publish(String(data=text))
        if now - self._pictured_at >= THUMBNAILS:
            self._tell_pictures(now)

    def _tell_pictures(self, now: float) -> None:
        """The pictures of what was told last, where they are others than before."""
        assert self._overview is not None
        chosen = pictures_of(self._planner.memory, self._overview)
        if list(chosen) == self._keys:
            return
        self._keys, self._pictured_at = list(chosen), now
        message = UInt8MultiArray()
        for key, data in chosen.items():
            message.layout.dim.append(MultiArrayDimension(label=key, size=len(data), stride=1))
        message.data.frombytes(b"".join(chosen.values()))
        self._pictures_out.publish(message)


def told(planner: Any, overview: Overview, whole: bool) -> dict[str, Any]:
    """What is shown of a planner's memory; ``whole``: all of it was taken in.

    Returns:
        kind ("places" of a graph, or "states"), total (how many there are), whole; places: [number, key, x m, y m,
        yaw rad, time s]; ways: [two indices of places, 1 if it was driven]; tags: [name, key, x, y or None]; here: [x,
        y, yaw] of the robot or None, sure: how sure that is, 0 to 1; goal: [x, y] or None; way: [[x, y]] to it.
    """
    places = [
        [p.number, p.key, *(round(v, 3) for v in p.pose), round(p.time, 1) if math.isfinite(p.time) else None]
        for p in overview.places()
    ]
    tags = []
    for name, tag in sorted(planner.memory.tags.items()):
        where = overview.tagged_at(name, tag)
        tags.append([name, key_of(tag.latent), *((None, None) if where is None else _point(where))])
    here, sure = _here(planner, overview)
    goal, way = _goal(planner, overview)
    return {
        "kind": overview.kind, "total": overview.total, "whole": whole, "places": places,
        "ways": [[a, b, int(driven)] for a, b, driven in overview.ways()], "tags": tags,
        "here": None if here is None else [round(v, 3) for v in here], "sure": round(sure, 2),
        "goal": goal, "way": way,
    }  # fmt: skip


def _here(planner: Any, overview: Overview) -> tuple[Where | None, float]:
    """Where the robot believes that it is, and how sure that is."""
    if (located := planner.view("place")) is not None:
        place, sure = located()
        return overview.at(place), sure
    here = planner.memory.here
    return here, 0.0 if here is None else 1.0


def _goal(planner: Any, overview: Overview) -> tuple[list[float] | None, list[list[float]]]:
    """Where the goal lies, and the places on the way to it."""
    target = planner.target
    if target is None:
        return None, []
    if (anchored := planner.view("anchors")) is not None:
        goal, anchors = anchored
        ends = [at for a, (pose, _) in anchors.items() if (at := overview.at(a, pose)) is not None]
        if goal is not planner.goal or not ends:
            return None, []
        return _point(ends[0]), [_point(at) for a in planner.view("way") if (at := overview.at(a)) is not None]
    where = target.read("pose")
    return (None if where is None else _point(where.tolist())), []


def pictures_of(memory: LongTerm, overview: Overview) -> dict[str, bytes]:
    """The pictures (JPEG) of what is shown, by key, as many as may be sent."""
    tags = [(key_of(tag.latent), tag.thumbnail) for _, tag in sorted(memory.tags.items())]
    found: dict[str, bytes] = {}
    left = PICTURE_BYTES
    for key, data in [*tags, *((place.key, place.thumbnail) for place in overview.places())]:
        if data and len(data) <= left and key not in found:
            found[key] = data
            left -= len(data)
    return found


def _point(where: Any) -> list[float]:
    return [round(float(where[0]), 3), round(float(where[1]), 3)]
