# SPDX-License-Identifier: Apache-2.0
"""Where a base is as a step begins: the newest odometry by then, unless it is old, wrong or out of order."""

import math

import pytest

from jepa_ros.agent.odometry import Odometry, farthest
from jepa_ros.contract import load_contract
from jepa_ros.safety.inputs import OdomIn

ROVER = load_contract("rover")  # its odometry may be 0.3 s old


def told(*rows):
    found = Odometry(ROVER)
    for stamp, x, *fault in rows:
        found.take(OdomIn(stamp, stamp, x, 0.0, 0.0, (0.0, 0.0), "odom", *fault))
    return found


def test_the_newest_by_the_stamp_counts_unless_it_is_old():
    found = told((1.0, 0.1), (1.1, 0.2), (1.2, 0.3))
    assert found.at(1.15) == (0.2, 0.0, 0.0) and found.at(1.2) == (0.3, 0.0, 0.0)
    assert found.at(1.49) == (0.3, 0.0, 0.0) and found.at(1.51) is None and found.at(0.9) is None


def test_what_is_wrong_or_late_is_passed_over_and_a_jump_of_time_begins_anew():
    found = told((1.0, 0.1), (1.1, math.nan), (1.2, 0.3, "is no rotation"), (0.9, 0.0))
    assert found.at(1.2) == (0.1, 0.0, 0.0)
    found = told((100.0, 7.0), (1.0, 0.1))
    assert found.at(1.0) == (0.1, 0.0, 0.0) and found.at(100.0) is None


def test_a_robot_without_odometry_has_none():
    assert Odometry(load_contract("panda")).at(1.0) is None


def test_a_base_that_is_seen_from_elsewhere_is_told_nothing_of_its_odometry():
    arena = load_contract("arena")
    found = Odometry(arena)
    found.take(OdomIn(1.0, 1.0, 0.1, 0.0, 0.0, (0.0, 0.0), "odom"))
    assert "odom" in arena.state and found.topic is None and found.at(1.0) is None
    assert Odometry(ROVER).topic is ROVER.state["odom"]


def test_how_far_a_base_can_have_come_is_said_by_its_limits_and_by_nobody_where_it_has_none():
    way, turn = farthest(ROVER, 0.5)
    speed, rate = ROVER.limits.velocity
    assert way == pytest.approx(0.6 * speed + 0.15) and turn == pytest.approx(0.6 * rate + 0.5)
    assert farthest(load_contract("panda"), 0.5)[0] == math.inf, "its joints are no metres"
