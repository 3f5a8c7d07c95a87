# SPDX-License-Identifier: Apache-2.0
"""The search finds what is there to be found, within bounds and time, and says why when there is nothing."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from toy_world import ToyWorld, task_cost, toy_contract, toy_planner

from jepa_ros.cost import Goal, Risk
from jepa_ros.errors import JepaRosError
from jepa_ros.planning import Budget, Problem, SearchConfig, SearchError
from jepa_ros.planning.config import METHODS
from jepa_ros.planning.proposals import ar1_

GOAL = Goal.from_latent(np.array([0.3, -0.2]))
START, STATE = np.zeros(2, np.float32), np.zeros(1, np.float32)


def make(model=None, latency=0.0, clock=None, guardrails=(), proposal=None, **config):
    config = {"horizon": 8, "converge_tol": 0.0} | config
    return toy_planner(model, toy_contract(latency), guardrails, proposal, clock, **config)


class Ticker:
    """A clock that a test moves: every model call takes `cost` seconds."""

    def __init__(self, model, cost):
        self.model, self.cost = model, cost

    def __call__(self):
        cost = self.cost(self.model.calls) if callable(self.cost) else self.cost * self.model.calls
        return cost


def cost_of(actions, model=None, goal=GOAL):
    model = model or ToyWorld()
    zs, _ = model.rollout(torch.zeros(1, 2), torch.zeros(1, 1), torch.as_tensor(actions)[None])
    return task_cost(model, zs, goal)[0].item()


def best_plan(horizon=8):
    """Straight for the goal: 0.3 and -0.2 at 0.1 a step and axis, at the bound until there."""
    plan, left = np.zeros((horizon, 2), np.float32), np.array([0.3, -0.2]) / 0.1
    for t in range(horizon):
        plan[t] = np.clip(left, -1, 1)
        left = left - plan[t]
    return plan


def gap_closed(result):
    """1 for the best plan there is, 0 for standing still."""
    still = cost_of(np.zeros((8, 2), np.float32))
    return (still - result.cost) / (still - cost_of(best_plan()))


@pytest.mark.parametrize(("method", "share"), [("icem", 0.94), ("mppi", 0.88), ("gradient", 0.94), ("random", 0.7)])
def test_each_search_comes_near_the_known_optimum(method, share):
    result = make(method=method, iterations=12, samples=256).think(START, STATE, GOAL)
    assert result.reason == "ok"
    assert result.cost == pytest.approx(cost_of(result.actions), rel=1e-5)
    assert gap_closed(result) >= share


@pytest.mark.parametrize("method", METHODS)
def test_actions_never_leave_the_bounds(method):
    class Watched(ToyWorld):
        def rollout(self, z, h, actions, noise=None):
            seen.append(actions.abs().max().item())
            return super().rollout(z, h, actions, noise)

    seen = []
    search = make(Watched(), method=method, iterations=5, sigma=3.0)
    result = search.think(START, STATE, Goal.from_latent(np.array([9.0, 9.0])))
    assert np.abs(result.actions).max() <= 1.0
    assert max(seen) <= 1.0
    assert result.actions.mean() > 0.5


@pytest.mark.parametrize("method", METHODS)
def test_plan_is_never_worse_than_its_warm_start(method):
    warm = best_plan()
    result = make(method=method, iterations=1, samples=8, elites=2, keep=1).think(START, STATE, GOAL, warm=warm)
    assert result.cost <= cost_of(warm) + 1e-6
    assert result.warm_cost == pytest.approx(cost_of(warm))


@pytest.mark.parametrize("method", METHODS)
def test_equal_seed_and_iterations_repeat_a_plan_exactly(method):
    search = make(method=method, noise_samples=2, model=ToyWorld(spread=0.05))
    first = search.think(START, STATE, GOAL, seed=7)
    search.think(START, STATE, Goal.from_latent(np.ones(2)), seed=8)  # what was planned between leaves no trace
    again = search.think(START, STATE, GOAL, seed=7, iterations=first.iterations)
    assert np.array_equal(first.actions, again.actions)
    assert first.cost == again.cost
    assert not np.array_equal(first.actions, search.think(START, STATE, GOAL, seed=9).actions)


def test_replayed_iterations_ignore_the_clock():
    model = ToyWorld()
    search = make(model, clock=Ticker(model, 100.0), deadline=0.5, iterations=50)
    assert search.think(START, STATE, GOAL, iterations=4).iterations == 4


def test_deadline_is_checked_with_the_measured_time_of_an_iteration():
    model = ToyWorld()
    search = make(model, clock=Ticker(model, 0.010), deadline=0.035, iterations=50)
    result = search.think(START, STATE, GOAL)
    assert result.iterations == 3  # a fourth would end at 0.040
    assert result.elapsed <= 0.035
    assert result.reason == "ok"


def test_deadline_below_one_iteration_gives_no_plan_and_says_so():
    model = ToyWorld()
    search = make(model, clock=Ticker(model, 0.010), deadline=0.005)
    search.warm_up()
    result = search.think(START, STATE, GOAL)
    assert (result.actions, result.reason) == (None, "deadline")
    assert search.think(START, STATE, GOAL, deadline=float("nan")).reason == "deadline"


@pytest.mark.parametrize("deadline", [0.0, -1.0, float("nan"), float("inf")])
def test_configured_deadline_must_be_a_positive_time(deadline):
    with pytest.raises(SearchError, match="deadline"):
        SearchConfig(deadline=deadline)


def test_search_stops_early_once_it_has_converged():
    search = make(iterations=100, converge_tol=0.01, samples=256)
    result = search.think(START, STATE, GOAL)
    assert result.converged
    assert 2 < result.iterations < 60
    assert gap_closed(result) >= 0.94


def test_a_harder_goal_takes_more_iterations_to_converge():
    search = make(iterations=100, converge_tol=0.01, samples=256)
    easy = [search.think(START, STATE, Goal.from_latent(np.zeros(2)), warm=np.zeros((8, 2)), seed=s) for s in range(5)]
    hard = [search.think(START, STATE, GOAL, seed=s) for s in range(5)]
    assert np.mean([r.iterations for r in hard]) > np.mean([r.iterations for r in easy])


def test_candidates_without_a_finite_cost_are_dropped_and_counted():
    model = ToyWorld()
    model.poison = lambda z: z[:, 0] > 0.15  # the way to the goal breaks the model
    result = make(model).think(START, STATE, GOAL)
    assert result.dropped > 0
    assert result.reason == "ok"
    assert np.isfinite(result.cost)
    assert (np.cumsum(result.actions[:, 0]) * 0.1).max() <= 0.15


def test_no_finite_candidate_gives_no_plan():
    model = ToyWorld()
    model.poison = lambda z: torch.ones(len(z), dtype=torch.bool)
    search = make(model)
    result = search.think(START, STATE, GOAL)
    assert (result.actions, result.reason) == (None, "non_finite")
    assert result.dropped == result.evaluated > 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("latent", np.zeros(3)), ("latent", np.array([np.nan, 0])), ("state", np.zeros(2)), ("warm", np.zeros((3, 2))),
     ("sent", np.zeros((2, 2)))],
)  # fmt: skip
def test_inputs_of_a_wrong_size_or_not_finite_are_refused(field, value):
    given = {"latent": START, "state": STATE, "goal": GOAL} | {field: value}
    with pytest.raises(SearchError, match=r"expected|finite"):
        make().think(**given)


def test_model_of_another_robot_is_refused():
    model = ToyWorld()
    object.__setattr__(model.config, "action_dim", 3)
    with pytest.raises(SearchError, match="another robot"):
        make(model)


@pytest.mark.parametrize(
    "wrong",
    [{"method": "cem2"}, {"samples": 0}, {"elites": 999}, {"ar": 1.5}, {"horizon": 2.5}, {"sigma": float("nan")},
     {"noise_samples": 4, "risk": Risk("cvar", 0.1)}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(JepaRosError):
        SearchConfig(**wrong)


def test_the_actions_under_way_are_part_of_the_prediction():
    # One and a half steps of latency; what was sent drives to the goal's x alone, so the plan has nothing left to do.
    search = make(latency=0.3, samples=512, iterations=10)
    goal = Goal.from_latent(np.array([0.15, 0.0]))
    moving = search.think(START, STATE, goal, sent=np.array([[1.0, 0.0], [1.0, 0.0]]))
    still = search.think(START, STATE, goal)
    assert abs(moving.actions[:, 0].sum()) < 0.5 < still.actions[:, 0].sum()


def test_learned_proposals_are_used_and_their_share_in_the_winners_reported():
    def proposal(z, h, goal, count, horizon, generator):
        return torch.from_numpy(best_plan(horizon)).expand(count, -1, -1)

    result = make(proposal=proposal, iterations=1).think(START, STATE, GOAL)
    assert result.source == "proposal"
    assert result.shares["proposal"] == 1.0
    assert result.cost == pytest.approx(cost_of(best_plan()), rel=1e-4)


def test_risk_averse_search_keeps_away_from_where_the_future_is_uncertain():
    class Ice(ToyWorld):
        """Beyond y = 0.05 the robot is twice as fast, but now and then slides far back."""

        def rollout(self, z, h, actions, noise=None):
            zs = []
            for t in range(actions.shape[1]):
                ice = z[:, 1:] > 0.05
                z = z + 0.1 * actions[:, t] * (1 + ice)
                if noise is not None:
                    z = z - 0.5 * ice * (noise[:, t, :1] > 1.5) * torch.tensor([1.0, 0.0])
                zs.append(z)
            return torch.stack(zs, 1), h

    goal = Goal.from_latent(np.array([1.2, 0.0]))
    spreads = {}
    for name, risk in (("mean", Risk("mean")), ("cvar", Risk("cvar", 0.125))):
        plan = make(Ice(), noise_samples=32, samples=256, iterations=8, risk=risk).think(START, STATE, goal)
        spreads[name] = (np.cumsum(plan.actions[:, 1]) * 0.1).max()
    assert spreads["cvar"] <= 0.05 < spreads["mean"]


def test_history_of_costs_never_rises():
    history = make(iterations=8).think(START, STATE, GOAL).history
    assert len(history) == 8
    assert all(b[1] <= a[1] and b[0] >= a[0] for a, b in pairwise(history))


def test_noise_is_correlated_as_told_with_unit_variance_at_every_step():
    noise = ar1_(torch.randn(20_000, 6, 1, generator=torch.Generator().manual_seed(0)), 0.5)[..., 0]
    covariance = torch.cov(noise.T)
    expected = 0.5 ** (torch.arange(6)[:, None] - torch.arange(6)).abs()
    assert torch.allclose(covariance, expected, atol=0.05)


def problem_of(planner, goal=GOAL):
    objective = planner.objective
    return Problem(START, STATE, planner.search.target(goal), objective.terms, objective.constraints())


@pytest.mark.parametrize("method", METHODS)
def test_actions_that_a_goal_says_nothing_about_stand_still_in_every_plan(method):
    planner = make(method=method, iterations=3)
    held = replace(problem_of(planner), held=(1,), warm=torch.full((8, 2), 0.5))
    result = planner.search.plan(held, Budget(10.0, 3), seed=1)
    assert np.array_equal(result.actions[:, 1], np.zeros(8)) and np.abs(result.actions[:, 0]).max() > 0.5


def test_model_calls_are_counted_and_a_budget_of_them_is_kept():
    planner = make(samples=16, elites=4, noise_samples=2, iterations=9)
    whole = planner.search.plan(problem_of(planner), Budget(seconds=10.0, iterations=4), seed=1)
    assert (whole.iterations, whole.calls) == (4, 4 * 16 * 8 * 2)  # iterations x candidates x steps x futures
    some = planner.search.plan(problem_of(planner), Budget(seconds=10.0, iterations=9, calls=3 * 16 * 8 * 2), seed=1)
    assert (some.iterations, some.calls) == (3, 3 * 16 * 8 * 2)
    assert some.history[-1][1] == whole.history[2][1]  # the same search, ended sooner


def test_a_term_and_a_constraint_of_ones_own_are_all_that_a_search_needs():
    class Far:
        name, unit, weight = "left", "m", 1.0

        def fits(self, goal):
            return True

        def __call__(self, futures, goal):
            return (futures.latents[..., 0] + 5.0).clamp_min(0.0)

    class Fence:
        name, unit, risk, whole, slack = "fence", "m", None, True, None

        def draw(self, samples, generator):
            pass

        def __call__(self, futures, goal):
            return -0.25 - futures.latents[..., 0]

    planner = make(samples=128, iterations=6)
    target = planner.search.target(GOAL)
    result = planner.search.plan(Problem(START, STATE, target, [Far()], [Fence()]), Budget(10.0, 6), seed=0)
    ends = np.cumsum(result.actions[:, 0]) * 0.1
    assert result.feasible and -0.25 - 1e-6 <= ends.min() < -0.15 and set(result.terms) == {"left"}
