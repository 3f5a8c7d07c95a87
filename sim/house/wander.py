# SPDX-License-Identifier: Apache-2.0
"""How a rover gathers data by itself: it drives about, off what its lidar sees, and away from what it bumps into."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.safety.inputs import ScanIn
from jepa_ros.worlds import Decision, Observation

CLOSE, FREE, FAR = 0.36, 0.6, 0.7  # m from the lidar: no further ahead, a turn away ends, full speed
AHEAD = 0.5  # rad to each side that count as ahead
STANDS, TURNS = 0.03, 0.1  # shares of the moves that stand still, and that turn on the spot
LONGEST = 12  # control steps of one move


class Wander:
    """Moves of random speed and curvature; near an obstacle it turns towards where there is more room.

    Args:
        contract: gives the range of the actions. rng: the source of all randomness. scan: measures now.
    """

    def __init__(self, contract: RobotContract, rng: np.random.Generator, scan: Callable[[], ScanIn]) -> None:
        self._scan = scan
        self.low, self.high, self.rng = contract.action_low, contract.action_high, rng
        self._left = self._back = 0
        self._command = np.zeros(2)
        self._turn = 1.0
        self._blocked = False

    def act(self, observation: Observation) -> Decision:
        """The command of this step."""
        if observation.touched and self._back == 0:
            self._back, self._turn = int(self.rng.integers(2, 5)), float(self.rng.choice((-1.0, 1.0)))
        if self._back > 0:
            self._back -= 1
            return Decision(np.array([self.low[0], self._turn * 0.5 * self.high[1]]))
        if self._left == 0:
            self._next()
        self._left -= 1
        command = self._command.copy()
        ahead, left, right = self._room(self._scan())
        if command[0] > 0.0 and ahead < FAR:
            command[0] *= float(np.clip((ahead - CLOSE) / (FAR - CLOSE), 0.0, 1.0))
            if ahead < CLOSE + 0.1:
                if not self._blocked:  # one way round until it is free ahead: in a corner the roomier side changes
                    self._turn = 1.0 if left > right else -1.0
                self._blocked = True
        self._blocked = self._blocked and ahead < FREE
        if self._blocked:
            command = np.array([max(command[0], 0.0), self._turn * self.high[1] * 0.7])
        return Decision(command)

    def _next(self) -> None:
        """Draw the next move."""
        rng, kind = self.rng, self.rng.random()
        self._left = int(rng.integers(2, LONGEST + 1))
        speed = self.high[0] * rng.uniform(0.4, 1.0)
        if kind < STANDS:
            self._command = np.zeros(2)
            self._left = min(self._left, 3)
        elif kind < STANDS + TURNS:
            self._command = np.array([0.0, rng.choice((-1.0, 1.0)) * rng.uniform(0.3, 1.0) * self.high[1]])
        elif kind < 0.9:
            self._command = np.array([speed, rng.normal(0.0, 0.25) * self.high[1]])
        else:
            self._command = np.array([self.low[0] * rng.uniform(0.3, 1.0), rng.normal(0.0, 0.3) * self.high[1]])
        self._command = np.clip(self._command, self.low, self.high)

    @staticmethod
    def _room(scan: ScanIn) -> tuple[float, float, float]:
        """Metres free ahead, and on average to the left and to the right, by the lidar."""
        ranges = np.nan_to_num(np.asarray(scan.ranges), posinf=scan.range_max, neginf=scan.range_min)
        angles = scan.angle_min + scan.angle_increment * np.arange(len(ranges))
        angles = (angles + np.pi) % (2 * np.pi) - np.pi
        ahead = ranges[np.abs(angles) < AHEAD]
        left, right = ranges[(angles > 0) & (angles < 2.0)], ranges[(angles < 0) & (angles > -2.0)]
        return float(ahead.min()), float(left.mean()), float(right.mean())
