# SPDX-License-Identifier: Apache-2.0
"""When to deliberate, and what comes of it: the deliberate search's side of the planner.

A deliberation begins when plans of the fast search come nearer to the goal more slowly than they should, or when the
robot comes nearer more slowly than they promised. It grows between control steps and is looked at as a step begins, so
that the number of its expansions repeats it. When it is solved, or its budget is used up, the fast search follows its
way.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jepa_ros.cost.goal import Goal, GoalError, Target
from jepa_ros.cost.seam import Constraint
from jepa_ros.memory.long_term import NOTHING, OBSTRUCTED, LongTerm
from jepa_ros.planning.deliberate.deliberation import Deliberation
from jepa_ros.planning.deliberate.failures import Failures
from jepa_ros.planning.deliberate.follow import Follower
from jepa_ros.planning.deliberate.search import DeliberateSearch
from jepa_ros.planning.deliberate.turns import Turns
from jepa_ros.planning.deliberate.view import tree_of
from jepa_ros.planning.problem import Problem
from jepa_ros.planning.result import PlanResult

#: Of the horizon: how far ahead on a way the fast search aims, so that its plan can reach it.
AHEAD = 0.8
#: Remembered states that a deliberation may aim at, at most: the newest.
REMEMBERED = 1000
#: What is being done, by the word in the status.
STATES = {
    "idle": "the fast search comes nearer to the goal by itself",
    "thinking": "the goal comes nearer more slowly than it should: deliberating",
    "following": "a way to the goal was found and is followed",
    "partial": "no way to the goal was found within the budget; the best one so far is followed",
    "done": "the rest of the way needs no subgoals",
    "lost": "the robot is off the way that it followed",
    "cancelled": "the goal was changed or the past forgotten while deliberating",
    "failed": "the deliberation broke off",
}


@dataclass(frozen=True)
class Recorded:
    """What a recorded status says of a deliberation, to repeat it: number and seed, and its expansions by then."""

    number: int
    seed: int
    expansions: int


class Deliberator:
    """Decides, keeps the deliberation and the way that came of it.

    Args:
        search: makes deliberations. horizon: of the fast search.
        memory: whose states are aimed at, None without. beside: deliberate in a thread between the steps; otherwise,
            ``calls_per_step`` at a time as a step begins, for loops in simulated time.
    """

    def __init__(self, search: DeliberateSearch, horizon: int, memory: LongTerm | None, beside: bool) -> None:
        self.search, self.config, self.horizon = search, search.config, horizon
        self.memory, self.beside, self.turns = memory, beside, Turns()
        self.state, self.error, self.number = "idle", "", 0
        self._spent = 0  # calls of the deliberations before the newest
        self.current: Deliberation | None = None
        self._thought: Deliberation | None = None  # the newest, whatever came of it
        self.follower: Follower | None = None
        self._subgoals: dict[int, Target] = {}
        self._slow = 0
        self._promised: deque[tuple[float, float]] = deque(maxlen=self.config.window + 1)
        self._fresh = False
        self.failures = Failures(search.model, search.to_go, self.config.length)

    # -- between steps -------------------------------------------------------------------------------------------------

    def pause(self) -> contextlib.AbstractContextManager[None]:
        """Nothing is expanded inside: a control step is planned."""
        return self.turns.pause()

    def cancel(self, why: str = "idle") -> None:
        """Forget deliberation and way: the goal is another one, or the robot elsewhere."""
        with self.turns.pause():
            self.turns.work(None)
            thinking = self.current is not None
            self.current = self.follower = None
            self._subgoals.clear()
            self._watch_anew()
            self._fresh = True
            self.state = "cancelled" if thinking else why

    def reset(self) -> None:
        """Forget the drive: the robot is elsewhere."""
        self.cancel()
        self.failures.reset()

    def close(self) -> None:
        """End the thread."""
        self.turns.close()

    # -- a step, in a pause --------------------------------------------------------------------------------------------

    def think(self, recorded: Recorded | None) -> dict[str, Any] | None:
        """As a step begins, before anything new is known: grow the tree as far as it has to, and hand over if it is
        ready. Returns the finished tree, see :func:`~jepa_ros.planning.deliberate.view.tree_of`, or None."""
        thought = self.current
        if thought is None:
            return None
        if self.turns.error is not None:
            self.error, self.state, self.current = str(self.turns.error), "failed", None
            return None
        if recorded is not None and recorded.number == self.number:
            while thought.counts.expansions < recorded.expansions and not thought.solved:
                thought.expand()
        elif not self.beside:
            until = min(thought.counts.calls + self.config.calls_per_step, self.config.calls)
            while not thought.solved and thought.fits(until):
                thought.expand()
        if not thought.solved and thought.fits(self.config.calls):
            return None
        way = thought.way()
        self.follower = Follower(way, self.search.to_go, AHEAD * self.horizon, self.config.lost)
        self.state = "following" if way.solved else "partial"
        self.current = None
        self._watch_anew()
        self._subgoals.clear()
        self.turns.work(None)
        return tree_of(thought)

    def saw(self, latent: Tensor, state: Tensor, action: Tensor | None) -> None:
        """Take where the robot is after a control step, see :meth:`Failures.observe`."""
        self.failures.observe(latent, state, action)
        if self.failures.last is not None and self.memory is not None:
            self.memory.mark(latent.cpu().numpy(), self.memory.here, OBSTRUCTED)

    def know(self, constraints: Sequence[Constraint]) -> None:
        """What has to be kept from now on."""
        if self.current is not None:
            self.current.keep(constraints)

    def aim(self, latent: Tensor, goal: Target, make: Callable[[Goal], Target]) -> Target:
        """What the fast search aims at from a latent (D,): a state of the way that is followed, or the goal."""
        if self.follower is None:
            return goal
        at = self.follower.update(latent)
        if at is None:
            self.state = "lost" if self.follower.was_lost else "done"
            self.follower = None
            self._watch_anew()
            return goal
        if at not in self._subgoals:
            self._subgoals = {at: make(Goal.from_latent(self.follower.way.latents[at].cpu().numpy(), "memory", "way"))}
            self._watch_anew()
        return self._subgoals[at]

    def judge(
        self, result: PlanResult, problem: Callable[[], Problem], seed: int, recorded: Recorded | None
    ) -> None:  # fmt: skip
        """After the fast search: begin to deliberate if it comes nearer to what it aims at more slowly than it should.

        Args:
            result: the fast search's. problem: from here to the goal. seed: of a new deliberation.
        """
        if recorded is None:
            begin = self._stuck(result)
        else:
            begin, seed = recorded.number > self.number, recorded.seed
        if not begin or self.current is not None:
            return
        self.number = self.number + 1 if recorded is None else recorded.number
        self._watch_anew()
        self._fresh, self.follower = False, None
        self._spent += 0 if self._thought is None else self._thought.counts.calls
        self._thought = None
        try:
            self.current = self._thought = self.search.begin(problem(), seed, self._remembered(), self.failures.now())
        except GoalError as error:
            self.state, self.error = "failed", str(error)
            return
        self.state, self.error = "thinking", ""
        if self.beside and recorded is None:
            self.turns.work(self.current, self.config.calls)

    def _stuck(self, result: PlanResult) -> bool:
        """Whether no plan has come nearer at the rate that it should, for some steps, or too little of it came true."""
        if self.config.when == "never" or self.current is not None:
            return False
        if self.config.when == "always":
            return self._fresh
        slow = result.solved < self.config.confidence and not result.rate >= self.config.rate
        self._slow = self._slow + 1 if slow and not math.isnan(result.rate) else 0
        return self._slow >= self.config.patience or self._late(result)

    def _late(self, result: PlanResult) -> bool:
        """Whether of the way that plans promised to shorten over a window of steps too little was really shortened."""
        if not math.isfinite(result.to_go) or math.isnan(result.rate):
            self._promised.clear()
            return False
        self._promised.append((result.to_go, max(0.0, result.rate)))
        if len(self._promised) <= self.config.window:
            return False
        promised = sum(rate for _, rate in self._promised) - self._promised[-1][1]
        return self._promised[0][0] - self._promised[-1][0] < self.config.kept * promised

    def _watch_anew(self) -> None:
        """What is aimed at has changed: promises of before count no more."""
        self._slow = 0
        self._promised.clear()

    def _remembered(self) -> Tensor | None:
        """(n, D) states that were seen and where nothing held the robot back."""
        if self.memory is None or not len(self.memory):
            return None
        fine = np.flatnonzero(self.memory.outcomes == NOTHING)
        newest = fine[np.argsort(self.memory.times[fine], kind="stable")][-REMEMBERED:]
        return torch.from_numpy(self.memory.latents[newest])

    # -- what is said --------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Plain values: state and sentence, number, seed, budget and what was spent of it, how far the best way comes,
        and the subgoal."""
        found: dict[str, Any] = {"state": self.state, "sentence": STATES[self.state] + self.error_text}
        if self._thought is not None:
            found |= {"number": self.number, "budget": self.config.calls, **self._of(self._thought)}
            found["calls_in_all"] = self._spent + found["calls"]
        if self.follower is not None:
            found |= {"subgoal": self.follower.aim, "subgoals": len(self.follower.way)}
        return found

    @staticmethod
    def _of(thought: Deliberation) -> dict[str, Any]:
        tree, counts, way = thought.tree, thought.counts, thought.way()
        return {
            "seed": thought.seed, "calls": counts.calls, "expansions": counts.expansions, "states": len(tree),
            "dropped": tree.dropped, "near": counts.near, "forbidden": counts.forbidden,
            "non_finite": counts.non_finite, "failed": counts.failed, "unsure": counts.unsure, "solved": way.solved,
            "confidence": way.confidence, "steps": way.cost[-1], "to_go": way.to_go[-1], "to_go_before": way.to_go[0],
        }  # fmt: skip

    @property
    def error_text(self) -> str:
        """Why it failed, for the sentence."""
        return f": {self.error}" if self.state == "failed" else ""
