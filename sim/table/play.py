# SPDX-License-Identifier: Apache-2.0
"""Play: how an arm gathers data by itself. It needs its own joints and nothing else."""

from __future__ import annotations

import numpy as np

from jepa_ros.arm import ArmBody
from jepa_ros.worlds import Decision, Observation

LONGEST = 8  # control steps of one move
STANDS, NEAR, GRIPS = 0.1, 0.4, 0.3  # shares of the moves that stand still, go nearby, and move the gripper
NEARBY = 0.12  # m
WOBBLE = 0.03  # m/s, standard deviation of what is added to each step of a move


class Play:
    """Moves of the tip to random places of its workspace, fast and slow, near and far, with pauses.

    The tip turns back at the edge of the workspace, so that it never leans against it.

    Args:
        body: of the arm. rng: the source of all randomness.
    """

    def __init__(self, body: ArmBody, rng: np.random.Generator) -> None:
        self.body, self.rng = body, rng
        contract = body.contract
        names = [a.name for a in contract.action]
        self._rows = [names.index(f"tip.linear.{axis}") for axis in "xyz" if f"tip.linear.{axis}" in names]
        self._axes = ["xyz".index(names[row][-1]) for row in self._rows]
        self._grips = names.index("gripper") if "gripper" in names else None
        self._low, self._high, self._period = contract.action_low, contract.action_high, contract.period
        self._left = 0
        self._goal = np.zeros(3)
        self._speed = self._rate = 0.0

    def act(self, observation: Observation) -> Decision:
        """The command of this step."""
        tip = self.body.tip(self.body.joints(observation.state["joint_states"]))
        way = self._goal - tip
        if self._left == 0 or np.linalg.norm(way) < 0.01:
            self._next(tip)
            way = self._goal - tip
        self._left -= 1
        velocity = np.zeros(3)
        if self._speed > 0.0:
            length = max(float(np.linalg.norm(way)), 1e-6)
            velocity = way / length * min(self._speed, length / self._period)
            velocity += WOBBLE * self.rng.standard_normal(3)
        command = np.zeros(len(self._low))
        command[self._rows] = velocity[self._axes]
        if self._grips is not None:
            command[self._grips] = self._rate
        return Decision(np.clip(command, self._low, self._high))

    def _next(self, tip: np.ndarray) -> None:
        """Draw the next move."""
        rng, low, high = self.rng, self.body.low, self.body.high
        self._left = int(rng.integers(1, LONGEST + 1))
        self._goal = rng.uniform(low, high)
        if rng.random() < NEAR:
            self._goal = np.clip(tip + rng.uniform(-NEARBY, NEARBY, 3), low, high)
        fastest = float(np.min(self._high[self._rows])) * np.sqrt(len(self._rows))
        self._speed = 0.0 if rng.random() < STANDS else float(fastest * rng.uniform(0.1, 1.0))
        self._rate = 0.0
        if self._grips is not None and rng.random() < GRIPS:
            self._rate = float(rng.uniform(self._low[self._grips], self._high[self._grips]))
