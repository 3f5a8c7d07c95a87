# SPDX-License-Identifier: Apache-2.0
"""What the tasks at the table share: the plain data of an episode, how data is gathered, and a judge of a distance.

A task says where things begin and where they are wanted; success judges the thing that is wanted, at the end of the
episode and for HOLD seconds, by the simulator's truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.worlds import Observation, Policy, Sample, Wanted

from ..play import Play
from ..scene import TableConfig, Thing
from ..simulator import TableSim, Truth

if TYPE_CHECKING:
    from jepa_ros.planning.planner import PlannerConfig

    from ..world import TableScene

HOLD = 1.0  # s at the end of the episode for which the goal must be kept
CLOSE = 0.01  # m: what is kept so near is told beside success
#: Evaluation seeds start here, training seeds count from 0: no look is ever in both.
SEED_OFFSET = 1_000_000_007


@dataclass(frozen=True)
class TableSpec:
    """One episode: everything that it follows from.

    ``tip`` is where the tip begins and ``wanted`` where the tip or a thing is to be [m]; ``things`` stand on the table
    besides ``distractors`` that are drawn. ``draws`` seeds the play of an outing.
    """

    number: int
    seed: int
    randomise: bool
    distractors: int
    tip: tuple[float, float, float]
    opening: float
    wanted: tuple[float, float, float] | None = None
    things: tuple[Thing, ...] = ()
    draws: tuple[int, ...] = ()

    @property
    def group(self) -> int:
        """Episodes of one group look alike: 0 where nothing is drawn, else each is its own."""
        return 1 + self.seed if self.randomise or self.distractors or self.things else 0

    @property
    def config(self) -> TableConfig:
        """The table of the episode."""
        return TableConfig(randomise=self.randomise, distractors=self.distractors)


class TableTask:
    """A task at the table; a subclass says what is asked for.

    Args:
        contract: of the arm. randomise: look and servos are drawn each episode. distractors: things that no task
            speaks of.
    """

    name = ""
    summary = ""
    radius = 0.02  # m, success
    seconds = 12.0  # s, time limit
    opening = 0.04  # m, of the gripper at the start
    references: tuple[str, ...] = ("oracle",)

    def __init__(self, contract: RobotContract, randomise: bool = False, distractors: int = 0) -> None:
        arm = contract.kinematics.arm
        assert arm is not None
        self.contract, self.randomise, self.distractors = contract, randomise, distractors
        self.low, self.high = np.array(arm.workspace)
        self.limit = round(self.seconds * contract.rate)

    # ---- what a task says --------------------------------------------------------------------------------------
    def begin(self, rng: np.random.Generator) -> dict[str, Any]:
        """``tip``, ``wanted`` and, where there are any, ``things`` of an episode that is not solved at its start."""
        raise NotImplementedError

    def goal(self, scene: TableScene, spec: TableSpec) -> Wanted:
        """What is wanted; ``scene`` was reset to ``spec``, and is as it was afterwards."""
        raise NotImplementedError

    def distance(self, truth: Truth, spec: TableSpec) -> float:
        """How far what is judged is from where it is wanted [m]."""
        raise NotImplementedError

    def reference(self, name: str, scene: TableScene, spec: TableSpec, config: PlannerConfig) -> Policy:
        """A policy that knows the truth."""
        raise NotImplementedError

    def where(self, truth: Truth) -> tuple[float, ...]:
        """The place of what is judged [m]; the tip's where a task says nothing else."""
        return truth.tip

    def target(self, spec: TableSpec) -> tuple[float, ...]:
        """Where it is wanted [m]."""
        assert spec.wanted is not None
        return spec.wanted

    # ---- what all of them do -----------------------------------------------------------------------------------
    def describe(self) -> dict[str, Any]:
        """What the report says of the task."""
        return {"randomise": self.randomise, "distractors": self.distractors, "radius_m": self.radius}

    def settings(self) -> dict[str, Any]:
        """What data follows from."""
        return {"source": "simulation", "randomise": self.randomise, "distractors": self.distractors}

    def draw(self, scene: TableScene, seed: int, number: int) -> TableSpec:
        """Episode ``number`` to be scored."""
        episode = int(np.random.SeedSequence([SEED_OFFSET, seed, number]).generate_state(1)[0])
        rng = np.random.default_rng([SEED_OFFSET, seed, number, 1])
        return TableSpec(number, episode, self.randomise, self.distractors, opening=self.opening, **self.begin(rng))

    def judge(self, scene: TableScene, spec: TableSpec) -> TableJudge:
        """A judge of the episode that begins."""
        return TableJudge(self, spec, scene.truth())

    def planner(self, config: PlannerConfig) -> PlannerConfig:
        """As they are: the contract says how near the tip has arrived."""
        return config

    def outing(self, seed: int, number: int, attempt: int = 0) -> TableSpec:
        """Episode ``number`` of a collection; none ends too soon."""
        episode = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        rng = np.random.default_rng([seed, number, 1])
        tip = tuple(rng.uniform(self.low, self.high).tolist())
        opening = float(rng.uniform(0.0, 0.04))
        return TableSpec(
            number, episode, self.randomise, self.distractors, tip, opening, draws=(seed, number, 2)  # type: ignore[arg-type]
        )  # fmt: skip

    def explore(self, scene: TableScene, spec: TableSpec) -> Policy:
        """Play that keeps the workspace."""
        return Play(scene.sim.body, np.random.default_rng(spec.draws))

    def place(self, rng: np.random.Generator, margin: float = 0.02) -> np.ndarray:
        """A place of the tip (3,) [m], ``margin`` inside its workspace."""
        return rng.uniform(self.low + margin, self.high - margin)


class TableJudge:
    """Follows an episode sample by sample and judges it at its end.

    Args:
        task: whose ``distance`` and ``radius`` count. spec: of the episode. truth: at its start.
    """

    def __init__(self, task: TableTask, spec: TableSpec, truth: Truth) -> None:
        self.task, self.spec = task, spec
        self.begun = task.distance(truth, spec)
        self.samples: list[tuple[float, float, bool, bool]] = []  # time, distance, arrived, stopped
        self._touches, self.contact = truth.contact_steps, False

    def add(self, sample: Sample) -> None:
        """One sample, after each control step."""
        truth: Truth = sample.truth
        self.contact |= truth.contact_steps > self._touches
        self.samples.append((sample.time, self.task.distance(truth, self.spec), sample.arrived, sample.stopped))

    def held(self, seconds: float) -> bool:
        """Whether the planner has said that it arrived, and truly was there, for so long and until now."""
        if not self.samples or self.samples[-1][0] < seconds:
            return False
        since = self.samples[-1][0] - seconds - 1e-6
        return all(d <= self.task.radius and arrived for time, d, arrived, _ in self.samples if time >= since)

    def score(self) -> dict[str, Any]:
        """The verdict. ``held_distance`` is the largest of the last HOLD seconds: success and ``close`` judge it.

        Raises:
            ValueError: nothing was sampled.
        """
        if not self.samples:
            raise ValueError("nothing was sampled")
        end, distance, arrived, _ = self.samples[-1]
        radius = self.task.radius
        held = max(s[1] for s in self.samples if s[0] >= end - HOLD - 1e-6)
        reached = next((s[0] for s in self.samples if s[1] <= radius), None)
        return {
            "number": self.spec.number,
            "distance": self.begun,
            "success": held <= radius,
            "close": held <= CLOSE,
            "ever": reached is not None,
            "contact": self.contact,
            "false_arrival": any(s[2] and s[1] > radius for s in self.samples),
            "arrived": arrived,
            "final_distance": distance,
            "held_distance": held,
            "seconds_to_goal": reached,
            "stopped_share": sum(s[3] for s in self.samples) / len(self.samples),
        }


def picture_of(sim: TableSim, camera: str, image: np.ndarray, readouts: Mapping[str, np.ndarray]) -> Wanted:
    """A goal that is given by a picture alone: nothing says what the body would feel there."""
    return Wanted(Observation(sim.time, {camera: image}), dict(readouts))
