# SPDX-License-Identifier: Apache-2.0
"""The settings of a search and of the planner, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jepa_ros.contract import RobotContract
from jepa_ros.cost.risk import Risk, check_level
from jepa_ros.cost.task import TaskWeights
from jepa_ros.planning.arrival import ArrivalConfig
from jepa_ros.planning.bodies import settings_for
from jepa_ros.planning.deliberate.settings import DeliberateConfig
from jepa_ros.planning.problem import SearchError
from jepa_ros.ranges import SHARE, Range

STOPS = ("cost", "solved")
METHODS = ("icem", "mppi", "random", "gradient")
_COUNT, _POSITIVE = Range(1, whole=True), Range(0.0)
#: What each number may be; what depends on another one is checked besides.
RANGES = {
    **dict.fromkeys(("horizon", "iterations", "elites", "noise_samples", "verify_samples", "patience"), _COUNT),
    "samples": Range(4, whole=True),
    "keep": Range(0, whole=True),
    "sigma": _POSITIVE, "sigma_floor": _POSITIVE,
    "ar": Range(0.0, 0.999), "momentum": Range(0.0, 0.999), "temperature": Range(1e-6),
    "learning_rate": Range(0.0, 10.0), "proposal_share": Range(0.0, 0.9), "converge_tol": SHARE, "sure": SHARE,
    "publish": Range(0), "threads": Range(0, 64),
    "deadline": Range(0.0, above=True, unit="s"),
}  # fmt: skip


@dataclass(frozen=True)
class SearchConfig:
    """How to search. Actions are in [-1, 1] here: the normalised units of the contract.

    Args:
        method: "icem" (Pinneri et al. 2020), "mppi" (Williams et al. 2017), "gradient" (elites refined by gradient
            through the model), "random" (shooting: the floor).
        horizon: steps of a plan. samples: candidates of one iteration. iterations: at most so many.
        elites: candidates that the distribution is fitted to. keep: elites carried into the next iteration.
        sigma: standard deviation of the noise at the start; sigma_floor: at the end.
        ar: correlation of the noise from one step to the next, AR(1), in [0, 1).
        momentum: share of the old mean and deviation kept at an update (iCEM).
        temperature: MPPI's, in standard deviations of the costs.
        learning_rate: step of the gradient refinement (Adam), normalised action units.
        proposal_share: share of the first iteration's candidates taken from a learned proposal, where there is one.
        noise_samples: futures drawn for each candidate; 1 is the most likely future (zero noise).
        risk: how the costs of the futures, and what knowledge asks to be kept, become one.
        verify_samples: fresh futures on which the best candidates must keep the guardrails (noise_samples > 1).
        publish: candidates shown with their costs.
        deadline: seconds for one plan, > 0.
        stop: the rule by which a search ends before its time is over: "cost" (see converge_tol) or "solved", when the
            best plan reaches the goal (:mod:`jepa_ros.planning.reached`) in a share ``sure`` of its futures.
        converge_tol: stop when the best cost and the elites' mean cost both improve by less than this share; 0 never
            stops early. patience: for so many iterations. See jepa_ros.planning.convergence.
        seed: of the candidates and the noise.
        backend, dtype, threads: see jepa_ros.planning.rollout.make_engine.
        weights: of the task cost.

    Raises:
        SearchError: a value out of range. RiskError: a level that noise_samples cannot resolve.
    """

    method: str = "icem"
    horizon: int = 10
    samples: int = 128
    iterations: int = 3
    elites: int = 16
    keep: int = 4
    sigma: float = 0.7
    sigma_floor: float = 0.03
    ar: float = 0.5
    momentum: float = 0.1
    temperature: float = 0.2
    learning_rate: float = 0.1
    proposal_share: float = 0.25
    noise_samples: int = 1
    risk: Risk = field(default_factory=Risk)
    verify_samples: int = 8
    publish: int = 8
    deadline: float = 0.1
    stop: str = "cost"
    sure: float = 0.75
    converge_tol: float = 0.0
    patience: int = 1
    seed: int = 0
    backend: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    weights: TaskWeights = field(default_factory=TaskWeights)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SearchError(f"search method {self.method!r}; expected one of {', '.join(METHODS)}")
        if self.stop not in STOPS:
            raise SearchError(f"search stop is {self.stop!r}; expected one of {', '.join(STOPS)}")
        for name, wanted in RANGES.items():
            if problem := wanted.problem(getattr(self, name)):
                raise SearchError(f"search {name}: {problem}")
        if self.elites > self.samples:
            raise SearchError(f"search elites is {self.elites}; expected at most samples = {self.samples}")
        if self.keep > self.elites:
            raise SearchError(f"search keep is {self.keep}; expected at most elites = {self.elites}")
        check_level(self.risk, self.noise_samples)


@dataclass(frozen=True)
class PlannerConfig:
    """Settings of the planner.

    Args:
        search: see SearchConfig. arrival: see ArrivalConfig. deliberate: see DeliberateConfig.
        max_gap: seconds without an image after which the history is forgotten.
        novel_goal: a goal picture of at least so much novelty is refused: the model cannot place it. 1 is the level at
            which a robot slows down; models without that readout refuse none.
        body: settings that only the robot's body has, see :func:`jepa_ros.planning.bodies.settings_for`; None for its
            room's defaults.
    """

    search: SearchConfig = field(default_factory=SearchConfig)
    arrival: ArrivalConfig = field(default_factory=ArrivalConfig)
    max_gap: float = 1.0
    deliberate: DeliberateConfig = field(default_factory=DeliberateConfig)
    novel_goal: float = 3.0
    body: Any = None

    @staticmethod
    def of(contract: RobotContract, search: SearchConfig | None = None, **body: Any) -> PlannerConfig:
        """The settings for a robot: it has arrived when its contract says so.

        Args:
            body: settings that only such bodies have.

        Raises:
            SearchError: the body has no such setting.
        """
        arrival, own = ArrivalConfig.of(contract), settings_for(contract, body)
        return PlannerConfig(search or SearchConfig(), arrival, body=own)

    def __post_init__(self) -> None:
        if problem := Range(0.0, above=True, unit="s").problem(self.max_gap):
            raise SearchError(f"planner max_gap: {problem}")
        if problem := Range(0.0, above=True).problem(self.novel_goal):
            raise SearchError(f"planner novel_goal: {problem}")
