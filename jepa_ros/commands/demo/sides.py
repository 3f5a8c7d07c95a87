# SPDX-License-Identifier: Apache-2.0
"""What a demonstration has to know of a world: its episodes, how ``sim`` is put to them, goal pictures, verdicts."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Protocol

from jepa_ros.commands.demo import report
from jepa_ros.commands.demo.log import Episode, arrived_and_stopped
from jepa_ros.contract import RobotContract
from jepa_ros.errors import JepaRosError

#: An episode of a spec that was put before a painter: everything but what will happen in it.
Painter = Callable[[Any], Episode]


class Side(Protocol):
    """A world as the demonstration sees it.

    Attributes:
        head: what ``result.json`` says of the task. specs: the episodes. hold, limit: of each [s].
    """

    head: dict[str, Any]
    specs: list[Any]
    hold: float
    limit: float

    def arguments(self, spec: Any) -> dict[str, str]:
        """Arguments of the bringup with which the ``sim`` node begins an episode."""
        ...

    def placing(self, spec: Any) -> dict[str, Any]:
        """Parameters of the running ``sim`` node with which its next reset begins an episode."""
        ...

    def painter(self) -> Any:
        """A context manager that gives a :data:`Painter`: a second world, never stepped."""
        ...

    def score(self, spec: Any, episode: Episode) -> Any:
        """The verdict, with the attributes of :class:`jepa_ros_sim.arena.reach.EpisodeScore` that people are told."""
        ...


class ArenaDemo:
    """Driving through the arena."""

    def __init__(self, contract: RobotContract, args: argparse.Namespace) -> None:
        from jepa_ros_sim.arena.reach import HOLD, PROTOCOL, TIME_LIMIT, make_spec

        self._contract, self._args = contract, args
        self.hold, self.limit = HOLD, TIME_LIMIT
        self.head = {"protocol": PROTOCOL, "layout": args.layout}
        self.specs = [make_spec(i, args.seed, args.layout, args.randomise) for i in range(args.episodes or 1)]

    def arguments(self, spec: Any) -> dict[str, str]:
        """See :class:`Side`."""
        return {
            "seed": str(spec.seed % 2**31),
            "layout": spec.layout,
            "layout_seed": str(spec.layout_seed),
            "start": ",".join(repr(v) for v in spec.start),
        }

    def placing(self, spec: Any) -> dict[str, Any]:
        """See :class:`Side`."""
        return {"seed": spec.seed % 2**31, "layout_seed": spec.layout_seed, "start": list(spec.start)}

    @contextmanager
    def painter(self) -> Iterator[Painter]:
        """See :class:`Side`."""
        from jepa_ros_sim.arena import ArenaSim, SceneConfig

        scene = SceneConfig(layout=self.specs[0].layout, randomise=self._args.randomise)
        with ArenaSim(self._contract, scene) as sim:

            def paint(spec: Any) -> Episode:
                sim.reset(spec.seed % 2**31, layout_seed=spec.layout_seed, start=spec.start)
                return Episode(spec.number, spec.start, spec.goal, sim.image_at(spec.goal), sim.view.project)

            yield paint

    def score(self, spec: Any, episode: Episode) -> Any:
        """See :class:`Side`."""
        return report.score_episode(spec, episode, self._contract)


class TableDemo:
    """An arm at its table, by the task that it is scored in where none is named."""

    def __init__(self, contract: RobotContract, args: argparse.Namespace) -> None:
        from jepa_ros_sim.table.tasks.base import HOLD
        from jepa_ros_sim.table.world import TableWorld

        if args.layout != "fixed" or args.gui:
            wrong = "--gui" if args.gui else "--layout"
            raise JepaRosError(f"{wrong} does nothing in the world 'table'")
        self._contract, self._args = contract, args
        self._task = TableWorld().task(TableWorld.score_task, contract, {"randomise": args.randomise})
        self.hold, self.limit = HOLD, self._task.seconds
        self.head = {"protocol": 1, "task": self._task.name}
        self.specs = [self._task.draw(None, args.seed, i) for i in range(args.episodes or 1)]  # type: ignore[arg-type]

    def arguments(self, spec: Any) -> dict[str, str]:
        """See :class:`Side`."""
        return {name: str(value) for name, value in self.placing(spec).items()}

    def placing(self, spec: Any) -> dict[str, Any]:
        """See :class:`Side`."""
        return {"seed": spec.number, "layout_seed": self._args.seed}

    @contextmanager
    def painter(self) -> Iterator[Painter]:
        """See :class:`Side`."""
        from jepa_ros_sim.table.world import TableScene

        scene = TableScene(self._contract)

        def paint(spec: Any) -> Episode:
            scene.reset(spec)
            picture = self._task.goal(scene, spec).seen.images[scene.camera]
            project = scene.sim.camera.view.project
            return Episode(spec.number, spec.tip, spec.wanted, picture, project, dims=3, radius=self._task.radius)

        try:
            yield paint
        finally:
            scene.close()

    def score(self, spec: Any, episode: Episode) -> Any:
        """See :class:`Side`."""
        from jepa_ros.worlds import Sample
        from jepa_ros_sim.table.simulator import Truth
        from jepa_ros_sim.table.tasks.base import TableJudge

        def truth(tip: Any) -> Truth:
            return Truth(0.0, (), tuple(tip), (), 0.0, 0)

        judge = TableJudge(self._task, spec, truth(spec.tip))
        for (time, *tip), said, stopped in arrived_and_stopped(episode):
            if math.isfinite(time):
                judge.add(Sample(time, truth(tip), said, stopped))
        judge.contact = episode.contact_steps > 0
        found = judge.score()
        return SimpleNamespace(**found, to_dict=lambda: found)


def side_for(contract: RobotContract, args: argparse.Namespace) -> Side:
    """The world of a robot."""
    return ArenaDemo(contract, args) if contract.kinematics.arm is None else TableDemo(contract, args)

