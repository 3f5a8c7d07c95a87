# SPDX-License-Identifier: Apache-2.0
"""A tour before an episode: somebody drives the robot about, it watches, and what it remembers is its memory then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jepa_ros.agent.loop import Loop
from jepa_ros.agent.planner_part import PlannerPart
from jepa_ros.errors import JepaRosError
from jepa_ros.memory import LongTerm
from jepa_ros.worlds import Decision, Observation, Policy, Scene, Task


class Watching:
    """Drives as one policy does, while a planner without a goal sees and feels all of it."""

    def __init__(self, driver: Policy, part: PlannerPart) -> None:
        self.driver, self.part = driver, part

    def act(self, observation: Observation) -> Decision:
        """The driver's command."""
        self.part.act(observation)
        return Decision(self.driver.act(observation).command)


def driver_of(task: Task) -> Callable[[Scene, Any], Any]:
    """What drives the tour of an episode's surroundings, of (scene, spec).

    Raises:
        JepaRosError: the task has no tour.
    """
    if not hasattr(task, "tour"):
        raise JepaRosError(f"--tour: task '{task.name}' has no tour")
    return task.tour


def toured(scene: Scene, task: Task, spec: Any, part: PlannerPart, memory: LongTerm, seconds: float) -> dict[str, Any]:
    """Drive the tour of an episode's surroundings for at most ``seconds``, into the memory of the planner.

    Returns:
        What came of it: its seconds, whether it ended by itself, and how much is remembered.

    Raises:
        JepaRosError: the task has no tour.
    """
    driver = driver_of(task)(scene, spec)
    loop = Loop(scene, Watching(driver, part))
    begun = scene.time
    while not driver.over and scene.time - begun < seconds:
        loop.step()
    counts = {name: n for annex in memory.annexes for name, n in annex.counts().items()}
    return {"seconds": round(scene.time - begun, 1), "whole": bool(driver.over), **counts}
