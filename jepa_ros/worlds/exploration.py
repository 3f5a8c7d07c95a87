# SPDX-License-Identifier: Apache-2.0
"""Exploratory driving: commands that cover the arena and the range of motions, with a back-up reflex on contact."""

from __future__ import annotations

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.worlds.protocols import Decision, Observation


class Exploration:
    """Random motions, each held for 1 to 8 steps, biased forward.

    Without the reflex a random driver spends nearly half of its time pushing against something: after a contact the
    robot backs away from it (against the last motion) and turns. A part of the motions is slow, a part is standing
    still, since a goal has to be approached and held as well.

    Args:
        contract: gives the range of the actions.
        rng: the source of all randomness.
    """

    def __init__(self, contract: RobotContract, rng: np.random.Generator) -> None:
        self.low, self.high = contract.action_low, contract.action_high
        self.rng = rng
        self.hold = 0
        self.reflex = 0
        self.command = np.zeros(contract.action_dim)

    def act(self, observation: Observation) -> Decision:
        """Return the command of this step."""
        if observation.touched and self.reflex == 0:
            away = -np.sign(self.command[0]) if self.command[0] else -1.0
            self.command = self._draw()
            self.command[0] = away * self.rng.uniform(0.4, 1.0) * self.high[0]
            self.reflex = self.hold = int(self.rng.integers(2, 5))
        elif self.hold == 0:
            self.command = self._draw()
            self.hold = int(self.rng.integers(1, 9))
        self.hold -= 1
        self.reflex = max(0, self.reflex - 1)
        return Decision(self.command.copy())

    def _draw(self) -> np.ndarray:
        kind = self.rng.random()
        if kind < 0.06:
            return np.zeros_like(self.low)
        command = self.rng.uniform(self.low, self.high)
        if self.rng.random() < 0.6:
            command[0] = abs(command[0])  # forward-biased
        if len(command) > 1:
            if kind < 0.30:
                command[1:] *= 0.25  # nearly straight, to get about
                command[0] = np.sign(command[0]) * self.rng.uniform(0.5, 1.0) * self.high[0]
            elif kind < 0.42:
                command[0] *= 0.1  # turn on the spot
        if self.rng.random() < 0.2:
            command *= self.rng.uniform(0.1, 0.5)
        return command
