# SPDX-License-Identifier: Apache-2.0
"""What a run of the stack decided, as recorded or as replayed: the form in which runs are compared."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Step:
    """One control step of the planner.

    Attributes:
        stamp: of the image, ns. time: log time of the planner's status, ns (None where it was not recorded).
        command: (A,) physical, of an arm the twist of its tip.
        status: the planner's, texts as published (recorded) or values (replayed).
        plan: (T, A) or None. poses: (T, 3) or None.
        executed, gated: (A,) that the step was told (mean over the last step, and in force at the stamp), or None.
        sequence: counts the planner's status messages (0: not known).
        unsure: a step before this one could not be repeated, so that the planner may have known something else.
    """

    stamp: int
    time: int | None = None
    command: np.ndarray | None = None
    status: dict[str, Any] = field(default_factory=dict)
    plan: np.ndarray | None = None
    poses: np.ndarray | None = None
    executed: np.ndarray | None = None
    gated: np.ndarray | None = None
    signals: dict[str, float] = field(default_factory=dict)
    sequence: int = 0
    unsure: bool = False

    def number(self, name: str) -> float:
        """A number of the status; NaN where it has none."""
        try:
            return float(self.status.get(name, ""))
        except (TypeError, ValueError):
            return math.nan

    @property
    def reason(self) -> str:
        """The status's reason word."""
        return str(self.status.get("reason", ""))


@dataclass
class GateTick:
    """One tick of the gate: log time in ns, steady and ROS time in s, what left and why.

    `time` is None where it was not recorded. `ages` and `stamps` say when each of its inputs had been received, and
    which message it was (s); `marks` tell apart those with one stamp (:func:`command_mark`). `made_up`: the recording
    lacks this tick, or one shortly before it, or an input of one.
    `sequence` counts the gate's messages (0: not known). `slowest`: the late tick that the gate still reckons with (s).
    """

    time: int | None
    steady: float
    ros: float
    mode: str
    reason: str
    values: np.ndarray
    scale: float = 1.0
    ages: dict[str, float] = field(default_factory=dict)
    stamps: dict[str, float] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    publishers: int | None = 1
    made_up: bool = False
    sequence: int = 0
    slowest: float = math.nan


@dataclass
class RunLog:
    """Embeddings by image stamp (ns), steps by image stamp, ticks in order."""

    embeddings: dict[int, np.ndarray] = field(default_factory=dict)
    steps: dict[int, Step] = field(default_factory=dict)
    ticks: list[GateTick] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def digest(self) -> dict[str, str]:
        """Hashes of embeddings, plans and gate decisions: equal for runs that decided the same, bit for bit."""

        def hashed(arrays) -> str:
            total = hashlib.sha256()
            for array in arrays:
                total.update(array if isinstance(array, bytes) else np.ascontiguousarray(array).tobytes())
            return total.hexdigest()[:16]

        def plans():
            for stamp, step in sorted(self.steps.items()):
                yield str(stamp).encode()
                yield step.reason.encode()
                yield np.float64(step.number("cost"))
                for array in (step.command, step.plan):
                    if array is not None:
                        yield np.asarray(array, np.float64)

        def ticks():
            for tick in self.ticks:
                yield f"{tick.mode} {tick.reason}".encode()
                yield np.asarray(tick.values, np.float64)

        return {
            "embeddings": hashed(value for _, value in sorted(self.embeddings.items())),
            "plans": hashed(plans()),
            "gate": hashed(ticks()),
        }
