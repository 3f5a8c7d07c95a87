# SPDX-License-Identifier: Apache-2.0
"""Guardrails decide before costs do, and where none can be kept the answer is a stop that names what is in the way."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from test_search_plans import GOAL, START, STATE, best_plan, make
from toy_world import ToyWorld, toy_contract

from jepa_ros.cost import Goal, Risk, RiskError
from jepa_ros.planar.region_constraints import leaving
from jepa_ros.planning import Planner, PlannerConfig, SearchConfig
from jepa_ros.safety.guardrails import GuardrailError, parse_guardrails


@dataclass
class Wall:
    """Forbids x beyond a line."""

    name: str = "wall"
    limit: float = 0.15
    risk: Risk = field(default_factory=Risk)

    def excess(self, states):
        return states.poses[..., 0] - self.limit


@dataclass
class Slow:
    """Forbids driving forward faster than a limit [m/s]."""

    name: str = "slow"
    limit: float = 0.1
    risk: Risk = field(default_factory=Risk)

    def excess(self, states):
        return states.actions[..., 0] - self.limit


def test_a_cheaper_plan_through_the_wall_is_never_taken():
    result = make(guardrails=[Wall()], iterations=8).think(START, STATE, GOAL)
    assert result.reason == "ok"
    assert result.feasible
    assert result.blocked_by is None
    assert (np.cumsum(result.actions[:, 0]) * 0.1).max() <= 0.15 + 1e-6
    assert result.excess["wall"] <= 0.0


def test_a_warm_start_through_a_wall_that_was_just_put_up_is_dropped():
    search = make(iterations=4)
    search.set_guardrails([Wall(limit=0.05)])
    result = search.think(START, STATE, GOAL, warm=best_plan())
    assert result.feasible
    assert (np.cumsum(result.actions[:, 0]) * 0.1).max() <= 0.05 + 1e-6


def test_nothing_feasible_gives_no_plan_and_the_name_of_the_guardrail_most_exceeded():
    impossible = [Wall("wall", limit=-9.0), Wall("fence", limit=-5.0)]
    result = make(guardrails=impossible).think(START, STATE, GOAL)
    assert (result.actions, result.reason, result.feasible) == (None, "infeasible", False)
    assert result.blocked_by == "wall"
    assert result.excess["wall"] > result.excess["fence"] > 0.0


def test_search_moves_towards_feasibility_when_it_starts_without():
    # x must be below -0.5 at every step from the first on, reachable only at the very bound of the actions.
    model = ToyWorld(speed=0.6)
    result = make(model, guardrails=[Wall(limit=-0.5)], iterations=30, samples=64).think(START, STATE, GOAL)
    assert result.feasible


def test_guardrails_see_executed_actions_in_physical_units():
    result = make(guardrails=[Slow()], iterations=6, latency=0.06).think(START, STATE, GOAL)
    assert result.feasible
    executed = 0.7 * result.actions[:, 0] + 0.3 * np.concatenate([[0.0], result.actions[:-1, 0]])
    assert (executed * 0.4).max() <= 0.1 + 1e-6


def test_risk_level_decides_how_far_from_the_wall_an_uncertain_robot_stays():
    reach = {}
    for risk in (Risk("mean"), Risk("worst")):
        model = ToyWorld(spread=0.02)
        search = make(model, guardrails=[Wall(risk=risk)], noise_samples=16, samples=256, iterations=6)
        result = search.think(START, STATE, GOAL)
        assert result.feasible
        reach[risk.kind] = (np.cumsum(result.actions[:, 0]) * 0.1).max()
    assert reach["worst"] < reach["mean"] - 0.02


def test_guardrail_with_a_level_that_the_samples_cannot_resolve_is_refused_and_the_old_set_stays():
    search = make(guardrails=[Wall()], noise_samples=2)
    with pytest.raises(RiskError, match="at least 10"):
        search.set_guardrails([Wall(risk=Risk("cvar", 0.1))])
    assert search.objective.guard.guardrails[0].risk.kind == "mean"


def test_plans_that_only_kept_the_guardrail_on_the_optimised_futures_are_found_out():
    # With two futures optimised over and worst-case risk, most plans that touch the line fail on fresh futures.
    model, searched = ToyWorld(spread=0.03), []
    for seed in range(20):
        search = make(model, guardrails=[Wall(risk=Risk("worst"))], noise_samples=2, verify_samples=32, iterations=6)
        result = search.think(START, STATE, GOAL, seed=seed)
        searched.append(result.feasible)
        if result.feasible:
            assert result.excess["wall"] <= 0.0
    assert not all(searched)


def test_planner_stops_and_names_the_guardrail_in_the_way():
    contract = toy_contract()
    config = PlannerConfig(SearchConfig(deadline=10.0))
    planner = Planner(ToyWorld(), contract, config, guardrails=[Wall(limit=-9.0)])
    planner.set_goal(Goal.from_latent(np.array([0.5, 0.0])))
    output = planner.step(np.zeros(2), 0.0)
    assert np.array_equal(output.command, np.zeros(2))
    assert output.plan_actions is None
    assert output.status["reason"] == "infeasible"
    assert output.status["blocked_by"] == "wall"
    assert "wall" in output.status["sentence"]
    assert output.signals["guardrail/wall"] > 0.0
    planner.set_guardrails(())
    assert planner.step(np.zeros(2), 0.2).status["reason"] == "ok"


def test_the_real_schema_keeps_the_footprint_out_of_a_box():
    contract = toy_contract()
    text = """
    - name: shelf
      kind: keep_out
      unit: m
      box: {center: [0.4, 0.0], size: [0.2, 0.2]}
    """
    box = parse_guardrails(text).bind(contract)
    result = make(guardrails=box, iterations=8, samples=256).think(START, STATE, Goal.from_latent(np.array([0.4, 0.0])))
    assert result.feasible
    path = np.cumsum(result.actions, axis=0) * 0.1
    gap = np.maximum(np.abs(path - [0.4, 0.0]) - 0.1, 0.0)
    assert np.linalg.norm(gap, axis=1).min() >= contract.footprint.radius - 1e-6


def test_planner_takes_the_contracts_guardrails_and_tells_their_hash():
    box = {"name": "shelf", "kind": "keep_out", "unit": "m", "circle": {"center": [0.9, 0.9], "radius": 0.1}}
    contract = replace(toy_contract(), guardrails=(box,))
    planner = Planner(ToyWorld(), contract, PlannerConfig(SearchConfig(deadline=10.0)))
    planner.set_goal(GOAL)
    output = planner.step(START, 0.0)
    assert output.guardrail_hash == parse_guardrails([box]).hash
    assert output.signals["guardrail/shelf"] < 0.0


def test_what_the_model_does_not_predict_is_left_to_the_gate_and_said_so():
    text = "[{name: gap, kind: obstacle_distance, unit: m, min_distance: 0.1}]"
    planner = Planner(ToyWorld(), toy_contract(), guardrails=parse_guardrails(text).bind(toy_contract()))
    assert planner.step(START, 0.0).status["guardrails_left_to_the_gate"] == ["gap"]


def test_what_only_the_planner_can_judge_is_refused_without_the_readout_and_the_old_set_stays():
    search = make(guardrails=[Wall()])
    text = "[{name: soft, kind: contact_probability, unit: '1', max: 0.2}]"
    with pytest.raises(GuardrailError, match="needs predicted contact"):
        search.set_guardrails(parse_guardrails(text))
    assert [g.name for g in search.objective.guard.guardrails] == ["wall"]


@pytest.mark.parametrize("goal", [(0.6, 0.0), (0.0, 0.0)])
def test_a_robot_that_a_region_was_set_down_on_plans_its_way_out(goal):
    text = "- {name: dropped, kind: keep_out, unit: m, circle: {center: [0.0, 0.0], radius: 0.2}}"
    dropped = parse_guardrails(text).bind(toy_contract())
    edge = 0.2 + toy_contract().footprint.radius
    start = np.array([0.12, 0.0], np.float32)  # inside, wherever the goal lies
    result = make(guardrails=dropped, iterations=20, samples=64).think(start, STATE, Goal.from_latent(np.array(goal)))
    assert result.feasible, result.excess
    away = np.hypot(*(start + np.cumsum(result.actions * 0.1, axis=0)).T)
    assert (np.diff(np.concatenate([[0.12], np.minimum(away, edge)])) > -0.011).all(), "goes back in"
    assert away[-1] >= min(0.12 + 0.05, edge) - 1e-4, "does not come out"


def test_a_plan_that_begins_outside_may_not_cross_a_region_on_its_way():
    steps = np.array([[-0.1, 0.05, -0.1], [-0.1, -0.2, -0.1]])
    assert (leaving(steps, 0.1).max(-1) > 0.0).tolist() == [True, False]
    assert (leaving(np.array([[0.10, 0.10, 0.10], [0.08, 0.06, 0.04]]), 0.1).max(-1) > 0.0).tolist() == [True, False]
    assert np.isnan(leaving(np.array([[0.0, np.nan, 0.0]]), 0.1).max(-1)).all()
