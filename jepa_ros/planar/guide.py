# SPDX-License-Identifier: Apache-2.0
"""The way to a goal picture over remembered places: shortest over the memory graph, then driven place by place.

The fast search is given the place that lies a little ahead on the way, where all recent views say that it is. Once the
goal itself is in sight, that decides. A goal that looks like no remembered place is looked for as without a memory.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from jepa_ros.cost.goal import Target
from jepa_ros.memory.knowledge import Seen
from jepa_ros.memory.long_term import LongTerm
from jepa_ros.planar.odometry import Poses, between, beyond
from jepa_ros.planar.place_graph import PlaceGraph
from jepa_ros.planar.recognition import DOUBT, Localiser, Recognition
from jepa_ros.planar.sight import FOUND, Found, Sight, View, agreed

#: m of the way to the place that is driven to next.
AHEAD = 0.9
#: Share of the belief at one place from which on the robot counts as localised.
SURE = 0.5
#: Probability of one place from which on a remembered place counts as seen, and how many of them are kept.
SEEN, SIGHTINGS = 0.5, 60
#: m of error up to which places are told from each other by the ways between them.
REACH = 0.8
#: s without getting on after which the next way counts as failed.
STUCK = 12.0
#: m within which the goal's own sight is believed before that of the places.
CLOSE = 2.0


@dataclass
class Sighting:
    """A remembered place that was seen: its pose (3,) in the odometry's frame, error to be expected [m], when [s]."""

    place: int
    pose: Poses
    doubt: float
    stamp: float


class Guide(Sight):
    """Sight with a memory; see the module.

    Args:
        model: has the readouts ``relative`` and ``same``. contract: of a base. memory: whose states and tags are kept
            too. graph: its places.

    Attributes:
        anchors: {place: the goal as seen from it (3,)}, empty where the goal is known nowhere.
        way: places to the goal, from where the robot is.
    """

    def __init__(self, model: Any, contract: Any, memory: LongTerm, graph: PlaceGraph) -> None:
        super().__init__(model, contract)
        self.memory, self.graph = memory, graph
        self.recognition = Recognition(model, graph)
        self.localiser = Localiser(self.recognition)
        self.sightings: deque[Sighting] = deque(maxlen=SIGHTINGS)
        self.anchors: dict[int, tuple[Poses, float]] = {}
        self.way: list[int] = []
        self.rest = 0.0  # m from the place that is driven to next to the goal
        self._least = (math.inf, 0.0)  # control steps to the goal, the least so far, and when [s]

    def reset(self) -> None:
        """Forget the drive; places and ways are remembered."""
        super().reset()
        self.recognition.begins()
        self.localiser.reset()
        self.sightings.clear()
        self.anchors, self.way, self.rest = {}, [], 0.0

    def observe(self, seen: Seen) -> None:
        """Take an image: where that is, and what it adds to the memory."""
        super().observe(seen)
        here = self.drive.here
        self.memory.observe(seen.embedding[: self.memory.latent_dim])
        found = self.localiser.observe(seen.latent, here)
        if found is not None:
            for place, same, pose, doubt in zip(found.places, found.same, found.poses, found.doubt, strict=True):
                if same >= SEEN and doubt <= DOUBT:
                    self.sightings.append(Sighting(int(place), beyond(here, pose), float(doubt), seen.stamp))
        self.recognition.drive(seen.latent, here, seen.steps, self.memory.clock(), seen.picture)

    def _locate(self, goal: Target) -> None:
        new = goal.goal is not self._goal
        super()._locate(goal)
        self.rest, self.facing = 0.0, True
        if goal.latent is None or not self.drive.views:
            return
        if new:
            self.anchors, self._least = self._anchored(goal.latent), (math.inf, self.drive.views[-1].stamp)
        direct = self.found
        if direct is not None and direct.doubt < FOUND and self.distance[0] < CLOSE:
            return
        if self.anchors and (led := self._led()) is not None:
            self.found, self.looking = led, 0.0

    def _anchored(self, latent: torch.Tensor) -> dict[int, tuple[Poses, float]]:
        """The remembered places that a goal picture (D,) was taken near, with the goal as seen from them."""
        if not len(self.graph):
            return {}
        found, kept = self.recognition.nearest(latent), {}
        nearest = int(found.places[0])
        if np.array_equal(self.graph.latents[nearest], latent.cpu().numpy()):  # it was chosen among them
            kept[nearest] = np.zeros(3), 0.0
        for k in np.argsort(found.doubt / (0.05 + found.same)).tolist():
            place, pose = int(found.places[k]), found.poses[k]
            if place in kept:
                continue
            if found.same[k] >= SEEN and found.doubt[k] <= DOUBT and self.recognition.holds(latent, None, place, pose):
                kept[place] = between(pose, np.zeros(3)), float(found.doubt[k])
            if len(kept) == 3:
                break
        if not kept:  # a goal that was passed at a distance is sought where it looks most alike
            best = int(np.argmax(found.same))
            if found.same[best] >= SEEN:
                kept[int(found.places[best])] = between(found.poses[best], np.zeros(3)), float(found.doubt[best])
        return kept

    def _led(self) -> Found | None:
        """The place ahead on the way, in the odometry's frame; None where the robot does not know where it is."""
        place, sure = self.localiser.place()
        if place < 0 or sure < SURE:
            return None
        now, stamp = time.time(), self.drive.views[-1].stamp
        costs = self.graph.costs({a: 10.0 * math.hypot(*pose[:2]) for a, (pose, _) in self.anchors.items()}, now)
        self.way = self.graph.way(place, costs, now)
        if not self.way:
            return None
        self._judge(float(costs[place]), stamp, now)
        gone, ahead = 0.0, place
        for here, there in pairwise(self.way):
            gone += math.hypot(*self.graph.edges[here][there].pose[:2])
            ahead = there
            if gone >= AHEAD:
                break
        final = ahead == self.way[-1]
        target = self._seen(ahead)
        if target is None:
            return None
        if not final:
            self.rest, self.facing = 0.1 * float(costs[ahead]), False
            return target
        pose, doubt = self.anchors[ahead]  # a way ends at one of them
        return Found(beyond(target.pose, pose), math.hypot(target.doubt, doubt))

    def _seen(self, place: int) -> Found | None:
        """Where a place lies in the odometry's frame, by all places that were seen and the ways between."""
        around = self.graph.around(place, REACH)
        told: list[View] = []
        seen_now: Sighting | None = None
        if self.recognition.last is not None and self.recognition.last in around and not self.recognition.began:
            # On one drive odometry tells it, too.
            at = self.graph.odometry[self.recognition.last]
            seen_now = Sighting(self.recognition.last, at, 0.0, self.drive.views[-1].stamp)
        for seen in (*self.sightings, *([seen_now] if seen_now is not None else [])):
            if seen.place in around:
                pose, doubt = around[seen.place]
                where = beyond(seen.pose, between(pose, np.zeros(3)))
                told.append(View(torch.empty(0), seen.pose, seen.stamp, where, math.hypot(seen.doubt, doubt)))
        return agreed(told, self.drive.views[-1].stamp) if told else None

    def _judge(self, steps: float, stamp: float, now: float) -> None:
        """Mark the next way as failed where the robot has not come nearer for long."""
        least, since = self._least
        if steps < least - 2.0:
            self._least = (steps, stamp)
        elif stamp - since > STUCK and len(self.way) > 1:
            self.graph.failed(self.way[0], self.way[1], now)
            self._least = (math.inf, stamp)

    @property
    def distance(self) -> tuple[float, float]:
        """Metres to the goal, along the way, and radians to its heading."""
        away, turn = super().distance
        return away + self.rest, turn

    def views(self, latents: torch.Tensor | None = None) -> Mapping[str, Any]:
        """``goal``: what is driven to, (3,) in the odometry's frame; ``graph``: the places; ``way``: to the goal;
        ``place``: gives where the robot is, and how sure that is; ``anchors``: a goal, and where it is known."""
        place, anchors = self.localiser.place, (self._goal, self.anchors)
        return {**super().views(latents), "graph": self.graph, "way": self.way, "place": place, "anchors": anchors}
