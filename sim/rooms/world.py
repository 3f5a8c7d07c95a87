# SPDX-License-Identifier: Apache-2.0
"""The rooms as a world."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.worlds import WorldError

from .scene import RoomsScene
from .tasks import OUTINGS, TASKS, Go


class RoomsWorld:
    """Rooms drawn from above, and their robot. Nothing can be broken there, so there is no gate."""

    name = "rooms"
    gated = False
    tasks: Mapping[str, str] = TASKS
    outings: Mapping[str, str] = OUTINGS
    score_task, data_task = "far", "rooms"
    options = ()
    episodes, shortest = 400, 1
    model = "rooms"

    def contract(self) -> RobotContract:
        """The shipped one."""
        return load_contract("rooms")

    def scene(self, contract: RobotContract) -> RoomsScene:
        """Rooms for the robot of ``contract``."""
        return RoomsScene(contract)

    def task(self, name: str, contract: RobotContract, options: Mapping[str, Any]) -> Go:
        """Going somewhere."""
        if name not in TASKS and name not in OUTINGS:
            raise WorldError(f"the rooms have no task '{name}'; expected one of {', '.join({**TASKS, **OUTINGS})}")
        return Go(name, contract)
