# SPDX-License-Identifier: Apache-2.0
"""From the planner's action to the gate's command and back: the ONE place that knows what each body needs.

For a base, and for joints that are planned as they are commanded, a command is an action. An arm that is planned in
Cartesian space needs inverse kinematics above the gate, once a tick, and forward kinematics below it.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jepa_ros.agent.executed import ExecutedLog
from jepa_ros.contract import RobotContract

Vector = NDArray[np.float64]


class Body(Protocol):
    """From actions to commands, for one robot."""

    @property
    def every_tick(self) -> bool:
        """Whether an action becomes a new command at every tick of the gate, instead of one for its step."""
        ...

    def measured(self, name: str, value: Any) -> None:
        """Hear a measurement of the contract's state, as in :mod:`jepa_ros.safety.inputs`."""
        ...

    def gated(self, values: Vector) -> None:
        """Hear what the gate let through."""
        ...

    def command(self, action: Vector) -> Vector | None:
        """The command (J,) that an action (A,) is now; None if it is not known yet."""
        ...

    def log(self) -> ExecutedLog:
        """A new log of executed actions."""
        ...


class Direct:
    """A body whose commands are actions."""

    every_tick = False

    def __init__(self, contract: RobotContract) -> None:
        self._contract = contract

    def measured(self, name: str, value: Any) -> None:
        """Nothing depends on it."""

    def gated(self, values: Vector) -> None:
        """Nothing depends on it."""

    def command(self, action: Vector) -> Vector:
        """The action itself."""
        return action

    def log(self) -> ExecutedLog:
        """A log of what the gate let through."""
        return ExecutedLog(self._contract)


class Cartesian:
    """An arm that is planned by twists of its tip, see :class:`jepa_ros.arm.ArmBody`.

    Raises:
        ArmError: contract and URDF do not fit, or the extra [arm] is not installed.
    """

    every_tick = True

    def __init__(self, contract: RobotContract) -> None:
        from jepa_ros.arm import ArmBody

        self.arm = ArmBody(contract)
        self._at: Vector | None = None  # where the next command starts from
        self._sent = False  # the gate has sent set-points, from which the next ones go on

    def measured(self, name: str, value: Any) -> None:
        """Joint states. Rates always start from them; set-points only until the gate has sent one."""
        if name == "joint_states" and not (self._sent and self.arm.positions):
            self._at = self.arm.joints(value)

    def gated(self, values: Vector) -> None:
        """The set-points in force."""
        if self.arm.positions and self._at is not None:
            self._at, self._sent = np.asarray(values, dtype=np.float64), True

    def command(self, action: Vector) -> Vector | None:
        """Inverse kinematics from where the joints are."""
        return None if self._at is None else self.arm.command(action, self._at)

    def log(self) -> ExecutedLog:
        """A log of the twists that the gate's joint commands made."""
        from jepa_ros.arm import TipMotion

        return ExecutedLog(self.arm.contract, TipMotion(self.arm))


def body_of(contract: RobotContract) -> Body:
    """The body of a robot.

    Raises:
        ArmError: see :class:`Cartesian`.
    """
    return Cartesian(contract) if contract.kinematics.arm is not None else Direct(contract)


def executed_log(contract: RobotContract) -> ExecutedLog:
    """The log that the robot's kind of body needs."""
    return body_of(contract).log()
