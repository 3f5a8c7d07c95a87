# SPDX-License-Identifier: Apache-2.0
"""Surprise and novelty in the gate: how many faults are noticed, how soon, and how often nothing was the matter.

    jepa-ros bench vigilance [--trials N] [--hours H] [--first N] [--log FILE]

Faults: the camera is knocked, its lens covered, the lights go off, its stream freezes, a box is dropped into the arena,
a wheel jams. Noticed means that the gate slows or stops for it within a second. With ``--log`` what was driven is kept
and not driven again: stopped at any moment, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rigs import options, output, resumable
from benchmarks.rigs.search.vigilance_trials import CASES, FEELS, FELT, Drive, read, start_worker, work
from jepa_ros.cluster import add_ray
from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json
from jepa_ros.processor import usable_cores
from jepa_ros.statistics import wilson
from jepa_ros.workers import worker_pool

SECONDS = 120.0  # of a drive in which nothing goes wrong
WITHIN = 1.0  # s
MOST = 4  # times as many wheels may be jammed until enough of them were asked to turn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model(parser)
    parser.add_argument("--cases", default=",".join(CASES), help="comma-separated (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=50, help="trials of each case (default: %(default)s)")
    parser.add_argument("--hours", type=float, default=3.0, help="hours of normal driving (default: %(default)s)")
    parser.add_argument(
        "--first", type=int, default=0, metavar="N",
        help="number of the first drive of each kind; what is tuned is tuned on drives from 1000 on (default: 0)",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=usable_cores(), help="processes (default: %(default)s)")
    add_ray(parser)
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="keep finished drives in this file and do not repeat them"
    )
    add_json(parser)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")


def main(args: argparse.Namespace) -> int:
    """Drive and print the tables; 0 if every case and the false alarms come up to what is asked of them."""
    from jepa_ros.contract import load_contract
    from jepa_ros.world_model import load_checkpoint, model_id

    cases = [c.strip() for c in args.cases.split(",") if c.strip()]
    if (
        set(cases) - set(CASES)
        or args.trials < 0
        or not 0.0 <= args.hours < math.inf
        or args.workers < 1
        or args.first < 0
    ):
        raise JepaRosError(
            f"--cases: some of {', '.join(CASES)}; --trials, --hours, --first at least 0; --workers at least 1"
        )
    contract = load_contract(args.robot)
    model = args.model or contract.name
    card = load_checkpoint(model, contract)[1]
    if not card.get("calibration", {}).get("vigilance"):
        raise JepaRosError(f"{model} cannot tell surprise: jepa-ros train --data DATA --out {model} --only alarms")
    log = Log(args.log, model_id(card), card["calibration"]["vigilance"]["levels"])
    with worker_pool(
        args.workers, "vigilance", start_worker, (contract.to_dict(), str(model)), ray=args.ray
    ) as pool:
        drives = {case: enough(pool, log, case, args.trials, args.first) for case in cases}
        count = math.ceil(args.hours * 3600.0 / SECONDS)
        normal = played(pool, log, [("normal", n, SECONDS) for n in range(args.first, args.first + count)])
    report = {
        "model_id": model_id(card), "levels": card["calibration"]["vigilance"]["levels"],
        "cases": {case: judge(found) for case, found in drives.items() if found}, "normal": judge_normal(normal),
    }  # fmt: skip
    output.deliver(report, table(report), args.json, args.markdown)
    good = all(case["noticed"] >= 0.95 * case["trials"] for case in report["cases"].values())
    return 0 if good and (not normal or report["normal"]["per_hour"] < 1.0) else 1


class Log:
    """Drives by model and levels, case and number, one line of JSON each."""

    def __init__(self, path: Path | None, model: str, levels: Any) -> None:
        self.path, self.prefix = path, f"{model}/{json.dumps(levels, sort_keys=True)}"
        self.done: dict[str, dict[str, Any]] = {}
        for row in [] if path is None else resumable.begin(path):
            if row["of"] == self.prefix:
                self.done[row["key"]] = row["drive"]

    def add(self, key: str, drive: dict[str, Any]) -> None:
        """Keep one."""
        self.done[key] = drive
        if self.path is not None:
            resumable.keep(self.path, {"of": self.prefix, "key": key, "drive": drive})


def played(pool: Any, log: Log, jobs: list[tuple[str, int, float]]) -> list[Drive]:
    """The drives of all jobs, in order."""

    def key(job: tuple[str, int, float]) -> str:
        return f"{job[0]}/{job[1]}/{job[2]:g}"

    left = [job for job in jobs if key(job) not in log.done]
    for job, drive in zip(left, pool.results(work, left), strict=True):
        log.add(key(job), drive)
        output.say("vigilance", f"{job[0]} {job[1] + 1}")
    return [read(log.done[key(job)]) for job in jobs]


def enough(pool: Any, log: Log, case: str, trials: int, first: int = 0) -> list[Drive]:
    """``trials`` drives from number ``first`` on in which the fault could be felt: a jammed wheel has to be asked to
    turn, and a robot whose pictures froze to move."""
    found: list[Drive] = []
    number = first
    while len(found) < trials and number < first + MOST * trials:
        count = trials - len(found)
        new = played(pool, log, [(case, n, 0.0) for n in range(number, number + count)])
        found += [d for d in new if case not in FEELS or d.felt >= FELT]
        number += count
    return found


def judge(drives: list[Drive]) -> dict[str, Any]:
    """What was noticed."""
    slow, stop = ([d.delay(stage) for d in drives] for stage in (1, 2))
    noticed = sum(delay <= WITHIN for delay in slow)
    felt = [delay for delay in slow if delay < math.inf]
    first = Counter(min((a for a in d.alarms if a.time >= d.fault), key=lambda a: a.time).reason
                    for d in drives if d.delay() < math.inf)  # fmt: skip
    return {
        "trials": len(drives), "noticed": noticed, "noticed_ci95": list(wilson(noticed, len(drives))),
        "stopped": sum(delay <= WITHIN for delay in stop),
        "delay_p50": float(np.median(felt)) if felt else None, "delay_max": max(felt) if felt else None,
        "reasons": dict(first.most_common()), "missed": [d.number for d in drives if d.delay() > WITHIN],
    }  # fmt: skip


def judge_normal(drives: list[Drive]) -> dict[str, Any]:
    """False alarms, with the exact 95 % interval of a Poisson rate (Garwood 1936)."""
    from scipy.stats import chi2

    hours = sum(d.seconds for d in drives) / 3600.0
    begun = [a for d in drives for a in d.alarms if a.begins]
    stops, n = sum(a.stage == 2 for d in drives for a in d.alarms), len(begun)
    low = float(chi2.ppf(0.025, 2 * n)) / 2.0 if n else 0.0
    bounds = [v / hours for v in (low, float(chi2.ppf(0.975, 2 * n + 2)) / 2.0)] if hours else [0.0, math.inf]
    return {
        "drives": len(drives), "hours": hours, "alarms": n, "stops": stops, "per_hour": n / hours if hours else None,
        "per_hour_ci95": bounds, "reasons": dict(Counter(a.reason for a in begun)),
        "numbers": [d.number for d in drives if d.alarms], "contacts": sum(d.contacts for d in drives),
    }  # fmt: skip


def table(report: dict[str, Any]) -> str:
    """The tables as markdown."""
    lines = [
        f"| case | trials | noticed within {WITHIN:g} s | 95 % | stopped within {WITHIN:g} s | delay p50 / max [s] "
        "| noticed by |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, c in report["cases"].items():
        low, high = c["noticed_ci95"]
        delay = "-" if c["delay_p50"] is None else f"{c['delay_p50']:.2f} / {c['delay_max']:.2f}"
        why = ", ".join(f"{k} {v}" for k, v in c["reasons"].items())
        lines.append(f"| {name} | {c['trials']} | {c['noticed'] / c['trials']:.0%} | {low:.0%} to {high:.0%} | "
                     f"{c['stopped'] / c['trials']:.0%} | {delay} | {why} |")  # fmt: skip
    n = report["normal"]
    if n["drives"]:
        low, high = n["per_hour_ci95"]
        why = ", ".join(f"{k} {v}" for k, v in n["reasons"].items()) or "none"
        lines += [
            "",
            f"Normal driving: {n['hours']:.2f} h in {n['drives']} drives, {n['alarms']} false alarms "
            f"({n['stops']} stops; {why}): {n['per_hour']:.2f} an hour (95 %: {low:.2f} to {high:.2f})",
        ]
    return "\n".join(lines) + "\n"
