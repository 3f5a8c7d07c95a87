# SPDX-License-Identifier: Apache-2.0
"""The safety gate under fault: random histories of inputs, one mutant a row, and the time of a step.

``histories``: no history of inputs, however bad, may break a rule of the judge (``benchmarks/rigs/gate/histories.py``).
``mutation``: the gate without one row at a time; each must be noticed, by the row's scenario or by the histories.
``episodes``: in physics, a planner that drives at forbidden regions at full speed, with the gate and without it.
``step``: time of one step, in three situations.
A count of 0 leaves a stage out; with ``--log FILE`` a campaign that was broken off goes on where it was.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

from benchmarks.rigs import output
from benchmarks.rigs.gate.campaign import SITUATIONS, Log, episodes, histories, mutation, time_steps
from jepa_ros.commands.options import non_negative, positive, seed
from jepa_ros.files import add_json
from jepa_ros.processor import usable_cores
from jepa_ros.safety.rows import REASONS
from jepa_ros.workers import worker_pool

#: The adversary has to enter a region in this share of the episodes without the gate: a tame one shows nothing.
HARMFUL = 0.9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what this benchmark takes."""
    parser.add_argument("--histories", type=non_negative, default=100_000, help="random histories (default: 100,000)")
    parser.add_argument("--seed", type=seed, default=0, help="seed of the first history; history N has seed + N")
    parser.add_argument(
        "--mutants", type=non_negative, default=1500, help="histories for each mutant at most (default: 1,500)"
    )
    parser.add_argument(
        "--episodes", type=non_negative, default=1000, help="adversarial episodes in physics (default: 1,000)"
    )
    parser.add_argument(
        "--steps", type=non_negative, default=5000, help="steps timed in each situation (default: 5,000)"
    )
    parser.add_argument("--processes", type=positive, default=usable_cores(), help="default: all cores")
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep what was played there, and do not play it again")
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Run the campaign; 0 if nothing unsafe was seen and every mutant was noticed."""
    result: dict[str, Any] = {
        "benchmark": "safety", "seed": args.seed, "steps": args.steps, "machine": output.machine(),
        "step_us": {name: time_steps(name, args.steps) for name in SITUATIONS if args.steps},
    }  # fmt: skip
    log = Log(args.log)
    with worker_pool(args.processes, "safety") as pool:
        if args.histories:
            result["histories"] = histories(pool, args.seed, args.histories, _progress, log)
        if args.mutants:
            result["mutation"] = mutation(pool, args.seed, args.mutants, _progress)
        result["episodes"] = episodes(pool, args.seed, args.episodes, _progress, log)
    output.deliver(result, report(result) + "\n", args.json, None)
    unsafe = result.get("histories", {}).get("broken")
    missed = [row for row, found in result.get("mutation", {}).items() if not found["noticed_by"]]
    e = result["episodes"]
    harmed = e and (e["violations_with_gate"] or e["too_fast_with_gate"])
    tame = e and e["violations_without"] < HARMFUL * e["episodes"]
    return 1 if unsafe or missed or harmed or tame else 0


# ---------------------------------------------------------------- telling


def _progress(what: str, done: int, of: int, start: float) -> None:
    left = (time.monotonic() - start) / max(done, 1) * (of - done)
    output.say("safety", f"{what}: {done:,} of {of:,}, {left:.0f} s to go")


def report(result: dict[str, Any]) -> str:
    """The results as text."""
    lines: list[str] = []
    if h := result.get("histories"):
        played = f"{h['histories']:,} ({h['ticks']:,} ticks, {h['seconds']:.0f} s)"
        lines += [f"histories: {played}, rules broken: {len(h['broken'])}"]
        lines += [f"  {text}" for text in h["broken"]]
        if h["rate_upper_bound_95"]:
            lines.append(f"  so fewer than {h['rate_upper_bound_95']:.1e} of such histories break one (95 %)")
        lines.append(f"  reasons met: {len(h['reasons'])} of {len(REASONS)} rows and states")
    if mutants := result.get("mutation"):
        missed = [row for row, found in mutants.items() if not found["noticed_by"]]
        by_histories = sum("histories" in found["noticed_by"] for found in mutants.values())
        noticed = len(mutants) - len(missed)
        lines.append(f"mutants: {noticed} of {len(mutants)} noticed ({by_histories} by the histories too)")
        lines += [f"  NOT noticed: {row}" for row in missed]
    if e := result["episodes"]:
        lines.append(f"adversarial episodes: {e['episodes']:,}; footprint in a forbidden region:")
        low, high = (100 * share for share in e["without_ci95"])
        lines.append(f"  with the gate {e['violations_with_gate']} (95 %: under {100 * e['upper_bound_95']:.2f} %), "
                     f"without it {e['violations_without']} ({low:.1f} to {high:.1f} %)")  # fmt: skip
        if e["broken_seeds"]:
            lines.append(f"  violations at seeds {e['broken_seeds']}")
        lines.append(f"  least room {1000 * e['least_room_m']:.0f} mm (seed {e['least_room_seed']}), median "
                     f"{1000 * e['median_room_m']:.0f} mm; median way driven {e['median_driven_m']:.2f} m")  # fmt: skip
        near = f"{e['fastest_near_person']:.2f} m/s (limit 0.10), without it {e['fastest_near_person_without']:.2f}"
        lines.append(f"  faster than that near a person with the gate {e['too_fast_with_gate']}, without it "
                     f"{e['too_fast_without']}")  # fmt: skip
        lines.append(f"  fastest near a person {near}; shoved by the person: {e['shoved_by_person']}")
    if result["step_us"]:
        lines.append("one step [us]: CPU time; by the clock; CPU time of the same step again")
    for name, t in result["step_us"].items():
        lines.append(f"  {name:36} p50 {t['p50']:4.0f}  p99 {t['p99']:4.0f}  max {math.ceil(t['max']):5d}; "
                     f"p99 {t['wall_p99']:6.0f}; p99 {t['again_p99']:4.0f}")  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    add_arguments(arguments)
    raise SystemExit(main(arguments.parse_args()))
