# SPDX-License-Identifier: Apache-2.0
"""Control steps while a deliberation runs beside them in a thread, against steps alone, in turns.

    jepa-ros bench beside [--robot NAME] [--model FOLDER] [--steps N]

A step is timed as a whole: the wait for the expansion under way, knowledge, search. The goal is a remembered place that
no budget reaches, so the thread never runs out of work.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.rigs import options, output
from jepa_ros.cost.goal import Goal
from jepa_ros.files import add_json
from jepa_ros.planning.arrival import ArrivalConfig
from jepa_ros.planning.config import PlannerConfig, SearchConfig
from jepa_ros.planning.deliberate.settings import DeliberateConfig
from jepa_ros.planning.planner import Planner

BLOCK = 20  # steps of each kind before the other has its turn
PACE = 0.06  # s from step to step; the thread has what a step leaves of it
WANTED = 1.3  # times the p50 alone
#: No state is ever there, so that the deliberation goes on.
NOWHERE = ArrivalConfig(arrive=1e-9, leave=1e-9, arrive_steps=1e-9, leave_steps=1e-9, arrive_latent=1e-9)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model(parser)
    parser.add_argument("--steps", type=int, default=200, help="steps of each kind (default: %(default)s)")
    parser.add_argument("--distance", default="distance", help="readout that is the cost-to-go (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch (default: its own)")
    add_json(parser)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table")


def main(args: argparse.Namespace) -> int:
    """Measure and print the table."""
    from jepa_ros.contract import load_contract
    from jepa_ros.world_model import load_checkpoint, model_id

    if args.threads:
        torch.set_num_threads(args.threads)
    contract = load_contract(args.robot)
    model, card = load_checkpoint(args.model or contract.name, contract)
    search = SearchConfig()
    kinds = {
        "alone": DeliberateConfig(when="never"),
        "beside": DeliberateConfig(when="always", distance=args.distance, calls=10**12),
    }
    planners = {kind: _planner(model, contract, search, deliberate) for kind, deliberate in kinds.items()}
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    expanded, worked = 0, 0.0
    rng = np.random.default_rng(0)
    here = 0.3 * rng.normal(size=model.config.latent_dim).astype(np.float32)
    embedding = np.zeros(getattr(model.config, "embedding_dim", here.size), np.float32)
    embedding[: here.size] = here
    stamps = dict.fromkeys(kinds, 0.0)
    try:
        for planner in planners.values():
            planner.set_goal(Goal.from_latent(-here, kind="memory"))
            for k in range(5):
                planner.step(embedding, k * contract.period)
            _let_go(planner)
        while len(times["beside"]) < args.steps:
            for kind, planner in planners.items():
                deliberator = planner.deliberator
                if deliberator is not None:
                    with deliberator.pause():
                        deliberator.turns.work(deliberator.current, deliberator.config.calls)
                    time.sleep(PACE)
                before, began = _expansions(planner), time.perf_counter()
                for _ in range(BLOCK):
                    stamps[kind] += contract.period
                    start = time.perf_counter()
                    planner.step(embedding, 1.0 + stamps[kind])
                    times[kind].append(time.perf_counter() - start)
                    time.sleep(max(0.0, PACE - (time.perf_counter() - start)))
                expanded += _expansions(planner) - before
                worked += time.perf_counter() - began if deliberator is not None else 0.0
                _let_go(planner)
    finally:
        for planner in planners.values():
            planner.close()
    report = _report(times, search, expanded, worked, kinds["beside"])
    report |= {"model": model_id(card), "machine": output.machine()}
    output.deliver(report, _table(report), args.json, args.markdown)
    return 0


def _planner(model: Any, contract: Any, search: SearchConfig, deliberate: DeliberateConfig) -> Planner:
    config = replace(PlannerConfig.of(contract, search), deliberate=deliberate, arrival=NOWHERE)
    planner = Planner(model, contract, config, beside=True)
    planner.warm_up()
    return planner


def _let_go(planner: Planner) -> None:
    """The thread has nothing to do for now."""
    if planner.deliberator is not None:
        with planner.deliberator.pause():
            planner.deliberator.turns.work(None)


def _expansions(planner: Planner) -> int:
    current = None if planner.deliberator is None else planner.deliberator.current
    return 0 if current is None else current.counts.expansions


def _report(
    times: dict[str, list[float]], search: SearchConfig, expanded: int, worked: float, deliberate: DeliberateConfig
) -> dict[str, Any]:
    found: dict[str, Any] = {"benchmark": "beside", "version": 1, "deadline_ms": 1e3 * search.deadline}
    for kind, seconds in times.items():
        ms = 1e3 * np.array(seconds)
        found[kind] = {
            "p50_ms": float(np.quantile(ms, 0.5)), "p99_ms": float(np.quantile(ms, 0.99)),
            "over_deadline": int((ms > 1e3 * search.deadline).sum()), "n": len(ms),
        }  # fmt: skip
    found["ratio_p50"] = found["beside"]["p50_ms"] / found["alone"]["p50_ms"]
    found["calls_a_second"] = expanded * deliberate.expansion / max(worked, 1e-9)
    return found


def _table(r: dict[str, Any]) -> str:
    lines = ["| control steps | n | p50 | p99 | over the deadline |", "|---|---|---|---|---|"]
    for kind in ("alone", "beside"):
        c = r[kind]
        lines.append(f"| {kind} | {c['n']} | {c['p50_ms']:.1f} ms | {c['p99_ms']:.1f} ms | {c['over_deadline']} |")
    ratio, calls = r["ratio_p50"], r["calls_a_second"]
    told = f"{ratio:.2f} times as long with a deliberation beside (at most {WANTED} wanted)"
    return "\n".join([*lines, "", f"{told}, which made {calls:.0f} calls of the model a second.", ""])
