# SPDX-License-Identifier: Apache-2.0
"""Worth of thinking: uncertain scenes by risk measure, iterations by difficulty, anytime against a fixed budget.

    jepa-ros bench search [--parts uncertain,difficulty,stopping,noise] [--episodes N] [--out FOLDER]

All arms of a part run the same episodes (scenes drawn from layouts that were never trained on, look and dynamics drawn
anew), so that differences are paired. What is in the folder is not done again: the same command goes on where it was
stopped. Ground truth (the shortest way round the obstacles) is used for scoring alone.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.rigs import options, output
from benchmarks.rigs.resumable import folder
from benchmarks.rigs.search.search_episodes import ANYTIME, LEVEL, SAMPLES, SETTLE, UNCERTAIN, fixed, run
from benchmarks.rigs.search.search_statistics import hard_half, paired, rank_correlation, rate
from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json
from jepa_ros.planning import SearchConfig
from jepa_ros.processor import usable_cores

PARTS = ("stopping", "noise", "difficulty", "uncertain")
HARD_LAYOUTS = ("blocked", "dead_end", "maze")
UNCERTAIN_LAYOUTS = ("slippery", "moving")
HARD_SEED, UNCERTAIN_SEED = 7041, 7042  # of the tasks; nothing was chosen on them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model(parser)
    parser.add_argument("--parts", default=None, help=f"comma-separated, of {', '.join(PARTS)} (default: stopping)")
    parser.add_argument(
        "--episodes", type=int, default=100, help="episodes of each layout and setting (default: %(default)s; hours)"
    )
    parser.add_argument("--problems", type=int, default=12, help="problems of the part stopping (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/search"), help="episodes (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="processes (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="dataset whose held-out episodes the part noise is measured on")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="part stopping: draw cost against time of a plan")
    add_json(parser)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")


def main(args: argparse.Namespace) -> int:
    """Run the parts and print their tables."""
    from jepa_ros.contract import load_contract
    from jepa_ros.world_model import load_checkpoint, model_id

    parts = [p.strip() for p in (args.parts or "stopping").split(",") if p.strip()]
    if set(parts) - set(PARTS) or not parts:
        raise JepaRosError(f"--parts {args.parts}: expected some of {', '.join(PARTS)}")
    if args.episodes < 1 or args.workers < 1 or args.problems < 1:
        raise JepaRosError("--episodes, --problems and --workers must be at least 1")
    contract = load_contract(args.robot)
    name = args.model or contract.name
    model, card = load_checkpoint(name, contract)
    args.out = folder(args.out, model_id(card), SearchConfig())  # episodes of another model are others
    report: dict[str, Any] = {"benchmark": "search", "version": 1, "model": model_id(card)}
    text = ""
    for part in parts:
        report[part] = PART[part](model, contract, name, args)
        text += TABLE[part](report[part])
    output.deliver(report, text, args.json, args.markdown)
    return 0


say = partial(output.say, "search")


# ---------------------------------------------------------------- parts


def uncertain(model: Any, contract: Any, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Success and contacts under one sample, the mean and CVaR. The gate's lidar is off: it would prevent contacts."""
    rows = run(
        args.out / "uncertain.jsonl", contract, name, UNCERTAIN, UNCERTAIN_LAYOUTS, args.episodes, UNCERTAIN_SEED,
        args.workers, False, SETTLE, lambda what: say(f"uncertain scenes, {what}"),
    )  # fmt: skip
    arms = {
        key: {"title": arm.title, **{k: rate([r for r in rows if r["arm"] == key], k) for k in ("success", "contact")}}
        for key, arm in UNCERTAIN.items()
    }
    return {
        "samples": SAMPLES, "level": LEVEL, "layouts": UNCERTAIN_LAYOUTS, "arms": arms,
        "against_mean": {k: {key: paired(rows, "mean", k, key) for key in ("success", "contact")}
                         for k in ("one", "cvar")},
    }  # fmt: skip


def difficulty(model: Any, contract: Any, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Iterations by difficulty under the stopping rule, and success against a fixed budget of the same average."""

    def arm(key: str, what: Any) -> list[dict[str, Any]]:
        return run(
            args.out / "difficulty.jsonl", contract, name, {key: what}, HARD_LAYOUTS, args.episodes, HARD_SEED,
            args.workers, True, SETTLE, lambda told: say(f"{what.title}, {told}"),
        )  # fmt: skip

    anytime = arm("anytime", ANYTIME)
    plans = sum(r["plans"] for r in anytime)
    average = sum(r["plans"] * r["iterations"] for r in anytime) / max(plans, 1)
    budget = max(1, round(average))
    key = f"fixed_{budget}"
    rows = anytime + arm(key, fixed(budget))
    hard = hard_half(anytime)
    part = [r for r in rows if (r["layout"], r["number"]) in hard]
    return {
        "layouts": HARD_LAYOUTS, "average_iterations": average, "budget": budget,
        "correlation": rank_correlation([r["difficulty"] for r in anytime], [r["iterations"] for r in anytime]),
        "by_layout": {
            layout: rank_correlation(*zip(*[(r["difficulty"], r["iterations"]) for r in anytime
                                            if r["layout"] == layout], strict=True)) for layout in HARD_LAYOUTS
        },
        "arms": {k: {"all": rate([r for r in rows if r["arm"] == k], "success"),
                     "hard": rate([r for r in part if r["arm"] == k], "success")} for k in ("anytime", key)},
        "paired_hard": paired(part, key, "anytime", "success"),
    }  # fmt: skip


def stopping(model: Any, contract: Any, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """What the convergence test costs and saves, by tolerance."""
    from benchmarks.rigs.search.plan_peers import pictured
    from benchmarks.rigs.search.search_stopping import plot
    from benchmarks.rigs.search.search_stopping import stopping as measure

    found = measure(model, contract, pictured(model, contract, args.problems), 16)
    if args.plot is not None:
        plot(found, args.plot)
    return found


def noise(model: Any, contract: Any, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Calibration of the noise samples on held-out episodes of a dataset."""
    from jepa_ros.learning.data.dataset import Dataset
    from jepa_ros.learning.representation.diagnostics import encode_episodes
    from jepa_ros.learning.settings import TrainSettings
    from jepa_ros.learning.stages.noise import judge_noise

    if args.data is None:
        raise JepaRosError("the part noise needs --data DATASET (made by 'jepa-ros collect')")
    settings = TrainSettings()
    data = Dataset(args.data, min_length=settings.horizon + 2)
    held_out = data.split(settings.held_out, settings.seed)[1]
    episodes = encode_episodes(model, data, held_out, min(40, int(data.index[held_out, 2].min())))
    return judge_noise(model, episodes.halves()[1])  # training tunes the width of the noise on the first half


# ---------------------------------------------------------------- tables


def _percent(r: dict[str, Any]) -> str:
    return f"{100 * r['rate']:.1f} % ({100 * r['ci95'][0]:.1f} to {100 * r['ci95'][1]:.1f}), {r['count']} of {r['n']}"


def _difference(p: dict[str, Any]) -> str:
    return f"{100 * p['difference']:+.1f} points, n {p['n']}, p {p['p']:.2g}"


def uncertain_table(u: dict[str, Any]) -> str:
    """Markdown."""
    lines = [f"Uncertain scenes ({', '.join(u['layouts'])}), same episodes, the gate without lidar:", ""]
    lines += ["| search | success | against the mean | contact | against the mean |", "|---|---|---|---|---|"]
    for key, arm in u["arms"].items():
        against = u["against_mean"].get(key)
        cells = [_difference(against[k]) if against else "-" for k in ("success", "contact")]
        lines.append(
            f"| {arm['title']} | {_percent(arm['success'])} | {cells[0]} | {_percent(arm['contact'])} | {cells[1]} |"
        )
    return "\n".join([*lines, "", ""])


def difficulty_table(d: dict[str, Any]) -> str:
    """Markdown."""
    c = d["correlation"]
    lines = [
        f"Blocked ways ({', '.join(d['layouts'])}): rank correlation of iterations a plan with difficulty (shortest "
        f"way over straight line) {c['rho']:.2f} ({c['ci95'][0]:.2f} to {c['ci95'][1]:.2f}), n {c['n']}; by layout "
        + ", ".join(f"{k} {v['rho']:.2f}" for k, v in d["by_layout"].items())
        + f". {d['average_iterations']:.2f} iterations a plan on average.",
        "", "| search | success | on the harder half |", "|---|---|---|",
    ]  # fmt: skip
    lines += [f"| {key} | {_percent(arm['all'])} | {_percent(arm['hard'])} |" for key, arm in d["arms"].items()]
    return "\n".join(
        [*lines, "", f"Anytime against fixed, harder half, paired: {_difference(d['paired_hard'])}.", "", ""]
    )


def stopping_table(s: dict[str, Any]) -> str:
    """Markdown."""
    lines = [f"Stopping rule, {s['problems']} problems, cost against that after {s['iterations']} iterations:", ""]
    lines += ["| start | rule | iterations | more cost | p95 |", "|---|---|---|---|---|"]
    for r in [*s["fixed"], *s["rows"]]:
        rule = f"tolerance {r['tol']:g}, patience {r['patience']}" if "tol" in r else f"always {r['iterations']:.0f}"
        lines.append(
            f"| {r['start']} | {rule} | {r['iterations']:.1f} | {100 * r['more_cost']:.1f} % | "
            f"{100 * r['more_cost_p95']:.1f} % |"
        )
    return "\n".join([*lines, "", ""])


def noise_table(n: dict[str, Any]) -> str:
    """Markdown."""
    lines = [f"Noise samples ({n['samples']} futures) against what came, held-out episodes:", ""]
    lines += ["| steps | correlation of spread and error | coverage of the 50 % interval | of the 90 % interval |"]
    lines += ["|---|---|---|---|"]
    for steps, r in n["steps"].items():
        lines.append(
            f"| {steps} | {r['correlation']:.2f} | {100 * r['coverage_50']:.0f} % | {100 * r['coverage_90']:.0f} % |"
        )
    return "\n".join([*lines, "", ""])


PART = {"uncertain": uncertain, "difficulty": difficulty, "stopping": stopping, "noise": noise}
TABLE = {
    "uncertain": uncertain_table, "difficulty": difficulty_table, "stopping": stopping_table, "noise": noise_table,
}  # fmt: skip
