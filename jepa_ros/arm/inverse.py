# SPDX-License-Identifier: Apache-2.0
"""Differential inverse kinematics: joint rates for a twist of the tip.

Damped least squares (Nakamura and Hanafusa, 1986): exact away from singularities, damped near them in proportion to how
near they are, so that rates stay bounded. Joints that come near an end slow down and stop there while the others take
over. Rates over a velocity limit are scaled together, which keeps the direction of the motion. What the twist leaves
free moves the joints towards their home posture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pinocchio as pin

from jepa_ros.arm.kinematics import ArmKinematics

#: Length that makes rad/s comparable with m/s [m]: about an arm's lever.
LEVER = 0.3
#: Below this smallest singular value [m] motion is damped, by at most DAMPING.
SINGULAR, DAMPING = 0.05, 0.08
#: A joint may cover the room left to its end in 1 / ENDING seconds, no faster [1/s].
ENDING = 4.0
#: Pull of the home posture on what the twist leaves free, and of the home pose on what the action leaves out [1/s].
HOMING, HOLDING = 0.5, 2.0


@dataclass(frozen=True)
class Motion:
    """Joint rates (n,) and what kept them from making the twist that was asked for.

    Attributes:
        rates: [rad/s or m/s]. scale: share of the asked speed that the velocity limits allow.
        ends: joints that stand at, or slow down before, an end of their range. damping: 0 away from singularities.
    """

    rates: np.ndarray
    scale: float
    ends: tuple[str, ...]
    damping: float


class InverseKinematics:
    """Differential inverse kinematics of one arm.

    Args:
        arm: its kinematics. low, high: joint range (n,) [rad]. velocity: joint velocity limits (n,).
        home: posture (n,) that free joints tend to.
        held: indices into a twist (6,) that the caller never asks for: the tip is kept at the home pose in these.
    """

    def __init__(
        self, arm: ArmKinematics, low: np.ndarray, high: np.ndarray, velocity: np.ndarray, home: np.ndarray,
        held: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self.arm, self.home = arm, np.asarray(home, dtype=float)
        self.low, self.high, self.velocity = (np.asarray(v, dtype=float) for v in (low, high, velocity))
        self.held = list(held)
        self._turn, self._at = arm.pose(self.home)
        self._weights = np.array([1.0, 1.0, 1.0, LEVER, LEVER, LEVER])

    def rates(self, q: np.ndarray, twist: np.ndarray) -> Motion:
        """Joint rates that move the tip by ``twist`` (6,) at joint positions ``q`` (n,)."""
        q, wanted = np.asarray(q, dtype=float), np.array(twist, dtype=float)
        jacobian = self.arm.jacobian(q)
        if self.held:
            turn, at = self.arm.pose(q)
            error = np.concatenate([self._at - at, pin.log3(self._turn @ turn.T)])
            wanted[self.held] = HOLDING * error[self.held]
        task, wanted = self._weights[:, None] * jacobian, self._weights * wanted
        fastest = np.minimum(self.velocity, ENDING * np.maximum(self.high - q, 0.0))
        slowest = np.maximum(-self.velocity, ENDING * np.minimum(self.low - q, 0.0))
        home = np.clip(HOMING * (self.home - q), slowest, fastest)
        found, ends, damping = self._solve(task, wanted, home, slowest, fastest)
        over = np.max(np.abs(found) / self.velocity)
        scale = 1.0 / over if over > 1.0 else 1.0
        return Motion(found * scale, scale, tuple(self.arm.joints[i] for i in ends), damping)

    def _solve(
        self, task: np.ndarray, wanted: np.ndarray, home: np.ndarray, slowest: np.ndarray, fastest: np.ndarray
    ) -> tuple[np.ndarray, list[int], float]:
        """Least squares in which a joint that would run into its end is fixed at what it may do, and the rest solved
        again. Velocity limits are not bounds here: the caller scales by them."""
        size = task.shape[1]
        found, free, ends, worst = np.zeros(size), list(range(size)), [], 0.0
        near_high, near_low = fastest < self.velocity, slowest > -self.velocity
        while free:
            rest = wanted - np.delete(task, free, axis=1) @ np.delete(found, free)
            values, damping = _damped(task[:, free], rest, home[free])
            found[free], worst = values, max(worst, damping)
            excess = np.maximum(np.where(near_high, found - fastest, -1.0), np.where(near_low, slowest - found, -1.0))
            i = max(free, key=excess.__getitem__)
            if excess[i] <= 1e-9:
                break
            found[i] = min(max(found[i], slowest[i]), fastest[i])
            free.remove(i)
            ends.append(i)
        return found, ends, worst


def _damped(task: np.ndarray, wanted: np.ndarray, home: np.ndarray) -> tuple[np.ndarray, float]:
    """Rates nearest to ``home`` among those that make ``wanted``, damped where a singular value is small."""
    left, values, right = np.linalg.svd(task, full_matrices=False)
    smallest = values[-1]
    damping = 0.0 if smallest >= SINGULAR else DAMPING * float(np.sqrt(1.0 - (smallest / SINGULAR) ** 2))
    # Only the directions that are near singular are damped; the others are made in full.
    weights = values / (values**2 + np.where(values < SINGULAR, damping, 0.0) ** 2 + 1e-12)
    rest = home - right.T @ (right @ home)
    return right.T @ (weights * (left.T @ wanted)) + rest, damping
