# SPDX-License-Identifier: Apache-2.0
"""Tasks of `jepa-ros bench guardrails`: a keep-out region on the straight way, and a way round it that is free.

Which tasks there are follows from the seed and the true layout alone, before any arm has run.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from jepa_ros.learning.episodes import SEED_OFFSET, EpisodeSpec, make_spec
from jepa_ros.safety.guardrails import GuardrailSet, parse_guardrails

#: m: start and goal are so far from the region's edge that the footprint is out of it with as much room as they have
#: to walls and boxes.
ROOM = 0.15
#: m round the footprint that the way round has to have: what the gate keeps to a region with the arena's localisation,
#: and to boxes in the scan.
PASSAGE = 0.05
RADII = (0.06, 0.12)  # m, of the region
#: Friction of the slippery patches: down to where the robot still brakes as its contract guarantees.
SLIPPERY = (0.35, 0.6)


@dataclasses.dataclass(frozen=True)
class Task:
    """One episode: the pair, the layout with its patches, the region (centre and radius in m)."""

    spec: EpisodeSpec
    layout: Any
    region: tuple[float, float, float]

    def guardrails(self) -> GuardrailSet:
        """The region as a set of guardrails."""
        x, y, radius = self.region
        shape = {"center": [round(x, 4), round(y, 4)], "radius": round(radius, 4)}
        return parse_guardrails([{"name": "zone", "kind": "keep_out", "unit": "m", "circle": shape}])


def make_task(number: int, seed: int, layout: str = "random") -> Task:
    """Task ``number`` of a seed: layout and pair as ``eval`` draws them, and a region in between that can be passed.

    Args:
        layout: of :data:`~jepa_ros.learning.episodes.SCENES`; look and dynamics are drawn anew in every episode.
    """
    from jepa_ros_sim import Box, Patch, SceneConfig
    from jepa_ros_sim.tasks import shortest_path
    from jepa_ros_sim.world import layout_of

    rng = np.random.default_rng([SEED_OFFSET, seed, number, 5])
    for attempt in range(1000):
        spec = make_spec(1000 * number + attempt, seed, layout, True)
        (x0, y0, _), (x1, y1, _) = spec.start, spec.goal
        radius, share, aside = rng.uniform(*RADII), rng.uniform(0.4, 0.6), rng.uniform(-0.05, 0.05)
        away = np.array([y0 - y1, x1 - x0]) / spec.distance
        x, y = np.array([x0, y0]) + share * np.array([x1 - x0, y1 - y0]) + aside * away
        if min(math.hypot(x - x0, y - y0), math.hypot(x - x1, y - y1)) < radius + 0.09 + ROOM:
            continue
        true = layout_of(SceneConfig(layout=spec.layout, **dict(spec.scene)), spec.layout_seed)
        box = Box(float(x), float(y), radius, radius)  # holds the circle
        with_region = dataclasses.replace(true, boxes=(*true.boxes, box))
        if shortest_path(with_region, spec.start, spec.goal, 0.09 + PASSAGE) is None:
            continue
        patches = tuple(
            Patch(*rng.uniform(-0.7, 0.7, 2).tolist(), rng.uniform(0.1, 0.3), rng.uniform(*SLIPPERY), visible=False)
            for _ in range(2)
        )
        spec = dataclasses.replace(spec, number=number)
        return Task(spec, dataclasses.replace(true, patches=patches), (float(x), float(y), float(radius)))
    raise RuntimeError(f"no task {number} of seed {seed} in layout {layout!r}: every region drawn closes the way")
