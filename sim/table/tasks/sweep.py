# SPDX-License-Identifier: Apache-2.0
"""Sweeping: how an arm gathers data of things that it pushes. Its hand goes low over the table, where things are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jepa_ros.worlds import Policy

from ..seek import Seek
from .base import TableSpec
from .push import LOW, Push, reach

if TYPE_CHECKING:
    from ..world import TableScene

THINGS = (2, 4)  # least and most
APART = 0.09  # m between two things, and between a thing and the tip


class Sweep(Push):
    """Data for pushing: things that are drawn anew each episode, and a hand that plays among them."""

    name = "sweep"
    summary = "the hand sweeps over the table among one to three things"

    def outing(self, seed: int, number: int, attempt: int = 0) -> TableSpec:
        """Episode ``number`` of a collection; none ends too soon."""
        episode = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        rng = np.random.default_rng([seed, number, 1])
        tip = rng.uniform(self.low, self.high)
        things, count = [], int(rng.integers(THINGS[0], THINGS[1] + 1))
        while len(things) < count:
            thing = self.thing(rng)
            gaps = [np.hypot(*(np.array(thing.place[:2]) - np.array(other.place[:2]))) for other in things]
            off = np.hypot(*(np.array(thing.place[:2]) - tip[:2]))
            if min([*gaps, off]) > APART and (tip[2] > 0.12 or off > reach(thing) + 0.02):
                things.append(thing)
        return TableSpec(number, episode, self.randomise, self.distractors, tuple(tip.tolist()), self.opening,
                         things=tuple(things), draws=(seed, number, 2))  # type: ignore[arg-type]  # fmt: skip

    def explore(self, scene: TableScene, spec: TableSpec) -> Policy:
        """Play that seeks contact, with the fingers shut."""
        rng = np.random.default_rng(spec.draws)
        return Seek(scene.sim.body, rng, LOW, lambda: scene.observe(("wrench",)).state["wrench"])
