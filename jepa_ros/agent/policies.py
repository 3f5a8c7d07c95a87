# SPDX-License-Identifier: Apache-2.0
"""Further policies for the loop: a planner that is told the state, and chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jepa_ros.agent.planner_part import decide
from jepa_ros.contract import RobotContract
from jepa_ros.planning.planner import Planner
from jepa_ros.worlds.protocols import Decision, Observation


class StatePolicy:
    """The oracle's planner: its latents come from ``read()`` instead of from the picture.

    Args:
        planner: over a model whose latent is the state. read: returns the latent now.
    """

    encode_seconds = 0.0

    def __init__(self, planner: Planner, read: Callable[[], np.ndarray]) -> None:
        self.planner, self.read = planner, read

    def act(self, observation: Observation) -> Decision:
        """Plan from the state."""
        return decide(self.planner, self.read(), observation)


class RandomPolicy:
    """Commands drawn uniformly from the contract's range, each held for 1 to 8 steps.

    Args:
        contract: gives the range. rng: the source of all randomness.
        scale: of the range about standing still, 0 to 1.
    """

    encode_seconds = 0.0

    def __init__(self, contract: RobotContract, rng: np.random.Generator, scale: float = 1.0) -> None:
        still = np.clip(np.zeros(contract.action_dim), contract.action_low, contract.action_high)
        self.low, self.high = (still + scale * (b - still) for b in (contract.action_low, contract.action_high))
        self.rng = rng
        self.hold = 0
        self.command = np.zeros(contract.action_dim)

    def act(self, observation: Observation) -> Decision:
        """Return the command of this step."""
        if self.hold == 0:
            self.command = self.rng.uniform(self.low, self.high)
            self.hold = int(self.rng.integers(1, 9))
        self.hold -= 1
        return Decision(self.command)
