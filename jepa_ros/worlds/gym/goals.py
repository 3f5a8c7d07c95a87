# SPDX-License-Identifier: Apache-2.0
"""Goals in a Gymnasium environment; the model and its latents have no part in them.

``rollouts``: a goal is a picture of a state that a random rollout from the same start reached. A rollout that the
environment itself calls a success is preferred. ``resets``: a goal is where an episode of another seed begins, however
far that is. ``given``: the environment supplies it, as its ``reset`` was asked to (a picture in ``info``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jepa_ros.agent.policies import RandomPolicy
from jepa_ros.worlds.gym.environment import GymError, flat, read_state
from jepa_ros.worlds.gym.scene import SEED_OFFSET, Beginning, GymScene
from jepa_ros.worlds.gym.states import Measure, rollout

GOAL_STEPS = (10, 40)  # of the random rollout that a goal is drawn from
STAY = 10  # steps that a rollout stays at a goal which can be held
TRIES = 10  # rollouts from one start until one shows the environment's own success, or a goal that can be held
STARTS = 20  # that are tried for a pair, until random rollouts lead away from one
KINDS = ("own", "hold", "reach")
GENTLER = 0.6  # factor on random actions after a rollout that ended at once
WAYS = ("rollouts", "resets", "given")
#: Where an environment's ``info`` after a reset may hold the goal's picture, and its state.
PICTURES, STATES = ("goal_rendered", "goal_image", "goal_pixels"), ("goal_state", "goal", "desired_goal")


@dataclass(frozen=True)
class Pair:
    """A task.

    Attributes:
        number, seed, options: how the episode begins. image, state: of the goal; state is None where only the
            environment knows. commands: that led there, where it was reached by a rollout.
        kind: what success means. ``own``: the environment calls the goal a success, and judges. ``hold``: the state
            can be held, and is to be at the end. ``reach``: a rollout passed through, as a swing does; the goal has to
            be met within as many steps as it took.
    """

    number: int
    seed: int
    image: np.ndarray
    state: np.ndarray | None
    commands: tuple[np.ndarray, ...]
    kind: str
    options: Mapping[str, Any] | None = None
    group = 0


def draw_pair(
    scene: GymScene, measure: Measure, number: int, seed: int, way: str = "rollouts",
    options: Mapping[str, Any] | None = None,
) -> Pair:  # fmt: skip
    """Draw pair ``number``, a function of its arguments alone; what is solved at the start is not taken.

    Args:
        way: of :data:`WAYS`. options: of the environment's ``reset``.

    Raises:
        GymError: no goal away from any start, or the environment gives none.
    """
    for start in range(STARTS):
        draw = [SEED_OFFSET, seed, number, *([start] if start else [])]
        begin = Beginning(number, int(np.random.SeedSequence(draw).generate_state(1)[0] % 2**31), options)
        if way == "given":
            return _given(scene, begin)
        pair = _pair_from(scene, measure, begin, draw) if way == "rollouts" else _elsewhere(scene, measure, begin, draw)
        if pair is not None:
            return pair
    what = f"{TRIES} random rollouts each led" if way == "rollouts" else f"{TRIES} other beginnings each were"
    raise GymError(
        f"--env {scene.env.id}: from {STARTS} starts, {what} nowhere farther than twice the "
        f"tolerance of {measure.tolerance:g}, or ended within {GOAL_STEPS[0]} steps: lower --tolerance or "
        "--action-repeat"
    )


def _given(scene: GymScene, begin: Beginning) -> Pair:
    """The goal that the environment supplies with its reset."""
    env = scene.env
    scene.reset(begin)
    info = env.info
    picture = next((info[key] for key in PICTURES if info.get(key) is not None), None)
    if picture is None:
        raise GymError(
            f"--env {env.id}: --goals given: no picture of a goal in info after its reset (keys "
            f"{', '.join(PICTURES)}); found {', '.join(sorted(info)) or 'nothing'}: name what it needs by --env-reset"
        )
    seen: Any = env.observation
    told = dict(info) | (seen if isinstance(seen, dict) else {})
    state = next((flat(told[key]) for key in STATES if told.get(key) is not None), None)
    now = read_state(env)
    if state is not None and state.shape != now.shape:
        state = None  # said in other terms than the state: not to be compared
    env.step(np.clip(np.zeros(env.contract.action_dim), env.contract.action_low, env.contract.action_high))
    judges = env.success is not None  # many environments say so with their steps alone
    if not judges and state is None:
        raise GymError(
            f"--env {env.id}: --goals given: it says neither whether it succeeded (success or is_success in info) nor "
            f"what state the goal is in (keys {', '.join(STATES)}, {len(now)} numbers)"
        )
    kind = "own" if judges else "hold"
    return Pair(begin.number, begin.seed, env.picture(picture), state, (), kind, begin.options)


def _elsewhere(scene: GymScene, measure: Measure, begin: Beginning, draw: list[int]) -> Pair | None:
    """A goal where another episode begins; None where all begin near this one."""
    scene.reset(begin)
    start = read_state(scene.env)
    for attempt in range(TRIES):
        other = int(np.random.default_rng([*draw, attempt, 11]).integers(2**31))
        scene.reset(replace(begin, seed=other))
        state = read_state(scene.env)
        if measure.distance(start, state) > 2.0 * measure.tolerance:
            return Pair(begin.number, begin.seed, scene.env.image(), state, (), "hold", begin.options)
    return None


def _pair_from(scene: GymScene, measure: Measure, begin: Beginning, draw: list[int]) -> Pair | None:
    """The best pair that random rollouts from a beginning show; None where they show none."""
    found: dict[str, list[np.ndarray]] = {}
    scale, env = 1.0, scene.env
    for attempt in range(TRIES):
        rng = np.random.default_rng([*draw, attempt])
        scene.reset(begin)
        states, commands, succeeded = [read_state(env)], list[np.ndarray](), bool(env.success)
        driver = RandomPolicy(scene.contract, rng, scale)
        for record in rollout(scene, driver, GOAL_STEPS[1] + STAY, look=False):
            commands.append(np.asarray(record.decision.command))
            states.append(read_state(env))
            if env.success:
                break
        far = [measure.distance(states[0], s) > 2.0 * measure.tolerance for s in states]
        if env.success and far[-1] and not succeeded:
            found["own"] = commands
            break
        if env.done and len(commands) <= GOAL_STEPS[0]:
            scale *= GENTLER  # it fell over at once
        steps = [t for t in range(GOAL_STEPS[0], min(len(states), GOAL_STEPS[1] + 1)) if far[t]]
        holds = [
            t for t in steps
            if t + STAY < len(states)
            and all(measure.distance(states[t], s) <= measure.tolerance for s in states[t + 1 : t + STAY + 1])
        ]  # fmt: skip
        for kind, choice in (("hold", holds), ("reach", steps)):
            if choice and kind not in found:
                found[kind] = commands[: int(rng.choice(choice))]
        if "hold" in found and env.success is None:
            break  # nothing better to look for
    for kind in KINDS:
        if kind in found:
            scene.reset(begin)
            for command in found[kind]:
                env.step(command)
            return Pair(begin.number, begin.seed, env.image(), read_state(env), tuple(found[kind]), kind, begin.options)
    return None
