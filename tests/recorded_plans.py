# SPDX-License-Identifier: Apache-2.0
"""Drives the planner over a recorded run of the arena, case by case: what `test_recorded_plans.py` compares.

    python tests/recorded_plans.py    # records the plans of the present code anew

The run (`data/arena_run.npz`) is what a planner was told in nine control steps of a blocked layout: embeddings,
executed and gated commands, and the gate's reasons. An obstacle holds the robot back in the third and fourth step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from jepa_ros.contract import load_contract
from jepa_ros.cost import Goal, Risk
from jepa_ros.memory import LongTerm
from jepa_ros.memory.long_term import CONTACT
from jepa_ros.planar.goals import pose_goal
from jepa_ros.planar.map_head import map_of
from jepa_ros.planar.settings import PlanarConfig
from jepa_ros.planar.way_memory import WayMemory
from jepa_ros.planning import Planner, PlannerConfig, SearchConfig
from jepa_ros.safety.guardrails import parse_guardrails
from jepa_ros.world_model import load_checkpoint

DATA = Path(__file__).parent / "data"
RUN, PLANS = DATA / "arena_run.npz", DATA / "arena_plans.npz"
STEPS = 9

ON_THE_WAY = "[{name: zone, kind: keep_out, unit: m, circle: {center: [-0.1, 0.2], radius: 0.15}}]"
ON_THE_ROBOT = "[{name: dropped, kind: keep_out, unit: m, circle: {center: [0.0, 0.0], radius: 2.0}}]"
SLOWER = "[{name: slow, kind: speed_zone, unit: m/s, max_speed: 0.2, circle: {center: [0.0, 0.0], radius: 0.6}}]"
CONTACT_KEPT = "[{name: soft, kind: contact_probability, unit: '1', max: 0.3}]"
#: name -> settings of the search, and what else differs.
CASES: dict[str, dict[str, Any]] = {
    "picture": {},
    "pose": {"goal": "pose"},
    "several futures": {"noise_samples": 4, "risk": Risk("cvar", 0.5), "guardrails": ON_THE_WAY},
    "somebody moves": {"noise_samples": 4, "risk": Risk("worst"), "body": PlanarConfig(0.3), "mover": True},
    "a region on the way": {"guardrails": ON_THE_WAY, "body": PlanarConfig(region_margin=0.03)},
    "a region on the robot": {"guardrails": ON_THE_ROBOT},
    "slower": {"guardrails": SLOWER, "goal": "pose"},
    "contact kept": {"guardrails": CONTACT_KEPT},
    "remembered": {"memory": True},
    "gradient": {"method": "gradient"},
    "mppi": {"method": "mppi"},
    "random": {"method": "random"},
}


def run() -> dict[str, np.ndarray]:
    """The recorded run."""
    with np.load(RUN) as found:
        return {name: found[name] for name in found.files}


def walk(embedding: np.ndarray, step: int, latent_dim: int, cells: int) -> None:
    """Somebody walks over the map in an embedding: a disc of 5 cells, one cell a step."""
    grid = embedding[latent_dim : latent_dim + cells**2].reshape(cells, cells)
    rows, columns = np.mgrid[:cells, :cells]
    grid[np.hypot(rows - cells // 2 - step, columns - cells // 2) < 2.5] = 6.0


def drive(case: str, backend: str = "model", dtype: str = "auto") -> dict[str, np.ndarray]:
    """Plans (steps, horizon, A), costs (steps,), and the largest excess over what has to be kept (steps,)."""
    torch.set_num_threads(1)
    settings = dict(CASES[case])
    goal_kind, rails = settings.pop("goal", "picture"), settings.pop("guardrails", "[]")
    body, mover, remembered = settings.pop("body", None), settings.pop("mover", False), settings.pop("memory", False)
    contract, told = load_contract("arena"), run()
    model, card = load_checkpoint("arena", contract)
    memory = None
    if remembered:
        memory = LongTerm(model.config.latent_dim, [WayMemory(0.11)], clock=lambda: 1.0)
        for x in np.arange(-0.6, 0.6, 0.1):
            memory.mark(told["embeddings"][0, :64], (x, 0.0, 0.0), CONTACT)
            memory.annex(WayMemory).note((x, 0.15))
    config = PlannerConfig(SearchConfig(backend=backend, dtype=dtype, deadline=1e3, seed=11, **settings), body=body)
    bound = parse_guardrails(rails).bind(contract)
    planner = Planner(model, contract, config, card, bound, memory=memory)
    x, y, yaw = told["goal_pose"].tolist()
    planner.set_goal(pose_goal(x, y, yaw) if goal_kind == "pose" else Goal.from_latent(told["goal"]))
    plans, costs, excess = [], [], []
    for k in range(STEPS):
        embedding = told["embeddings"][k].astype(np.float32)
        if mover:
            walk(embedding, k, model.config.latent_dim, map_of(model.config)[0])
        executed = None if np.isnan(told["executed"][k]).any() else told["executed"][k]
        reason = str(told["reasons"][k])
        output = planner.step(embedding, 0.2 * k, executed, told["gated"][k], iterations=4, gate_reason=reason)
        nothing = np.full((planner.config.search.horizon, contract.action_dim), np.nan)
        plans.append(nothing if output.plan_actions is None else output.plan_actions)
        costs.append(output.status["cost"])
        kept = [v for name, v in output.signals.items() if name.startswith("guardrail/")]
        excess.append(max(kept, default=0.0))
    return {"plans": np.array(plans), "costs": np.array(costs), "excess": np.array(excess)}


if __name__ == "__main__":
    recorded = {f"{case}/{key}": value for case in CASES for key, value in drive(case).items()}
    np.savez_compressed(PLANS, **{name: value.astype(np.float32) for name, value in recorded.items()})
    print(f"{PLANS}: {len(CASES)} cases of {STEPS} plans")
