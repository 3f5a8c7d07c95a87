# SPDX-License-Identifier: Apache-2.0
"""What the console hears of a running robot, put into sections for a page.

Messages are fetched :data:`POLLS` times a second and kept as bytes. An executor would wake for every message and build
its wait set anew each time, which costs six times as much. While nobody looks, only the goal and the signals are heard.
"""

from __future__ import annotations

import base64
import json
import time
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid, Path
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from jepa_ros.console.kept import Kept, numbers
from jepa_ros.console.pictures import jpeg
from jepa_ros.console.projection import Projection
from jepa_ros.contract import RobotContract
from jepa_ros.messages.images import pixels as pixels_of
from jepa_ros.messages.rotation import yaw_of
from jepa_ros.nodes import qos

#: Times a second that messages are fetched, and how many of a topic wait at most meanwhile: the gate speaks at 50 Hz.
POLLS, DEPTH = 25.0, 5
#: Points of the curves of surprise and novelty that are kept, one a control step.
CURVE = 300
#: Seconds after which a planner that says nothing is not shown as planning.
STALE = 2.0
ALWAYS = ("signals",)
DELIBERATION = "planner/deliberation"
#: Spoken when something changes, so that their age says nothing.
LATCHED = ("planner/memory", DELIBERATION)
#: Nodes of a deliberation's tree that are shown; of a larger one those that were found first, and the way.
NODES = 1500


class Section(NamedTuple):
    """A part of what a page shows.

    Attributes:
        name: of the part. key: as long as it is the same, nothing changed. build: makes it, for JSON.
    """

    name: str
    key: Hashable
    build: Callable[[], Any]


class Hearing:
    """The topics of one robot.

    Args:
        node: the console's. contract: of the robot. pictures: hear the camera and goal pictures, too.
    """

    def __init__(self, node: Node, contract: RobotContract, pictures: bool = True) -> None:
        self._node, self._contract, self._pictures = node, contract, pictures
        self.curve: deque[str] = deque(maxlen=CURVE)  # JSON of each point
        self.curve_count = 0
        self.rules: list[dict[str, Any]] = []
        self._goal_picture: tuple[int, bytes] | None = None
        self._picture: tuple[int, bytes] = (0, b"")
        self._projection: Projection | None = None
        self._listening: dict[str, Subscription] = {}
        self._wanted = False
        self._camera_topic = contract.cameras[0].topic
        self._pose_topic = contract.state["pose"].topic if "pose" in contract.state else None
        self._rows = self._table()
        self.kept = {topic: Kept(kind, topic in LATCHED) for topic, kind, _ in self._rows}
        goals = (("goal_image", Image), ("goal_image/compressed", CompressedImage)) if pictures else ()
        self._goals = [
            sub
            for topic, kind in goals
            for sub in qos.subscribe_goal(node, kind, topic, self._on_goal)
        ]
        self._clock = [sub for sub in node.subscriptions if sub.topic_name == "/clock"]  # of a node with simulated time
        self._follow()

    def _table(self) -> list[tuple[str, type, QoSProfile]]:
        rows: list[tuple[str, type, QoSProfile]] = []
        if self._pictures:
            rows.append((self._camera_topic, Image, qos.IMAGE))
            rows.append((f"{self._camera_topic}/compressed", CompressedImage, qos.IMAGE))
        rows += [
            ("camera_info", CameraInfo, qos.STATE),
            ("plan", Path, qos.STATUS),
            ("planner/candidates", MarkerArray, qos.STATUS),
            ("planner/status", DiagnosticArray, qos.STATUS),
            ("planner/traversability", OccupancyGrid, qos.LATCHED),
            ("planner/memory", DiagnosticArray, qos.LATCHED),
            (DELIBERATION, String, qos.LATCHED),
            ("signals", DiagnosticArray, qos.SIGNALS),
            ("perception/status", DiagnosticArray, qos.STATUS),
            ("safety_gate/state", DiagnosticArray, qos.LATCHED),
        ]
        if self._pose_topic is not None:
            rows.append((self._pose_topic, PoseWithCovarianceStamped, qos.STATE))
        return rows

    # ------------------------------------------------------------ fetching

    def look(self, on: bool) -> None:
        """Somebody looks, or nobody does any more; taken up at the next :meth:`fetch`."""
        self._wanted = on

    def _follow(self) -> None:
        for topic, kind, profile in self._rows:
            wanted = self._wanted or topic in ALWAYS
            if wanted and topic not in self._listening:
                deep, take = qos.with_depth(profile, DEPTH), partial(self.put, topic)
                self._listening[topic] = qos.subscription(self._node, kind, topic, take, deep, raw=True)
            elif not wanted and topic in self._listening:
                self._node.destroy_subscription(self._listening.pop(topic))

    def fetch(self) -> None:
        """Fetch what came; from the one thread that the node's executor runs in."""
        if len(self._listening) != (len(self._rows) if self._wanted else len(ALWAYS)):
            self._follow()
        for sub in self._listening.values():
            qos.fetch(sub)
        for sub in self._goals:
            qos.fetch(sub, with_info=True)
        for sub in self._clock:
            qos.fetch(sub)

    def put(self, topic: str, data: bytes) -> None:
        """Keep a message of a topic."""
        kept = self.kept[topic]
        kept.put(data)
        if topic == "signals":
            values = kept.values()
            point = {name: v for name in ("surprise", "novelty") if (v := numbers(values, name).get("")) is not None}
            if point:
                self.curve.append(json.dumps(point))
                self.curve_count += 1

    def _on_goal(self, message: Image | CompressedImage) -> None:
        try:
            pixels, encoding = pixels_of(message)
        except ValueError:
            return
        version = self._goal_picture[0] + 1 if self._goal_picture else 1
        self._goal_picture = version, jpeg(pixels, encoding)

    # ------------------------------------------------------------ pictures

    def picture(self, seen: int) -> tuple[int, bytes] | None:
        """(version, JPEG) of the newest camera picture, or None if version ``seen`` is the newest."""
        raw, packed = self.kept[self._camera_topic], self.kept[f"{self._camera_topic}/compressed"]
        kept = raw if raw.version else packed
        if kept.version == 0 or kept.version == seen:
            return None
        if self._picture[0] != kept.version:
            version, message = kept.version, kept.get()
            try:
                packed_already = isinstance(message, CompressedImage)
                data = bytes(message.data) if packed_already else jpeg(*pixels_of(message))
            except ValueError:  # a picture of an encoding that nobody can read: perception says so, the page shows none
                return None
            self._picture = version, data
        return self._picture

    def goal_picture(self, seen: int) -> tuple[int, bytes] | None:
        """(version, JPEG) of the newest goal picture, or None if version ``seen`` is the newest."""
        found = self._goal_picture
        return None if found is None or found[0] == seen else found

    # ------------------------------------------------------------ sections

    def sections(self) -> list[Section]:
        """What a page shows besides pictures and curves."""
        kept, half_second = self.kept, int(2.0 * time.monotonic())
        pose = kept[self._pose_topic].version if self._pose_topic else 0
        drawn = tuple(kept[topic].version for topic in ("plan", "planner/candidates", "planner/status", "camera_info"))
        areas = tuple(id(rule) for rule in self.rules)
        return [
            Section("gate", kept["safety_gate/state"].version, self._gate),
            Section("planner", kept["planner/status"].version, self._planner),
            Section("memory", kept["planner/memory"].version, self._memory),
            Section("drawing", (*drawn, areas, self._planning()), self._drawing),
            Section("pose", pose, self._pose),
            Section("tree", kept[DELIBERATION].version, self._tree),
            Section("map", kept["planner/traversability"].version, self._map),
            Section("inputs", half_second, lambda: {topic: one.account() for topic, one in kept.items()}),
        ]

    def _gate(self) -> dict[str, Any]:
        gate = self.kept["safety_gate/state"].values()
        return {
            "mode": gate.get("mode", ""),
            "reason": gate.get("reason", ""),
            "reasons": gate.get("reasons", "").split(),
            "sentence": gate.get("message", ""),
            "scale": gate.get("scale", ""),
            "source": gate.get("source", ""),
            "values": gate.get("values", "").split(),
        }

    def _planner(self) -> dict[str, Any]:
        status = self.kept["planner/status"].values()
        names = ("reason", "goal", "goal_name", "arrived", "feasible", "iterations", "cost", "distance")
        return {name: status.get(name, "") for name in names} | {
            "sentence": status.get("message", ""),
            "refused": status.get("goal_refused", ""),
            "elapsed": status.get("elapsed_s", ""),
            "terms": numbers(status, "terms/"),
            "guardrails": numbers(status, "guardrails/"),
        }

    def _memory(self) -> dict[str, Any]:
        memory = self.kept["planner/memory"].values()
        tags = {k[4:]: v for k, v in memory.items() if k.startswith("tag/")}
        return {"folder": memory.get("folder", ""), "tags": tags, "refused": memory.get("refused", "")}

    def _planning(self) -> bool:
        status = self.kept["planner/status"]
        return (status.age() or 0.0) < STALE and status.values().get("reason") == "ok"

    def _drawing(self) -> dict[str, Any]:
        """Plan and candidates, in map metres and, where the camera's place is known, in pixels."""
        projection = self.camera()
        plan = self.kept["plan"].get() if self._planning() else None
        lines = [] if plan is None else [[(p.pose.position.x, p.pose.position.y) for p in plan.poses]]
        markers = self.kept["planner/candidates"].get() if lines else None
        for marker in [] if markers is None else markers.markers:
            if len(marker.points) > 1:
                lines.append([(p.x, p.y) for p in marker.points])
        found: dict[str, Any] = {"plan": [[round(x, 3), round(y, 3)] for x, y in lines[0]] if lines else []}
        found["placed"] = projection is not None
        if projection is not None:
            found["size"] = projection.size
            found["pixels"] = [projection.drawn(line) for line in lines]
            areas = [rule["polygon"] for rule in self.rules if "polygon" in rule]
            found["rules"] = [projection.drawn(area) for area in areas]
        return found

    def _tree(self) -> dict[str, Any] | None:
        """The tree of the last deliberation; see :func:`jepa_ros.planning.deliberate.view.tree_of`."""
        message = self.kept[DELIBERATION].get()
        try:
            found: dict[str, Any] = {} if message is None else json.loads(message.data)
            nodes, way = found["nodes"], set(found["way"])
            shown = [k for k in range(len(nodes)) if k < NODES or k in way]
            row = {k: at for at, k in enumerate(shown)}
            edges = [[row.get(nodes[k][0], -1), *nodes[k][1:]] for k in shown]
            return {
                "solved": bool(found["solved"]), "calls": found["calls"], "count": len(nodes), "axes": found["axes"],
                "nodes": edges, "way": [row[k] for k in found["way"]], "goal": found["goal"],
            }  # fmt: skip
        except (ValueError, KeyError, TypeError, IndexError):
            return None

    def _pose(self) -> list[float] | None:
        pose = self.pose()
        return None if pose is None else [round(v, 3) for v in pose]

    def pose(self) -> tuple[float, float, float] | None:
        """Where the robot is, x, y [m], yaw [rad]; None where nobody says."""
        message = self.kept[self._pose_topic].get() if self._pose_topic else None
        if message is None:
            return None
        at = message.pose.pose
        return at.position.x, at.position.y, yaw_of(at.orientation)

    def camera(self) -> Projection | None:
        """The camera in the map; None where it has no fixed place there."""
        if self._projection is None and (info := self.kept["camera_info"].get()) is not None:
            camera = self._contract.cameras[0]
            if camera.frame == self._contract.frames.map:
                size = (info.width, info.height)
                self._projection = Projection.of(camera.position, camera.orientation, list(info.k), size)
        return self._projection

    def _map(self) -> dict[str, Any] | None:
        """Where the robot can drive, as the planner believes: rows of int8, -1 to 100, in base64."""
        grid = self.kept["planner/traversability"].get()
        if grid is None:
            return None
        return {
            "width": grid.info.width,
            "height": grid.info.height,
            "resolution": grid.info.resolution,
            "origin": [grid.info.origin.position.x, grid.info.origin.position.y],
            "cells": base64.b64encode(np.asarray(grid.data, dtype=np.int8).tobytes()).decode("ascii"),
        }
