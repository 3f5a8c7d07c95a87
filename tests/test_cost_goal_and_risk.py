# SPDX-License-Identifier: Apache-2.0
"""Goals are checked when they are made; risk measures are right and refuse what they cannot resolve."""

import numpy as np
import pytest
import torch
from toy_world import ToyWorld, task_cost

from jepa_ros.cost import Goal, GoalError, Risk, RiskError, TaskWeights, check_level, lexicographic_order
from jepa_ros.planar.goals import pose_goal


def test_goal_with_a_latent_that_is_not_finite_is_refused():
    with pytest.raises(GoalError, match="not finite"):
        Goal.from_latent(np.array([0.0, np.nan]))


def test_goal_of_unknown_kind_is_refused_by_name():
    with pytest.raises(GoalError, match="'word'"):
        Goal("word", latent=np.zeros(2))
    with pytest.raises(GoalError, match="needs a model with a word readout"):
        Goal("word", value=(1.0,)).check_model(ToyWorld())


def test_goal_latent_of_another_model_is_refused_with_both_sizes():
    with pytest.raises(GoalError, match=r"3 values.*have 2"):
        Goal.from_latent(np.zeros(3)).check_model(ToyWorld())


def test_goal_pose_needs_a_pose_readout():
    with pytest.raises(GoalError, match="pose readout"):
        pose_goal(0.1, 0.2).check_model(ToyWorld(readouts=()))


def test_risk_measures_of_known_samples():
    value = np.array([[4.0, 1.0, 3.0, 2.0], [0.0, 0.0, 0.0, 8.0]])
    assert np.allclose(Risk("mean")(value), [2.5, 2.0])
    assert np.allclose(Risk("worst")(value), [4.0, 8.0])
    assert np.allclose(Risk("cvar", 0.5)(value), [3.5, 4.0])
    assert np.allclose(Risk("cvar", 1.0)(value), [2.5, 2.0])


def test_cvar_counts_the_sample_that_the_level_cuts_in_part():
    # level 0.375 of 4 samples: the worst whole one and half of the next
    assert Risk("cvar", 0.375)(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx((4.0 + 0.5 * 3.0) / 1.5)


def test_cvar_matches_its_integral_on_many_samples():
    samples = np.sort(np.random.default_rng(0).normal(size=10_000))
    assert Risk("cvar", 0.1)(samples) == pytest.approx(samples[-1000:].mean())


def test_cvar_level_below_one_sample_is_refused_with_the_number_needed():
    with pytest.raises(RiskError, match="at least 10 noise samples; found 8"):
        check_level(Risk("cvar", 0.1), 8)


@pytest.mark.parametrize(
    ("kind", "level"), [("cvar", None), ("cvar", 0.0), ("cvar", 1.1), ("mean", 0.5), ("var", None)]
)
def test_risk_that_makes_no_sense_is_refused(kind, level):
    with pytest.raises(RiskError):
        Risk(kind, level)


def test_task_cost_is_the_weighted_mean_over_the_steps():
    weights = TaskWeights(latent=1.0, steps=0.1, final=2.0, position=0.0, heading=0.0)
    zs = torch.tensor([[[1.0, 0.0], [0.5, 0.0]]])  # one future of two steps, goal in the origin
    cost, terms = task_cost(ToyWorld(), zs, Goal.from_latent(np.zeros(2)), weights)
    rms = np.array([1.0, 0.5]) / np.sqrt(2)
    assert terms["latent"].item() == pytest.approx((rms[0] + 3 * rms[1]) / 4)
    assert terms["steps"].item() == pytest.approx(0.1 * (10 + 3 * 5) / 4)
    assert cost.item() == pytest.approx(sum(t.item() for t in terms.values()))


def test_pose_goal_costs_metres_and_heading():
    zs = torch.tensor([[[0.3, 0.4]]])
    weights = TaskWeights(position=1.0, heading=0.5)
    _cost, terms = task_cost(ToyWorld(), zs, pose_goal(0.0, 0.0, np.pi / 2), weights)
    assert terms["position"].item() == pytest.approx(0.5)
    assert terms["heading"].item() == pytest.approx(0.5)  # a quarter turn away: 1 - cos = 1
    free, terms = task_cost(ToyWorld(), zs, pose_goal(0.0, 0.0), weights)
    assert free.item() == pytest.approx(0.5)
    assert set(terms) == {"position"}


def test_feasible_candidates_come_first_and_broken_ones_nowhere():
    cost = np.array([1.0, 5.0, np.nan, 3.0, 0.5, 2.0])
    violation = np.array([0.2, 0.0, 0.0, 0.0, 0.1, np.inf])
    assert lexicographic_order(cost, violation).tolist() == [3, 1, 4, 0]


def test_a_goal_pose_that_no_map_holds_is_refused():
    with pytest.raises(GoalError, match="over 100000: check units"):
        pose_goal(1e9, 0.0)
