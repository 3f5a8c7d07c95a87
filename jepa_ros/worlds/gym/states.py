# SPDX-License-Identifier: Apache-2.0
"""How near two states of a Gymnasium environment are, by what a picture shows; the model has no part in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from jepa_ros.agent.loop import Loop, StepRecord
from jepa_ros.agent.policies import RandomPolicy
from jepa_ros.worlds.gym.environment import GymError, grey, read_state
from jepa_ros.worlds.gym.scene import SEED_OFFSET, Beginning, GymScene
from jepa_ros.worlds.protocols import Policy

SURVEY = (24, 25)  # episodes and steps of the random rollouts that states are measured on
SHOWN = 0.5  # R2 from which on a picture is said to show a dimension of the state


def rollout(scene: GymScene, policy: Policy, steps: int, look: bool) -> Iterator[StepRecord]:
    """Run a policy from here for at most ``steps``; without ``look`` nothing is drawn, which is quicker."""
    loop = Loop(scene, policy, gated=False, look=look)
    for _ in range(steps):
        if scene.over:
            return
        yield loop.step()


def coarse(image: np.ndarray) -> np.ndarray:
    """The lowest frequencies of each colour of a picture (H, W, 3), (48,): small things move them evenly."""
    small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    return np.concatenate([cv2.dct(np.ascontiguousarray(small[..., c]))[:4, :4].ravel() for c in range(small.shape[2])])


@dataclass(frozen=True)
class Measure:
    """Distance between states: root mean square over ``dims``, each in units of its spread under random actions.

    Attributes:
        dims: dimensions of the state that change within episodes and that a picture shows. What no picture shows
            (velocities) is left out, since a goal picture cannot ask for it.
        scale: their standard deviations. tolerance: a state within it is the goal's. size: K, all dimensions.
    """

    dims: tuple[int, ...]
    scale: tuple[float, ...]
    tolerance: float
    size: int

    def distance(self, a: np.ndarray, b: np.ndarray) -> float:
        """Between two states (K,)."""
        index = list(self.dims)
        return float(np.sqrt(np.mean(((a[index] - b[index]) / np.array(self.scale)) ** 2)))


def survey(scene: GymScene, seed: int, tolerance: float) -> Measure:
    """Find out how states are compared, by driving at random.

    Raises:
        GymError: nothing in the observation changes, or its size does.
    """
    pictures, coarsely, states, episodes = [], [], [], []
    env = scene.env
    for number in range(SURVEY[0]):
        rng = np.random.default_rng([SEED_OFFSET, seed, number, 7])
        scene.reset(Beginning(number, int(rng.integers(2**31))))
        now = read_state(env)
        for record in rollout(scene, RandomPolicy(scene.contract, rng), SURVEY[1], look=True):
            seen = record.observation.images[scene.camera]
            pictures.append(grey(seen, 32))
            coarsely.append(coarse(seen))
            states.append(now)
            episodes.append(number)
            now = read_state(env)
    if len(sizes := {len(state) for state in states}) > 1:
        found = ", ".join(map(str, sorted(sizes)))
        raise GymError(f"--env {env.id}: its observation changes its size ({found} numbers)")
    x, s, e = np.array(pictures), np.array(states), np.array(episodes)
    with np.errstate(invalid="ignore"):  # a value may be infinite; such a dimension is left out
        within = np.sqrt(np.mean([s[e == n].var(axis=0) for n in np.unique(e)], axis=0))
        moving = np.flatnonzero((within > 1e-6 * (1.0 + np.abs(s).max(axis=0))) & np.isfinite(within))
    if not len(moving):
        raise GymError(f"--env {env.id}: nothing in its observation changes under random actions")
    told = (picture_shows(x, s[:, moving], e % 3 == 0), coarse_shows(np.array(coarsely), s[:, moving], e % 3 == 0))
    shown = moving[np.maximum(*told) >= SHOWN]
    dims = shown if len(shown) else moving
    return Measure(tuple(map(int, dims)), tuple(map(float, s[:, dims].std(axis=0))), tolerance, s.shape[1])


def picture_shows(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    """How well pictures tell a state: R2 (K,) of kernel ridge regression from x (N, P) to the columns of y (N, K).

    Args:
        test: (N,) bool, the frames that are judged; the others are fitted.
    """
    norm = (x**2).sum(axis=1)
    square = np.maximum(norm[:, None] + norm[None] - 2.0 * x @ x.T, 0.0)
    kernel = np.exp(-square / (0.5 * np.median(square) + 1e-12))
    fit = ~test
    target = (y - y[fit].mean(axis=0)) / (y.std(axis=0) + 1e-12)
    weights = np.linalg.solve(kernel[np.ix_(fit, fit)] + 1e-2 * np.eye(int(fit.sum())), target[fit])
    error = kernel[np.ix_(test, fit)] @ weights - target[test]
    return 1.0 - (error**2).mean(axis=0) / (target[test].var(axis=0) + 1e-12)


def coarse_shows(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The same of ridge regression from coarse pictures (N, P): where something small is, which few pictures share."""
    fit = ~test
    centred = x - x[fit].mean(axis=0)
    target = (y - y[fit].mean(axis=0)) / (y.std(axis=0) + 1e-12)
    square = centred[fit].T @ centred[fit]
    square += (1e-3 * np.trace(square) / len(square) + 1e-12) * np.eye(len(square))
    error = centred[test] @ np.linalg.solve(square, centred[fit].T @ target[fit]) - target[test]
    return 1.0 - (error**2).mean(axis=0) / (target[test].var(axis=0) + 1e-12)
