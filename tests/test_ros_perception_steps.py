# SPDX-License-Identifier: Apache-2.0
"""The perception node encodes the image that begins a control step, and no other; it lives as long as images come."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import rclpy
import torch
import yaml
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from toy_world import planar_config

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.messages.diagnostics import key_values
from jepa_ros.nodes.convert import fill, to_stamp
from jepa_ros.nodes.perception import PerceptionNode
from jepa_ros.world_model import ModelConfig, WorldModel, save_checkpoint

ARENA = load_contract("arena")  # 5 control steps a second
PICTURE = np.zeros((128, 128, 3), np.uint8)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    small = planar_config(latent_dim=16, width=32, encoder_width=8, keypoints=2)
    data = ARENA.to_dict()
    data["cameras"][0]["rate"] = 30.0
    save_checkpoint(folder, WorldModel(small), {"contract": data})
    robot = folder / "robot.yaml"
    robot.write_text(yaml.safe_dump(data))
    rclpy.init(args=[])
    given = [Parameter("model", value=str(folder)), Parameter("robot", value=str(robot))]
    made = PerceptionNode(parameter_overrides=given)
    made.configure()
    made.active = True
    yield made
    made.destroy_node()
    rclpy.try_shutdown()


def watch(node, monkeypatch):
    """The node, begun anew, and what it publishes and encodes."""
    kept = {name: [] for name in ("_out", "_heartbeat_out", "_status_out")}
    for name, messages in kept.items():
        monkeypatch.setattr(node, name, SimpleNamespace(publish=messages.append))
    perception, encoded, taken, states = node._perception, [], [], []
    inputs, encode = perception.inputs, perception.encode_together

    def take(*given, state):
        taken.append(given)
        states.append(state)
        return inputs(*given, state=state)

    def watched(several):
        encoded.extend(taken[-len(several) :])
        return encode(several)

    monkeypatch.setattr(perception, "inputs", take)
    monkeypatch.setattr(perception, "encode_together", watched)
    node.on_active(True)
    told = {k.strip("_"): v for k, v in kept.items()}
    return SimpleNamespace(node=node, encoded=encoded, states=states, **told)


@pytest.fixture
def seen(node, monkeypatch):
    return watch(node, monkeypatch)


def show(seen, stamp, picture=PICTURE, encoding="rgb8"):
    message = fill(Image(), picture, encoding)
    message.header.stamp = to_stamp(stamp)
    seen.node._on_image(bytes(serialize_message(message)))


def test_a_sixth_of_a_30_hz_cameras_images_is_encoded_at_5_steps_a_second(seen):
    rng = np.random.default_rng(0)
    for k in range(300):
        show(seen, 100.0 + k / 30.0 + rng.uniform(-0.004, 0.004))
    assert len(seen.encoded) == len(seen.out) == 50
    assert len(seen.heartbeat_out) == 300  # it is alive, whether there is something to encode or not
    stamps = [m.header.stamp.sec + 1e-9 * m.header.stamp.nanosec for m in seen.out]
    assert np.abs(np.diff(stamps) - 0.2).max() < 0.03
    told = key_values(seen.status_out[-1])
    assert int(told["images"]) - int(told["encoded"]) >= 245


def test_no_image_is_encoded_twice_and_time_that_jumps_back_begins_a_step(seen):
    for stamp in (100.0, 100.0, 100.2, 100.2, 50.0):
        show(seen, stamp)
    assert [m.header.stamp.sec for m in seen.out] == [100, 100, 50]


def test_a_picture_that_is_refused_gives_no_heartbeat_until_one_can_be_taken(seen):
    show(seen, 100.0)
    show(seen, 100.2, PICTURE[:64])  # another aspect ratio
    for k in range(1, 6):
        show(seen, 100.2 + k / 30.0)
    assert len(seen.heartbeat_out) == 1
    show(seen, 100.4)
    show(seen, 100.4 + 1 / 30.0)
    assert len(seen.heartbeat_out) == 3 and len(seen.out) == 2


def test_bytes_that_are_no_image_are_refused_and_the_node_lives(seen):
    seen.node._on_image(b"\x00\x01")
    show(seen, 100.0)
    assert len(seen.out) == 1


@pytest.fixture(scope="module")
def two_eyed(tmp_path_factory, node):
    """A node whose model sees a second, compressed camera and takes the odometry."""
    folder = tmp_path_factory.mktemp("two")
    data = ARENA.to_dict()
    second = {"name": "front", "width": 64, "height": 48, "rate": 10.0, "size": [32, 16], "model": True}
    data["cameras"].append(second | {"compressed": True})
    data["state"]["odom"]["model"] = True
    robot = folder / "robot.yaml"
    robot.write_text(yaml.safe_dump(data))
    contract = RobotContract.from_dict(data)
    torch.manual_seed(0)
    small = planar_config(latent_dim=16, width=32, encoder_width=8, keypoints=2, **ModelConfig.inputs_of(contract))
    save_checkpoint(folder, WorldModel(small), {"contract": contract.to_dict()})
    given = [Parameter("model", value=str(folder)), Parameter("robot", value=str(robot))]
    made = PerceptionNode(parameter_overrides=given)
    made.configure()
    made.active = True
    yield made
    made.destroy_node()


def front(seen, stamp, level):
    message = CompressedImage(format="png")
    message.header.stamp = to_stamp(stamp)
    message.data.frombytes(cv2.imencode(".png", np.full((48, 64, 3), level, np.uint8))[1].tobytes())
    seen.node._on_further("front", bytes(serialize_message(message)))


def wheels(seen, stamp, v):
    message = Odometry()
    message.header.stamp = to_stamp(stamp)
    message.pose.pose.orientation.w = 1.0
    message.twist.twist.linear.x = v
    seen.node._on_odom(message)


def test_further_cameras_and_states_are_those_at_or_before_the_image(two_eyed, monkeypatch):
    kept = watch(two_eyed, monkeypatch)
    for k in range(4):
        front(kept, 100.0 + 0.1 * k, 40 * k)
        wheels(kept, 100.0 + 0.1 * k, 0.1 * k)
    front(kept, 100.25, 250)  # taken after the image, heard before it
    wheels(kept, 100.25, 9.0)
    show(kept, 100.2)
    pictures, = kept.encoded[-1]
    assert int(pictures["front"][0][0, 0, 0]) == 80 and pictures["front"][1] == "bgr8"
    assert kept.states[-1]["odom"].tolist() == pytest.approx([0.2, 0.0])
    assert len(kept.out) == 1


def test_an_input_that_is_missing_or_old_is_named_and_gives_no_heartbeat(two_eyed, monkeypatch):
    kept = watch(two_eyed, monkeypatch)
    show(kept, 100.0)
    assert "'front', which the model takes, was not heard" in kept.status_out[-1].status[0].message
    front(kept, 100.1, 9)
    wheels(kept, 100.1, 0.0)
    show(kept, 100.2)
    assert len(kept.out) == 1
    wheels(kept, 100.8, 0.0)
    show(kept, 100.9)
    assert "'front', which the model takes, is 0.80 s old (limit 0.5 s)" in kept.status_out[-1].status[0].message
    assert len(kept.out) == len(kept.heartbeat_out) == 1
