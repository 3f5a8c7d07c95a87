# SPDX-License-Identifier: Apache-2.0
"""Policies for the loop: the planner behind perception, the oracle, and random driving."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from jepa_ros.agent.loop import Decision, Observation
from jepa_ros.contract import RobotContract
from jepa_ros.perception import Perception
from jepa_ros.planning.planner import Planner


class PlannerPolicy:
    """Perception and planner, as the nodes run them.

    Attributes:
        encode_seconds: the last time perception took.
    """

    def __init__(self, perception: Perception, planner: Planner) -> None:
        self.perception, self.planner = perception, planner
        self.encode_seconds = 0.0

    def act(self, observation: Observation) -> Decision:
        """Encode the picture, plan, and pass the planner's output on as ``info``."""
        started = time.perf_counter()
        latent = self.perception.encode(observation.image)
        self.encode_seconds = time.perf_counter() - started
        output = self.planner.step(
            latent,
            observation.stamp,
            executed=observation.executed,
            gated=observation.gated,
            gate_reason=observation.gate_reason,
        )
        return Decision(output.command, output.signals, output)


class StatePolicy:
    """A planner whose latents come from ``read()`` instead of from the picture: the oracle's.

    Args:
        planner: over a model whose latent is the state. read: returns the latent now.
    """

    encode_seconds = 0.0

    def __init__(self, planner: Planner, read: Callable[[], np.ndarray]) -> None:
        self.planner, self.read = planner, read

    def act(self, observation: Observation) -> Decision:
        """Plan from the state."""
        output = self.planner.step(
            self.read(),
            observation.stamp,
            executed=observation.executed,
            gated=observation.gated,
            gate_reason=observation.gate_reason,
        )
        return Decision(output.command, output.signals, output)


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
