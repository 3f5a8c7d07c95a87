# SPDX-License-Identifier: Apache-2.0
"""One drive, four times: recorded in the loop, and played through the loop, the nodes and a replay of their bag.

Embeddings, plans and the gate's decisions have to be the same: it is one agent, whoever gives it its inputs.
"""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
import torch
from bag_helpers import START
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message
from rclpy.time import Time
from sensor_msgs.msg import Image, LaserScan
from std_msgs.msg import Header, String
from toy_world import planar_config

from jepa_ros.agent.loop import Loop
from jepa_ros.agent.planner_part import PlannerPart
from jepa_ros.bags import CONTRACT_KEY
from jepa_ros.bags.format.message_types import typestore
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.schema import default_qos
from jepa_ros.bags.format.writer import BagWriter, WriterConfig
from jepa_ros.bags.replay.stack import Changes, prepare
from jepa_ros.contract import load_contract
from jepa_ros.messages.commands import command_in, gate_output
from jepa_ros.messages.diagnostics import key_values
from jepa_ros.messages.images import latent_of
from jepa_ros.nodes import gate_inputs, gate_report, planner_messages, safety_gate
from jepa_ros.nodes.convert import fill, set_yaw, to_stamp
from jepa_ros.nodes.perception import PerceptionNode
from jepa_ros.nodes.planner import PlannerNode
from jepa_ros.nodes.safety_gate import SafetyGateNode
from jepa_ros.perception import Perception
from jepa_ros.planning.planner import Planner
from jepa_ros.safety.gate import Gate
from jepa_ros.world_model import WorldModel, load_checkpoint, save_checkpoint
from jepa_ros_sim.arena.world import ArenaScene, Reach

ARENA = load_contract("arena")
STEPS = 14
ROS = 100.0  # s, ROS time at the scene's time 0
#: Stamps are rounded to nanoseconds on the way through messages; the search passes on what that does to a mean.
CLOSE = 1e-6
SETTINGS = {
    "search.samples": 16, "search.elites": 4, "search.horizon": 5, "search.iterations": 2, "search.deadline": 10.0,
    "search.backend": "model", "arrival.arrive": 1e-9, "arrival.leave": 1e-9,
}  # fmt: skip


class Tape:
    """A scene that writes down everything that was observed of it, and between which ticks."""

    def __init__(self, scene):
        self._scene, self.events = scene, []

    def __getattr__(self, name):
        return getattr(self._scene, name)

    def observe(self, names):
        seen = self._scene.observe(names)
        self.events.append((tuple(names), seen))
        return seen

    def advance(self, seconds):
        self._scene.advance(seconds)
        self.events.append((None, seconds))


class Played:
    """A scene that shows what was recorded, whatever it is told."""

    over = False

    def __init__(self, tape):
        self.contract, self.rates, self.time = tape.contract, tape.rates, 0.0
        self._events, self.commands = iter(tape.events), []

    def observe(self, names):
        recorded, seen = next(self._events)
        assert recorded == tuple(names)
        return seen

    def command(self, values):
        self.commands.append(values)

    def advance(self, seconds):
        assert next(self._events) == (None, seconds)
        self.time += seconds


class Clock:
    """The clocks of the nodes, which go by the recording."""

    time = 0.0

    def monotonic(self):
        return 50.0 + self.time

    def now(self):
        return Time(nanoseconds=round((ROS + self.time) * 1e9))


def agent(folder, gate, config):
    model, card = load_checkpoint(folder, ARENA)
    part = PlannerPart(Planner(model, ARENA, config, card), Perception(model, ARENA))
    kept = SimpleNamespace(embeddings=[], part=part, gate=gate)
    encode = part.encode

    def watched(seen):
        kept.embeddings.append(encode(seen))
        return kept.embeddings[-1]

    part.encode = watched
    return kept


def drive(scene, kept, goal):
    """Run the loop; what was decided."""
    kept.part.planner.set_goal(kept.part.goal(goal))
    loop = Loop(scene, kept.part, kept.gate)
    records = [loop.step() for _ in range(STEPS)]
    return SimpleNamespace(
        embeddings=kept.embeddings,
        commands=[r.decision.command for r in records],
        costs=[r.decision.info.status["cost"] for r in records],
        gate=[(m, why) for r in records for m, why in zip(r.modes, r.reasons, strict=True)],
        executed=[r.executed for r in records],
    )


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """What the four made of the drive: (recorded, loop, nodes, replay)."""
    folder = tmp_path_factory.mktemp("one")
    torch.manual_seed(0)
    small = planar_config(latent_dim=16, width=32, encoder_width=8, keypoints=2)
    save_checkpoint(folder / "model", WorldModel(small), {"contract": ARENA.to_dict()})
    rclpy.init(args=[])
    nodes = None
    try:
        with pytest.MonkeyPatch.context() as patch:
            nodes = Nodes(folder / "model", patch)
            gate = Gate(nodes.gate._config.replace(identities_required=()))
            scene = ArenaScene(ARENA)
            task = Reach("random", ARENA, True, 1)
            spec = task.draw(scene, 3, 0)
            scene.reset(spec)
            goal = task.goal(scene, spec).seen.images["image"]
            tape = Tape(scene)
            recorded = drive(tape, agent(folder / "model", gate, nodes.planner._planner.config), goal)
            scene.close()
            again = drive(Played(tape), agent(folder / "model", gate, nodes.planner._planner.config), goal)
            through = nodes.play(tape, goal)
            nodes.write(folder / "bag")
    finally:
        if nodes is not None:
            nodes.close()
        rclpy.try_shutdown()
    with BagReader(folder / "bag") as reader:
        prepared = prepare(reader, Changes(model=str(folder / "model")))
        log = prepared.offline.run()
    steps = [log.steps[stamp] for stamp in sorted(log.steps)]
    replayed = SimpleNamespace(
        embeddings=[log.embeddings[s.stamp] for s in steps], commands=[s.command for s in steps],
        costs=[s.number("cost") for s in steps], gate=[(t.mode, t.reason) for t in log.ticks], executed=None,
        ros=[t.ros for t in log.ticks],
    )  # fmt: skip
    return recorded, again, through, replayed


class Nodes:
    """The nodes of the stack in this process, their messages passed on by hand and kept for a bag."""

    def __init__(self, model, patch):
        self.clock, self.sent, self.ros = Clock(), [], []
        given = [Parameter("model", value=str(model))]
        more = [Parameter(k, value=v) for k, v in SETTINGS.items()]
        self.eye = PerceptionNode(parameter_overrides=given)
        self.planner = PlannerNode(embedded=True, parameter_overrides=given + more)
        self.gate = SafetyGateNode(parameter_overrides=[Parameter("auto_enable", value=True)])
        for module in (safety_gate, gate_inputs, gate_report):
            patch.setattr(module, "time", self.clock)
        self.eye.listener = self.planner.take_latent
        self._keep(self.eye, "_out", "/embedding")
        self._keep(self.planner, "_signals_out", "/signals")
        self._keep(self.planner, "_status_out", "/planner/status")
        self._keep(self.planner.goals, "_out", "/planner/goal")
        self._keep(self.gate, "_command_out", "/cmd_vel")
        self._keep(self.gate._report, "_state_out", "/safety_gate/state")
        for node in (self.eye, self.planner, self.gate):
            node.get_clock = lambda: self.clock
        for node in (self.eye, self.planner):
            node.configure()
            node.active = True
            node.on_active(True)
        self._keep(self.planner, "_command_out", "/command_raw")
        self.coming = []

    def _keep(self, owner, name, topic):
        real = getattr(owner, name)
        kind, where = real.msg_type, real.topic_name
        publish = lambda message: self.send(topic, message)  # noqa: E731
        setattr(owner, name, SimpleNamespace(publish=publish, msg_type=kind, topic_name=where))

    def send(self, topic, message):
        """Note a message for the bag; what others listen to is passed on."""
        self.sent.append((self.clock.time, topic, message))
        if topic in ("/command_raw", "/signals"):
            self.coming.append((self.clock.time + ARENA.actuation_latency, topic, message))

    def stamped(self, message, frame):
        message.header.stamp, message.header.frame_id = to_stamp(ROS + self.clock.time), frame
        return message

    def hear(self, seen):
        """Give the gate what was measured."""
        take, frames = self.gate._inputs, ARENA.frames
        for name, value in seen.state.items():
            if name == "odom":
                message = self.stamped(Odometry(), frames.odom)
                self.place(message.pose.pose, value)
                message.twist.twist.linear.x, message.twist.twist.angular.z = map(float, value.v)
                take._on_odom(message)
            elif name == "pose":
                message = self.stamped(PoseWithCovarianceStamped(), frames.map)
                self.place(message.pose.pose, value)
                whole = np.zeros((6, 6))
                whole[np.ix_((0, 1, 5), (0, 1, 5))] = value.cov
                message.pose.covariance = whole.ravel()
                take._on_pose(message)
            elif name == "scan":
                message = self.stamped(LaserScan(), frames.base)
                for field in ("angle_min", "angle_increment", "range_min", "range_max"):
                    setattr(message, field, float(getattr(value, field)))
                message.ranges = np.asarray(value.ranges, np.float32).tolist()
                take._on_scan(message)
            else:
                continue  # a bumper that is not pressed, and people where there are none, change nothing
            self.send(f"/{name}", message)

    @staticmethod
    def place(pose, value):
        pose.position.x, pose.position.y = float(value.x), float(value.y)
        set_yaw(pose.orientation, float(value.yaw))

    def play(self, tape, goal):
        """Play the recording; what was decided."""
        take = self.gate._inputs
        take._on_model_id(String(data=self.eye._identity))
        self.send("/model_id", String(data=self.eye._identity))
        picture = fill(Image(), goal, "rgb8")
        picture.header.frame_id = "camera"
        self.planner.goals.on_image(picture)
        decided = []
        for names, what in tape.events:
            if names is None:
                decided.append(self.tick())
                self.clock.time += what
            elif "image" in names:
                self.see(what, asked="pose" in names)
            elif names != ("contact",):
                self.hear(what)
        found = {topic: [m for _, t, m in self.sent if t == topic] for topic in ("/embedding", "/command_raw")}
        status = [key_values(m) for _, t, m in self.sent if t == "/planner/status"]
        arming = len(decided) - STEPS * round(ARENA.gate_rate / ARENA.rate)
        return SimpleNamespace(
            embeddings=[latent_of(m) for m in found["/embedding"]],
            commands=[np.array(command_in(m, ARENA).values) for m in found["/command_raw"][self.armed :]],
            costs=[float(s["cost"]) for s in status],
            gate=decided[arming:],
            executed=[s["executed"] for s in status],
            ros=self.ros,
        )

    armed = 0  # commands that were sent to arm the gate

    def see(self, seen, asked):
        message = self.stamped(fill(Image(), seen.images["image"], "rgb8"), "camera")
        data = bytes(serialize_message(message))
        self.send("/image", message)
        self.gate._inputs._on_image(data)
        if asked:
            self.eye._on_image(data)
            return
        self.armed += 1
        self.send("/command_raw", self.planner._codec.write_input(ARENA.neutral(), ROS + self.clock.time))
        rails = self.planner._planner.guardrails.hash
        output = SimpleNamespace(signals={})
        stamp = to_stamp(ROS + self.clock.time)
        self.send("/signals", planner_messages.signals(stamp, output, rails, self.eye._identity))
        self.coming = [(self.clock.time, topic, m) for _, topic, m in self.coming]

    def tick(self):
        take = self.gate._inputs
        while self.coming and self.coming[0][0] <= self.clock.time + 1e-9:
            _, topic, message = self.coming.pop(0)
            (take._on_command if topic == "/command_raw" else take._on_signals)(message)
        for name in ("perception", "planner"):
            take._heartbeat(name)(Header())
        before = len(self.sent)
        self.ros.append(self.clock.now().nanoseconds * 1e-9)
        output = self.gate.tick()
        for _, topic, message in self.sent[before:]:
            if topic == "/cmd_vel":
                self.planner._on_gated(message)
                np.testing.assert_allclose(gate_output(message, ARENA), output.values)
            elif topic == "/safety_gate/state":
                self.planner._on_gate(bytes(serialize_message(message)))
        return output.mode.name, output.reason

    def close(self):
        """End the nodes: a gate that stays in the domain would answer for the stacks of the tests that follow."""
        for node in (self.gate, self.planner, self.eye):
            node.destroy_node()

    def write(self, path):
        """The bag that a recorder would have made of it."""
        store, told = typestore(), {CONTRACT_KEY: json.dumps(ARENA.to_dict())}
        with BagWriter(path, WriterConfig(min_free_bytes=0), custom_data=told) as w:
            topics = {}
            for order, (at, topic, message) in enumerate(self.sent):
                kind = f"{type(message).__module__.split('.')[0]}/msg/{type(message).__name__}"
                if topic not in topics:
                    topics[topic] = (w.add_topic(topic, kind, [default_qos()]), [0])
                entry, count = topics[topic]
                count[0] += 1
                definition = store.get_msgdef(kind)
                data = bytes(serialize_message(message))
                _, end = definition.deserialize_cdr_le(data[4:], 0, definition.cls, store)
                w.write(entry, START + round(at * 1e9) + order, data[: end + 4], sequence=count[0])


@pytest.mark.parametrize("who", [1, 2, 3], ids=["loop", "nodes", "replay"])
def test_the_same_is_seen_planned_and_let_through(played, who):
    recorded, other = played[0], played[who]
    assert len(other.embeddings) == len(other.commands) == STEPS
    for mine, theirs in zip(recorded.embeddings, other.embeddings, strict=True):
        np.testing.assert_allclose(np.asarray(theirs).ravel(), mine.ravel(), atol=CLOSE)
    np.testing.assert_allclose(other.commands, recorded.commands, atol=CLOSE)
    np.testing.assert_allclose(other.costs, recorded.costs, rtol=1e-4)
    assert other.gate[-len(recorded.gate) :] == recorded.gate


def test_a_replayed_tick_has_the_very_time_that_the_gate_had(played):
    """A stamp's age may be its limit to the last digit: both are whole ticks of a simulation."""
    assert played[3].ros == played[2].ros


def test_there_was_something_to_agree_on(played):
    recorded = played[0]
    assert np.ptp(recorded.commands, axis=0).min() > 0.1 and len({mode for mode, _ in recorded.gate}) > 1
    assert recorded.executed[-1] is not None and np.ptp([e.sum() for e in recorded.embeddings]) > 0.0
