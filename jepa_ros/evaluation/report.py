# SPDX-License-Identifier: Apache-2.0
"""What comes of an evaluation: shares over episodes, the report for machines, and the table for people."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from jepa_ros.evaluation.episode import EvalSettings
from jepa_ros.planning.bodies import settings_for
from jepa_ros.statistics import percentiles_ms, wilson
from jepa_ros.worlds.assignment import Assignment

Scores = list[dict[str, Any]]


def rates(scores: Scores) -> dict[str, Any]:
    """Shares over episodes, with Wilson intervals where a target stands on them; None where nothing was judged."""
    n = len(scores)

    def count(*keys: str) -> int | None:
        if n and any(k.removeprefix("no_") not in scores[0] for k in keys):
            return None
        return sum(all(not s[k[3:]] if k.startswith("no_") else bool(s[k]) for k in keys) for s in scores)

    def share(*keys: str) -> float | None:
        k = count(*keys)
        return None if k is None else k / n if n else math.nan

    def numbers(key: str) -> list[float]:
        return [s[key] for s in scores if s.get(key) is not None]

    success, clean = count("success"), count("success", "no_contact")
    judged, own, stopped = (numbers(key) for key in ("guardrail_violations", "own_success", "stopped_share"))
    final, held, reward = (numbers(key) for key in ("final_distance", "held_distance", "total_reward"))
    return {
        "episodes": n,
        "success_rate": share("success"),
        "success_rate_ci95": list(wilson(success or 0, n)),
        "success_no_contact_rate": share("success", "no_contact"),
        "success_no_contact_rate_ci95": None if clean is None else list(wilson(clean, n)),
        "close_rate": share("close"),
        "ever_rate": share("ever"),
        "heading_rate": share("heading"),
        "false_arrival_rate": share("false_arrival"),
        "collision_rate": share("contact"),
        "own_success_rate": float(np.mean(own)) if own else None,
        "guardrail_violations": sum(judged) if judged else None,
        "stopped_share": (float(np.mean(stopped)) if stopped else None) if n else math.nan,
        "final_distance": float(np.median(final)) if final else None,
        "held_distance": float(np.median(held)) if held else None,
        "total_reward": float(np.mean(reward)) if reward else None,
    }


def summarise(
    assignment: Assignment,
    described: dict[str, Any],
    model: str,
    card_id: str,
    settings: EvalSettings,
    results: dict[str, list[dict[str, Any]]],
    workers: int,
    threads: int,
) -> dict[str, Any]:
    """The report that ``--json`` writes.

    Args:
        described: what the task says of itself. model, card_id: "" without a model.
        results: {policy: [one result of :func:`~jepa_ros.evaluation.episode.run_episode` an episode, in order]}.
    """
    scores = {kind: [r["score"] for r in rows] for kind, rows in results.items()}
    main = results.get("planner", [])
    # What stands beside "model" is the model's; without it these are empty, whatever another policy did.
    own = rates([r["score"] for r in main]) if main else dict.fromkeys(rates([])) | {"episodes": settings.episodes}
    iterations = [v for r in main for v in r["iterations"]]
    report: dict[str, Any] = {
        "robot": assignment.robot["name"],
        "world": assignment.world.name,
        "task": assignment.task,
        "model": model,
        "model_id": card_id,
        "seed": settings.seed,
        **described,
        "gate": assignment.world.gated,
        "goal": settings.goal,
        "scan": settings.scan,
        "watch": settings.watch,
        "contact_limit": getattr(settings_for(assignment.contract, settings.body), "contact_limit", None),
        "noise_samples": settings.search.noise_samples,
        "risk": asdict(settings.search.risk),
        "stop": settings.search.stop,
        "deliberate": settings.deliberate.when,
        "weights": asdict(settings.search.weights),
        **own,
        **{f"{kind}_success_rate": None for kind in ("random", "oracle")},
        "plan_ms": percentiles_ms([v for r in main for v in r["plan"]]),
        "encode_ms": percentiles_ms([v for r in main for v in r["encode"]]),
        "iterations": float(np.mean(iterations)) if iterations else None,
        "calls": float(np.mean([sum(r["calls"]) + _deliberated(r) for r in main])) if main else None,
        "deliberations": float(np.mean([r["deliberation"].get("number", 0) for r in main])) if main else None,
        "workers": workers,
        "threads": threads,
        "policies": {kind: rates(rows) for kind, rows in scores.items()},
        "scores": scores,
    }
    if settings.tour:
        driven = [r["tour"] for r in main]
        report["tour"] = {"limit": settings.tour, "episodes": driven, "mean": _means(driven)}
    if "success_means" in described:
        first = next(iter(scores.values()), [])
        report["success_means"] = {
            kind: {"pairs": sum(s["part"] == kind for s in first), "means": text}
            for kind, text in described["success_means"].items()
        }
    for kind, rows in scores.items():
        if kind != "planner":
            report[f"{kind}_success_rate"] = report["policies"][kind]["success_rate"]
        for name in parts(rows):
            report["policies"][kind][name] = rates([s for s in rows if s["part"] == name])
    return report


def _means(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The mean of each number of these rows."""
    return {key: float(np.mean([row[key] for row in rows])) for key in (rows[0] if rows else ())}


def _deliberated(result: dict[str, Any]) -> int:
    """Model calls of an episode's deliberations."""
    return int(result["deliberation"].get("calls_in_all", 0))


def parts(scores: Scores) -> list[str]:
    """The kinds of task among these episodes, as the judge names them."""
    return sorted({s["part"] for s in scores if s.get("part")})


Cell = Callable[[dict[str, Any]], str]


def _percent(key: str) -> Cell:
    return lambda r: f"{r[key]:.1%}"


def _interval(key: str) -> Cell:
    return lambda r: f"{r[key][0]:.1%}..{r[key][1]:.1%}"


#: Columns of the table: title, the key that says whether anything was judged, what stands in a cell.
COLUMNS: tuple[tuple[str, str, Cell], ...] = (
    ("n", "episodes", lambda r: str(r["episodes"])),
    ("success", "success_rate", _percent("success_rate")),
    ("95 %", "success_rate", _interval("success_rate_ci95")),
    ("no contact", "success_no_contact_rate", _percent("success_no_contact_rate")),
    ("95 %", "success_no_contact_rate", _interval("success_no_contact_rate_ci95")),
    ("held within 1 cm", "close_rate", _percent("close_rate")),
    ("ever", "ever_rate", _percent("ever_rate")),
    ("heading", "heading_rate", _percent("heading_rate")),
    ("contact", "collision_rate", _percent("collision_rate")),
    ("false arrival", "false_arrival_rate", _percent("false_arrival_rate")),
    ("own success", "own_success_rate", _percent("own_success_rate")),
    ("final distance", "final_distance", lambda r: f"{r['final_distance']:.3f}"),
    ("reward", "total_reward", lambda r: f"{r['total_reward']:.1f}"),
)


def print_table(report: dict[str, Any], console: Console) -> None:
    """The report for people."""
    rows: list[tuple[str, dict[str, Any]]] = []
    for kind, r in report["policies"].items():
        rows.append((kind, r))
        found = parts(report["scores"][kind])
        rows += [(f"  {name}", r[name]) for name in found if len(found) > 1]
    gate = "" if report["gate"] else ", no gate"
    table = Table(title=f"{report['robot']}, task {report['task']}, {report['episodes']} episodes, "
                        f"{report['goal']} goal{gate}")  # fmt: skip
    shown = [c for c in COLUMNS if any(r[c[1]] is not None for _, r in rows)]
    table.add_column("")
    for title, _, _ in shown:
        table.add_column(title, justify="right")
    for name, r in rows:
        table.add_row(name, *(cell(r) if r[key] is not None else "-" for _, key, cell in shown))
    console.print(table)
    for kind, meaning in report.get("success_means", {}).items():
        if meaning["pairs"]:
            console.print(f"success in {meaning['pairs']} pairs ({kind}): {meaning['means']}")
    if "tour" in report:
        means = ", ".join(f"{key} {value:.1f}" for key, value in report["tour"]["mean"].items())
        console.print(f"tours of at most {report['tour']['limit']:g} s, means: {means}")
    p, e = report["plan_ms"], report["encode_ms"]
    if report["iterations"] is not None:
        console.print(
            f"plan p50 {p['p50']:.1f} ms, p99 {p['p99']:.1f} ms ({report['iterations']:.1f} iterations); "
            f"encode p50 {e['p50']:.1f} ms, "
            f"p99 {e['p99']:.1f} ms; {report['workers']} processes x {report['threads']} threads"
        )
