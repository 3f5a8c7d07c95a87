# SPDX-License-Identifier: Apache-2.0
"""What a command works on: a world, the robot in it, and a task there. Plain enough to be sent to worker processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jepa_ros.contract import RobotContract
from jepa_ros.worlds.protocols import Scene, Task, World


@dataclass(frozen=True)
class Assignment:
    """A task in a world.

    Attributes:
        world: of :mod:`jepa_ros.worlds.registry`, or made from a Gymnasium environment; it can be pickled.
        robot: the contract as plain data. task: its name. options: those of the command line that were given.
    """

    world: World
    robot: dict[str, Any]
    task: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(world: World, contract: RobotContract, task: str, options: Mapping[str, Any] | None = None) -> Assignment:
        """An assignment for a robot.

        Raises:
            WorldError: the world has no such task, or the task no such option.
        """
        world.task(task, contract, options or {})
        return Assignment(world, contract.to_dict(), task, dict(options or {}))

    @property
    def contract(self) -> RobotContract:
        """The robot's contract."""
        return RobotContract.from_dict(self.robot)

    def open(self) -> tuple[Scene, Task]:
        """The scene (not reset) and the task; the scene is to be closed."""
        contract = self.contract
        return self.world.scene(contract), self.world.task(self.task, contract, self.options)
