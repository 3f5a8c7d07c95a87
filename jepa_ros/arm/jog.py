# SPDX-License-Identifier: Apache-2.0
"""Jogging an arm: a twist of the tip, or rates of single joints, as joint commands for the gate.

What is asked for holds for ``patience`` s. Then the jog says "stand still" for a while, and nothing after that.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jepa_ros.arm.body import ArmBody
from jepa_ros.arm.inverse import InverseKinematics
from jepa_ros.arm.urdf import ArmError
from jepa_ros.contract import RobotContract

#: An arm that does not follow holds the set-points back: they lie no further ahead of it than this [rad].
AHEAD = 0.1
#: "Stand still" is said for so long after the last thing that was asked for [s].
GOODBYE = 0.5


class Jog:
    """See the module.

    Args:
        contract: of an arm. patience: so long [s] does what was asked for last hold.

    Raises:
        ArmError: the contract is no arm's, or does not fit its URDF.
    """

    def __init__(self, contract: RobotContract, patience: float = 0.1) -> None:
        self._body = ArmBody(contract)
        body = self._body
        n = body.kinematics.size
        self._inverse = InverseKinematics(
            body.kinematics, body.inverse.low, body.inverse.high, body.inverse.velocity, body.home
        )
        self._contract, self.patience, self._n = contract, patience, n
        self._frames = {"": False, body.kinematics.base: False, body.kinematics.tip: True}
        self._asked: np.ndarray | None = None  # a twist (6,) along the base's axes or the tip's, or rates (J,)
        self._of_tip = self._twist = False
        self._until = -np.inf
        self._at: np.ndarray | None = None  # where the set-points have come to

    def twist(self, values: np.ndarray, frame: str, now: float) -> None:
        """Move the tip by a twist (6,) [m/s, rad/s] along the axes of ``frame``: the base's (or empty), or the tip's.

        Raises:
            ArmError: another frame, or a number that is not finite.
        """
        frame = frame.lstrip("/")
        if frame not in self._frames:
            known = " or ".join(f"'{name}'" for name in self._frames if name)
            raise ArmError(f"a twist in frame '{frame}': expected {known}")
        self._take(np.asarray(values, dtype=float), now)
        self._twist, self._of_tip = True, self._frames[frame]

    def joints(self, rates: Mapping[str, float], now: float) -> None:
        """Turn some joints at rates [rad/s, m/s]; the others stand.

        Raises:
            ArmError: a joint that the arm has not, or a number that is not finite.
        """
        strange = [name for name in rates if name not in self._body.names]
        if strange:
            raise ArmError(f"no joint '{strange[0]}'; the arm has {', '.join(self._body.names)}")
        self._take(np.array([float(rates.get(name, 0.0)) for name in self._body.names]), now)
        self._twist = False

    def _take(self, values: np.ndarray, now: float) -> None:
        if not np.isfinite(values).all():
            self._asked = None
            raise ArmError(f"holds a number that is not finite: {values.tolist()}")
        if now > self._until + GOODBYE:
            self._at = None  # begins where the arm is
        self._asked, self._until = values, now + self.patience

    def command(self, measured: np.ndarray, now: float) -> tuple[np.ndarray | None, bool]:
        """(the joint command (J,) of one tick, whether there is one): None with True says "stand still".

        Args:
            measured: joint positions (J,).
        """
        if self._asked is None or now > self._until:
            self._at = None
            return None, now <= self._until + GOODBYE
        body, limits = self._body, self._contract.limits
        if not body.positions:
            return self._rates(measured), True
        begins = self._at is None
        at = measured if self._at is None else np.clip(self._at, measured - AHEAD, measured + AHEAD)
        rates = self._rates(at)
        low, high = np.array(limits.position_low), np.array(limits.position_high)
        self._at = np.clip(at + rates * body.period, low, high)
        # As far ahead as the joints need to come to rest: the gate then moves them at these rates.
        return np.clip(at + rates * body.ahead(rates, begins), low, high), True

    def _rates(self, at: np.ndarray) -> np.ndarray:
        """Rates (J,) at joint positions (J,), none over its limit, all by one share."""
        assert self._asked is not None
        if not self._twist:
            over = float(np.max(np.abs(self._asked) / self._contract.limits.velocity))
            return self._asked / max(over, 1.0)
        q, rates = at[: self._n], np.zeros(len(at))
        turn, tip, jacobian = self._body.kinematics.pose_and_jacobian(q)
        twist = self._asked
        if self._of_tip:
            twist = np.concatenate([turn @ twist[:3], turn @ twist[3:]])
        rates[: self._n] = self._inverse.rates_at(q, twist, turn, tip, jacobian).rates
        return rates
