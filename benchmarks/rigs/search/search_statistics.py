# SPDX-License-Identifier: Apache-2.0
"""What is said of the episodes of `jepa-ros bench search`: rates, paired differences, rank correlation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import binomtest, spearmanr

from jepa_ros.statistics import wilson

Rows = list[dict[str, Any]]


def rate(rows: Rows, key: str) -> dict[str, Any]:
    """Share of the episodes with ``key``, and Wilson's interval."""
    k, n = sum(bool(r[key]) for r in rows), len(rows)
    return {"rate": k / n if n else math.nan, "count": k, "n": n, "ci95": list(wilson(k, n))}


def paired(rows: Rows, first: str, second: str, key: str) -> dict[str, Any]:
    """Of the episodes that both arms ran: how often ``key`` held in one alone, and McNemar's exact p.

    ``difference`` is the second arm's rate less the first one's.
    """
    sides = [
        {(r["layout"], r["number"]): bool(r[key]) for r in rows if r["arm"] == arm} for arm in (first, second)
    ]  # fmt: skip
    both = sorted(sides[0].keys() & sides[1].keys())
    only_first = sum(sides[0][k] and not sides[1][k] for k in both)
    only_second = sum(sides[1][k] and not sides[0][k] for k in both)
    discordant = only_first + only_second
    return {
        "n": len(both), "only_first": only_first, "only_second": only_second,
        "difference": (only_second - only_first) / len(both) if both else math.nan,
        "p": float(binomtest(only_first, discordant).pvalue) if discordant else 1.0,
    }  # fmt: skip


def rank_correlation(x: list[float], y: list[float]) -> dict[str, Any]:
    """Spearman's, with a 95 % interval by Fisher's transformation (variance after Bonett and Wright, 2000)."""
    keep = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
    if len(keep) < 4 or len({a for a, _ in keep}) < 2 or len({b for _, b in keep}) < 2:
        return {"rho": math.nan, "n": len(keep), "ci95": [-1.0, 1.0]}
    a, b = np.array(keep).T
    rho = float(spearmanr(a, b).statistic)
    half = 1.959964 * math.sqrt((1.0 + rho * rho / 2.0) / (len(keep) - 3))
    centre = math.atanh(min(max(rho, -0.999999), 0.999999))
    return {"rho": rho, "n": len(keep), "ci95": [math.tanh(centre - half), math.tanh(centre + half)]}


def hard_half(rows: Rows) -> set[tuple[str, int]]:
    """The harder half of the episodes, by difficulty alone; the easier of two equal ones has the lower number."""
    tasks = {(r["layout"], r["number"]): r["difficulty"] for r in rows if math.isfinite(r["difficulty"])}
    ordered = sorted(tasks, key=lambda k: (tasks[k], k[1], k[0]))
    return set(ordered[len(ordered) // 2 :])
