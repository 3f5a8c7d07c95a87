# SPDX-License-Identifier: Apache-2.0
"""What the constraints say about candidates: each at its risk level over the futures, at its worst step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from jepa_ros.cost.futures import Futures
from jepa_ros.cost.goal import Target
from jepa_ros.cost.seam import Constraint
from jepa_ros.safety.schema import RiskLevel


@dataclass
class Verdict:
    """What the constraints say about C candidates.

    Args:
        violation: (C,) the largest excess over the constraints, 0 where all are kept.
        excess: {name: (C,)} each constraint's own, negative where there is room to spare.
    """

    violation: np.ndarray
    excess: dict[str, np.ndarray] = field(default_factory=dict)

    def in_the_way(self, index: int) -> str | None:
        """The name of the constraint that the candidate exceeds most, None for a feasible one."""
        if not self.violation[index] > 0.0:
            return None
        return max(self.excess, key=lambda name: self.excess[name][index])


class Judge:
    """Judges the candidates of one plan.

    Args:
        constraints: what has to be kept. goal: of the plan. risk: where a constraint has none of its own.
    """

    def __init__(self, constraints: Sequence[Constraint], goal: Target, risk: RiskLevel) -> None:
        self.constraints, self.goal, self.risk = constraints, goal, risk
        self._granted: dict[str, float] = {}

    def __call__(self, futures: Futures) -> Verdict:
        """The verdict about the candidates; NaN where a value is NaN."""
        verdict = Verdict(np.zeros(len(futures)))
        for constraint in self.constraints:
            values = np.broadcast_to(constraint(futures, self.goal), futures.shape)
            excess = at_risk(values, constraint.risk or self.risk, constraint.whole)
            if constraint.slack is not None and values.shape[1] > 1:
                excess = self._least(constraint.name, excess, constraint.slack)
            verdict.excess[constraint.name] = excess
            verdict.violation = np.maximum(verdict.violation, np.maximum(excess, 0.0))
        return verdict

    def _least(self, name: str, excess: np.ndarray, slack: float) -> np.ndarray:
        """Excess (C,) less the least that any of a plan's first candidates (standing still is one) has."""
        if name not in self._granted:
            finite = excess[np.isfinite(excess)]
            least = float(finite.min()) if len(finite) else 0.0
            self._granted[name] = least + slack if least > 0.0 else 0.0
        return excess - self._granted[name]


def at_risk(values: np.ndarray, risk: RiskLevel, whole: bool) -> np.ndarray:
    """(C, S, T) -> (C,): at the risk level over the futures, at the worst step; see Constraint.whole."""
    if whole:
        return risk(values.max(-1))
    return risk(np.moveaxis(values, 1, -1)).max(-1)
