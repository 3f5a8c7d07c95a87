# SPDX-License-Identifier: Apache-2.0
"""The ROS-free planner: from the latent of each image to a command. The loop, the planner node and replay all run it.

It owns the history (recurrent state, last latent, commands under way) and knows when it has arrived. It reports
surprise, novelty, and what the guardrails say about the plan.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from jepa_ros.cost.goal import Goal, Target, embedding_dim
from jepa_ros.cost.risk import Risk, check_level
from jepa_ros.cost.task import TaskWeights
from jepa_ros.cost.to_go import to_go_of
from jepa_ros.memory import LongTerm, RecallError
from jepa_ros.memory.knowledge import Picture, Seen
from jepa_ros.memory.overview import latent_of
from jepa_ros.memory.thumbnail import thumbnail
from jepa_ros.planning.aim import Aim, aim_at
from jepa_ros.planning.answers import Answers
from jepa_ros.planning.arrival import Arrival, Reading, read_distance
from jepa_ros.planning.bodies import knowledge_for, unsaid, watch_for
from jepa_ros.planning.config import PlannerConfig
from jepa_ros.planning.delay import Delay
from jepa_ros.planning.deliberate.deliberator import Deliberator, Recorded
from jepa_ros.planning.deliberate.search import DeliberateSearch
from jepa_ros.planning.history import History
from jepa_ros.planning.objective import Objective
from jepa_ros.planning.output import SENTENCES, PlannerOutput
from jepa_ros.planning.problem import Budget, Problem, SearchError
from jepa_ros.planning.proposals import shift_plan
from jepa_ros.planning.result import PlanResult
from jepa_ros.planning.search import Search
from jepa_ros.planning.surprise import InputMonitor, Normal
from jepa_ros.safety.guardrails import GuardrailSet, parse_guardrails
from jepa_ros.safety.inputs import ScanIn


class Planner:
    """Plans towards a goal, image by image.

    Args:
        model: the world model. contract: the robot contract. config: settings.
        card: the checkpoint's model card; `card["calibration"]["vigilance"]` says how surprise and novelty are judged.
            Without it the surprise is the error of the last prediction, in units of
            `card["calibration"]["prediction_error"]` if the card has that.
        guardrails: a GuardrailSet bound to the robot; None for the contract's own.
        proposal: a learned source of candidates.
        memory: a LongTerm that keeps what is seen beyond a drive; None keeps nothing.
        clock: steady seconds; tests may replace it.
        beside: deliberate in a thread between the steps; otherwise as a step begins. :meth:`close` ends the thread.

    Attributes:
        paused: while true every command stands still.
        warm: (T, A) normalised, the last plan, from which the next search starts; None where there is none.
        knowledge: what is known beside the latent. objective: judges plans. search: finds them.
        deliberator: of the deliberate search; None if the model has no cost-to-go for it.
    """

    def __init__(
        self, model, contract, config: PlannerConfig | None = None, card: dict | None = None, guardrails=None,
        proposal=None, memory: LongTerm | None = None, clock=time.perf_counter, beside: bool = False,
    ) -> None:  # fmt: skip
        self.model, self.contract, self.config = model, contract, config or PlannerConfig.of(contract)
        search = self.config.search
        neutral = torch.from_numpy(np.clip(contract.normalise(np.zeros(contract.action_dim)), -1.0, 1.0)).float()
        delay = Delay(contract.actuation_latency, contract.period)
        self.clock, self.memory = clock, memory
        to_go, arrival = to_go_of(model, self.config.deliberate.distance), self.config.arrival
        self.search = Search(model, search, neutral, delay, proposal, clock, arrival, to_go)
        self.knowledge = knowledge_for(contract, model, self.config, memory)
        self.guardrails = self._own_guardrails() if guardrails is None else guardrails
        readouts = self.search.engine.readouts
        self.objective = self.make_objective(
            readouts, contract, search.noise_samples, self.knowledge, self.guardrails, search.weights
        )
        steps = max(1, int(self.config.max_gap / contract.period + 1e-6))
        self.deliberator: Deliberator | None = None
        if to_go is not None and self.config.deliberate.when != "never":
            deliberate = DeliberateSearch(
                model, to_go, self.config.deliberate, arrival, neutral, search.risk, self.search.engine.readouts
            )
            self.deliberator = Deliberator(deliberate, search.horizon, memory, beside)
        elif self.config.deliberate.when == "always":
            raise SearchError(
                f"deliberate when is 'always', but the model has no readout '{self.config.deliberate.distance}' "
                "to tell how far the goal is"
            )
        self.history = History(model, delay, neutral, steps)
        self.arrival = Arrival(self.config.arrival)
        calibration = (card or {}).get("calibration", {}).get("prediction_error")
        normal = Normal.from_card(card)
        self.monitor = None
        if normal is not None:
            self.monitor = InputMonitor(model, normal, contract.period, watch_for(contract, model))
        self.answers = Answers(
            model, contract, self.search, self.objective, self.knowledge, self.history, self.monitor,
            float(calibration) if calibration else None,
        )  # fmt: skip
        self._aim: Aim | None = None
        self.paused = False
        self.reset()

    #: Makes the objective; a subclass may use another one.
    make_objective = Objective

    def reset(self) -> None:
        """Forget history and plan (the robot was moved, the clock jumped); the goal stays."""
        self.history.reset()
        self.arrival.reset()
        if self.monitor is not None:
            self.monitor.reset()
        for part in self.knowledge:
            part.reset()
        if self.deliberator is not None:
            self.deliberator.reset()
        self.warm: torch.Tensor | None = None
        self._stamp: float | None = None
        self._commanded: np.ndarray | None = None
        self._picture: Picture | None = None
        self._failed = False
        self._waited = 0.0  # seconds for the expansion under way, before this step began
        self._plans = 0
        self.answers.reset()

    def warm_up(self) -> float:
        """Spend compile and warm-up time now. Returns the seconds of one iteration of the search."""
        latent = np.zeros(self.model.config.latent_dim, dtype=np.float32)
        target = self.search.target(Goal.from_latent(latent))
        return self.search.warm_up(self._problem(latent, self.model.initial_state(1)[0], target))

    @property
    def too_slow(self) -> str:
        """Why this machine cannot make a plan in time, "" if it can; known after :meth:`warm_up`."""
        fastest, config = self.search.fastest, self.search.config
        if fastest < config.deadline:
            return ""
        return (
            f"one iteration of the search ({config.samples} candidates, {config.horizon} steps, "
            f"{config.noise_samples} futures; {self.search.backend} code) takes {1e3 * fastest:.0f} ms here, "
            f"over search.deadline of {1e3 * config.deadline:.0f} ms: search fewer samples, raise the "
            "deadline, or use a faster machine"
        )

    @property
    def goal(self) -> Goal | None:
        """The goal in force."""
        return None if self._aim is None else self._aim.goal

    @property
    def target(self) -> Target | None:
        """The goal in force as the model reads it."""
        return None if self._aim is None else self._aim.target

    def set_goal(self, goal: Goal | None) -> None:
        """Take a goal; None takes the goal away.

        Raises:
            GoalError: a goal that the model cannot read or place; the old one stays.
            JepaRosError: the weights of the task cost leave no term for this goal; likewise.
        """
        aim = None
        if goal is not None:
            target = self.search.target(goal)
            self.objective.check_weights(self.objective.weights, target)
            aim = aim_at(goal, target, self.model, self.search.device, self.config.novel_goal)
        self._aim = aim
        self.arrival.reset()
        if self.deliberator is not None:
            self.deliberator.cancel()
        self.warm = None

    def close(self) -> None:
        """End the thread that deliberates, if there is one."""
        if self.deliberator is not None:
            self.deliberator.close()

    def goal_from_current(self) -> Goal | None:
        """The present place as a goal; None before the first image."""
        return None if self.history.z is None else Goal.from_latent(self.history.z.cpu().numpy(), name="current")

    def remember(self, name: str) -> None:
        """Give the present place a name in the memory.

        Raises:
            RecallError: there is no memory, no image has been seen yet, or see LongTerm.tag.
        """
        if self.history.z is None:
            raise RecallError("no image has been seen yet")
        memory = self._memory()
        picture = None if self._picture is None else self._picture()
        small = b"" if picture is None else thumbnail(picture)
        memory.tag(name, self.history.z.cpu().numpy(), memory.here, small)

    def remembered_goal(self, name: str) -> Goal:
        """A remembered place as a goal.

        Raises:
            RecallError: there is no memory, or no such place in it.
        """
        return Goal.from_latent(self._memory().tagged(name).latent, kind="memory", name=name)

    def place_goal(self, number: int, key: str) -> Goal:
        """A place of the memory as a goal, by its number and key; see jepa_ros.memory.overview.

        Raises:
            RecallError: there is no memory, or no such place in it.
        """
        return Goal.from_latent(latent_of(self._memory(), number, key), kind="memory", name=f"place {number}")

    def _memory(self) -> LongTerm:
        if self.memory is None:
            raise RecallError("this planner has no long-term memory")
        return self.memory

    def set_guardrails(self, guardrails) -> None:
        """Replace the guardrails from the next plan on; see Objective.set_guardrails for errors."""
        self.objective.set_guardrails(guardrails)
        self.guardrails = guardrails

    def set_weights(self, weights: TaskWeights) -> None:
        """Replace the weights of the task cost from the next plan on; see check_weights for errors."""
        self.check_weights(weights)
        self.objective.set_weights(weights)

    def check_risk(self, risk: Risk) -> None:
        """Raise RiskError if the configured number of futures cannot resolve it."""
        check_level(risk, self.config.search.noise_samples)

    def set_risk(self, risk: Risk) -> None:
        """Replace how the costs of several futures are joined, from the next plan on; see check_risk."""
        self.check_risk(risk)
        self.search.config = replace(self.search.config, risk=risk)
        self.config = replace(self.config, search=self.search.config)

    def check_weights(self, weights: TaskWeights) -> None:
        """Raise JepaRosError if the goal, or any goal picture, has no term with these weights."""
        self.objective.check_weights(weights, None if self._aim is None else self._aim.target)

    def _own_guardrails(self) -> GuardrailSet:
        return parse_guardrails(list(self.contract.guardrails)).bind(self.contract)

    def step(
        self, latent: np.ndarray, stamp: float, executed: np.ndarray | None = None, gated: np.ndarray | None = None,
        iterations: int | None = None, seed: int | None = None, gate_reason: str = "",
        deliberation: Recorded | None = None, odometry: tuple[float, float, float] | None = None,
        picture: Picture | None = None, scan: ScanIn | None = None,
    ) -> PlannerOutput:  # fmt: skip
        """Answer one image.

        Args:
            latent: float32 embedding of E values, any shape (without context, a latent of D values).
            stamp: seconds, of the image.
            executed: (A,) physical, mean of the gate's output since the last image; None: as commanded.
            gated: (A,) physical, the gate's output in effect at the stamp; None: as commanded.
            iterations, seed: of a recorded status, to repeat that plan whatever the clock says.
            gate_reason: the gate's reason word at the stamp; it says whether something is in the way.
            deliberation: of a recorded status, to repeat what was deliberated by then.
            odometry: (x m, y m, yaw rad) at the stamp, None where there is none.
            picture: gives the image, for a memory that keeps thumbnails.
            scan: what the gate's scan shows, None where the planner is told of none.
        """
        self._picture = picture
        if self.deliberator is None:
            return self._step(latent, stamp, executed, gated, iterations, seed, gate_reason, None, odometry, scan)
        began = self.clock()
        with self.deliberator.pause():
            self._waited = self.clock() - began
            tree = self.deliberator.think(deliberation)
            output = self._step(
                latent, stamp, executed, gated, iterations, seed, gate_reason, deliberation, odometry, scan
            )  # fmt: skip
            output.tree, output.status["deliberation"] = tree, self.deliberator.status()
            return output

    def _step(
        self, latent: np.ndarray, stamp: float, executed: np.ndarray | None, gated: np.ndarray | None,
        iterations: int | None, seed: int | None, gate_reason: str, deliberation: Recorded | None,
        odometry: tuple[float, float, float] | None, scan: ScanIn | None,
    ) -> PlannerOutput:  # fmt: skip
        flat = np.ascontiguousarray(latent, dtype=np.float32).reshape(-1)
        size = self.model.config.latent_dim
        if flat.size != embedding_dim(self.model) or not np.isfinite(flat).all():
            self.warm = None
            return self._stop("bad_latent", None, None)
        z = torch.from_numpy(flat[:size]).to(self.search.device)
        steps = self._steps(stamp)
        self._stand_still_at(gated)
        self.history.observe(z, steps, self._unit(executed), self._unit(gated))
        if self.deliberator is not None:
            self.deliberator.saw(z, self.history.h, self.history.action if steps == 1 else None)
        if self.monitor is not None:
            self.monitor.observe(flat, z, self.history, steps, gate_reason == "contact")
        seen = Seen(
            z, flat, stamp, steps, self._commanded, executed, gate_reason, self._failed, odometry, self._picture, scan
        )  # fmt: skip
        self._failed = False
        for part in self.knowledge:
            part.observe(seen)
        if self._aim is None or self.paused:
            self.warm = None
            return self._stop("paused" if self.paused else "idle", None, None)
        reading = self._read(z, self._aim.own)
        if self.arrival.update(reading):
            self.warm = None
            if self.deliberator is not None:
                self.deliberator.cancel("idle")
            return self._stop("arrived", reading, None)
        warm = None if self.warm is None else shift_plan(self.warm, steps)
        self._plans += 1
        plan_seed = self.config.search.seed + self._plans if seed is None else seed
        whole = towards = self._aim.target
        if self.deliberator is not None:
            self.deliberator.know(self.objective.constraints())
            towards = self.deliberator.aim(z, whole, self.search.target)
        result = self._search(
            z, self.history.h, towards, self.history.under_way, warm, None, iterations, plan_seed,
            reading.distance if reading.unit == "m" else None, stamp,
        )  # fmt: skip
        if self.deliberator is not None:
            self.deliberator.judge(
                result, lambda: self._problem(z, self.history.h, whole), plan_seed, deliberation
            )
        if result.actions is None:
            self.warm, self._failed = None, True
            return self._stop(result.reason, reading, result)
        self.warm = torch.from_numpy(result.actions)
        self.history.command(self.warm[0])
        self._commanded = self.contract.denormalise(result.actions[0])
        return self._answer("ok", self.contract.denormalise(result.actions), reading, result)

    def think(
        self, latent, state, goal: Goal, sent=None, warm=None, deadline: float | None = None,
        iterations: int | None = None, seed: int | None = None,
    ) -> PlanResult:  # fmt: skip
        """Search for one plan without taking an image: for tests, benches and checks.

        Args:
            latent: (D,), state: (S',), sent: (n, A), warm: (T, A): see Problem. goal: where to.
            deadline: seconds for this plan; None for the configured ones.
            iterations: run exactly this many, whatever the clock says. seed: None for the configured one.

        Raises:
            SearchError: a size that does not fit. GoalError: a goal that the model cannot read.
        """
        seed = self.config.search.seed if seed is None else seed
        return self._search(latent, state, self.search.target(goal), sent, warm, deadline, iterations, seed)

    def fail(self, error: Exception) -> PlannerOutput:
        """The answer to an image for which :meth:`step` raised: stand still, and say why."""
        self.warm = None
        output = self._stop("error", None, None)
        output.status["sentence"] = f"{SENTENCES['error']}: {error}"
        return output

    # -- parts -------------------------------------------------------------------------------------------------------

    def _search(
        self, latent, state, target: Target, sent, warm, deadline: float | None, iterations: int | None, seed: int,
        distance: float | None = None, stamp: float = 0.0,
    ) -> PlanResult:  # fmt: skip
        """Let all knowledge prepare for the goal, then search for what is left of the deadline."""
        began, config = self.clock(), self.search.config
        for part in self.knowledge:
            part.prepare(target, distance, stamp)
        prepared = self.clock() - began + self._waited
        self._waited = 0.0
        left = (config.deadline if deadline is None else deadline) - prepared
        exactly = iterations is not None
        budget = Budget(left, config.iterations if iterations is None else iterations, exactly=exactly)
        result = self.search.plan(self._problem(latent, state, target, sent, warm), budget, seed)
        result.elapsed += prepared
        return result

    def _problem(self, latent, state, target: Target, sent=None, warm=None) -> Problem:
        objective = self.objective
        held = unsaid(self.contract, target)
        return Problem(
            latent, state, target, objective.terms, objective.constraints(), objective.weights, sent, warm, held
        )

    def _read(self, z: torch.Tensor, goal: Target) -> Reading:
        """How far the goal is: by what is known beside the latent, else by the latent alone."""
        for part in self.knowledge:
            if hasattr(part, "reading") and (found := part.reading(goal)) is not None:
                return Reading(found[0], "m", found[1])
        with torch.no_grad():
            return read_distance(self.model, z, goal)

    def _steps(self, stamp: float) -> int:
        """Control steps since the last image; -1 if the history must be forgotten."""
        last, self._stamp = self._stamp, stamp
        if last is None:
            return 0
        if stamp < last or stamp - last > self.config.max_gap + 0.5 * self.contract.period:
            self.warm = None
            if self.deliberator is not None:
                self.deliberator.cancel()
            return -1
        return round((stamp - last) / self.contract.period)

    def _unit(self, values: np.ndarray | None) -> torch.Tensor | None:
        if values is None or not np.isfinite(values).all():
            return None
        return torch.from_numpy(np.clip(self.contract.normalise(values), -1.0, 1.0)).float()

    def _stand_still_at(self, held: np.ndarray | None) -> None:
        """Set what stands still: for joint positions, the gate's output ``held``, (A,) physical.

        Search and history share the tensor; None leaves it as it is.
        """
        action = self.contract.neutral(held)
        if action is not None and np.isfinite(action).all():
            unit = np.clip(self.contract.normalise(action), -1.0, 1.0)
            self.search.neutral.copy_(torch.from_numpy(unit).float())

    def _stop(self, reason: str, reading: Reading | None, result: PlanResult | None) -> PlannerOutput:
        self.history.command(self.search.neutral)
        self._commanded = None
        return self._answer(reason, None, reading, result)

    def _answer(self, reason: str, plan: np.ndarray | None, reading, result: PlanResult | None) -> PlannerOutput:
        novelty = None if self._aim is None else self._aim.novelty
        return self.answers.make(reason, plan, reading, result, self.guardrails, novelty)

    def view(self, name: str) -> Any:
        """A view of the knowledge, by name, for people to look at; None if there is none of that name."""
        return next((views[name] for part in self.knowledge if name in (views := part.views())), None)
