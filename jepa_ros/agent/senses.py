# SPDX-License-Identifier: Apache-2.0
"""What a model looks at as a step begins: of every camera and state that it takes, the newest at or before that time.

An image of the first camera that the model sees begins the step. Further cameras and measured states come at times of
their own; what is older than the contract allows is refused by name, so that no embedding mixes now with long ago.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jepa_ros.agent.recent import Recent
from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError


class SensesError(JepaRosError):
    """Something that the model takes was not seen or felt in time; the message names it."""


class Senses:
    """The recent past of the inputs beside the image that begins a step.

    Args:
        contract: says which cameras the model sees and which states it takes.

    Attributes:
        first: the camera whose images begin steps. cameras, states: {name: the oldest that it may be [s]} of the other
            inputs.
    """

    def __init__(self, contract: RobotContract) -> None:
        patience = contract.watchdog.image_timeout
        self.first = contract.step_camera
        self.cameras = {c.name: patience for c in contract.model_cameras[1:]}
        self.states = {s.name: contract.state[s.name].timeout for s in contract.model_state}
        self._kept: dict[str, Recent] = {}
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._kept = {name: Recent() for name in (*self.cameras, *self.states)}

    def take(self, name: str, stamp: float, value: Any) -> None:
        """Note a picture of a camera or a measurement of a state, of ``stamp`` [s]; others are passed over."""
        if name in self._kept:
            self._kept[name].take(stamp, value)

    def at(self, stamp: float) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Further pictures by camera and measurements by state, as of ``stamp`` [s].

        Raises:
            SensesError: one was not there yet, or is too old.
        """
        return (
            {name: self._newest(name, stamp, limit) for name, limit in self.cameras.items()},
            {name: self._newest(name, stamp, limit) for name, limit in self.states.items()},
        )

    def _newest(self, name: str, stamp: float, limit: float) -> Any:
        found = self._kept[name].newest(stamp)
        if found is None:
            raise SensesError(f"'{name}', which the model takes, was not heard before this image")
        age, value = found
        if age > limit:
            raise SensesError(f"'{name}', which the model takes, is {age:.2f} s old (limit {limit:g} s)")
        return value
