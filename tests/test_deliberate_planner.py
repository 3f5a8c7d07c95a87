# SPDX-License-Identifier: Apache-2.0
"""The planner deliberates when the fast search comes no nearer, follows the way, and a replay repeats it."""

import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from maze_world import CLOSED, DEAD_END, OPEN, MazeWorld
from toy_world import toy_contract

from jepa_ros.cost import Goal, GoalError
from jepa_ros.memory import LongTerm
from jepa_ros.memory.long_term import OBSTRUCTED
from jepa_ros.planning import Planner, PlannerConfig, SearchConfig, SearchError
from jepa_ros.planning.deliberate.deliberator import Recorded
from jepa_ros.planning.deliberate.settings import DeliberateConfig
from jepa_ros.world_model.readouts import NOVELTY

GOAL = Goal.from_latent(np.array([1.0, 0.0]))


def make(boxes=DEAD_END, model=None, beside=False, memory=None, stop="cost", **deliberate):
    config = PlannerConfig(
        SearchConfig(samples=64, deadline=10.0, horizon=8, stop=stop),
        deliberate=replace(DeliberateConfig(calls_per_step=4096, calls=100_000, tolerance=1.0), **deliberate),
    )
    return Planner(
        model or MazeWorld(boxes), toy_contract(0.0), config, memory=memory, beside=beside
    )  # fmt: skip


def drive(planner, steps, wait=0.0, physics=None, recorded=None):
    """Run the planner on the maze's own physics; outputs and places. Ends when it says that it has arrived."""
    contract, z, executed = planner.contract, torch.zeros(1, 2), None
    physics = physics or planner.model
    outputs, places = [], [z[0].tolist()]
    for k in range(steps):
        told = {} if recorded is None else dict(zip(("iterations", "seed", "deliberation"), recorded[k], strict=True))
        output = planner.step(z[0].numpy(), 0.2 * k, executed, **told)
        outputs.append(output)
        if output.status["arrived"]:
            break
        executed = output.command
        unit = torch.from_numpy(contract.normalise(output.command)).float()
        z = physics.rollout(z, torch.zeros(1, 1), unit[None, None])[0][:, -1]
        places.append(z[0].tolist())
        time.sleep(wait)
    return outputs, np.array(places)


def states(outputs):
    return [o.status["deliberation"]["state"] for o in outputs]


def test_fast_search_alone_stays_in_the_dead_end():
    planner = make(when="never")
    planner.set_goal(GOAL)
    outputs, places = drive(planner, 60)
    assert places[:, 0].max() < 0.4
    assert "deliberation" not in outputs[-1].status


def test_planner_that_is_stuck_deliberates_and_drives_out_to_the_goal():
    planner = make()
    planner.set_goal(GOAL)
    outputs, places = drive(planner, 80)
    assert outputs[-1].status["arrived"]
    assert places[:, 0].min() < -0.2
    seen = states(outputs)
    assert seen[0] == "idle"
    assert seen.index("thinking") < seen.index("following") < seen.index("done")
    told = next(o.status["deliberation"] for o in outputs if o.status["deliberation"]["state"] == "following")
    assert told["solved"] and told["calls"] <= told["budget"] and 0 < told["subgoal"] < told["subgoals"]


def test_where_the_fast_search_comes_nearer_nobody_deliberates():
    planner = make(OPEN)
    planner.set_goal(GOAL)
    outputs, _ = drive(planner, 30)
    assert outputs[-1].status["arrived"]
    assert set(states(outputs)) == {"idle"}


@pytest.mark.parametrize("boxes", [((0.4, -0.35, 0.5, 0.35),), DEAD_END])
def test_planner_whose_model_knows_no_wall_finds_its_way_round_by_the_edges_that_did_not_come_true(boxes):
    planner = make(OPEN)
    planner.set_goal(GOAL)
    outputs, _ = drive(planner, 180, physics=MazeWorld(boxes))
    assert outputs[-1].status["arrived"]
    told = outputs[-2].status["deliberation"]
    assert told["number"] > 1 and told["failed"] > 0


def test_progress_that_was_promised_and_does_not_come_begins_a_deliberation_unless_nobody_asks():
    begun = {}
    for kept in (0.25, 0.0):
        planner = make(OPEN, kept=kept)
        planner.set_goal(GOAL)
        outputs, _ = drive(planner, 40, physics=MazeWorld(DEAD_END))
        assert all(o.status["rate"] > planner.config.deliberate.rate for o in outputs if o.status.get("solved", 0) < 1)
        begun[kept] = "thinking" in states(outputs)
    assert begun == {0.25: True, 0.0: False}


def test_edges_that_came_true_do_not_fail_and_a_robot_that_is_put_elsewhere_forgets_those_that_did():
    for boxes, failed in ((OPEN, False), (DEAD_END, True)):
        planner = make(OPEN)
        planner.set_goal(GOAL)
        drive(planner, 20, physics=MazeWorld(boxes))
        assert bool(len(planner.deliberator.failures)) == failed
        planner.reset()
        assert len(planner.deliberator.failures) == 0


def test_where_an_edge_failed_is_remembered_as_obstructed():
    memory = LongTerm(2, clock=lambda: 1.0)
    planner = make(OPEN, memory=memory)
    planner.set_goal(GOAL)
    drive(planner, 20, physics=MazeWorld(DEAD_END))
    held = memory.latents[memory.outcomes == OBSTRUCTED]
    assert len(held) and np.abs(held[:, 0] - 0.4).max() < 0.1


def test_always_deliberates_once_for_each_goal():
    planner = make(OPEN, when="always")
    for number, goal in enumerate((GOAL, Goal.from_latent(np.array([0.0, 1.0])))):
        planner.set_goal(goal)
        outputs, _ = drive(planner, 6)
        assert outputs[-1].status["deliberation"]["number"] == number + 1


def test_goal_that_cannot_be_reached_ends_with_the_budget_and_says_how_far_the_best_way_comes():
    planner = make(CLOSED, calls=12_000, when="always")
    planner.set_goal(GOAL)
    outputs, _ = drive(planner, 40)
    told = next(o.status["deliberation"] for o in outputs if o.status["deliberation"]["state"] in ("partial", "done"))
    assert not told["solved"]
    assert told["calls"] <= told["budget"] == 12_000
    assert 0.0 < told["to_go"] < told["to_go_before"]


def test_new_goal_cancels_what_is_thought_about_the_old_one():
    planner = make(CLOSED, calls=100_000)
    planner.set_goal(GOAL)
    outputs, _ = drive(planner, 20)
    assert states(outputs)[-1] == "thinking"
    planner.set_goal(Goal.from_latent(np.array([-1.0, 0.0])))
    output = planner.step(np.zeros(2), 4.0)
    assert output.status["deliberation"]["state"] == "cancelled"
    assert planner.deliberator.current is None


def recorded_of(outputs):
    found = []
    for output in outputs:
        told = output.status["deliberation"]
        told = Recorded(told.get("number", 0), told.get("seed", 0), told.get("expansions", 0))
        found.append((output.status.get("iterations"), output.status.get("seed"), told))
    return found


def test_thread_deliberates_between_the_steps_and_a_replay_repeats_it_exactly():
    live = make(beside=True)
    live.set_goal(GOAL)
    try:
        outputs, places = drive(live, 80, wait=0.03)
    finally:
        live.close()
    assert outputs[-1].status["arrived"]
    again = make()
    again.set_goal(GOAL)
    repeated, same = drive(again, len(outputs), recorded=recorded_of(outputs))
    assert np.array_equal(places, same)
    assert states(outputs) == states(repeated)
    assert not any(thread.name == "deliberation" for thread in threading.enumerate())


def test_nothing_is_expanded_while_a_step_is_planned():
    planner = make(CLOSED, beside=True)
    planner.set_goal(GOAL)
    try:
        drive(planner, 12)
        thought = planner.deliberator.current
        with planner.deliberator.pause():
            before = thought.counts.expansions
            time.sleep(0.05)
            assert thought.counts.expansions == before
        end = time.monotonic() + 60.0
        while thought.counts.expansions == before:
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        planner.close()


def test_what_breaks_in_the_thread_is_told_and_the_fast_search_goes_on():
    class Broken(MazeWorld):
        def rollout(self, z, h, actions, noise=None):
            if threading.current_thread().name == "deliberation":
                raise RuntimeError("no memory left")
            return super().rollout(z, h, actions, noise)

    planner = make(model=Broken(), beside=True)
    planner.set_goal(GOAL)
    try:
        outputs, _ = drive(planner, 15, wait=0.02)
    finally:
        planner.close()
    failed = next(o for o in outputs if o.status["deliberation"]["state"] == "failed")
    assert "no memory left" in failed.status["deliberation"]["sentence"]
    assert failed.status["reason"] == "ok"


def test_remembered_states_are_given_to_a_deliberation_without_those_that_held_the_robot_back():
    memory = LongTerm(2, clock=lambda: 1.0)
    memory.observe(np.array([-0.5, 0.5]))
    memory.mark(np.array([0.45, 0.0]), None, 1)
    planner = make(memory=memory)
    assert planner.deliberator._remembered().tolist() == [[-0.5, 0.5]]


def test_finished_tree_can_be_written_as_json_and_its_way_leads_from_start_to_goal():
    planner = make()
    planner.set_goal(GOAL)
    outputs, _ = drive(planner, 40)
    tree = json.loads(json.dumps(next(o.tree for o in outputs if o.tree is not None)))
    assert tree["solved"] and tree["way"][0] == 0
    nodes = tree["nodes"]
    assert all(nodes[b][0] == a for a, b in zip(tree["way"], tree["way"][1:], strict=False))
    end = np.array(nodes[tree["way"][-1]][3:])
    assert np.linalg.norm(end - tree["goal"]) < 0.15
    assert sum(o.tree is not None for o in outputs) == 1


def test_goal_picture_that_the_model_cannot_place_is_told_and_refused_above_a_level():
    class Novel(MazeWorld):
        def read(self, name, latent, goal=None):
            return latent.norm(dim=-1) if name == "novelty" else super().read(name, latent, goal)

    model = Novel(OPEN)
    model.readouts = model.readouts | {"novelty": NOVELTY}
    planner = make(model=model)
    planner.set_goal(Goal.from_latent(np.array([1.5, 0.0])))
    assert planner.step(np.zeros(2), 0.0).status["goal_novelty"] == pytest.approx(1.5)
    with pytest.raises(GoalError, match=r"novelty 3.5, refused from 3 on"):
        planner.set_goal(Goal.from_latent(np.array([3.5, 0.0])))
    assert planner.goal.latent[0] == 1.5  # the old one stays


def test_model_without_a_cost_to_go_does_not_deliberate_and_cannot_be_told_to():
    blind = MazeWorld(readouts=("distance",))
    assert make(model=blind).deliberator is None
    with pytest.raises(SearchError, match="no readout 'way'"):
        make(model=blind, when="always")


def test_fast_search_stops_when_an_imagined_plan_reaches_the_goal():
    planner = make(OPEN, stop="solved")
    planner.search.config = replace(planner.search.config, iterations=30)
    start, h = np.zeros(2), np.zeros(1)
    near = planner.think(start, h, Goal.from_latent(np.array([0.3, 0.1])))
    far = planner.think(start, h, Goal.from_latent(np.array([3.0, 0.0])))
    assert near.converged and near.solved == 1.0 and near.iterations < 10
    assert near.nearest <= 1.0 and near.unit == "steps"
    assert not far.converged and far.iterations == 30 and far.solved == 0.0
    assert 20.0 < far.nearest < 25.0  # eight steps of at most sqrt(2)


def test_stop_rule_asks_enough_of_the_futures():
    planner = make(model=MazeWorld(OPEN, spread=0.12), stop="solved")
    search = replace(planner.search.config, noise_samples=16, iterations=3)
    planner = Planner(planner.model, toy_contract(0.0), replace(planner.config, search=search))
    result = planner.think(np.zeros(2), np.zeros(1), Goal.from_latent(np.array([0.6, 0.0])), iterations=None)
    assert 0.0 < result.solved < 1.0
    assert result.converged == (result.solved >= search.sure)


def test_rate_of_plans_is_that_of_the_best_candidate():
    planner = make(OPEN)
    away = planner.think(np.zeros(2), np.zeros(1), Goal.from_latent(np.array([3.0, 0.0])))
    assert 0.6 < away.rate < 1.5
    held = make(DEAD_END).think(np.array([0.38, 0.0]), np.zeros(1), GOAL)
    assert held.rate < 0.2
