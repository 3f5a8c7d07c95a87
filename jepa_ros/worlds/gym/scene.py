# SPDX-License-Identifier: Apache-2.0
"""A Gymnasium environment as a scene: one step of a policy is one or more of the environment's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.worlds.gym.environment import GymEnv, read_state
from jepa_ros.worlds.protocols import Observation

SEED_OFFSET = 1_000_000_007  # no episode of an evaluation is one of a training


@dataclass(frozen=True)
class Beginning:
    """How an episode begins: ``seed`` and ``options`` are what the environment's ``reset`` takes."""

    number: int
    seed: int
    options: Mapping[str, Any] | None = None
    group = 0


class GymScene:
    """An environment; there are no sensors but the camera, and no gate.

    Attributes:
        env: the environment. camera: the name of its pictures.
    """

    rates: Mapping[str, float] = {}

    def __init__(self, env: GymEnv) -> None:
        self.env = env
        self.contract: RobotContract = env.contract
        self.camera = env.contract.cameras[0].name
        self._command = np.zeros(env.contract.action_dim)
        self._steps = 0

    @property
    def time(self) -> float:
        """Seconds since the reset."""
        return self._steps * self.contract.period

    @property
    def over(self) -> bool:
        """The environment ended the episode."""
        return bool(self.env.done)

    def reset(self, spec: Any) -> None:
        """Begin an episode as a :class:`Beginning` or anything with its fields says."""
        self.env.reset(spec.seed, dict(spec.options) if spec.options else None)
        self._steps = 0

    def observe(self, names: Collection[str] | None = None) -> Observation:
        """The picture now."""
        wanted = names is None or self.camera in names
        return Observation(self.time, {self.camera: self.env.image()} if wanted else {})

    def command(self, values: np.ndarray) -> None:
        """Take the action (A,) of the next step."""
        self._command = np.asarray(values)

    def advance(self, seconds: float) -> None:
        """Run as many control steps as ``seconds`` holds."""
        for _ in range(round(seconds * self.contract.rate)):
            if self.env.done:
                return
            self.env.step(self._command)
            self._steps += 1

    def truth(self) -> dict[str, Any]:
        """The environment's state, as far as it tells, what it says of success, and the rewards so far."""
        return {"state": read_state(self.env), "success": self.env.success, "reward": self.env.total}

    def close(self) -> None:
        """Nothing to be done: a process makes its environment once."""
