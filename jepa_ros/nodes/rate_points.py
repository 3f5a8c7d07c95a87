# SPDX-License-Identifier: Apache-2.0
"""Joint rates as the trajectory that ROS 2's ``joint_trajectory_controller`` takes.

As it is set up by default it refuses points without positions and a last point that still moves. So rates go out as two
points: where the joint is at the next moment if it goes on like this, and where it stands if it then brakes. A
controller that hears nothing more brakes by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepa_ros.contract import RobotContract

#: The set-point leads what is measured by no more than the joint covers in so long [s] besides the latency: a joint
#: that is held back must not leap when it is let go.
LEAD = 0.2
#: A robot at rest [s] whose joints are measured further off than a fiftieth of a second's way was moved by somebody.
AT_REST, MOVED = 0.3, 0.02

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """Positions and velocities (A,) that are to be reached ``due`` [s] from now."""

    positions: Vector
    velocities: Vector
    due: float


class RatePoints:
    """Follows the rates that leave with a set-point, which is captured from the measured joints.

    Args:
        velocity, braking: limits (A,) of the joints. low, high: their range (A,), or None.
        tick: s between two calls. latency: s until the robot obeys.
    """

    def __init__(
        self, velocity: Vector, braking: Vector, low: Vector | None, high: Vector | None, tick: float, latency: float
    ) -> None:
        self._braking, self._low, self._high, self._tick = braking, low, high, tick
        self._due = max(latency, 2.0 * tick)
        self._lead, self._moved = velocity * (latency + LEAD), velocity * MOVED
        self._target: Vector | None = None
        self._still = 0.0
        self._before: Vector | None = None

    @staticmethod
    def of(contract: RobotContract) -> RatePoints:
        """Those of a robot."""
        limits = contract.limits
        return RatePoints(
            np.asarray(limits.velocity, np.float64), np.asarray(limits.braking, np.float64), limits.position_low,
            limits.position_high, 1.0 / contract.gate_rate, contract.actuation_latency,
        )  # fmt: skip

    def points(self, rates: Vector, measured: Vector | None, *, held: bool) -> list[Point]:
        """The trajectory of one tick; empty as long as no joint position is known.

        Args:
            rates: that leave (A,). measured: positions (A,), or None. held: the gate does not follow commands just now
                (disabled, latched, arming), and somebody may move the joints by hand.
        """
        if measured is not None:
            self._capture(rates, measured, held)
        if self._target is None:
            return []
        moves = bool(np.any(rates))
        target = self._target
        first = Point(self._within(target + rates * self._due, measured), rates, self._due if moves else self._tick)
        self._target = self._within(target + rates * self._tick, measured)
        if not moves:
            return [first]
        brake = max(float(np.max(np.abs(rates) / self._braking)), self._tick)
        end = self._within(first.positions + 0.5 * brake * rates, measured)
        return [first, Point(end, np.zeros_like(rates), first.due + brake)]

    def _capture(self, rates: Vector, measured: Vector, held: bool) -> None:
        """Where the set-point starts, and how far it may be from where the joints are."""
        before, self._before = self._before, measured
        at_rest = False
        if before is not None and not np.any(rates):
            at_rest = bool(np.all(np.abs(measured - before) <= self._moved * self._tick))
        self._still = self._still + self._tick if at_rest else 0.0
        target = measured if self._target is None else self._target
        if held and self._still > AT_REST and np.any(np.abs(measured - target) > self._moved):
            target = measured
        self._target = np.clip(target, measured - self._lead, measured + self._lead)

    def _within(self, positions: Vector, measured: Vector | None) -> Vector:
        """Positions inside the joints' range; a joint that stands outside of it is not moved in by this."""
        if self._low is None or self._high is None:
            return positions
        here = positions if measured is None else measured
        return np.clip(positions, np.minimum(self._low, here), np.maximum(self._high, here))
