# SPDX-License-Identifier: Apache-2.0
"""The arena as a world: its scene, and the one task of going where a picture shows the robot (see :mod:`.reach`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.worlds import Observation, Policy, Sample, Wanted, WorldError

from ..common.scene import OutsideScene
from .reach import PROTOCOL, RADIUS, SCENES, TIME_LIMIT, EpisodeSpec, Scorer, make_spec
from .scene import SceneConfig
from .simulator import ArenaSim, Truth

if TYPE_CHECKING:
    from jepa_ros.planning.planner import PlannerConfig

#: Hz at which each sensor measures, in the loop and behind topics alike.
RATES = {"odom": 25.0, "pose": 10.0, "contact": 20.0, "scan": 10.0, "people": 10.0, "joint_states": 10.0}
#: Share of the episodes of the outing ``mixed`` that are in the fixed layout.
FIXED_SHARE = 0.2
OUTINGS = {
    "fixed": "the fixed layout",
    "random": "a new layout each episode",
    "mixed": f"a new layout each episode, but {FIXED_SHARE:.0%} of them in the fixed one",
}
TASKS = {
    "fixed": "the fixed layout",
    "random": "a new layout, of the generator that data is gathered with",
    "blocked": "the same, the straight way is blocked",
    "dead_end": "a dead end on the straight way",
    "maze": "a maze",
    "slippery": "slippery patches on the floor",
    "moving": "few obstacles and a person who walks about",
}


@dataclass(frozen=True)
class Outing:
    """An episode in which data is gathered; ``draws``: what the generator of the driving is made from."""

    number: int
    seed: int
    layout: str
    layout_seed: int
    randomise: bool
    draws: tuple[int, ...]
    start: None = None
    scene: tuple[tuple[str, Any], ...] = ()

    @property
    def group(self) -> int:
        """Episodes of one layout share what stands about."""
        return self.layout_seed


class ArenaScene(OutsideScene[ArenaSim]):
    """One arena.

    Attributes:
        gui: the next simulator shows PyBullet's window.
    """

    what = "arena"
    sensors = RATES
    gui = False

    def make(self, config: SceneConfig) -> ArenaSim:
        """An arena, reset by its own draw."""
        return ArenaSim(self.contract, config, self.gui)

    def reset(self, spec: EpisodeSpec | Outing) -> None:
        """Begin the episode of a spec."""
        sim = self.open(SceneConfig(layout=spec.layout, randomise=spec.randomise, **dict(spec.scene)))
        sim.reset(spec.seed, layout_seed=spec.layout_seed, start=spec.start)


class ReachJudge:
    """Judges by the simulator's truth, see :class:`.reach.Scorer`."""

    def __init__(self, scene: ArenaScene, spec: EpisodeSpec) -> None:
        self.scorer = Scorer(spec, scene.contract)
        self._touches = scene.truth().contact_steps

    def add(self, sample: Sample) -> None:
        """One sample, after each control step."""
        t = sample.truth
        touched = t.contact_steps > self._touches
        self._touches = t.contact_steps
        self.scorer.add(sample.time, t.x, t.y, t.yaw, touched, sample.arrived, sample.stopped)

    def held(self, seconds: float) -> bool:
        """Whether the robot has said that it arrived, and truly was there, for so long and until now."""
        return self.scorer.held(seconds)

    def score(self) -> dict[str, Any]:
        """The verdict."""
        score = self.scorer.score().to_dict()
        return {**score, "part": "blocked" if score["blocked"] else "free"}


class Reach:
    """Going to where a goal picture shows the robot.

    Args:
        name: the layout, of :data:`TASKS` or :data:`OUTINGS`.
        randomise: look and dynamics are drawn each episode; None: in those that are learned from.
        per_layout: episodes of data in a row that share a random layout, so that detours can be learned.
    """

    references = ("oracle",)
    radius = RADIUS

    def __init__(self, name: str, contract: RobotContract, randomise: bool | None, per_layout: int) -> None:
        self.name, self.contract, self.per_layout = name, contract, per_layout
        self.randomise = bool(randomise)
        self.varied = randomise is not False  # the same, of the episodes that are learned from
        self.limit = round(TIME_LIMIT * contract.rate)

    def describe(self) -> dict[str, Any]:
        """The layout, and whether looks are drawn."""
        return {"protocol": PROTOCOL, "layout": self.name, "randomise": self.randomise}

    def settings(self) -> dict[str, Any]:
        """What data follows from."""
        return {
            "source": "simulation", "layout": self.name, "randomise": self.varied, "per_layout": self.per_layout,
        }  # fmt: skip

    def draw(self, scene: ArenaScene, seed: int, number: int) -> EpisodeSpec:
        """Pair ``number``."""
        return make_spec(number, seed, self.name, self.randomise)

    def goal(self, scene: ArenaScene, spec: EpisodeSpec) -> Wanted:
        """The picture with the robot at the goal, and the goal's pose."""
        picture = scene.sim.image_at(spec.goal)
        return Wanted(Observation(scene.time, {scene.camera: picture}), {"pose": np.array(spec.goal)})

    def judge(self, scene: ArenaScene, spec: EpisodeSpec) -> ReachJudge:
        """By the true pose."""
        return ReachJudge(scene, spec)

    def reference(self, name: str, scene: ArenaScene, spec: EpisodeSpec, config: PlannerConfig) -> Policy:
        """The oracle: the same search, told the true state and the obstacles."""
        from .oracle import oracle_policy

        return oracle_policy(scene, spec.goal, config)

    def planner(self, config: PlannerConfig) -> PlannerConfig:
        """As they are."""
        return config

    def where(self, truth: Truth) -> tuple[float, float]:
        """The robot's place."""
        return truth.x, truth.y

    def target(self, spec: EpisodeSpec) -> tuple[float, float, float]:
        """Where the robot is wanted, and the yaw."""
        return spec.goal

    def outing(self, seed: int, number: int, attempt: int = 0) -> Outing:
        """Episode ``number`` of a collection; none ends too soon."""
        episode_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        rng = np.random.default_rng([seed, number // self.per_layout, 2])
        fixed = self.name == "fixed" or (self.name == "mixed" and rng.random() < FIXED_SHARE)
        layout_seed = 0 if fixed else int(rng.integers(1, 2**31 - 1))
        layout = "fixed" if fixed else "random"
        return Outing(number, episode_seed, layout, layout_seed, self.varied, (seed, number, 1))

    def explore(self, scene: ArenaScene, spec: Outing) -> Policy:
        """Random driving with a back-up reflex."""
        from jepa_ros.worlds.exploration import Exploration

        return Exploration(self.contract, np.random.default_rng(spec.draws))


class ArenaWorld:
    """The arena and its robot."""

    name = "arena"
    gated = True
    tasks: Mapping[str, str] = TASKS
    outings: Mapping[str, str] = OUTINGS
    score_task, data_task = "fixed", "mixed"
    options = ("randomise", "per_layout")
    bodies = ("diff_drive",)
    episodes, shortest = 1600, 1
    model = "arena"

    def contract(self) -> RobotContract:
        """The shipped one."""
        return load_contract("arena")

    def scene(self, contract: RobotContract) -> ArenaScene:
        """An arena for the robot of ``contract``."""
        return ArenaScene(contract)

    def task(self, name: str, contract: RobotContract, options: Mapping[str, Any]) -> Reach:
        """Going somewhere in the layout ``name``."""
        if name not in SCENES and name not in OUTINGS:
            raise WorldError(f"the arena has no task '{name}'; expected one of {', '.join({**TASKS, **OUTINGS})}")
        return Reach(name, contract, options.get("randomise"), int(options.get("per_layout", 1)))
