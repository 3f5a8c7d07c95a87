# SPDX-License-Identifier: Apache-2.0
"""What the planner answers to an image: the command, and what it tells the gate and people about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jepa_ros.planning.arrival import Reading
from jepa_ros.planning.result import PlanResult

#: One sentence for each reason word of the status.
SENTENCES = {
    "ok": "a plan was found",
    "idle": "no goal is set",
    "paused": "planning is paused",
    "arrived": "the goal is reached",
    "infeasible": "no candidate keeps every guardrail",
    "non_finite": "the model gave no finite cost for any candidate",
    "deadline": "the deadline is shorter than one iteration of the search",
    "error": "planning failed",
    "bad_latent": "the embedding is not finite or has another size than the model's",
}


@dataclass
class PlannerOutput:
    """The answer to one image.

    Args:
        command: (A,) physical units; when idle, arrived, or without a feasible plan it stands still, which is None for
            joints that are commanded by position (see ``RobotContract.neutral``).
        status: plain values: reason, sentence, arrived, feasible, blocked_by, iterations, cost, terms, distance,
            distance_unit, heading_error, elapsed_s, evaluated, calls (of the model, see PlanResult), dropped,
            converged, solved, nearest, rate, source, shares (of each source in the last elites), winners (share of all
            plans so far that each source found), seed, backend, guardrails_left_to_the_gate, goal_novelty,
            deliberation (see Deliberator.status).
        signals: what the gate reads: "guardrail/NAME" (excess, > 0 violates), "surprise", "novelty" (with a card that
            has levels: 1 is the one to slow down at, 2 the one to stop at).
        plan_actions: (T, A) physical; None without a plan.
        track: (T, P) where the plan takes the body, as its room draws it; None without a plan, or where nobody can.
        candidates: [(track (T, P), cost)] of the last iteration, best first.
        futures: (1 + n, T, D) latents, a tensor: of the plan, then of the last iteration's candidates, best first;
            None without a plan.
        history: [(seconds, best cost)] of the search.
        tree: of a deliberation that ended at this step, see jepa_ros.planning.deliberate.view; else None.
        guardrail_hash: of the set in force, "" without guardrails.
    """

    command: np.ndarray | None
    status: dict[str, Any]
    signals: dict[str, float]
    plan_actions: np.ndarray | None = None
    track: np.ndarray | None = None
    candidates: list[tuple[np.ndarray, float]] = field(default_factory=list)
    futures: Any = None
    history: list[tuple[float, float]] = field(default_factory=list)
    guardrail_hash: str = ""
    tree: dict[str, Any] | None = None


def status_of(reason: str, reading: Reading | None, result: PlanResult | None) -> dict[str, Any]:
    """What a status says by a reason word, and by the way to the goal and a plan where there are any."""
    sentence = SENTENCES[reason]
    if reason == "infeasible" and result is not None:
        sentence = f"{sentence}; in the way: {result.blocked_by}"
    status: dict[str, Any] = {"reason": reason, "sentence": sentence, "arrived": reason == "arrived"}
    if reading is not None:
        status |= {
            "distance": reading.distance, "distance_unit": reading.unit, "heading_error": reading.heading_error,
        }  # fmt: skip
    if result is not None:
        status |= {
            "feasible": result.feasible, "blocked_by": result.blocked_by, "iterations": result.iterations,
            "cost": result.cost, "terms": result.terms, "elapsed_s": result.elapsed, "evaluated": result.evaluated,
            "calls": result.calls, "dropped": result.dropped, "converged": result.converged, "source": result.source,
            "shares": result.shares, "seed": result.seed, "warm_cost": result.warm_cost, "solved": result.solved,
            "nearest": result.nearest, "nearest_unit": result.unit, "rate": result.rate,
        }  # fmt: skip
    return status
