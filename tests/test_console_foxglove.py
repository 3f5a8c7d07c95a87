# SPDX-License-Identifier: Apache-2.0
"""The bridge for Foxglove and Lichtblick, asked by a client that knows nothing of it but the protocol."""

from __future__ import annotations

import json
import struct
import threading
import time

import pytest

pytest.importorskip("foxglove", reason="pip install 'jepa_ros[foxglove]'")
client = pytest.importorskip("websockets.sync.client")

import rclpy  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue  # noqa: E402
from geometry_msgs.msg import PoseStamped, Twist, TwistStamped  # noqa: E402
from nav_msgs.msg import Path  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from sensor_msgs.msg import CameraInfo  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402

from jepa_ros.commands import console as command  # noqa: E402
from jepa_ros.commands import console_foxglove  # noqa: E402
from jepa_ros.console.asking import SERVICES  # noqa: E402
from jepa_ros.console.foxglove import CLIENT_TOPICS, installed  # noqa: E402
from jepa_ros.console.foxglove.bridge import Bridge  # noqa: E402
from jepa_ros.console.foxglove.layout import layout  # noqa: E402
from jepa_ros.contract import load_contract  # noqa: E402
from jepa_ros.errors import JepaRosError  # noqa: E402
from jepa_ros.nodes import qos  # noqa: E402
from jepa_ros.options import Parser  # noqa: E402

NAMESPACE = "/fox"


class Stack:
    """Gate and planner, as far as a bridge can tell: their services, and what they say."""

    def __init__(self):
        self.asked, self.heard = [], []
        self._context = Context()
        rclpy.init(args=[], context=self._context)
        self.node = rclpy.create_node("stack", namespace=NAMESPACE, context=self._context)
        for name, service, kind in SERVICES:
            self.node.create_service(kind, service, lambda q, a, name=name: self._answer(name, q, a))
        self.state = self.node.create_publisher(DiagnosticArray, "safety_gate/state", qos.LATCHED)
        self.status = self.node.create_publisher(DiagnosticArray, "planner/status", qos.STATUS)
        self.plan = self.node.create_publisher(Path, "plan", qos.STATUS)
        self.info = self.node.create_publisher(CameraInfo, "camera_info", qos.STATE)
        for topic, kind in (
            ("command_teleop", TwistStamped), ("goal_pose", PoseStamped), ("cmd_vel", TwistStamped),
            ("console/log", String),
        ):  # fmt: skip
            self.node.create_subscription(kind, topic, lambda m, t=topic: self.heard.append((t, m)), 10)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self):
        while not self._ended.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def _answer(self, name, request, answer):
        self.asked.append((name, getattr(request, "data", None)))
        answer.success, answer.message = name != "reset", f"{name} was heard"
        return answer

    def of(self, topic):
        """What was heard on a topic."""
        return [message for name, message in self.heard if name == topic]

    def close(self):
        self._ended.set()
        self._thread.join(2)
        self.node.destroy_node()
        self._context.try_shutdown()


class Client:
    """A client of the protocol foxglove.sdk.v1, by the protocol's own description."""

    def __init__(self, port):
        self.socket = client.connect(f"ws://127.0.0.1:{port}", subprotocols=["foxglove.sdk.v1"])
        self.info, self.channels, self.services, self.status = {}, {}, {}, []
        self.data, self.answers = [], {}
        self._call = self._channel = 0

    def hear(self, until, seconds=60.0, patient=False):
        """Take in what the server says until a test is passed; a patient one may take all the time."""
        end = time.monotonic() + seconds
        while not until():
            if patient and time.monotonic() > end:
                return
            assert time.monotonic() < end, (self.info, list(self.channels), self.status)
            try:
                message = self.socket.recv(timeout=0.1)
            except TimeoutError:
                continue
            if isinstance(message, str):
                found = json.loads(message)
                if found["op"] == "serverInfo":
                    self.info = found
                elif found["op"] == "advertise":
                    self.channels |= {one["topic"]: one for one in found["channels"]}
                elif found["op"] == "advertiseServices":
                    self.services |= {one["name"]: one for one in found["services"]}
                elif found["op"] == "status" and found["message"].startswith("Unknown channel ID"):
                    time.sleep(0.05)  # the SDK's server tells of a channel a moment before it knows it itself
                    self.socket.send(self._wanted)
                elif found["op"] == "status":
                    self.status.append(found["message"])
            elif message[0] == 1:
                number, stamp = struct.unpack_from("<IQ", message, 1)
                self.data.append((number, stamp, message[13:]))
            elif message[0] == 3:
                _, call, length = struct.unpack_from("<III", message, 1)
                self.answers[call] = message[13 + length :]

    def subscribe(self, number, topic):
        self.hear(lambda: topic in self.channels)
        wanted = [{"id": number, "channelId": self.channels[topic]["id"]}]
        self._wanted = json.dumps({"op": "subscribe", "subscriptions": wanted})
        self.socket.send(self._wanted)

    def call(self, name, request, kind):
        """What a service answers."""
        self.hear(lambda: name in self.services)
        self._call += 1
        head = struct.pack("<BIII", 2, self.services[name]["id"], self._call, 3)
        self.socket.send(head + b"cdr" + bytes(serialize_message(request)))
        self.hear(lambda: self._call in self.answers)
        return deserialize_message(self.answers[self._call], kind.Response)

    def publish(self, topic, message, name):
        self._channel += 1
        channel = {"id": self._channel, "topic": topic, "encoding": "cdr", "schemaName": name}
        self.socket.send(json.dumps({"op": "advertise", "channels": [channel]}))
        self.socket.send(struct.pack("<BI", 1, self._channel) + bytes(serialize_message(message)))

    def close(self):
        self.socket.close()


@pytest.fixture(scope="module")
def stack():
    found = Stack()
    yield found
    found.close()


@pytest.fixture
def bridge(stack, request):
    stack.asked.clear()
    stack.heard.clear()
    found = Bridge(load_contract("arena"), NAMESPACE, control=getattr(request, "param", True))
    wanted = {f"{NAMESPACE}/{service}" for _, service, _ in SERVICES}
    until(lambda: wanted <= {name for name, _ in found.node.get_service_names_and_types()})
    until(lambda: "foxglove" in stack.node.get_node_names())
    yield found
    found.close()


@pytest.fixture
def fox(bridge):
    found = Client(bridge.server.port)
    yield found
    found.close()


def diagnostic(**values):
    status = DiagnosticStatus(message="all is well", values=[KeyValue(key=k, value=v) for k, v in values.items()])
    return DiagnosticArray(status=[status])


def until(test):
    end = time.monotonic() + 60
    while not test():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_topics_arrive_as_they_are_with_their_definition_and_late_clients_get_what_is_latched(stack, bridge, fox):
    stack.state.publish(diagnostic(mode="ACTIVE", reason="ok"))
    fox.subscribe(1, "/fox/safety_gate/state")
    fox.hear(lambda: fox.data)
    number, stamp, data = fox.data[0]
    channel = fox.channels["/fox/safety_gate/state"]
    assert (channel["encoding"], channel["schemaName"]) == ("cdr", "diagnostic_msgs/msg/DiagnosticArray")
    assert "DiagnosticStatus[] status" in channel["schema"] and "KeyValue" in channel["schema"]
    found = deserialize_message(data, DiagnosticArray)
    assert number == 1 and stamp > 0 and found.status[0].values[0].value == "ACTIVE"
    late = Client(bridge.server.port)
    try:
        late.subscribe(5, "/fox/safety_gate/state")
        late.hear(lambda: late.data)
        assert late.data[0][0] == 5
    finally:
        late.close()


def test_a_topic_that_nobody_wants_is_not_received(stack, bridge, fox):
    fox.subscribe(1, "/fox/planner/status")
    until(lambda: stack.status.get_subscription_count() == 1)
    assert stack.plan.get_subscription_count() == 0
    fox.socket.send(json.dumps({"op": "unsubscribe", "subscriptionIds": [1]}))
    until(lambda: stack.status.get_subscription_count() == 0)


def test_the_plan_is_drawn_into_the_picture(stack, bridge, fox):
    fox.subscribe(3, "/fox/planner/annotations")
    assert fox.channels["/fox/planner/annotations"]["schemaName"] == "foxglove.ImageAnnotations"
    until(lambda: stack.plan.get_subscription_count() == stack.info.get_subscription_count() == 1)
    plan = Path(poses=[PoseStamped(), PoseStamped()])
    plan.poses[1].pose.position.x = 0.3
    camera = CameraInfo(width=64, height=64, k=[60.0, 0.0, 32.0, 0.0, 60.0, 32.0, 0.0, 0.0, 1.0])
    began = time.monotonic()
    while not any(len(data) > 60 for _, _, data in fox.data):  # a line of two points, and not an empty drawing
        assert time.monotonic() - began < 60
        stack.info.publish(camera)
        stack.plan.publish(plan)
        stack.status.publish(diagnostic(reason="ok"))
        fox.hear(lambda: False, 0.1, patient=True)


def test_a_client_enables_resets_and_stops_and_what_it_said_is_published(stack, fox):
    assert fox.call("/fox/safety_gate/enable", SetBool.Request(data=True), SetBool).message == "enable was heard"
    refused = fox.call("/fox/safety_gate/reset", Trigger.Request(), Trigger)
    assert not refused.success and refused.message == "reset was heard"
    assert fox.call("/fox/safety_gate/estop", Trigger.Request(), Trigger).success
    assert stack.asked == [("enable", True), ("reset", None), ("stop", None)]
    until(lambda: len(stack.of("console/log")) == 3)
    said = [json.loads(message.data) for message in stack.of("console/log")]
    assert [(s["what"], s["about"], s["refused"]) for s in said] == [
        ("enable", "on", ""), ("reset", "", "reset was heard"), ("stop", "", ""),
    ]  # fmt: skip
    assert all(s["who"].startswith("Foxglove client") for s in said)


def test_a_client_that_drives_and_falls_silent_stands_still(stack, fox):
    fox.publish("/fox/command_teleop", Twist(), "geometry_msgs/Twist")
    until(lambda: stack.of("command_teleop"))
    wanted = Twist()
    wanted.linear.x, wanted.angular.z = 0.1, 99.0
    fox.publish("/fox/command_teleop", wanted, "geometry_msgs/Twist")
    until(lambda: any(m.twist.linear.x for m in stack.of("command_teleop")))
    moving = next(m for m in stack.of("command_teleop") if m.twist.linear.x)
    most = next(a.high for a in load_contract("arena").action if a.name == "angular.z")
    assert moving.twist.linear.x == pytest.approx(0.1) and moving.twist.angular.z == pytest.approx(most)
    assert moving.header.stamp.sec > 0
    until(lambda: stack.of("command_teleop")[-1].twist.linear.x == 0.0)


def test_a_goal_goes_to_the_planner_and_nothing_goes_past_the_gate(stack, fox):
    goal = PoseStamped()
    goal.pose.position.x = 0.25
    fox.publish("/fox/goal_pose", goal, "geometry_msgs/msg/PoseStamped")
    until(lambda: stack.of("goal_pose"))
    assert stack.of("goal_pose")[0].pose.position.x == 0.25
    fox.publish("/fox/cmd_vel", TwistStamped(), "geometry_msgs/msg/TwistStamped")
    fox.hear(lambda: fox.status)
    assert "/fox/cmd_vel: clients may not publish there" in fox.status[0] and not stack.of("cmd_vel")


@pytest.mark.parametrize(
    ("topic", "message", "name", "says"),
    [("goal_pose", Twist(), "geometry_msgs/Twist", "expected geometry_msgs/PoseStamped"),
     ("command_teleop", String(data="x"), "geometry_msgs/Twist", "that is no geometry_msgs/Twist")],
)  # fmt: skip
def test_a_message_of_another_kind_is_refused_in_words(stack, fox, topic, message, name, says):
    fox.publish(f"/fox/{topic}", message, name)
    fox.hear(lambda: fox.status)
    assert says in fox.status[0] and not stack.of(topic)


@pytest.mark.parametrize("bridge", [False], indirect=True)
def test_without_control_a_client_looks_on_and_may_stop(stack, bridge, fox):
    assert fox.call("/fox/safety_gate/estop", Trigger.Request(), Trigger).success
    assert list(fox.services) == ["/fox/safety_gate/estop"] and "clientPublish" not in fox.info["capabilities"]


def test_a_service_that_is_not_there_says_so():
    lonely = Bridge(load_contract("arena"), "/nobody", control=True)
    fox = Client(lonely.server.port)
    try:
        answer = fox.call("/nobody/safety_gate/estop", Trigger.Request(), Trigger)
        assert not answer.success and "does the stack run?" in answer.message
    finally:
        fox.close()
        lonely.close()


def test_a_port_that_is_taken_is_named(bridge):
    with pytest.raises(JepaRosError, match=f"cannot listen on port {bridge.server.port}"):
        Bridge(load_contract("arena"), NAMESPACE, port=bridge.server.port)


def leaves(tree):
    return [tree] if isinstance(tree, str) else [*leaves(tree["first"]), *leaves(tree["second"])]


@pytest.mark.parametrize("robot", ["arena", "panda"])
def test_the_layout_shows_every_panel_once_and_names_what_is_there(robot):
    contract = load_contract(robot)
    found = layout(contract, "/fox")
    panels = found["configById"]
    assert sorted(leaves(found["layout"])) == sorted(panels)
    kinds = {name.partition("!")[0] for name in panels}
    assert kinds >= {"Image", "3D", "Plot", "StateTransitions", "DiagnosticSummary", "CallService"}
    assert ("Teleop" in kinds) == (robot == "arena")
    services = {f"/fox/{service}" for _, service, _ in SERVICES}
    assert {p["serviceName"] for p in panels.values() if "serviceName" in p} <= services
    assert panels["3D!map"]["publish"]["poseTopic"] == "/fox/goal_pose"
    if robot == "arena":
        assert panels["Teleop!drive"]["topic"].removeprefix("/fox/") in CLIENT_TOPICS


def run(*words):
    parser = Parser()
    command.add_arguments(parser)
    return command.main(parser.parse_args(words))


def test_the_layout_is_written_by_the_command(tmp_path, capsys):
    assert run("--layout", str(tmp_path / "fox.json"), "--namespace", "fox") == 0
    assert json.loads((tmp_path / "fox.json").read_text()) == layout(load_contract("arena"), "/fox")
    assert "Import from file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [(["--control"], "--control is for the bridge"), (["--foxglove", "--host", "10.0.0.1"], "ssh -L 8766"),
     (["--foxglove", "--token", "x"], "--token is not for the bridge"), (["--foxglove", "--bag", "x"], "--bag is not")],
)  # fmt: skip
def test_options_that_do_not_fit_the_bridge_are_refused(words, says):
    with pytest.raises(JepaRosError, match=says):
        run(*words)


def test_an_installed_foxglove_bridge_runs_in_its_place_with_the_same_limits(tmp_path, monkeypatch):
    executable = tmp_path / "lib" / "foxglove_bridge" / "foxglove_bridge"
    executable.parent.mkdir(parents=True)
    executable.write_text("")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere:{tmp_path}")
    started = []
    monkeypatch.setattr(console_foxglove.os, "execv", lambda path, words: started.extend(words) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("--foxglove", "--namespace", "fox")
    assert started[0] == str(executable) and "address:=127.0.0.1" in started and "port:=8766" in started
    assert r"service_whitelist:=['^/fox/safety_gate/estop$']" in started and "client_topic_whitelist:=['^$']" in started
    wider = installed.words(executable, "", 8766, True, True)
    assert any(w.startswith("client_topic_whitelist:=['^/command_teleop$', ") for w in wider)
    assert not any("cmd_vel" in word or "command_raw" in word for word in wider)
