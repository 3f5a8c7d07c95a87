# SPDX-License-Identifier: Apache-2.0
"""Going to where a picture was taken: near by, or several rooms away. Houses that are scored are never learned from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.worlds import Observation, Policy, Sample, Wanted, WorldError

from ...common.errors import SimError
from ...common.ways import Ways
from ..draw import ROOMS
from ..plan import House
from ..simulator import ROBOT_RADIUS, HouseConfig, Truth, house_of
from ..wander import Wander
from .oracle import Driver
from .tour import Tour

if TYPE_CHECKING:
    from jepa_ros.planning.planner import PlannerConfig

    from ..world import HouseScene

HOLD = 1.0  # s at the end of the episode for which the goal must be kept
MOST_PEOPLE = 2  # who walk about where things are drawn
MARGIN = 0.08  # m from the robot's edge to the nearest thing at a start or a goal
#: Evaluation seeds start here, training seeds count from 0: no house and no look is ever in both.
SEED_OFFSET = 1_000_000_007


@dataclass(frozen=True)
class Kind:
    """A kind of goal.

    ``way``: least and most metres to it; ``doors``: at least so many on the way; ``radius`` [m] and ``heading`` [rad]:
    how near counts; ``seconds``: time limit.
    """

    summary: str
    way: tuple[float, float]
    doors: int
    radius: float
    heading: float
    seconds: float


TASKS: dict[str, Kind] = {
    "near": Kind("a goal 0.5 to 2 m away", (0.5, 2.0), 0, 0.25, math.radians(20.0), 40.0),
    "far": Kind("a goal three or more rooms away", (3.0, math.inf), 3, 0.5, math.pi, 180.0),
}


@dataclass(frozen=True)
class HouseSpec:
    """One episode: everything that it follows from; ``way`` is the length of the oracle's way to the goal [m]."""

    number: int
    seed: int
    house: int
    config: HouseConfig
    start: tuple[float, float, float]
    goal: tuple[float, float, float] | None = None
    way: float = math.nan
    closed: tuple[int, ...] = ()
    draws: tuple[int, ...] = ()

    @property
    def group(self) -> int:
        """Episodes of one house share what stands about."""
        return 1 + self.house


class Go:
    """Going to where the goal picture was taken.

    Args:
        name: of :data:`TASKS`, or of an outing. contract: of the base. randomise: light, motors and who walks about
            are drawn each episode. per_house: episodes of data in a row in one house.
    """

    references = ("oracle",)

    def __init__(self, name: str, contract: RobotContract, randomise: bool, per_house: int) -> None:
        self.name, self.contract, self.per_house = name, contract, per_house
        self.kind = TASKS.get(name, TASKS["near"])
        self.randomise = randomise
        self.limit = round(self.kind.seconds * contract.rate)

    def describe(self) -> dict[str, Any]:
        """What the report says of the task."""
        return {"randomise": self.randomise, "radius_m": self.kind.radius}

    def settings(self) -> dict[str, Any]:
        """What data follows from."""
        return {"source": "simulation", "randomise": self.randomise, "per_layout": self.per_house}

    def draw(self, scene: HouseScene, seed: int, number: int) -> HouseSpec:
        """Episode ``number`` to be scored.

        Raises:
            SimError: no such pair was found.
        """
        episode = int(np.random.SeedSequence([SEED_OFFSET, seed, number]).generate_state(1)[0])
        rng = np.random.default_rng([SEED_OFFSET, seed, number, 1])
        for _ in range(100):
            number_of_house = SEED_OFFSET + int(rng.integers(1, 2**31 - 1))
            house = house_of(number_of_house, ROOMS)
            found = self._pair(house, rng)
            if found is not None:
                start, goal, way = found
                return HouseSpec(number, episode, number_of_house, self._config(rng), start, goal, way)
        raise SimError(f"house: no start and goal found for task '{self.name}'")

    def _config(self, rng: np.random.Generator) -> HouseConfig:
        people = int(rng.integers(0, MOST_PEOPLE + 1)) if self.randomise else 0
        return HouseConfig(people=people, randomise=self.randomise)

    def _pair(
        self, house: House, rng: np.random.Generator
    ) -> tuple[tuple[float, float, float], tuple[float, float, float], float] | None:
        """Start, goal and the way between, or None where this house has none such."""
        ways = Ways(house, (0.0, 0.0, house.width, house.depth), ROBOT_RADIUS + 0.03)
        for _ in range(30):
            start = free_pose(house, rng)
            length = ways.to(start)
            goals = [free_pose(house, rng) for _ in range(30)]
            for goal in goals:
                way = math.inf if length is None else float(length(np.array(goal)))
                if not self.kind.way[0] <= way <= self.kind.way[1]:
                    continue
                rooms = house.room_of(*start[:2]), house.room_of(*goal[:2])
                if None in rooms:
                    continue
                doors = house.rooms_between(*rooms)  # type: ignore[arg-type]
                if doors is not None and doors >= self.kind.doors and self._on_the_way(house, start, goal):
                    return start, goal, way
        return None

    def _on_the_way(self, house: House, start: tuple[float, ...], goal: tuple[float, ...]) -> bool:
        """Goals near by are drawn along lines that are free for half of the way or more: in sight, or next to it."""
        if self.kind.doors > 0:
            return True
        line = np.linspace(start[:2], goal[:2], 20)
        return bool(house.free(line, 0.05).mean() > 0.5)

    def goal(self, scene: HouseScene, spec: HouseSpec) -> Wanted:
        """The picture from the goal."""
        assert spec.goal is not None
        image = scene.sim.image_at(spec.goal)
        return Wanted(Observation(scene.time, {scene.camera: image}))

    def judge(self, scene: HouseScene, spec: HouseSpec) -> GoJudge:
        """A judge of the episode that begins."""
        return GoJudge(self.kind, spec, scene.truth())

    def reference(self, name: str, scene: HouseScene, spec: HouseSpec, config: PlannerConfig) -> Policy:
        """The oracle: the shortest way, by the true map and place."""
        if name not in self.references:
            raise WorldError(f"task '{self.name}' has no policy '{name}'; it has {', '.join(self.references)}")
        assert spec.goal is not None
        return Driver(scene, spec.goal)

    def tour(self, scene: HouseScene, spec: HouseSpec) -> Tour:
        """Reset the scene to another place of the episode's house, from where somebody drives through all of it."""
        house = house_of(spec.house, ROOMS, spec.closed)
        start = free_pose(house, np.random.default_rng([spec.seed, 5]))
        scene.reset(replace(spec, seed=spec.seed + 1, start=start, goal=None))
        return Tour(scene)

    def planner(self, config: PlannerConfig) -> PlannerConfig:
        """As they are."""
        return config

    def outing(self, seed: int, number: int, attempt: int = 0) -> HouseSpec:
        """Episode ``number`` of a collection; none ends too soon."""
        episode = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        house = int(np.random.SeedSequence([seed, number // self.per_house, 2]).generate_state(1)[0]) % SEED_OFFSET
        rng = np.random.default_rng([seed, number, 1])
        start = free_pose(house_of(house, ROOMS), rng)
        return HouseSpec(number, episode, house, self._config(rng), start, draws=(seed, number, 3))

    def explore(self, scene: HouseScene, spec: HouseSpec) -> Policy:
        """Driving about, by what the lidar and the bumper tell."""
        return Wander(self.contract, np.random.default_rng(spec.draws), lambda: scene.observe(("scan",)).state["scan"])


class GoJudge:
    """Follows an episode sample by sample and judges it at its end, by the true pose.

    Args:
        kind: of goal. spec: of the episode. truth: at its start.
    """

    def __init__(self, kind: Kind, spec: HouseSpec, truth: Truth) -> None:
        assert spec.goal is not None
        self.kind, self.spec, self.goal = kind, spec, spec.goal
        self.samples: list[tuple[float, float, float, bool, bool]] = []  # time, distance, turn, arrived, stopped
        self._touches, self.contact = truth.contact_steps, False
        self._began, self._driven = truth.driven, 0.0

    def add(self, sample: Sample) -> None:
        """One sample, after each control step."""
        truth: Truth = sample.truth
        self.contact |= truth.contact_steps > self._touches
        distance = math.hypot(truth.x - self.goal[0], truth.y - self.goal[1])
        turn = abs(math.remainder(truth.yaw - self.goal[2], math.tau))
        self.samples.append((sample.time, distance, turn, sample.arrived, sample.stopped))
        if not self._there(self.samples[-1]):
            self._driven = truth.driven - self._began

    def _there(self, sample: tuple[float, float, float, bool, bool]) -> bool:
        return sample[1] <= self.kind.radius and sample[2] <= self.kind.heading

    def held(self, seconds: float) -> bool:
        """Whether the planner has said that it arrived, and truly was there, for so long and until now."""
        if not self.samples or self.samples[-1][0] < seconds:
            return False
        since = self.samples[-1][0] - seconds - 1e-6
        return all(self._there(s) and s[3] for s in self.samples if s[0] >= since)

    def score(self) -> dict[str, Any]:
        """The verdict; ``spl`` is success weighted by the oracle's way over the way that was driven.

        Raises:
            ValueError: nothing was sampled.
        """
        if not self.samples:
            raise ValueError("nothing was sampled")
        end, distance, turn, arrived, _ = self.samples[-1]
        success = all(self._there(s) for s in self.samples if s[0] >= end - HOLD - 1e-6)
        reached = next((s[0] for s in self.samples if self._there(s)), None)
        way = max(self.spec.way - self.kind.radius, 0.1)
        return {
            "number": self.spec.number,
            "distance": self.spec.way,
            "success": success,
            "ever": reached is not None,
            "spl": way / max(way, self._driven) if success else 0.0,
            "contact": self.contact,
            "false_arrival": any(s[3] and not self._there(s) for s in self.samples),
            "arrived": arrived,
            "final_distance": distance,
            "final_heading_error": turn,
            "seconds_to_goal": reached,
            "stopped_share": sum(s[4] for s in self.samples) / len(self.samples),
        }


def free_pose(house: House, rng: np.random.Generator) -> tuple[float, float, float]:
    """A pose in a room, with MARGIN m round the robot.

    Raises:
        SimError: none was found.
    """
    for _ in range(10_000):
        x, y = rng.uniform((0.0, 0.0), (house.width, house.depth))
        if house.free(np.array([x, y]), ROBOT_RADIUS + MARGIN):
            return float(x), float(y), float(rng.uniform(-np.pi, np.pi))
    raise SimError("house: no free place was found")
