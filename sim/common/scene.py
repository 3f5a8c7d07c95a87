# SPDX-License-Identifier: Apache-2.0
"""A simulator as a :class:`~jepa_ros.worlds.protocols.Scene`, for worlds with one camera."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.worlds import Observation, WorldError

from .readings import READINGS
from .simulator import Simulator
from .view import View

Sim = TypeVar("Sim", bound=Simulator)


class SimScene(Generic[Sim]):
    """See the module. A subclass has ``what`` (its name in errors), ``sensors`` and ``reset(spec)``, which calls
    :meth:`open`.

    Args:
        contract: the robot's. sim: a simulator that was reset by hand, to be looked at as a scene.
    """

    what: ClassVar[str]
    #: Hz at which each sensor measures, in the loop and behind topics alike; :data:`.readings.READINGS` knows them.
    sensors: ClassVar[Mapping[str, float]]
    over = False  # nothing that happens ends an episode

    def __init__(self, contract: RobotContract, sim: Sim | None = None) -> None:
        self.contract = contract
        self.camera = contract.cameras[0].name
        self.rates: Mapping[str, float] = {name: rate for name, rate in self.sensors.items() if name in contract.state}
        self._sim, self._config = sim, None

    def make(self, config: Any) -> Sim:
        """A simulator with these settings."""
        raise NotImplementedError

    def open(self, config: Any) -> Sim:
        """The simulator with these settings: another one only where they change."""
        if self._sim is None or config != self._config:
            self.close()
            self._sim, self._config = self.make(config), config
        return self._sim

    @property
    def sim(self) -> Sim:
        """The simulator of the episode.

        Raises:
            WorldError: the scene was not reset yet, or it is closed.
        """
        if self._sim is None:
            raise WorldError(f"the {self.what} has no episode: reset it first")
        return self._sim

    @property
    def time(self) -> float:
        """Seconds since the reset."""
        return self.sim.time

    def observe(self, names: Collection[str] | None = None) -> Observation:
        """The picture, and what the sensors measure now."""
        wanted = (self.camera, *self.rates) if names is None else names
        now, sim = self.time, self.sim
        images = {self.camera: sim.image()} if self.camera in wanted else {}
        felt = [name for name in wanted if name in self.sensors]
        return Observation(now, images, {name: READINGS[name](sim, now, self.contract.frames) for name in felt})

    def command(self, values: np.ndarray) -> None:
        """What the robot's driver would take."""
        self.sim.set_command(values)

    def advance(self, seconds: float) -> None:
        """Let time pass: a multiple of 0.005 s."""
        self.sim.advance(seconds)

    def truth(self) -> Any:
        """The true state."""
        return self.sim.truth()

    def close(self) -> None:
        """Free PyBullet's clients."""
        if self._sim is not None:
            self._sim.close()
            self._sim = self._config = None


class OutsideScene(SimScene[Sim]):
    """One whose camera looks at the robot from outside: it is known where places stand in the picture."""

    def view(self, camera: str) -> View:
        """Where places stand in the picture of the camera."""
        found: View = self.sim.camera.view
        return found

    @property
    def focal(self) -> float:
        """Of the camera [px]."""
        return float(self.view(self.camera).focal)
