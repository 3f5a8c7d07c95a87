# SPDX-License-Identifier: Apache-2.0
"""The *executed action*: the ONE definition, for loop, nodes, replay and datasets.

The executed action of a step is the time-weighted mean of the motion that the gate let through during the step. For a
base or for joints that motion is the command itself. For an arm that is planned in Cartesian space it is the twist of
the tip that the gated joint command makes; the body's :class:`Motion` computes it.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jepa_ros.agent.step_clock import CommandLog
from jepa_ros.contract import RobotContract

KEEP = 5.0  # seconds remembered, or two and a half steps if these are longer


class Motion(Protocol):
    """A gated command in terms of the planner's action. Each log has its own, so it may keep a state."""

    def measured(self, name: str, value: Any) -> None:
        """Hear a measurement of the contract's state, as in :mod:`jepa_ros.safety.inputs`."""
        ...

    def of(self, stamp: float, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """The action (A,) that a command makes, in force from ``stamp`` [s] on; None if it is not known."""
        ...


class ExecutedLog:
    """What the gate let through, as a function of time, in terms of the planner's action.

    Args:
        contract: the robot's. motion: see :class:`Motion`; None if a command is an action.
    """

    def __init__(self, contract: RobotContract, motion: Motion | None = None) -> None:
        self._motion = motion
        self._log = CommandLog(contract.action_dim, max(KEEP, 2.5 * contract.period))
        self.at, self.mean = self._log.at, self._log.mean

    def measured(self, name: str, value: Any) -> None:
        """Hear a measurement, for bodies whose motion depends on where they stand."""
        if self._motion is not None:
            self._motion.measured(name, value)

    def add(self, stamp: float, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Note a command as it left the gate, in force from ``stamp`` [s] on. Returns the action (A,) that it makes, or
        None if that is not known."""
        made = values if self._motion is None else self._motion.of(stamp, values)
        if made is not None:
            self._log.add(stamp, made)
        return made
