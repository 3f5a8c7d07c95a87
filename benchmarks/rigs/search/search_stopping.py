# SPDX-License-Identifier: Apache-2.0
"""What the convergence test costs and saves: the stopping rule at several tolerances, on plans run to their end.

Each plan runs all its iterations once; what a tolerance would have made of it is read from the costs afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jepa_ros.cost import Goal
from jepa_ros.planning import Planner, PlannerConfig, SearchConfig
from jepa_ros.planning.convergence import TOLERANCE, Convergence
from jepa_ros.planning.proposals import shift_plan

TOLERANCES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
PATIENCE = (1, 2)
STEPS = 4  # control steps that each problem is followed for: the first is a cold start, the others start warm


def stops_at(best: list[float], elites: list[float], tol: float, patience: int) -> int:
    """The iteration (from 1) after which the rule ends a search with these costs; their number where it does not."""
    rule = Convergence(tol, patience)
    for i, costs in enumerate(zip(best, elites, strict=True), start=1):
        if rule.update(*costs):
            return i
    return len(best)


def stopping(model: Any, contract: Any, states: list[tuple[np.ndarray, np.ndarray]], iterations: int) -> dict[str, Any]:
    """Iterations and cost by tolerance.

    Args:
        states: latents here and at the goal. iterations: of every plan; the cost at their end is the measure.

    Returns:
        ``rows``: for each start ("cold", "warm"), tolerance and patience the mean iterations, and how much more than
        the final cost the plan costs [share], mean and p95; ``fixed``: the same after 1, 2, ... iterations;
        ``example``: of the first plan of each start ``history`` [(seconds, best cost)], and ``stop``, the iteration
        after which the tolerance that is recommended ends it.
    """
    config = replace(SearchConfig(), iterations=iterations, deadline=1e3, converge_tol=0.0)
    planner = Planner(model, contract, PlannerConfig(config))
    planner.warm_up()
    plans: dict[str, list[tuple[list[float], list[float]]]] = {"cold": [], "warm": []}
    example: dict[str, Any] = {}
    for number, (z, latent) in enumerate(states):
        goal, here, warm = Goal.from_latent(latent), torch.from_numpy(z), None
        h = model.initial_state(1)[0]
        for step in range(STEPS):
            result = planner.think(here, h, goal, warm=warm, seed=number * STEPS + step, iterations=iterations)
            plans["cold" if warm is None else "warm"].append(([c for _, c in result.history], result.elite_costs))
            costs = plans["cold" if warm is None else "warm"][-1]
            thought = {"history": result.history, "stop": stops_at(*costs, TOLERANCE, 1)}
            example.setdefault("cold" if warm is None else "warm", thought)
            if result.actions is None:
                break
            plan = torch.from_numpy(result.actions)
            with torch.no_grad():
                zs, hs = model.rollout(here[None], h[None], plan[None, :1], None)
            here, h, warm = zs[0, 0], hs[0], shift_plan(plan, 1)
    rows, fixed = [], []
    for start, found in plans.items():
        for count in range(1, min(iterations, 8) + 1):
            fixed.append({"start": start, **_excess(found, [count] * len(found))})
        for patience in PATIENCE:
            for tol in TOLERANCES:
                ends = [stops_at(best, elites, tol, patience) for best, elites in found]
                rows.append({"start": start, "tol": tol, "patience": patience, **_excess(found, ends)})
    return {"problems": len(states), "iterations": iterations, "rows": rows, "fixed": fixed, "example": example}


def _excess(found: list[tuple[list[float], list[float]]], ends: list[int]) -> dict[str, float]:
    more = [best[end - 1] / best[-1] - 1.0 for (best, _), end in zip(found, ends, strict=True)]
    return {
        "iterations": float(np.mean(ends)),
        "more_cost": float(np.mean(more)),
        "more_cost_p95": float(np.percentile(more, 95)),
    }


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw the cost of one plan against the time it has been thought about, and where the rule would have stopped."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for start, thought in report["example"].items():
        milliseconds, costs = [1e3 * t for t, _ in thought["history"]], [cost for _, cost in thought["history"]]
        (line,) = axes.step(milliseconds, costs, where="post", label=f"{start} start")
        end = thought["stop"] - 1
        label = f"stops here with converge_tol {TOLERANCE:g}"
        axes.plot(milliseconds[end], costs[end], "o", color=line.get_color(), label=label)
    axes.set(xlabel="time thought [ms]", ylabel="cost of the best plan so far", title="One plan")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
