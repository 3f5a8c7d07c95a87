# SPDX-License-Identifier: Apache-2.0
"""Anytime search for the plan that is feasible and cheapest in the world model, under a deadline.

The search knows no ROS and no history: it is given a state and a goal and answers with a plan. Which method proposes
the candidates is methods.py's, what they cost is jepa_ros.cost's.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import torch

from jepa_ros.cost.goal import Goal
from jepa_ros.cost.guardrails import REGIONS, GuardrailCost, Verdict
from jepa_ros.cost.risk import Risk, check_level
from jepa_ros.cost.select import lexicographic_order
from jepa_ros.cost.task import TaskCost, TaskWeights
from jepa_ros.memory import LongTerm, Movers, Obstructions, Places
from jepa_ros.planar.places import SLACK
from jepa_ros.planar.route import Route
from jepa_ros.planning.config import SearchConfig, SearchError
from jepa_ros.planning.convergence import Convergence
from jepa_ros.planning.delay import Delay
from jepa_ros.planning.methods import SAMPLERS, Gradient
from jepa_ros.planning.proposals import PROPOSAL, SOURCES, STOP, WARM, LearnedProposal, Proposal
from jepa_ros.planning.readouts import SharedReadouts
from jepa_ros.planning.result import PlanResult
from jepa_ros.planning.rollout import check_memory, make_engine
from jepa_ros.safety.schema import RESERVED_NAMES

#: Seconds for which an obstruction is remembered where a map tells what stands about: long enough to take another way.
#: The gate's word says that something is in the way, not quite where; for long it would close a passage that is free.
OBSTRUCTION_LIFETIME = 5.0
#: What the search itself keeps clear of, beside the guardrails in every verdict: reserved, no guardrail is called so.
BUMPED, MAPPED = RESERVED_NAMES


@dataclass
class _Scores:
    cost: np.ndarray  # (C,)
    verdict: Verdict
    terms: dict[str, torch.Tensor]  # (C, S)
    latents: torch.Tensor  # (C, S, T, D), overwritten by the next rollout


class Search:
    """Searches a world model.

    Args:
        model: has `config`, `initial_state`, `rollout` and readouts, as jepa_ros.world_model.WorldModel.
        config: settings; contract: the robot contract (period, actuation latency, action units).
        guardrails: a GuardrailSet bound to the robot; proposal: a learned source of
            candidates, instead of the model's own.
        clock: seconds, steady; a test may give its own.

    Raises:
        SearchError: the model's action size is not the contract's, or the futures do not fit into memory.
    """

    def __init__(
        self, model, config: SearchConfig, contract, guardrails=(), proposal: Proposal | None = None,
        clock=time.perf_counter,
    ) -> None:  # fmt: skip
        if model.config.action_dim != contract.action_dim:
            raise SearchError(
                f"model takes {model.config.action_dim} action values, contract {contract.name!r} has "
                f"{contract.action_dim}: the checkpoint belongs to another robot"
            )
        self.model, self.config, self.contract = model, config, contract
        if proposal is None and model.has_readout("proposal"):
            proposal = LearnedProposal(model)
        self.proposal, self.clock = proposal, clock
        self.delay = Delay(contract.actuation_latency, contract.period)
        parameter = next(iter(model.parameters()), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        check_memory(config, model.config, self.device)
        shape = (config.samples, config.horizon, contract.action_dim)
        stop = np.clip(contract.normalise(np.zeros(contract.action_dim)), -1.0, 1.0)
        self.neutral = torch.from_numpy(stop).float()  # (A,) the command that stands still
        self.sampler = SAMPLERS[config.method](config, contract.action_dim)
        self.generator = torch.Generator()
        self._candidates, self._executed = torch.zeros(shape), torch.zeros(shape)
        self._source = np.zeros(config.samples, dtype=np.int64)
        self.engine = make_engine(
            model,
            config.samples,
            config.noise_samples,
            config.horizon,
            config.backend,
            config.dtype,
            config.threads,
        )
        self._rollout = self.engine.rollout
        self._readouts = SharedReadouts(self.engine.readouts)
        self._recent: deque[float] = deque(maxlen=8)  # seconds of the last iterations
        self._fastest = 0.0  # seconds of one iteration, undisturbed
        self._granted: dict[str, float] = {}  # what this plan may exceed, because nothing is safer
        self._ways_of_movers: np.ndarray | None = None
        self._closing = 0.0  # seconds from the last iteration to the answer, last time
        #: What came of earlier motions; plans that go there again are infeasible. The planner fills it.
        self.obstructions = Obstructions(contract.footprint.radius, contract.period)
        #: Where the pictures tell that the robot can drive; None without a map. The planner fills it.
        self.places: Places | None = None
        self._route: Route | None = None
        if cells := getattr(model.config, "map_cells", 0):
            extent = model.config.map_extent
            self.places, self._route = Places(cells, extent), Route(cells, extent, self.device)
            self.obstructions.lifetime = OBSTRUCTION_LIFETIME
        #: What came of earlier drives: ways that the route counts as doubtful. The planner sets and fills it.
        self.memory: LongTerm | None = None
        #: What moves, where futures can differ in where it goes; None with a single one. The planner fills it.
        self.movers: Movers | None = None
        if self.places is not None and config.noise_samples > 1:
            self.movers = Movers(cells, model.config.map_extent, contract.period)
        self._remembers = model.has_readout("pose") and not contract.jointed
        self.set_weights(config.weights)
        self.set_guardrails(guardrails)

    @property
    def backend(self) -> str:
        """The engine in use."""
        return self.engine.rollout.name

    @property
    def fastest(self) -> float:
        """Seconds of one iteration, undisturbed; 0 before :meth:`warm_up`."""
        return self._fastest

    def set_guardrails(self, guardrails) -> None:
        """Replace the guardrails (a GuardrailSet bound to the robot) from the next plan on; refused, the old set stays.

        Raises:
            RiskError: a risk level that the number of noise samples cannot resolve.
            GuardrailError: a guardrail that nobody could judge with this model.
        """
        margin = self.config.region_margin
        wider = [replace(g, radius=g.radius + margin) if getattr(g, "kind", None) in REGIONS else g for g in guardrails]
        self.guard = GuardrailCost(wider, self._readouts, self.contract, self.config.noise_samples, self.places)
        self._closed = np.zeros(0) if self.places is None else self.guard.closed(self.places.centres())

    def check_risk(self, risk: Risk) -> None:
        """Raise RiskError where the configured number of futures cannot resolve it."""
        check_level(risk, self.config.noise_samples)

    def check_weights(self, weights: TaskWeights, goal: Goal | None = None) -> None:
        """Raise JepaRosError where no search towards a goal image, or towards ``goal``, could go by these weights."""
        TaskCost(self._readouts, weights).check(goal)

    def set_weights(self, weights: TaskWeights) -> None:
        """Replace the weights of the task cost, from the next plan on; see check_weights for errors."""
        self.check_weights(weights)
        self.task = TaskCost(self._readouts, weights)
        self._slope_task = TaskCost(self.model, weights)  # the readouts that have gradients
        if self._route is not None:
            self.task.detour = self._slope_task.detour = self._route.detour

    def warm_up(self, plans: int = 3) -> float:
        """Compile, fill caches and measure: seconds of one iteration. For configure, not for the first goal."""
        dim = self.model.config.latent_dim
        goal = Goal.from_latent(np.zeros(dim, dtype=np.float32))
        state = self.model.initial_state(1)[0]
        for _ in range(plans):
            self.plan(torch.zeros(dim), state, goal, iterations=2)
            self._recent.clear()
        self.plan(torch.zeros(dim), state, goal, iterations=3)
        self._fastest = min(self._recent)
        return self._fastest

    @torch.no_grad()
    def plan(
        self, z, h, goal: Goal, sent=None, warm=None, deadline: float | None = None, iterations: int | None = None,
        seed: int | None = None,
    ) -> PlanResult:  # fmt: skip
        """Search for a plan.

        Args:
            z: (D,) latent of the newest image, h: (S',) recurrent state.
            goal: where to.
            sent: (n, A) normalised commands already sent, oldest first, n = `delay.known`; None stood still.
            warm: (T, A) normalised plan to start from; the answer is never worse than it.
            deadline: seconds for this plan, instead of the configured ones.
            iterations: run exactly so many, whatever the clock says: repeats a recorded plan.
            seed: of this plan's candidates and noise, instead of the configured one.

        Raises:
            SearchError: a size that does not fit. GoalError: a goal that the model cannot read.
        """
        start = self.clock()
        config = self.config
        deadline = config.deadline if deadline is None else deadline
        seed = config.seed if seed is None else seed
        z, h, sent, warm = self._inputs(z, h, sent, warm)
        if iterations is None and not (math.isfinite(deadline) and deadline > self._fastest):
            return PlanResult(None, "deadline", seed, elapsed=self.clock() - start)
        if iterations is not None and iterations < 1:
            raise SearchError(f"iterations is {iterations}; expected at least 1")
        self.generator.manual_seed(seed)
        target = self.task.goal_tensor(goal, z)
        self._find_route(goal, target)
        z, h = self._roll_forward(z, h, sent)
        self.sampler.start(self._still() if warm is None else warm)
        if isinstance(self.sampler, Gradient):
            self.sampler.gradient = lambda plans: self._slope(z, h, goal, target, sent, plans)
        seeds, noise = self._seeds(z, h, goal, warm), self._noise(config.noise_samples)
        self._granted = {}
        self._move(config.noise_samples)

        result, best = PlanResult(None, "non_finite", seed), None
        limit = config.iterations if iterations is None else iterations
        convergence = Convergence(config.converge_tol, config.patience)
        for iteration in range(limit):
            began = self.clock()
            if iterations is None and iteration and began - start + max(self._recent) + self._closing > deadline:
                break
            self.sampler.propose(iteration, seeds, self._candidates, self._source, self.generator)
            scores = self._score(z, h, goal, target, sent, self._candidates, self._executed, noise)
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
            result.history.append((now - start, best["cost"] if best else math.inf))
            result.elite_costs.append(self._elite_cost(best, scores, order))
            if convergence.update(result.history[-1][1], result.elite_costs[-1]) and iterations is None:
                result.converged = True
                break
        began = self.clock()
        if best is not None:
            best = self._verify(best, z, h, goal, target, sent)
            self._fill(result, best, scores, order)
        now = self.clock()
        self._closing, result.elapsed = now - began, now - start
        return result

    # -- parts of a plan, in their order -----------------------------------------------------------------------------

    def _inputs(self, z, h, sent, warm):
        config, actions = self.model.config, self.contract.action_dim

        def check(name, value, shape, device="cpu"):
            value = torch.as_tensor(value, dtype=torch.float32, device=device)
            if tuple(value.shape) != shape:
                raise SearchError(f"{name} has shape {tuple(value.shape)}; expected {shape}")
            if not torch.isfinite(value).all():
                raise SearchError(f"{name}: a value is not finite")
            return value

        z = check("latent z", z, (config.latent_dim,), self.device)
        h = check("recurrent state h", h, (config.state_dim,), self.device)
        sent = self.neutral.expand(self.delay.known, -1) if sent is None else sent
        sent = check("sent commands", sent, (self.delay.known, actions))
        if warm is not None:
            warm = check("warm start", warm, (self.config.horizon, actions)).clamp(-1.0, 1.0)
        return z, h, sent, warm

    def _still(self) -> torch.Tensor:
        return self.neutral.expand(self.config.horizon, -1)

    def _roll_forward(self, z, h, sent):
        decided = self.delay.under_way(sent)
        if not len(decided):
            return z, h
        zs, h = self.model.rollout(z[None], h[None], decided[None].to(self.device), None)
        return zs[0, -1], h[0]

    def _find_route(self, goal: Goal, target) -> None:
        """The ways to the goal round all that is known to be in between: seen, bumped into, or forbidden."""
        if self._route is None or self.places is None:
            return
        blocked = np.maximum(self.places.blocked(), self._closed)
        if len(self.obstructions):
            blocked = np.maximum(blocked, self.obstructions.near(self.places.centres()))
        if self.memory is not None and len(self.memory.obstructions):
            blocked = np.maximum(blocked, self.memory.obstructed(self.places.centres()))
        x, y = (target if goal.pose is not None else self.engine.readouts.pose(target[None])[0])[:2].tolist()
        self._route.solve(blocked, (x, y))

    def _seeds(self, z, h, goal, warm):
        seeds = [] if warm is None else [(WARM, warm[None])]
        seeds.append((STOP, self._still()[None]))
        count = int(self.config.proposal_share * self.config.samples)
        if self.proposal is not None and count:
            plans = self.proposal(z, h, goal, count, self.config.horizon, self.generator)
            seeds.append((PROPOSAL, torch.as_tensor(plans, dtype=torch.float32, device="cpu")))
        return seeds

    def _noise(self, samples: int) -> torch.Tensor | None:
        if samples == 1:
            return None
        shape = (samples, self.config.horizon, self.model.config.noise_dim)
        return torch.randn(shape, generator=self.generator).to(self.device)

    def _score(self, z, h, goal, target, sent, candidates, executed, noise) -> _Scores:
        actions = self.delay.effective(candidates, sent, out=executed).to(self.device)
        zs = self._rollout(z, h, actions, noise)
        self._readouts.begin(zs)
        cost, terms = self.task(zs, goal, target)  # (C, S)
        verdict = self.guard(zs, actions, z)
        if self._remembers and (self.places is not None or len(self.obstructions)):
            self._remember(verdict, z, zs)
        return _Scores(self.config.risk(cost.cpu().numpy()), verdict, terms, zs)

    def _remember(self, verdict: Verdict, z, zs) -> None:
        """What is known to be in the way counts like a guardrail, at the search's risk over the futures."""
        readouts = self._readouts
        here = readouts.pose(z[None])[0, :2].float().cpu().numpy().copy()
        ways = readouts.pose(zs)[..., :2].float().cpu().numpy()
        if len(self.obstructions):
            excess = self.obstructions.excess(ways, here)  # (C, S)
            verdict.add(
                BUMPED,
                excess[:, 0] if excess.shape[1] == 1 else self._least(BUMPED, self.config.risk(excess), 0.0),
            )
        if self.places is not None and self.config.contact_limit < 1.0:
            verdict.add(MAPPED, self._contact_excess(ways, here))

    def _contact_excess(self, ways: np.ndarray, here: np.ndarray) -> np.ndarray:
        """(C,) how far ways (C, S, T, 2) from ``here`` go beyond the chance of contact that is taken.

        With several futures the chance is the worst over the steps of each, at the search's risk over the futures,
        which differ in where the robot comes to and in where others go. Where every way is riskier than what is taken
        (somebody comes near), those of the least risk are taken: standing still would be no safer.
        """
        assert self.places is not None
        limit = self.config.contact_limit
        if ways.shape[1] == 1:
            return self.places.excess(ways, here, limit)[:, 0]
        chance = self.places.look_up(ways)
        if self.movers is not None and self._ways_of_movers is not None:
            chance = np.maximum(chance, self.movers.chance(ways, self._ways_of_movers))
        return self._least(MAPPED, self.config.risk(chance.max(axis=-1)) - limit, SLACK)

    def _least(self, name: str, excess: np.ndarray, slack: float) -> np.ndarray:
        """Excess (C,) at a risk, less the least that any of a plan's first candidates (standing still is one) has."""
        if name not in self._granted:
            finite = excess[np.isfinite(excess)]
            least = float(finite.min()) if len(finite) else 0.0
            self._granted[name] = least + slack if least > 0.0 else 0.0
        return excess - self._granted[name]

    def _move(self, samples: int) -> None:
        """Draw for each of the futures where everybody who moves goes."""
        self._ways_of_movers = None
        if self.movers is not None and self.movers.found:
            whims = torch.randn((samples, len(self.movers.found), 2), generator=self.generator)
            self._ways_of_movers = self.movers.velocities(whims.numpy())

    def _better(self, best, scores: _Scores, order: np.ndarray):
        """The best so far; of equals the older stays."""
        if not len(order):
            return best
        i = order[0]
        key = (float(scores.verdict.violation[i]), float(scores.cost[i]))
        if best is not None and key >= best["key"]:
            return best
        return {
            "key": key, "cost": key[1], "actions": self._candidates[i].clone(), "source": int(self._source[i]),
            "terms": {name: float(value[i].mean()) for name, value in scores.terms.items()},
            "excess": {name: float(value[i]) for name, value in scores.verdict.excess.items()},
            "blocked_by": scores.verdict.in_the_way(i), "latents": scores.latents[i, 0].clone(),
        }  # fmt: skip

    def _learn(self, scores: _Scores, order: np.ndarray) -> None:
        if not len(order):
            return
        feasible = order[scores.verdict.violation[order] <= 0.0]
        if len(feasible):
            self.sampler.update(self._candidates, self._source, feasible, scores.cost)
        else:  # nothing feasible yet: towards the smallest violation
            self.sampler.update(self._candidates, self._source, order, scores.verdict.violation)

    def _elite_cost(self, best, scores: _Scores, order: np.ndarray) -> float:
        """Mean cost of the elites; infinite while nothing feasible is known."""
        if best is None or best["key"][0] > 0.0 or not len(order):
            return math.inf
        return float(scores.cost[order[: self.config.elites]].mean())

    def _slope(self, z, h, goal, target, sent, plans: torch.Tensor) -> torch.Tensor:
        """Gradient of the task cost with respect to plans (n, T, A), most likely future."""
        with torch.enable_grad():
            plans = plans.detach().clone().requires_grad_(True)
            actions = self.delay.effective(plans, sent).to(self.device)
            rows = len(plans)
            zs, _ = self.model.rollout(z.expand(rows, -1), h.expand(rows, -1), actions, None)
            cost, _ = self._slope_task(zs, goal, target)
            return torch.autograd.grad(cost.sum(), plans)[0]

    def _verify(self, best, z, h, goal, target, sent):
        """Judge the best candidates' guardrails on futures that the search did not optimise over."""
        if not self.guard or self.config.noise_samples == 1 or best["key"][0] > 0.0:
            return best
        kept = self.sampler.kept[: self.sampler.kept_count]
        plans = torch.cat([best["actions"][None], kept, self._still()[None]])
        samples = max(self.config.verify_samples, self.config.noise_samples)
        noise = self._noise(samples)
        self._move(samples)
        executed = torch.empty_like(plans)
        scores = self._score(z, h, goal, target, sent, plans, executed, noise)
        if scores.verdict.violation[0] <= 0.0:
            return best
        order = lexicographic_order(scores.cost, scores.verdict.violation)
        i = order[0] if len(order) else 0
        return best | {
            "key": (float(scores.verdict.violation[i]), float(scores.cost[i])), "cost": float(scores.cost[i]),
            "actions": plans[i], "blocked_by": scores.verdict.in_the_way(i), "latents": scores.latents[i, 0].clone(),
            "excess": {name: float(value[i]) for name, value in scores.verdict.excess.items()},
        }  # fmt: skip

    def _fill(self, result: PlanResult, best, scores: _Scores, order: np.ndarray) -> None:
        result.cost, result.terms, result.excess = best["cost"], best["terms"], best["excess"]
        result.source, result.latents = SOURCES[best["source"]], best["latents"]
        result.feasible = best["key"][0] <= 0.0
        result.blocked_by = best["blocked_by"]
        result.reason = "ok" if result.feasible else "infeasible"
        result.actions = best["actions"].numpy() if result.feasible else None
        elites = self._source[order[: self.config.elites]]
        if len(elites):
            result.shares = {SOURCES[i]: float((elites == i).mean()) for i in np.unique(elites)}
        result.candidates = [
            (scores.latents[i, 0].clone(), float(scores.cost[i]), bool(scores.verdict.violation[i] <= 0.0))
            for i in order[: self.config.publish]
        ]
