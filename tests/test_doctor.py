# SPDX-License-Identifier: Apache-2.0
"""What `jepa-ros doctor` finds: first by its rules alone, then in a graph that really runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import rclpy

from jepa_ros.commands import doctor_graph as doctor
from jepa_ros.commands.doctor_rules import (
    ERROR,
    OK,
    WARNING,
    End,
    Expected,
    Finding,
    Heard,
    Seen,
    expected_topics,
    judge,
    judge_ends,
    judge_gate,
)
from jepa_ros.contract import load_contract
from jepa_ros.contract.topics import COMMAND_TYPES

TYPE, OTHER = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
IMAGE = Expected("image", TYPE, 10.0)
CAMERA = End("/camera", TYPE)
HEALTHY = Seen(publishers=(CAMERA,), messages=30, rate=10.0)


def test_a_localisation_that_speaks_only_when_the_robot_moves_is_not_slow():
    pose = "geometry_msgs/msg/PoseWithCovarianceStamped"
    (expected,) = [e for e in expected_topics(load_contract("arena")) if e.type == pose]
    at_rest = Seen((End("/amcl", pose, keeps=True),), messages=1, rate=0.1)
    (finding,) = judge(expected, at_rest)
    assert finding.level == OK and "kept until there is another" in finding.text
    assert levels(judge(expected, Seen((End("/mocap", pose),), messages=1, rate=0.1))) == [WARNING]


def test_an_arm_and_its_gripper_may_have_a_driver_each():
    joints = "sensor_msgs/msg/JointState"
    (expected,) = [e for e in expected_topics(load_contract("arena")) if e.type == joints]
    seen = Seen((End("/arm", joints), End("/gripper", joints)), messages=90, rate=30.0)
    assert levels(judge(expected, seen)) == [OK]


def levels(findings: list[Finding]) -> list[str]:
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
    seen = Seen((End("/safety_gate", TYPE), End("/teleop", TYPE)), messages=60, rate=20.0)
    (finding,) = judge(Expected("cmd_vel", TYPE, 10.0), seen)
    assert finding.level == ERROR
    assert "/safety_gate" in finding.text and "/teleop" in finding.text


def test_several_publishers_are_fine_where_they_are_expected():
    seen = Seen((End("/a", TYPE), End("/b", TYPE)), messages=60, rate=20.0)
    assert levels(judge(Expected("estop", TYPE, 10.0, single=False), seen)) == [OK]


def test_another_type_is_an_error():
    (finding,) = judge(IMAGE, Seen(publishers=(End("/camera", OTHER),)))
    assert finding.level == ERROR and f"/camera publishes {OTHER}, expected {TYPE}" in finding.text


def test_a_base_that_listens_for_another_type_than_the_gate_sends_is_an_error_that_says_what_to_set():
    stamped, plain = COMMAND_TYPES["twist_stamped"], COMMAND_TYPES["twist"]
    for sent, wanted, kind in ((stamped, plain, "twist"), (plain, stamped, "twist_stamped")):
        seen = Seen((End("/safety_gate", sent),), (End("/base", wanted),), messages=150, rate=50.0)
        (finding,) = judge(Expected("cmd_vel", sent, 50.0, heard=True), seen)
        assert finding.level == ERROR
        assert f"/base listens for {wanted} and does not hear {sent}: give command_kind:={kind}" in finding.text


def test_a_node_that_listens_for_both_types_hears():
    listeners = (End("/base", TYPE), End("/base", OTHER))
    assert levels(judge(IMAGE, Seen((CAMERA,), listeners, messages=30, rate=10.0))) == [OK]
    assert judge_ends("teleop", Seen((CAMERA, End("/other", OTHER)), listeners)) == []


def test_teleoperation_of_the_wrong_type_is_an_error_that_names_both_sides():
    stamped, plain = COMMAND_TYPES["twist_stamped"], COMMAND_TYPES["twist"]
    (finding,) = judge_ends("command_teleop", Seen((End("/keys", plain),), (End("/safety_gate", stamped),)))
    assert finding.level == ERROR
    assert "/keys" in finding.text and "/safety_gate" in finding.text and "stamped:=true" in finding.text


def test_a_command_that_nobody_listens_to_is_a_warning():
    (finding,) = judge(Expected("cmd_vel", TYPE, 10.0, heard=True), HEALTHY)
    assert finding.level == WARNING and "nobody listens" in finding.text


def test_a_rate_is_that_of_the_sender_though_half_of_it_was_heard_and_late():
    heard = Heard()
    for k in range(0, 40, 2):  # every other one of 10 Hz, and the sender's clock is another
        heard.add(now=100.0 + 0.1 * k + 0.7 * (k % 4), source=5_000_000_000 + 100_000_000 * k, number=k + 7)
    assert heard.rate(now=104.5) == pytest.approx(10.0)
    assert heard.rate(now=104.5, numbered=False) == pytest.approx(5.0)


def test_a_topic_that_fell_silent_is_slow():
    heard = Heard()
    for k in range(11):
        heard.add(now=0.1 * k, source=100_000_000 * k, number=k)
    assert heard.rate(now=1.2) == pytest.approx(10.0)
    assert heard.rate(now=11.0) == pytest.approx(10 / 11.0)
    assert Heard().rate(now=1.0) == 0.0


def test_a_silent_topic_is_an_error():
    (finding,) = judge(IMAGE, Seen(publishers=(CAMERA,)))
    assert finding.level == ERROR and "silent" in finding.text


def test_a_slow_topic_is_a_warning_with_both_rates():
    (finding,) = judge(IMAGE, Seen(publishers=(CAMERA,), messages=12, rate=4.0))
    assert finding.level == WARNING and "4.0 Hz" in finding.text and "10.0 Hz" in finding.text


@pytest.mark.parametrize(
    ("mode", "level"),
    [("ACTIVE", OK), ("LIMITED", OK), ("ARMING", WARNING), ("DISABLED", WARNING), ("STOPPED", ERROR), ("ESTOP", ERROR)],
)
def test_the_gates_mode_is_reported_with_its_sentence(mode, level):
    (finding,) = judge_gate({"mode": mode}, "the image is stale")
    assert finding.level == level and "the image is stale" in finding.text


def test_the_expected_topics_follow_the_contract():
    topics = {e.topic: e for e in expected_topics(load_contract("arena"))}
    assert topics["cmd_vel"].type == "geometry_msgs/msg/TwistStamped"
    assert topics["image"].rate == 10.0
    assert not topics["scan"].required
    assert "image/compressed" in {e.topic for e in expected_topics(load_contract("arena"), compressed=True)}


@pytest.fixture
def graph() -> Iterator[None]:
    """Two nodes that both publish cmd_vel, and a listener that asks for more than the image's publisher offers."""
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
    thread.join(60)
    for node in (first, second):
        node.destroy_node()
    context.try_shutdown()


def test_a_running_graph_is_examined(graph, monkeypatch):
    monkeypatch.setattr(doctor, "PATIENCE", 5.0)
    findings = doctor.examine(load_contract("arena"), "", 1.0)
    said = {(f.level, f.subject): f.text for f in findings}
    assert "/first" in said[ERROR, "cmd_vel"] and "/second" in said[ERROR, "cmd_vel"]
    assert "/second does not hear /first" in said[ERROR, "image"]
    assert "not running" in said[ERROR, "safety_gate"]
    assert "nobody publishes" in said[ERROR, "odom"]


def test_a_publisher_that_becomes_known_late_is_listened_to_all_the_same(graph, monkeypatch):
    """What was missing when the doctor began to listen was called silent, though it was there and published."""
    monkeypatch.setattr(doctor, "PATIENCE", 9.0)
    from nav_msgs.msg import Odometry
    from rclpy.context import Context

    from jepa_ros.nodes import qos

    context, ended = Context(), threading.Event()
    rclpy.init(args=[], context=context)
    node = rclpy.create_node("late", context=context)

    def publish() -> None:
        ended.wait(2.5)
        out = node.create_publisher(Odometry, "odom", qos.STATE)
        while not ended.wait(0.05):
            out.publish(Odometry())

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    try:
        findings = doctor.examine(load_contract("arena"), "", 1.0)
    finally:
        ended.set()
        thread.join(60)
        node.destroy_node()
        context.try_shutdown()
    (found,) = [f for f in findings if f.subject == "odom"]
    assert found.level == OK and "from /late" in found.text


def test_every_name_that_the_gate_uses_is_looked_at_for_its_types(monkeypatch):
    monkeypatch.setattr(doctor, "PATIENCE", 5.0)
    from geometry_msgs.msg import Twist, TwistStamped
    from rclpy.context import Context

    contexts = [Context(), Context()]
    for context in contexts:
        rclpy.init(args=[], context=context)
    gate, keys = (rclpy.create_node(n, context=c) for n, c in zip(("safety_gate", "keys"), contexts, strict=True))
    try:
        gate.create_subscription(TwistStamped, "command_teleop", print, 1)
        keys.create_publisher(Twist, "command_teleop", 1)
        findings = doctor.examine(load_contract("arena"), "", 0.2, brain=False)
    finally:
        for node, context in zip((gate, keys), contexts, strict=True):
            node.destroy_node()
            context.try_shutdown()
    (found,) = [f for f in findings if f.subject == "command_teleop"]
    assert found.level == ERROR and "/keys publishes geometry_msgs/msg/Twist" in found.text


def test_an_empty_graph_says_where_it_looked(monkeypatch, ros_domain):
    monkeypatch.setattr(doctor, "PATIENCE", 0.5)
    findings = doctor.examine(load_contract("arena"), "", 0.1)
    assert f"ROS_DOMAIN_ID {ros_domain}" in findings[-1].text
