# SPDX-License-Identifier: Apache-2.0
"""One problem while it is thought about: a tree that grows by expansions and can be looked at after each.

One expansion takes the most promising states, rolls short plans out from each, and keeps where they lead if that is
new, finite and allowed. The problem is solved when one of them reaches the goal and enough noise samples keep to the
way. Equal problems, seeds and numbers of expansions give equal trees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from jepa_ros.cost.futures import Futures, latent_rms
from jepa_ros.cost.goal import GoalError
from jepa_ros.cost.seam import Constraint
from jepa_ros.cost.verdict import Judge
from jepa_ros.planning.deliberate import edges
from jepa_ros.planning.deliberate.edges import Edges
from jepa_ros.planning.deliberate.failures import Failed
from jepa_ros.planning.deliberate.tree import ROOT, Tree
from jepa_ros.planning.deliberate.way import Way
from jepa_ros.planning.problem import Problem, check_problem
from jepa_ros.planning.reached import Reached

if TYPE_CHECKING:
    from jepa_ros.planning.deliberate.search import DeliberateSearch

#: Remembered states are aimed at within so many lengths of an edge, if there are any.
RING = 3.0
#: Directions in which a single step is tried, and the quantile that counts.
STEPPED, FREE = 32, 0.9
#: Ways to the goal that are judged after one expansion, the shortest first.
JUDGED = 3


class _Stopped(Exception):
    """An expansion was given up."""


@dataclass
class Counts:
    """What became of the rollouts: calls of the model, expansions, states kept, and why others were not kept.

    Attributes:
        near: too near to a known state. forbidden: against a constraint. non_finite: the model broke there.
        failed: like an edge that did not come true when it was driven.
        unsure: reached the goal, but too few noise samples kept to the way.
    """

    calls: int = 0
    expansions: int = 0
    near: int = 0
    forbidden: int = 0
    non_finite: int = 0
    failed: int = 0
    unsure: int = 0


class Deliberation:
    """One problem while it is thought about; see :meth:`DeliberateSearch.begin`.

    Attributes:
        step: what the cost-to-go says of a single step at full strength, at least 1.
        tree: what was found. counts: what it took. solved: a way reaches the goal, surely enough.
    """

    def __init__(
        self, search: DeliberateSearch, problem: Problem, seed: int, remembered: Tensor | None, failed: Failed | None
    ) -> None:  # fmt: skip
        self.search, self.config, self.problem, self.seed = search, search.config, problem, seed
        model, to_go, c = search.model, search.to_go, search.model.config
        if problem.goal.latent is None:
            raise GoalError("a goal without a picture cannot be deliberated on: the cost-to-go compares latents")
        self._goal_latent, self._failed = problem.goal.latent, failed
        z, h, _, _ = check_problem(problem, c.latent_dim, c.state_dim, 1, 0, search.neutral, search.device)
        self.generator = torch.Generator().manual_seed(seed)
        self.counts = Counts()
        self.reached = Reached(model, problem.goal, search.arrival)
        self.judge = Judge(tuple(problem.constraints), problem.goal, search.risk)
        with torch.no_grad():
            self._goal = to_go.code(problem.goal.latent[None])
            code = to_go.code(z[None])
            self._remembered = self._recall(remembered)
        self.tree = Tree(
            self.config.nodes, (c.latent_dim, c.state_dim, code.shape[-1]), (self.config.length, c.action_dim),
            search.device,
        )  # fmt: skip
        self.step, moved = self._step(z, h, code)
        if self.reached.unit == "steps":
            self.reached.tolerance = max(self.reached.tolerance, self.config.tolerance * self.step)
            self.reached.latent_tolerance = self.config.tolerance * moved
        edge = search.neutral.to(search.device).expand(self.config.length, -1)
        left = float(to_go.steps(code, self._goal)[0])
        if not math.isfinite(left):
            raise GoalError(f"the cost-to-go from here to the goal is {left}: the model cannot place it")
        none, begun = np.array([-1]), np.array([0])
        self.tree.add(none, z[None], h[None], code, edge[None], begun, np.array([left]))
        self.solved, self._confidence = bool(self.reached.inside(z)[1]), 1.0
        self._unsure: set[int] = set()  # states whose edges turned out to be unsure in this expansion

    @torch.no_grad()
    def _step(self, z: Tensor, h: Tensor, code: Tensor) -> tuple[float, float]:
        """What the cost-to-go says of one step from the start, and the RMS by which the latent changes. A wall may stop
        the robot in many directions, so these are those of the freest ones."""
        actions = torch.randn((STEPPED, 1, self.search.model.config.action_dim), generator=self.generator)
        actions = (actions / actions.norm(dim=-1, keepdim=True).clamp_min(1e-6)).to(z.device)
        zs, _ = self.search.model.rollout(z.expand(STEPPED, -1), h.expand(STEPPED, -1), actions, None)
        self.counts.calls += STEPPED
        told = self.search.to_go.steps(code, self.search.to_go.code(zs[:, 0]))
        moved = latent_rms(zs[:, 0], z)
        sane = told.isfinite() & moved.isfinite()
        if not bool(sane.any()):
            return 1.0, 0.0
        return max(1.0, float(told[sane].quantile(FREE))), float(moved[sane].quantile(FREE))

    def keep(self, constraints: Sequence[Constraint]) -> None:
        """Keep these constraints from now on: what is known has changed."""
        self.judge = Judge(tuple(constraints), self.problem.goal, self.search.risk)

    def fits(self, calls: float) -> bool:
        """Whether another expansion stays within so many calls in all."""
        return self.counts.calls + self.config.expansion <= calls

    def way(self) -> Way:
        """The best way so far."""
        tree, path = self.tree, self.tree.path(len(self.tree) - 1 if self.solved else self.tree.best())
        actions = [tree.actions[at, : tree.steps[at]] for at in path]
        return Way(
            tree.latents[path].clone(), tree.codes[path].clone(), tuple(tree.cost[path].tolist()),
            tuple(tree.to_go[path].tolist()), torch.cat(actions), self.solved, self._confidence if self.solved else 0.0,
            self.step,
        )  # fmt: skip

    @torch.no_grad()
    def expand(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Expand the most promising states; nothing happens once the problem is solved.

        Args:
            stop: asked now and then; once it says so, the expansion is given up as if it had not begun.

        Returns:
            Whether it was done.
        """
        if self.solved:
            return True
        tree, config = self.tree, self.config
        if len(tree) + config.expand * config.edges > tree.capacity:
            tree.drop(tree.order(config.greed, config.again))
        before = self.generator.get_state(), replace(self.counts)
        self._stop = stop
        rows = np.argsort(tree.order(config.greed, config.again), kind="stable")[: config.expand]
        try:
            for constraint in self.judge.constraints:
                constraint.draw(1, self.generator)
            found = self._grow(rows)
            self._breathe()
        except _Stopped:
            self.generator.set_state(before[0])
            self.counts = before[1]
            return False
        self._take(found)
        tree.visits[rows] += 1
        tree.cut(self._unsure)
        self._unsure.clear()
        self.counts.expansions += 1
        return True

    def _breathe(self) -> None:
        """Give the expansion up if somebody waits for it."""
        if self._stop():
            raise _Stopped

    # -- parts of an expansion, in their order ------------------------------------------------------------------------

    def _grow(self, rows: np.ndarray) -> Edges:
        """Edges from the states of these rows."""
        config, search, tree = self.config, self.search, self.tree
        k, length, actions = len(rows), config.length, self.tree.actions.shape[-1]
        can_propose = "proposal" in search.model.readouts
        smooth, proposed, aimed = edges.counts(config.edges, config.aimed, config.proposed, can_propose)
        plans = edges.smooth(k, smooth, length, actions, self.generator)
        if proposed:
            answers = edges.proposed(
                search.model, tree.latents[rows], self._goal_latent, proposed, length, self.generator
            )
            plans = torch.cat([plans, answers], 1)
        parents = np.repeat(rows, plans.shape[1])
        found = [self._roll(parents, plans.flatten(0, 1).to(search.device))]
        if aimed:
            self._breathe()
            more = self._aim(rows, plans, found[0], aimed)
            found.append(self._roll(np.repeat(rows, more.shape[1]), more.flatten(0, 1).to(search.device)))
        return Edges.join(found)

    def _roll(self, parents: np.ndarray, plans: Tensor) -> Edges:
        """What plans (n, L, A) from the states of these rows (n,) lead to."""
        tree, counts, held = self.tree, self.counts, list(self.problem.held)
        plans[..., held] = self.search.neutral[held].to(plans.device)
        zs, h = self.search.model.rollout(tree.latents[parents], tree.states[parents], plans, None)
        counts.calls += zs.shape[0] * zs.shape[1]
        self._breathe()
        finite = zs.isfinite().flatten(1).all(1) & h.isfinite().all(1)
        zs = torch.where(finite[:, None, None], zs, tree.latents[ROOT])
        codes = self.search.to_go.code(zs[:, -1])
        to_go = self.search.to_go.steps(codes, self._goal)
        finite &= to_go.isfinite()
        allowed = finite.cpu().numpy()
        counts.non_finite += int((~allowed).sum())
        if self.judge.constraints:
            verdict = self.judge(Futures(self.search.readouts, zs[:, None], plans, tree.latents[ROOT]))
            kept = verdict.violation <= 0.0  # not of a value that is no number
            counts.forbidden += int((allowed & ~kept).sum())
            allowed &= kept
        if self._failed is not None:
            like = self._failed.like(tree.codes[parents], codes, self.step).cpu().numpy()
            counts.failed += int((allowed & like).sum())
            allowed &= ~like
        return Edges(parents, plans, zs, h, codes, to_go.cpu().numpy(), allowed)

    def _aim(self, rows: np.ndarray, plans: Tensor, found: Edges, count: int) -> Tensor:
        """(k, count, L, A) plans fitted towards the goal and, of each state, a remembered one that lies on the way."""
        shape = plans.shape[:2]
        barred = torch.from_numpy(~found.allowed.reshape(shape))
        left = torch.from_numpy(found.to_go.reshape(shape)).masked_fill(barred, torch.inf)
        recalled = int(count * self.config.recalled) if self._remembered is not None else 0
        more = [edges.fitted(plans, left, count - recalled, self.generator)]
        if recalled:
            aims = self._remembered_ahead(rows)  # (k, K)
            gap = self.search.to_go.steps(found.codes.view(*shape, -1), aims[:, None]).cpu()
            more.append(edges.fitted(plans, gap.masked_fill(barred, torch.inf), recalled, self.generator))
        return torch.cat(more, 1)

    def _recall(self, remembered: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """Codes (n, K) of remembered states, and their steps to the goal (n,)."""
        if remembered is None or not len(remembered):
            return None
        codes = self.search.to_go.code(remembered.to(self.search.device))
        left = self.search.to_go.steps(codes, self._goal)
        return codes, torch.where(left.isfinite(), left, torch.inf)

    def _remembered_ahead(self, rows: np.ndarray) -> Tensor:
        """Of each state the remembered one, further than an edge away, over which the goal is nearest: codes (k, K)."""
        assert self._remembered is not None
        codes, left = self._remembered
        away = self.search.to_go.steps(self.tree.codes[rows][:, None], codes[None])  # (k, n)
        over = torch.where(away > self.config.length, away + left, torch.inf)
        within = torch.where(away <= RING * self.config.length, over, torch.inf)
        over = torch.where(within.isfinite().any(1, keepdim=True), within, over)
        # One at random, the likelier the less way there is over it: the cost-to-go may be wrong about the nearest.
        least = over.min(1, keepdim=True).values.nan_to_num(posinf=0.0)
        weights = torch.exp(-(over - least) / self.config.length).cpu() + 1e-9
        return codes[torch.multinomial(weights, 1, generator=self.generator)[:, 0]]

    def _take(self, found: Edges) -> None:
        """Keep where edges lead if that is new; stop if one of them reaches the goal surely enough."""
        if not found.allowed.any():
            return
        found = found.only(np.flatnonzero(found.allowed))
        there = self.reached.inside(found.latents)[1]
        if bool(there.any()) and self._arrive(found, there):
            return
        order = np.argsort(self.tree.cost[found.parents] + self.config.greed * found.to_go, kind="stable")
        found = found.only(order)
        tree, near = self.tree, self.config.near * self.step
        known = self.search.to_go.within(found.codes, tree.codes[: len(tree)], near).any(1)
        self.counts.near += int(known.sum())
        found = found.only(np.flatnonzero(~known.cpu().numpy()))
        if not len(found.parents):
            return
        close = self.search.to_go.within(found.codes, found.codes, near).cpu().numpy()
        close |= close.T
        free, taken = np.ones(len(close), dtype=bool), list[int]()
        for i in range(len(close)):  # the most promising one, then the next that is not near it, and so on
            if free[i]:
                taken.append(i)
                free &= ~close[i]
        self.counts.near += len(close) - len(taken)
        found = found.only(np.array(taken, dtype=np.int64))
        steps = np.full(len(taken), self.config.length)
        tree.add(found.parents, found.latents[:, -1], found.states, found.codes, found.plans, steps, found.to_go)

    def _arrive(self, found: Edges, there: Tensor) -> bool:
        """Judge the shortest ways to the goal that these edges make; take the first that is sure enough."""
        first = torch.where(there.any(1), there.int().argmax(1), self.config.length).cpu().numpy()
        cost = self.tree.cost[found.parents] + first + np.where(first < self.config.length, 1.0, np.inf)
        tried: set[int] = set()
        for i in np.argsort(cost, kind="stable"):
            parent, steps = int(found.parents[i]), int(first[i]) + 1
            if len(tried) == JUDGED or not math.isfinite(cost[i]):
                break
            if parent in tried:
                continue
            tried.add(parent)
            if self._sure(parent, found.plans[i], steps):
                latent = found.latents[i, steps - 1]
                code = self.search.to_go.code(latent[None])
                left = self.search.to_go.steps(code, self._goal).cpu().numpy()
                one = found.only(np.array([i]))
                self.tree.add(one.parents, latent[None], one.states, code, one.plans, np.array([steps]), left)
                self.solved = True
                return True
            self.counts.unsure += 1
            self.tree.visits[parent] += 1
        return False

    def _sure(self, parent: int, plan: Tensor, steps: int) -> bool:
        """Whether enough noise samples keep to every edge of a way whose last edge is ``steps`` of a plan.

        The robot looks again at every step, so that each edge is judged from its own beginning. The share of the least
        sure one is the way's confidence. A branch behind an edge of the tree that is not sure enough is cut
        off after the expansion.
        """
        tree, model, samples = self.tree, self.search.model, self.config.samples
        if samples == 1 or not model.config.noise_dim:
            self._confidence = 1.0
            return True
        path = tree.path(parent)
        plans = torch.cat([tree.actions[path[1:]], plan[None]])  # (m, L, A)
        noise = torch.randn((samples * len(plans), plans.shape[1], model.config.noise_dim), generator=self.generator)
        zs, _ = model.rollout(
            tree.latents[path].repeat_interleave(samples, 0), tree.states[path].repeat_interleave(samples, 0),
            plans.repeat_interleave(samples, 0), noise.to(plans.device),
        )  # fmt: skip
        self.counts.calls += zs.shape[0] * zs.shape[1]
        last = self.reached.inside(zs[-samples:, :steps])[1].any(1).float().mean()
        ends = self.search.to_go.code(zs[:-samples, -1]).view(len(path) - 1, samples, tree.codes.shape[1])
        off = self.search.to_go.steps(ends, tree.codes[path[1:]][:, None])
        shares = np.append((off <= self.config.length * self.step).float().mean(1).cpu().numpy(), float(last))
        self._confidence = float(shares.min())
        self._unsure.update(path[1 + int(at)] for at in np.flatnonzero(shares[:-1] < self.config.confidence))
        return self._confidence >= self.config.confidence
