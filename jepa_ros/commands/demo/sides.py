# SPDX-License-Identifier: Apache-2.0
"""What a demonstration has to know of a world: its episodes, how ``sim`` is put to them, goal pictures, verdicts."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jepa_ros.commands.demo.log import Episode
from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError
from jepa_ros.worlds import WorldError
from jepa_ros.worlds.choose import assign, choose

#: An episode of a spec that was put before a painter: everything but what will happen in it.
Painter = Callable[[Any], Episode]
#: s for which the robot stands at a new start before it is given the goal.
SETTLE = 1.0


class Side:
    """The task of a command line, as the demonstration sees it.

    Args:
        args: of the command line.

    Attributes:
        head: what ``result.json`` says of the task. specs: the episodes. limit: of each [s].

    Raises:
        JepaRosError: there is no such world or task, or it cannot be demonstrated.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        choice = choose(args, True, ("randomise", "distractors"))
        if not choice.world.gated:
            raise WorldError(f"the world '{choice.world.name}' has no safety gate: it cannot be driven through ROS")
        self._seed, self._distractors = args.seed, args.distractors or 0
        assignment = assign(args, choice)
        self.contract: RobotContract = assignment.contract
        self._scene, self.task = assignment.open()
        if args.gui and not hasattr(self._scene, "gui"):
            raise WorldError(f"--gui does nothing in the world '{choice.world.name}'")
        self.limit = self.task.limit / self.contract.rate
        self.head = {"world": choice.world.name, "task": self.task.name, **self.task.describe()}
        self.specs = [self.task.draw(self._scene, args.seed, i) for i in range(args.episodes or 1)]

    def arguments(self) -> dict[str, str]:
        """Arguments of the bringup with which the ``sim`` node begins the first episode."""
        placing = {name: str(value) for name, value in self.placing(self.specs[0]).items()}
        return {"task": self.task.name, "distractors": str(self._distractors), **placing}

    def placing(self, spec: Any) -> dict[str, Any]:
        """Parameters of the running ``sim`` node with which its next reset begins an episode."""
        return {"seed": spec.number, "layout_seed": self._seed}

    @contextmanager
    def painter(self) -> Iterator[Painter]:
        """A world of one's own, never stepped, that draws goal pictures."""
        try:
            yield self._paint
        finally:
            self._scene.close()

    def _paint(self, spec: Any) -> Episode:
        scene: Any = self._scene
        task: Any = self.task
        scene.reset(spec)
        camera, wanted = self.contract.step_camera.name, task.goal(scene, spec)
        if camera not in wanted.seen.images:
            raise JepaRosError(f"task '{task.name}': its goals are no pictures of camera '{camera}': nothing to show")
        truth = scene.truth()
        drawn = {}
        if hasattr(task, "where"):  # see Drawn in jepa_ros/worlds/protocols.py
            drawn = {"where": task.where, "goal": tuple(task.target(spec)), "radius": task.radius}
            drawn["project"] = scene.view(camera).project
        return Episode(spec.number, wanted.seen.images[camera], truth, judge=task.judge(scene, spec), **drawn)
