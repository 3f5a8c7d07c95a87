# SPDX-License-Identifier: Apache-2.0
"""The statistics that LeRobot keeps of every feature, an episode and the whole set."""

from __future__ import annotations

from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
#: Pictures of an episode that its statistics are taken from: the pixels of some say what those of all would.
PICTURES = 60


def of_vector(values: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics over the frames of (T, n) values: each (n,), and the count (1,)."""
    wide = np.asarray(values, np.float64)
    told = {"min": wide.min(0), "max": wide.max(0), "mean": wide.mean(0), "std": wide.std(0)}
    told |= {name: np.quantile(wide, q, axis=0) for name, q in QUANTILES.items()}
    return told | {"count": np.array([len(wide)])}


def of_pictures(pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics over the pixels of (T, H, W, 3) uint8, scaled to [0, 1]: each (3, 1, 1), and the count of pictures."""
    some = pictures[:: max(1, len(pictures) // PICTURES)]
    told = of_vector(some.reshape(-1, 3) / 255.0)
    return {k: v.reshape(3, 1, 1) for k, v in told.items() if k != "count"} | {"count": np.array([len(pictures)])}


def together(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The statistics of several episodes as one: exact but for the quantiles, which are means by weight."""
    counts = np.array([p["count"][0] for p in parts], np.float64)
    weights = (counts / counts.sum()).reshape(-1, *(1,) * parts[0]["mean"].ndim)

    def stacked(name: str) -> np.ndarray:
        return np.stack([p[name] for p in parts])

    mean = (weights * stacked("mean")).sum(0)
    variance = (weights * (stacked("std") ** 2 + (stacked("mean") - mean) ** 2)).sum(0)
    told = {"min": stacked("min").min(0), "max": stacked("max").max(0), "mean": mean, "std": np.sqrt(variance)}
    told |= {name: (weights * stacked(name)).sum(0) for name in QUANTILES}
    return told | {"count": np.array([int(counts.sum())])}


def plain(told: dict[str, np.ndarray]) -> dict[str, Any]:
    """Statistics as lists, for JSON and Parquet."""
    return {name: value.tolist() for name, value in told.items()}
