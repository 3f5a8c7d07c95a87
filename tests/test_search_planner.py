# SPDX-License-Identifier: Apache-2.0
"""The planner drives the toy robot to its goal, knows that it is there, holds still, and reports what it sees."""

import numpy as np
import pytest
import torch
from toy_world import ToyWorld, toy_contract

from jepa_ros.cost import Goal, GoalError, Risk, TaskWeights
from jepa_ros.cost.risk import read_risk
from jepa_ros.errors import JepaRosError
from jepa_ros.planar.goals import pose_goal
from jepa_ros.planning import Planner, PlannerConfig, SearchConfig
from jepa_ros.planning.arrival import Arrival, ArrivalConfig, Reading
from jepa_ros.planning.carried import Carried


def make(model=None, latency=0.06, card=None, **config):
    config = {"deadline": 10.0, "samples": 64} | config
    return Planner(model or ToyWorld(), toy_contract(latency), PlannerConfig(SearchConfig(**config)), card)


def drive(planner, steps, noise=0.0, start=(0.0, 0.0), seed=0, latency=0.06):
    """Run the planner on the toy's own physics with measured latents that are noisy; outputs and true positions."""
    contract, rng = planner.contract, np.random.default_rng(seed)
    z, last, executed = np.array(start, float), np.zeros(2), None
    outputs, places = [], []
    for k in range(steps):
        seen = z + noise * rng.normal(size=2)
        output = planner.step(seen, 0.2 * k, executed)
        outputs.append(output)
        share = latency / contract.period
        unit = share * contract.normalise(last) + (1 - share) * contract.normalise(output.command)
        executed, last = contract.denormalise(unit), output.command
        z = z + 0.1 * unit
        places.append(z.copy())
    return outputs, np.array(places)


def test_planner_drives_to_the_goal_says_so_and_stands_still():
    planner = make()
    planner.set_goal(Goal.from_latent(np.array([0.6, -0.4])))
    outputs, places = drive(planner, 25)
    assert np.linalg.norm(places[-1] - [0.6, -0.4]) < 0.06
    assert outputs[-1].status["arrived"]
    assert np.array_equal(outputs[-1].command, np.zeros(2))
    assert not outputs[0].status["arrived"]


def test_a_planner_goes_on_from_what_another_one_carried():
    first, second = make(), make()
    first.set_goal(Goal.from_latent(np.array([0.6, -0.4])))
    drive(first, 4)
    told = Carried.of(first).to_plain()
    second.set_goal(first.goal)
    second.step(np.array([0.1, 0.0]), 0.6)  # the image of the last of these steps, and nothing before it
    Carried.from_plain(told, second).give(second)
    outputs = [p.step(np.array([0.2, -0.1]), 0.8, np.array([0.05, 0.0]), seed=3) for p in (first, second)]
    assert np.array_equal(outputs[0].plan_actions, outputs[1].plan_actions)
    assert outputs[0].status["warm_cost"] == outputs[1].status["warm_cost"]


def test_what_a_planner_of_other_sizes_carried_is_not_taken():
    planner = make()
    told = Carried.of(planner).to_plain()
    assert Carried.from_plain(told, make(horizon=7)) is not None  # no plan yet
    planner.set_goal(Goal.from_latent(np.array([0.6, -0.4])))
    drive(planner, 2)
    told = Carried.of(planner).to_plain()
    assert Carried.from_plain(told, make(horizon=7)) is None
    assert Carried.from_plain({**told, "sent": None}, make()) is None
    with pytest.raises(ValueError, match="finite"):
        Carried.from_plain({**told, "sent": " ".join(["nan", *told["sent"].split()[1:]])}, make())


def test_planner_does_not_chatter_at_the_goal():
    planner = make()
    planner.set_goal(Goal.from_latent(np.array([0.4, 0.2])))
    outputs, places = drive(planner, 150, noise=0.012)
    arrived = np.array([o.status["arrived"] for o in outputs])
    assert np.abs(np.diff(arrived.astype(int))).sum() == 1  # once, and for good
    assert np.linalg.norm(places[-50:] - [0.4, 0.2], axis=1).max() < 0.1


def test_planner_starts_again_when_it_is_pushed_away():
    planner = make()
    planner.set_goal(Goal.from_latent(np.zeros(2)))
    for k in range(4):
        output = planner.step(np.zeros(2), 0.2 * k)
    assert output.status["arrived"]
    reasons = [planner.step(np.array([0.3, 0.0]), 0.8 + 0.2 * k).status["reason"] for k in range(3)]
    assert reasons[-1] == "ok"


def test_arrival_needs_confirmation_both_ways():
    arrival = Arrival(ArrivalConfig(arrive=0.05, leave=0.09, confirm=2))
    readings = [0.04, 0.06, 0.04, 0.04, 0.08, 0.1, 0.08, 0.1, 0.1, 0.08]
    states = [arrival.update(Reading(d, "m")) for d in readings]
    assert states == [False, False, False, True, True, True, True, True, False, False]


def test_arrival_waits_for_the_heading_but_not_for_ever():
    arrival = Arrival(ArrivalConfig(confirm=2, patience=3, heading=0.3))
    states = [arrival.update(Reading(0.01, "m", 1.0)) for _ in range(6)]
    assert states == [False, False, False, False, True, True]
    arrival.reset()
    assert [arrival.update(Reading(0.01, "m", 0.1)) for _ in range(2)] == [False, True]


def test_distance_that_is_not_finite_never_counts_as_arrived():
    arrival = Arrival()
    assert not any(arrival.update(Reading(float("nan"), "m")) for _ in range(5))


@pytest.mark.parametrize("wrong", [{"arrive": 0.1, "leave": 0.05}, {"arrive": 0.0}, {"confirm": 0}])
def test_arrival_settings_that_would_chatter_are_refused(wrong):
    with pytest.raises(JepaRosError, match="arriv"):
        ArrivalConfig(**wrong)


@pytest.mark.parametrize("readouts", [(), ("distance",), ("distance", "pose")])
def test_arrival_is_known_with_whatever_readout_the_model_has(readouts):
    planner = make(ToyWorld(readouts=readouts))
    planner.set_goal(Goal.from_latent(np.array([0.3, 0.1])))
    outputs, _places = drive(planner, 25)
    assert outputs[-1].status["arrived"]
    assert outputs[0].status["distance_unit"] == {0: "latent", 1: "steps", 2: "m"}[len(readouts)]


def test_pose_goal_is_reached():
    planner = make()
    planner.set_goal(pose_goal(0.3, 0.3))
    outputs, places = drive(planner, 25)
    assert outputs[-1].status["arrived"]
    assert np.linalg.norm(places[-1] - 0.3) < 0.06


def test_without_a_goal_or_paused_the_command_is_zero_and_says_why():
    planner = make()
    assert planner.step(np.zeros(2), 0.0).status["reason"] == "idle"
    planner.set_goal(Goal.from_latent(np.ones(2)))
    planner.paused = True
    output = planner.step(np.zeros(2), 0.2)
    assert output.status["reason"] == "paused"
    assert not output.command.any()


@pytest.mark.parametrize("latent", [np.array([np.nan, 0.0]), np.zeros(3), np.zeros(0)])
def test_bad_embedding_stops_the_robot_with_a_reason(latent):
    planner = make()
    planner.set_goal(Goal.from_latent(np.ones(2)))
    output = planner.step(latent, 0.0)
    assert output.status["reason"] == "bad_latent"
    assert np.array_equal(output.command, np.zeros(2))


def test_goal_that_the_model_cannot_read_leaves_the_old_one():
    planner = make()
    old = Goal.from_latent(np.ones(2))
    planner.set_goal(old)
    with pytest.raises(GoalError):
        planner.set_goal(Goal.from_latent(np.ones(5)))
    assert planner.goal is old


def test_goal_from_current_is_where_the_robot_is():
    planner = make()
    assert planner.goal_from_current() is None
    planner.step(np.array([0.1, 0.2]), 0.0)
    assert np.allclose(planner.goal_from_current().latent, [0.1, 0.2])


def test_surprise_is_the_prediction_error_on_what_was_executed():
    planner = make(card={"calibration": {"prediction_error": 0.02}})
    planner.set_goal(Goal.from_latent(np.array([2.0, 0.0])))
    assert "surprise" not in planner.step(np.zeros(2), 0.0).signals  # nothing was predicted yet
    executed = np.array([0.1, 0.0])  # the gate let a quarter through: 0.025 in x
    assert planner.step(np.array([0.025, 0.0]), 0.2, executed).signals["surprise"] == pytest.approx(0.0, abs=1e-5)
    seen = np.array([0.025 + 0.04, 0.0])  # it slipped 0.04 further than predicted from standing still
    expected = 0.04 / np.sqrt(2) / 0.02
    assert planner.step(seen, 0.4, np.zeros(2)).signals["surprise"] == pytest.approx(expected, rel=1e-4)


def test_recurrent_state_counts_the_steps_and_skipped_images_too():
    planner = make()
    planner.step(np.zeros(2), 0.0)
    planner.step(np.zeros(2), 0.2)
    planner.step(np.zeros(2), 0.6)
    assert planner.history.h.item() == 3
    planner.step(np.zeros(2), 0.6)  # the same image again
    assert planner.history.h.item() == 3


@pytest.mark.parametrize("stamp", [5.0, 0.1])
def test_history_is_forgotten_after_a_long_gap_or_a_jump_back(stamp):
    planner = make()
    for k in range(4):
        planner.step(np.zeros(2), 0.2 * k)
    planner.step(np.zeros(2), stamp)
    assert planner.history.h.item() == 0
    assert planner.history.surprise is None


def test_commands_under_way_are_what_the_gate_let_through():
    planner = make()
    planner.set_goal(Goal.from_latent(np.array([2.0, 0.0])))
    planner.step(np.zeros(2), 0.0)
    seen = []
    plan = planner.search.plan
    planner.search.plan = lambda problem, *a: seen.append(problem.sent.clone()) or plan(problem, *a)
    planner.step(np.zeros(2), 0.2, executed=np.zeros(2), gated=np.array([0.2, 0.0]))
    assert torch.allclose(seen[-1], torch.tensor([[0.5, 0.0]]))
    planner.step(np.zeros(2), 0.4, executed=np.zeros(2))  # not told, but nothing was executed: the gate holds it
    assert torch.allclose(seen[-1], torch.zeros(1, 2))


def test_status_repeats_a_plan_from_its_seed_and_iterations():
    first, second = make(), make()
    for planner in (first, second):
        planner.set_goal(Goal.from_latent(np.array([0.5, 0.5])))
    recorded = [first.step(np.array([0.01 * k, 0.0]), 0.2 * k) for k in range(3)]
    for k, output in enumerate(recorded):
        again = second.step(
            np.array([0.01 * k, 0.0]), 0.2 * k, iterations=output.status["iterations"], seed=output.status["seed"]
        )
        assert np.array_equal(again.command, output.command)
        assert np.array_equal(again.plan_actions, output.plan_actions)


def test_plan_and_candidates_come_with_poses_to_draw():
    planner = make(publish=5)
    planner.set_goal(Goal.from_latent(np.array([0.5, 0.5])))
    output = planner.step(np.zeros(2), 0.0)
    assert output.track.shape == (10, 3)
    assert len(output.candidates) == 5
    costs = [cost for _, cost in output.candidates]
    assert costs == sorted(costs)
    assert output.candidates[0][0].shape == (10, 3)


def test_a_model_that_breaks_for_one_step_is_a_surprise_and_then_forgotten():
    planner = make()
    planner.set_goal(Goal.from_latent(np.array([2.0, 0.0])))
    planner.step(np.zeros(2), 0.0)
    rollout = planner.model.rollout
    planner.model.rollout = lambda *a: tuple(torch.full_like(x, torch.nan) for x in rollout(*a))
    assert np.isnan(planner.step(np.zeros(2), 0.2).signals["surprise"])  # the gate stops on this
    planner.model.rollout = rollout
    output = planner.step(np.zeros(2), 0.4)
    assert output.status["reason"] == "ok"
    assert np.isfinite(output.signals["surprise"])


def test_weights_that_leave_no_term_are_refused_and_the_old_ones_stay():
    planner = make()
    planner.set_goal(pose_goal(0.5, 0.0, 0.0))
    before = planner.objective.weights
    nothing = TaskWeights(latent=0.0, steps=0.0, position=0.0, heading=0.0)
    with pytest.raises(JepaRosError, match="task cost has no term for a goal picture"):
        planner.set_weights(nothing)
    with pytest.raises(JepaRosError, match="no term for the goal pose"):
        planner.set_weights(TaskWeights(position=0.0, heading=0.0))
    assert planner.objective.weights == before
    assert planner.step(np.zeros(2), 0.0).status["reason"] == "ok"


def test_a_goal_without_a_term_is_refused_and_the_old_one_stays():
    planner = make()
    planner.set_goal(Goal.from_latent(np.array([0.6, -0.4])))
    planner.set_weights(TaskWeights(position=0.0))
    with pytest.raises(JepaRosError, match="no term for the goal pose"):
        planner.set_goal(pose_goal(0.5, 0.0))  # any heading
    assert planner.goal.kind == "image"
    planner.set_goal(pose_goal(0.5, 0.0, 0.0))  # the heading is left
    assert planner.step(np.zeros(2), 0.0).status["reason"] == "ok"


def test_a_failed_step_is_answered_by_standing_still_with_the_reason():
    planner = make()
    planner.set_goal(Goal.from_latent(np.array([0.6, -0.4])))
    assert planner.step(np.zeros(2), 0.0).command.any()
    planner.history.h = torch.full((1,), torch.nan)
    with pytest.raises(JepaRosError) as caught:
        planner.step(np.zeros(2), 0.0)
    output = planner.fail(caught.value)
    assert not output.command.any()
    assert output.status["reason"] == "error" and "recurrent state" in output.status["sentence"]
    assert planner.step(np.zeros(2), 5.0).status["reason"] == "ok"  # after a gap: the past is forgotten


def test_the_risk_measure_can_be_changed_while_it_runs():
    planner = make(noise_samples=4)
    planner.set_risk(read_risk("cvar 0.25"))
    assert planner.config.search.risk == planner.search.config.risk == Risk("cvar", 0.25)
    with pytest.raises(JepaRosError, match="at least 10 noise samples"):
        planner.set_risk(read_risk("cvar 0.1"))
    assert planner.search.config.risk.level == 0.25
    for text in ("", "cvar", "cvar x", "mean 1", "worst of all"):
        with pytest.raises(JepaRosError, match="risk"):
            read_risk(text)
