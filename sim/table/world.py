# SPDX-License-Identifier: Apache-2.0
"""The table as a world: its scene and its tasks behind the protocols of :mod:`jepa_ros.worlds`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.worlds import WorldError

from ..common.scene import OutsideScene
from .scene import TableConfig
from .simulator import TableSim
from .tasks import OUTINGS, TASKS, TableSpec, TableTask

#: Hz at which each sensor measures, in the loop and behind topics alike.
RATES = {"joint_states": 50.0, "contact": 25.0, "wrench": 25.0}


class TableScene(OutsideScene[TableSim]):
    """An arm at a table; see :class:`.simulator.TableSim`."""

    what = "table"
    sensors = RATES

    def make(self, config: TableConfig) -> TableSim:
        """A simulator of tables."""
        return TableSim(self.contract, config)

    def reset(self, spec: TableSpec) -> None:
        """Begin the episode of a spec."""
        self.open(spec.config).reset(spec.seed, tip=spec.tip, opening=spec.opening, things=spec.things)


class TableWorld:
    """The table and its Panda."""

    name = "table"
    gated = True
    tasks: Mapping[str, str] = {name: task.summary for name, task in TASKS.items()}
    outings: Mapping[str, str] = {"play": "the arm moves its hand about", "sweep": OUTINGS["sweep"].summary}
    score_task, data_task = "reach", "play"
    options = ("randomise", "distractors")
    bodies = ("arm",)
    episodes, shortest = 1000, 1
    model = "panda"

    def contract(self) -> RobotContract:
        """The shipped one."""
        return load_contract("panda")

    def scene(self, contract: RobotContract) -> TableScene:
        """A table for the arm of ``contract``."""
        return TableScene(contract)

    def task(self, name: str, contract: RobotContract, options: Mapping[str, Any]) -> TableTask:
        """A task; options: ``randomise``, ``distractors``."""
        kind = {**TASKS, **OUTINGS}.get(name)
        if kind is None:
            known = ", ".join((*self.tasks, *self.outings))
            raise WorldError(f"the table has no task '{name}'; expected one of {known}")
        if unknown := sorted(set(options) - {"randomise", "distractors"}):
            raise WorldError(f"the table's tasks have no option {', '.join(unknown)}")
        return kind(contract, bool(options.get("randomise", False)), int(options.get("distractors", 0)))
