# SPDX-License-Identifier: Apache-2.0
"""What is to be done in the rooms: going to where a goal picture shows the robot, from near to very far."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.worlds import Decision, Observation, Policy, Sample, Wanted

from .geodesic import geodesic
from .layout import MAZES, POCKETS, Layout, known_layout, two_rooms
from .scene import SPEED, Episode, RoomsScene

if TYPE_CHECKING:
    from jepa_ros.planning.planner import PlannerConfig

PROTOCOL = "rooms-1"  # changes with what an episode is or what success means
TOLERANCE = 0.2  # m: one step at full speed
HOLD = 5  # steps at the end of an episode that count
LIMIT, LONG = 100, 150  # steps of an episode: between rooms, and in a maze
LEAST = 0.8  # m from start to goal at least
LONGEST = 60  # steps of the longest way that is asked for, in a maze
OFFSET = 1_000_003  # no layout of an evaluation is one of a training
TASKS = {
    "far": "two rooms never seen before, the goal is in the other one",
    "near": "two rooms never seen before, the goal is in the same one",
    "maze": f"{MAZES} known mazes, ways of {LONGEST} steps at most, as many of each length",
    "dead_end": f"{POCKETS} known pockets of three walls, the goal is behind one of them",
}
OUTINGS = {"rooms": "two new rooms each episode", "maze": "known mazes and pockets"}


class Wander:
    """Velocities of any direction, each held for 1 to 8 steps; now and then the robot stands still."""

    def __init__(self, contract: RobotContract, rng: np.random.Generator) -> None:
        self.rng, self.left = rng, 0
        self.command = np.zeros(contract.action_dim)

    def act(self, observation: Observation) -> Decision:
        """The command of this step."""
        if self.left == 0:
            angle = self.rng.uniform(-np.pi, np.pi)
            speed = 0.0 if self.rng.random() < 0.05 else SPEED * self.rng.uniform(0.3, 1.0)
            self.command = speed * np.array([np.cos(angle), np.sin(angle)])
            self.left = int(self.rng.integers(1, 9))
        self.left -= 1
        return Decision(self.command.copy())


class Oracle:
    """Drives the shortest way, which it is told."""

    def __init__(self, scene: RoomsScene, spec: Episode) -> None:
        self.scene, self.goal, self.ways = scene, np.array(spec.goal), geodesic(spec.layout)

    def act(self, observation: Observation) -> Decision:
        """The command of this step."""
        truth = self.scene.truth()
        here = np.array([truth.x, truth.y])
        way = self.ways.towards(here, self.goal) - here
        return Decision(way / max(self.scene.contract.period, float(np.hypot(*way)) / SPEED))


class GoJudge:
    """Judges by where the robot truly is."""

    def __init__(self, scene: RoomsScene, spec: Episode) -> None:
        self.number, self.goal, self.group = spec.number, np.array(spec.goal), spec.group
        straight = float(np.hypot(*(self.goal - spec.start)))
        way = float(geodesic(spec.layout).ways(np.array([spec.start]), self.goal)[0])
        self.period = scene.contract.period
        self.task = {
            "straight": straight, "way": way, "difficulty": way / straight, "shortest_steps": way / SPEED / self.period,
        }  # fmt: skip
        self.gaps: list[float] = []
        self.said: list[bool] = []

    def add(self, sample: Sample) -> None:
        """One sample, after each control step."""
        self.gaps.append(float(np.hypot(sample.truth.x - self.goal[0], sample.truth.y - self.goal[1])))
        self.said.append(sample.arrived)

    def held(self, seconds: float) -> bool:
        """Whether the robot has said that it arrived, and truly was there, for so long and until now."""
        steps = max(1, round(seconds / self.period))
        last = list(zip(self.gaps, self.said))[-steps:]
        return len(last) == steps and all(said and gap <= TOLERANCE for gap, said in last)

    def score(self) -> dict[str, Any]:
        """The verdict, and how hard the task was."""
        near = [gap <= TOLERANCE for gap in self.gaps]
        first = self.said.index(True) if any(self.said) else None
        return {
            "number": self.number,
            "group": self.group,
            "success": len(near) >= HOLD and all(near[-HOLD:]),
            "ever": any(near),
            "false_arrival": first is not None and not near[first],
            "steps": near.index(True) + 1 if any(near) else None,
            "least_distance": min(self.gaps),
            "final_distance": self.gaps[-1],
            **self.task,
        }


class Go:
    """Going to where a goal picture shows the robot.

    Args:
        name: of TASKS or OUTINGS.
    """

    references = ("oracle",)

    def __init__(self, name: str, contract: RobotContract) -> None:
        self.name, self.contract = name, contract
        self.limit = LIMIT if name in ("far", "near") else LONG

    def describe(self) -> dict[str, Any]:
        """What success means."""
        return {"protocol": PROTOCOL, "success": f"within {TOLERANCE} m of the goal in each of the last {HOLD} steps"}

    def settings(self) -> dict[str, Any]:
        """What data follows from."""
        return {"source": "simulation", "layout": self.name, "protocol": PROTOCOL}

    def draw(self, scene: RoomsScene, seed: int, number: int) -> Episode:
        """Episode ``number``; start and goal are LEAST apart at least."""
        rng = np.random.default_rng([OFFSET, zlib.crc32(self.name.encode()), seed, number])
        if self.name in ("far", "near"):
            group = OFFSET + int(rng.integers(2**30))
            layout = two_rooms(group)
            start, goal = _apart(layout, rng, other_room=self.name == "far")
        else:
            group = number % (MAZES if self.name == "maze" else POCKETS)
            layout = known_layout(self.name, group)
            start, goal = _of_length(layout, rng) if self.name == "maze" else _behind(layout, rng)
        return Episode(number, int(rng.integers(2**31)), group, layout, start, goal)

    def goal(self, scene: RoomsScene, spec: Episode) -> Wanted:
        """The picture with the robot at the goal."""
        return Wanted(Observation(scene.time, {scene.camera.name: scene.picture(np.array(spec.goal))}))

    def judge(self, scene: RoomsScene, spec: Episode) -> GoJudge:
        """By the true place."""
        return GoJudge(scene, spec)

    def reference(self, name: str, scene: RoomsScene, spec: Episode, config: PlannerConfig) -> Policy:
        """The oracle."""
        return Oracle(scene, spec)

    def planner(self, config: PlannerConfig) -> PlannerConfig:
        """As they are."""
        return config

    def outing(self, seed: int, number: int, attempt: int = 0) -> Episode:
        """Episode ``number`` of a collection."""
        rng = np.random.default_rng([seed, number, attempt])
        known = self.name not in ("rooms", "far", "near")
        group = number % (MAZES + POCKETS) if known else int(rng.integers(1, OFFSET))
        kind = "maze" if group < MAZES else "dead_end"
        layout = known_layout(kind, group - (0 if kind == "maze" else MAZES)) if known else two_rooms(group)
        start = tuple(layout.free_point(rng).tolist())
        return Episode(number, int(rng.integers(2**31)), group, layout, (start[0], start[1]))

    def apart(self, scene: RoomsScene, seed: int, number: int) -> tuple[Observation, Observation, float, bool]:
        """Two pictures of one layout, the steps of the shortest way between them, and whether a wall is across."""
        spec = self.outing(seed, number)
        scene.reset(spec)
        rng = np.random.default_rng([spec.seed, 2])
        a, b = spec.layout.free_point(rng), spec.layout.free_point(rng)
        way = float(geodesic(spec.layout).ways(a[None], b)[0])
        seen = (Observation(0.0, {scene.camera.name: scene.picture(at)}) for at in (a, b))
        return *seen, way / (SPEED * self.contract.period), way > float(np.hypot(*(b - a))) + 1e-6  # type: ignore[return-value]

    def explore(self, scene: RoomsScene, spec: Episode) -> Policy:
        """Random driving."""
        return Wander(self.contract, np.random.default_rng([spec.seed, 1]))


Place = tuple[float, float]


def _apart(layout: Layout, rng: np.random.Generator, other_room: bool) -> tuple[Place, Place]:
    side = int(rng.choice([-1, 1]))
    while True:
        start, goal = layout.free_point(rng, side), layout.free_point(rng, -side if other_room else side)
        if np.hypot(*(goal - start)) >= LEAST:
            return _place(start), _place(goal)


def _of_length(layout: Layout, rng: np.random.Generator) -> tuple[Place, Place]:
    """A way of a length that is drawn evenly."""
    wanted, step = rng.uniform(LEAST / (SPEED * 0.2), LONGEST), SPEED * 0.2
    goal = layout.free_point(rng)
    starts = np.array([layout.free_point(rng) for _ in range(60)])
    ways = geodesic(layout).ways(starts, goal)
    apart = np.hypot(*(starts - goal).T) >= LEAST
    best = int(np.where(apart, np.abs(ways / step - wanted), np.inf).argmin())
    return _place(starts[best]), _place(goal)


def _behind(layout: Layout, rng: np.random.Generator) -> tuple[Place, Place]:
    """A start and a goal between which the way is at least half as long again as the straight line."""
    while True:
        start, goal = layout.free_point(rng), layout.free_point(rng)
        straight = float(np.hypot(*(goal - start)))
        if straight >= LEAST and geodesic(layout).ways(start[None], goal)[0] >= 1.5 * straight:
            return _place(start), _place(goal)


def _place(point: np.ndarray) -> Place:
    return float(point[0]), float(point[1])
