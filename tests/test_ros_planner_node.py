# SPDX-License-Identifier: Apache-2.0
"""The planner node answers every step, also the one that failed, and takes changes whole or not at all."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
import torch
import yaml
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from sensor_msgs.msg import LaserScan
from std_msgs.msg import String
from toy_world import planar_config

from jepa_ros.contract import load_contract
from jepa_ros.cost import Goal
from jepa_ros.errors import JepaRosError
from jepa_ros.nodes import planner_settings
from jepa_ros.nodes.convert import to_stamp
from jepa_ros.nodes.params import ParameterError
from jepa_ros.nodes.planner import PlannerNode
from jepa_ros.planar.goals import pose_goal
from jepa_ros.planar.place_graph import PlaceGraph
from jepa_ros.planar.readouts import RELATIVE, SAME
from jepa_ros.planning import SearchError
from jepa_ros.safety import parse_guardrails
from jepa_ros.world_model import ModelConfig, WorldModel, save_checkpoint

ZONE = "[{name: zone, kind: keep_out, unit: m, circle: {center: [0.5, 0.0], radius: 0.1}}]"


@pytest.fixture(scope="module")
def planning(tmp_path_factory):
    """A configured and active node whose messages are kept: (node, {output: [messages]})."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    small = planar_config(latent_dim=16, width=32, encoder_width=8, keypoints=2)
    save_checkpoint(folder, WorldModel(small), {"contract": load_contract("arena").to_dict()})
    rclpy.init(args=[])
    node, kept = started({"model": str(folder)})
    yield node, kept
    node.destroy_node()
    rclpy.try_shutdown()


def started(changes):
    """A configured and active node with these parameters beside some, and {output: [messages]}."""
    settings = {"search.samples": 16, "search.elites": 4, "search.deadline": 10.0} | changes
    node = PlannerNode(embedded=True, parameter_overrides=[Parameter(k, value=v) for k, v in settings.items()])
    node.configure()
    node.active = True
    kept = {}
    for name in ("_command_out", "_status_out", "_heartbeat_out", "_tree_out"):
        kept[name] = []
        setattr(node, name, SimpleNamespace(publish=kept[name].append, msg_type=getattr(node, name).msg_type))
    return node, kept


@pytest.fixture
def scene(planning):
    node, kept = planning
    node.on_active(True)
    node._planner.set_goal(pose_goal(0.5, 0.0, 0.0))
    for messages in kept.values():
        messages.clear()
    return node, kept


def status(kept):
    return {pair.key: pair.value for pair in kept["_status_out"][-1].status[0].values} | {
        "message": kept["_status_out"][-1].status[0].message
    }


def test_a_step_that_fails_is_a_stop_with_its_reason_and_without_a_heartbeat(scene, monkeypatch):
    node, kept = scene
    node.take_latent(np.zeros(16, np.float32), 1.0)
    assert len(kept["_command_out"]) == len(kept["_heartbeat_out"]) == 1

    def broken(*_arguments, **_options):
        raise SearchError("recurrent state h: a value is not finite")

    monkeypatch.setattr(node._planner, "step", broken)
    node.take_latent(np.zeros(16, np.float32), 1.2)  # called by perception in one process: it must not raise
    command = kept["_command_out"][-1]
    assert len(kept["_command_out"]) == 2 and command.twist.linear.x == command.twist.angular.z == 0.0
    assert command.header.stamp.sec == 1
    assert status(kept)["reason"] == "error"
    assert "recurrent state h" in status(kept)["sentence"] + status(kept)["message"]
    assert len(kept["_heartbeat_out"]) == 1
    monkeypatch.undo()
    node.take_latent(np.zeros(16, np.float32), 1.4)
    assert len(kept["_heartbeat_out"]) == 2


@pytest.mark.parametrize(
    "costs", ["{position: 0, heading: 0}", "{latent: 0, steps: 0, position: 0, heading: 0}", "{position: a}", "[1]"]
)
def test_costs_that_cannot_be_used_are_refused_and_nothing_else_is_changed(scene, costs):
    node, _ = scene
    before = node._planner.objective.weights, node._planner.guardrails.hash
    with pytest.raises(JepaRosError, match=r"task cost|'costs'"):
        node.apply({"costs": costs, "guardrails": ZONE})
    assert (node._planner.objective.weights, node._planner.guardrails.hash) == before


def test_every_answer_to_a_goal_is_counted_also_the_same_refusal_twice(scene):
    node, _ = scene
    before = node.goals.facts()["goal_answers"]
    pose = PoseStamped()
    pose.pose.orientation.w = 1.0
    for k, frame in enumerate(("moon", "moon", "map"), 1):
        pose.header.frame_id = frame
        node.goals._on_pose(pose)
        facts = node.goals.facts()
        assert facts["goal_answers"] == before + k and ("moon" in facts["goal_refused"]) == (frame == "moon")


def test_guardrails_are_read_beside_the_steps_and_refused_with_the_reason(scene, monkeypatch):
    node, _ = scene
    before = node._planner.guardrails.hash
    for text, why in (("#" * 5_000_000, "5000000 characters"), (ZONE.replace("unit: m", "unit: furlong"), "furlong")):
        with pytest.raises(JepaRosError, match=why):
            node._prepare({"guardrails": text})
    node._prepare({"guardrails": ZONE})
    assert node._planner.guardrails.hash == before
    with monkeypatch.context() as patch:
        patch.setattr(planner_settings, "guardrails", None)  # nothing is read in the step's thread any more
        node.apply({"guardrails": ZONE})
    assert node._planner.guardrails.hash == parse_guardrails(ZONE).hash
    node.apply({"guardrails": ""})
    assert node._planner.guardrails.hash == before


def test_costs_without_end_are_refused():
    for text in ("{a: " * 3000, "{latent: " + "[" * 3000 + "]" * 3000 + "}"):
        with pytest.raises(ParameterError, match="deep"):
            planner_settings.weights(text)


def test_the_risk_measure_is_a_parameter_that_may_change(scene):
    node, _ = scene
    with pytest.raises(JepaRosError, match="noise samples"):
        node.apply({"search.risk": "cvar 0.25"})  # of one future
    node.apply({"search.risk": "worst"})
    assert node._planner.config.search.risk.kind == "worst"
    assert '"kind": "worst"' in node._settings
    node.apply({"search.risk": "mean"})


def test_a_robot_named_after_the_start_is_the_one_that_is_configured(planning, tmp_path):
    import yaml

    node, _ = planning
    data = load_contract("arena").to_dict() | {"name": "other"}
    data["limits"]["velocity"]["linear.x"] = 0.5
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(data))
    before = node.values.robot
    node.values.robot = str(tmp_path / "other.yaml")
    node.configure()
    assert node._contract.name == node._planner.contract.name == "other"
    node.values.robot = before
    node.configure()


def test_deliberation_beside_the_steps_is_told_in_the_status_and_its_tree_on_a_topic(planning):
    always = {"deliberate.when": "always", "deliberate.distance": "distance", "deliberate.calls": 3000}
    node, kept = started({"model": planning[0].values.model, **always})
    node.on_active(True)
    node._planner.set_goal(Goal.from_latent(np.full(16, 9.0, np.float32)))
    deadline = time.monotonic() + 30.0
    while not kept["_tree_out"] and time.monotonic() < deadline:
        node.take_latent(np.zeros(16, np.float32), 1.0 + 0.2 * len(kept["_status_out"]))
        time.sleep(0.02)
    told = status(kept)
    assert told["deliberation/number"] == "1" and told["deliberation/budget"] == "3000"
    assert int(told["deliberation/expansions"]) > 0 and int(told["deliberation/calls"]) <= 3000
    tree = json.loads(kept["_tree_out"][0].data)
    assert tree["nodes"][0][0] == -1 and tree["way"][0] == 0
    assert json.loads(told["settings"])["deliberate"]["calls"] == 3000  # what a replay sets up
    node.release()
    node.destroy_node()
    assert not any(thread.name == "deliberation" for thread in threading.enumerate())


def test_imagined_futures_are_published_while_somebody_listens_and_not_otherwise(scene, monkeypatch):
    node, _ = scene
    told, listeners = [], [0]
    out = SimpleNamespace(publish=told.append, get_subscription_count=lambda: listeners[0])
    monkeypatch.setattr(node, "_futures_out", out)
    node.take_latent(np.zeros(16, np.float32), 10.0)
    assert told == []
    listeners[0] = 1
    node.take_latent(np.zeros(16, np.float32), 10.1)
    futures, states, size = (dim.size for dim in told[-1].layout.dim)
    assert futures >= 1 and states == 6 and size == 16 and len(told[-1].data) == futures * states * size
    node._planner.set_goal(None)
    node.take_latent(np.zeros(16, np.float32), 10.2)  # nothing is imagined, and the size of latents told all the same
    assert [dim.size for dim in told[-1].layout.dim] == [0, 0, 16]


def test_a_memory_that_is_only_read_gives_goals_and_takes_no_names(planning, tmp_path):
    model = planning[0].values.model
    writer, _ = started({"model": model, "memory": str(tmp_path)})
    writer.on_active(True)
    writer.take_latent(np.zeros(16, np.float32), 1.0)
    writer.goals.on_remember(String(data="dock"))
    writer.release()
    writer.destroy_node()
    readers = [started({"model": model, "memory": str(tmp_path), "memory_read_only": True})[0] for _ in range(2)]
    try:
        for reader in readers:
            reader.on_active(True)
            reader.take_latent(np.zeros(16, np.float32), 1.0)
            reader.goals.on_remember(String(data="desk"))
            assert "only read" in reader._memory._refused and list(reader._planner.memory.tags) == ["dock"]
            reader.goals.on_tag(String(data="dock"))
            assert reader._planner.goal.name == "dock"
    finally:
        for reader in readers:
            reader.release()
            reader.destroy_node()


def test_the_planner_of_a_robot_with_a_costmap_hears_the_scan_of_the_gate(planning, tmp_path):
    data = load_contract("arena").to_dict()
    data["state"]["scan"] = {"topic": "guarded_scan", "timeout": 0.5, "required": True}
    file = tmp_path / "guarded.yaml"
    file.write_text(yaml.safe_dump(data | {"costmap": {"topic": "local_costmap/costmap"}}))
    node, _ = started({"robot": str(file)})
    try:
        topics = [info.topic_name for info in node._entities]
        assert node.resolve_topic_name("guarded_scan") in topics
        scan = LaserScan(angle_increment=0.1, range_max=4.0, ranges=[1.0])
        scan.header.stamp = to_stamp(1.0)
        node._on_scan(scan)
        assert node._part.told(1.2, "ok").scan.ranges.tolist() == [1.0]
    finally:
        node.release()
        node.destroy_node()


def test_the_places_of_a_camera_on_board_lie_where_odometry_says(planning, tmp_path):
    rover = load_contract("rover")
    (camera,) = rover.model_cameras
    torch.manual_seed(0)
    small = ModelConfig(
        cameras=(("image", *camera.size),), latent_dim=16, width=32, encoder_width=8, encoder="view",
        readouts=(RELATIVE, SAME),
    )  # fmt: skip
    save_checkpoint(tmp_path / "model", WorldModel(small), {"contract": rover.to_dict()})
    model, memory = str(tmp_path / "model"), str(tmp_path / "memory")
    node, _ = started({"robot": "rover", "model": model, "memory": memory})
    try:
        node.on_active(True)
        for k in range(8):
            odom = Odometry(child_frame_id="base_link")
            odom.header.stamp, odom.header.frame_id = to_stamp(1.0 + 0.25 * k), "odom"
            odom.pose.pose.position.x, odom.pose.pose.orientation.w = 0.2 * k, 1.0
            node._on_odom(odom)
            latent = np.full(16, 0.1 * k, np.float32)
            node.take_latent(latent, 1.0 + 0.25 * k, lambda k=k: np.full((64, 96, 3), 10 * k, np.uint8))
        graph = node._planner.memory.annex(PlaceGraph)
        np.testing.assert_allclose(np.array(graph.odometry)[:, 0], [0.0, 0.4, 0.8, 1.2], atol=1e-9)
        assert all(graph.thumbnails)
    finally:
        node.release()
        node.destroy_node()
