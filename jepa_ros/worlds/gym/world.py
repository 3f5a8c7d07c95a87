# SPDX-License-Identifier: Apache-2.0
"""A Gymnasium environment as a world: goal pictures to be reached, random driving to learn from, and no gate.

There is no gate between planner and environment: nothing can be broken, and there is no geometry to guard.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from jepa_ros.agent.policies import RandomPolicy
from jepa_ros.contract import RobotContract
from jepa_ros.worlds.gym.environment import GymEnv, GymError
from jepa_ros.worlds.gym.goals import GENTLER, KINDS, WAYS, Pair, draw_pair
from jepa_ros.worlds.gym.scene import Beginning, GymScene
from jepa_ros.worlds.gym.states import Measure, survey
from jepa_ros.worlds.protocols import Decision, Observation, Policy, Sample, Wanted, WorldError

if TYPE_CHECKING:
    from jepa_ros.planning.planner import PlannerConfig

PROTOCOL = "gymnasium-1"  # changes with what an episode is or what success means
SOURCE = "gymnasium"  # of a dataset
GENTLE = 0.4  # share of the episodes that are driven with smaller actions: a goal has to be approached and held as well
HOLD = 5  # steps at the end of an episode in which the state must be the goal's
LIMIT = 100  # steps, where the environment has no limit of its own
TOLERANCE = 0.15


@lru_cache(maxsize=2)
def open_env(env: str, args: str, repeat: int | None, own_limit: bool) -> GymEnv:
    """The environment of a process, made once; ``args`` is JSON."""
    return GymEnv(env, json.loads(args), repeat, own_limit)


@dataclass(frozen=True)
class Outing(Beginning):
    """An episode of random driving; ``draws``: what its generator is made from, ``attempt``: how gentle it is."""

    draws: tuple[int, ...] = ()
    attempt: int = 0


class ReplayPolicy:
    """The commands that led to the goal, the last one held: shows that a pair can be solved, and judged."""

    def __init__(self, commands: Sequence[np.ndarray]) -> None:
        self.commands = commands

    def act(self, observation: Observation) -> Decision:
        """The command of this step."""
        return Decision(self.commands[min(observation.step, len(self.commands) - 1)])


class GymJudge:
    """Judges by the environment's own word, or by how near its state comes to the goal's."""

    def __init__(self, measure: Measure, pair: Pair, start: dict[str, Any]) -> None:
        self.measure, self.pair = measure, pair
        self.distances = [self._distance(start)]
        self.own: list[bool | None] = []
        self.reward = 0.0

    def _distance(self, truth: dict[str, Any]) -> float:
        goal = self.pair.state
        return float("nan") if goal is None else self.measure.distance(truth["state"], goal)

    def add(self, sample: Sample) -> None:
        """One sample, after each control step."""
        self.distances.append(self._distance(sample.truth))
        self.own.append(sample.truth["success"])
        self.reward = float(sample.truth["reward"])

    def held(self, seconds: float) -> bool:
        """Never: an environment plays its episodes to their end."""
        return False

    def score(self) -> dict[str, Any]:
        """The verdict; ``part`` is the kind of the pair."""
        near = [d <= self.measure.tolerance for d in self.distances[1:]]
        last = self.own[-1]
        verdicts = {
            "own": bool(last), "hold": all(near[-HOLD:]), "reach": any(near[: len(self.pair.commands)]),
        }  # fmt: skip
        known = self.pair.state is not None
        return {
            "number": self.pair.number,
            "part": self.pair.kind,
            "success": verdicts[self.pair.kind],
            "ever": any(self.own) if self.pair.kind == "own" else any(near),
            "own_success": None if last is None else bool(last),
            "start_distance": self.distances[0] if known else None,
            "least_distance": min(self.distances[1:]) if known else None,
            "final_distance": self.distances[-1] if known else None,
            "steps": len(near),
            "total_reward": self.reward,
        }


class GymTask:
    """Reaching goal pictures.

    Args:
        world: the environment. options: ``tolerance`` (see Measure), ``limit`` (control steps), ``goals`` (see
            :mod:`.goals`) and ``env_reset`` (options of the environment's own reset).
    """

    name = "pictures"

    def __init__(self, world: GymWorld, contract: RobotContract, options: Mapping[str, Any]) -> None:
        self.world, self.contract = world, contract
        self.tolerance = float(options.get("tolerance", TOLERANCE))
        self.way = str(options.get("goals", WAYS[0]))
        if self.way not in WAYS:
            raise GymError(f"--goals {self.way}: expected one of {', '.join(WAYS)}")
        self.reset: dict[str, Any] | None = options.get("env_reset")
        self.references = ("replay",) if self.way == WAYS[0] else ()
        env = world.open()
        own = env.env.spec.max_episode_steps if env.env.spec else None
        self.limit = int(options.get("limit") or (-(-own // env.repeat) if own and own > 0 else LIMIT))
        self._measures: dict[int, Measure] = {}
        self._kinds: dict[str, int] = {}
        self._measure: Measure | None = None

    def describe(self) -> dict[str, Any]:
        """The environment, and what success means where pairs were drawn."""
        world = self.world
        said: dict[str, Any] = {
            "protocol": PROTOCOL, "goals": self.way,
            "env": {"id": world.env, "args": json.loads(world.args), "action_repeat": world.open().repeat},
        }  # fmt: skip
        return said | ({} if self._measure is None else {"success_means": self._meanings(self._measure)})

    def _meanings(self, measure: Measure) -> dict[str, str]:
        which = f"dimensions {list(measure.dims)}" if len(measure.dims) <= 12 else f"{len(measure.dims)} dimensions"
        near = (
            f"state within {measure.tolerance:g} of the goal's (RMS over {which} of the {measure.size} observed, those "
            "that a picture shows, in units of their spread under random actions)"
        )
        return {
            "own": "the environment's own, at the end",
            "hold": f"{near} in each of the last {HOLD} steps",
            "reach": f"{near} at a step no later than the random rollout took (these goals were passed, not held)",
        }

    def settings(self) -> dict[str, Any]:
        """What data follows from."""
        world = self.world
        return {"source": SOURCE, "env": world.env, "args": world.args, "repeat": world.open().repeat}

    def measure(self, scene: GymScene, seed: int) -> Measure:
        """How states are compared: found out by driving at random, once a process."""
        if seed not in self._measures:
            self._measures[seed] = survey(scene, seed, self.tolerance)
        self._measure = self._measures[seed]
        return self._measure

    def draw(self, scene: GymScene, seed: int, number: int) -> Pair:
        """Pair ``number``."""
        return draw_pair(scene, self.measure(scene, seed), number, seed, self.way, self.reset)

    def goal(self, scene: GymScene, spec: Pair) -> Wanted:
        """The picture that was drawn with the pair."""
        return Wanted(Observation(scene.time, {scene.camera: spec.image}))

    def judge(self, scene: GymScene, spec: Pair) -> GymJudge:
        """By the environment's word or state."""
        if self._measure is None:
            raise WorldError("a pair is judged by the measure that it was drawn with: draw one first")
        return GymJudge(self._measure, spec, scene.truth())

    def reference(self, name: str, scene: GymScene, spec: Pair, config: PlannerConfig) -> Policy:
        """The replay of the commands that made the goal."""
        return ReplayPolicy(spec.commands)

    def planner(self, config: PlannerConfig) -> PlannerConfig:
        """Never "arrived": a pendulum that is left alone falls. The planner goes on planning at the goal."""
        arrival = replace(config.arrival, confirm=10**9)
        return replace(config, arrival=arrival, max_gap=max(1.0, 3.0 * self.contract.period))

    def outing(self, seed: int, number: int, attempt: int = 0) -> Outing:
        """Episode ``number`` of a collection; after an attempt that ended too soon the actions are smaller."""
        draws = (seed, number, attempt)
        start = int(np.random.SeedSequence(list(draws)).generate_state(1)[0] % 2**31)
        return Outing(number, start, None, draws, attempt)

    def explore(self, scene: GymScene, spec: Outing) -> Policy:
        """Random actions, each held for 1 to 8 steps."""
        rng = np.random.default_rng(spec.draws)
        scale = rng.uniform(0.1, 1.0) if rng.random() < GENTLE else 1.0
        return RandomPolicy(self.contract, rng, scale * GENTLER**spec.attempt)


@dataclass(frozen=True)
class GymWorld:
    """The world of one environment.

    Attributes:
        env: its ID. args: its further arguments, as JSON. repeat: of its steps, for which an action is held (None: see
            :func:`~jepa_ros.worlds.gym.setup.usual_repeat`). own_limit: keep its time limit.
    """

    env: str
    args: str = "{}"
    repeat: int | None = None
    own_limit: bool = False

    name = "gymnasium"
    gated = False
    tasks = {GymTask.name: "goal pictures"}  # noqa: RUF012
    outings = {GymTask.name: "random actions"}  # noqa: RUF012
    score_task = data_task = GymTask.name
    options = ("tolerance", "limit", "goals", "env_reset")
    episodes = 400
    shortest = 16  # steps: shorter episodes are of no use to training
    model = ""

    def open(self) -> GymEnv:
        """The environment.

        Raises:
            GymError: it cannot be used.
        """
        return open_env(self.env, self.args, self.repeat, self.own_limit)

    def contract(self) -> RobotContract:
        """Made for the environment: no other's model fits."""
        return self.open().contract

    def scene(self, contract: RobotContract) -> GymScene:
        """The environment as a scene."""
        return GymScene(self.open())

    def task(self, name: str, contract: RobotContract, options: Mapping[str, Any]) -> GymTask:
        """Reaching goal pictures."""
        if name not in self.tasks:
            raise WorldError(f"an environment has no task '{name}'; expected {', '.join(self.tasks)}")
        return GymTask(self, contract, options)


__all__ = ["KINDS", "GymTask", "GymWorld"]
