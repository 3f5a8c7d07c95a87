# SPDX-License-Identifier: Apache-2.0
"""The work of `jepa-ros bench think`: one task under one condition, driven, imagined, or judged by its candidates."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.rigs.think.arms import FACTORS, USUAL, backend_of, deliberate_of, model_of, settings_of
from benchmarks.rigs.think.oracles import Chart
from jepa_ros.contract import RobotContract
from jepa_ros.cost.goal import Goal
from jepa_ros.evaluation.episode import run_episode
from jepa_ros.perception import Perception
from jepa_ros.planning.config import PlannerConfig, SearchConfig
from jepa_ros.planning.deliberate.deliberation import Deliberation
from jepa_ros.planning.planner import Planner
from jepa_ros.planning.problem import Problem
from jepa_ros.world_model import load_checkpoint, resolve_model
from jepa_ros_sim.rooms.geodesic import geodesic
from jepa_ros_sim.rooms.scene import SPEED, RoomsScene, moved
from jepa_ros_sim.rooms.tasks import TOLERANCE, Go

SEED = 7171  # of the tasks; nothing was chosen on them (the pilot's were 7071)
Row = dict[str, Any]
_worker: dict[str, Any] = {}


def start(contract: dict[str, Any], model: str) -> None:
    """Load the model, once in each process."""
    torch.set_num_threads(1)
    _worker["contract"] = loaded = RobotContract.from_dict(contract)
    use(loaded, *load_checkpoint(model, loaded), resolve_model(model))


def use(contract: RobotContract, model: Any, card: dict[str, Any], folder: Path) -> None:
    """Take this model for all that is done in this process."""
    _worker.update(contract=contract, model=model, card=card, folder=folder, scene=RoomsScene(contract), charts={})


class Case:
    """One task, and the model of a condition for it."""

    def __init__(self, condition: str, layout: str, number: int) -> None:
        contract, scene = _worker["contract"], _worker["scene"]
        self.contract, self.scene, self.task = contract, scene, Go(layout, contract)
        self.spec = self.task.draw(scene, SEED, number)
        scene.reset(self.spec)
        self.layout, self.goal = self.spec.layout, np.array(self.spec.goal)
        chart = None
        if condition in ("dynamics", "cost"):
            charts = _worker["charts"]
            if self.layout not in charts:
                charts[self.layout] = Chart(_worker["model"], contract, self.layout)
            chart = charts[self.layout]
        self.model = model_of(condition, _worker["model"], contract, self.layout, chart)
        score = self.task.judge(scene, self.spec).task
        self.about = {
            "condition": condition, "layout": layout, "number": number, "difficulty": score["difficulty"],
            "shortest_steps": score["shortest_steps"],
        }  # fmt: skip

    def planner(self, config: PlannerConfig) -> tuple[Planner, np.ndarray]:
        """A planner that has the goal, and the latent of the start."""
        part = Perception(_worker["model"], self.contract)
        planner = Planner(self.model, self.contract, config, card=_worker["card"])
        name = self.contract.cameras[0].name
        wanted = self.task.goal(self.scene, self.spec).seen.images[name]
        planner.set_goal(Goal.from_latent(part.encode(wanted)))
        return planner, part.encode(self.scene.observe().images[name]).reshape(-1)

    def left(self, places: np.ndarray) -> np.ndarray:
        """True steps (N,) from places (N, 2) to the goal; infinite in a wall."""
        ways: np.ndarray = geodesic(self.layout).ways(places, self.goal)
        return ways / (SPEED * self.contract.period)

    def drive(self, places: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """True places (N, T, 2) of normalised actions (N, T, A) from places (N, 2)."""
        way = []
        for t in range(actions.shape[1]):
            velocities = self.contract.denormalise(actions[:, t])
            places = moved(self.layout, places, velocities, self.contract.period)
            way.append(places)
        return np.stack(way, 1) if way else places[:, None]


def driven(job: tuple[str, float, str, int]) -> Row:
    """One episode."""
    condition, factor, layout, number = job
    case, settings = Case(condition, layout, number), settings_of(condition, factor, SEED)
    kind = "inverse" if condition == "inverse" else "planner"
    loaded = (case.model, _worker["card"], _worker["folder"])
    began = time.process_time()
    found = run_episode(kind, case.scene, case.task, case.spec, settings, loaded, gated=False)
    told, score = found["deliberation"], found["score"]
    deliberated = int(told.get("calls_in_all", 0))
    return {
        **case.about, "factor": factor, "success": score["success"], "ever": score["ever"], "steps": score["steps"],
        "plans": len(found["calls"]), "calls": sum(found["calls"]) + deliberated, "deliberated": deliberated,
        "deliberations": int(told.get("number", 0)), "cpu_seconds": time.process_time() - began,
        "plan_ms": 1e3 * float(np.median(found["plan"] or [0.0])),
    }  # fmt: skip


def imagined(job: tuple[str, str, int, float]) -> Row:
    """One deliberation from the start, up to the calls of the largest factor."""
    condition, layout, number, largest = job
    case = Case(condition, layout, number)
    config = PlannerConfig(SearchConfig(backend=backend_of(condition)), deliberate=deliberate_of(condition, largest))
    planner, latent = case.planner(config)
    thought = deliberation(planner, latent, number)
    budget = int(USUAL * largest)
    began, left = time.process_time(), {}
    for factor in FACTORS:
        while not thought.solved and thought.fits(min(USUAL * factor, budget)):
            thought.expand()
        left[f"{factor:g}"] = thought.way().to_go[-1]
    way, counts = thought.way(), thought.counts
    start_at = np.array([case.spec.start])
    places = case.drive(start_at, way.actions.double().numpy()[None])[0]
    gaps = np.hypot(*(places - case.goal).T)
    return {
        **case.about, "largest": largest, "solved": thought.solved, "calls": counts.calls,
        "expansions": counts.expansions, "states": len(thought.tree), "dropped": thought.tree.dropped,
        "unsure": counts.unsure, "steps": way.cost[-1], "to_go": left, "true_gap": float(gaps[-1]),
        "true_least": float(gaps.min()), "cpu_seconds": time.process_time() - began,
    }  # fmt: skip


def deliberation(planner: Planner, latent: np.ndarray, seed: int) -> Deliberation:
    """A deliberation of a planner from a latent (D,), nothing expanded yet."""
    assert planner.deliberator is not None and planner.goal is not None  # the conditions have both
    state = planner.model.initial_state(1)[0]
    problem = Problem(latent, state, planner.search.target(planner.goal), (), planner.objective.constraints())
    return planner.deliberator.search.begin(problem, seed)


def coverage(job: tuple[str, str, int, float]) -> Row:
    """What candidates from the start are truly worth, and whether the best of them was picked."""
    condition, layout, number, factor = job
    case, settings = Case(condition, layout, number), settings_of("fast", factor, SEED)
    planner, latent = case.planner(PlannerConfig(settings.search, deliberate=deliberate_of("deliberate", factor)))
    start_at, before = np.array([case.spec.start]), float(case.left(np.array([case.spec.start]))[0])
    state = planner.model.initial_state(1)[0]
    result = planner.think(latent, state, planner.goal, iterations=settings.search.iterations, seed=number)
    plans = np.concatenate([planner.search.candidates.double().numpy(), result.actions[None]])
    ends = case.drive(np.repeat(start_at, len(plans), 0), plans)
    nearer = before - np.nan_to_num(case.left(ends[:, -1]), posinf=before)
    rate = nearer / min(plans.shape[1], max(before, 1.0))
    wanted = planner.config.deliberate.rate
    thought = deliberation(planner, latent, number)
    while not thought.solved and thought.fits(USUAL * factor):
        thought.expand()
    places = true_places(case, thought, start_at[0])
    gaps = np.hypot(*(places - case.goal).T)
    row = len(thought.tree) - 1 if thought.solved else thought.tree.best()
    return {
        **case.about, "factor": factor, "fast_covered": bool((rate[:-1] >= wanted).any()),
        "fast_picked": bool(rate[-1] >= wanted), "tree_covered": bool((gaps <= TOLERANCE).any()),
        "tree_picked": bool(gaps[row] <= TOLERANCE), "tree_solved": thought.solved,
    }  # fmt: skip


def true_places(case: Case, thought: Deliberation, start_at: np.ndarray) -> np.ndarray:
    """Where the states (n, 2) of a tree truly are, if its edges are driven open loop."""
    tree, n = thought.tree, len(thought.tree)
    places, depth = np.zeros((n, 2)), np.zeros(n, dtype=int)
    places[0] = start_at
    for at in range(1, n):
        depth[at] = depth[tree.parent[at]] + 1
    actions = tree.actions[:n].double().numpy()
    for level in range(1, int(depth.max()) + 1):
        rows = np.flatnonzero(depth == level)
        ways = case.drive(places[tree.parent[rows]], actions[rows])
        places[rows] = ways[np.arange(len(rows)), tree.steps[rows] - 1]
    return places
