# SPDX-License-Identifier: Apache-2.0
"""The jog node: twists and joint rates in, joint commands out, "stand still" when they end."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("pinocchio")
pytest.importorskip("pybullet_data")

import yaml
from geometry_msgs.msg import TwistStamped
from ros_harness import Child, Probe
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from benchmarks.rigs.gate.arm_scenarios import posture
from benchmarks.rigs.gate.arms import FINGER, PANDA_JOINTS, panda
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import to_stamp

NAMES = [*PANDA_JOINTS, FINGER]


def test_an_operator_jogs_by_twists_and_by_joints_and_lets_go(tmp_path) -> None:
    file = tmp_path / "arm.yaml"
    file.write_text(yaml.safe_dump(panda()))
    probe = Probe("/jogging")
    probe.listen(JointTrajectory, "command_teleop", qos.COMMAND)
    states = probe.node.create_publisher(JointState, "joint_states", qos.STATE)
    twists = probe.node.create_publisher(TwistStamped, "jog/delta_twist_cmds", qos.COMMAND)
    joints = probe.node.create_publisher(JointTrajectory, "jog/delta_joint_cmds", qos.COMMAND)
    asked = {"what": ""}

    def feed() -> None:
        state = JointState(name=NAMES, position=posture())
        state.header.stamp = to_stamp(time.time())
        states.publish(state)
        if asked["what"] == "twist":
            twist = TwistStamped()
            twist.twist.linear.x = 0.1
            twists.publish(twist)
        elif asked["what"] == "joint":
            joints.publish(JointTrajectory(joint_names=[NAMES[0]], points=[JointTrajectoryPoint(velocities=[0.3])]))

    probe.each_spin.append(feed)
    node = Child("-m", "jepa_ros.nodes.jog", "--ros-args", "-r", "__ns:=/jogging", "-p", f"robot:={file}",
                 "-p", "timeout:=0.5")  # fmt: skip

    def last() -> list[float] | None:
        message = probe.last("command_teleop")
        return None if message is None else [] if not message.points else list(message.points[0].positions)

    try:
        for what, moves in (("twist", 3), ("joint", 0)):
            asked["what"] = what
            probe.until(lambda k=moves: last() and abs(last()[k] - posture()[k]) > 1e-4, f"a jog by {what}")
            asked["what"] = ""
            probe.until(lambda: last() == [], "to stand still")
    finally:
        node.end()
        probe.close()
