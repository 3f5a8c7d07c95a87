# SPDX-License-Identifier: Apache-2.0
"""What the console makes of the messages that it hears, and what it says to a robot that is driven by hand."""

from __future__ import annotations

import json
import time

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import TwistStamped
from rclpy.context import Context
from rclpy.serialization import serialize_message
from std_msgs.msg import MultiArrayDimension, String, UInt8MultiArray

from jepa_ros.console.desk import Refused
from jepa_ros.console.driving import JOG, Driving
from jepa_ros.console.hearing import ALWAYS, DELIBERATION, EMBEDDING, FUTURES, PLACES, THUMBNAILS, Hearing
from jepa_ros.console.showing import NODES, Showing
from jepa_ros.contract import load_contract
from jepa_ros.nodes import qos


@pytest.fixture
def node():
    context = Context()
    rclpy.init(args=[], context=context)
    found = rclpy.create_node("hearing", context=context)
    yield found
    found.destroy_node()
    context.try_shutdown()


@pytest.fixture
def hearing(node):
    return Hearing(node, load_contract("arena"))


def section(hearing, name):
    return next(found for found in Showing(hearing).sections() if found.name == name)


def told(hearing, text):
    hearing.put(DELIBERATION, bytes(serialize_message(String(data=text))))
    return section(hearing, "tree").build()


def tree(count, way):
    nodes = [[k - 1, 0.1 * k, count - k, 0.01 * k, 0.0] for k in range(count)]
    return json.dumps({
        "seed": 1, "solved": True, "calls": 900, "dropped": 0, "axes": "m", "nodes": nodes, "way": way, "goal": [1, 0],
    })  # fmt: skip


def test_nobody_deliberated_yet_and_nonsense_are_no_tree(hearing):
    assert section(hearing, "tree").build() is None
    for text in ("", "[]", "{}", '{"nodes": [], "way": [3], "solved": true, "calls": 1, "axes": "m", "goal": [0, 0]}'):
        assert told(hearing, text) is None


def test_a_tree_is_shown_as_it_is(hearing):
    found = told(hearing, tree(4, [0, 2, 3]))
    assert found["count"] == 4 and found["way"] == [0, 2, 3] and found["goal"] == [1, 0] and found["solved"]
    assert found["nodes"][2] == [1, 0.2, 2, 0.02, 0.0]


def test_of_a_large_tree_the_first_states_and_the_whole_way_are_shown(hearing):
    count = NODES + 500
    found = told(hearing, tree(count, [0, NODES + 100, count - 1]))
    assert found["count"] == count and len(found["nodes"]) == NODES + 2
    assert found["way"] == [0, NODES, NODES + 1]
    assert found["nodes"][NODES][1:] == [0.1 * (NODES + 100), 400, pytest.approx(16.0), 0.0]
    assert found["nodes"][NODES][0] == -1  # the state that it came from is not shown


def test_what_nobody_looks_at_is_not_subscribed_to(hearing):
    def heard():
        return {sub.topic_name.strip("/") for sub in hearing._node.subscriptions} & set(hearing.kept)

    hearing.look(True)
    hearing.fetch()
    assert heard() == set(hearing.kept) - {FUTURES, EMBEDDING, PLACES, THUMBNAILS}
    hearing.look_at_futures(True)
    hearing.fetch()
    assert heard() == set(hearing.kept) - {PLACES, THUMBNAILS}
    hearing.look_at_places(True)
    hearing.fetch()
    assert heard() == set(hearing.kept)
    hearing.look(False)
    hearing.fetch()
    assert heard() == set(ALWAYS)


def pictures(hearing, **parts):
    message = UInt8MultiArray()
    for key, size in parts.items():
        message.layout.dim.append(MultiArrayDimension(label=key, size=size, stride=1))
    message.data.frombytes(b"aabbb")
    hearing.put(THUMBNAILS, bytes(serialize_message(message)))


def test_places_of_the_memory_are_shown_with_who_has_a_picture(hearing):
    def places(text):
        hearing.put(PLACES, bytes(serialize_message(String(data=text))))
        return section(hearing, "places").build()

    told = {"kind": "places", "tags": [["dock", "k1", None, None]], "places": [[0, "k2", 0, 0, 0, None]]}
    assert section(hearing, "places").build() is None
    assert places(json.dumps(told)) == told | {"pictures": []}
    pictures(hearing, k1=2, k3=3)
    assert section(hearing, "places").build()["pictures"] == ["k1"] and hearing.thumbnails["k3"] == b"bbb"
    pictures(hearing, k1=2, k3=9)
    assert hearing.thumbnails == {}, "a message that is cut has no pictures"
    for nonsense in ("", "[]", "{}", '{"tags": [[]], "places": []}'):
        assert places(nonsense) is None


def test_points_of_the_curves_are_kept_while_nobody_looks(hearing):
    for value in ("0.25", "nan", "0.5"):
        message = DiagnosticArray(status=[DiagnosticStatus(values=[KeyValue(key="surprise", value=value)])])
        hearing.put("signals", bytes(serialize_message(message)))
    assert [json.loads(point) for point in hearing.curve] == [{"surprise": 0.25}, {"surprise": 0.5}]
    assert hearing.curve_count == 2


def test_an_arm_is_moved_by_its_tip_and_stands_still_when_nobody_holds_it(node):
    contract = load_contract("panda")
    driving = Driving(node, contract)
    try:
        with pytest.raises(Refused, match="its node jog does not run"):
            driving.drive([0.0] * contract.action_dim)
        said: list[TwistStamped] = []
        jog = node.create_subscription(TwistStamped, JOG, said.append, qos.with_depth(qos.COMMAND, 50))
        end = time.monotonic() + 60
        while not driving.possible:
            assert time.monotonic() < end
            time.sleep(0.02)
        up = [0.5 if axis.name == "tip.linear.z" else 0.0 for axis in contract.action]
        driving.drive(up)
        while not said or said[-1].twist.linear.z != 0.0 or len(said) < 5:  # held, let go by silence, told to stand
            assert time.monotonic() < end
            qos.fetch(jog)
            time.sleep(0.02)
        most = next(float(axis.high) for axis in contract.action if axis.name == "tip.linear.z")
        assert said[0].twist.linear.z == pytest.approx(0.5 * most) and said[0].header.frame_id == contract.frames.base
    finally:
        driving.close()


def gate(hearing, mode, reason, sentence=""):
    values = [KeyValue(key=key, value=value) for key, value in (("mode", mode), ("reason", reason), ("scale", "0.25"))]
    message = DiagnosticArray(status=[DiagnosticStatus(message=sentence, values=values)])
    hearing.put("safety_gate/state", bytes(serialize_message(message)))
    return section(hearing, "gate").build()


def planner(hearing, reason):
    message = DiagnosticArray(status=[DiagnosticStatus(message="", values=[KeyValue(key="reason", value=reason)])])
    hearing.put("planner/status", bytes(serialize_message(message)))
    return section(hearing, "planner").build()["says"]


def test_why_the_gate_stopped_is_still_known_when_it_is_about_to_go_on(hearing):
    assert gate(hearing, "ACTIVE", "ok")["cause"] is None
    stopped = gate(hearing, "STOPPED", "command_not_obeyed", "a wheel does not turn")["cause"]
    assert (stopped["mode"], stopped["reason"]) == ("STOPPED", "command_not_obeyed")
    for mode, reason in (("ARMING", "arming"), ("ACTIVE", "ok"), ("LIMITED", "speed_zone"), ("DISABLED", "disabled")):
        assert gate(hearing, mode, reason)["cause"] == stopped
    assert gate(hearing, "ESTOP", "estop", "latched")["cause"]["sentence"] == "latched"


def test_the_share_of_the_speed_that_passes_is_told_of_a_robot_that_may_move(hearing):
    assert gate(hearing, "LIMITED", "person")["scale"] == "0.25"
    assert gate(hearing, "STOPPED", "pose_lost")["scale"] == "0"


def test_a_planner_that_drives_while_the_gate_stands_is_said_to_be_held(hearing):
    gate(hearing, "ACTIVE", "ok")
    assert planner(hearing, "ok") == "The planner drives to the goal."
    before = section(hearing, "planner").key
    gate(hearing, "STOPPED", "pose_lost")
    assert section(hearing, "planner").key != before  # told anew, though the planner said nothing new
    assert "wants to drive to the goal, and the gate holds it: the robot does not know" in planner(hearing, "ok")
    gate(hearing, "LIMITED", "person")
    assert "the gate slows it: a person is near" in planner(hearing, "ok")
    assert planner(hearing, "arrived") == "The planner says that the goal is reached."


def test_only_topics_that_came_or_are_missed_are_listed(hearing, node):
    told = hearing.account()
    assert set(told) == {"image", "planner/status", "signals", "safety_gate/state", "pose"}
    assert all(told[topic]["age"] is None and told[topic]["never"] == "nobody publishes it" for topic in told)
    out = qos.publisher(node, DiagnosticArray, "planner/status", qos.STATUS)
    end = time.monotonic() + 60
    while hearing.account()["planner/status"]["never"] == "nobody publishes it":
        assert time.monotonic() < end
        time.sleep(0.02)
    assert "nothing comes" in hearing.account()["planner/status"]["never"]
    node.destroy_publisher(out)
    assert "never" not in tree_account(hearing)


def test_a_camera_that_sends_packed_pictures_is_not_missed_for_others(hearing):
    hearing.put("image/compressed", b"")
    assert "image/compressed" in hearing.account() and "image" not in hearing.account()


def test_plans_are_not_missed_while_the_planner_rests(hearing):
    hearing.put("plan", b"")
    for reason, rests in (("ok", False), ("idle", True), ("arrived", True), ("ok", False)):
        planner(hearing, reason)
        assert hearing.account()["plan"]["rests"] is rests
        assert hearing.account()["planner/status"]["rests"] is False


def tree_account(hearing):
    told(hearing, tree(2, [0, 1]))
    return hearing.account()[DELIBERATION]


RULES = [
    {"name": "desk", "kind": "keep_out", "unit": "m", "box": {"center": [0.5, 0.0], "size": [0.2, 0.4]}},
    {"name": "pillar", "kind": "keep_out", "unit": "m", "circle": {"center": [0.0, 0.5], "radius": 0.1}},
    {"name": "hall", "kind": "workspace", "unit": "m", "low": [-1.0, -1.0], "high": [1.0, 1.0]},
    {"name": "slow", "kind": "speed_zone", "unit": "m/s", "max_speed": 0.1,
     "polygon": [[0.0, 0.0], [0.3, 0.0], [0.0, 0.3]]},
    {"name": "everywhere", "kind": "speed_zone", "unit": "m/s", "max_speed": 0.2,
     "box": {"center": [0, 0], "size": [1000, 1000]}},
    {"name": "people", "kind": "near_person", "unit": "m/s", "distance": 0.6, "max_speed": 0.05},
]  # fmt: skip


def test_guardrails_are_drawn_however_their_shape_is_written(hearing):
    hearing.put_rules(RULES)
    areas = {area["name"]: area for area in section(hearing, "areas").build()}
    assert list(areas) == ["desk", "pillar", "hall", "slow"]  # what has an edge on the ground
    assert sorted(areas["desk"]["corners"]) == [(0.4, -0.2), (0.4, 0.2), (0.6, -0.2), (0.6, 0.2)]
    assert len(areas["pillar"]["corners"]) == 32 and max(y for _, y in areas["pillar"]["corners"]) == 0.6
    assert areas["hall"]["kind"] == "workspace"
    hearing.put_rules([{"name": "broken"}])
    assert section(hearing, "areas").build() == []
