# SPDX-License-Identifier: Apache-2.0
"""The stages of the safety campaign, in parallel processes; ``benchmarks/safety.py`` runs and tells them."""

from __future__ import annotations

import hashlib
import importlib.util
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rigs import resumable
from benchmarks.rigs.gate import fingerprint
from benchmarks.rigs.gate.bodies import KINDS
from benchmarks.rigs.gate.directed import as_dict, search, together
from benchmarks.rigs.gate.episodes import Episode, drive
from benchmarks.rigs.gate.histories import play
from benchmarks.rigs.gate.mutants import GUARANTEES, without
from benchmarks.rigs.gate.rig import Rig
from benchmarks.rigs.gate.scenarios import SCENARIOS
from jepa_ros import safety
from jepa_ros.statistics import wilson
from jepa_ros.workers import Workers

#: Histories a job, so that progress shows and a failure ends the run soon.
CHUNK = 100
#: Minutes of a directed search that are kept in the log together, and starts that they have at most.
PART, STARTS = 5.0, 1000
#: A campaign ends after so many rules that were broken.
MOST = 20
#: Called with what is going on, how much is done, how much there is, and when it began (monotonic).
Progress = Callable[[str, int, int, float], None]


class Log:
    """What was played so far, one line of JSON each, so that a long campaign goes on where it was broken off.

    A line counts only for the code that it was played with (:mod:`~benchmarks.rigs.gate.fingerprint`). The stage, which
    says what code that is, is the part of a key before the second slash, of an episode before the first.

    Args:
        path: the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._codes: dict[str, str] = {}
        self._rows = [] if path is None else resumable.begin(path)

    def done(self, stage: str) -> dict[str, Any]:
        """What was found in a stage with the code as it is, by key."""
        if not self._rows:
            return {}
        return {row["key"]: row["found"] for row in self._rows
                if _stage(row["key"]) == stage and row["code"] == self._code(stage)}  # fmt: skip

    def add(self, key: str, found: Any) -> None:
        """Keep what was found under a key."""
        if self.path is not None:
            row = {"code": self._code(_stage(key)), "key": key, "found": found}
            self._rows.append(row)
            resumable.keep(self.path, row)

    def _code(self, stage: str) -> str:
        if stage not in self._codes:
            self._codes[stage] = _code(stage)
        return self._codes[stage]


def _code(stage: str) -> str:
    """What stands for the code of a stage: what a kind of body, or a named one, runs; else the files."""
    kind, _, body = stage.partition("/")
    if kind != "episode":
        return fingerprint.of(body)
    paths = [*sorted(Path(safety.__file__).parent.glob("*.py")), Path(__file__).with_name("episodes.py")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def _stage(key: str) -> str:
    parts = key.split("/")
    return parts[0] if parts[0] == "episode" else "/".join(parts[:2])


# ---------------------------------------------------------------- histories


def histories(
    pool: Workers, kind: str, seed: int, count: int, progress: Progress, log: Log | None = None
) -> dict[str, Any]:
    """Play those of a kind of body in parallel; ends soon after the first rules that are broken. What ``log`` holds is
    not played again."""
    log = log or Log(None)
    chunks = [range(s, min(s + CHUNK, seed + count)) for s in range(seed, seed + count, CHUNK)]
    keys = {f"histories/{kind}/{c.start}-{c.stop}": c for c in chunks}
    start = time.monotonic()
    played, ticks, broken = 0, 0, list[str]()
    reasons, refused = Counter[str](), Counter[str]()

    def take(found: tuple[int, int, list[str], dict[str, int], dict[str, int]]) -> None:
        nonlocal played, ticks
        played += found[0]
        ticks += found[1]
        broken.extend(found[2])
        reasons.update(found[3])
        refused.update(found[4])

    done = log.done(f"histories/{kind}")
    for key in keys:
        if key in done:
            take(done[key])
    left = [key for key in keys if key not in done]
    jobs = ((kind, keys[key], frozenset[str](), MOST) for key in left)
    for key, found in zip(left, pool.results(play, jobs), strict=True):
        log.add(key, found)
        take(found)
        progress(f"histories of {kind}", played, count, start)
        if len(broken) >= MOST:
            break
    return {
        "histories": played, "ticks": ticks, "broken": broken[:MOST], "seconds": round(time.monotonic() - start, 1),
        "rate_upper_bound_95": wilson(0, played)[1] if played and not broken else None,
        "reasons": dict(reasons.most_common()), "bodies_refused": dict(refused.most_common(20)),
    }  # fmt: skip


# ---------------------------------------------------------------- mutation


def judge_mutant(job: tuple[str, int, int]) -> tuple[str, dict[str, Any]]:
    """Whether the row's scenario, and whether the histories, notice that a row or a guarantee is gone."""
    name, seed, count = job
    seeds = range(seed, seed + count)
    if name in GUARANTEES:
        kind = GUARANTEES[name][0]
        with without(name):
            played, _, broken, _, _ = play((kind, seeds, frozenset(), 1))
        found = {kind: played} if broken else {}
        said = broken[0] if broken else "no history is broken"
        return name, {
            "noticed_by": [f"histories of {k}" for k in found],
            "said": said,
            "histories_until_noticed": found,
        }
    noticed, until = [], {}
    try:
        SCENARIOS[name](lambda *args, **settings: Rig(*args, without=frozenset({name}), **settings))
        said = "its scenario passes all the same"
    except Exception as error:
        noticed.append("scenario")
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
    for kind in KINDS:
        played, _, broken, _, _ = play((kind, seeds, frozenset({name}), 1))
        if broken:
            until[kind] = played
    noticed += [f"histories of {kind}" for kind in until]
    return name, {"noticed_by": noticed, "said": said, "histories_until_noticed": until}


def mutation(pool: Workers, seed: int, count: int, progress: Progress) -> dict[str, Any]:
    """The gate without each row, and without each guarantee, in turn."""
    found, start = {}, time.monotonic()
    names = [*SCENARIOS, *GUARANTEES]
    for name, result in pool.results(judge_mutant, [(name, seed, count) for name in names]):
        found[name] = result
        progress("mutants", len(found), len(names), start)
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
    done = log.done("episode")
    left = [key for key in keys if key not in done]
    for key, pair in zip(left, pool.results(both, [keys[key] for key in left]), strict=True):
        done[key] = [asdict(episode) for episode in pair]
        log.add(key, done[key])
        progress("episodes", count - len(left) + left.index(key) + 1, count, start)
    pairs = [[Episode(**episode) for episode in done[key]] for key in keys]
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


# ---------------------------------------------------------------- directed search


def directed(
    pool: Workers, names: tuple[str, ...], minutes: float, seed: int, progress: Progress, log: Log | None = None
) -> dict[str, Any]:
    """The least room to a region that a search of so many minutes finds, by body; what ``log`` holds is added to it."""
    log, start = log or Log(None), time.monotonic()
    found = {name: list(log.done(f"directed/{name}").values()) for name in names}
    parts = max(1, round(minutes / PART))
    jobs = []
    for k in range(parts):
        for name in names:
            first = STARTS * (len(found[name]) + k)
            jobs.append((f"directed/{name}/{seed}-{first}", (name, minutes / parts, seed, first)))
    for n, ((key, job), one) in enumerate(zip(jobs, pool.results(search, [job for _, job in jobs]), strict=True)):
        log.add(key, as_dict(one))
        found[job[0]].append(as_dict(one))
        progress(f"directed search, {job[0]}", n + 1, len(jobs), start)
    return {name: together(all_of_it) for name, all_of_it in found.items()}
