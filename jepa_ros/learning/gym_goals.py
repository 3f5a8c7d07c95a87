# SPDX-License-Identifier: Apache-2.0
"""Goals in a Gymnasium environment, and how near a state is to one; the model and its latents have no part in either.

A goal is a picture of a state that a random rollout from the same start reached. A rollout that the environment itself
calls a success is preferred; then that is what counts. Otherwise success is a distance between states (:class:`Judge`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from jepa_ros.learning.gym_env import GymEnv, GymError
from jepa_ros.learning.policies import RandomPolicy

SEED_OFFSET = 1_000_000_007  # no episode of an evaluation is one of a training
GOAL_STEPS = (10, 40)  # of the random rollout that a goal is drawn from
STAY = 10  # steps that a rollout stays at a goal which can be held
TRIES = 10  # rollouts from one start until one shows the environment's own success, or a goal that can be held
STARTS = 20  # that are tried for a pair, until random rollouts lead away from one
KINDS = ("own", "hold", "reach")
GENTLER = 0.6  # factor on random actions after a rollout that ended at once
SURVEY = (24, 25)  # episodes and steps of the random rollouts that states are measured on
SHOWN = 0.5  # R2 from which on a picture is said to show a dimension of the state


def read_state(env: GymEnv) -> np.ndarray:
    """The environment's state, (K,), as far as it tells.

    ``achieved_goal`` of its observation where there is one, otherwise the whole observation, flat. An observation that
    is a picture is taken as 16x16 grey values.
    """
    seen: Any = env.observation
    return _flat(seen["achieved_goal"] if isinstance(seen, dict) and "achieved_goal" in seen else seen)


def _flat(seen: Any) -> np.ndarray:
    """An observation as numbers (K,); what cannot be a number counts as one that never changes."""
    if isinstance(seen, dict):
        return _flat([seen[key] for key in sorted(seen)])
    if isinstance(seen, (list, tuple)):
        return np.concatenate([_flat(part) for part in seen] or [np.zeros(0)])
    array = np.asarray(seen)
    if array.ndim >= 2 and array.dtype == np.uint8:
        return grey(array, 16)
    return array.astype(np.float64).ravel() if array.dtype.kind in "biuf" else np.zeros(1)


def coarse(image: np.ndarray) -> np.ndarray:
    """The lowest frequencies of each colour of a picture (H, W, 3), (48,): small things move them evenly."""
    small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    return np.concatenate([cv2.dct(np.ascontiguousarray(small[..., c]))[:4, :4].ravel() for c in range(small.shape[2])])


def grey(image: np.ndarray, size: int) -> np.ndarray:
    """A picture (H, W) or (H, W, 3) as (size * size,) grey values from 0 to 1."""
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return (small if small.ndim == 2 else small.mean(axis=2)).ravel() / 255.0


@dataclass(frozen=True)
class Judge:
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


def survey(env: GymEnv, seed: int, tolerance: float) -> Judge:
    """Find out how states are compared, by driving at random.

    Raises:
        GymError: nothing in the observation changes, or its size does.
    """
    pictures, coarsely, states, episodes = [], [], [], []
    for number in range(SURVEY[0]):
        rng = np.random.default_rng([SEED_OFFSET, seed, number, 7])
        env.reset(int(rng.integers(2**31)))
        now = read_state(env)
        for seen, _, _ in env.drive(RandomPolicy(env.contract, rng), SURVEY[1]):
            pictures.append(grey(seen.image, 32))
            coarsely.append(coarse(seen.image))
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
        raise GymError(f"--env {env.contract.name}: nothing in its observation changes under random actions")
    told = (picture_shows(x, s[:, moving], e % 3 == 0), coarse_shows(np.array(coarsely), s[:, moving], e % 3 == 0))
    shown = moving[np.maximum(*told) >= SHOWN]
    dims = shown if len(shown) else moving
    return Judge(tuple(map(int, dims)), tuple(map(float, s[:, dims].std(axis=0))), tolerance, s.shape[1])


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


@dataclass(frozen=True)
class Pair:
    """A task.

    Attributes:
        seed: of the environment; it is the start. image, state: of the goal. commands: that led there.
        kind: what success means. ``own``: the environment calls the goal a success, and judges. ``hold``: the rollout
            stayed at the goal for a while, so it can be held. ``reach``: it passed through, as a swing does; the goal
            has to be met within as many steps as the rollout took.
    """

    seed: int
    image: np.ndarray
    state: np.ndarray
    commands: tuple[np.ndarray, ...]
    kind: str


def draw_pair(env: GymEnv, judge: Judge, number: int, seed: int) -> Pair:
    """Draw pair ``number``, a function of its arguments alone; what is solved at the start is not taken.

    Raises:
        GymError: random actions do not lead away from any start.
    """
    for start in range(STARTS):
        draw = [SEED_OFFSET, seed, number, *([start] if start else [])]
        pair = _pair_from(env, judge, int(np.random.SeedSequence(draw).generate_state(1)[0] % 2**31), draw)
        if pair is not None:
            return pair
    raise GymError(
        f"--env {env.id}: from {STARTS} starts, {TRIES} random rollouts each led nowhere farther than twice the "
        f"tolerance of {judge.tolerance:g}, or ended within {GOAL_STEPS[0]} steps: lower --tolerance or --action-repeat"
    )


def _pair_from(env: GymEnv, judge: Judge, start: int, draw: list[int]) -> Pair | None:
    """The best pair that random rollouts from the start with seed ``start`` show; None where they show none."""
    found: dict[str, list[np.ndarray]] = {}
    scale = 1.0
    for attempt in range(TRIES):
        rng = np.random.default_rng([*draw, attempt])
        env.reset(start)
        states, commands, succeeded = [read_state(env)], [], bool(env.success)
        for _, command, _ in env.drive(RandomPolicy(env.contract, rng, scale), GOAL_STEPS[1] + STAY, look=False):
            commands.append(command)
            states.append(read_state(env))
            if env.success:
                break
        far = [judge.distance(states[0], s) > 2.0 * judge.tolerance for s in states]
        if env.success and far[-1] and not succeeded:
            found["own"] = commands
            break
        if env.done and len(commands) <= GOAL_STEPS[0]:
            scale *= GENTLER  # it fell over at once
        steps = [t for t in range(GOAL_STEPS[0], min(len(states), GOAL_STEPS[1] + 1)) if far[t]]
        holds = [
            t for t in steps
            if t + STAY < len(states)
            and all(judge.distance(states[t], s) <= judge.tolerance for s in states[t + 1 : t + STAY + 1])
        ]  # fmt: skip
        for kind, choice in (("hold", holds), ("reach", steps)):
            if choice and kind not in found:
                found[kind] = commands[: int(rng.choice(choice))]
        if "hold" in found and env.success is None:
            break  # nothing better to look for
    for kind in KINDS:
        if kind in found:
            env.reset(start)
            for command in found[kind]:
                env.step(command)
            return Pair(start, env.image(), read_state(env), tuple(found[kind]), kind)
    return None
