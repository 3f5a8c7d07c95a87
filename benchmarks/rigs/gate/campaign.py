# SPDX-License-Identifier: Apache-2.0
"""The stages of the safety campaign, in parallel processes; ``benchmarks/safety.py`` runs and tells them."""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rigs import resumable
from benchmarks.rigs.gate.episodes import Episode, drive
from benchmarks.rigs.gate.histories import ROOM, play
from benchmarks.rigs.gate.rig import Rig
from benchmarks.rigs.gate.scenarios import SCENARIOS
from jepa_ros import safety
from jepa_ros.evaluation.statistics import wilson
from jepa_ros.workers import Workers

#: Histories a job, so that progress shows and a failure ends the run soon.
CHUNK = 250
#: Called with what is going on, how much is done, how much there is, and when it began (monotonic).
Progress = Callable[[str, int, int, float], None]


class Log:
    """What was played so far, one line of JSON each, so that a long campaign goes on where it was broken off.

    A line counts only for the code that it was played with: it carries a hash of the gate's and its stage's files. The
    stage is the part of a key before the first slash.

    Args:
        path: the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._codes = {stage: _code(files) for stage, files in STAGES.items()}
        self.done: dict[str, Any] = {}
        for row in [] if path is None else resumable.begin(path):
            if row["code"] == self._codes[_stage(row["key"])]:
                self.done[row["key"]] = row["found"]

    def add(self, key: str, found: Any) -> None:
        """Keep what was found under a key."""
        self.done[key] = found
        if self.path is not None:
            resumable.keep(self.path, {"code": self._codes[_stage(key)], "key": key, "found": found})


#: Stage: the files of the campaign, besides the gate's own, that decide what comes out of it.
STAGES = {
    "histories": ("faults", "histories", "judge", "place_judge", "rig"),
    "episode": ("episodes",),
}


def _stage(key: str) -> str:
    return key.partition("/")[0]


def _code(files: tuple[str, ...]) -> str:
    """A hash of the gate's files and of those of a stage."""
    here = Path(__file__).parent
    paths = [*sorted(Path(safety.__file__).parent.glob("*.py")), *(here / f"{name}.py" for name in files)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


# ---------------------------------------------------------------- histories


def histories(pool: Workers, seed: int, count: int, progress: Progress, log: Log | None = None) -> dict[str, Any]:
    """Play them in parallel; ends soon after the first rules that are broken. What ``log`` holds is not played."""
    log = log or Log(None)
    chunks = [range(s, min(s + CHUNK, seed + count)) for s in range(seed, seed + count, CHUNK)]
    keys = {f"histories/{c.start}-{c.stop}": c for c in chunks}
    start = time.monotonic()
    played, broken, reasons = 0, list[str](), Counter[str]()

    def take(found: tuple[int, list[str], dict[str, int]]) -> None:
        nonlocal played
        played += found[0]
        broken.extend(found[1])
        reasons.update(found[2])

    for key in keys:
        if key in log.done:
            take(log.done[key])
    left = [key for key in keys if key not in log.done]
    for key, found in zip(left, pool.results(play, [keys[key] for key in left]), strict=True):
        log.add(key, found)
        take(found)
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


def mutation(pool: Workers, seed: int, count: int, progress: Progress) -> dict[str, Any]:
    """The gate without each row in turn."""
    found, start = {}, time.monotonic()
    for row, result in pool.results(judge_mutant, [(row, seed, count) for row in SCENARIOS]):
        found[row] = result
        progress("mutants", len(found), len(SCENARIOS), start)
    return found


# ---------------------------------------------------------------- episodes in physics


def both(seed: int) -> tuple[Episode, Episode]:
    """An episode with the gate and the same without it."""
    return drive(seed, True), drive(seed, False)


def episodes(pool: Workers, seed: int, count: int, progress: Progress, log: Log | None = None) -> dict[str, Any] | None:
    """Violations by the simulator's truth, with and without the gate; None where the simulator is not installed."""
    if count <= 0 or importlib.util.find_spec("pybullet") is None:
        return None
    log = log or Log(None)
    start = time.monotonic()
    keys = {f"episode/{k}": k for k in range(seed, seed + count)}
    left = [key for key in keys if key not in log.done]
    for key, pair in zip(left, pool.results(both, [keys[key] for key in left]), strict=True):
        log.add(key, [asdict(episode) for episode in pair])
        progress("episodes", count - len(left) + left.index(key) + 1, count, start)
    pairs = [[Episode(**episode) for episode in log.done[key]] for key in keys]
    gated, free = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    worst = min(gated, key=lambda e: e.room)
    violations, harm = sum(e.violated for e in gated), sum(e.violated for e in free)
    return {
        "episodes": count, "violations_with_gate": violations,
        "violations_without": harm, "without_ci95": list(wilson(harm, count)),
        "upper_bound_95": wilson(violations, count)[1], "broken_seeds": [e.seed for e in gated if e.violated],
        "least_room_m": worst.room, "least_room_seed": worst.seed,
        "median_room_m": float(np.median([e.room for e in gated])),
        "median_driven_m": float(np.median([e.driven for e in gated])),
        "contacts_with_gate": sum(e.contact for e in gated), "contacts_without": sum(e.contact for e in free),
        "fastest_near_person": max(e.fast_near for e in gated), "too_fast_with_gate": sum(e.too_fast for e in gated),
        "too_fast_without": sum(e.too_fast for e in free),
        "fastest_near_person_without": max(e.fast_near for e in free),
        "shoved_by_person": sum(e.shoved for e in gated), "seconds": round(time.monotonic() - start, 1),
    }  # fmt: skip


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
    """How long a step takes [us]: inputs at their usual rates, the robot driving circles in a room.

    Garbage is collected afterwards, as in the node. ``p50``, ``p99``, ``max``: CPU time of the thread. ``wall_p99``: by
    the clock; on a busy machine that is how long others were at work in between. ``again_p99``: the step is pure, so
    that it can be taken again with the same inputs: of three times at once the least, without what others have left
    in the caches.
    """
    rig = SITUATIONS[name]()
    rig.arm([0.1, 1.0])
    cpu, wall, again = list[float](), list[float](), list[float]()
    real = rig.gate.step

    def timed(*args: Any) -> Any:
        begun, start = time.perf_counter(), time.thread_time()
        answer = real(*args)
        cpu.append(time.thread_time() - start)
        wall.append(time.perf_counter() - begun)
        least = math.inf
        for _ in range(3):
            start = time.thread_time()
            real(*args)
            least = min(least, time.thread_time() - start)
        again.append(least)
        return answer

    rig.gate.step = timed  # type: ignore[method-assign, assignment]
    gc.collect()
    gc.disable()
    try:
        for _ in range(count):
            rig.tick()
    finally:
        gc.enable()
    micro = np.array(cpu) * 1e6
    return {
        "p50": float(np.median(micro)), "p99": float(np.percentile(micro, 99)), "max": float(micro.max()),
        "wall_p99": 1e6 * float(np.percentile(wall, 99)), "again_p99": 1e6 * float(np.percentile(again, 99)),
    }  # fmt: skip
