# SPDX-License-Identifier: Apache-2.0
"""Going where a picture shows the robot: the start and goal pairs, and what counts as success.

The ONE definition of a pair and of success, for ``eval`` (in-process) and ``demo --episodes`` (through ROS) alike.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jepa_ros.contract import RobotContract
from jepa_ros.safety.guardrails import parse_guardrails

from .scene import SceneConfig
from .simulator import layout_of
from .tasks import blocked, sample_pair, shortest_path

#: Version of the protocol: what an episode is and what success means. A change of either changes the number.
PROTOCOL = 1
RADIUS = 0.10  # m, success
HOLD = 1.0  # s at the end of the episode for which the robot must be within RADIUS
HEADING = math.radians(20.0)
MIN_DISTANCE, MAX_DISTANCE = 0.4, 1.2  # m between start and goal
TIME_LIMIT = 20.0  # s
#: Evaluation seeds start here, training seeds count from 0: no layout is ever in both.
SEED_OFFSET = 1_000_000_007


#: What can be asked for, as changes to the simulator's scene. ``blocked`` is ``random`` with a blocked straight way.
SCENES: dict[str, dict[str, Any]] = {
    "fixed": {"layout": "fixed"},
    "random": {"layout": "random"},
    "blocked": {"layout": "random"},
    "dead_end": {"layout": "dead_end"},
    "maze": {"layout": "maze"},
    "slippery": {"layout": "random", "patches": 4},
    "moving": {"layout": "random", "n_obstacles": (1, 3), "person": "random"},
}
#: In these, only pairs whose straight way is obstructed are drawn.
OBSTRUCTED = ("blocked", "dead_end", "maze")


@dataclass(frozen=True)
class EpisodeSpec:
    """One task: everything that an episode follows from; ``scene`` are further fields of the simulator's scene."""

    number: int
    seed: int
    layout: str
    layout_seed: int
    randomise: bool
    start: tuple[float, float, float]
    goal: tuple[float, float, float]
    distance: float
    blocked: bool
    path: float
    scene: tuple[tuple[str, Any], ...] = ()

    @property
    def group(self) -> int:
        """Episodes of one layout share what stands about."""
        return self.layout_seed


def make_spec(number: int, seed: int, layout: str, randomise: bool) -> EpisodeSpec:
    """Draw pair ``number`` of the evaluation with ``seed``; a function of its arguments alone.

    Args:
        layout: of :data:`SCENES`; in those of :data:`OBSTRUCTED` the straight way is.
    """
    episode_seed = int(np.random.SeedSequence([SEED_OFFSET, seed, number]).generate_state(1)[0])
    rng = np.random.default_rng([SEED_OFFSET, seed, number, 1])
    config = SceneConfig(**SCENES[layout])
    for _ in range(1000):
        layout_seed = int(rng.integers(1, 2**31 - 1))
        scene = layout_of(config, layout_seed)
        pair = sample_pair(scene, rng, MIN_DISTANCE, MAX_DISTANCE)
        obstructed = blocked(pair, scene)
        if layout not in OBSTRUCTED or obstructed:
            break
    start, goal = ((float(x), float(y), float(yaw)) for x, y, yaw in pair)
    path = shortest_path(scene, start, goal)
    return EpisodeSpec(
        number,
        episode_seed,
        config.layout,
        layout_seed,
        randomise,
        start,
        goal,
        math.dist(start[:2], goal[:2]),
        bool(obstructed),
        float(path) if path is not None else math.nan,
        tuple((k, v) for k, v in SCENES[layout].items() if k != "layout"),
    )


@dataclass
class EpisodeScore:
    """What came of one episode, judged by the simulator's truth."""

    number: int
    blocked: bool
    distance: float
    success: bool
    ever: bool
    heading: bool
    contact: bool
    false_arrival: bool
    arrived: bool
    final_distance: float
    final_heading_error: float
    seconds_to_goal: float | None
    guardrail_violations: int | None
    stopped_share: float

    @property
    def clean(self) -> bool:
        """Success without touching anything on the way."""
        return self.success and not self.contact

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the JSON report."""
        return asdict(self)


class Scorer:
    """Follows an episode sample by sample and judges it at its end.

    Args:
        spec: the task. contract: its guardrails over places (keep_out, keep_in, workspace) are held against the true
            pose: how often the robot came to break one is counted, None where there is none.
    """

    def __init__(self, spec: EpisodeSpec, contract: RobotContract | None = None) -> None:
        self.spec = spec
        self.radius = 0.0 if contract is None else contract.footprint.radius
        rails = () if contract is None else parse_guardrails(list(contract.guardrails))
        self.rails = [rail for rail in rails if rail.kind in ("keep_out", "keep_in", "workspace")]
        self.broken: set[str] = set()
        self.samples: list[tuple[float, float, float, bool]] = []
        self.violations = 0
        self.contact = False
        self.stopped = 0

    def add(self, time: float, x: float, y: float, yaw: float, contact: bool, arrived: bool, stopped: bool) -> None:
        """One sample of the truth: time since the start [s], pose, touched since the last, what the planner says."""
        goal = self.spec.goal
        distance = math.hypot(x - goal[0], y - goal[1])
        error = abs(math.remainder(yaw - goal[2], math.tau))
        self.samples.append((time, distance, error, arrived))
        self.contact |= contact
        self.stopped += stopped
        broken = {rail.name for rail in self.rails if rail.clearance(x, y, self.radius) < 0.0}
        self.violations += len(broken - self.broken)
        self.broken = broken

    def held(self, seconds: float) -> bool:
        """Whether the robot has said that it arrived, and truly was within RADIUS, for so long and until now."""
        if not self.samples or self.samples[-1][0] < seconds:
            return False
        since = self.samples[-1][0] - seconds - 1e-6
        return all(distance <= RADIUS and arrived for time, distance, _, arrived in self.samples if time >= since)

    def score(self) -> EpisodeScore:
        """The verdict. Raises ValueError when nothing was sampled."""
        end, distance, error, arrived = self.samples[-1]
        last = [s for s in self.samples if s[0] >= end - HOLD - 1e-6]
        success = all(s[1] <= RADIUS for s in last)
        reached = next((s[0] for s in self.samples if s[1] <= RADIUS), None)
        return EpisodeScore(
            number=self.spec.number,
            blocked=self.spec.blocked,
            distance=self.spec.distance,
            success=success,
            ever=reached is not None,
            heading=success and all(s[2] <= HEADING for s in last),
            contact=self.contact,
            false_arrival=any(s[3] and s[1] > RADIUS for s in self.samples),
            arrived=arrived,
            final_distance=distance,
            final_heading_error=error,
            seconds_to_goal=reached,
            guardrail_violations=self.violations if self.rails else None,
            stopped_share=self.stopped / len(self.samples),
        )
