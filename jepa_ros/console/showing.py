# SPDX-License-Identifier: Apache-2.0
"""What was heard of a running robot, put into sections for a page."""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np

from jepa_ros.console.around import people_of, seen_by
from jepa_ros.console.hearing import DELIBERATION, FUTURES, GATE, PLACES, STALE, THUMBNAILS, Hearing
from jepa_ros.console.kept import numbers
from jepa_ros.console.words import gate_word, planner_words
from jepa_ros.safety.output import MOVING_NAMES

#: Nodes of a deliberation's tree that are shown; of a larger one those that were found first, and the way.
NODES = 1500
#: Times a second that strips are made anew: more would flicker; and people and what the scanner sees.
STRIPS, AROUND_RATE = 2.0, 4.0


class Section(NamedTuple):
    """A part of what a page shows.

    Attributes:
        name: of the part. key: as long as it is the same, nothing changed. build: makes it, for JSON.
    """

    name: str
    key: Hashable
    build: Callable[[], Any]


class Showing:
    """The sections of one robot.

    Args:
        hearing: what was heard of it.
    """

    def __init__(self, hearing: Hearing) -> None:
        self._hearing = hearing

    def sections(self) -> list[Section]:
        """What a page shows besides pictures and curves."""
        kept, half_second = self._hearing.kept, int(2.0 * time.monotonic())
        pose = kept[self._hearing.pose_topic].version if self._hearing.pose_topic else 0
        drawn = tuple(kept[topic].version for topic in ("plan", "planner/candidates", "planner/status", "camera_info"))
        areas = self._hearing.rules_version
        strips = int(STRIPS * time.monotonic()) if self._hearing.futures_wanted else None
        acting = tuple(kept[GATE].values().get(key) for key in ("mode", "reason"))
        return [
            Section("gate", (kept[GATE].version, half_second), self._gate),
            Section("planner", (kept["planner/status"].version, acting), self._planner),
            Section("memory", kept["planner/memory"].version, self._memory),
            Section("drawing", (*drawn, areas, self._planning()), self._drawing),
            Section("pose", pose, self._pose),
            Section("places", self._places_key(), self._places),
            Section("around", int(AROUND_RATE * time.monotonic()), self._around),
            Section("tree", kept[DELIBERATION].version, self._tree),
            Section("map", kept["planner/traversability"].version, self._map),
            Section("inputs", half_second, self._hearing.account),
            Section("areas", areas, self._areas),
            Section("strips", strips, self._strips),
        ]

    def _gate(self) -> dict[str, Any]:
        gate, stops = self._hearing.kept[GATE].values(), self._hearing.stops
        mode, reason, source = (gate.get(key, "") for key in ("mode", "reason", "source"))
        word = gate_word(mode, reason, source, stops.before)
        cause, lately = stops.cause, stops.lately
        if cause is not None:
            headline = gate_word(cause["mode"], cause["reason"]).headline
            cause = {**cause, "headline": headline, "count": lately.count(cause["reason"])}
        return {
            "mode": mode,
            "reason": reason,
            "reasons": gate.get("reasons", "").split(),
            "headline": word.headline,
            "step": word.step,
            "sentence": gate.get("message", ""),
            "scale": gate.get("scale", "") if mode in MOVING_NAMES else "0",
            "source": source,
            "values": gate.get("values", "").split(),
            "cause": cause,
            "stops": len(lately),
        }

    def _planner(self) -> dict[str, Any]:
        status = self._hearing.kept["planner/status"].values()
        names = ("reason", "goal", "goal_name", "arrived", "feasible", "iterations", "cost", "distance")
        gate = self._hearing.kept[GATE].values()
        reason, sentence = status.get("reason", ""), status.get("message", "")
        return {name: status.get(name, "") for name in names} | {
            "says": planner_words(reason, sentence, gate.get("mode", ""), gate.get("reason", "")),
            "alone": planner_words(reason, sentence),
            "sentence": sentence,
            "unit": status.get("distance_unit", ""),
            "refused": status.get("goal_refused", ""),
            "elapsed": status.get("elapsed_s", ""),
            "terms": numbers(status, "terms/"),
            "guardrails": numbers(status, "guardrails/"),
        }

    def _memory(self) -> dict[str, Any]:
        memory = self._hearing.kept["planner/memory"].values()
        tags = {k[4:]: v for k, v in memory.items() if k.startswith("tag/")}
        return {"folder": memory.get("folder", ""), "tags": tags, "refused": memory.get("refused", "")}

    def _places_key(self) -> Hashable:
        kept = self._hearing.kept  # of a client that has pictures of its own nothing of the memory is heard
        return (kept[PLACES].version, kept[THUMBNAILS].version) if PLACES in kept else None

    def _places(self) -> dict[str, Any] | None:
        """Places of the planner's memory to choose from; see :func:`jepa_ros.nodes.planner_places.told`.

        ``pictures`` has the keys of those that have one.
        """
        message = self._hearing.kept[PLACES].get() if PLACES in self._hearing.kept else None
        try:
            found = {} if message is None else json.loads(message.data)
            keys = [row[1] for row in (*found["tags"], *found["places"])]
        except (ValueError, KeyError, TypeError, IndexError):
            return None
        return found | {"pictures": [key for key in keys if key in self._hearing.thumbnails]}

    def _planning(self) -> bool:
        status = self._hearing.kept["planner/status"]
        return (status.age() or 0.0) < STALE and status.values().get("reason") == "ok"

    def _drawing(self) -> dict[str, Any]:
        """Plan and candidates, in map metres and, where the camera's place is known, in pixels."""
        projection = self._hearing.camera()
        plan = self._hearing.kept["plan"].get() if self._planning() else None
        lines = [] if plan is None else [[(p.pose.position.x, p.pose.position.y) for p in plan.poses]]
        markers = self._hearing.kept["planner/candidates"].get() if lines else None
        for marker in [] if markers is None else markers.markers:
            if len(marker.points) > 1:
                lines.append([(p.x, p.y) for p in marker.points])
        found: dict[str, Any] = {"plan": [[round(x, 3), round(y, 3)] for x, y in lines[0]] if lines else []}
        found["placed"] = projection is not None
        if projection is not None:
            found["size"] = projection.size
            found["pixels"] = [projection.drawn(line) for line in lines]
            found["rules"] = [projection.drawn(area.corners) for area in self._hearing.areas]
        found["goal"] = self._goal()
        found["goal_pixel"] = projection.drawn([found["goal"]]) if projection is not None and found["goal"] else []
        return found

    def _goal(self) -> list[float] | None:
        """Where the goal lies, x, y [m]; None where the planner does not know."""
        told = self._hearing.kept["planner/status"].values().get("goal_at", "")
        return [float(v) for v in told.split()] if told else None

    def _around(self) -> dict[str, Any]:
        """Robot, people and ends of the scanner's beams, in map metres and, where the camera has a place, in pixels."""
        hearing, projection = self._hearing, self._hearing.camera()
        contract, pose = hearing.contract, hearing.pose()
        people, scan = hearing.around("people"), hearing.around("scan")
        found: dict[str, Any] = {
            "people": [] if people is None else people_of(people, contract),
            "seen": [] if scan is None or pose is None else seen_by(scan, contract, pose),
        }
        found["pixels"] = {} if projection is None else {name: projection.drawn(at) for name, at in found.items()}
        return found

    def _areas(self) -> list[dict[str, Any]]:
        """The guardrails with a place on the ground, in map metres; in the order of the drawing's rules."""
        return [area._asdict() for area in self._hearing.areas]

    def _strips(self) -> dict[str, Any] | None:
        """What the imagined futures look like: numbers of pictures, and whether each is near enough; None if unasked.

        The chosen plan stands first, where one was chosen.
        """
        hearing, heard = self._hearing, self._hearing.kept[FUTURES]
        if not hearing.futures_wanted:
            return None
        album, planning = hearing.album, self._hearing.kept["planner/status"].values().get("reason", "")
        found: dict[str, Any] = {"remembered": 0 if album is None else len(album), "chosen": planning == "ok"}
        message = heard.get() if (heard.age() or 0.0) < STALE else None
        if message is None or album is None or len(message.layout.dim) != 3:
            return found | {"rows": []}
        futures, states, size = (dim.size for dim in message.layout.dim)
        if futures * states == 0 or size != album.latent_dim or len(message.data) != futures * states * size:
            return found | {"rows": []}
        like = album.like(np.frombuffer(message.data, np.float32).reshape(-1, size))
        rows = [like[k * states : (k + 1) * states] for k in range(futures)] if like else []
        return found | {"rows": rows}

    def _tree(self) -> dict[str, Any] | None:
        """The tree of the last deliberation; see :func:`jepa_ros.planning.deliberate.view.tree_of`."""
        message = self._hearing.kept[DELIBERATION].get()
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

    def _pose(self) -> dict[str, Any] | None:
        """Where the robot is, x, y [m], yaw [rad], and its outline's radius [m]; both ends of its heading in pixels."""
        pose, projection = self._hearing.pose(), self._hearing.camera()
        if pose is None:
            return None
        radius = self._hearing.contract.footprint.radius
        found: dict[str, Any] = {"at": [round(v, 3) for v in pose]}
        if projection is not None:
            x, y, yaw = pose
            found["pixels"] = projection.drawn([(x, y), (x + radius * math.cos(yaw), y + radius * math.sin(yaw))])
        return found

    def _map(self) -> dict[str, Any] | None:
        """Where the robot can drive, as the planner believes: rows of int8, -1 to 100, in base64."""
        grid = self._hearing.kept["planner/traversability"].get()
        if grid is None:
            return None
        return {
            "width": grid.info.width,
            "height": grid.info.height,
            "resolution": grid.info.resolution,
            "origin": [grid.info.origin.position.x, grid.info.origin.position.y],
            "cells": base64.b64encode(np.asarray(grid.data, dtype=np.int8).tobytes()).decode("ascii"),
        }
