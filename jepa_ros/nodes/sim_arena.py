# SPDX-License-Identifier: Apache-2.0
"""The arena for the ``sim`` node: layouts, starts and people that are asked for one by one, beside its tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.publisher import Publisher

from jepa_ros.contract import RobotContract
from jepa_ros.nodes import params, qos
from jepa_ros.nodes.measured import odometry
from jepa_ros.nodes.sim_world import TRUTH_RATE, WorldSide
from jepa_ros.safety.inputs import OdomIn
from jepa_ros.worlds import World

#: Measured whether the contract takes it or not, so that other people's nodes have it.
ALWAYS = ("odom", "pose", "joint_states", "scan", "contact")


def _wheel_covariance(x: float, y: float, yaw: float) -> np.ndarray:
    """A 6 x 6 row-major covariance with the given variances; what a planar robot cannot do is near zero."""
    covariance = np.zeros((6, 6))
    np.fill_diagonal(covariance, [x, y, 1e-9, 1e-9, 1e-9, yaw])
    return covariance.ravel()


class ArenaSide(WorldSide):
    """See the module. With a task named it is as any other world, without one the parameters say what stands where."""

    def __init__(self, node: Node, contract: RobotContract, world: World, values: Any) -> None:
        from jepa_ros_sim.arena.scene import SceneConfig
        from jepa_ros_sim.arena.world import RATES

        super().__init__(node, contract, world, values)
        people = ("people",) if "people" in contract.state else ()
        self._rates = {name: RATES[name] for name in (*ALWAYS, *people)}
        self._free = not values.task
        if self._free:
            self.unused -= {"layout", "person", "start"}
            scene: Any = self.scene
            scene.open(SceneConfig(values.layout, seed=values.seed, randomise=values.randomise, person=values.person))

    @property
    def rates(self) -> dict[str, float]:
        """See :class:`WorldSide`."""
        return self._rates

    def begin(self, values: Any) -> str:
        """See :class:`WorldSide`."""
        if not self._free:
            return super().begin(values)
        if len(values.start) != 3:
            raise params.ParameterError(f"start has {len(values.start)} numbers; expected x, y, yaw")
        start = tuple(values.start) if np.all(np.isfinite(values.start)) else None
        sim = self.scene.sim  # type: ignore[attr-defined]
        sim.reset(seed=values.seed, layout_seed=values.layout_seed, start=start)
        t = sim.truth()
        where = f"robot at x {t.x:.2f} m, y {t.y:.2f} m, yaw {t.yaw:.2f} rad"
        return f"layout {sim.layout.name}, seed {values.seed}: {where}"

    def emitters(self) -> dict[str, tuple[float, Callable[[float], None]]]:
        """See :class:`WorldSide`; the true motion is told as odometry besides."""
        self._truth_out = qos.publisher(self._node, Odometry, "~/truth", qos.STATE)
        return {**super().emitters(), "place": (TRUTH_RATE, self._place)}

    def _measured(self, name: str, publisher: Publisher, now: float) -> None:
        if name != "odom":
            super()._measured(name, publisher, now)
            return
        message = odometry(self.scene.observe((name,)).state[name], now, self._contract)
        message.pose.covariance = _wheel_covariance(0.01, 0.01, 0.01)
        message.twist.covariance = _wheel_covariance(1e-4, 1e-9, 1e-3)
        publisher.publish(message)

    def _place(self, now: float) -> None:
        t = self.scene.truth()
        message = odometry(OdomIn(now, now, t.x, t.y, t.yaw, (t.v, t.w)), now, self._contract)
        message.header.frame_id = self._contract.frames.map
        self._truth_out.publish(message)
