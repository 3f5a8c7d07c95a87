# SPDX-License-Identifier: Apache-2.0
"""Following a way: which of its states the fast search aims at next."""

from __future__ import annotations

import torch
from torch import Tensor

from jepa_ros.cost.to_go import CostToGo
from jepa_ros.planning.deliberate.way import Way


class Follower:
    """Where a robot is on a way, and what it aims at.

    Distances along the way are the steps that its edges took, so that a cost-to-go which looks through walls misleads
    nobody who follows.

    Args:
        way: what to follow. to_go: the cost-to-go. ahead: steps that a plan of the fast search reaches.
        lost: a robot further than so many steps from the way has lost it.

    Attributes:
        at: the state of the way that the robot is nearest to. aim: the one that it goes to.
        done: the fast search goes on alone: the way's end is within reach, or the way is lost. was_lost: the latter.
    """

    def __init__(self, way: Way, to_go: CostToGo, ahead: float, lost: float) -> None:
        self.way, self._to_go, self._ahead, self._lost = way, to_go, ahead, lost
        self.at = self.aim = 0
        self.done = len(way) < 2
        self.was_lost = False

    @torch.no_grad()
    def update(self, latent: Tensor) -> int | None:
        """The state to aim at from where the robot is now, latent (D,); None if the fast search goes on alone."""
        if self.done:
            return None
        cost = self.way.cost
        near = [i for i in range(self.at, len(cost)) if cost[i] - cost[self.at] <= self._ahead]
        gaps = self._to_go.steps(self._to_go.code(latent[None]), self.way.codes[near])
        nearest = int(gaps.argmin())
        gap, self.at = float(gaps[nearest]) / self.way.step, near[nearest]
        self.was_lost = not gap <= self._lost
        self.aim = self.at + 1
        while self.aim < len(cost) - 1 and gap + cost[self.aim + 1] - cost[self.at] <= self._ahead:
            self.aim += 1
        last = self.aim >= len(cost) - 1 and gap + cost[-1] - cost[self.at] <= self._ahead
        self.done = self.was_lost or last
        return None if self.done else self.aim
