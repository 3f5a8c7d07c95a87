# SPDX-License-Identifier: Apache-2.0
"""Nav2's navigate_to_pose, with its real type: a goal is reached, cancelled, refused, taken over, and never hangs."""

from __future__ import annotations

import pytest
import ros_types
from ros_harness import Child, ask

from jepa_ros.bringup.stack import Stack
from jepa_ros_sim.arena.reach import make_spec

SPEC = make_spec(0, 0, "fixed", False)
SUCCEEDED, CANCELED, ABORTED = 4, 5, 6


@pytest.fixture(scope="module")
def types():
    """An environment in which nav2_msgs can be imported."""
    with ros_types.installed("nav2_msgs", ros_types.NAVIGATE):
        yield


@pytest.fixture(scope="module")
def stack(types):
    start = ",".join(map(str, SPEC.start))
    with Stack("sim", {"start": start, "real_time_factor": "0.5", "composed": "true"}) as running:
        running.wait_ready()
        server = Child("-m", "jepa_ros.nodes.navigate")
        try:
            yield running
        finally:
            server.end()


def go(*words) -> str:
    """What a client that asks for a goal is told."""
    return ask("tests/navigate_client.py", *words)


def test_without_the_types_the_node_says_what_to_install():
    node = Child("-m", "jepa_ros.nodes.navigate")
    assert node.wait(60) == 2
    assert "the ROS package nav2_msgs is not installed: apt install ros-" in node.text


def test_a_goal_in_another_frame_is_rejected(stack):
    assert "rejected" in go(*SPEC.goal, "odom")


def test_a_goal_that_is_cancelled_ends_as_cancelled(stack):
    text = go(*SPEC.goal, "map", "cancel")
    assert f"status {CANCELED} code 0" in text, text


def test_a_goal_is_reached_with_feedback_on_the_way(stack):
    text = go(*SPEC.goal, "map")
    assert f"status {SUCCEEDED} code 0" in text, text
    told = text.split("feedback")[1].split()
    assert int(told[0]) > 5 and float(told[2].strip("[]")) > 0.3 > float(told[4].strip("[]"))


def test_a_planner_that_is_gone_ends_the_goal(types):
    alone = ("--ros-args", "-r", "__ns:=/alone")
    server = Child("-m", "jepa_ros.nodes.navigate", *alone)
    try:
        text = go(0.0, 0.0, 0.0, "map", *alone)
    finally:
        server.end()
    assert f"status {ABORTED} code 9003" in text and "silent" in text, text
