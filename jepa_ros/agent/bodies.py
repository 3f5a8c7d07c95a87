# SPDX-License-Identifier: Apache-2.0
"""From the planner's action to the gate's command and back, whatever the body.

For a base, and for joints that are planned as they are commanded, a command is an action. A body that acts otherwise
has a room that says how: its module ``acting``.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jepa_ros import body_rooms
from jepa_ros.agent.executed import ExecutedLog, Motion
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

    def motion(self) -> Motion | None:
        """What makes executed actions of what the gate let through; None where a command is an action."""
        ...


class Direct:
    """A body whose commands are actions."""

    every_tick = False

    def measured(self, name: str, value: Any) -> None:
        """Nothing depends on it."""

    def gated(self, values: Vector) -> None:
        """Nothing depends on it."""

    def command(self, action: Vector) -> Vector:
        """The action itself."""
        return action

    def motion(self) -> None:
        """A command is an action."""
        return None


def body_of(contract: RobotContract) -> Body:
    """The body of a robot.

    Raises:
        JepaRosError: its room cannot make it of this contract.
    """
    room = body_rooms.part(contract.kinematics.kind, "acting")
    body: Body = Direct() if room is None else room.Acting(contract)
    return body


def executed_log(contract: RobotContract) -> ExecutedLog:
    """The log that the robot's kind of body needs."""
    return ExecutedLog(contract, body_of(contract).motion())
