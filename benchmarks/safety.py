# SPDX-License-Identifier: Apache-2.0
"""The safety gate under fault: random histories of any body, directed search, mutants, liveness, the time of a step.

``histories``: no history of inputs, however bad, may break a rule of the judge, for any body that a contract admits.
``directed``: the worst command sequences that a search finds: no region may be entered.
``mutation``: the gate without one row at a time; each must be noticed, by the row's scenario or by the histories.
``liveness``: not by refusing to move: free space, and tasks past regions and obstacles beside an exact oracle.
``episodes``: in physics, a planner that drives at forbidden regions at full speed, with the gate and without it.
``steps``: time of one step by body, beside that of an earlier gate.
A count of 0 leaves a stage out; with ``--log FILE`` histories and episodes that were broken off go on where they were,
and minutes of directed search add up.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.rigs import output
from benchmarks.rigs.gate import liveness, stepping
from benchmarks.rigs.gate.arm_directed import ARMS
from benchmarks.rigs.gate.bodies import KINDS
from benchmarks.rigs.gate.campaign import Log, directed, episodes, histories, mutation
from benchmarks.rigs.gate.named import DRIVING
from benchmarks.rigs.gate.telling import report
from jepa_ros.contract import share_dir
from jepa_ros.files import add_json
from jepa_ros.options import non_negative, positive, seed
from jepa_ros.processor import usable_cores
from jepa_ros.workers import worker_pool

#: The adversary has to enter a region in this share of the episodes without the gate: a tame one shows nothing.
HARMFUL = 0.9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what this benchmark takes."""
    parser.add_argument(
        "--histories", type=non_negative, default=100_000, help="random histories of each kind (default: 100,000)"
    )
    parser.add_argument("--bodies", choices=(*KINDS, "all"), default="all", help="kinds of them (default: all)")
    parser.add_argument("--seed", type=seed, default=0, help="seed of the first history; history N has seed + N")
    parser.add_argument(
        "--directed",
        type=float,
        default=30.0,
        metavar="MINUTES",
        help="of each body; with --log they add up (default: 30)",
    )
    parser.add_argument("--body", choices=(*DRIVING, *ARMS), help="the one to search (default: all)")
    parser.add_argument(
        "--mutants", type=non_negative, default=1500, help="histories for each mutant at most (default: 1,500)"
    )
    parser.add_argument(
        "--liveness", action=argparse.BooleanOptionalAction, default=True, help="test that the gate lets it move"
    )
    parser.add_argument(
        "--episodes", type=non_negative, default=1000, help="adversarial episodes in physics (default: 1,000)"
    )
    parser.add_argument(
        "--steps", type=non_negative, default=5000, help="steps timed in each situation (default: 5,000)"
    )
    parser.add_argument("--processes", type=positive, default=usable_cores(), help="default: all cores")
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep finished histories here and do not repeat them")
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Run the campaign; 0 if nothing unsafe was seen, every mutant was noticed and nothing refuses to move."""
    result: dict[str, Any] = {
        "benchmark": "safety", "seed": args.seed, "steps": args.steps, "machine": output.machine(),
    }  # fmt: skip
    if args.steps:
        result["step_us"] = stepping.compare(share_dir(), args.steps)
    log = Log(args.log)
    with worker_pool(args.processes, "safety") as pool:
        if args.histories:
            kinds = KINDS if args.bodies == "all" else (args.bodies,)
            result["histories"] = {
                kind: histories(pool, kind, args.seed, args.histories, _progress, log) for kind in kinds
            }
        if args.directed > 0.0:
            names = (args.body,) if args.body else (*DRIVING, *ARMS)
            result["directed"] = directed(pool, names, args.directed, args.seed, _progress, log)
        if args.mutants:
            result["mutation"] = mutation(pool, args.seed, args.mutants, _progress)
        if args.liveness:
            result["liveness"] = liveness.measure()
        result["episodes"] = episodes(pool, args.seed, args.episodes, _progress, log)
    output.deliver(result, report(result) + "\n", args.json, None)
    return int(failed(result))


def failed(result: dict[str, Any]) -> bool:
    """Whether anything came out as it must not."""
    unsafe = any(h["broken"] for h in result.get("histories", {}).values())
    entered = any(d["entered"] for d in result.get("directed", {}).values())
    missed = any(not found["noticed_by"] for found in result.get("mutation", {}).values())
    stands = "liveness" in result and bool(liveness.missed(result["liveness"]))
    e = result["episodes"]
    harmed = bool(e and (e["violations_with_gate"] or e["too_fast_with_gate"]))
    tame = bool(e and e["violations_without"] < HARMFUL * e["episodes"])
    return unsafe or entered or missed or stands or harmed or tame


def _progress(what: str, done: int, of: int, start: float) -> None:
    left = (time.monotonic() - start) / max(done, 1) * (of - done)
    output.say("safety", f"{what}: {done:,} of {of:,}, {left:.0f} s to go")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    add_arguments(arguments)
    raise SystemExit(main(arguments.parse_args()))
