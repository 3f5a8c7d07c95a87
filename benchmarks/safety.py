# SPDX-License-Identifier: Apache-2.0
"""The safety gate under fault: random histories of inputs, one mutant a row, and the time of a step.

``histories``: no history of inputs, however bad, may break a rule of the judge (``jepa_ros/bench/gate_histories.py``).
``mutation``: the gate without one row at a time; each must be noticed, by the row's scenario or by the histories.
``episodes``: in physics, a planner that drives at forbidden regions at full speed, with the gate and without it.
``step``: CPU time of one step, in three situations.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.bench.gate_episodes import Episode, drive
from jepa_ros.bench.gate_histories import ROOM, play
from jepa_ros.bench.gate_rig import Rig
from jepa_ros.bench.gate_scenarios import SCENARIOS
from jepa_ros.safety.rows import ROWS

#: Histories a job, so that progress shows and a failure ends the run soon.
CHUNK = 250


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what this benchmark takes."""
    parser.add_argument("--histories", type=int, default=100_000, help="random histories (default: 100,000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first history; history N has seed + N")
    parser.add_argument("--mutants", type=int, default=1500, help="histories for each mutant at most (default: 1,500)")
    parser.add_argument("--episodes", type=int, default=1000, help="adversarial episodes in physics (default: 1,000)")
    parser.add_argument("--steps", type=int, default=5000, help="steps timed in each situation (default: 5,000)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: all cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")


def main(args: argparse.Namespace) -> int:
    """Run the campaign; 0 if nothing unsafe was seen and every mutant was noticed."""
    with ProcessPoolExecutor(max(1, args.processes)) as pool:
        result: dict[str, Any] = {"step_us": {name: time_steps(name, args.steps) for name in SITUATIONS}}
        result["histories"] = histories(pool, args.seed, args.histories)
        result["mutation"] = mutation(pool, args.seed, args.mutants)
        result["episodes"] = episodes(pool, args.seed, args.episodes)
    print(report(result))
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    unsafe = result["histories"]["broken"]
    missed = [row for row, found in result["mutation"].items() if not found["noticed_by"]]
    violations = (result["episodes"] or {}).get("violations_with_gate", 0)
    return 0 if not unsafe and not missed and not violations else 1


# ---------------------------------------------------------------- histories


def histories(pool: ProcessPoolExecutor, seed: int, count: int) -> dict[str, Any]:
    """Play them in parallel; stops at the first rule that is broken."""
    chunks = [range(s, min(s + CHUNK, seed + count)) for s in range(seed, seed + count, CHUNK)]
    played, broken, reasons, start = 0, [], Counter(), time.monotonic()
    for done, failures, found in pool.map(play, chunks):
        played += done
        broken += failures
        reasons.update(found)
        _progress("histories", played, count, start)
        if len(broken) >= 20:
            break
    ticks = sum(reasons.values())
    return {
        "histories": played, "ticks": ticks, "broken": broken[:20], "seconds": round(time.monotonic() - start, 1),
        "rate_upper_bound_95": 3.0 / played if played and not broken else None, "reasons": dict(reasons.most_common()),
    }  # fmt: skip


# ---------------------------------------------------------------- mutation


def judge_mutant(job: tuple[str, int, int]) -> tuple[str, dict[str, Any]]:
    """Whether the row's scenario, and whether the histories, notice that the row is gone."""
    row, seed, count = job
    noticed = []
    try:
        SCENARIOS[row](lambda *args, **settings: Rig(*args, without=frozenset({row}), **settings))
        why = "its scenario passes all the same"
    except Exception as error:
        noticed.append("scenario")
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
    played, broken, _ = play(range(seed, seed + count), frozenset({row}), 1)
    if broken:
        noticed.append("histories")
    return row, {"noticed_by": noticed, "scenario": why, "histories_until_noticed": played if broken else None}


def mutation(pool: ProcessPoolExecutor, seed: int, count: int) -> dict[str, Any]:
    """The gate without each row in turn."""
    found, start = {}, time.monotonic()
    for row, result in pool.map(judge_mutant, [(row, seed, count) for row in ROWS]):
        found[row] = result
        _progress("mutants", len(found), len(ROWS), start)
    return found


# ---------------------------------------------------------------- episodes in physics


def both(seed: int) -> tuple[Episode, Episode]:
    """An episode with the gate and the same without it."""
    return drive(seed, True), drive(seed, False)


def episodes(pool: ProcessPoolExecutor, seed: int, count: int) -> dict[str, Any] | None:
    """Violations by the simulator's truth, with and without the gate; None where the simulator is not installed."""
    if count <= 0 or importlib.util.find_spec("pybullet") is None:
        return None
    start, gated, free = time.monotonic(), [], []
    for with_gate, without in pool.map(both, range(seed, seed + count)):
        gated.append(with_gate)
        free.append(without)
        _progress("episodes", len(gated), count, start)
    worst = min(gated, key=lambda e: e.room)
    violations = sum(e.room < 0.0 for e in gated)
    return {
        "episodes": count, "violations_with_gate": violations,
        "violations_without": sum(e.room < 0.0 for e in free), "upper_bound_95": wilson(violations, count)[1],
        "least_room_m": worst.room, "least_room_seed": worst.seed,
        "median_room_m": float(np.median([e.room for e in gated])),
        "median_driven_m": float(np.median([e.driven for e in gated])),
        "contacts_with_gate": sum(e.contact for e in gated), "contacts_without": sum(e.contact for e in free),
        "seconds": round(time.monotonic() - start, 1),
    }  # fmt: skip


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    z, share = 1.959964, hits / count
    middle, spread = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    scale = 1.0 + z * z / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


# ---------------------------------------------------------------- the time of a step


def _plain() -> Rig:
    return Rig()


def _regions() -> Rig:
    return Rig(guardrails=ROOM, pose_noise=0.005)


def _near() -> Rig:
    rig = Rig(guardrails=ROOM, pose_noise=0.005)
    rig.obstacles = [(0.4, 0.1), (0.5, -0.2), (-0.3, 0.4)]
    return rig


SITUATIONS = {"no regions": _plain, "three regions, far": _regions, "three regions and obstacles, near": _near}


def time_steps(name: str, count: int) -> dict[str, float]:
    """CPU time of a step [us]: inputs at their usual rates, the robot driving circles in a room."""
    rig = SITUATIONS[name]()
    rig.arm([0.1, 1.0])
    times = []
    real = rig.gate.step

    def timed(*args: Any) -> Any:
        start = time.thread_time()
        answer = real(*args)
        times.append(time.thread_time() - start)
        return answer

    rig.gate.step = timed  # type: ignore[method-assign]
    for _ in range(count):
        rig.tick()
    micro = np.array(times) * 1e6
    return {"p50": float(np.median(micro)), "p99": float(np.percentile(micro, 99)), "max": float(micro.max())}


# ---------------------------------------------------------------- telling


def _progress(what: str, done: int, of: int, start: float) -> None:
    if not sys.stderr.isatty():
        return
    passed = time.monotonic() - start
    left = passed / max(done, 1) * (of - done)
    print(f"\r\033[K{what}: {done:,} of {of:,}, {left:.0f} s to go", end="", file=sys.stderr, flush=True)
    if done >= of:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def report(result: dict[str, Any]) -> str:
    """The results as text."""
    h = result["histories"]
    played = f"{h['histories']:,} ({h['ticks']:,} ticks, {h['seconds']:.0f} s)"
    lines = [f"histories: {played}, rules broken: {len(h['broken'])}"]
    lines += [f"  {text}" for text in h["broken"]]
    if h["rate_upper_bound_95"]:
        lines.append(f"  so fewer than {h['rate_upper_bound_95']:.1e} of such histories break one (95 %)")
    lines.append(f"  reasons met: {len(h['reasons'])} of {len(ROWS)} rows and states")
    mutants = result["mutation"]
    missed = [row for row, found in mutants.items() if not found["noticed_by"]]
    by_histories = sum("histories" in found["noticed_by"] for found in mutants.values())
    noticed = len(mutants) - len(missed)
    lines.append(f"mutants: {noticed} of {len(mutants)} noticed ({by_histories} by the histories too)")
    lines += [f"  NOT noticed: {row}" for row in missed]
    e = result["episodes"]
    if e:
        lines.append(f"adversarial episodes: {e['episodes']:,}; footprint in a forbidden region:")
        lines.append(f"  with the gate {e['violations_with_gate']} (95 %: under {100 * e['upper_bound_95']:.2f} %), "
                     f"without it {e['violations_without']}")  # fmt: skip
        lines.append(f"  least room {1000 * e['least_room_m']:.0f} mm (seed {e['least_room_seed']}), median "
                     f"{1000 * e['median_room_m']:.0f} mm; median way driven {e['median_driven_m']:.2f} m")  # fmt: skip
    lines.append("one step, CPU time [us]")
    for name, t in result["step_us"].items():
        lines.append(f"  {name:36} p50 {t['p50']:6.0f}   p99 {t['p99']:6.0f}   max {math.ceil(t['max']):6d}")
    return "\n".join(lines)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    add_arguments(arguments)
    raise SystemExit(main(arguments.parse_args()))
