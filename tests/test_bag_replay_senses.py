# SPDX-License-Identifier: Apache-2.0
"""A replay gives the model what the node gives it: of further cameras and states, the newest before an image."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from bag_helpers import START, header, image
from toy_world import planar_config

from jepa_ros.bags import CONTRACT_KEY, BagError
from jepa_ros.bags.format.message_types import typestore
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.schema import default_qos
from jepa_ros.bags.format.writer import BagWriter, WriterConfig
from jepa_ros.bags.replay.stack import Changes, prepare
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.perception import Perception
from jepa_ros.world_model import ModelConfig, WorldModel, load_checkpoint, save_checkpoint

KINDS = {"/image": "sensor_msgs/msg/Image", "/front": "sensor_msgs/msg/Image", "/odom": "nav_msgs/msg/Odometry"}


def odometry(at, v):
    types = typestore().types
    vector, kind = types["geometry_msgs/msg/Vector3"], KINDS["/odom"]
    twist = types["geometry_msgs/msg/Twist"](vector(v, 0.0, 0.0), vector(0.0, 0.0, 0.0))
    pose = types["geometry_msgs/msg/Pose"](
        types["geometry_msgs/msg/Point"](0.0, 0.0, 0.0), types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    )
    message = types[kind](
        header(at, "odom"), "base_link", types["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36)),
        types["geometry_msgs/msg/TwistWithCovariance"](twist, np.zeros(36)),
    )  # fmt: skip
    return bytes(typestore().serialize_cdr(message, kind))


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    """(contract, checkpoint) of a model with two cameras that takes the odometry."""
    data = load_contract("arena").to_dict()
    data["cameras"].append({"name": "front", "width": 64, "height": 48, "rate": 10.0, "size": [32, 16], "model": True})
    data["state"]["odom"]["model"] = True
    contract, folder = RobotContract.from_dict(data), tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    small = planar_config(latent_dim=16, width=32, encoder_width=8, keypoints=2, **ModelConfig.inputs_of(contract))
    save_checkpoint(folder, WorldModel(small), {"contract": contract.to_dict()})
    return contract, folder


def write(path, contract, messages):
    custom = {CONTRACT_KEY: json.dumps(contract.to_dict())}
    with BagWriter(path, WriterConfig(min_free_bytes=0), custom_data=custom) as writer:
        topics = {name: writer.add_topic(name, kind, [default_qos()]) for name, kind in KINDS.items()}
        for number, (time, topic, data) in enumerate(sorted(messages)):
            writer.write(topics[topic], time, data, sequence=number)


def test_what_the_model_takes_beside_an_image_is_the_newest_before_it(robot, tmp_path):
    contract, folder = robot
    rng = np.random.default_rng(0)
    overhead = rng.integers(0, 255, (4, 128, 128, 3), dtype=np.uint8)
    front = rng.integers(0, 255, (9, 48, 64, 3), dtype=np.uint8)
    messages = [(START, "/odom", odometry(START - 1, 0.0)), (START, "/front", image(START - 1, front[8]))]
    for k in range(4):
        at = START + k * 200_000_000
        messages.append((at + 5_000_000, "/image", image(at, overhead[k])))
        for half in range(2):  # one as the image is taken, one 0.1 s later
            then = at + half * 100_000_000
            messages.append((then + 1_000_000, "/front", image(then, front[2 * k + half])))
            messages.append((then + 1_000_000, "/odom", odometry(then, 0.1 * (2 * k + half))))
    messages.append((START + 402_000_000, "/front", image(START + 401_000_000, front[8])))  # taken after, heard before
    write(tmp_path / "bag", contract, messages)
    with BagReader(tmp_path / "bag") as reader:
        log = prepare(reader, Changes(model=str(folder), gate=False)).offline.run()
    perception = Perception(load_checkpoint(folder, contract)[0], contract)
    assert len(log.embeddings) == 4
    for k, stamp in enumerate(sorted(log.embeddings)):
        state = {"odom": np.array([0.2 * k, 0.0])}
        expected = perception.encode({"image": overhead[k], "front": front[2 * k]}, state=state)
        np.testing.assert_allclose(log.embeddings[stamp], expected, atol=1e-6)


def test_what_is_missing_is_named(robot, tmp_path):
    contract, folder = robot
    picture = image(START, np.zeros((128, 128, 3), np.uint8))
    late = image(START + 300_000_000, np.zeros((48, 64, 3), np.uint8))
    messages = [(START, "/image", picture), (START + 1, "/odom", odometry(START, 0.0)), (START + 2, "/front", late)]
    write(tmp_path / "bag", contract, messages)
    with BagReader(tmp_path / "bag") as reader:
        replay = prepare(reader, Changes(model=str(folder), gate=False)).offline
        with pytest.raises(BagError, match="'front', which the model takes, was not heard before this image"):
            replay.run()


def test_a_part_of_a_bag_begins_with_what_was_known_before_it(robot, tmp_path):
    contract, folder = robot
    rng = np.random.default_rng(1)
    overhead = rng.integers(0, 255, (6, 128, 128, 3), dtype=np.uint8)
    front = rng.integers(0, 255, (6, 48, 64, 3), dtype=np.uint8)
    messages = []
    for k in range(6):
        at = START + k * 200_000_000
        messages.append((at, "/front", image(at - 10_000_000, front[k])))
        messages.append((at, "/odom", odometry(at - 10_000_000, 0.1 * k)))
        messages.append((at + 5_000_000, "/image", image(at, overhead[k])))
    write(tmp_path / "bag", contract, messages)
    with BagReader(tmp_path / "bag") as reader:
        replay = prepare(reader, Changes(model=str(folder), gate=False)).offline
        replay.recording = replay.recording.past_of(START + 1_000_000_000, 0.3)
        log = replay.run()
    perception = Perception(load_checkpoint(folder, contract)[0], contract)
    assert sorted(log.embeddings) == [START + 800_000_000, START + 1_000_000_000]
    expected = perception.encode({"image": overhead[4], "front": front[4]}, state={"odom": np.array([0.4, 0.0])})
    np.testing.assert_allclose(log.embeddings[START + 800_000_000], expected, atol=1e-6)
