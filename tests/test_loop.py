# SPDX-License-Identifier: Apache-2.0
"""The ROS-free loop: its timing is the one that everything else relies on."""

import math

import numpy as np
import pytest

from benchmarks.rigs.gate.rig import contract_of
from jepa_ros.agent.loop import Loop
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.safety.inputs import ContactIn, JointsIn, OdomIn, PoseIn, ScanIn
from jepa_ros.worlds import Decision, Observation


class PointRobot:
    """A scene whose robot does at once what it is told, with perfect sensors; it writes down every command."""

    rates = {"odom": 25.0, "pose": 10.0, "contact": 20.0, "scan": 10.0}  # noqa: RUF012
    over = False

    def __init__(self, contract=None):
        self.contract = contract or load_contract("arena")
        self.time, self.at, self.v = 0.0, [0.0, 0.0, 0.0], np.zeros(2)
        self.log = []
        self.images = 0

    def command(self, values):
        self.v = np.array(values)
        self.log.append((round(self.time, 6), *values))

    def advance(self, seconds):
        self.time += seconds
        self.at[0] += self.v[0] * math.cos(self.at[2]) * seconds
        self.at[2] += self.v[1] * seconds

    def image(self):
        self.images += 1
        return np.full((128, 128, 3), self.images % 251, np.uint8)

    def ranges(self):
        return np.full(60, np.inf)

    def observe(self, names):
        now, frames = self.time, self.contract.frames
        read = {
            "odom": lambda: OdomIn(now, now, *self.at, self.v, frames.odom),
            "pose": lambda: PoseIn(now, now, *self.at, np.diag([1e-4, 1e-4, 1e-4]), frames.map),
            "contact": lambda: ContactIn(now, now, False),
            "scan": lambda: ScanIn(now, now, -math.pi, math.tau / 60, self.ranges(), 0.05, 3.0, frames.base),
        }
        images = {"image": self.image()} if "image" in names else {}
        return Observation(now, images, {name: read[name]() for name in names if name != "image"})


class Constant:
    def __init__(self, command):
        self.command = np.array(command)
        self.seen = []

    def act(self, observation):
        self.seen.append(observation)
        return Decision(self.command)


@pytest.fixture
def contract():
    return load_contract("arena")


def test_a_command_takes_effect_the_actuation_latency_after_its_image(contract):
    robot, policy = PointRobot(), Constant([0.05, 0.0])
    loop = Loop(robot, policy)
    loop.step()
    begin = policy.seen[0].stamp
    moving = [t for t, v, _ in robot.log if v > 0]
    assert moving[0] == pytest.approx(begin + contract.actuation_latency, abs=1e-6)


def test_the_executed_action_is_the_mean_of_what_the_gate_let_through(contract):
    robot, policy = PointRobot(), Constant([0.05, 0.3])
    loop = Loop(robot, policy)
    record = loop.step()
    begin = policy.seen[0].stamp
    sent = np.array([row[1:] for row in robot.log if row[0] >= begin - 1e-9])
    assert len(sent) == round(contract.gate_rate / contract.rate)
    np.testing.assert_allclose(record.executed, sent.mean(axis=0))
    share = contract.actuation_latency * contract.rate
    np.testing.assert_allclose(record.executed, (1 - share) * np.array([0.05, 0.3]), atol=1e-9)
    assert loop.step().executed == pytest.approx([0.05, 0.3])


def test_the_policy_sees_what_was_executed_in_the_step_before(contract):
    policy = Constant([0.05, 0.0])
    loop = Loop(PointRobot(), policy)
    records = [loop.step() for _ in range(4)]
    assert policy.seen[0].executed is None
    for before, now in zip(records, policy.seen[1:], strict=False):
        np.testing.assert_array_equal(now.executed, before.executed)
    np.testing.assert_allclose(np.diff([o.stamp for o in policy.seen]), contract.period)


def test_a_command_that_is_not_finite_does_not_reach_the_robot(contract):
    robot = PointRobot()
    loop = Loop(robot, Constant([math.nan, 0.0]))
    record = loop.step()
    assert np.isfinite([row[1:] for row in robot.log]).all()
    np.testing.assert_array_equal(record.executed, 0.0)
    assert "STOPPED" in record.modes


def test_the_gate_sees_every_picture_of_the_camera_where_it_is_asked_to(contract):
    taken = {}
    for camera in (False, True):
        robot = PointRobot()
        loop = Loop(robot, Constant([0.0, 0.0]), camera=camera)
        before = robot.images
        for _ in range(5):
            loop.step()
        taken[camera] = robot.images - before
    seconds = 5 / contract.rate
    assert taken == {False: 5, True: round(seconds * contract.cameras[0].rate)}


def test_a_camera_that_froze_stops_a_moving_robot(contract):
    robot = PointRobot()
    loop = Loop(robot, Constant([0.2, 0.0]))
    loop.step()
    robot.image = lambda: np.zeros((128, 128, 3), np.uint8)
    records = [loop.step() for _ in range(10)]
    assert records[-1].modes[-1] == "STOPPED"
    np.testing.assert_array_equal(records[-1].executed, 0.0)


def test_an_obstacle_in_the_scan_stops_the_robot_before_it(contract):
    class Wall(PointRobot):
        def ranges(self):
            angles = -math.pi + math.tau / 60 * np.arange(60)
            gap = 1.0 - self.at[0]
            with np.errstate(divide="ignore"):
                return np.where(np.cos(angles) > 0.05, gap / np.cos(angles), np.inf)

    robot = Wall()
    loop = Loop(robot, Constant([0.4, 0.0]))
    for _ in range(40):
        loop.step()
    assert 0.6 < robot.at[0] < 1.0 - contract.footprint.radius


def test_steps_begin_on_the_contracts_grid_where_the_gates_ticks_are_no_whole_number_of_it():
    data = load_contract("arena").to_dict()
    data["rate"] = 3.0
    contract = RobotContract.from_dict(data)
    policy = Constant([0.05, 0.0])
    loop = Loop(PointRobot(contract), policy)
    for _ in range(31):
        loop.step()
    begun = np.array([o.stamp for o in policy.seen]) - policy.seen[0].stamp
    np.testing.assert_allclose(begun, np.arange(31) / 3.0, atol=0.5 / contract.gate_rate + 1e-9)


def test_a_scene_without_a_gate_takes_commands_within_the_contracts_range(contract):
    robot = PointRobot(contract)
    record = Loop(robot, Constant([9.0, -0.5]), gated=False, look=False).step()
    assert record.executed == pytest.approx([contract.action_high[0], -0.5]) and robot.images == 0
    assert record.modes == ("",) and robot.time == pytest.approx(contract.period)


class PointArm(PointRobot):
    """Two joints that are at once where they are told to be; it has no pose and no odometry."""

    rates = {"joint_states": 50.0}  # noqa: RUF012

    def __init__(self, contract):
        super().__init__(contract)
        self.q, self.rate = np.array([0.4, -0.3]), np.zeros(2)

    def command(self, values):
        self.rate, self.q = (np.array(values) - self.q) / 0.02, np.array(values)
        self.log.append((round(self.time, 6), *values))

    def advance(self, seconds):
        self.time += seconds

    def observe(self, names):
        now = self.time
        images = {"image": self.image()} if "image" in names else {}
        joints = JointsIn(now, now, self.contract.command.joints, list(self.q), list(self.rate))
        return Observation(now, images, {"joint_states": joints} if "joint_states" in names else {})


def test_an_arm_is_driven_by_its_joint_states_and_stands_where_it_stood_until_it_is_asked_to_move() -> None:
    contract = contract_of("arm", watchdog={"rearm_time": 0.3})
    robot, policy = PointArm(contract), Constant([0.9, 0.5])
    loop = Loop(robot, policy)
    assert {entry[1:] for entry in robot.log} == {(0.4, -0.3)}
    records = [loop.step() for _ in range(20)]
    assert robot.q.tolist() == pytest.approx([0.9, 0.5]) and records[-1].modes[-1] == "ACTIVE"
    seen = records[0].observation
    assert set(seen.state) == {"joint_states"} and seen.gated.tolist() == [0.4, -0.3]
    policy.act = lambda seen: Decision(contract.neutral())
    records = [loop.step() for _ in range(10)]
    assert robot.q.tolist() == pytest.approx([0.9, 0.5]) and records[-1].modes[-1] == "ACTIVE"
