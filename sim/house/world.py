# SPDX-License-Identifier: Apache-2.0
"""Houses as a world: the scene and its tasks behind the protocols of :mod:`jepa_ros.worlds`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.safety.inputs import ContactIn, OdomIn, ScanIn
from jepa_ros.worlds import Observation, WorldError

from .simulator import HouseSim, Truth
from .tasks import TASKS, Go, HouseSpec

RATES = {"odom": 25.0, "contact": 20.0, "scan": 10.0}  # Hz
OUTINGS = {"wander": "drives about in houses that are drawn"}


class HouseScene:
    """A base in a house; see :class:`.simulator.HouseSim`.

    Args:
        contract: of the base.
    """

    over = False  # nothing that happens in a house ends an episode

    def __init__(self, contract: RobotContract) -> None:
        self.contract = contract
        self.camera = contract.cameras[0].name
        self.rates: Mapping[str, float] = {name: rate for name, rate in RATES.items() if name in contract.state}
        self._sim: HouseSim | None = None
        self._read = {"odom": self._odom, "contact": self._contact, "scan": self._scan}

    @property
    def sim(self) -> HouseSim:
        """The simulator of the episode.

        Raises:
            WorldError: the scene was not reset yet, or it is closed.
        """
        if self._sim is None:
            raise WorldError("the house has no episode: reset it first")
        return self._sim

    @property
    def time(self) -> float:
        """Seconds since the reset."""
        return self.sim.time

    def reset(self, spec: HouseSpec) -> None:
        """Begin the episode of a spec."""
        if self._sim is None or spec.config != self._sim.config:
            self.close()
            self._sim = HouseSim(self.contract, spec.config)
        self._sim.reset(spec.seed, spec.house, spec.start, spec.closed)

    def observe(self, names: Collection[str] | None = None) -> Observation:
        """What the camera sees and the sensors measure now."""
        wanted = (self.camera, *self.rates) if names is None else names
        now = self.time
        images = {self.camera: self.sim.image()} if self.camera in wanted else {}
        return Observation(now, images, {name: self._read[name](now) for name in wanted if name in self._read})

    def command(self, values: np.ndarray) -> None:
        """Command (v m/s, w rad/s) for the base."""
        self.sim.set_command(values)

    def advance(self, seconds: float) -> None:
        """Let time pass: a multiple of the physics step of 0.005 s."""
        self.sim.advance(seconds)

    def truth(self) -> Truth:
        """The true state."""
        return self.sim.truth()

    def close(self) -> None:
        """Free PyBullet's clients."""
        if self._sim is not None:
            self._sim.close()
            self._sim = None

    def _odom(self, now: float) -> OdomIn:
        x, y, yaw, v, w = self.sim.odom()
        return OdomIn(now, now, x, y, yaw, (v, w), self.contract.frames.odom)

    def _contact(self, now: float) -> ContactIn:
        return ContactIn(now, now, self.sim.contact())

    def _scan(self, now: float) -> ScanIn:
        s = self.sim.scan()
        return ScanIn(now, now, s.angle_min, s.angle_increment, s.ranges, s.range_min, s.range_max,
                      self.contract.frames.base)  # fmt: skip


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
