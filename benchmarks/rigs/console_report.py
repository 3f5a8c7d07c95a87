# SPDX-License-Identifier: Apache-2.0
"""What the console's benchmark found, as text, and which figures were missed."""

from __future__ import annotations

from typing import Any

#: What is to be reached: name, statistic, ms.
FIGURES = (
    ("stop pressed to zero", "stop_ms", "p99", 100.0),
    ("page let go to zero", "let_go_ms", "p99", 300.0),
    ("page silent to zero", "silent_ms", "p99", 300.0),
    ("page closed to zero", "closed_ms", "p99", 300.0),
    ("goal to first plan on the page", "goal_ms", "p50", 500.0),
    ("gate's stop to reason on the page", "reason_ms", "p99", 200.0),
)
#: Share of a core that one viewer may cost.
COST = 0.10
#: Share by which plans and ways may be slower with a console.
SLOWER = 0.05


def report(result: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The results as text, and what missed its figure; of the parts that were measured."""
    machine = result["machine"]
    loads = f"load {machine['load_before']:.1f} before and {machine['load_after']:.1f} after"
    lines, missed = [f"{machine['processor']}, {machine['cores']} cores, {loads}; times in ms"], []
    for title, name, statistic, most in FIGURES:
        if name not in result:
            continue
        spread = result[name]
        row = "  ".join(f"{key} {spread[key]:6.0f}" for key in ("p50", "p99", "worst"))
        lines.append(f"{title:34} n {spread['n']:4}  {row}  {statistic} to reach {most:.0f}")
        if spread[statistic] > most:
            missed.append(title)
    if "cost" in result:
        cost = result["cost"]
        alone, watched = _percent(cost["nobody"]), _percent(cost["one_viewer"])
        lines.append(f"share of a core: {alone} alone, {watched} with one viewer")
        if cost["one_viewer"] > COST:
            missed.append("share of a core with one viewer")
    if "pace" in result:
        for title, line, fast in _paces(result["pace"]):
            lines.append(line)
            missed += [] if fast else [title]
    if "viewers" in result:
        lines += _many(result["viewers"])
    lines.append(f"missed: {', '.join(missed)}" if missed else "every figure was reached")
    return lines, missed


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _paces(pace: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Title, line and whether it is fast enough, of plans and of ways from a picture to its command."""
    found = []
    for name, what, statistic in (("plan", "plan", "p50"), ("picture to command", "way", "p99")):
        without, watched = (pace[f"{what}_{how}"][statistic] for how in ("without", "with"))
        counts = " and ".join(f"n {pace[f'{what}_{how}']['n']}" for how in ("without", "with"))
        line = (
            f"{name} {statistic}: {without:.1f} without a console, {watched:.1f} with one ({counts}), "
            f"{100 * (watched / without - 1):+.1f} %, to reach {100 * SLOWER:.0f} %"
        )
        found.append((f"{name} {statistic}", line, watched <= (1.0 + SLOWER) * without))
    return found


def _many(many: dict[str, Any]) -> list[str]:
    lines = []
    for title, spread in (("without viewers", many["ticks_without_ms"]), ("with them", many["ticks_with_ms"])):
        row = " / ".join(f"{spread[key]:.1f}" for key in ("p50", "p99", "worst"))
        lines.append(f"gate's ticks {title}, p50 / p99 / worst: {row} (n {spread['n']})")
    lines.append(f"viewers: {many['count']}, {many['slow']} of them slow, {many['still_open']} open at the end")
    memory = " ".join(f"{mb:.0f}" for mb in many["memory_mb"])
    lines.append(f"memory over {many['seconds']:.0f} s: {memory} MB; {_percent(many['share_of_a_core'])} of a core")
    return lines
