# SPDX-License-Identifier: Apache-2.0
"""Any world for the ``sim`` node: the episodes of a task, what its scene measures, and its truth, by topic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.publisher import Publisher

from jepa_ros.contract import RobotContract
from jepa_ros.contract.topics import STATE_TYPES
from jepa_ros.messages.types import message_class
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import to_stamp
from jepa_ros.nodes.measured import MESSAGES
from jepa_ros.nodes.sim_messages import diagnostics
from jepa_ros.worlds import Scene, Task, World, WorldError
from jepa_ros.worlds.truth import told

TRUTH_RATE = 25.0  # Hz


class WorldSide:
    """See the module.

    Args:
        node: that publishes. contract: of the robot. world: that it is in. values: of the node's parameters.

    Attributes:
        scene: reset by :meth:`begin`. unused: parameters of the node that do nothing in this task.

    Raises:
        WorldError: the world has no such task, or no gate.
    """

    def __init__(self, node: Node, contract: RobotContract, world: World, values: Any) -> None:
        if not world.gated:
            raise WorldError(f"the world '{world.name}' has no safety gate: it cannot be driven through ROS")
        known = {"randomise", "distractors"}
        options = {name: getattr(values, name) for name in known.intersection(world.options)}
        self.scene: Scene = world.scene(contract)
        self.task: Task = world.task(values.task or world.score_task, contract, options)
        self.unused = {"layout", "person", "start"} | (known - options.keys())
        if not hasattr(self.scene, "gui"):
            self.unused.add("gui")
        elif values.gui:
            self.scene.gui = True
        self._contract, self._node = contract, node

    @property
    def rates(self) -> Mapping[str, float]:
        """{state: messages a second}."""
        return self.scene.rates

    @property
    def focal(self) -> float | None:
        """Of the first camera [px]; None where the scene does not say."""
        return getattr(self.scene, "focal", None)

    def begin(self, values: Any) -> str:
        """Start the task's episode of the number ``seed`` among those of ``layout_seed``; says which."""
        self.scene.reset(self.task.draw(self.scene, values.layout_seed, values.seed))
        return f"task {self.task.name}, episode {values.seed} of seed {values.layout_seed}"

    def emitters(self) -> dict[str, tuple[float, Callable[[float], None]]]:
        """{name: (rate [Hz], publish at a time [s])}; makes the publishers."""
        self._score_out = qos.publisher(self._node, DiagnosticArray, "~/score", qos.STATUS)
        found: dict[str, tuple[float, Callable[[float], None]]] = {"truth": (TRUTH_RATE, self._truth)}
        for name, rate in self.rates.items():
            found[name] = (rate, partial(self._measured, name, self._publisher(name)))
        return found

    def _publisher(self, name: str) -> Publisher:
        """Of a state, on the contract's topic or the one of its name."""
        state = self._contract.state
        topic = state[name].topic if name in state else name
        return qos.publisher(self._node, message_class(STATE_TYPES[name]), topic, qos.STATE)

    def _measured(self, name: str, publisher: Publisher, now: float) -> None:
        publisher.publish(MESSAGES[name](self.scene.observe((name,)).state[name], now, self._contract))

    def _truth(self, now: float) -> None:
        self._score_out.publish(diagnostics(to_stamp(now), "sim/score", told(self.scene.truth())))
