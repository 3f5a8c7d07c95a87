# SPDX-License-Identifier: Apache-2.0
"""What is said of the rows of `jepa-ros bench think`: tables, and success against budget as a picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rigs.search.search_statistics import paired, rank_correlation, rate
from benchmarks.rigs.think.arms import CONDITIONS, USUAL
from jepa_ros_sim.rooms.scene import SPEED

Row = dict[str, Any]


def thirds(rows: Iterable[Row]) -> dict[tuple[str, int], int]:
    """Third (0 easy, 2 hard) of each task (layout, number), by the steps of the shortest way within its layout."""
    tasks = {(r["layout"], r["number"]): r["shortest_steps"] for r in rows}
    found: dict[tuple[str, int], int] = {}
    for layout in {key[0] for key in tasks}:
        ordered = sorted((key for key in tasks if key[0] == layout), key=lambda key: (tasks[key], key[1]))
        found |= {key: min(2, 3 * i // len(ordered)) for i, key in enumerate(ordered)}
    return found


def of_imagined(rows: list[Row], largest: float) -> dict[str, Any]:
    """Solved by budget, calls against difficulty, and what the ways are truly worth, by condition."""
    found: dict[str, Any] = {}
    for condition in _present(rows):
        mine = [r for r in rows if r["condition"] == condition]
        calls = [r["calls"] if r["solved"] else USUAL * largest for r in mine]
        longer = [r["steps"] / r["shortest_steps"] for r in mine if r["solved"]]
        truly = [{**r, "truly": r["solved"] and r["true_least"] <= 2 * SPEED * 0.2} for r in mine]
        found[condition] = {
            "solved": rate(mine, "solved"), "truly": rate(truly, "truly"),
            "calls_median": float(np.median(calls)),
            "calls_a_second": sum(r["calls"] for r in mine) / max(1e-9, sum(r["cpu_seconds"] for r in mine)),
            "by_steps": rank_correlation([r["shortest_steps"] for r in mine], calls),
            "by_ratio": rank_correlation([r["difficulty"] for r in mine], calls),
            "steps_over_shortest": float(np.median(longer)) if longer else np.nan,
        }  # fmt: skip
    return found


def of_driven(rows: list[Row]) -> dict[str, Any]:
    """Success by condition and budget, by thirds; paired differences; the adaptive stop; cells where more is worse."""
    third = thirds(rows)
    cells: dict[str, dict[str, Any]] = {}
    for condition in _present(rows):
        for factor in sorted({r["factor"] for r in rows if r["condition"] == condition}):
            mine = [r for r in rows if r["condition"] == condition and r["factor"] == factor]
            parts = [[r for r in mine if third[r["layout"], r["number"]] == t] for t in range(3)]
            cells.setdefault(condition, {})[f"{factor:g}"] = {
                "all": rate(mine, "success"),
                "thirds": [rate(part, "success") for part in parts],
                "calls": float(np.mean([r["calls"] for r in mine])),
                "deliberated": float(np.mean([r["deliberated"] for r in mine])),
                "plan_ms": float(np.median([r["plan_ms"] for r in mine])),
            }  # fmt: skip
    named = [{**r, "arm": f"{r['condition']} {r['factor']:g}"} for r in rows]
    pairs = {}
    for t, name in ((None, "all"), (0, "easy"), (1, "middle"), (2, "hard")):
        some = [r for r in named if t is None or third[r["layout"], r["number"]] == t]
        pairs[name] = paired(some, "fast 1", "deliberate 1", "success")
    worse = [
        f"{condition}: {a} to {b}"
        for condition, found in cells.items()
        for a, b in zip(list(found), list(found)[1:], strict=False)
        if found[b]["all"]["rate"] < found[a]["all"]["rate"]
    ]
    return {"cells": cells, "deliberate_less_fast": pairs, "adaptive": _adaptive(cells), "more_is_worse": worse}


def _adaptive(cells: dict[str, Any]) -> dict[str, Any] | None:
    """The deliberate search at its largest budget, which it leaves as soon as it is solved, against the best of all."""
    if "deliberate" not in cells:
        return None
    ours = list(cells["deliberate"].values())[-1]
    every = [cell for found in cells.values() for cell in found.values() if found is not cells.get("dynamics")]
    every = [c for name in ("random", "fast", "deliberate") for c in cells.get(name, {}).values()] or every
    best = max(every, key=lambda cell: (cell["all"]["rate"], -cell["calls"]))
    return {
        "share_of_best": ours["all"]["rate"] / max(best["all"]["rate"], 1e-9),
        "share_of_calls": ours["calls"] / max(max(c["calls"] for c in every), 1e-9),
    }  # fmt: skip


def of_coverage(rows: list[Row]) -> dict[str, Any]:
    """Shares of the tasks where a good plan was among the candidates, and where one was picked."""
    keys = ("fast_covered", "fast_picked", "tree_covered", "tree_picked")
    return {
        f"{factor:g}": {key: rate([r for r in rows if r["factor"] == factor], key) for key in keys}
        for factor in sorted({r["factor"] for r in rows})
    }


def _present(rows: list[Row]) -> list[str]:
    return [c for c in CONDITIONS if any(r["condition"] == c for r in rows)]


def _percent(r: dict[str, Any]) -> str:
    return f"{100 * r['rate']:.0f} % ({100 * r['ci95'][0]:.0f} to {100 * r['ci95'][1]:.0f})"


def table(report: dict[str, Any]) -> str:
    """Markdown of all parts that were run."""
    lines: list[str] = []
    if "imagined" in report:
        lines += ["In imagination, from the start of each task:", ""]
        lines += _header(
            "condition", "n", "solved", "of all, truly at the goal", "calls, median",
            "correlation of calls with the shortest way", "with way over straight line", "way over the shortest",
        )  # fmt: skip
        for name, r in report["imagined"].items():
            lines.append(
                f"| {name} | {r['solved']['n']} | {_percent(r['solved'])} | {_percent(r['truly'])} | "
                f"{r['calls_median']:.0f} | {_rho(r['by_steps'])} | {_rho(r['by_ratio'])} | "
                f"{r['steps_over_shortest']:.2f} |"
            )
        lines.append("")
    if "coverage" in report:
        lines += ["Coverage and ranking, from the start of each task, judged in the true world:", ""]
        lines += _header(
            "budget", "fast: one candidate comes nearer", "one that does was picked", "tree: a state is at the goal",
            "the way ends there",
        )  # fmt: skip
        for name, r in report["coverage"].items():
            lines.append(f"| {name} | " + " | ".join(_percent(r[key]) for key in r) + " |")
        lines.append("")
    if "driven" in report:
        lines += _driven_table(report["driven"])
    return "\n".join([*lines, ""])


def _driven_table(d: dict[str, Any]) -> list[str]:
    lines = ["Driven:", "", "| condition | budget | n | success | easy / middle / hard third | calls a task |"]
    lines.append("|---|---|---|---|---|---|")
    for name, found in d["cells"].items():
        for factor, r in found.items():
            parts = " / ".join(f"{100 * t['rate']:.0f} %" for t in r["thirds"])
            lines.append(f"| {name} | {factor} | {r['all']['n']} | {_percent(r['all'])} | {parts} | {r['calls']:.0f} |")
    lines += ["", "Deliberate less fast alone at the usual budget, paired:", ""]
    for name, p in d["deliberate_less_fast"].items():
        if p["n"]:
            lines.append(f"- {name}: {100 * p['difference']:+.0f} points, n {p['n']}, p {p['p']:.2g}")
    if d["adaptive"]:
        share, calls = (100 * d["adaptive"][key] for key in ("share_of_best", "share_of_calls"))
        lines.append(f"- adaptive: {share:.0f} % of the best success at {calls:.0f} % of the largest budget's calls")
    lines.append(f"- more thinking did worse: {'; '.join(d['more_is_worse']) or 'nowhere'}")
    return [*lines, ""]


def _header(*columns: str) -> list[str]:
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def _rho(c: dict[str, Any]) -> str:
    return f"{c['rho']:.2f} ({c['ci95'][0]:.2f} to {c['ci95'][1]:.2f})"


def plot(report: dict[str, Any], rows: dict[str, list[Row]], path: Path) -> None:
    """Success against the calls that were made, by condition; and in imagination, solved against the budget."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for name, found in report.get("driven", {}).get("cells", {}).items():
        cells = list(found.values())
        calls, rates = [max(c["calls"], 1.0) for c in cells], [c["all"]["rate"] for c in cells]
        low = [r - c["all"]["ci95"][0] for r, c in zip(rates, cells, strict=True)]
        high = [c["all"]["ci95"][1] - r for r, c in zip(rates, cells, strict=True)]
        axes[0].errorbar(calls, rates, yerr=[low, high], marker="o", capsize=3, label=name)
    axes[0].set(xscale="log", xlabel="model calls a task", ylabel="success", title="driven", ylim=(-0.02, 1.02))
    imagined = rows.get("imagined", [])
    for name in _present(imagined):
        mine = [r for r in imagined if r["condition"] == name]
        calls_of = sorted(r["calls"] for r in mine if r["solved"])
        axes[1].step(calls_of, (np.arange(len(calls_of)) + 1) / len(mine), where="post", label=name)
    axes[1].set(xscale="log", xlabel="model calls", title="solved in imagination")
    for axis in axes:
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
