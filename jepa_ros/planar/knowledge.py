# SPDX-License-Identifier: Apache-2.0
"""All that is known of the plane that a robot drives over, with one owner: see :mod:`jepa_ros.memory.knowledge`.

- ``places``: what the pictures tell of where it can drive; ``route``: the ways over that map to the goal.
- ``obstructions``: where it was held back, which ``motion`` finds out, and what the gate's scan shows.
- ``movers``: what moves; ``memory`` and in it ``ways``: what came of earlier drives.

``places``, ``route`` and ``movers`` need a model with a map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import time as wall_clock
from typing import Any

import numpy as np
import torch

from jepa_ros.cost.goal import Target
from jepa_ros.cost.guardrail_constraints import GuardrailJudge
from jepa_ros.cost.seam import Constraint, CostTerm
from jepa_ros.memory.knowledge import Seen
from jepa_ros.memory.long_term import CONTACT, OBSTRUCTED, LongTerm
from jepa_ros.planar import region_constraints
from jepa_ros.planar.body_watch import PlanarWatch
from jepa_ros.planar.guide import Guide
from jepa_ros.planar.map_head import map_of
from jepa_ros.planar.motion_check import MotionCheck
from jepa_ros.planar.movers import Movers
from jepa_ros.planar.obstructions import Obstructions
from jepa_ros.planar.place_graph import PlaceGraph
from jepa_ros.planar.place_overview import ShownGraph
from jepa_ros.planar.place_terms import BumpConstraint, MapConstraint, WayTerm
from jepa_ros.planar.places import Places
from jepa_ros.planar.readouts import RELATIVE, SAME, to_poses
from jepa_ros.planar.route import Route
from jepa_ros.planar.scan_points import ScanPoints
from jepa_ros.planar.settings import PlanarConfig
from jepa_ros.planar.sight import Sight
from jepa_ros.planar.way_memory import WayMemory
from jepa_ros.world_model.context import read_part
from jepa_ros.world_model.seam import device_of

#: What is particular to planar bodies in the settings of a planner.
Settings = PlanarConfig
#: Seconds for which an obstruction is remembered where a map tells what stands about: long enough to take another way.
#: The gate's word says that something is in the way, not quite where; for long it would close a passage that is free.
OBSTRUCTION_LIFETIME = 5.0


class PlanarKnowledge:
    """See the module.

    Args:
        model: a world model with a pose readout; it may have a map. contract: the robot contract.
        config: how careful plans are. noise_samples: futures of a candidate, see SearchConfig.
        memory: what came of earlier drives, None where nothing is kept beyond one.
    """

    def __init__(
        self, model: Any, contract: Any, config: PlanarConfig, noise_samples: int = 1, memory: LongTerm | None = None,
    ) -> None:  # fmt: skip
        self.model, self.contract, self.memory = model, contract, memory
        self.ways = None if memory is None else memory.annex(WayMemory)
        self._region_margin = config.region_margin
        self.obstructions = Obstructions(contract.footprint.radius, contract.period)
        self.motion, self._scans = MotionCheck(contract, self.obstructions), ScanPoints(contract)
        self.places: Places | None = None
        self.route: Route | None = None
        self.movers: Movers | None = None
        self._closed = np.zeros(0)
        self._bumped, self._mapped = BumpConstraint(self.obstructions), None
        if found := map_of(model.config):
            cells, extent = found
            self.places, self.route = Places(cells, extent), Route(cells, extent, device_of(model))
            self.obstructions.lifetime = OBSTRUCTION_LIFETIME
            if noise_samples > 1:  # with a single future nobody can differ in where they go
                self.movers = Movers(cells, extent, contract.period)
            if config.contact_limit < 1.0:
                self._mapped = MapConstraint(self.places, config.contact_limit, self.movers)
        self._goal: Target | None = None

    # -- what the planner asks -----------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget the drive; what is remembered of earlier ones is there again."""
        self.motion.reset()
        self.obstructions.clear()
        for part in (self.places, self.movers):
            if part is not None:
                part.clear()
        if self.places is not None and self.ways is not None and self.ways.map is not None:
            self.places.observe(self.ways.map)  # the pictures of a second put right what has changed since

    def observe(self, seen: Seen) -> None:
        """Take an image: its map, and what came of the last command."""
        if seen.failed:
            self.obstructions.clear_dead_ends()  # no way out of them was found
        if self.places is not None:
            told = read_part(self.model.config, seen.embedding, "map")
            self.places.observe(told)
            if self.movers is not None:
                self.movers.observe(told, seen.steps)
        with torch.no_grad():
            pose = self.model.read("pose", seen.latent[None])[0]
        self.motion.observe(pose, seen.steps, seen.commanded, seen.executed, seen.gate_reason, seen.stamp)
        self.obstructions.show(self._scans.around(seen, np.array(self.motion.pose)))
        if self.memory is not None:
            self._remember(seen, self.memory)

    def prepare(self, goal: Target, distance: float | None = None, stamp: float = 0.0) -> None:
        """Find the ways to the goal round all that is known to be in between: seen, bumped into, or forbidden."""
        if goal is not self._goal:
            if self._goal is not None:
                self.obstructions.clear_dead_ends()
            self._goal = goal
        if distance is not None:
            self.motion.judge_progress(distance, stamp)
        if self.route is None or self.places is None:
            return
        blocked = self.places.blocked()
        if self._closed.size:
            blocked = np.maximum(blocked, self._closed)
        if len(self.obstructions):
            blocked = np.maximum(blocked, self.obstructions.near(self.places.centres()))
        if self.ways is not None and len(self.ways.obstructions):
            blocked = np.maximum(blocked, self.ways.obstructed(self.places.centres()))
        where = goal.read("pose")
        assert where is not None  # a goal without one was refused
        x, y = where[:2].tolist()
        self.route.solve(blocked, (x, y))

    def terms(self) -> Sequence[CostTerm]:
        """The way round, in the place of the straight one."""
        return [] if self.route is None else [WayTerm(self.route)]

    def constraints(self) -> Sequence[Constraint]:
        """Where it was held back, and where the map tells of a contact."""
        found: list[Constraint] = [self._bumped] if len(self.obstructions) else []
        return found if self._mapped is None else [*found, self._mapped]

    def views(self, latents: torch.Tensor | None = None) -> Mapping[str, Any]:
        """``map``: the Places, where there is a map; ``tracks``: of plans, (N, T, 3) x m, y m, yaw rad."""
        found: dict[str, Any] = {} if self.places is None else {"map": self.places}
        if latents is not None:
            with torch.no_grad():
                found["tracks"] = to_poses(self.model.read("pose", latents))
        return found

    def _remember(self, seen: Seen, memory: LongTerm) -> None:
        """Tell the long-term memory what came of the step."""
        latent, pose, held_at = seen.embedding[: memory.latent_dim], self.motion.pose, self.motion.noted
        if held_at is not None:
            memory.mark(latent, pose, CONTACT if seen.gate_reason == "contact" else OBSTRUCTED)
        else:
            memory.observe(latent, pose)
        if self.ways is not None:
            if held_at is not None:
                self.ways.note(held_at)
            elif pose is not None:
                self.ways.refute(*pose[:2])
            if self.places is not None:
                self.ways.map = self.places.logits

    # -- guardrails ----------------------------------------------------------------------------------------------------

    def judge(self, rails: Any, readouts: Any, samples: int) -> GuardrailJudge:
        """The constraints of guardrails, and from now on their regions are routed round; see GuardrailJudge."""
        found = region_constraints.judge(rails, readouts, self.contract, samples, self._region_margin, self.places)
        if self.places is not None:
            self._closed = region_constraints.closed(found, self.contract, self.places.centres())
        return found


def annexes(contract: Any, clock: Callable[[], float] = wall_clock) -> list[Any]:
    """What a planar body remembers beside states: a base that carries its camera the places that it saw.

    ``clock`` tells s since the epoch.
    """
    if contract.on_board:
        return [ShownGraph()]
    return [WayMemory(Obstructions(contract.footprint.radius, contract.period).keep, clock)]


def watch(model: Any) -> PlanarWatch | None:
    """What tells surprise of a planar body; nothing where the model does not tell where it is."""
    return PlanarWatch(model) if "pose" in model.readouts else None


def knowledge(
    model: Any, contract: Any, config: PlanarConfig | None, noise_samples: int, memory: LongTerm | None
) -> list[Any]:
    """What a planar body knows; nothing where the model tells neither where it is nor where another view was taken."""
    if "pose" not in model.readouts:
        if RELATIVE.name not in model.readouts:
            return []
        graph = None if memory is None else memory.annex(PlaceGraph)
        if memory is None or graph is None or SAME.name not in model.readouts:
            return [Sight(model, contract)]
        return [Guide(model, contract, memory, graph)]
    return [PlanarKnowledge(model, contract, config or Settings(), noise_samples, memory)]
