# SPDX-License-Identifier: Apache-2.0
"""Reaching: the tip goes where a goal picture shows it, at least 15 cm away, and stays within 2 cm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jepa_ros.worlds import Decision, Observation, Policy, Wanted, WorldError

from ..simulator import Truth
from .base import TableSpec, TableTask, picture_of

if TYPE_CHECKING:
    from jepa_ros.planning.planner import PlannerConfig

    from ..world import TableScene

LEAST = 0.15  # m between start and goal
GAIN = 2.5  # 1/s, of the oracle


class Reach(TableTask):
    """Going to where a goal picture shows the tip."""

    name = "reach"
    summary = "the tip goes where the goal picture shows it, at least 15 cm away"

    def begin(self, rng: np.random.Generator) -> dict[str, Any]:
        """Two places far enough from each other."""
        while True:
            tip, wanted = self.place(rng), self.place(rng)
            if np.linalg.norm(wanted - tip) >= LEAST:
                return {"tip": tuple(tip.tolist()), "wanted": tuple(wanted.tolist())}

    def goal(self, scene: TableScene, spec: TableSpec) -> Wanted:
        """The picture with the tip at the goal."""
        assert spec.wanted is not None
        image = scene.sim.image_at(spec.wanted)
        return picture_of(scene.sim, scene.camera, image, {"tip": np.array(spec.wanted)})

    def distance(self, truth: Truth, spec: TableSpec) -> float:
        """From the tip to the goal [m]."""
        return float(np.linalg.norm(np.array(truth.tip) - np.array(spec.wanted)))

    def reference(self, name: str, scene: TableScene, spec: TableSpec, config: PlannerConfig) -> Policy:
        """The oracle: straight there, by the true place of the tip."""
        if name not in self.references:
            raise WorldError(f"task '{self.name}' has no policy '{name}'; it has {', '.join(self.references)}")
        return StraightThere(scene, np.array(spec.wanted))


class StraightThere:
    """Moves the tip straight to a place that it is told, looking ahead over the command's latency."""

    def __init__(self, scene: TableScene, goal: np.ndarray) -> None:
        self._scene, self._goal = scene, goal
        names = [a.name for a in scene.contract.action]
        self._rows = [names.index(f"tip.linear.{axis}") for axis in "xyz"]
        self._low, self._high = scene.contract.action_low, scene.contract.action_high

    def act(self, observation: Observation) -> Decision:
        """The velocity towards the goal, at most the contract's."""
        command = np.zeros(len(self._low))
        error = self._goal - np.array(self._scene.truth().tip)
        if observation.executed is not None:  # the last command goes on until this one takes effect
            error -= np.asarray(observation.executed)[self._rows] * self._scene.contract.actuation_latency
        wanted = GAIN * error
        most = np.min(self._high[self._rows])
        fastest = float(np.max(np.abs(wanted)))
        command[self._rows] = wanted * min(1.0, most / fastest) if fastest > 0.0 else 0.0
        return Decision(command)
