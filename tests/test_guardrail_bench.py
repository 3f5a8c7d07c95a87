# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros bench guardrails`: its tasks ask the question, its arms differ where it matters, its tables tell."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

import pytest

pytest.importorskip("pybullet")

from benchmarks import guardrails as bench
from benchmarks.rigs.search import guardrail_episodes
from benchmarks.rigs.search.guardrail_episodes import Arm, RoutedObjective, WeightedObjective, make_planner
from benchmarks.rigs.search.guardrail_tasks import PASSAGE, ROOM, make_task
from jepa_ros.contract import load_contract
from jepa_ros.safety.guardrails import GuardrailSet
from jepa_ros.world_model import load_checkpoint
from jepa_ros_sim.arena import Box
from jepa_ros_sim.arena.tasks import shortest_path

ARENA = load_contract("arena")


@pytest.mark.parametrize("number", range(8))
def test_a_bar_lies_across_the_straight_way_and_leaves_a_way_round_in_three_of_four(number: int) -> None:
    task = make_task(number, 8150)
    assert task == make_task(number, 8150)
    (x0, y0, _), (x1, y1, _) = task.spec.start, task.spec.goal
    zone = task.guardrails()["zone"]
    rooms = [zone.clearance(x0 + s * (x1 - x0) / 50, y0 + s * (y1 - y0) / 50, 0.09) for s in range(51)]
    assert min(rooms) < -0.09, "the straight way goes through it"
    assert min(rooms[0], rooms[-1]) >= ROOM - 1e-3
    with_bar = dataclasses.replace(task.layout, boxes=(*task.layout.boxes, Box(*task.region)))
    way = shortest_path(with_bar, task.spec.start, task.spec.goal, 0.09 + PASSAGE)
    assert (way is None) == task.closed == (number % 4 == 3)


def test_only_the_arms_that_should_know_the_ways_round_do() -> None:
    model, card = load_checkpoint("arena", ARENA)
    rails = make_task(0, 8150).guardrails()

    def searching(planner: str, rails: GuardrailSet = rails) -> Any:
        return make_planner(ARENA, model, card, Arm("", planner, 3.0, 0.05), 0, rails)

    weighted, routed, lexicographic = (searching(p) for p in ("weighted", "routed", "lexicographic"))
    assert type(weighted.objective) is WeightedObjective and type(routed.objective) is RoutedObjective
    refusing = [{c.name for c in p.objective.constraints()} for p in (weighted, routed, lexicographic)]
    assert "zone" not in refusing[0] | refusing[1] and "zone" in refusing[2], "a sum refuses no plan"
    assert not searching("none").objective.guard.constraints
    closed = [p.knowledge[0]._closed for p in (weighted, routed, lexicographic)]
    assert not closed[0].any()
    assert closed[1].any() and (closed[1] == closed[2]).all()


def test_without_a_guardrail_it_drives_into_the_bar_and_lexicographic_keeps_out(monkeypatch) -> None:
    monkeypatch.setattr(guardrail_episodes, "TIME_LIMIT", 6.0)
    model, card = load_checkpoint("arena", ARENA)
    task = make_task(3, 8150)  # closed: from the one side to the other there is no way
    free, light, kept = (
        guardrail_episodes.run_episode(ARENA, model, card, arm, task)
        for arm in (
            Arm("none"), Arm("sum", "weighted", 0.01, 0.05), Arm("kept", "lexicographic", 0.0, 0.05, gate=True)
        )
    )  # fmt: skip
    assert free["room"] < 0.0 <= kept["room"]
    assert light["room"] < 0.0, "a sum with next to no weight drives on, and nobody stops it"
    assert free["closed"] and kept["closed"] and not kept["success"]


def row(arm: str, number: int, room: float, success: bool) -> dict[str, Any]:
    """An episode as it is kept."""
    return {
        "arm": arm, "layout": "random", "number": number, "room": room, "success": success, "closed": number % 4 == 3,
        "contact": False, "seconds_to_goal": 5.0, "inside_s": 0.1, "infeasible": 0, "plans": 10, "plan_ms": 10.0,
        "predicted": {"both": 0, "predicted_only": 0, "came_only": 0, "neither": 10},
    }  # fmt: skip


def test_the_best_weight_is_the_one_whose_episodes_end_right_most_often() -> None:
    grid = {"light": Arm("light", "weighted", 0.3), "heavy": Arm("heavy", "weighted", 30.0)}
    rows = [row("light", n, -0.05, True) for n in range(8)]  # at every goal, through every bar
    rows += [row("heavy", n, 0.02, n < 2) for n in range(8)]  # at two goals; where no way leads there, it stays out
    assert bench.best_weight(rows, grid) == "heavy"
    found = bench.summary(rows, "heavy", grid["heavy"])
    assert (found["right"]["count"], found["right"]["n"]) == (4, 8)
    assert (found["success"]["count"], found["success"]["n"]) == (2, 6), "success counts where there is a way"
    assert (found["violated_closed"]["count"], found["violated_closed"]["n"]) == (0, 2)
    assert bench.summary(rows, "light", grid["light"])["violated"]["rate"] == 1.0


def test_the_price_is_told_for_tasks_with_a_way_round_alone(monkeypatch, tmp_path, capsys) -> None:
    asked = []

    def play(path, jobs, key, *_):
        asked.extend(jobs)
        told = {"closed": False, "room": 0.1, "contact": False, "inside_s": 0.0, "seconds_to_goal": 3.0, "plan_ms": 9.0,
                "predicted": {"both": 0}, "infeasible": 1, "plans": 9}  # fmt: skip
        return [{**told, "arm": arm, "seed": seed, "number": n, "layout": "random", "success": arm == "none" or n != 1}
                for arm, seed, n, _ in jobs]  # fmt: skip

    monkeypatch.setattr(bench, "play", play)
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    assert bench.main(parser.parse_args(["--price", "--episodes", "8", "--json", str(tmp_path / "price.json")])) == 0
    assert {arm for arm, *_ in asked} == {"none", "both"} and {n for _, _, n, _ in asked} == {0, 1, 2, 4, 5, 6}
    found = json.loads((tmp_path / "price.json").read_text())
    assert found["arms"]["both"]["success"]["count"] == 5 and found["against_none"]["only_first"] == 1
    assert "-16.7 points (1 only without, 0 only with" in capsys.readouterr().out


def test_what_search_and_gate_keep_is_told_for_all_tasks_and_no_other_arm(monkeypatch, tmp_path, capsys) -> None:
    asked = []

    def play(path, jobs, key, *_):
        asked.extend(jobs)
        return [row(arm, n, -0.01 if n == 5 else 0.1, n != 1) for arm, _, n, _ in jobs]

    monkeypatch.setattr(bench, "play", play)
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    assert bench.main(parser.parse_args(["--kept", "--episodes", "8", "--json", str(tmp_path / "kept.json")])) == 0
    assert {arm for arm, *_ in asked} == {"both"} and {n for _, _, n, _ in asked} == set(range(8))
    arm = json.loads((tmp_path / "kept.json").read_text())["arm"]
    assert arm["violated"]["count"] == 1 and arm["violated"]["n"] == 6 and arm["violated_closed"]["count"] == 0
    assert arm["success"]["count"] == 5
    assert "right 75.0 %" in capsys.readouterr().out
