# SPDX-License-Identifier: Apache-2.0
"""What every simulator in PyBullet does: own a client, begin from an empty world, move time on a grid, end.

Time is the simulator's own. Everything is a function of the seeds that an episode was given and of the calls made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

import numpy as np

from .engine import pybullet as p
from .errors import SimError

S = TypeVar("S", bound="Simulator")
DT = 0.005  # s: commands, physics and sensors move on this grid


class HasTime(Protocol):
    """What changes outside PyBullet."""

    step: int  # of DT since the reset


def streams(seed: int, names: Iterable[str]) -> dict[str, np.random.Generator]:
    """A generator of its own for each name, so that drawing more from one changes none of the others."""
    return {name: np.random.default_rng([seed, i]) for i, name in enumerate(names)}


class Simulator:
    """One physical world in one client; a subclass sets ``camera``, builds what is in it, and moves it.

    Raises:
        SimError: too many simulations are open in this process.
    """

    camera: Any  # makes the pictures; has ``close()``
    _s: Any  # see HasTime

    def __init__(self) -> None:
        self._client = p.connect(p.DIRECT)
        if self._client < 0:
            raise SimError("PyBullet gave no client: too many simulations are open in this process")

    def _empty(self, iterations: int, **engine: Any) -> None:
        """Make the world anew: PyBullet is only reproducible from an empty one.

        Args:
            iterations: of the solver in a step. engine: further parameters of the physics.
        """
        p.resetSimulation(physicsClientId=self._client)
        p.setPhysicsEngineParameter(
            numSolverIterations=iterations, deterministicOverlappingPairs=1, physicsClientId=self._client, **engine
        )

    def close(self) -> None:
        """Free PyBullet's clients. The object is of no use afterwards; closing twice is harmless."""
        if self._client >= 0:
            p.disconnect(physicsClientId=self._client)
            self.camera.close()
            self._client = -1

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def time(self) -> float:
        """Simulated seconds since the reset."""
        return float(self._s.step * DT)


def finite(values: Any, size: int, told: str) -> np.ndarray:
    """A command (size,) as numbers.

    Raises:
        SimError: not so many finite numbers; ``told`` says what they are.
    """
    values = np.array(values, dtype=float).ravel()
    if values.shape != (size,) or not np.all(np.isfinite(values)):
        raise SimError(f"command: found {values}, expected {size} finite numbers ({told})")
    return values


def steps_of(duration: float) -> int:
    """Steps of the grid in ``duration`` s.

    Raises:
        SimError: not a multiple of the step.
    """
    steps = round(duration / DT)
    if steps < 0 or abs(steps * DT - duration) > 1e-6:
        raise SimError(f"advance: found {duration} s, expected a multiple of {DT} s")
    return steps
