# SPDX-License-Identifier: Apache-2.0
"""How careful plans of a body that drives over a plane are, beside its guardrails."""

from __future__ import annotations

from dataclasses import dataclass

from jepa_ros.errors import JepaRosError
from jepa_ros.ranges import SHARE, Range

RANGES = {"contact_limit": SHARE, "region_margin": Range(0.0, unit="m")}


@dataclass(frozen=True)
class PlanarConfig:
    """See the module.

    Args:
        contact_limit: a plan keeps the chance of contact, read from the map of places, at or under this at every step;
            1 does not ask. No weight in the cost: see jepa_ros.cost.select. With several futures it is kept at the
            search's ``risk``, and where no candidate keeps it, those of the least chance count as keeping it.
        region_margin: m that plans keep to regions besides what the guardrails ask: the pose readout is not exact, and
            the gate, which keeps the same guardrails, stops before their edge by what the localisation may be wrong.

    Raises:
        JepaRosError: a value out of range.
    """

    contact_limit: float = 0.5
    region_margin: float = 0.0

    def __post_init__(self) -> None:
        for name, wanted in RANGES.items():
            if problem := wanted.problem(getattr(self, name)):
                raise JepaRosError(f"{name}: {problem}")
