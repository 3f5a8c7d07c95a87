# SPDX-License-Identifier: Apache-2.0
"""What `jepa-ros doctor` finds: first by its rules alone, then in a graph that really runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from jepa_ros.commands import doctor
from jepa_ros.commands.doctor import ERROR, OK, WARNING, Expected, Seen, judge, judge_gate
from jepa_ros.contract import load_contract

IMAGE = Expected("image", "sensor_msgs/msg/Image", 10.0)
HEALTHY = Seen(types=("sensor_msgs/msg/Image",), publishers=("/camera",), messages=30, rate=10.0)


def levels(findings: list[doctor.Finding]) -> list[str]:
    return [finding.level for finding in findings]


def test_a_healthy_topic_is_ok():
    assert levels(judge(IMAGE, HEALTHY)) == [OK]


def test_nobody_publishes_is_an_error_and_says_what_to_do():
    (finding,) = judge(IMAGE, Seen())
    assert finding.level == ERROR
    assert "nobody publishes" in finding.text and "remap" in finding.text


def test_an_optional_topic_that_is_missing_is_a_warning():
    assert levels(judge(Expected("scan", "sensor_msgs/msg/LaserScan", 2.0, required=False), Seen())) == [WARNING]


def test_a_second_publisher_is_an_error_that_names_both():
    seen = Seen(types=HEALTHY.types, publishers=("/safety_gate", "/teleop"), messages=60, rate=20.0)
    (finding,) = judge(Expected("cmd_vel", HEALTHY.types[0], 10.0), seen)
    assert finding.level == ERROR
    assert "/safety_gate" in finding.text and "/teleop" in finding.text


def test_several_publishers_are_fine_where_they_are_expected():
    seen = Seen(types=HEALTHY.types, publishers=("/a", "/b"), messages=60, rate=20.0)
    assert levels(judge(Expected("estop", HEALTHY.types[0], 10.0, single=False), seen)) == [OK]


def test_another_type_is_an_error():
    seen = Seen(types=("sensor_msgs/msg/CompressedImage",), publishers=("/camera",))
    (finding,) = judge(IMAGE, seen)
    assert finding.level == ERROR and "CompressedImage" in finding.text


def test_a_silent_topic_is_an_error():
    (finding,) = judge(IMAGE, Seen(types=HEALTHY.types, publishers=("/camera",)))
    assert finding.level == ERROR and "silent" in finding.text


def test_a_slow_topic_is_a_warning_with_both_rates():
    (finding,) = judge(IMAGE, Seen(types=HEALTHY.types, publishers=("/camera",), messages=12, rate=4.0))
    assert finding.level == WARNING and "4.0 Hz" in finding.text and "10.0 Hz" in finding.text


@pytest.mark.parametrize(
    ("mode", "level"),
    [("ACTIVE", OK), ("LIMITED", OK), ("ARMING", WARNING), ("DISABLED", WARNING), ("STOPPED", ERROR), ("ESTOP", ERROR)],
)
def test_the_gates_mode_is_reported_with_its_sentence(mode, level):
    (finding,) = judge_gate({"mode": mode}, "the image is stale")
    assert finding.level == level and "the image is stale" in finding.text


def test_the_expected_topics_follow_the_contract():
    topics = {e.topic: e for e in doctor.expected_topics(load_contract("arena"))}
    assert topics["cmd_vel"].type == "geometry_msgs/msg/TwistStamped"
    assert topics["image"].rate == 10.0
    assert not topics["scan"].required
    assert "image/compressed" in {e.topic for e in doctor.expected_topics(load_contract("arena"), compressed=True)}


@pytest.fixture
def graph() -> Iterator[None]:
    """Two nodes that both publish cmd_vel, and a listener that asks for more than the image's publisher offers."""
    import rclpy
    from geometry_msgs.msg import TwistStamped
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image

    from jepa_ros.nodes import qos

    context = Context()
    rclpy.init(args=[], context=context)
    executor = SingleThreadedExecutor(context=context)
    first = rclpy.create_node("first", context=context)
    second = rclpy.create_node("second", context=context)
    outs = [node.create_publisher(TwistStamped, "cmd_vel", qos.COMMAND) for node in (first, second)]
    image = first.create_publisher(Image, "image", qos.IMAGE)
    second.create_subscription(Image, "image", lambda message: None, qos.COMMAND)
    first.create_timer(0.05, lambda: [image.publish(Image()), *(out.publish(TwistStamped()) for out in outs)])
    for node in (first, second):
        executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield
    executor.shutdown()
    context.try_shutdown()
    thread.join(5)


def test_a_running_graph_is_examined(graph, monkeypatch):
    monkeypatch.setattr(doctor, "DISCOVERY", 0.7)
    monkeypatch.setattr(doctor, "LATE_DISCOVERY", 0.7)
    findings = doctor.examine(load_contract("arena"), "", 1.0)
    said = {(f.level, f.subject): f.text for f in findings}
    assert "/first" in said[ERROR, "cmd_vel"] and "/second" in said[ERROR, "cmd_vel"]
    assert "/second does not hear /first" in said[ERROR, "image"]
    assert "not running" in said[ERROR, "safety_gate"]
    assert "nobody publishes" in said[ERROR, "odom"]


def test_an_empty_graph_says_where_it_looked(monkeypatch, ros_domain):
    monkeypatch.setattr(doctor, "DISCOVERY", 0.5)
    monkeypatch.setattr(doctor, "LATE_DISCOVERY", 0.5)
    findings = doctor.examine(load_contract("arena"), "", 0.1)
    assert f"ROS_DOMAIN_ID {ros_domain}" in findings[-1].text
