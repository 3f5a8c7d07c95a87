# SPDX-License-Identifier: Apache-2.0
"""How an arm that is planned by twists of its tip acts: see :class:`jepa_ros.agent.bodies.Body`.

Inverse kinematics runs above the gate, once a tick, and forward kinematics below it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa_ros.arm import ArmBody, TipMotion
from jepa_ros.contract import RobotContract

Vector = NDArray[np.float64]


class Acting:
    """An arm, see :class:`jepa_ros.arm.ArmBody`.

    Raises:
        ArmError: contract and URDF do not fit, or the extra [arm] is not installed.
    """

    every_tick = True

    def __init__(self, contract: RobotContract) -> None:
        self.arm = ArmBody(contract)
        self._at: Vector | None = None  # where the next command starts from
        self._sent = False  # the gate has sent set-points, from which the next ones go on
        self._stands = True  # they do not move

    def measured(self, name: str, value: Any) -> None:
        """Joint states. Rates always start from them; set-points only until the gate has sent one."""
        if name == "joint_states" and not (self._sent and self.arm.positions):
            self._at = self.arm.joints(value)

    def gated(self, values: Vector) -> None:
        """The set-points in force."""
        if self.arm.positions and self._at is not None:
            self._stands = bool(np.array_equal(values, self._at))
            self._at, self._sent = np.asarray(values, dtype=np.float64), True

    def command(self, action: Vector) -> Vector | None:
        """Inverse kinematics from where the joints are."""
        return None if self._at is None else self.arm.command(action, self._at, self._stands)

    def motion(self) -> TipMotion:
        """The twists that the gate's joint commands make."""
        return TipMotion(self.arm)
