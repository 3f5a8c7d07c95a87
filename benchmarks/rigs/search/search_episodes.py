# SPDX-License-Identifier: Apache-2.0
"""Episodes of `jepa-ros bench search`: the same tasks under several settings of the search, one line of JSON each.

What is in the file is not done again: stopped at any moment, the same command goes on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.rigs.resumable import play
from jepa_ros.contract import RobotContract
from jepa_ros.cost import Risk
from jepa_ros.evaluation.episode import EvalSettings, run_episode
from jepa_ros.planning import SearchConfig
from jepa_ros.planning.convergence import TOLERANCE
from jepa_ros.world_model import load_checkpoint, resolve_model
from jepa_ros_sim.arena.world import ArenaScene, Reach

SAMPLES = 8  # futures of a candidate; 1/4 of them resolves CVaR at 0.25 with two
LEVEL = 0.25
ROUNDS = 20  # iterations of the search that is never in a hurry
SETTLE = 2.0  # s at the goal that end an episode: somebody runs into a robot that waits, too
#: Of the uncertain scenes, in every arm: the chance of contact that a plan may take, at the arm's risk, and half the
#: usual candidates, so that a thousand episodes an arm can be had.
LIMIT, COMMON = {"contact_limit": 0.3}, {"samples": 64}


@dataclass(frozen=True)
class Arm:
    """One setting of the search: changes to SearchConfig, and settings of the body."""

    title: str
    search: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)


UNCERTAIN = {
    "one": Arm("one sample (the most likely future)", {**COMMON, "noise_samples": 1}, LIMIT),
    "mean": Arm(f"mean of {SAMPLES}", {**COMMON, "noise_samples": SAMPLES, "risk": Risk("mean")}, LIMIT),
    "cvar": Arm(
        f"CVaR {LEVEL:g} of {SAMPLES}", {**COMMON, "noise_samples": SAMPLES, "risk": Risk("cvar", LEVEL)}, LIMIT
    ),
}
ANYTIME = Arm("stops when it has converged", {"iterations": ROUNDS, "converge_tol": TOLERANCE})


def fixed(iterations: int) -> Arm:
    """A search that always runs so many iterations."""
    return Arm(f"always {iterations} iterations", {"iterations": iterations, "converge_tol": 0.0})


_worker: dict[str, Any] = {}


def _start(contract: dict[str, Any], model: str) -> None:
    torch.set_num_threads(1)
    _worker["contract"] = RobotContract.from_dict(contract)
    _worker["loaded"] = (*load_checkpoint(model, _worker["contract"]), resolve_model(model))


def _run(job: tuple[str, Arm, str, int, int, bool, float]) -> dict[str, Any]:
    name, arm, layout, seed, number, scan, settle = job
    contract = _worker["contract"]
    search = replace(SearchConfig(), **arm.search)
    scene, task = ArenaScene(contract), Reach(layout, contract, True, 1)
    spec = task.draw(scene, seed, number)
    settings = EvalSettings(search=search, scan=scan, settle=settle, body=arm.body)
    with contextlib.closing(scene):
        found = run_episode("planner", scene, task, spec, settings, _worker["loaded"])
    score, iterations = found["score"], found["iterations"]
    return {
        "arm": name, "layout": layout, "seed": seed, "number": number, "difficulty": spec.path / spec.distance,
        "success": score["success"], "contact": score["contact"], "false_arrival": score["false_arrival"],
        "seconds_to_goal": score["seconds_to_goal"], "plans": len(iterations),
        "iterations": float(np.mean(iterations or [0])),
        "plan_ms": 1e3 * float(np.mean(found["plan"] or [0])),
    }  # fmt: skip


def run(
    path: Path, contract: RobotContract, model: str, arms: dict[str, Arm], layouts: tuple[str, ...], episodes: int,
    seed: int, workers: int, scan: bool, settle: float, told: Callable[[str], None],
) -> list[dict[str, Any]]:  # fmt: skip
    """Run what is missing of every arm on the same episodes; returns the lines of these arms and episodes.

    Args:
        scan: the gate sees the lidar. settle: see EvalSettings. told: hears how far it is.
    """
    keys = [(arm, layout, seed, number) for number in range(episodes) for layout in layouts for arm in arms]
    jobs: dict[Any, Any] = {k: (k[0], arms[k[0]], *k[1:], scan, settle) for k in keys}
    return play(
        path, jobs, lambda r: (r["arm"], r["layout"], r["seed"], r["number"]), _run, _start,
        (contract.to_dict(), model), workers, told,
    )  # fmt: skip
