# SPDX-License-Identifier: Apache-2.0
"""What the gate's scan shows as a step begins, for planners whose pictures do not show what is in the way."""

from __future__ import annotations

from typing import Any

from jepa_ros.agent.recent import Recent
from jepa_ros.safety.inputs import ScanIn


class Scans:
    """Scans of the recent past.

    The gate keeps off what the scan shows, so the planner of a robot with a costmap or with its camera on board is told
    of it. Another one is told nothing: what stands in its way it sees, or learns by being held back.

    Args:
        contract: says how old one may be.

    Attributes:
        topic: of the scans, as in the contract; None where nobody is told.
    """

    def __init__(self, contract: Any) -> None:
        self.topic = contract.state["scan"] if contract.planned_reach > 0.0 else None
        self._recent = Recent()

    def take(self, measured: ScanIn) -> None:
        """Note a scan."""
        if self.topic is not None:
            self._recent.take(measured.stamp, measured)

    def at(self, stamp: float) -> ScanIn | None:
        """The newest of a time [s] or before it; None where there is none, or it is old."""
        found = self._recent.newest(stamp)
        return found[1] if found is not None and self.topic is not None and found[0] <= self.topic.timeout else None
