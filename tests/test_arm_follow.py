# SPDX-License-Identifier: Apache-2.0
"""An arm that follows a trajectory through the real gate: on its way, held back, blocked, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pinocchio")
pytest.importorskip("pybullet_data")

from benchmarks.rigs.gate.arm_scenarios import posture
from benchmarks.rigs.gate.arms import FINGER, PANDA_JOINTS, panda
from benchmarks.rigs.gate.rig import Rig
from jepa_ros.arm import ArmError
from jepa_ros.arm.follow import AHEAD, Follower, JointsError, Trajectory
from jepa_ros.contract import RobotContract
from jepa_ros.safety import CommandIn

NAMES = [*PANDA_JOINTS, FINGER]
START = np.array(posture())
BEND = START + np.array([0.3, 0.1, -0.2, 0.1, 0.0, 0.1, 0.2, 0.0])


class Followed:
    """A gate that hears a follower as teleoperation at every tick, and an arm that does what leaves."""

    def __init__(self, values: str = "position", patience: float = 5.0) -> None:
        self.contract = RobotContract.from_dict(panda(values=values), "bench")
        self.rig = Rig(contract=self.contract)
        self.rig.robot.q = posture()
        self.rig.arm(posture() if values == "position" else [0.0] * 8)
        self.follower = Follower(self.contract, patience)
        self.way: list[np.ndarray] = []

    def at(self) -> np.ndarray:
        return np.array(self.rig.robot.q)

    def take(self, times, positions, velocities=(), **more) -> None:
        self.follower.take(NAMES, times, positions, velocities, self.at(), **more)

    def run(self, seconds: float, blocked: bool = False) -> str:
        rig, period = self.rig, self.rig.cfg.period
        for _ in range(round(seconds / period)):
            command, ended = self.follower.command(self.at(), period)
            rig._sequence += 1
            values = [] if command is None else command.tolist()
            rig.newest["teleop"] = CommandIn(values, rig.ros, rig.steady, rig._sequence, still=command is None)
            held = self.at()
            rig.tick()
            if blocked:
                rig.robot.q = held.tolist()
            self.way.append(self.at())
            if ended:
                return ended
        return ""


@pytest.mark.parametrize("values", ["position", "velocity"])
def test_the_arm_comes_along_the_points_to_the_last_one(values: str) -> None:
    arm, middle = Followed(values), START + 0.5 * (BEND - START) + [0, 0.1, 0, 0, 0, 0, 0, 0]
    arm.take([1.0, 2.0], [middle, BEND])
    assert arm.run(6.0) == "reached"
    assert np.abs(arm.at() - BEND).max() < 0.01
    nearest = min(float(np.abs(at - middle).max()) for at in arm.way)
    assert nearest < 0.02, nearest


def test_a_trajectory_that_is_too_fast_is_followed_along_its_way_as_fast_as_the_gate_lets_it() -> None:
    arm = Followed()
    arm.take([0.05], [BEND])
    assert arm.run(0.3) == "" and arm.run(10.0) == "reached"
    line = (BEND - START) / np.linalg.norm(BEND - START)
    off = max(float(np.linalg.norm((at - START) - line * (line @ (at - START)))) for at in arm.way)
    assert off < 0.03, "it left the line that the points make"


def test_an_arm_that_is_blocked_fails_after_a_while_and_is_told_to_stand_still() -> None:
    arm = Followed(patience=1.0)
    arm.take([1.0], [BEND])
    assert arm.run(5.0, blocked=True) == "path" and arm.follower.desired is None
    assert arm.follower.command(arm.at(), 0.02) == (None, "")


def test_time_stands_still_while_the_arm_is_held_and_goes_on_afterwards() -> None:
    arm = Followed()
    arm.take([1.0], [BEND])
    arm.run(2.0, blocked=True)
    assert np.abs(arm.follower.desired - arm.at()).max() <= AHEAD + 0.02
    assert arm.run(6.0) == "reached"


def test_a_path_tolerance_ends_it_at_once_and_a_goal_that_is_missed_in_the_end() -> None:
    arm = Followed()
    arm.take([1.0], [BEND], path=np.full(8, 0.01))
    assert arm.run(2.0, blocked=True) == "path"
    arm = Followed()
    arm.take([1.0], [START + 0.02 * np.eye(8)[0]], goal=np.full(8, 0.005), late=0.5)
    assert arm.run(3.0, blocked=True) == "goal"


def test_a_tolerance_of_any_distance_is_any_and_one_that_is_not_said_is_the_usual() -> None:
    far = START + 0.08 * np.eye(8)[0]
    for goal, ended in ((np.full(8, np.inf), "reached"), (np.full(8, np.nan), "goal")):
        arm = Followed()
        arm.take([1.0], [far], goal=goal, late=0.5)
        assert arm.run(3.0, blocked=True) == ended


def test_points_with_velocities_are_joined_smoothly() -> None:
    way = Trajectory(np.array([0.0, 1.0]), np.array([[0.0], [1.0]]), np.array([[0.0], [0.0]]))
    assert [way.at(s)[0][0] for s in (0.0, 0.5, 1.0, 2.0)] == [0.0, 0.5, 1.0, 1.0]
    assert way.at(0.25)[0][0] == pytest.approx(0.15625) and way.at(0.5)[1][0] == pytest.approx(1.5)
    for s in (0.1, 0.4, 0.8):
        slope = (way.at(s + 1e-6)[0][0] - way.at(s - 1e-6)[0][0]) / 2e-6
        assert way.at(s)[1][0] == pytest.approx(slope, abs=1e-4)


@pytest.mark.parametrize(
    ("names", "times", "positions", "velocities", "why"),
    [
        (["elbow"], [1.0], [[0.0]], [[]], "expected some of"),
        ([NAMES[0]] * 2, [1.0], [[0.0, 0.0]], [[]], "expected some of"),
        ([], [1.0], [[]], [[]], "joints none"),
        (NAMES[:1], [], [], [], "0 points"),
        (NAMES[:1], [1.0, 1.0], [[0.1], [0.2]], [[], []], "have to grow"),
        (NAMES[:1], [float("nan")], [[0.1]], [[]], "have to grow"),
        (NAMES[:1], [1.0], [[float("inf")]], [[]], "not finite"),
        (NAMES[:1], [1.0], [[0.1, 0.2]], [[]], "has not 1 positions"),
        (NAMES[:1], [1.0], [[9.0]], [[]], "would leave its range"),
        (NAMES[:1], [0.0, 1.0], [[1.5], [1.6]], [[], []], "from where the arm is"),
    ],
)
def test_what_cannot_be_followed_is_refused(names, times, positions, velocities, why) -> None:
    follower = Follower(RobotContract.from_dict(panda(), "bench"))
    with pytest.raises(ArmError, match=why) as refused:
        follower.take(names, times, positions, velocities, START)
    assert follower.desired is None
    assert isinstance(refused.value, JointsError) == (why in ("expected some of", "joints none"))


def test_joints_that_are_not_named_stand() -> None:
    arm = Followed()
    arm.follower.take([NAMES[1]], [1.0], [[BEND[1]]], [[]], arm.at())
    assert arm.run(5.0) == "reached"
    assert np.abs(arm.at() - [*START[:1], BEND[1], *START[2:]]).max() < 0.01
