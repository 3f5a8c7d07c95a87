# SPDX-License-Identifier: Apache-2.0
"""Anytime search in the world model: the cheapest plan that is feasible, under a deadline.

The search knows no ROS, no body and no history. It gets a model once, and cost terms, constraints, a state and a goal
with each :class:`Problem`. The methods that propose candidates are in methods.py.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from jepa_ros.cost.futures import Futures
from jepa_ros.cost.goal import Goal, Target
from jepa_ros.cost.select import lexicographic_order
from jepa_ros.cost.task import TaskCost
from jepa_ros.cost.to_go import CostToGo
from jepa_ros.cost.verdict import Judge, Verdict
from jepa_ros.planning.arrival import ArrivalConfig
from jepa_ros.planning.config import SearchConfig
from jepa_ros.planning.convergence import Convergence
from jepa_ros.planning.delay import Delay
from jepa_ros.planning.methods import SAMPLERS, Gradient
from jepa_ros.planning.problem import Budget, Problem, SearchError, check_problem
from jepa_ros.planning.proposals import PROPOSAL, SOURCES, STOP, WARM, LearnedProposal, Proposal
from jepa_ros.planning.reached import Reached, solved
from jepa_ros.planning.result import PlanResult
from jepa_ros.planning.rollout import check_memory, make_engine
from jepa_ros.world_model.seam import device_of


@dataclass
class _Scores:
    cost: np.ndarray  # (C,)
    verdict: Verdict
    terms: dict[str, torch.Tensor]  # (C, S)
    latents: torch.Tensor  # (C, S, T, D), overwritten by the next rollout


@dataclass
class _Best:
    """The best plan so far; ``key`` orders plans: (violation, cost)."""

    key: tuple[float, float]
    actions: torch.Tensor  # (T, A)
    source: int
    terms: dict[str, float]
    excess: dict[str, float]
    blocked_by: str | None
    latents: torch.Tensor  # (S, T, D)

    @property
    def cost(self) -> float:
        return self.key[1]

    @property
    def feasible(self) -> bool:
        return self.key[0] <= 0.0


@dataclass
class _Task:
    """One problem while the search works on it."""

    z: torch.Tensor  # (D,) where plans begin: the actions under way are done
    h: torch.Tensor
    sent: torch.Tensor
    warm: torch.Tensor | None
    cost: TaskCost
    judge: Judge
    goal: Target
    reached: Reached


class Search:
    """Searches a world model; see :class:`jepa_ros.planning.problem.AnySearch`.

    Args:
        model: see jepa_ros.world_model.seam.AnyWorldModel. config: settings.
        neutral: (A,) normalised, the command that stands still. delay: when commands take effect; None: at once.
        proposal: a learned source of candidates, in the place of the model's own.
        clock: steady seconds; tests may replace it.
        arrival: says which imagined state is at the goal. to_go: tells how much nearer candidates come to the goal.

    Raises:
        SearchError: the model takes other actions, or the futures do not fit into memory.
    """

    def __init__(
        self, model: Any, config: SearchConfig, neutral: torch.Tensor, delay: Delay | None = None,
        proposal: Proposal | None = None, clock=time.perf_counter, arrival: ArrivalConfig | None = None,
        to_go: CostToGo | None = None,
    ) -> None:  # fmt: skip
        self.arrival, self.to_go = arrival or ArrivalConfig(), to_go
        actions = neutral.shape[0]
        if model.config.action_dim != actions:
            raise SearchError(
                f"model takes {model.config.action_dim} action values, the robot has {actions}: "
                "the checkpoint belongs to another robot"
            )
        self.model, self.config, self.neutral = model, config, neutral
        if proposal is None and "proposal" in model.readouts:
            proposal = LearnedProposal(model)
        self.proposal, self.clock = proposal, clock
        self.delay = delay or Delay(0.0, 1.0)
        self.device = device_of(model)
        check_memory(config, model.config, self.device)
        self.sampler = SAMPLERS[config.method](config, actions)
        self.generator = torch.Generator()
        shape = (config.samples, config.horizon, actions)
        self._candidates, self._executed = torch.zeros(shape), torch.zeros(shape)
        self._source = np.zeros(config.samples, dtype=np.int64)
        sizes = config.samples, config.noise_samples, config.horizon
        self.engine = make_engine(model, *sizes, config.backend, config.dtype, config.threads)
        self._recent: deque[float] = deque(maxlen=8)  # seconds of the last iterations
        self._closing = 0.0  # seconds from the last iteration to the answer, last time
        #: Seconds of one iteration, undisturbed; 0 before :meth:`warm_up`.
        self.fastest = 0.0

    @property
    def backend(self) -> str:
        """The engine in use."""
        return self.engine.rollout.name

    @property
    def candidates(self) -> torch.Tensor:
        """The last iteration's candidates (C, T, A), valid until the next plan."""
        return self._candidates

    def target(self, goal: Goal) -> Target:
        """A goal in terms of the engine's readouts; see Target for errors."""
        return Target(goal, self.engine.readouts, self.device)

    def warm_up(self, problem: Problem, plans: int = 3) -> float:
        """Compile, fill caches and measure: seconds of one iteration. Call it once, before the first goal."""
        for _ in range(plans):
            self.plan(problem, Budget(iterations=2, exactly=True), self.config.seed)
            self._recent.clear()
        self.plan(problem, Budget(iterations=3, exactly=True), self.config.seed)
        self.fastest = min(self._recent)
        return self.fastest

    @torch.no_grad()
    def plan(self, problem: Problem, budget: Budget, seed: int) -> PlanResult:
        """See :meth:`jepa_ros.planning.problem.AnySearch.plan`."""
        start, config = self.clock(), self.config
        c = self.model.config
        sizes = c.latent_dim, c.state_dim, config.horizon, self.delay.known
        z, h, sent, warm = check_problem(problem, *sizes, self.neutral, self.device)
        held = list(problem.held)
        enough = math.isfinite(budget.seconds) and budget.seconds > self.fastest
        if not (budget.iterations if budget.exactly else enough):
            return PlanResult(None, "deadline", seed, elapsed=self.clock() - start)
        self.generator.manual_seed(seed)
        result, best = PlanResult(None, "non_finite", seed), None
        z, h = self._roll_forward(z, h, sent, result)
        judge = Judge(problem.constraints, problem.goal, config.risk)
        reached = Reached(self.engine.readouts, problem.goal, self.arrival)
        task = _Task(z, h, sent, warm, TaskCost(problem.terms, problem.weights), judge, problem.goal, reached)
        self.sampler.start(self._still() if warm is None else warm)
        if isinstance(self.sampler, Gradient):
            self.sampler.gradient = lambda plans: self._slope(task, plans)
        seeds, noise = self._seeds(task), self._draw(task, config.noise_samples)
        convergence = Convergence(config.converge_tol, config.patience)
        for iteration in range(budget.iterations):
            began = self.clock()
            if iteration and not budget.exactly and self._over(budget, began - start, result):
                break
            self.sampler.propose(iteration, seeds, self._candidates, self._source, self.generator)
            self._candidates[..., held] = self.neutral[held]
            scores = self._score(task, self._candidates, self._executed, noise, result)
            order = lexicographic_order(scores.cost, scores.verdict.violation)
            if iteration == 0 and warm is not None:
                result.warm_cost = float(scores.cost[0])
            best = self._better(best, scores, order)
            self._learn(scores, order)
            result.iterations += 1
            result.evaluated += len(scores.cost)
            result.dropped += len(scores.cost) - len(order)
            now = self.clock()
            self._recent.append(now - began)
            result.history.append((now - start, best.cost if best else math.inf))
            result.elite_costs.append(self._elite_cost(best, scores, order))
            if self._enough(best, task, convergence, result) and not budget.exactly:
                break
        began = self.clock()
        result.rate, result.to_go = self._rate(task, scores)
        if best is not None:
            best = self._verify(best, task, result)
            result.solved = self._solved(best, task)
            result.nearest, result.unit = float(task.reached.distance(best.latents[0]).min()), task.reached.unit
            self._fill(result, best, scores, order)
        now = self.clock()
        self._closing, result.elapsed = now - began, now - start
        return result

    # -- parts of a plan, in their order -----------------------------------------------------------------------------

    def _over(self, budget: Budget, spent: float, result: PlanResult) -> bool:
        """Whether another iteration would be one too many."""
        each = self._candidates.shape[0] * self._candidates.shape[1] * self.config.noise_samples
        return spent + max(self._recent) + self._closing > budget.seconds or result.calls + each > budget.calls

    def _enough(self, best: _Best | None, task: _Task, convergence: Convergence, result: PlanResult) -> bool:
        """Whether the search may stop before its time is over, by the rule of the settings."""
        if self.config.stop == "solved":
            result.converged = best is not None and best.feasible and self._solved(best, task) >= self.config.sure
        else:
            result.converged = convergence.update(result.history[-1][1], result.elite_costs[-1])
        return result.converged

    def _solved(self, best: _Best, task: _Task) -> float:
        """Share of the futures in which a plan reaches the goal."""
        return float(solved(task.reached.inside(best.latents[None])[1])[0])

    def _rate(self, task: _Task, scores: _Scores) -> tuple[float, float]:
        """How many steps nearer to the goal the best of the last candidates comes in each of its steps, and how many
        there are, by the cost-to-go; NaN if nothing tells."""
        allowed = scores.verdict.violation <= 0.0
        if self.to_go is None or task.goal.latent is None or not allowed.any():
            return math.nan, math.nan
        ends = scores.latents[torch.from_numpy(np.flatnonzero(allowed)).to(self.device), 0, -1]
        codes = self.to_go.code(torch.cat([task.z[None], ends]))
        left = self.to_go.steps(codes, self.to_go.code(task.goal.latent[None]))
        before = float(left[0])
        nearer = before - left[1:].nan_to_num(nan=before, posinf=before).min()
        return float(nearer) / min(self.config.horizon, max(before, 1.0)), before

    def _still(self) -> torch.Tensor:
        return self.neutral.expand(self.config.horizon, -1)

    def _roll_forward(self, z, h, sent, result: PlanResult):
        decided = self.delay.under_way(sent)
        if not len(decided):
            return z, h
        zs, h = self.model.rollout(z[None], h[None], decided[None].to(self.device), None)
        result.calls += len(decided)
        return zs[0, -1], h[0]

    def _seeds(self, task: _Task) -> list[tuple[int, torch.Tensor]]:
        seeds = [] if task.warm is None else [(WARM, task.warm[None])]
        seeds.append((STOP, self._still()[None]))
        count = int(self.config.proposal_share * self.config.samples)
        if self.proposal is not None and count:
            plans = self.proposal(task.z, task.h, task.goal, count, self.config.horizon, self.generator)
            seeds.append((PROPOSAL, torch.as_tensor(plans, dtype=torch.float32, device="cpu")))
        return seeds

    def _draw(self, task: _Task, samples: int) -> torch.Tensor | None:
        """Draw what the coming futures differ in: the model's noise (S, T, N), and what the constraints guess."""
        noise = None
        if samples > 1:
            shape = (samples, self.config.horizon, self.model.config.noise_dim)
            noise = torch.randn(shape, generator=self.generator).to(self.device)
        for constraint in task.judge.constraints:
            constraint.draw(samples, self.generator)
        return noise

    def _score(self, task: _Task, candidates, executed, noise, result: PlanResult) -> _Scores:
        actions = self.delay.effective(candidates, task.sent, out=executed).to(self.device)
        zs = self.engine.rollout(task.z, task.h, actions, noise)
        result.calls += zs.shape[0] * zs.shape[1] * zs.shape[2]
        futures = Futures(self.engine.readouts, zs, actions, task.z)
        cost, terms = task.cost(futures, task.goal)  # (C, S)
        return _Scores(self.config.risk(cost.cpu().numpy()), task.judge(futures), terms, zs)

    def _better(self, best: _Best | None, scores: _Scores, order: np.ndarray) -> _Best | None:
        """The best so far; of two equals the older one."""
        if not len(order):
            return best
        i = int(order[0])
        key = (float(scores.verdict.violation[i]), float(scores.cost[i]))
        if best is not None and key >= best.key:
            return best
        return self._pick(key, scores, i, self._candidates[i].clone(), int(self._source[i]))

    def _pick(self, key: tuple[float, float], scores: _Scores, i: int, actions: torch.Tensor, source: int) -> _Best:
        return _Best(
            key, actions, source,
            {name: float(value[i].mean()) for name, value in scores.terms.items()},
            {name: float(value[i]) for name, value in scores.verdict.excess.items()},
            scores.verdict.in_the_way(i), scores.latents[i].clone(),
        )  # fmt: skip

    def _learn(self, scores: _Scores, order: np.ndarray) -> None:
        if not len(order):
            return
        feasible = order[scores.verdict.violation[order] <= 0.0]
        if len(feasible):
            self.sampler.update(self._candidates, self._source, feasible, scores.cost)
        else:  # nothing feasible yet: go towards the smallest violation
            self.sampler.update(self._candidates, self._source, order, scores.verdict.violation)

    def _elite_cost(self, best: _Best | None, scores: _Scores, order: np.ndarray) -> float:
        """Mean cost of the elites; infinite until a plan is feasible."""
        if best is None or not best.feasible or not len(order):
            return math.inf
        return float(scores.cost[order[: self.config.elites]].mean())

    def _slope(self, task: _Task, plans: torch.Tensor) -> torch.Tensor:
        """Gradient of the task cost with respect to plans (n, T, A), most likely future."""
        with torch.enable_grad():
            plans = plans.detach().clone().requires_grad_(True)
            actions = self.delay.effective(plans, task.sent).to(self.device)
            rows = len(plans)
            zs, _ = self.model.rollout(task.z.expand(rows, -1), task.h.expand(rows, -1), actions, None)
            cost, _ = task.cost(Futures(self.model, zs[:, None], actions, task.z), task.goal)
            return torch.autograd.grad(cost.sum(), plans)[0]

    def _verify(self, best: _Best, task: _Task, result: PlanResult) -> _Best:
        """Judge the best candidates on fresh futures, which the search did not optimise over."""
        must = any(constraint.slack is None for constraint in task.judge.constraints)
        if not must or self.config.noise_samples == 1 or not best.feasible:
            return best
        kept = self.sampler.kept[: self.sampler.kept_count]
        plans = torch.cat([best.actions[None], kept, self._still()[None]])
        noise = self._draw(task, max(self.config.verify_samples, self.config.noise_samples))
        scores = self._score(task, plans, torch.empty_like(plans), noise, result)
        if scores.verdict.violation[0] <= 0.0:
            return best
        order = lexicographic_order(scores.cost, scores.verdict.violation)
        i = int(order[0]) if len(order) else 0
        key = (float(scores.verdict.violation[i]), float(scores.cost[i]))
        return self._pick(key, scores, i, plans[i], best.source)

    def _fill(self, result: PlanResult, best: _Best, scores: _Scores, order: np.ndarray) -> None:
        result.cost, result.terms, result.excess = best.cost, best.terms, best.excess
        result.source, result.latents = SOURCES[best.source], best.latents[0]
        result.feasible, result.blocked_by = best.feasible, best.blocked_by
        result.reason = "ok" if best.feasible else "infeasible"
        result.actions = best.actions.numpy() if best.feasible else None
        elites = self._source[order[: self.config.elites]]
        if len(elites):
            result.shares = {SOURCES[i]: float((elites == i).mean()) for i in np.unique(elites)}
        result.candidates = [
            (scores.latents[i, 0].clone(), float(scores.cost[i]), bool(scores.verdict.violation[i] <= 0.0))
            for i in order[: self.config.publish]
        ]
