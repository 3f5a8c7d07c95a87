# SPDX-License-Identifier: Apache-2.0
"""Intervals for what is counted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import rankdata


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval for a proportion, 95 % by default (Wilson, 1927). (0, 1) when nothing was counted."""
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def rank_correlation(a: Any, b: Any) -> float:
    """Spearman's, of two arrays of as many values; equal values share a rank. 0 where one of them never varies."""
    if len(a) < 2 or np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return 0.0
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def quantile(values: list[float], q: float) -> float:
    """The q-quantile, linear between ranks; not a number when there are no values."""
    return float(np.quantile(values, q)) if values else math.nan


def percentiles_ms(seconds: list[float]) -> dict[str, float | None]:
    """p50 and p99 in ms, as every report tells times; None where nothing was measured."""
    return {name: 1e3 * quantile(seconds, q) if seconds else None for name, q in (("p50", 0.5), ("p99", 0.99))}
