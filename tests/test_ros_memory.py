# SPDX-License-Identifier: Apache-2.0
"""A place that was remembered is a goal after the planner's process was killed; asked from the command line."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from ros_harness import Child, Probe
from sensor_msgs.msg import Image
from std_msgs.msg import String, UInt8MultiArray
from toy_world import planar_config

from jepa_ros.contract import load_contract
from jepa_ros.memory import Store
from jepa_ros.memory.overview import key_of, overview_of
from jepa_ros.memory.store import identity_of
from jepa_ros.memory.thumbnail import pixels_of
from jepa_ros.messages.images import latent_of
from jepa_ros.nodes import planner_places, qos
from jepa_ros.nodes.convert import fill, to_stamp
from jepa_ros.nodes.planner_memory import MemoryTopic
from jepa_ros.nodes.planner_places import pictures_of, told
from jepa_ros.planar.place_graph import PlaceGraph
from jepa_ros.planning.bodies import new_memory
from jepa_ros.world_model import WorldModel, save_checkpoint

SPACE = "/mem"


class Scene:
    """A planner that sees one latent, five times a second, and a probe that listens to it."""

    def __init__(self, folder, memory: str) -> None:
        torch.manual_seed(0)
        small = planar_config(latent_dim=16, width=32, encoder_width=8, keypoints=2)
        save_checkpoint(folder, WorldModel(small), {"contract": load_contract("arena").to_dict()})
        self.model, self.memory = folder, memory
        self.probe = Probe(SPACE)
        self.probe.listen(DiagnosticArray, "planner/memory", qos.LATCHED)
        self.probe.listen(DiagnosticArray, "planner/status", qos.STATUS)
        self.probe.listen(Image, "planner/goal", qos.LATCHED)
        self.probe.listen(String, "planner/_places", qos.LATCHED)
        self.probe.listen(UInt8MultiArray, "planner/_thumbnails", qos.LATCHED)
        self.places_out = self.probe.node.create_publisher(String, "goal_place", qos.COMMAND)
        self.out = self.probe.node.create_publisher(Image, "embedding", qos.EMBEDDING)
        self.camera = self.probe.node.create_publisher(Image, "image", qos.IMAGE)
        self.picture = np.full((64, 64, 3), 90, np.uint8)
        self.latent, self._times = np.arange(16, dtype=np.float32), itertools.count(500)
        self.probe.node.create_timer(0.1, self._see)
        self.node: Child | None = None

    def _see(self) -> None:
        image, message = fill(Image(), self.picture, "rgb8"), fill(Image(), self.latent[None], "32FC1")
        image.header.stamp = message.header.stamp = to_stamp(0.2 * next(self._times))
        self.camera.publish(image)
        self.out.publish(message)

    def start(self) -> None:
        for kept in self.probe.received.values():
            kept.clear()
        words = [f"memory:={self.memory}", f"model:={self.model}", "autostart:=true", "search.samples:=16",
                 "search.elites:=4", "search.deadline:=5.0"]  # fmt: skip
        given = [part for word in words if not word.endswith(":=") for part in ("-p", word)]
        self.node = Child("-m", "jepa_ros.nodes.planner", "--ros-args", "-r", f"__ns:={SPACE}", *given)
        self.probe.until(lambda: self.probe.values("planner/status"), "a step of the planner", 120.0)

    def say(self, *words: str) -> tuple[int, str]:
        """`jepa-ros goal ...`: exit code and output."""
        child = Child("-m", "jepa_ros.commands.cli", "goal", *words, "--namespace", SPACE, "--timeout", "30")
        try:
            self.probe.until(lambda: child.popen.poll() is not None, f"the end of goal {words}", 120.0)
            return child.wait(), child.text
        finally:
            child.end()

    def end(self) -> None:
        if self.node is not None:
            self.node.end()
        self.probe.close()


@pytest.fixture
def scene(tmp_path):
    scene = Scene(tmp_path / "model", str(tmp_path / "memory"))
    yield scene
    scene.end()


def test_a_remembered_place_is_a_goal_after_the_planner_was_killed(scene):
    scene.start()
    code, text = scene.say("remember", "dock")
    assert code == 0 and text.startswith("dock: 20"), text
    scene.node.popen.kill()
    scene.node.wait()
    scene.latent = -scene.latent  # it comes back elsewhere
    scene.start()
    scene.probe.until(lambda: "tags" in scene.probe.values("planner/memory"), "what it remembers")
    values = scene.probe.values("planner/memory")
    assert values["tags"] == "1" and "tag/dock" in values and values["kept"] == "true"
    code, text = scene.say("tags")
    assert code == 0 and text.splitlines()[0].startswith("dock: ") and scene.memory in text
    code, text = scene.say("tag", "sink")
    assert code == 1 and "no place is remembered as 'sink'; known: dock" in text
    assert "'sink'" in scene.probe.values("planner/status")["goal_refused"]
    code, text = scene.say("tag", "dock")
    assert code == 0 and text.startswith("goal: memory"), text
    goal = scene.probe.last("planner/goal")
    assert goal.header.frame_id == "dock"
    np.testing.assert_array_equal(latent_of(goal).ravel(), np.arange(16, dtype=np.float32))
    code, text = scene.say("remember", "dock\n")
    assert code == 1 and "not remembered" in text and "printable" in text


def test_a_remembered_place_keeps_what_the_camera_saw(scene, tmp_path):
    scene.start()
    assert scene.say("remember", "dock")[0] == 0
    scene.node.end()
    contract = load_contract("arena")
    model, _, size = identity_of(scene.memory)
    memory = new_memory(contract, size)
    Store(scene.memory, model, contract, memory, read_only=True)
    small = pixels_of(memory.tags["dock"].thumbnail)
    assert small is not None and small.shape == (64, 64, 3) and abs(int(small.mean()) - 90) <= 2


def shown(scene):
    """What the planner tells of its memory to who listens."""
    message = scene.probe.last("planner/_places")
    return {} if message is None else json.loads(message.data)


def test_a_place_of_the_memory_is_shown_with_its_picture_and_is_a_goal(scene):
    scene.start()
    assert scene.say("remember", "dock")[0] == 0
    scene.probe.until(lambda: shown(scene).get("places") and shown(scene)["tags"], "what is remembered")
    found = shown(scene)
    (number, key, x, y, *_), tag = found["places"][0], found["tags"][0]
    assert found["kind"] == "states" and found["total"] >= 1 and tag[0] == "dock" and tag[2:] == [x, y]
    assert found["here"][:2] == [x, y] and found["goal"] is None
    scene.probe.until(lambda: scene.probe.last("planner/_thumbnails"), "its pictures")
    bundle = scene.probe.last("planner/_thumbnails")
    (part,) = bundle.layout.dim
    assert part.label == tag[1] and pixels_of(bytes(bundle.data)).shape == (64, 64, 3)

    def goal(text):
        before = scene.probe.values("planner/status")["goal_answers"]
        scene.places_out.publish(String(data=text))
        scene.probe.until(lambda: scene.probe.values("planner/status")["goal_answers"] != before, "an answer")
        return scene.probe.values("planner/status")

    for wrong in (f"{number} 0000", f"{number + 999} {key}"):
        assert "is not in this memory as it was chosen" in goal(wrong)["goal_refused"]
    assert "expected the number of a place" in goal("dock")["goal_refused"]
    taken = goal(f"{number} {key}")
    assert (taken["goal"], taken["goal_name"], taken["goal_refused"]) == ("memory", f"place {number}", "")
    np.testing.assert_array_equal(latent_of(scene.probe.last("planner/goal")).ravel(), scene.latent)
    scene.probe.until(lambda: shown(scene)["goal"], "where the goal lies")
    assert shown(scene)["goal"] == pytest.approx([x, y], abs=0.05)  # the search reads it with fewer digits


def test_a_planner_without_a_memory_says_so(scene):
    scene.memory = ""
    scene.start()
    for words in (["tags"], ["remember", "dock"], ["tag", "dock"]):
        code, text = scene.say(*words)
        assert code == 1 and "no long-term memory: start it with memory:=FOLDER" in text, (words, text)


def test_what_is_shown_of_a_graph_says_where_the_robot_is_and_the_way_to_the_goal():
    memory = new_memory(load_contract("rover"), 4)
    graph = memory.annex(PlaceGraph)
    for k in range(4):
        graph.add(np.full(4, k), np.zeros(3), 1000.0, b"view %d" % k)
        if k:
            graph.join(k - 1, k, np.array([1.0, 0.0, 0.0]), 10.0, 0.05, 1)
    goal = object()
    views = {"place": lambda: (1, 0.8), "way": [1, 2, 3], "anchors": (goal, {3: (np.array([0.5, 0.0, 0.0]), 0.1)})}
    planner = SimpleNamespace(memory=memory, view=views.get, target=None, goal=None)
    overview = overview_of(memory)
    overview.follow(1.0)
    found = told(planner, overview, True)
    assert (found["kind"], found["total"], found["goal"], found["way"]) == ("places", 4, None, [])
    assert found["here"] == [1.0, 0.0, 0.0] and found["sure"] == 0.8
    assert found["ways"] == [[0, 1, 1], [1, 2, 1], [2, 3, 1]]
    planner.target, planner.goal = object(), goal
    found = told(planner, overview, True)
    assert found["goal"] == [3.5, 0.0] and found["way"] == [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]
    planner.goal = object()  # a new goal, of which nobody knows yet where it lies
    assert told(planner, overview, True)["goal"] is None
    assert b"".join(pictures_of(memory, overview).values()) == b"view 0view 1view 2view 3"


def test_the_pictures_of_a_memory_are_bounded_and_tags_come_first(monkeypatch):
    memory = new_memory(load_contract("rover"), 4)
    for k in range(40):
        memory.annex(PlaceGraph).add(np.full(4, k), np.zeros(3), 1000.0, bytes(3000))
        memory.tag(f"tag {k}", np.full(4, 100 + k), thumbnail=bytes(3000))
    monkeypatch.setattr(planner_places, "PICTURE_BYTES", 150_000)
    overview = overview_of(memory)
    overview.follow(1.0)
    found = pictures_of(memory, overview)
    assert sum(map(len, found.values())) == 150_000 and len(found) == 50
    assert set(list(found)[:40]) == {key_of(tag.latent) for tag in memory.tags.values()}


def test_places_that_grow_all_the_time_are_told_rarely_and_a_tag_at_once(tmp_path):
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("remembering", context=context)
    topic = MemoryTopic(node)
    heard: list[DiagnosticArray] = []
    try:
        memory = topic.open(str(tmp_path / "memory"), "model", load_contract("rover"), 4)
        topic._out = SimpleNamespace(publish=heard.append)
        for k in range(5):
            memory.annex(PlaceGraph).add(np.full(4, k), np.zeros(3))
            topic.tell()
        assert not heard
        memory.tag("dock", np.zeros(4, np.float32))
        topic.tell()
        assert [v.value for v in heard[0].status[0].values if v.key == "places"] == ["5"] and len(heard) == 1
    finally:
        topic.close()
        node.destroy_node()
        rclpy.shutdown(context=context)
