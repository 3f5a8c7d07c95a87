# SPDX-License-Identifier: Apache-2.0
"""The ROS-free planner: from the latent of each image to a command. The loop, the planner node and replay all run it.

It owns the history (recurrent state, last latent, commands under way), knows when it has arrived, and reports what it
sees: surprise, novelty, and what the guardrails say about the plan.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from jepa_ros.cost.goal import Goal, embedding_dim
from jepa_ros.cost.risk import Risk
from jepa_ros.cost.task import TaskWeights
from jepa_ros.memory import LongTerm
from jepa_ros.planning.arrival import Arrival, ArrivalConfig, Reading, read_distance
from jepa_ros.planning.config import SearchConfig, SearchError
from jepa_ros.planning.history import History
from jepa_ros.planning.outcome import Outcome
from jepa_ros.planning.proposals import shift_plan
from jepa_ros.planning.recall import Recall
from jepa_ros.planning.result import PlanResult
from jepa_ros.planning.search import Search
from jepa_ros.planning.vigilance import Normal, Vigilance
from jepa_ros.safety.guardrails import GuardrailSet, parse_guardrails

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


@dataclass(frozen=True)
class PlannerConfig:
    """Settings of the planner.

    Args:
        search: see SearchConfig. arrival: see ArrivalConfig.
        max_gap: seconds without an image after which the history is forgotten.
    """

    search: SearchConfig = field(default_factory=SearchConfig)
    arrival: ArrivalConfig = field(default_factory=ArrivalConfig)
    max_gap: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.max_gap) and self.max_gap > 0.0):
            raise SearchError(f"planner max_gap is {self.max_gap!r} s; expected more than 0")


@dataclass
class PlannerOutput:
    """The answer to one image.

    Args:
        command: (A,) physical units; stands still when idle, arrived, or without a feasible plan.
        status: plain values: reason, sentence, arrived, feasible, blocked_by, iterations, cost, terms, distance,
            distance_unit, heading_error, elapsed_s, evaluated, dropped, converged, source, shares (of each source in
            the last elites), winners (share of all plans so far that each source found), seed, backend,
            guardrails_left_to_the_gate.
        signals: what the gate reads: "guardrail/NAME" (excess, > 0 violates), "surprise", "novelty" (with a card that
            has levels: 1 is the one to slow down at, 2 the one to stop at).
        plan_actions: (T, A) physical, plan_poses: (T, 3) x, y, yaw; None without a plan (or a pose readout).
        candidates: [(poses (T, 3), cost)] of the last iteration, best first.
        history: [(seconds, best cost)] of the search.
        guardrail_hash: of the set in force, "" without guardrails.
    """

    command: np.ndarray
    status: dict[str, Any]
    signals: dict[str, float]
    plan_actions: np.ndarray | None = None
    plan_poses: np.ndarray | None = None
    candidates: list[tuple[np.ndarray, float]] = field(default_factory=list)
    history: list[tuple[float, float]] = field(default_factory=list)
    guardrail_hash: str = ""


class Planner:
    """Plans towards a goal, image by image.

    Args:
        model: the world model. contract: the robot contract. config: settings.
        card: the checkpoint's model card; `card["calibration"]["vigilance"]` says how surprise and novelty are judged.
            Without it the surprise is the error of the last prediction, in units of
            `card["calibration"]["prediction_error"]` where that is known.
        guardrails: a GuardrailSet bound to the robot; None is the contract's own.
        proposal: a learned source of candidates.
        memory: a LongTerm that is told what is seen and asked for ways; None keeps nothing beyond a drive.

    Attributes:
        paused: while true every command stands still.
        search_type: how it searches; a subclass may compare another way.
    """

    search_type = Search

    def __init__(
        self, model, contract, config: PlannerConfig | None = None, card: dict | None = None, guardrails=None,
        proposal=None, memory: LongTerm | None = None,
    ) -> None:  # fmt: skip
        self.model, self.contract, self.config = model, contract, config or PlannerConfig()
        self.guardrails = self._own_guardrails() if guardrails is None else guardrails
        self.search = self.search_type(model, self.config.search, contract, self.guardrails, proposal)
        steps = max(1, int(self.config.max_gap / contract.period + 1e-6))
        self.history = History(model, self.search.delay, self.search.neutral, steps)
        self.arrival = Arrival(self.config.arrival)
        calibration = (card or {}).get("calibration", {}).get("prediction_error")
        self._error_scale = float(calibration) if calibration else None
        normal = Normal.from_card(card)
        self.vigilance = None if normal is None else Vigilance(model, normal, contract.period)
        self.outcome = Outcome(contract, self.search.obstructions)
        self.search.memory = memory
        self.recall = None if memory is None else Recall(memory, self.outcome, self.search.places)
        self.goal: Goal | None = None
        self.paused = False
        self.reset()

    def reset(self) -> None:
        """Forget history and plan (the robot was moved, the clock jumped); the goal stays."""
        self.history.reset()
        self.arrival.reset()
        self.outcome.reset()
        if self.vigilance is not None:
            self.vigilance.reset()
        self.search.obstructions.clear()
        if self.search.places is not None:
            self.search.places.clear()
        if self.search.movers is not None:
            self.search.movers.clear()
        if self.recall is not None:
            self.recall.restore()
        self._warm: torch.Tensor | None = None
        self._stamp: float | None = None
        self._plans = 0
        self._won: Counter[str] = Counter()

    def warm_up(self) -> float:
        """Spend compile and warm-up time now; seconds of one iteration of the search."""
        return self.search.warm_up()

    @property
    def too_slow(self) -> str:
        """Why no plan can be made in time on this machine, "" where one can; known once it is warmed up."""
        fastest, config = self.search.fastest, self.search.config
        if fastest < config.deadline:
            return ""
        return (
            f"one iteration of the search ({config.samples} candidates, {config.horizon} steps, "
            f"{config.noise_samples} futures; {self.search.backend} code) takes {1e3 * fastest:.0f} ms here, "
            f"over search.deadline of {1e3 * config.deadline:.0f} ms: search fewer samples, raise the "
            "deadline, or use a faster machine"
        )

    def set_goal(self, goal: Goal | None) -> None:
        """Take a goal, or None for none.

        Raises:
            GoalError: a goal that the model cannot read; the old one stays.
            JepaRosError: the weights of the task cost leave no term for this goal; likewise.
        """
        if goal is not None:
            goal.check_model(self.model)
            self.search.task.check(goal)
        self.goal = goal
        self.arrival.reset()
        self.search.obstructions.clear_dead_ends()
        self._warm = None

    def goal_from_current(self) -> Goal | None:
        """A goal to come back to here; None before the first image."""
        return None if self.history.z is None else Goal.from_latent(self.history.z.cpu().numpy(), name="current")

    def set_guardrails(self, guardrails) -> None:
        """Replace the guardrails from the next plan on; see Search.set_guardrails for errors."""
        self.search.set_guardrails(guardrails)
        self.guardrails = guardrails

    def set_weights(self, weights: TaskWeights) -> None:
        """Replace the weights of the task cost from the next plan on; see check_weights for errors."""
        self.check_weights(weights)
        self.search.set_weights(weights)

    def set_risk(self, risk: Risk) -> None:
        """Replace how the costs of several futures become one, from the next plan on; see Search.check_risk."""
        self.search.check_risk(risk)
        self.search.config = replace(self.search.config, risk=risk)
        self.config = replace(self.config, search=self.search.config)

    def check_weights(self, weights: TaskWeights) -> None:
        """Raise JepaRosError where the goal, or any goal image, has no term with these weights."""
        self.search.check_weights(weights, self.goal)

    def _own_guardrails(self) -> GuardrailSet:
        return parse_guardrails(list(self.contract.guardrails)).bind(self.contract)

    def step(
        self, latent: np.ndarray, stamp: float, executed: np.ndarray | None = None, gated: np.ndarray | None = None,
        iterations: int | None = None, seed: int | None = None, gate_reason: str = "",
    ) -> PlannerOutput:  # fmt: skip
        """Answer one image.

        Args:
            latent: (E,) float32 embedding, any shape of E values (a latent of D values where the model has no map).
            stamp: seconds, of the image.
            executed: (A,) physical, mean of the gate's output since the last image; None: as commanded.
            gated: (A,) physical, the gate's output in effect at the stamp; None: what was commanded.
            iterations, seed: from a recorded status, to repeat that plan whatever the clock says.
            gate_reason: the gate's reason word at the stamp; it tells whether something is in the way.
        """
        flat = np.ascontiguousarray(latent, dtype=np.float32).reshape(-1)
        size = self.model.config.latent_dim
        if flat.size != embedding_dim(self.model) or not np.isfinite(flat).all():
            self._warm = None
            return self._stop("bad_latent", None, None)
        z = torch.from_numpy(flat[:size]).to(self.search.device)
        steps = self._steps(stamp)
        self.history.observe(z, steps, self._unit(executed), self._unit(gated))
        if self.vigilance is not None:
            self.vigilance.observe(flat, z, self.history, steps, gate_reason == "contact")
        if self.search.places is not None:
            seen = flat[size : size + self.search.places.cells**2]
            self.search.places.observe(seen)
            if self.search.movers is not None:
                self.search.movers.observe(seen, steps)
        if self.model.has_readout("pose"):
            with torch.no_grad():
                self.outcome.observe(self.model.pose(z[None])[0], steps, executed, gate_reason, stamp)
        if self.recall is not None:
            self.recall.observe(flat[:size], gate_reason == "contact")
        if self.goal is None or self.paused:
            self._warm = None
            return self._stop("paused" if self.paused else "idle", None, None)
        with torch.no_grad():
            reading = read_distance(self.model, z, self.goal)
        if self.arrival.update(reading):
            self._warm = None
            return self._stop("arrived", reading, None)
        if reading.unit == "m":
            self.outcome.judge_progress(reading.distance, stamp)
        warm = None if self._warm is None else shift_plan(self._warm, steps)
        self._plans += 1
        plan_seed = self.config.search.seed + self._plans if seed is None else seed
        result = self.search.plan(
            z, self.history.h, self.goal, self.history.under_way, warm, iterations=iterations, seed=plan_seed
        )
        if result.actions is None:
            self._warm = None
            self.search.obstructions.clear_dead_ends()
            return self._stop(result.reason, reading, result)
        self._won[result.source] += 1
        self._warm = torch.from_numpy(result.actions)
        self.history.command(self._warm[0])
        self.outcome.command(self.contract.denormalise(result.actions[0]))
        return self._output("ok", self.contract.denormalise(result.actions), reading, result)

    def fail(self, error: Exception) -> PlannerOutput:
        """The answer to an image for which :meth:`step` raised: stand still, and say why."""
        self._warm = None
        output = self._stop("error", None, None)
        output.status["sentence"] = f"{SENTENCES['error']}: {error}"
        return output

    # -- parts -------------------------------------------------------------------------------------------------------

    def _steps(self, stamp: float) -> int:
        """Control steps since the last image; -1 where the history is to be forgotten."""
        last, self._stamp = self._stamp, stamp
        if last is None:
            return 0
        if stamp < last or stamp - last > self.config.max_gap + 0.5 * self.contract.period:
            self._warm = None
            return -1
        return round((stamp - last) / self.contract.period)

    def _unit(self, values: np.ndarray | None) -> torch.Tensor | None:
        if values is None or not np.isfinite(values).all():
            return None
        return torch.from_numpy(np.clip(self.contract.normalise(values), -1.0, 1.0)).float()

    def _stop(self, reason: str, reading: Reading | None, result: PlanResult | None) -> PlannerOutput:
        self.history.command(self.search.neutral)
        self.outcome.command(np.zeros(self.contract.action_dim))
        return self._output(reason, None, reading, result)

    def _output(self, reason: str, plan: np.ndarray | None, reading, result: PlanResult | None) -> PlannerOutput:
        sentence = SENTENCES[reason]
        if reason == "infeasible" and result is not None:
            sentence = f"{sentence}; in the way: {result.blocked_by}"
        status: dict[str, Any] = {"reason": reason, "sentence": sentence, "arrived": reason == "arrived"}
        status["backend"] = self.search.backend
        status["guardrails_left_to_the_gate"] = list(self.search.guard.unjudged)
        if reading is not None:
            status |= {
                "distance": reading.distance, "distance_unit": reading.unit, "heading_error": reading.heading_error,
            }  # fmt: skip
        if result is not None:
            status |= {
                "feasible": result.feasible, "blocked_by": result.blocked_by, "iterations": result.iterations,
                "cost": result.cost, "terms": result.terms, "elapsed_s": result.elapsed, "evaluated": result.evaluated,
                "dropped": result.dropped, "converged": result.converged, "source": result.source,
                "shares": result.shares, "winners": self._winners(), "seed": result.seed, "warm_cost": result.warm_cost,
            }  # fmt: skip
        output = PlannerOutput(
            command=np.zeros(self.contract.action_dim) if plan is None else plan[0].copy(),
            status=status, signals=self._signals(result), plan_actions=plan,
            guardrail_hash=str(getattr(self.guardrails, "hash", "") or ""),
        )  # fmt: skip
        if result is not None:
            output.history = result.history
            self._draw(output, result)
        return output

    def _winners(self) -> dict[str, float]:
        """Share of the plans so far that each source of candidates found."""
        return {source: count / self._won.total() for source, count in self._won.most_common()}

    def _signals(self, result: PlanResult | None) -> dict[str, float]:
        signals = {} if result is None else {f"guardrail/{name}": value for name, value in result.excess.items()}
        if self.vigilance is not None:
            return signals | self.vigilance.signals()
        if self.history.surprise is not None:
            signals["surprise"] = self.history.surprise / (self._error_scale or 1.0)
        if self.history.z is not None and self.model.has_readout("novelty"):
            with torch.no_grad():
                signals["novelty"] = float(self.model.novelty(self.history.z))
        return signals

    @torch.no_grad()
    def _draw(self, output: PlannerOutput, result: PlanResult) -> None:
        """Poses of the plan and of the candidates, through the pose readout."""
        if not self.model.has_readout("pose") or result.latents is None:
            return
        latents = torch.stack([result.latents, *(z for z, _, _ in result.candidates)])
        raw = self.model.pose(latents).float().cpu().numpy()  # (1 + n, T, 4)
        poses = np.concatenate([raw[..., :2], np.arctan2(raw[..., 3:], raw[..., 2:3])], axis=-1)
        if result.actions is not None:
            output.plan_poses = poses[0]
        output.candidates = [(poses[i + 1], cost) for i, (_, cost, _) in enumerate(result.candidates)]
