# SPDX-License-Identifier: Apache-2.0
"""Scoring: what counts as success, and that pairs are what the protocol says."""

import math

import pytest
from rich.console import Console

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.errors import JepaRosError
from jepa_ros.evaluation.baselines import baseline_in
from jepa_ros.evaluation.episode import EvalSettings
from jepa_ros.evaluation.evaluate import weights
from jepa_ros.evaluation.report import print_table, rates, summarise
from jepa_ros.files import write_json
from jepa_ros.learning.baselines import META
from jepa_ros.statistics import percentiles_ms, quantile, wilson
from jepa_ros.worlds.assignment import Assignment
from jepa_ros_sim.arena.reach import HOLD, MIN_DISTANCE, RADIUS, EpisodeSpec, Scorer, make_spec
from jepa_ros_sim.arena.world import ArenaWorld

SPEC = EpisodeSpec(0, 1, "fixed", 0, False, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), 1.0, False, 1.0)


def scored(track, contact_at=None, arrived_at=()):
    """A track of (x, yaw), one sample every 0.2 s."""
    scorer = Scorer(SPEC)
    for i, (x, yaw) in enumerate(track):
        scorer.add(0.2 * i, x, 0.0, yaw, i == contact_at, i in arrived_at, False)
    return scorer.score()


def test_arriving_and_holding_is_success():
    s = scored([(0.0, 0.0)] * 5 + [(0.95, 0.1)] * 8)
    assert s.success
    assert s.heading
    assert s.ever
    assert s.clean


def test_holding_needs_word_and_truth_for_so_long_and_until_now():
    def held(xs, arrived, seconds=2.0):
        scorer = Scorer(SPEC)
        for i, x in enumerate(xs):
            scorer.add(0.2 * i, x, 0.0, 0.0, False, arrived, False)
        return scorer.held(seconds)

    assert held([0.0] * 5 + [1.0] * 11, True)
    assert not held([0.0] * 5 + [1.0] * 10, True) and not held([1.0] * 5, True)
    assert not held([0.0] * 5 + [1.0] * 11, False) and not held([1.0] * 20 + [0.5], True)


def test_passing_through_is_ever_but_no_success():
    s = scored([(0.0, 0.0), (0.95, 0.0), (1.0, 0.0)] + [(1.2, 0.0)] * 8)
    assert s.ever
    assert not s.success


def test_leaving_within_the_last_second_is_no_success():
    held = [(1.0, 0.0)] * 20
    assert not scored([*held[:-3], (1.0 + RADIUS + 0.01, 0.0), *held[:2]]).success


def test_the_wrong_heading_is_success_without_heading():
    s = scored([(1.0, math.radians(25))] * 10)
    assert s.success
    assert not s.heading


def test_a_contact_on_the_way_is_no_clean_success():
    s = scored([(0.0, 0.0)] * 5 + [(1.0, 0.0)] * 8, contact_at=2)
    assert s.success
    assert not s.clean


def test_saying_arrived_far_from_the_goal_is_counted():
    assert scored([(0.5, 0.0)] * 10, arrived_at=(3,)).false_arrival
    assert not scored([(1.0, 0.0)] * 10, arrived_at=(3,)).false_arrival


@pytest.mark.parametrize("layout", ["fixed", "random", "blocked"])
def test_pairs_are_repeatable_apart_and_not_solved(layout):
    specs = [make_spec(i, 5, layout, False) for i in range(8)]
    assert specs == [make_spec(i, 5, layout, False) for i in range(8)]
    assert len({s.start for s in specs}) == 8
    for s in specs:
        assert MIN_DISTANCE <= s.distance <= 1.2
        assert s.path >= s.distance - 0.06  # the grid of the path search is 4 cm wide
        assert s.blocked or layout != "blocked"
    assert (len({s.layout_seed for s in specs}) == 8) or layout == "fixed"


def test_rates_count_over_episodes():
    rows = [scored([(1.0, 0.0)] * 10).to_dict(), scored([(0.0, 0.0)] * 10, contact_at=3).to_dict()]
    r = rates(rows)
    assert (r["success_rate"], r["collision_rate"], r["ever_rate"], r["episodes"]) == (0.5, 0.5, 0.5, 2)
    assert r["success_rate_ci95"][0] < 0.5 < r["success_rate_ci95"][1]


def test_wilson_is_the_textbook_interval():
    low, high = wilson(90, 100)
    assert low == pytest.approx(0.8256, abs=2e-4)
    assert high == pytest.approx(0.9448, abs=2e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 20)[0] == 0.0


def test_quantiles_lie_between_ranks():
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([1.0, 2.0], 0.5) == 1.5
    assert percentiles_ms([]) == {"p50": None, "p99": None}
    assert math.isnan(quantile([], 0.5))
    assert HOLD == 1.0


def guarded(*rails):
    data = load_contract("arena").to_dict()
    data["guardrails"] = list(rails)
    return RobotContract.from_dict(data)


ZONE = {
    "name": "zone", "kind": "keep_out", "unit": "m", "margin": 0.01,
    "circle": {"center": [0.5, 0.0], "radius": 0.1},
}  # fmt: skip


def test_violations_of_the_contracts_guardrails_are_counted_by_the_true_pose():
    def violations(contract, *xs):
        scorer = Scorer(SPEC, contract)
        for i, x in enumerate(xs):
            scorer.add(0.2 * i, x, 0.0, 0.0, False, False, False)
        return scorer.score().guardrail_violations

    contract = guarded(ZONE)  # radius 0.1, margin 0.01, footprint 0.09: broken nearer than 0.2 m
    assert violations(contract, 0.0, 0.29, 0.71, 1.0) == 0
    assert violations(contract, 0.0, 0.31, 0.5, 0.69, 1.0) == 1  # once in, however long
    assert violations(contract, 0.0, 0.5, 1.0, 0.5) == 2
    assert violations(guarded(), 0.0, 0.5) is None  # nothing to break is not "never broken"
    speed = {"name": "slow", "kind": "speed_zone", "unit": "m/s", "max_speed": 0.1, "circle": ZONE["circle"]}
    assert violations(guarded(speed), 0.5) is None  # nor is what a place alone does not tell
    rows = [{**scored([(1.0, 0.0)] * 10).to_dict(), "guardrail_violations": n} for n in (None, 2, 1)]
    assert rates(rows)["guardrail_violations"] == 3 and rates(rows[:1])["guardrail_violations"] is None


def report(*policies):
    score = {**scored([(1.0, 0.0)] * 10).to_dict(), "part": "free"}
    run = {"score": score, "plan": [0.01, 0.03], "encode": [0.001], "iterations": [3], "calls": [], "deliberation": {}}
    blind = {"score": run["score"], "plan": [], "encode": [], "iterations": [], "calls": [], "deliberation": {}}
    results = {kind: [run if kind == "planner" else blind] for kind in policies}
    assignment = Assignment.of(ArenaWorld(), load_contract("arena"), "fixed")
    return summarise(assignment, {"layout": "fixed"}, "arena", "id", EvalSettings(episodes=1), results, 1, 1)


def test_what_stands_beside_the_model_is_the_models(tmp_path):
    whole = report("planner", "random")
    assert whole["success_rate"] == whole["random_success_rate"] == 1.0
    assert whole["oracle_success_rate"] is None
    assert whole["plan_ms"] == {"p50": pytest.approx(20.0), "p99": pytest.approx(29.8)}
    alone = report("random")
    assert alone["success_rate"] is None and alone["success_rate_ci95"] is None and alone["episodes"] == 1
    assert alone["random_success_rate"] == 1.0
    assert alone["plan_ms"] == {"p50": None, "p99": None}
    write_json(tmp_path / "r.json", alone)
    assert "NaN" not in (tmp_path / "r.json").read_text()
    print_table(alone, Console())


def test_weights_of_terms_are_read_as_names_and_numbers():
    found = weights("steps=0, latent=1,final=3")
    assert found.final == 3.0 and found.terms == {"steps": 0.0, "latent": 1.0}
    for wrong in ("steps", "steps=a=b", "steps=-1", "steps=much"):
        with pytest.raises((ValueError, JepaRosError)):
            weights(wrong)


def test_the_inverse_model_beside_a_checkpoint_is_a_policy(tmp_path):
    assert baseline_in(tmp_path) == baseline_in(None) == ()
    (tmp_path / META).write_text('{"kind": "inverse"}')
    assert baseline_in(tmp_path) == ("inverse",)
    (tmp_path / META).write_text("no json")
    assert baseline_in(tmp_path) == ()
