# SPDX-License-Identifier: Apache-2.0
"""Differential inverse kinematics: joint rates for a twist of the tip.

Damped least squares (Nakamura and Hanafusa, 1986): exact away from singularities, damped near them in proportion to how
near they are, so that rates stay bounded. Joints that come near an end slow down and stop there while the others take
over. Rates over a velocity limit are scaled together, which keeps the direction of the motion. What the twist leaves
free moves the joints towards their home posture.

An arm of fewer than six joints cannot hold the tip's attitude in every direction. There what is asked for comes first,
and what is held comes as near to home as the joints that are left allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pinocchio as pin
from scipy.linalg.lapack import dsyevd

from jepa_ros.arm.kinematics import ArmKinematics
from jepa_ros.arm.urdf import ArmError

#: Length that makes rad/s comparable with m/s [m]: about an arm's lever.
LEVER = 0.3
#: Below this smallest singular value [m] motion is damped, by at most DAMPING.
SINGULAR, DAMPING = 0.05, 0.08
#: A joint may cover the room left to its end in 1 / ENDING seconds, no faster [1/s].
ENDING = 4.0
#: Pull of the home posture on what the twist leaves free, and of the home pose on what the action leaves out [1/s].
HOMING, HOLDING = 0.5, 2.0
#: Both act in full from this speed of the tip on [m/s], and not at all on an arm that is asked to stand.
MOVING = 0.05


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
        held: indices into a twist (6,) that the caller never asks for: the tip is kept at the home pose in these, as
            far as the joints can.
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
        self._few = arm.size < 6
        self._asked = [row for row in range(6) if row not in self.held]

    def rates(self, q: np.ndarray, twist: np.ndarray) -> Motion:
        """Joint rates that move the tip by ``twist`` (6,) at joint positions ``q`` (n,)."""
        return self.rates_at(q, twist, *self.arm.pose_and_jacobian(q))

    def rates_at(
        self, q: np.ndarray, twist: np.ndarray, turn: np.ndarray, at: np.ndarray, jacobian: np.ndarray
    ) -> Motion:
        """:meth:`rates` where rotation, position and Jacobian of the tip are known already."""
        wanted = np.array(twist, dtype=float)
        wanted[self.held] = 0.0
        share = min(1.0, float(np.linalg.norm(self._weights * wanted)) / MOVING)
        if self.held:
            error = np.concatenate([self._at - at, pin.log3(self._turn @ turn.T)])
            wanted[self.held] = share * HOLDING * error[self.held]
        return self._rates(q, wanted, jacobian, self._asked, share)

    def _rates(
        self, q: np.ndarray, wanted: np.ndarray, jacobian: np.ndarray, first: Sequence[int], share: float = 1.0
    ) -> Motion:
        """Rates for a twist ``wanted`` (6,); of too few joints, the rows ``first`` of it come first."""
        fastest = np.minimum(self.velocity, ENDING * np.maximum(self.high - q, 0.0))
        slowest = np.maximum(-self.velocity, ENDING * np.minimum(self.low - q, 0.0))
        home = np.minimum(np.maximum(share * HOMING * (self.home - q), slowest), fastest)
        task, wanted, ahead = self._weights[:, None] * jacobian, self._weights * wanted, 0
        if self._few and 0 < len(first) < 6:
            order = [*first, *(row for row in range(6) if row not in first)]
            task, wanted, ahead = task[order], wanted[order], len(first)
        found, ends, damping = self._solve(task, wanted, home, slowest, fastest, ahead)
        over = float(np.max(np.abs(found) / self.velocity))
        scale = 1.0 / over if over > 1.0 else 1.0
        return Motion(found * scale, scale, tuple(self.arm.joints[i] for i in ends), damping)

    def posture(self, position: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
        """Joint positions (n,) that put the tip at ``position`` (3,) [m], turned as at home; of fewer than six joints,
        turned as nearly so as they can.

        Args:
            start: a posture to begin from; home by default.

        Raises:
            ArmError: it cannot be reached; the message names the joints that stand in the way.
        """
        q = self.home.copy() if start is None else np.asarray(start, dtype=float).copy()
        step, motion = 0.05, None
        for _ in range(400):
            turn, at, jacobian = self.arm.pose_and_jacobian(q)
            error = np.concatenate([np.asarray(position) - at, pin.log3(self._turn @ turn.T)])
            there = bool(np.linalg.norm(error[:3]) < 1e-5)
            if there and np.linalg.norm(error[3:]) < 1e-4:
                return q
            motion = self._rates(q, 8.0 * error, jacobian, (0, 1, 2))
            if there and self._few and np.abs(motion.rates).max() < 1e-3:  # it cannot be turned any nearer
                return q
            q = q + step * motion.rates
        ends = ", ".join(motion.ends) if motion is not None and motion.ends else "it lies beyond the arm's reach"
        raise ArmError(f"the tip cannot be put at {np.round(position, 3).tolist()} m: {ends}")

    def _solve(
        self, task: np.ndarray, wanted: np.ndarray, home: np.ndarray, slowest: np.ndarray, fastest: np.ndarray,
        ahead: int = 0,
    ) -> tuple[np.ndarray, list[int], float]:  # fmt: skip
        """Least squares in which a joint that would run into its end is fixed at what it may do, and the rest solved
        again. Velocity limits are not bounds here: the caller scales by them. ``ahead``: see :func:`_damped`."""
        found, damping = _damped(task, wanted, home, ahead)
        # Where a joint is far from its ends, its bound is the velocity limit.
        near_high, near_low = fastest < self.velocity, slowest > -self.velocity
        if not (near_high.any() or near_low.any()):
            return found, [], damping
        free = np.ones(len(home), bool)
        ends: list[int] = []
        while True:
            excess = np.where(near_high, found - fastest, -1.0)
            excess = np.where(free, np.maximum(excess, np.where(near_low, slowest - found, -1.0)), -1.0)
            i = int(np.argmax(excess))
            if excess[i] <= 1e-9:
                return found, ends, damping
            found[i] = min(max(found[i], slowest[i]), fastest[i])
            free[i] = False
            ends.append(i)
            if not free.any():
                return found, ends, damping
            found[free], more = _damped(task[:, free], wanted - task[:, ~free] @ found[~free], home[free], ahead)
            damping = max(damping, more)


def _damped(task: np.ndarray, wanted: np.ndarray, home: np.ndarray, ahead: int = 0) -> tuple[np.ndarray, float]:
    """Rates nearest to ``home`` among those that make ``wanted``, damped where a singular value is small.

    By the eigenvectors of task task^T, whose eigenvalues are the squares of the singular values: only the directions
    that are near singular are damped, the others are made in full.

    Args:
        ahead: so many of the first rows come before the others, which get what these leave free; 0: all are equal.
    """
    if ahead:
        rates, damping = _damped(task[:ahead], wanted[:ahead], home)
        free = np.linalg.svd(task[:ahead])[2][ahead:].T  # motions that the first rows do not feel, (n, n - ahead)
        if free.shape[1]:
            rest, _ = _damped(task[ahead:] @ free, wanted[ahead:] - task[ahead:] @ rates, np.zeros(free.shape[1]))
            rates = rates + free @ rest
        return rates, damping
    squares, left, _ = dsyevd(task @ task.T)
    rank = min(task.shape)  # fewer than six once joints are fixed: the other directions cannot be made at all
    squares, left = squares[-rank:], left[:, -rank:]
    smallest = float(np.sqrt(max(squares[0], 0.0)))
    if smallest >= SINGULAR:
        return home + task.T @ (left @ ((left.T @ (wanted - task @ home)) / squares)), 0.0
    damping = DAMPING * float(np.sqrt(1.0 - (smallest / SINGULAR) ** 2))
    squares = np.maximum(squares, 1e-9)
    softened = squares + np.where(squares < SINGULAR**2, damping**2, 0.0)
    # The pull of home must not move the tip, so that its share in the task is taken out undamped.
    made = (left.T @ wanted) / softened - (left.T @ (task @ home)) / squares
    return home + task.T @ (left @ made), damping
