# SPDX-License-Identifier: Apache-2.0
"""What one step of the gate gives back: the command that leaves, and why it is what it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np


class Mode(Enum):
    """The state of the gate (DISABLED and ESTOP need a person; STOPPED and ARMING clear by themselves)."""

    DISABLED = 0
    ARMING = 1
    ACTIVE = 2
    LIMITED = 3
    STOPPED = 4
    ESTOP = 5


#: Modes in which the gate lets through what is asked, whole or limited; and what its state calls them.
MOVING = (Mode.ACTIVE, Mode.LIMITED)
MOVING_NAMES = tuple(mode.name for mode in MOVING)


@dataclass(frozen=True, slots=True)
class Intervention:
    """One entry of the ring buffer: when the gate began to do something else than what was asked of it.

    Attributes:
        ros, steady: time [s]. requested: what was asked for, (A,) or None. given: what left, (A,).
    """

    ros: float
    steady: float
    mode: str
    reason: str
    sentence: str
    scale: float
    requested: tuple[float, ...] | None
    given: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class GateOutput:
    """The decision of one tick.

    Attributes:
        values: (A,) what leaves: always finite. Velocities, or joint positions.
        publish: whether it leaves at all; False in shadow mode and dry run, and for an arm not yet measured.
        decided: (A,) what would leave if ``publish`` were True (equal to ``values`` otherwise).
        mode: see Mode. level: 0 as asked, 1 intervening, 2 error (as in ``DiagnosticStatus``).
        reason: one word of :mod:`jepa_ros.safety.rows`, ``ok`` where nothing intervenes.
        reasons: every row that intervenes now, the gravest first.
        sentence: the reason for people.
        scale: share of the asked-for command that is given, 0..1.
        source: "planner", "teleop" or "none".
        hardware_estop: ask for power to be cut.
        image_age: age [s] of the image behind the command, None while none is followed.
        ages: {input: seconds since it was received}. counts: {row or counter: how often so far}.
        answers: {request: (granted, why)} to the requests of this tick.
        exit_complete: after a shutdown request: the stops were sent for long enough, the process may end.
    """

    values: np.ndarray
    publish: bool
    decided: np.ndarray
    mode: Mode
    level: int
    reason: str
    reasons: tuple[str, ...]
    sentence: str
    scale: float
    source: str
    hardware_estop: bool
    image_age: float | None
    ages: dict[str, float]
    counts: dict[str, int]
    answers: dict[str, tuple[bool, str]]
    exit_complete: bool
