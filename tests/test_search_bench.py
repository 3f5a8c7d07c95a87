# SPDX-License-Identifier: Apache-2.0
"""The speed table counts the work right and can be made."""

import pytest
import torch

from jepa_ros import bench
from jepa_ros.robot import load_contract, share_dir
from jepa_ros.world_model import ModelConfig, WorldModel

plan = bench.load(share_dir() / "benchmarks" / "plan.py")


def small_model():
    torch.manual_seed(0)
    return WorldModel(ModelConfig(width=32, encoder_width=8)).eval().requires_grad_(False)


def test_work_is_counted_by_hand_and_by_the_bench_alike():
    step, readout = plan.flops(WorldModel(ModelConfig()))
    assert step == 2 * (90 * 256 + 256 * 256 + 256 * 80)
    assert readout == 2 * (64 * 256 + 256 * 256 + 256) + 3 * 64


def test_a_row_is_measured_and_the_table_made():
    model, contract = small_model(), load_contract("arena")
    row = plan.measure(model, contract, 10, (3, 16, 2), "float32", "auto", 2)
    assert 0.0 < row["min_ms"] <= row["p50_ms"] <= row["p99_ms"]
    assert row["gflop"] == pytest.approx(1e-9 * 3 * 16 * 2 * 2 * sum(plan.flops(model)))
    report = {
        "machine": {"processor": "x", "threads": 1, "torch": "2", "load_before": 0.0, "load_after": 0.0},
        "model": {"id": "y", "parameters": 1, "predictor_parameters": 1, "kflop_a_step": 1.0, "kflop_a_readout": 1.0},
        "peak_gflops": {"float32": 1.0, "bfloat16": 1.0},
        "plans": [row | {"share_of_peak": 0.5}],
        "deadline": {"deadline_ms": 20.0, "cases": {}},
    }
    assert "| 3 x 16 x 2 | 2 |" in plan.tables(report)
