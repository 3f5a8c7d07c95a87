# SPDX-License-Identifier: Apache-2.0
"""ros2_control's follow_joint_trajectory, with its real type: followed, cancelled, refused, ended by a stop."""

from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("pinocchio")
pytest.importorskip("pybullet_data")

import ros_types
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from ros_harness import Child, Probe, ask
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from benchmarks.rigs.gate.arm_scenarios import posture
from benchmarks.rigs.gate.arms import FINGER, PANDA_JOINTS, panda
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import to_stamp

NAMES = [*PANDA_JOINTS, FINGER]
SPACE = "/following"
SUCCEEDED, CANCELED, ABORTED = 4, 5, 6
#: Largest motion of a joint between two joint states: what a gate lets through.
STEP = 0.03


@pytest.fixture(scope="module")
def types():
    """An environment in which control_msgs can be imported."""
    with ros_types.installed("control_msgs", ros_types.FOLLOW):
        yield


class Arm:
    """Stands in for gate and arm: it goes where it is told, some way at a time, and tells where it is."""

    def __init__(self) -> None:
        self.at, self.mode, self.told = posture(), "ACTIVE", 0
        self.probe = Probe(SPACE)
        self.probe.listen(JointTrajectory, "command_teleop", qos.COMMAND)
        make = self.probe.node.create_publisher
        self._states = make(JointState, "joint_states", qos.STATE)
        self._gate = make(DiagnosticArray, "safety_gate/state", qos.LATCHED)
        self.probe.each_spin.append(self._live)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _live(self) -> None:
        message = self.probe.last("command_teleop")
        if message is not None and message.points and self.mode == "ACTIVE":
            wanted = dict(zip(message.joint_names, message.points[0].positions, strict=True))
            self.at = [q + max(-STEP, min(STEP, wanted[n] - q)) for n, q in zip(NAMES, self.at, strict=True)]
        state = JointState(name=NAMES, position=self.at)
        state.header.stamp = to_stamp(time.time())
        self._states.publish(state)
        values = [KeyValue(key="mode", value=self.mode), KeyValue(key="reason", value="operator")]
        self._gate.publish(DiagnosticArray(status=[DiagnosticStatus(values=values)]))

    def _play(self) -> None:
        while not self._ended.is_set():
            self.probe.spin(0.05)

    def close(self) -> None:
        self._ended.set()
        self._thread.join(5.0)
        self.probe.close()


@pytest.fixture(scope="module")
def arm(types, tmp_path_factory):
    file = tmp_path_factory.mktemp("follow") / "arm.yaml"
    file.write_text(yaml.safe_dump(panda()))
    found = Arm()
    server = Child("-m", "jepa_ros.nodes.follow", "--ros-args", "-r", f"__ns:={SPACE}", "-p", f"robot:={file}")
    try:
        end = time.monotonic() + 120.0  # until the two have found each other
        while "the joints are not measured" in (text := move(NAMES[0], found.at[0], 0.1)):
            assert time.monotonic() < end, text
        yield found
    finally:
        server.end()
        found.close()


def move(*words) -> str:
    """What a client that asks for a trajectory is told."""
    return ask("tests/follow_client.py", *words, "--ros-args", "-r", f"__ns:={SPACE}")


def test_without_the_types_the_node_says_what_to_install():
    node = Child("-m", "jepa_ros.nodes.follow", "--ros-args", "-p", "robot:=panda")
    assert node.wait(60) == 2
    assert "the ROS package control_msgs is not installed: apt install ros-" in node.text


def test_a_trajectory_is_followed_with_feedback_and_the_arm_told_to_stand_still(arm):
    text = move(NAMES[0], 0.4, 1.0)
    assert f"status {SUCCEEDED} code 0" in text, text
    assert arm.at[0] == pytest.approx(0.4, abs=0.012) and arm.at[1:] == pytest.approx(posture()[1:], abs=1e-3)
    assert int(text.split("feedback")[1].split()[0]) > 3
    assert not arm.probe.last("command_teleop").points


def test_one_that_is_cancelled_ends_as_cancelled_on_its_way(arm):
    text = move(NAMES[0], -0.8, 6.0, "cancel")
    assert f"status {CANCELED} code 0" in text, text
    assert arm.at[0] > -0.7


def test_joints_that_the_arm_has_not_are_named(arm):
    text = move("elbow", 0.1, 1.0)
    assert f"status {ABORTED} code -2" in text and "joints elbow: expected some of" in text, text


def test_a_latched_stop_ends_it_and_says_why(arm):
    arm.mode = "ESTOP"
    text = move(NAMES[0], 0.2, 1.0)
    arm.mode = "ACTIVE"
    assert f"status {ABORTED} code -4" in text and "the gate is in ESTOP: operator" in text, text
