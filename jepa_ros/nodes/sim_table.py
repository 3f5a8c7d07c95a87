# SPDX-License-Identifier: Apache-2.0
"""The table for the ``sim`` node: its episodes, and what its arm and the simulator's truth say by topic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PointStamped, WrenchStamped
from rclpy.node import Node
from std_msgs.msg import Bool

from jepa_ros.contract import RobotContract
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import to_stamp
from jepa_ros.nodes.sim_messages import diagnostics, joint_state, state_publishers

RATES = {"joint_states": 50.0, "contact": 20.0, "wrench": 25.0, "truth": 25.0}


class TableSide:
    """See the module.

    Args:
        node: that publishes. contract: of the robot. values: of the node's parameters.
    """

    #: Parameters of the node that this world has no use for.
    unused = ("layout", "person", "gui", "start")

    def __init__(self, node: Node, contract: RobotContract, values: Any) -> None:
        from jepa_ros_sim.table.world import TableScene, TableWorld

        options = {"randomise": values.randomise}
        self._task = TableWorld().task(values.task or TableWorld.score_task, contract, options)
        self._scene, self._contract, self._node = TableScene(contract), contract, node

    @property
    def sim(self) -> Any:
        """The simulator of the episode."""
        return self._scene.sim

    @property
    def focal(self) -> float:
        """Of the camera [px]."""
        return float(self.sim.camera.view.focal)

    def begin(self, values: Any) -> str:
        """Start the task's episode of the number ``seed`` among those of ``layout_seed``; says which."""
        self._scene.reset(self._task.draw(self._scene, values.layout_seed, values.seed))
        x, y, z = self.sim.truth().tip
        return f"task {self._task.name}, seed {values.seed}: tip at x {x:.2f} m, y {y:.2f} m, z {z:.2f} m"

    def emitters(self) -> dict[str, tuple[float, Callable[[float], None]]]:
        """{name: (rate [Hz], publish at a time [s])}; makes the publishers."""
        self._out = state_publishers(self._node, self._contract, ("joint_states", "contact", "wrench"))
        self._truth_out = qos.publisher(self._node, PointStamped, "~/truth", qos.STATE)
        self._score_out = qos.publisher(self._node, DiagnosticArray, "~/score", qos.STATUS)
        emit = {"joint_states": self._joints, "contact": self._contact, "wrench": self._wrench, "truth": self._truth}
        return {name: (RATES[name], publish) for name, publish in emit.items()}

    def _joints(self, now: float) -> None:
        self._out["joint_states"].publish(joint_state(now, *self.sim.joint_states()))

    def _contact(self, now: float) -> None:
        self._out["contact"].publish(Bool(data=bool(self.sim.contact())))

    def _wrench(self, now: float) -> None:
        message, reading = WrenchStamped(), self.sim.wrench().tolist()
        message.header.stamp, message.header.frame_id = to_stamp(now), "wrist"
        force, torque = message.wrench.force, message.wrench.torque
        force.x, force.y, force.z, torque.x, torque.y, torque.z = reading
        self._out["wrench"].publish(message)

    def _truth(self, now: float) -> None:
        truth, message = self.sim.truth(), PointStamped()
        message.header.stamp, message.header.frame_id = to_stamp(now), self._contract.frames.base
        message.point.x, message.point.y, message.point.z = truth.tip
        self._truth_out.publish(message)
        values = {
            "episode_time": f"{truth.time:.3f}",
            "contact": str(self.sim.contact()).lower(),
            "contact_steps": str(truth.contact_steps),
        }
        self._score_out.publish(diagnostics(message.header.stamp, "sim/score", values))
