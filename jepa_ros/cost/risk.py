# SPDX-License-Identifier: Apache-2.0
"""One number from the costs of several possible futures: mean, CVaR at a level, or the worst.

How a level reduces samples is written once, in jepa_ros.safety.schema.RiskLevel, for guardrails and task cost alike;
here a level is checked against the number of samples that has to resolve it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jepa_ros.errors import JepaRosError
from jepa_ros.safety.schema import RiskLevel

KINDS = ("mean", "cvar", "worst")


class RiskError(JepaRosError):
    """A risk measure that cannot be computed; the message says what was expected."""


def read_risk(text: str) -> Risk:
    """The risk measure of a text: ``mean``, ``worst``, or ``cvar`` and its share, as ``cvar 0.25``.

    Raises:
        RiskError: it is none of these.
    """
    kind, *rest = text.split() or [""]
    try:
        level = float(rest[0]) if rest else None
    except ValueError:
        level = math.nan
    if len(rest) > 1:
        raise RiskError(f"risk '{text}'; expected mean, worst or cvar with a share, as in 'cvar 0.25'")
    return Risk(kind, level)


def check_level(risk: RiskLevel, samples: int, what: str = "risk") -> None:
    """Refuse a level that so few noise samples cannot resolve.

    Raises:
        RiskError: the level is below 1/samples.
    """
    if risk.level and risk.level * samples < 1.0 - 1e-9:
        raise RiskError(
            f"{what}: {risk.kind} at level {risk.level:g} needs at least {math.ceil(1 / risk.level)} noise samples; "
            f"found {samples}: draw more samples or raise the level to {1 / samples:.3g}"
        )


@dataclass(frozen=True)
class Risk(RiskLevel):
    """The risk measure of the task cost; called with costs (..., S) it reduces the last axis.

    Args:
        kind: "mean", "cvar" or "worst".
        level: for "cvar" the share of the worst samples that is averaged, in (0, 1]; level 1 is the mean.

    Raises:
        RiskError: unknown kind, or a level that is missing, superfluous or out of range.
    """

    kind: str = "mean"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise RiskError(f"risk {self.kind!r}; expected one of {', '.join(KINDS)}")
        if self.kind == "cvar":
            if self.level is None or not (math.isfinite(self.level) and 0.0 < self.level <= 1.0):
                raise RiskError(f"risk cvar has level {self.level}; expected a share in (0, 1], for example 0.25")
        elif self.level is not None:
            raise RiskError(f"risk {self.kind} takes no level (found {self.level}); only cvar does")
