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
#: How far set-points may lie ahead of the joints [rad or m], besides what a joint covers at its fastest in the
#: contract's latency and LATE seconds more. An arm that its driver holds (a protective stop) is not run away from.
AHEAD, LATE = 0.1, 0.1


class Acting:
    """An arm, see :class:`jepa_ros.arm.ArmBody`.

    Raises:
        ArmError: contract and URDF do not fit, or the extra [arm] is not installed.
    """

    every_tick = True

    def __init__(self, contract: RobotContract) -> None:
        self.arm = ArmBody(contract)
        self._at: Vector | None = None  # where the next command starts from
        self._measured: Vector | None = None
        self._lag = AHEAD + (contract.actuation_latency + LATE) * contract.limits.velocity
        self._sent = False  # the gate has sent set-points, from which the next ones go on
        self._stands = True  # they do not move

    def measured(self, name: str, value: Any) -> None:
        """Joint states. Rates always start from them; set-points only until the gate has sent one."""
        if name != "joint_states":
            return
        self._measured = self.arm.joints(value)
        if not (self._sent and self.arm.positions):
            self._at = self._measured

    def gated(self, values: Vector) -> None:
        """The set-points in force."""
        if self.arm.positions and self._at is not None:
            self._stands = bool(np.array_equal(values, self._at))
            self._at, self._sent = np.asarray(values, dtype=np.float64), True

    def command(self, action: Vector) -> Vector | None:
        """Inverse kinematics from where the joints are. Set-points that have left them behind come back to them."""
        if self._at is None or self._measured is None:
            return None
        at = np.clip(self._at, self._measured - self._lag, self._measured + self._lag)
        return self.arm.command(action, at, self._stands)

    def motion(self) -> TipMotion:
        """The twists that the gate's joint commands make."""
        return TipMotion(self.arm)
