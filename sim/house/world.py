# SPDX-License-Identifier: Apache-2.0
"""Houses as a world: the scene and its tasks behind the protocols of :mod:`jepa_ros.worlds`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.worlds import WorldError

from ..common.scene import SimScene
from .simulator import HouseConfig, HouseSim
from .tasks import TASKS, Go, HouseSpec

#: Hz at which each sensor measures, in the loop and behind topics alike.
RATES = {"odom": 25.0, "contact": 20.0, "scan": 10.0}
OUTINGS = {"wander": "drives about in houses that are drawn"}


class HouseScene(SimScene[HouseSim]):
    """A base in a house; see :class:`.simulator.HouseSim`."""

    what = "house"
    sensors = RATES

    def make(self, config: HouseConfig) -> HouseSim:
        """A simulator of houses."""
        return HouseSim(self.contract, config)

    def reset(self, spec: HouseSpec) -> None:
        """Begin the episode of a spec."""
        self.open(spec.config).reset(spec.seed, spec.house, spec.start, spec.closed)


class HouseWorld:
    """Houses and their rover."""

    name = "house"
    gated = True
    tasks: Mapping[str, str] = {name: kind.summary for name, kind in TASKS.items()}
    outings: Mapping[str, str] = OUTINGS
    score_task, data_task = "near", "wander"
    options = ("randomise", "per_layout")
    episodes, shortest = 400, 1
    model = ""

    def contract(self) -> RobotContract:
        """The shipped one."""
        return load_contract("rover")

    def scene(self, contract: RobotContract) -> HouseScene:
        """A house for the base of ``contract``."""
        return HouseScene(contract)

    def task(self, name: str, contract: RobotContract, options: Mapping[str, Any]) -> Go:
        """A task; options: ``randomise``, ``per_layout`` (episodes of data in a row in one house).

        Raises:
            WorldError: no such task or option.
        """
        if name not in self.tasks and name not in self.outings:
            known = ", ".join((*self.tasks, *self.outings))
            raise WorldError(f"the house has no task '{name}'; expected one of {known}")
        if unknown := sorted(set(options) - set(self.options)):
            raise WorldError(f"the house's tasks have no option {', '.join(unknown)}")
        randomise = bool(options.get("randomise", name in self.outings))
        return Go(name, contract, randomise, int(options.get("per_layout", 4)))
