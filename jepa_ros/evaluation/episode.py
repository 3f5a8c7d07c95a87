# SPDX-License-Identifier: Apache-2.0
"""One scored episode: a policy, a task and the gate in a scene. The same for every world."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jepa_ros.agent.loop import Loop
from jepa_ros.agent.planner_part import PlannerPart
from jepa_ros.agent.policies import RandomPolicy
from jepa_ros.cost.goal import Goal
from jepa_ros.errors import JepaRosError
from jepa_ros.evaluation.baselines import InverseModelPolicy, load_head
from jepa_ros.evaluation.tour import toured
from jepa_ros.learning.baselines import KINDS as BASELINES
from jepa_ros.memory import LongTerm
from jepa_ros.perception import Perception
from jepa_ros.planning.bodies import goals_of, new_memory
from jepa_ros.planning.config import SearchConfig
from jepa_ros.planning.deliberate.settings import DeliberateConfig
from jepa_ros.planning.planner import Planner, PlannerConfig
from jepa_ros.safety.config import watched
from jepa_ros.safety.gate import Gate, GateConfig
from jepa_ros.worlds import Policy, Sample, Scene, Task

#: No deadline while scoring: the search always runs its full iterations, so that a score does not depend on how busy
#: the machine is. How long plans take is reported.
NO_DEADLINE = 60.0
#: Policies that look at pictures.
SEEING = ("planner", *BASELINES)


@dataclass(frozen=True)
class EvalSettings:
    """How a task is scored.

    Attributes:
        episodes, seed: how many are drawn, and what from.
        goal: ``image`` or ``pose``. search: of planner and oracle.
        scan: the gate sees the lidar. Without it only the planner keeps the robot from touching things.
        watch: the gate slows and stops the planner for surprise and novelty, at the levels of the model card.
        settle: seconds of holding the goal after which an episode ends; 0 plays every one to its time limit.
        deliberate: of the planner. body: settings that only the robot's body has, see PlannerConfig.of.
        tour: seconds that the robot is driven about at most, in the surroundings of an episode, before it begins; the
            planner remembers what it saw. 0: it knows nothing.
    """

    episodes: int = 100
    seed: int = 0
    goal: str = "image"
    search: SearchConfig = field(default_factory=SearchConfig)
    scan: bool = True
    watch: bool = False
    settle: float = 0.0
    deliberate: DeliberateConfig = field(default_factory=DeliberateConfig)
    body: dict[str, Any] = field(default_factory=dict)
    tour: float = 0.0


def make_policy(
    kind: str, scene: Scene, task: Task, spec: Any, settings: EvalSettings, loaded: Any, memory: LongTerm | None = None
) -> Policy:
    """Build a policy for one episode, whose scene was reset.

    Args:
        loaded: (model, card, folder), None for policies that need none. memory: of a planner.
    """
    contract = scene.contract
    if kind == "random":
        return RandomPolicy(contract, np.random.default_rng([spec.seed, 3]))
    search = replace(settings.search, deadline=NO_DEADLINE, seed=spec.seed % 2**31)
    config = task.planner(replace(PlannerConfig.of(contract, search, **settings.body), deliberate=settings.deliberate))
    if kind in task.references:
        return task.reference(kind, scene, spec, config)
    model, card, folder = loaded
    wanted = task.goal(scene, spec)
    if kind in BASELINES:
        picture = wanted.seen.images[contract.cameras[0].name]
        return InverseModelPolicy(contract, model, load_head(folder, model.config), picture)
    part = PlannerPart(Planner(model, contract, config, card=card, memory=memory), Perception(model, contract))
    part.planner.set_goal(_goal(part, wanted, settings.goal))
    return part


def _goal(part: PlannerPart, wanted: Any, how: str) -> Goal:
    if how == "image":
        return part.goal_seen(wanted.seen)
    if how not in wanted.readouts:
        known = ", ".join(["image", *wanted.readouts])
        raise JepaRosError(f"--goal {how}: this task's goals are not given so; expected one of {known}")
    goals = goals_of(part.planner.contract)
    if how != goals.KIND:
        raise JepaRosError(f"--goal {how}: goals of this robot are given as image or {goals.KIND}")
    return goals.from_values([float(value) for value in wanted.readouts[how]])


def run_episode(
    kind: str, scene: Scene, task: Task, spec: Any, settings: EvalSettings, loaded: Any, gated: bool = True
) -> dict[str, Any]:
    """Run one episode in-process and score it.

    Returns:
        ``score`` (of the task's judge), lists of seconds, iterations and model calls a plan, and ``deliberation``: the
        last status of the deliberate search, empty without one; after a tour ``tour``, what came of it.
    """
    memory: LongTerm | None = None
    driven: dict[str, Any] = {}
    if settings.tour and kind == "planner":
        memory, driven = _after_tour(scene, task, spec, settings, loaded)
    scene.reset(spec)
    policy = make_policy(kind, scene, task, spec, settings, loaded, memory)
    gate = None
    if gated:
        levels = watched(loaded[1]) if settings.watch and kind == "planner" else {}
        gate = Gate(GateConfig.from_contract(scene.contract, auto_enable=True, **levels))
    blind = () if settings.scan else ("scan",)
    loop = Loop(scene, policy, gate, gated=gated, blind=blind, look=gated or kind in SEEING)
    judge = task.judge(scene, spec)
    plan, encode, iterations, calls = list[float](), list[float](), list[int](), list[int]()
    deliberation: dict[str, Any] = {}
    begun = scene.time
    for _ in range(task.limit):
        record = loop.step()
        info = record.decision.info
        status = {} if info is None else info.status
        if "elapsed_s" in status:
            plan.append(float(status["elapsed_s"]))
            encode.append(float(getattr(policy, "encode_seconds", 0.0)))
            iterations.append(int(status["iterations"]))
            calls.append(int(status["calls"]))
        deliberation = status.get("deliberation", deliberation)
        stopped = "STOPPED" in record.modes
        judge.add(Sample(scene.time - begun, scene.truth(), bool(status.get("arrived")), stopped))
        if scene.over or (settings.settle and judge.held(settings.settle)):
            break
    return {
        "score": judge.score(), "plan": plan, "encode": encode, "iterations": iterations, "calls": calls,
        "deliberation": deliberation, **driven,
    }  # fmt: skip


def _after_tour(
    scene: Scene, task: Task, spec: Any, settings: EvalSettings, loaded: Any
) -> tuple[LongTerm, dict[str, Any]]:  # fmt: skip
    """What a planner remembers after a tour, and what came of that."""
    model, card, _ = loaded
    memory = new_memory(scene.contract, model.config.latent_dim)
    planner = Planner(model, scene.contract, PlannerConfig.of(scene.contract), card=card, memory=memory)
    part = PlannerPart(planner, Perception(model, scene.contract))
    return memory, {"tour": toured(scene, task, spec, part, memory, settings.tour)}
