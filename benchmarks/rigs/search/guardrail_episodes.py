# SPDX-License-Identifier: Apache-2.0
"""Episodes of `jepa-ros bench guardrails`: one task under several ways to heed a guardrail, judged by the true pose.

The gate's own region rows are out except where an arm says so, so that the planner's merit shows. Everything else of
the gate (limits, lidar, watchdogs) works in every arm.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.rigs.search.guardrail_tasks import Task, make_task
from jepa_ros.agent.loop import Loop
from jepa_ros.agent.planner_part import PlannerPart
from jepa_ros.contract import RobotContract
from jepa_ros.cost import Futures, Goal, Judge, Target
from jepa_ros.evaluation.episode import NO_DEADLINE
from jepa_ros.perception import Perception
from jepa_ros.planar.settings import PlanarConfig
from jepa_ros.planning import PlannerConfig, SearchConfig
from jepa_ros.planning.objective import Objective
from jepa_ros.planning.planner import Planner
from jepa_ros.safety import Gate, GateConfig
from jepa_ros.safety.guardrails import Guardrail, GuardrailSet
from jepa_ros.safety.schema import RiskLevel
from jepa_ros.world_model import load_checkpoint
from jepa_ros_sim.arena import ArenaSim, SceneConfig
from jepa_ros_sim.arena.reach import RADIUS, TIME_LIMIT, Scorer
from jepa_ros_sim.arena.world import ArenaScene

STAY = 2.0  # s at the goal after which an episode ends: so long it has held
#: Steps over which what a plan predicts is held against what came; later ones are planned anew before they come.
AHEAD = 3
#: m of room that is left to the region when it is set down before a robot that drives at it; the robot stops within
#: 0.08 m from full speed, and the gate keeps up to 0.03 m besides.
SUDDEN = (0.12, 0.25)
MOVING = 0.1  # m/s


@dataclass(frozen=True)
class Arm:
    """One way to heed the region.

    Args:
        planner: "none", "weighted" (its excess times ``weight`` is a cost, and nothing else), "routed" (that, and the
            planner's map of ways has the region closed), or "lexicographic" (what the planner does).
        weight: per metre. margin: PlanarConfig.region_margin. gate: its region rows work.
        sudden: the region is set, in planner and gate, when the robot drives at it already.
    """

    title: str
    planner: str = "none"
    weight: float = 0.0
    margin: float = 0.0
    gate: bool = False
    sudden: bool = False


class Penalty:
    """Guardrails as a cost term: the largest excess of a candidate, the same at every step."""

    name, unit = "guardrails", "m"

    def __init__(self, objective: WeightedObjective) -> None:
        self.objective = objective

    @property
    def weight(self) -> float:
        """Per metre."""
        return self.objective.weight

    def fits(self, goal: Target | None) -> bool:
        """Whatever the goal."""
        return True

    def __call__(self, futures: Futures, goal: Target) -> torch.Tensor:
        """(C, S, T)."""
        judge = Judge(self.objective.guard.constraints, goal, RiskLevel("mean"))
        return torch.from_numpy(judge(futures).violation).float()[:, None, None].expand(futures.shape)


class WeightedObjective(Objective):
    """Adds the guardrails' excess to the task cost, times a weight: what jepa_ros.cost.select does not do.

    The planner says nothing of it in its signals either: the gate would stop a plan that breaks a guardrail.
    """

    weight = 0.0
    routed = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.terms = [*self.terms, Penalty(self)]

    def set_guardrails(self, guardrails: Any) -> None:
        """As in Objective; the map of ways does not know of the region, unless it is ``routed``."""
        super().set_guardrails(guardrails)
        if not self.routed:
            for known in self.knowledge:
                known._closed = np.zeros(0)  # type: ignore[attr-defined]

    def constraints(self) -> list[Any]:
        """Guardrails refuse no plan."""
        return [constraint for known in self.knowledge for constraint in known.constraints()]


class RoutedObjective(WeightedObjective):
    """Weighs, and knows the ways round a region as the lexicographic search does."""

    routed = True


class WeightedPlanner(Planner):
    """A planner that weighs."""

    make_objective = WeightedObjective


class RoutedPlanner(Planner):
    """A planner that weighs, and has a region closed on its map of ways."""

    make_objective = RoutedObjective


class Watched(ArenaScene):
    """A scene of a simulator that was reset, and what truly happened at every tick."""

    def __init__(self, sim: ArenaSim, zone: Guardrail, radius: float) -> None:
        super().__init__(sim.contract, sim)
        self._zone, self._radius = zone, radius
        self.rooms: list[tuple[float, float]] = []  # (s, m left to the region)
        self.on_tick: Callable[[float, float], None] = lambda room, speed: None

    def advance(self, seconds: float) -> None:
        """Let time pass, and look."""
        self.sim.advance(seconds)
        truth = self.sim.truth()
        room = float(self._zone.clearance(truth.x, truth.y, self._radius))
        self.rooms.append((self.sim.time, room))
        self.on_tick(room, truth.v)


_worker: dict[str, Any] = {}


def start_worker(contract: dict[str, Any], model: str) -> None:
    """Load the model once a process."""
    torch.set_num_threads(1)
    _worker["contract"] = RobotContract.from_dict(contract)
    _worker["loaded"] = load_checkpoint(model, _worker["contract"])


def work(job: tuple[str, Arm, str, int, int, float]) -> dict[str, Any]:
    """One episode: (name of the arm, arm, layout, seed, number of the task, margin that the command asked for)."""
    name, arm, layout, seed, number, margin = job
    found = run_episode(_worker["contract"], *_worker["loaded"], arm, make_task(number, seed, layout))
    told = {"arm": name, "layout": layout, "seed": seed, "number": number, "asked_margin": margin}
    return {**told, **dataclasses.asdict(arm), **found}


def make_planner(contract: RobotContract, model: Any, card: Any, arm: Arm, seed: int, rails: GuardrailSet) -> Planner:
    """The planner of an arm, before any sudden region."""
    search = SearchConfig(deadline=NO_DEADLINE, seed=seed % 2**31)
    config = PlannerConfig(search=search, body=PlanarConfig(region_margin=arm.margin))
    heeded = GuardrailSet() if arm.planner == "none" or arm.sudden else rails.bind(contract)
    kind = {"weighted": WeightedPlanner, "routed": RoutedPlanner}.get(arm.planner, Planner)
    planner = kind(model, contract, config, card=card, guardrails=heeded)
    if isinstance(planner.objective, WeightedObjective):
        planner.objective.weight = arm.weight
    return planner


def run_episode(contract: RobotContract, model: Any, card: Any, arm: Arm, task: Task) -> dict[str, Any]:
    """Run one episode and score it by the simulator's truth.

    Returns:
        closed: the task has no way round. success: arrive and hold, as in ``eval``; it ends when it has held. room [m]:
        the least, negative is a violation. predicted: plans by (their first steps enter the region, the robot did in
        that time). set_down, of a sudden region: see :class:`Sudden`.
    """
    spec, rails = task.spec, task.guardrails()
    radius = contract.footprint.radius
    with ArenaSim(contract, SceneConfig(layout=spec.layout, randomise=True, **dict(spec.scene))) as sim:
        sim.reset(spec.seed, layout=task.layout, start=spec.start)
        perception = Perception(model, contract)
        planner = make_planner(contract, model, card, arm, spec.seed, rails)
        planner.set_goal(Goal.from_latent(perception.encode(sim.image_at(spec.goal))))
        kept = rails if arm.gate and not arm.sudden else GuardrailSet()
        gate = Gate(GateConfig.from_contract(contract, auto_enable=True, guardrails=kept))
        robot = Watched(sim, rails["zone"], radius)
        loop = Loop(robot, PlannerPart(planner, perception), gate)
        sudden = Sudden(arm, loop, planner, rails, spec.seed) if arm.sudden else None
        if sudden is not None:
            robot.on_tick = sudden.look
        scorer, plans, seconds, reasons = Scorer(spec), list[tuple[float, float]](), list[float](), list[str]()
        begun, touches, held = sim.time, sim.truth().contact_steps, 0
        for _ in range(round(TIME_LIMIT * contract.rate)):
            record = loop.step()
            truth, output = sim.truth(), record.decision.info
            reasons.append(output.status["reason"])
            if "elapsed_s" in output.status:
                seconds.append(output.status["elapsed_s"])
            poses = output.track
            if poses is not None:
                ahead = float(np.min(rails["zone"].clearance(poses[:AHEAD, 0], poses[:AHEAD, 1], radius)))
                plans.append((record.observation.stamp, ahead))
            if sudden is not None:
                whole = None if poses is None else rails["zone"].clearance(poses[:, 0], poses[:, 1], radius)
                sudden.answer(record.observation.stamp, whole)
            scorer.add(sim.time - begun, truth.x, truth.y, truth.yaw, truth.contact_steps > touches,
                       bool(output.status["arrived"]), "STOPPED" in record.modes)  # fmt: skip
            touches = truth.contact_steps
            held = held + 1 if scorer.samples[-1][1] <= RADIUS else 0
            if held >= STAY * contract.rate:
                break
    score = scorer.score()
    return {
        "closed": task.closed, "success": score.success, "contact": score.contact,
        "seconds_to_goal": score.seconds_to_goal,
        "room": min(room for _, room in robot.rooms), "inside_s": sum(r < 0.0 for _, r in robot.rooms) * loop.tick,
        "plans": len(plans), "plan_ms": 1e3 * float(np.mean(seconds or [0.0])),
        "infeasible": reasons.count("infeasible"), "stopped": score.stopped_share,
        "predicted": _predicted(plans, robot.rooms, AHEAD * contract.period),
        "set_down": None if sudden is None else sudden.found(),
    }  # fmt: skip


def _predicted(plans: list[tuple[float, float]], rooms: list[tuple[float, float]], window: float) -> dict[str, int]:
    """Counts of plans by what they predict for the next ``window`` s and what came."""
    times, left = np.array(rooms).T
    counts = {"both": 0, "predicted_only": 0, "came_only": 0, "neither": 0}
    for stamp, ahead in plans:
        came = left[(times > stamp) & (times <= stamp + window + 1e-6)]
        if not len(came):
            continue
        key = ("both" if came.min() < 0.0 else "predicted_only") if ahead < 0.0 else (
            "came_only" if came.min() < 0.0 else "neither")  # fmt: skip
        counts[key] += 1
    return counts


class Sudden:
    """Sets the region down before a robot that drives at it, in planner and gate, and waits for the answer.

    Found: ``periods`` from then to the image of the first plan that keeps the region with all its steps; ``answer``:
    to that of the first plan or stop that does; None where there was none. ``room`` when it was set [m].
    """

    def __init__(self, arm: Arm, loop: Loop, planner: Planner, rails: GuardrailSet, seed: int) -> None:
        self.arm, self.loop, self.planner, self.rails = arm, loop, planner, rails
        self.at = float(np.random.default_rng([seed, 11]).uniform(*SUDDEN))
        self._before = math.inf
        self.when = self.room = self.first = self.first_plan = None

    def look(self, room: float, speed: float) -> None:
        """At every tick: set the region where the robot has come near enough, and comes nearer."""
        nearer, self._before = room < self._before, room
        if self.when is None and room <= self.at and nearer and abs(speed) > MOVING:
            self.when, self.room = self.loop.scene.time, room
            self.planner.set_guardrails(self.rails.bind(self.loop.contract))
            if self.arm.gate:
                self.loop.agent.guard.change(self.rails)

    def answer(self, stamp: float, clearance: np.ndarray | None) -> None:
        """What the planner said to the image of a time: the room that its plan leaves at each step, None: a stop."""
        if self.when is None or stamp < self.when:
            return
        periods = (stamp - self.when) * self.loop.contract.rate
        keeps = clearance is None or float(np.min(clearance)) >= 0.0
        if keeps and self.first is None:
            self.first = periods
        if keeps and clearance is not None and self.first_plan is None:
            self.first_plan = periods

    def found(self) -> dict[str, Any]:
        """See the class."""
        return {"set": self.when is not None, "room": self.room, "answer": self.first, "periods": self.first_plan}
