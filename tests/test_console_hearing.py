# SPDX-License-Identifier: Apache-2.0
"""What the console makes of the messages that it hears, and what it says to a robot that is driven by hand."""

from __future__ import annotations

import json
import math
import time

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, Pose, PoseArray, PoseWithCovarianceStamped, TwistStamped
from rclpy.context import Context
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, LaserScan
from std_msgs.msg import MultiArrayDimension, String, UInt8MultiArray

from jepa_ros.console.around import BEAMS, seen_by
from jepa_ros.console.desk import Refused
from jepa_ros.console.driving import JOG, Driving
from jepa_ros.console.hearing import ALWAYS, DELIBERATION, EMBEDDING, FUTURES, PLACES, STALE, THUMBNAILS, Hearing
from jepa_ros.console.showing import NODES, Showing
from jepa_ros.contract import load_contract
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import set_yaw


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
    points = [json.loads(point) for point in hearing.curve]
    assert [point["surprise"] for point in points] == [0.25, 0.5]
    assert all(abs(point["at"] - time.time()) < 60.0 for point in points)  # when it was, for the axis
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


def planner(hearing, reason, **more):
    values = [KeyValue(key=key, value=value) for key, value in ({"reason": reason} | more).items()]
    message = DiagnosticArray(status=[DiagnosticStatus(values=values)])
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


def placed(hearing, x, y, yaw):
    message = PoseWithCovarianceStamped()
    message.pose.pose.position.x, message.pose.pose.position.y = x, y
    set_yaw(message.pose.pose.orientation, yaw)
    hearing.put("pose", bytes(serialize_message(message)))


def mounted(hearing):
    info = CameraInfo(width=128, height=128, k=[150.0, 0.0, 64.0, 0.0, 150.0, 64.0, 0.0, 0.0, 1.0])
    hearing.put("camera_info", bytes(serialize_message(info)))


def test_a_goal_is_marked_where_the_planner_says_that_it_lies(hearing):
    mounted(hearing)
    planner(hearing, "ok", goal="image", goal_at="0.4 -0.2")
    drawing = section(hearing, "drawing").build()
    assert drawing["goal"] == [0.4, -0.2] and drawing["goal_pixel"] == [[89.0, 76.5]]
    planner(hearing, "ok", goal="image", goal_at="")  # a model that cannot place it
    drawing = section(hearing, "drawing").build()
    assert drawing["goal"] is None and drawing["goal_pixel"] == []


def test_people_and_what_the_scanner_sees_are_drawn_where_they_are(hearing):
    empty = {"people": [], "seen": []}
    assert section(hearing, "around").build() == empty | {"pixels": {}}
    mounted(hearing)
    people = PoseArray(poses=[Pose(position=Point(x=0.5, y=0.25))])
    people.header.frame_id = "map"
    hearing.put("people", bytes(serialize_message(people)))
    scan = LaserScan(angle_min=0.0, angle_increment=math.pi / 2, range_min=0.05, range_max=5.0)
    scan.ranges = [1.0, math.inf, 0.01, 0.5]  # ahead; nothing; too near to be measured; to the right
    hearing.put("scan", bytes(serialize_message(scan)))
    assert section(hearing, "around").build()["seen"] == []  # nobody knows where the robot is
    placed(hearing, 0.1, 0.2, math.pi / 2)
    found = section(hearing, "around").build()
    assert found["people"] == [[0.5, 0.25]] and found["seen"] == [[0.1, 1.2], [0.6, 0.2]]
    assert len(found["pixels"]["people"]) == 1 and len(found["pixels"]["seen"]) == 2
    people.header.frame_id = "elsewhere"
    hearing.put("people", bytes(serialize_message(people)))
    assert section(hearing, "around").build()["people"] == []


def test_people_who_were_told_of_long_ago_are_not_drawn(hearing):
    people = PoseArray(poses=[Pose()])
    people.header.frame_id = "map"
    hearing.put("people", bytes(serialize_message(people)))
    assert section(hearing, "around").build()["people"]
    hearing.kept["people"].times[-1] -= 2.0 * STALE
    assert section(hearing, "around").build()["people"] == []


def test_a_scan_of_many_beams_is_thinned_out(hearing):
    scan = LaserScan(angle_increment=0.001, range_max=5.0, ranges=[1.0] * 5000)
    assert 0.5 * BEAMS < len(seen_by(scan, hearing.contract, (0.0, 0.0, 0.0))) <= BEAMS


def test_the_robot_is_drawn_with_its_outline_and_heading(hearing):
    assert section(hearing, "pose").build() is None
    mounted(hearing)
    placed(hearing, 0.0, 0.0, math.pi / 2)
    found = section(hearing, "pose").build()
    (u, v), (nose_u, nose_v) = found["pixels"]
    radius = hearing.contract.footprint.radius
    assert found["at"] == [0.0, 0.0, pytest.approx(math.pi / 2, abs=1e-3)]
    assert math.hypot(nose_u - u, nose_v - v) == pytest.approx(150.0 / 2.4 * radius, abs=0.1)


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
