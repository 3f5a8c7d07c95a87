# SPDX-License-Identifier: Apache-2.0
"""Messages about joints: which trajectory is a command for now, whose measurements count, and rates as a trajectory."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace as Message

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepa_ros.messages.joints import JointStates, read_trajectory
from jepa_ros.messages.rotation import rotation_fault
from jepa_ros.nodes.rate_points import RatePoints

JOINTS = ("shoulder", "elbow")
FIELDS = ("positions", "velocities", "accelerations", "effort")


def point(due=0.1, **fields):
    whole, fraction = divmod(due, 1.0)
    duration = Message(sec=int(whole), nanosec=int(fraction * 1e9))
    return Message(time_from_start=duration, **{name: fields.get(name, []) for name in FIELDS})


def trajectory(*points, names=JOINTS):
    return Message(joint_names=list(names), points=list(points))


def read(message, positions=True):
    return read_trajectory(message, JOINTS, positions=positions, horizon=0.5)


GOOD = point(positions=[0.4, -0.1])


def test_joints_in_another_order_are_put_right():
    found = read(trajectory(point(positions=[-0.1, 0.4]), names=("elbow", "shoulder")))
    assert (found.values, found.names, found.fault) == ([0.4, -0.1], JOINTS, "")


def test_a_trajectory_without_a_point_says_stand_still():
    command = read(trajectory())
    assert command.still and not command.fault and command.names == JOINTS
    assert not read(trajectory(names=("shoulder",))).still, "it has to name the robot's joints all the same"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (trajectory(point(positions=[0.4]), names=("shoulder",)), "lacks joint 'elbow'"),
        (trajectory(GOOD, names=("shoulder", "shoulder")), "joint 'shoulder' twice"),
        (trajectory(point(positions=[0.4, -0.1, 0.0]), names=(*JOINTS, "gripper")), "names joint 'gripper'"),
        (trajectory(point(velocities=[0.1, 0.1])), "0 positions, expected 2"),
        (trajectory(point(positions=[0.4, -0.1], effort=[1.0])), "1 effort, expected 2"),
        (trajectory(point(10.0, positions=[0.4, -0.1])), "due in 10.00 s"),
        (trajectory(GOOD, point(11.0, positions=[0.5, -0.2])), "due in 11.00 s"),
        (trajectory(point(-5.0, positions=[0.4, -0.1])), "due 5.00 s before"),
        (trajectory(GOOD, GOOD), "not after the point before it"),
        (trajectory(*[GOOD] * 101), "101 points"),
    ],
)  # fmt: skip
def test_what_is_no_command_for_now_is_refused_with_the_reason(message, said):
    assert said in read(message).fault


@pytest.mark.parametrize(
    "points",
    [
        [point(positions=[0.4, -0.1], velocities=[math.nan, 0.0])],
        [point(positions=[0.4, -0.1], effort=[math.inf, 0.0])],
        [GOOD, point(0.2, positions=[math.nan, math.nan])],
        [point(positions=[math.nan, 0.0]), point(0.2, positions=[0.4, -0.1])],
    ],
)
def test_a_number_that_is_not_finite_anywhere_in_a_command_shows_in_all_of_it(points):
    found = read(trajectory(*points))
    assert not found.fault and all(map(math.isnan, found.values))


def test_of_a_short_window_of_points_the_newest_is_the_command():
    window = trajectory(point(0.0, positions=[0.0, 0.0]), point(0.1, positions=[0.1, 0.2]))
    assert read(window).values == [0.1, 0.2]
    rates = trajectory(point(velocities=[0.3, -0.3]))
    assert read(rates, positions=False).values == [0.3, -0.3]


NAMES = st.lists(st.sampled_from([*JOINTS, "gripper", ""]), max_size=4)
NUMBERS = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=3)


@given(NAMES, st.lists(st.builds(point, st.floats(-20.0, 20.0), positions=NUMBERS, effort=NUMBERS), max_size=3))
def test_a_trajectory_of_any_shape_is_a_command_for_every_joint_or_refused(names, points):
    found = read(trajectory(*points, names=names))
    whole = [math.isfinite(v) for v in found.values]
    told = len(whole) == 2 and found.names == JOINTS and (all(whole) or not any(whole))
    assert found.fault or found.still or told


@given(st.lists(st.tuples(NAMES, NUMBERS, NUMBERS), max_size=5))
def test_measurements_of_any_shape_are_the_robots_joints_or_as_they_came(messages):
    joints = JointStates(JOINTS)
    for k, (names, position, velocity) in enumerate(messages):
        found = joints.take(state(names, position, velocity), float(k), float(k))
        assert (found is None) == (not set(names) & set(JOINTS))
        assert found is None or found.stamp <= k


# ---------------------------------------------------------------- measured joints


def state(names, position, velocity=()):
    return Message(name=list(names), position=list(position), velocity=list(velocity))


def test_a_message_that_names_none_of_the_robots_joints_is_not_its_business():
    joints = JointStates(JOINTS)
    assert joints.take(state(["gripper"], [0.1]), 1.0, 1.0) is None
    assert joints.take(state(["gripper"], []), 1.0, 1.0) is None
    assert joints.take(state(["elbow", "shoulder"], [-0.2, 0.3], [0.0, 0.1]), 2.0, 2.0).position == (0.3, -0.2)
    assert joints.take(state(["gripper"], [0.1]), 3.0, 3.0) is None


def test_joints_of_two_drivers_are_put_together_and_are_as_old_as_the_older():
    joints = JointStates(JOINTS)
    alone = joints.take(state(["shoulder"], [0.3], [0.1]), 1.0, 11.0)
    assert alone.names == ("shoulder",)
    both = joints.take(state(["elbow", "gripper"], [-0.2, 9.0], [0.2, math.nan]), 2.0, 12.0)
    assert (both.names, both.position, both.velocity) == (JOINTS, (0.3, -0.2), (0.1, 0.2))
    assert (both.stamp, both.received) == (1.0, 11.0)
    assert joints.take(state(["shoulder"], [0.4]), 3.0, 13.0).velocity == ()  # one of them tells no rates


def test_a_quaternion_of_zeros_is_named_as_that():
    assert rotation_fault(Message(x=0.0, y=0.0, z=0.0, w=1.0)) == ""
    assert "quaternion of zeros" in rotation_fault(Message(x=0.0, y=0.0, z=0.0, w=0.0))
    assert "not finite" in rotation_fault(Message(x=math.nan, y=0.0, z=0.0, w=1.0))
    assert "length 3" in rotation_fault(Message(x=0.0, y=0.0, z=0.0, w=3.0))


# ---------------------------------------------------------------- rates as a trajectory

TICK = 0.02


def rate_points():
    limit = np.array([1.0, 1.0])
    return RatePoints(limit, 4.0 * limit, -1.5 * limit, 1.5 * limit, TICK, 0.06)


class Follower:
    """A joint_trajectory_controller as it is set up by default, on an arm that follows with a lag."""

    def __init__(self, q):
        self.q = np.array(q)

    def take(self, points):
        assert points and all(len(p.positions) == 2 for p in points), "positions are needed"
        assert not np.any(points[-1].velocities), "the last point may not move"
        assert all(a.due < b.due for a, b in itertools.pairwise(points)) and points[0].due > 0.0
        self.q = self.q + (points[0].positions - self.q) * TICK / points[0].due


@given(st.lists(st.tuples(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0)), min_size=1, max_size=60))
def test_a_trajectory_controller_can_take_whatever_rates_leave(rates):
    points, arm = rate_points(), Follower([1.4, 0.0])
    for rate in rates:
        arm.take(points.points(np.array(rate), arm.q, held=False))
        assert np.all(np.abs(arm.q) <= 1.5 + 1e-9)


def test_rates_move_the_arm_as_fast_as_they_say_and_a_stop_holds_it_where_it_is():
    points, arm = rate_points(), Follower([0.0, 0.0])
    for _ in range(50):
        arm.take(points.points(np.array([0.5, 0.0]), arm.q, held=False))
    assert arm.q[0] == pytest.approx(0.5, abs=0.06)
    stopped = arm.q.copy()
    for _ in range(50):
        before = arm.q.copy()
        arm.take(points.points(np.zeros(2), arm.q, held=False))
        assert arm.q[0] >= before[0] - 1e-9  # a stop does not go back
    held = arm.q.copy()
    assert held[0] == pytest.approx(stopped[0], abs=0.06)
    for _ in range(500):  # an arm that hangs a little below its set-point does not creep down
        arm.take(points.points(np.zeros(2), arm.q - 0.01, held=False))
    assert arm.q == pytest.approx(held, abs=0.011)


def test_an_arm_that_was_moved_by_hand_is_not_sent_back():
    points, here = rate_points(), np.array([0.2, 0.0])
    points.points(np.zeros(2), here, held=True)
    for _ in range(30):
        told = points.points(np.zeros(2), here + 0.1, held=True)
    assert told[0].positions == pytest.approx(here + 0.1)


def test_a_joint_that_is_not_measured_is_told_nothing():
    assert rate_points().points(np.zeros(2), None, held=True) == []
