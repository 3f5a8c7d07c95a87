# SPDX-License-Identifier: Apache-2.0
"""The gate's node before an arm: drivers as they are, and a controller that takes trajectories with positions only."""

from __future__ import annotations

import math
import time

import pytest
import yaml
from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticArray
from ros_harness import Child, Probe
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from benchmarks.rigs.gate.rig import contract_of
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import to_stamp

STATE, OUT = "safety_gate/state", "arm/joint_trajectory"
JOINTS = ("shoulder", "elbow")


class Arm:
    """Two joints that follow the first point of what they are told, and a gripper with a driver of its own."""

    def __init__(self, folder, rates: bool) -> None:
        contract = contract_of("joints" if rates else "arm").to_dict()
        contract["watchdog"] |= {"estop_required": False, "bad_command_latch": 1000, "resume_latch_count": 1000}
        file = folder / "arm.yaml"
        file.write_text(yaml.safe_dump(contract))
        space = "/rates" if rates else "/positions"
        self.probe = Probe(space)
        self.q, self.command = [0.3, -0.2], (0.2, -0.1) if rates else (0.4, -0.1)
        self.rates, self.names, self.spoil = rates, JOINTS, None
        self.probe.listen(DiagnosticArray, STATE, qos.LATCHED)
        self.probe.listen(JointTrajectory, OUT, qos.COMMAND)
        node = self.probe.node
        self.states = node.create_publisher(JointState, "joint_states", qos.STATE)
        self.gripper = node.create_publisher(JointState, "joint_states", qos.STATE)
        self.teleop = node.create_publisher(JointTrajectory, "command_teleop", qos.COMMAND)
        self._next = 0.0
        self.probe.each_spin.append(self.feed)
        words = ("-p", f"robot:={file}", "-p", "auto_enable:=true")
        self.gate = Child("-m", "jepa_ros.nodes.safety_gate", "--ros-args", "-r", f"__ns:={space}", *words)

    def feed(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + 0.02
        told = self.probe.last(OUT)
        if told is not None:
            self.q = list(told.points[0].positions)
        stamp = to_stamp(time.time())
        arm = JointState(name=list(reversed(JOINTS)), position=list(reversed(self.q)))
        hand = JointState(name=["finger"], position=[0.1], velocity=[math.nan])
        arm.header.stamp = hand.header.stamp = stamp
        self.states.publish(arm)
        self.gripper.publish(hand)
        self.teleop.publish(self.make(stamp))

    def make(self, stamp) -> JointTrajectory:
        order = dict(zip(JOINTS, self.command, strict=True))
        point = JointTrajectoryPoint(time_from_start=Duration(nanosec=100_000_000))
        values = [order[name] for name in self.names]
        point.velocities, point.positions = (values, []) if self.rates else ([], values)
        message = JointTrajectory(joint_names=list(self.names), points=[point])
        message.header.stamp = stamp
        if self.spoil is not None:
            self.spoil(message)
        return message

    @property
    def state(self) -> dict[str, str]:
        return self.probe.values(STATE)

    def close(self) -> None:
        self.gate.end()
        self.probe.close()


@pytest.fixture(scope="module", params=[False, True], ids=["positions", "rates"])
def arm(request, tmp_path_factory):
    made = Arm(tmp_path_factory.mktemp("arm"), request.param)
    try:
        made.probe.until(lambda: made.state.get("mode") in ("ACTIVE", "LIMITED"), "an arm that moves")
        yield made
    finally:
        made.close()


def test_an_arm_with_a_gripper_beside_it_and_joints_in_any_order_moves(arm):
    kept = arm.probe.received[STATE]
    arm.names = tuple(reversed(JOINTS))
    try:
        for _ in range(5):  # on a busy machine this test may be late with what it tells the gate
            before = len(kept)
            arm.probe.spin(1.5)
            modes = {p.value for _, m in kept[before:] for p in m.status[0].values if p.key == "mode"}
            if modes and modes <= {"ACTIVE", "LIMITED"}:
                break
    finally:
        arm.names = JOINTS
    assert modes and modes <= {"ACTIVE", "LIMITED"}, arm.probe.last(STATE).status[0].message


def test_what_leaves_is_what_a_trajectory_controller_takes(arm):
    """As it is set up by default: positions in every point, rising times, and no motion left at the end."""
    for _, message in arm.probe.received[OUT]:
        times = [p.time_from_start.sec + p.time_from_start.nanosec * 1e-9 for p in message.points]
        assert message.points and times[0] > 0.0 and times == sorted(set(times))
        assert all(len(p.positions) == 2 for p in message.points)
        assert not any(message.points[-1].velocities)


def not_finite(m):
    m.points[0].effort = [math.inf, 0.0]


def late(m):
    m.points[0].time_from_start.sec = 10


def second(m):
    again = JointTrajectoryPoint(positions=[math.nan] * 2, velocities=[math.nan] * 2)
    m.points.append(again)
    m.points[0].velocities = m.points[0].velocities or [0.0, 0.0]
    m.points[0].positions = m.points[0].positions or [0.0, 0.0]
    again.time_from_start.nanosec = 200_000_000


@pytest.mark.parametrize(
    ("spoil", "reason"), [(not_finite, "command_not_finite"), (late, "command_shape"), (second, "command_not_finite")]
)
def test_a_trajectory_that_is_no_sound_command_for_now_stops_it(arm, spoil, reason):
    arm.spoil = spoil
    try:
        arm.probe.until(lambda: arm.state.get("reason") == reason, reason)
    finally:
        arm.spoil = None
    arm.probe.until(lambda: arm.state.get("mode") in ("ACTIVE", "LIMITED"), "an arm that moves again")
