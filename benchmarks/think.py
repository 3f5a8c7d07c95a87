# SPDX-License-Identifier: Apache-2.0
"""Does thinking longer pay: success against model calls by condition, in mazes and dead ends.

    jepa-ros bench think --model FOLDER [--parts imagined,coverage,driven] [--n N] [--conditions ...] [--factors ...]

The design, written before it was run, is docs/think_longer.md. All conditions get the same tasks. What is in the folder
is not done again: the same command goes on where it was stopped, and a larger --n adds to what is there.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.rigs import output
from benchmarks.rigs.resumable import folder, play
from benchmarks.rigs.think import results
from benchmarks.rigs.think.arms import CONDITIONS, FACTORS
from benchmarks.rigs.think.episodes import coverage, driven, imagined, start
from jepa_ros.cluster import add_ray
from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json
from jepa_ros.learning.baselines import HEAD
from jepa_ros.planning.deliberate.settings import DeliberateConfig
from jepa_ros.processor import usable_cores

PARTS = ("imagined", "coverage", "driven")
LAYOUTS = ("maze", "dead_end")
#: Conditions that can be thought through without driving.
IMAGINED = ("deliberate", "dynamics", "cost")
say = partial(output.say, "think")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", required=True, help="checkpoint of the world rooms with a readout 'way'")
    parser.add_argument("--parts", default="imagined", help=f"some of {', '.join(PARTS)} (default: imagined)")
    parser.add_argument("--conditions", default="", help=f"comma-separated, of {', '.join(CONDITIONS)} (default: all)")
    parser.add_argument("--factors", default="1", help="budgets, times the usual; comma-separated (default: 1)")
    parser.add_argument("--largest", type=float, default=max(FACTORS), help="budget of imagination (default: 16)")
    parser.add_argument("--layouts", default=",".join(LAYOUTS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--n", type=int, default=50, help="tasks of each layout (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/think"), help="rows (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="processes (default: %(default)s)")
    add_ray(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw success against budget")
    add_json(parser)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")


def main(args: argparse.Namespace) -> int:
    """Run the parts and print their tables."""
    from jepa_ros.contract import load_contract
    from jepa_ros.world_model import load_checkpoint, model_id, resolve_model

    parts = _some("--parts", args.parts, PARTS)
    layouts = _some("--layouts", args.layouts, LAYOUTS)
    conditions = _some("--conditions", args.conditions or ",".join(CONDITIONS), CONDITIONS)
    try:
        factors = [float(f) for f in args.factors.split(",")]
    except ValueError:
        raise JepaRosError(f"--factors {args.factors}: expected numbers") from None
    if args.n < 1 or args.workers < 1 or min(*factors, args.largest) < min(FACTORS):
        raise JepaRosError(f"--n and --workers must be at least 1, budgets at least {min(FACTORS):g}")
    contract = load_contract("rooms")
    model, card = load_checkpoint(args.model, contract)
    if "way" not in model.readouts:
        raise JepaRosError(f"{args.model} has no readout 'way': nothing can order a tree; train it on rooms")
    if "inverse" in conditions and not (Path(resolve_model(args.model)) / HEAD).exists():
        conditions.remove("inverse")
        say(f"no inverse model in {args.model}: that condition is left out")
    out = folder(args.out, model_id(card), DeliberateConfig())
    report: dict[str, Any] = {"benchmark": "think", "version": 1, "model": model_id(card), "n": args.n}
    rows: dict[str, list[dict[str, Any]]] = {}
    for part in parts:
        jobs = _jobs(part, conditions, factors, layouts, args.n, args.largest)
        if not jobs:
            raise JepaRosError(f"--conditions {args.conditions}: nothing to do for the part {part}")
        rows[part] = play(
            out / f"{part}.jsonl", jobs, KEY[part], WORK[part], start, (contract.to_dict(), args.model),
            args.workers, partial(_tell, part), args.ray,
        )  # fmt: skip
        report[part] = SAID[part](rows[part], args)
    if args.plot is not None:
        results.plot(report, rows, args.plot)
    output.deliver(report, results.table(report), args.json, args.markdown)
    return 0


def _tell(part: str, what: str) -> None:
    say(f"{part}, {what}")


def _some(option: str, given: str, known: tuple[str, ...]) -> list[str]:
    found = [name.strip() for name in given.split(",") if name.strip()]
    if not found or set(found) - set(known):
        raise JepaRosError(f"{option} {given}: expected some of {', '.join(known)}")
    return found


def _jobs(
    part: str, conditions: list[str], factors: list[float], layouts: list[str], n: int, largest: float
) -> dict[Any, Any]:
    """{what a row is known by: what to do}; task by task, so that what is stopped early is still paired."""
    tasks = [(layout, number) for number in range(n) for layout in layouts]
    if part == "imagined":
        keys = [(c, *task, largest) for task in tasks for c in conditions if c in IMAGINED]
        return {key: key for key in keys}
    if part == "coverage":
        return {(*task, f): ("fast", *task, f) for task in tasks for f in factors}
    # An inverse model has no budget.
    cells = [(c, f) for c in conditions for f in (factors if c != "inverse" else [1.0])]
    return {(c, f, *task): (c, f, *task) for task in tasks for c, f in cells}


WORK = {"imagined": imagined, "coverage": coverage, "driven": driven}
KEY = {
    "imagined": lambda r: (r["condition"], r["layout"], r["number"], r["largest"]),
    "coverage": lambda r: (r["layout"], r["number"], r["factor"]),
    "driven": lambda r: (r["condition"], r["factor"], r["layout"], r["number"]),
}
SAID: dict[str, Any] = {
    "imagined": lambda rows, args: results.of_imagined(rows, args.largest),
    "coverage": lambda rows, args: results.of_coverage(rows),
    "driven": lambda rows, args: results.of_driven(rows),
}
