# SPDX-License-Identifier: Apache-2.0
"""How drives are cut into episodes, the episodes that come of it, and the report of what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class CutSettings:
    """Where episodes end: lengths in steps, `max_idle` in s; `static`: what stands about was the same throughout."""

    min_length: int = 20
    max_length: int = 600
    max_idle: float = 2.0
    static: bool = False


@dataclass
class Segment:
    """An episode to be, T steps: `times` (log time) and `stamps` of its images in ns; arrays as in a dataset.

    `layout`: episodes of one number share what stands about (0: `static`, nothing ever changed).
    """

    times: np.ndarray
    stamps: np.ndarray
    actions: np.ndarray
    commands: np.ndarray
    poses: np.ndarray
    contacts: np.ndarray
    layout: int = 0
    further: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.actions)


@dataclass
class CutReport:
    """What became of a bag: steps kept, and for each reason the steps dropped and where (s after its start)."""

    images: int = 0
    steps: int = 0
    kept: int = 0
    episodes: int = 0
    dropped: dict[str, dict] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def drop(self, reason: str, at: float, count: int = 1) -> None:
        """Count `count` steps (or images) that were left out at `at` seconds."""
        entry = self.dropped.setdefault(reason, {"count": 0, "at": []})
        entry["count"] += count
        if len(entry["at"]) < 20 and (not entry["at"] or at - entry["at"][-1] > 1.0):
            entry["at"].append(round(at, 3))
