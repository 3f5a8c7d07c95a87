# SPDX-License-Identifier: Apache-2.0
"""The table as a world: its scene and its tasks behind the protocols of :mod:`jepa_ros.worlds`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.safety.inputs import ContactIn, JointsIn, WrenchIn
from jepa_ros.worlds import Observation, WorldError

from ..common.view import View
from .simulator import TableSim, Truth
from .tasks import OUTINGS, TASKS, TableSpec, TableTask

RATES = {"joint_states": 50.0, "contact": 25.0, "wrench": 25.0}  # Hz


class TableScene:
    """An arm at a table; see :class:`.simulator.TableSim`.

    Args:
        contract: of the arm.
    """

    over = False  # nothing that happens at a table ends an episode

    def __init__(self, contract: RobotContract) -> None:
        self.contract = contract
        self.camera = contract.cameras[0].name
        self.rates: Mapping[str, float] = {name: rate for name, rate in RATES.items() if name in contract.state}
        self._sim: TableSim | None = None
        self._read = {"joint_states": self._joints, "contact": self._contact, "wrench": self._wrench}

    @property
    def sim(self) -> TableSim:
        """The simulator of the episode.

        Raises:
            WorldError: the scene was not reset yet, or it is closed.
        """
        if self._sim is None:
            raise WorldError("the table has no episode: reset it first")
        return self._sim

    @property
    def time(self) -> float:
        """Seconds since the reset."""
        return self.sim.time

    def view(self, camera: str) -> View:
        """Where places stand in the picture of the camera."""
        return self.sim.camera.view

    @property
    def focal(self) -> float:
        """Of the camera [px]."""
        return float(self.sim.camera.view.focal)

    def reset(self, spec: TableSpec) -> None:
        """Begin the episode of a spec."""
        if self._sim is None or spec.config != self._sim.config:
            self.close()
            self._sim = TableSim(self.contract, spec.config)
        self._sim.reset(spec.seed, tip=spec.tip, opening=spec.opening, things=spec.things)

    def observe(self, names: Collection[str] | None = None) -> Observation:
        """The picture, and what the arm feels now."""
        wanted = (self.camera, *self.rates) if names is None else names
        now = self.time
        images = {self.camera: self.sim.image()} if self.camera in wanted else {}
        return Observation(now, images, {name: self._read[name](now) for name in wanted if name in self._read})

    def command(self, values: np.ndarray) -> None:
        """Set-points of the joints, in the order of the contract's command."""
        self.sim.set_command(values)

    def advance(self, seconds: float) -> None:
        """Let time pass: a multiple of 0.005 s."""
        self.sim.advance(seconds)

    def truth(self) -> Truth:
        """The true state."""
        return self.sim.truth()

    def close(self) -> None:
        """Free PyBullet's clients."""
        if self._sim is not None:
            self._sim.close()
            self._sim = None

    def _joints(self, now: float) -> JointsIn:
        names, positions, velocities = self.sim.joint_states()
        return JointsIn(now, now, names, positions.tolist(), velocities.tolist())

    def _contact(self, now: float) -> ContactIn:
        return ContactIn(now, now, self.sim.contact())

    def _wrench(self, now: float) -> WrenchIn:
        return WrenchIn(now, now, self.sim.wrench()[:3].tolist())


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
