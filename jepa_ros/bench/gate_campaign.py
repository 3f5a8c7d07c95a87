# SPDX-License-Identifier: Apache-2.0
"""The stages of the safety campaign, in parallel processes; ``benchmarks/safety.py`` runs and tells them."""

from __future__ import annotations

import importlib.util
import math
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import numpy as np

from jepa_ros.bench.gate_episodes import Episode, drive
from jepa_ros.bench.gate_histories import ROOM, play
from jepa_ros.bench.gate_rig import Rig
from jepa_ros.bench.gate_scenarios import SCENARIOS
from jepa_ros.safety.rows import ROWS

#: Histories a job, so that progress shows and a failure ends the run soon.
CHUNK = 250
#: Called with what is going on, how much is done, how much there is, and when it began (monotonic).
Progress = Callable[[str, int, int, float], None]


# ---------------------------------------------------------------- histories


def histories(pool: Executor, seed: int, count: int, progress: Progress) -> dict[str, Any]:
    """Play them in parallel; stops at the first rule that is broken."""
    chunks = [range(s, min(s + CHUNK, seed + count)) for s in range(seed, seed + count, CHUNK)]
    played, start = 0, time.monotonic()
    broken: list[str] = []
    reasons: Counter[str] = Counter()
    for done, failures, found in pool.map(play, chunks):
        played += done
        broken += failures
        reasons.update(found)
        progress("histories", played, count, start)
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


def mutation(pool: Executor, seed: int, count: int, progress: Progress) -> dict[str, Any]:
    """The gate without each row in turn."""
    found, start = {}, time.monotonic()
    for row, result in pool.map(judge_mutant, [(row, seed, count) for row in ROWS]):
        found[row] = result
        progress("mutants", len(found), len(ROWS), start)
    return found


# ---------------------------------------------------------------- episodes in physics


def both(seed: int) -> tuple[Episode, Episode]:
    """An episode with the gate and the same without it."""
    return drive(seed, True), drive(seed, False)


def episodes(pool: Executor, seed: int, count: int, progress: Progress) -> dict[str, Any] | None:
    """Violations by the simulator's truth, with and without the gate; None where the simulator is not installed."""
    if count <= 0 or importlib.util.find_spec("pybullet") is None:
        return None
    start, gated, free = time.monotonic(), [], []
    for with_gate, without in pool.map(both, range(seed, seed + count)):
        gated.append(with_gate)
        free.append(without)
        progress("episodes", len(gated), count, start)
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

    rig.gate.step = timed  # type: ignore[method-assign, assignment]
    for _ in range(count):
        rig.tick()
    micro = np.array(times) * 1e6
    return {"p50": float(np.median(micro)), "p99": float(np.percentile(micro, 99)), "max": float(micro.max())}
