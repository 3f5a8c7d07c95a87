# SPDX-License-Identifier: Apache-2.0
"""Guardrails in the search: none, as a weighted sum, lexicographic, and with the gate; violations, success, time.

    jepa-ros bench guardrails [--episodes N] [--out FOLDER]

Every arm runs the same episodes: layouts that were never trained on, look and dynamics drawn anew, slippery patches,
and a forbidden bar across the straight way. In three of four tasks a way round it is free; in the fourth it closes the
way, and the right answer is to stay on this side of it. In the weighted sum a guardrail is a cost and nothing else; a
further arm lets it know the ways round the bar, as the lexicographic search does. The weight is the best of a grid on
tasks of another seed. The true pose judges, at every tick of the gate. What is in the folder is not done again: the
same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rigs import options, output
from benchmarks.rigs.resumable import folder, play
from benchmarks.rigs.search.guardrail_episodes import Arm, start_worker, work
from benchmarks.rigs.search.guardrail_tasks import WIDTHS, is_closed, make_task, narrowest
from benchmarks.rigs.search.search_statistics import paired, rate
from jepa_ros.cluster import add_ray
from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json
from jepa_ros.planning import SearchConfig
from jepa_ros.processor import usable_cores

WEIGHTS = (0.3, 1.0, 3.0, 10.0, 30.0)  # per metre of excess; a metre to go costs about 1
TUNING_SEED, SEED = 8150, 8151  # of the tasks; on the first weights were chosen, here and in TaskWeights
LAYOUT = "random"
SUDDEN = "sudden"
NONE = Arm("no guardrail")
say = partial(output.say, "guardrails")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model(parser)
    parser.add_argument("--episodes", type=int, default=100, help="episodes of each condition (default: %(default)s)")
    parser.add_argument("--tuning", type=int, default=16, help="episodes of each weight (default: %(default)s)")
    parser.add_argument(
        "--margin", type=float, default=0.05,
        help="search.region_margin where there are guardrails, m (default: %(default)s)",
    )  # fmt: skip
    part = parser.add_mutually_exclusive_group()
    part.add_argument(
        "--price", action="store_true",
        help="only what guardrails cost: no guardrail against lexicographic plus gate, tasks with a way round alone",
    )  # fmt: skip
    part.add_argument(
        "--kept", action="store_true",
        help="only how often lexicographic plus gate enters the bar, and its success (--episodes 1000)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs/guardrails"), help="episodes (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="processes (default: %(default)s)")
    add_ray(parser)
    add_json(parser)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")


def main(args: argparse.Namespace) -> int:
    """Run the episodes that are missing and print the tables."""
    from jepa_ros.contract import load_contract
    from jepa_ros.world_model import load_checkpoint, model_id

    if args.episodes < 1 or args.workers < 1 or args.tuning < 1 or not 0.0 <= args.margin < 1.0:
        raise JepaRosError("--episodes, --tuning and --workers must be at least 1, --margin from 0 to 1 m")
    contract = load_contract(args.robot)
    name = args.model or contract.name
    found = model_id(load_checkpoint(name, contract)[1])

    def run(arms: dict[str, Arm], seed: int, episodes: int, what: str, closed: bool = True) -> list[dict[str, Any]]:
        keys = [
            (arm, seed, number, args.margin)
            for number in range(episodes) for arm in arms
            if not (is_closed(number) and (arms[arm].sudden or not closed))
        ]  # fmt: skip
        jobs: dict[Any, Any] = {k: (k[0], arms[k[0]], LAYOUT, seed, k[2], args.margin) for k in keys}
        return play(
            folder(args.out, found, SearchConfig()) / "bars.jsonl", jobs,
            lambda r: (r["arm"], r["seed"], r["number"], r["asked_margin"]),
            work, start_worker, (contract.to_dict(), name), args.workers, lambda told: say(f"{what}, {told}"),
            args.ray,
        )  # fmt: skip

    if args.kept:
        arm = both(args.margin)
        report = {
            "benchmark": "guardrails_kept", "version": 1, "machine": output.machine(), "model": found,
            "robot": contract.name, "layout": LAYOUT, "margin": args.margin, "seed": SEED,
            "arm": summary(run({"both": arm}, SEED, args.episodes, "kept"), "both", arm),
        }  # fmt: skip
        output.deliver(report, kept_text(report["arm"]), args.json, args.markdown)
        return 0
    if args.price:
        price = {"none": NONE, "both": both(args.margin)}
        rows = run(price, SEED, args.episodes, "price", closed=False)
        report = {
            "benchmark": "guardrails_price", "version": 1, "machine": output.machine(), "model": found,
            "robot": contract.name, "layout": LAYOUT, "margin": args.margin, "seed": SEED,
            "arms": {k: summary(rows, k, arm) for k, arm in price.items()},
            "against_none": paired(rows, "none", "both", "success"), "by_width": by_width(rows),
        }  # fmt: skip
        output.deliver(report, price_table(report), args.json, args.markdown)
        return 0
    grid = {f"weight {w:g}": Arm(f"weighted sum, weight {w:g}", "weighted", w, args.margin) for w in WEIGHTS}
    tuning = run(grid, TUNING_SEED, args.tuning, "weights")
    best = best_weight(tuning, grid)
    arms = {
        "none": NONE,
        best: grid[best],
        "routed": Arm(f"{grid[best].title}, ways round known", "routed", grid[best].weight, args.margin),
        "lexicographic": Arm("lexicographic", "lexicographic", 0.0, args.margin),
        "both": both(args.margin),
        SUDDEN: Arm("lexicographic plus gate", "lexicographic", 0.0, args.margin, gate=True, sudden=True),
    }
    rows = run(arms, SEED, args.episodes, "arms")
    report = {
        "benchmark": "guardrails", "version": 2, "machine": output.machine(), "model": found, "robot": contract.name,
        "layout": LAYOUT,
        "margin": args.margin, "weight": grid[best].weight, "seeds": {"tuning": TUNING_SEED, "test": SEED},
        "tuning": {k: summary(tuning, k, arm) for k, arm in grid.items()},
        "arms": {k: summary(rows, k, arm) for k, arm in arms.items() if k != SUDDEN},
        "against_none": {k: paired([r for r in rows if not r["closed"]], "none", k, "success")
                         for k in arms if k not in ("none", SUDDEN)},
        "against_weighted": {k: paired(judged(rows), best, "lexicographic", k) for k in ("right", "violated")},
        "sudden": sudden([r for r in rows if r["arm"] == SUDDEN]),
    }  # fmt: skip
    output.deliver(report, tables(report), args.json, args.markdown)
    return 0


def both(margin: float) -> Arm:
    """The search and the gate, as they ship but for the margin."""
    return Arm("lexicographic plus gate", "lexicographic", 0.0, margin, gate=True)


def judged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With ``violated`` (entered the bar), and ``right``: at the goal without that; where no way leads there, without
    that alone."""
    return [
        {**r, "violated": r["room"] < 0.0, "right": r["room"] >= 0.0 and (r["closed"] or r["success"])} for r in rows
    ]


def best_weight(rows: list[dict[str, Any]], grid: dict[str, Arm]) -> str:
    """The weight with the most episodes that end right; of equals the one with fewer violations, then the quicker."""

    def merit(key: str) -> tuple[float, ...]:
        mine = [r for r in judged(rows) if r["arm"] == key]
        seconds = [r["seconds_to_goal"] for r in mine if r["success"] and not r["violated"]]
        return (
            sum(r["right"] for r in mine), -sum(r["violated"] for r in mine), -float(np.mean(seconds or [math.inf]))
        )  # fmt: skip

    return max(grid, key=merit)


def summary(rows: list[dict[str, Any]], key: str, arm: Arm) -> dict[str, Any]:
    """What an arm's episodes came to: success where there is a way, violations there and where there is none."""
    mine = judged([r for r in rows if r["arm"] == key])
    with_way, closed = [r for r in mine if not r["closed"]], [r for r in mine if r["closed"]]
    seconds = [r["seconds_to_goal"] for r in with_way if r["success"]]
    return {
        "title": arm.title, **{k: rate(with_way, k) for k in ("violated", "success", "contact")},
        "violated_closed": rate(closed, "violated"), "right": rate(mine, "right"),
        "deepest_m": max(0.0, -min(r["room"] for r in mine)),
        "inside_s": float(np.mean([r["inside_s"] for r in mine])),
        "seconds": {"p50": float(np.median(seconds)), "p90": float(np.percentile(seconds, 90))} if seconds else None,
        "predicted": {k: sum(r["predicted"][k] for r in mine) for k in mine[0]["predicted"]},
        "no_plan": sum(r["infeasible"] for r in mine) / max(1, sum(r["infeasible"] + r["plans"] for r in mine)),
        "plan_ms": float(np.mean([r["plan_ms"] for r in mine])),
    }  # fmt: skip


def sudden(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What came of a region that was set down before a robot that drives at it."""
    mine = [r for r in rows if r["set_down"]["set"]]
    periods = [r["set_down"]["periods"] for r in mine if r["set_down"]["periods"] is not None]
    answers = [r["set_down"]["answer"] for r in mine if r["set_down"]["answer"] is not None]

    def spread(values: list[float]) -> dict[str, float] | None:
        return {"p50": float(np.median(values)), "worst": max(values)} if values else None

    return {
        "episodes": len(rows), "set": len(mine), "violated": rate(judged(mine), "violated"),
        "success": rate(mine, "success"), "least_room_m": min((r["room"] for r in mine), default=math.nan),
        "periods": spread(periods), "within_2": rate([{"in": p <= 2.0} for p in periods], "in"),
        "never_replanned": len(mine) - len(periods), "answer_periods": spread(answers),
    }  # fmt: skip


# ---------------------------------------------------------------- tables


def percent(r: dict[str, Any]) -> str:
    """A rate with its interval; nothing where there was no episode."""
    if not r["n"]:
        return "-"
    return f"{100 * r['rate']:.1f} % ({100 * r['ci95'][0]:.1f} to {100 * r['ci95'][1]:.1f}), {r['count']} of {r['n']}"


def kept_text(arm: dict[str, Any]) -> str:
    """What ``--kept`` found."""
    return (
        f"{arm['title']}: entered the bar where a way round was free {percent(arm['violated'])}, where none was "
        f"{percent(arm['violated_closed'])}; at the goal where there was a way {percent(arm['success'])}; right "
        f"{percent(arm['right'])}\n"
    )


def _times(arm: dict[str, Any]) -> str:
    """Seconds to the goal, p50 and p90; nothing where nobody came there."""
    s = arm["seconds"]
    return "-" if s is None else f"{s['p50']:.1f}, {s['p90']:.1f}"


def by_width(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Success by how much room the widest way round has at its narrowest, {width in m: {arm: rate, "against_none"}}."""
    width = {n: narrowest(make_task(n, SEED, LAYOUT)) for n in {r["number"] for r in rows}}
    found: dict[str, Any] = {}
    for w in WIDTHS:
        mine = [r for r in rows if width[r["number"]] == w]
        if mine:
            found[f"{w:g}"] = {
                **{k: rate([r for r in mine if r["arm"] == k], "success") for k in ("none", "both")},
                "against_none": paired(mine, "none", "both", "success"),
            }
    return found


def price_table(r: dict[str, Any]) -> str:
    """Markdown of ``--price``."""
    lines = ["| | entered it | success | s to the goal, p50, p90 |", "|---|---|---|---|"]
    for arm in r["arms"].values():
        lines.append(f"| {arm['title']} | {percent(arm['violated'])} | {percent(arm['success'])} | {_times(arm)} |")
    p = r["against_none"]
    lines += ["", f"Success with guardrails against without, paired: {100 * p['difference']:+.1f} points "
              f"({p['only_first']} only without, {p['only_second']} only with; p {p['p']:.2g})."]  # fmt: skip
    lines += ["", "| room beside the robot where the way round is narrowest | success without | with | points |"]
    lines += ["|---|---|---|---|"]
    for width, part in r["by_width"].items():
        least = f"{100 * float(width):.0f} cm" + (" or more" if float(width) == WIDTHS[-1] else "")
        lines.append(f"| {least} | {percent(part['none'])} | {percent(part['both'])} "
                     f"| {100 * part['against_none']['difference']:+.1f} |")  # fmt: skip
    return "\n".join([*lines, ""])


def tables(r: dict[str, Any]) -> str:
    """Markdown."""
    lines = ["| | entered it, a way round | entered it, no way round | deepest, s inside | success, a way round | right"
             " | s to the goal, p50, p90 |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    for arm in r["arms"].values():
        lines.append(
            f"| {arm['title']} | {percent(arm['violated'])} | {percent(arm['violated_closed'])} "
            f"| {1000 * arm['deepest_m']:.0f} mm, {arm['inside_s']:.2f} | {percent(arm['success'])} "
            f"| {percent(arm['right'])} | {_times(arm)} |"
        )
    lines += ["", "Success against no guardrail where there is a way, paired: " + "; ".join(
        f"{r['arms'][k]['title']} {100 * p['difference']:+.1f} points (p {p['p']:.2g})"
        for k, p in r["against_none"].items()) + ".", ""]  # fmt: skip
    w = r["against_weighted"]
    lines += [f"Lexicographic against the best weighted sum: right {100 * w['right']['difference']:+.1f} points (p "
              f"{w['right']['p']:.2g}), violations {100 * w['violated']['difference']:+.1f} points (p "
              f"{w['violated']['p']:.2g}).", ""]  # fmt: skip
    lines += ["| weight (tuning seed) | entered it, a way round | no way round | success | right |"]
    lines += ["|---|---|---|---|---|"]
    lines += [f"| {arm['title'].split()[-1]} | {percent(arm['violated'])} | {percent(arm['violated_closed'])} | "
              f"{percent(arm['success'])} | {percent(arm['right'])} |" for arm in r["tuning"].values()]  # fmt: skip
    lines += ["", "| plans (their first 0.6 s) | enter and entered | enter, did not | entered unforeseen | neither |"]
    lines += ["|---|---|---|---|---|"]
    for arm in r["arms"].values():
        p = arm["predicted"]
        lines.append(f"| {arm['title']} | {p['both']} | {p['predicted_only']} | {p['came_only']} | {p['neither']} |")
    s = r["sudden"]
    if s["periods"] is not None:
        lines += ["", f"Region set down before a robot that drives at it, {s['set']} of {s['episodes']} episodes "
                  f"(in the others it went another way): entered {percent(s['violated'])}, least room "
                  f"{1000 * s['least_room_m']:.0f} mm, success {percent(s['success'])}; planning periods to the first "
                  f"plan that keeps it p50 {s['periods']['p50']:.1f}, worst {s['periods']['worst']:.1f}, within 2: "
                  f"{percent(s['within_2'])}; never: {s['never_replanned']}."]  # fmt: skip
    return "\n".join([*lines, "", ""])
