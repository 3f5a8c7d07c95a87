# SPDX-License-Identifier: Apache-2.0
"""The memory graph as people are shown it: see :mod:`jepa_ros.memory.overview`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jepa_ros.memory.long_term import Tagged, Where
from jepa_ros.memory.overview import AT, MOST, Place, key_of
from jepa_ros.planar.odometry import Poses, beyond
from jepa_ros.planar.place_cover import Cover
from jepa_ros.planar.place_graph import PlaceGraph
from jepa_ros.planar.place_layout import layout, side_by_side


class GraphOverview:
    """Places of a graph that lie apart, laid out by the ways between them."""

    kind = "places"

    def __init__(self, graph: PlaceGraph) -> None:
        self._graph, self._cover = graph, Cover(graph, MOST)
        self._laid: tuple[PlaceGraph | None, int] = (None, 0)
        self._poses: Poses = np.zeros((0, 3))
        self._keys: dict[int, str] = {}
        self._tags: dict[str, tuple[float, int]] = {}  # time of a tag, and the place that looks most like it
        self._asked: dict[str, Tagged] = {}

    @property
    def total(self) -> int:
        """How many places there are."""
        return len(self._graph)

    def follow(self, seconds: float) -> bool:
        """Take in new places, then find where one of the tags lies."""
        if not self._cover.follow(seconds):
            return False
        for name, tag in self._asked.items():
            if len(self._graph) and self._tags.get(name, (np.nan, 0))[0] != tag.time:
                self._tags[name] = tag.time, int(self._graph.nearest(tag.latent, 1)[0])
                return False
        return True

    def _lay(self) -> Poses:
        """Poses (n, 3) of the places of the cover, drawn anew where the cover has changed."""
        shown = self._cover.shown
        if self._laid[0] is not shown or self._laid[1] != shown.version:
            self._laid = shown, shown.version
            found = layout(shown)
            self._poses = np.concatenate([side_by_side(found), found.poses[:, 2:]], 1)
        return self._poses

    def places(self) -> Sequence[Place]:
        """The places of the cover."""
        graph, found = self._graph, []
        for number, pose in zip(self._cover.numbers, self._lay().tolist(), strict=True):
            if number not in self._keys:
                self._keys[number] = key_of(graph.latents[number])
            found.append(Place(number, self._keys[number], tuple(pose), graph.times[number], graph.thumbnails[number]))
        return found

    def ways(self) -> Sequence[tuple[int, int, bool]]:
        """The ways between them; one that was not driven is a loop that was closed."""
        edges = self._cover.shown.edges
        return [(a, b, e.driven > 0) for a, others in enumerate(edges) for b, e in others.items() if a < b]

    def at(self, number: int, ahead: Where = AT) -> Where | None:
        """Where a place of the graph lies in the drawing, or what is ahead of it."""
        if (spot := self._cover.spot(number)) is None:
            return None
        return tuple(beyond(beyond(self._lay()[spot[0]], spot[1]), np.array(ahead)).tolist())

    def tagged_at(self, name: str, tag: Tagged) -> Where | None:
        """Where the place lies that looks most like it; None before that was looked for."""
        self._asked[name] = tag
        when, number = self._tags.get(name, (np.nan, 0))
        return self.at(number) if when == tag.time else None


class ShownGraph(PlaceGraph):
    """A graph that people are shown."""

    def overview(self) -> GraphOverview:
        """What they are shown of it."""
        return GraphOverview(self)
