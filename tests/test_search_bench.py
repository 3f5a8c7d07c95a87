# SPDX-License-Identifier: Apache-2.0
"""The speed table counts the work right and can be made."""

import pytest
import torch
from toy_world import planar_config

from benchmarks.rigs.search import plan_measure as plan
from benchmarks.rigs.search.plan_tables import _peer_tables, tables
from jepa_ros.contract import load_contract
from jepa_ros.world_model import WorldModel


def small_model():
    torch.manual_seed(0)
    return WorldModel(planar_config(width=32, encoder_width=8)).eval().requires_grad_(False)


def test_work_is_counted_by_hand_and_by_the_bench_alike():
    step, readout = plan.flops(WorldModel(planar_config()))
    assert step == 2 * (90 * 256 + 256 * 256 + 256 * 80)
    assert readout == 2 * (64 * 256 + 256 * 256 + 256) + 2 * (64 * 128 + 128 * 128 + 128 * 4) + 3 * 64


def test_a_row_is_measured_and_the_table_made():
    model, contract = small_model(), load_contract("arena")
    row = plan.measure(model, contract, 10, (3, 16, 2), "float32", "auto", 2)
    assert 0.0 < row["min_ms"] <= row["p50_ms"] <= row["p99_ms"]
    assert row["gflop"] == pytest.approx(1e-9 * 3 * 16 * 2 * 2 * sum(plan.flops(model)))
    report = {
        "machine": {"processor": "x", "threads": 1, "torch": "2", "load_before": 0.0, "load_after": 0.0},
        "model": {
            "id": "y",
            "parameters": 1,
            "predictor_parameters": 1,
            "kflop_a_step": 1.0,
            "kflop_a_readout": 1.0,
        },
        "peak_gflops": {"float32": 1.0, "bfloat16": 1.0},
        "plans": [row | {"share_of_peak": 0.5}],
        "profile": plan.profile(model, contract, 2, {"float32": 1.0, "bfloat16": 1.0}, size=(3, 16, 2)),
        "deadline": {"deadline_ms": 20.0, "cases": {}},
    }
    assert "| 3 x 16 x 2 | 2 |" in tables(report)


def test_the_profile_accounts_for_the_whole_plan():
    found = plan.profile(
        small_model(), load_contract("arena"), 5, {"float32": 100.0, "bfloat16": 100.0}, size=(3, 16, 2)
    )
    assert {"rollout", "distance readout", "pose readout", "candidates", "update", "plan"} <= set(found["parts"])
    assert sum(part["share"] for part in found["parts"].values()) == pytest.approx(1.0)
    assert sum(part["ms"] for part in found["parts"].values()) == pytest.approx(found["mean_ms"], rel=0.2)
    assert found["parts"]["rollout"]["share_of_peak"] > 0.0


def test_a_cost_that_was_not_reached_is_said_and_stays_valid_json():
    time_to_cost = {
        "problems": 3, "their_p50_ms": 500.0, "our_p50_ms": None, "reached": 1, "times_less": 0.0, "costs": [],
        "more_cost": 0.012,
    }  # fmt: skip
    lines = "\n".join(_peer_tables({"versions": {}, "rows": [], "time_to_cost": time_to_cost}))
    assert "not reached by half" in lines and "1 of 3" in lines and "+1.2 %" in lines
    reached = time_to_cost | {"our_p50_ms": 40.0, "times_less": 12.5, "reached": 3}
    assert "40.0 ms, 12 times less" in "\n".join(_peer_tables({"versions": {}, "rows": [], "time_to_cost": reached}))
