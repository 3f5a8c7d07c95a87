# SPDX-License-Identifier: Apache-2.0
"""What the knowledge of places gives a search: the way round as a cost, and where not to go as constraints."""

from __future__ import annotations

import numpy as np
import torch

from jepa_ros.cost.futures import Futures
from jepa_ros.cost.goal import Target
from jepa_ros.cost.terms import PartTerm
from jepa_ros.planar.movers import Movers
from jepa_ros.planar.obstructions import Obstructions
from jepa_ros.planar.places import SLACK, Places
from jepa_ros.planar.readouts import POSE
from jepa_ros.planar.route import Route
from jepa_ros.safety.schema import RESERVED_NAMES

#: What a search keeps clear of beside guardrails: reserved, no guardrail is called so.
BUMPED, MAPPED = RESERVED_NAMES


def ways_of(futures: Futures) -> np.ndarray:
    """(C, S, T, 2) m, where the robot's centre comes to."""
    return futures.derived("places", lambda: futures.read("pose")[..., :2].float().cpu().numpy())


def begin_of(futures: Futures) -> np.ndarray:
    """(2,) m, where it begins."""
    return futures.read_start("pose")[:2].float().cpu().numpy()


class WayTerm(PartTerm):
    """The way to the goal's position, round what is in between."""

    def __init__(self, route: Route) -> None:
        super().__init__(POSE, POSE.parts[0])
        self.route = route

    def __call__(self, futures: Futures, goal: Target) -> torch.Tensor:
        """(C, S, T) m."""
        return super().__call__(futures, goal) + self.route.detour(futures.read("pose")[..., :2])


class BumpConstraint:
    """Keeps away from where the robot was held back, and does not end near a dead end."""

    name, unit, risk, whole, slack = BUMPED, "m", None, True, 0.0

    def __init__(self, obstructions: Obstructions) -> None:
        self.obstructions = obstructions

    def draw(self, samples: int, generator: torch.Generator) -> None:
        """What is remembered is the same in all futures."""

    def __call__(self, futures: Futures, goal: Target) -> np.ndarray:
        """(C, S, T) m."""
        return self.obstructions.excess(ways_of(futures), begin_of(futures))


class MapConstraint:
    """Keeps the chance of contact, read from the map of places, under a limit.

    With several futures it is the chance at what each comes to, in which those who move go different ways; with one,
    it is looked at half way between the steps too, and a robot that stands where it is higher may stay and leave.

    Args:
        places: the map. limit: chance that is taken. movers: what moves, None where nobody follows it.
    """

    name, unit, risk, whole, slack = MAPPED, "1", None, True, SLACK

    def __init__(self, places: Places, limit: float, movers: Movers | None) -> None:
        self.places, self.limit, self.movers = places, limit, movers
        self._velocities: np.ndarray | None = None

    def draw(self, samples: int, generator: torch.Generator) -> None:
        """Draw for each future where everybody who moves goes."""
        self._velocities = None
        if self.movers is not None and self.movers.found:
            whims = torch.randn((samples, len(self.movers.found), 2), generator=generator)
            self._velocities = self.movers.velocities(whims.numpy())

    def __call__(self, futures: Futures, goal: Target) -> np.ndarray:
        """(C, S, T)."""
        ways = ways_of(futures)
        if ways.shape[1] == 1:
            return self.places.excess(ways, begin_of(futures), self.limit)
        chance = self.places.look_up(ways)
        if self.movers is not None and self._velocities is not None:
            chance = np.maximum(chance, self.movers.chance(ways, self._velocities))
        return chance - self.limit
