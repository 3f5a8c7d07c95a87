# SPDX-License-Identifier: Apache-2.0
"""The arena for the ``sim`` node: its episodes, and what its robot and the simulator's truth say by topic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Pose, PoseArray, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Bool

from jepa_ros.contract import RobotContract
from jepa_ros.nodes import params, qos
from jepa_ros.nodes.convert import set_yaw, to_stamp
from jepa_ros.nodes.sim_messages import diagnostics, joint_state, state_publishers

RATES = {"odom": 25.0, "joint_states": 10.0, "contact": 20.0, "truth": 25.0, "pose": 10.0, "scan": 10.0,
         "people": 10.0}  # fmt: skip


def _wheel_covariance(x: float, y: float, yaw: float) -> np.ndarray:
    """A 6 x 6 row-major covariance with the given variances; what a planar robot cannot do is near zero."""
    covariance = np.zeros((6, 6))
    np.fill_diagonal(covariance, [x, y, 1e-9, 1e-9, 1e-9, yaw])
    return covariance.ravel()


class ArenaSide:
    """See the module.

    Args:
        node: that publishes. contract: of the robot. values: of the node's parameters.
    """

    #: Parameters of the node that this world has no use for.
    unused = ("task",)

    def __init__(self, node: Node, contract: RobotContract, values: Any) -> None:
        from jepa_ros_sim.arena import ArenaSim, SceneConfig

        self._contract = contract
        scene = SceneConfig(layout=values.layout, seed=values.seed, randomise=values.randomise, person=values.person)
        self.sim = ArenaSim(contract, scene, gui=values.gui)
        self._node = node

    @property
    def focal(self) -> float:
        """Of the camera [px]."""
        return float(self.sim.view.focal)

    def begin(self, values: Any) -> str:
        """Start the episode that the parameters name; says which."""
        if len(values.start) != 3:
            raise params.ParameterError(f"start has {len(values.start)} numbers; expected x, y, yaw")
        start = tuple(values.start) if np.all(np.isfinite(values.start)) else None
        self.sim.reset(seed=values.seed, layout_seed=values.layout_seed, start=start)
        t = self.sim.truth()
        where = f"robot at x {t.x:.2f} m, y {t.y:.2f} m, yaw {t.yaw:.2f} rad"
        return f"layout {self.sim.layout.name}, seed {values.seed}: {where}"

    def emitters(self) -> dict[str, tuple[float, Callable[[float], None]]]:
        """{name: (rate [Hz], publish at a time [s])}; makes the publishers."""
        node = self._node
        people = ("people",) if "people" in self._contract.state else ()
        told = ("odom", "pose", "joint_states", "scan", "contact", *people)
        self._out = state_publishers(node, self._contract, told)
        self._truth_out = qos.publisher(node, Odometry, "~/truth", qos.STATE)
        self._score_out = qos.publisher(node, DiagnosticArray, "~/score", qos.STATUS)
        emit: dict[str, Callable[[float], None]] = {
            "odom": self._odom, "joint_states": self._joints, "contact": self._contact, "truth": self._truth,
            "pose": self._pose, "scan": self._scan,
        }  # fmt: skip
        if people:
            emit["people"] = self._people
        return {name: (RATES[name], publish) for name, publish in emit.items()}

    def _odom(self, now: float) -> None:
        x, y, yaw, v, w = self.sim.odom()
        message = self._odometry(now, self._contract.frames.odom, x, y, yaw, v, w)
        message.pose.covariance = _wheel_covariance(0.01, 0.01, 0.01)
        message.twist.covariance = _wheel_covariance(1e-4, 1e-9, 1e-3)
        self._out["odom"].publish(message)

    def _pose(self, now: float) -> None:
        x, y, yaw, covariance = self.sim.pose()
        message = PoseWithCovarianceStamped()
        message.header.stamp = to_stamp(now)
        message.header.frame_id = self._contract.frames.map
        message.pose.pose.position.x, message.pose.pose.position.y = x, y
        set_yaw(message.pose.pose.orientation, yaw)
        full = np.zeros((6, 6))
        rows = np.array([0, 1, 5])
        full[np.ix_(rows, rows)] = covariance
        message.pose.covariance = full.ravel()
        self._out["pose"].publish(message)

    def _joints(self, now: float) -> None:
        self._out["joint_states"].publish(joint_state(now, *self.sim.joint_states()))

    def _scan(self, now: float) -> None:
        scan = self.sim.scan()
        message = LaserScan(
            angle_min=float(scan.angle_min),
            angle_max=float(scan.angle_max),
            angle_increment=float(scan.angle_increment),
            range_min=float(scan.range_min),
            range_max=float(scan.range_max),
        )
        message.header.stamp = to_stamp(now)
        message.header.frame_id = self._contract.frames.base
        message.ranges.frombytes(np.ascontiguousarray(scan.ranges, dtype=np.float32).tobytes())
        self._out["scan"].publish(message)

    def _people(self, now: float) -> None:
        message = PoseArray()
        message.header.stamp, message.header.frame_id = to_stamp(now), self._contract.frames.map
        for x, y in self.sim.people():
            pose = Pose()
            pose.position.x, pose.position.y = x, y
            message.poses.append(pose)
        self._out["people"].publish(message)

    def _contact(self, now: float) -> None:
        self._out["contact"].publish(Bool(data=bool(self.sim.contact())))

    def _truth(self, now: float) -> None:
        truth = self.sim.truth()
        message = self._odometry(now, self._contract.frames.map, truth.x, truth.y, truth.yaw, truth.v, truth.w)
        self._truth_out.publish(message)
        values = {
            "episode_time": f"{truth.time:.3f}",
            "contact": str(truth.contact).lower(),
            "contact_steps": str(truth.contact_steps),
            "contact_count": str(truth.contact_count),
            "person_contact_steps": str(truth.person_contact_steps),
        }
        self._score_out.publish(diagnostics(message.header.stamp, "sim/score", values))

    def _odometry(self, now: float, frame: str, x: float, y: float, yaw: float, v: float, w: float) -> Odometry:
        message = Odometry()
        message.header.stamp = to_stamp(now)
        message.header.frame_id = frame
        message.child_frame_id = self._contract.frames.base
        message.pose.pose.position.x, message.pose.pose.position.y = float(x), float(y)
        set_yaw(message.pose.pose.orientation, yaw)
        message.twist.twist.linear.x, message.twist.twist.angular.z = float(v), float(w)
        return message
