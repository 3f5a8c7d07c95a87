# SPDX-License-Identifier: Apache-2.0
"""Perception as a managed node: it works while it is active, and what it cannot use it refuses by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from ros_harness import Child, Probe
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String
from toy_world import planar_config

from jepa_ros.contract import load_contract
from jepa_ros.messages.images import latent_of
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import fill, to_stamp
from jepa_ros.perception import Perception
from jepa_ros.world_model.checkpoint import load_card, load_checkpoint, model_id, save_checkpoint
from jepa_ros.world_model.model import WorldModel


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    save_checkpoint(folder, WorldModel(planar_config()), {"contract": load_contract("arena").to_dict()})
    return folder


class Scene:
    def __init__(self) -> None:
        self.probe = Probe("/life")
        self.probe.listen(Image, "embedding", qos.EMBEDDING)
        self.probe.listen(Header, "perception/heartbeat", qos.HEARTBEAT)
        self.probe.listen(String, "model_id", qos.LATCHED)
        self.probe.listen(DiagnosticArray, "perception/status", qos.STATUS)
        self.image_out = self.probe.node.create_publisher(Image, "image", qos.IMAGE)
        self.node = Child("-m", "jepa_ros.nodes.perception", "--ros-args", "-r", "__ns:=/life")
        self.sent = 0

    def change(self, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.probe.call(ChangeState, "perception/change_state", request, 180).success

    def state(self) -> str:
        return self.probe.call(GetState, "perception/get_state", timeout=120).current_state.label

    def set(self, name: str, text: str):
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=text)
        request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
        return self.probe.call(SetParameters, "perception/set_parameters", request).results[0]

    def send(self, pixels, encoding: str = "rgb8") -> None:
        message = fill(Image(), pixels, encoding)
        self.sent += 1
        message.header.stamp = to_stamp(100.0 + self.sent)
        self.image_out.publish(message)

    def send_until_embedded(self, pixels, encoding: str) -> Image:
        """Send a picture again and again (best effort) until an embedding comes back; return that."""
        kept = self.probe.received["embedding"]
        before = len(kept)

        def arrived():
            if len(kept) > before:
                return kept[-1][1]
            self.send(pixels, encoding)
            self.probe.spin(0.1)
            return None

        return self.probe.until(arrived, f"an embedding of a {encoding} image")

    def close(self) -> None:
        self.node.end()
        self.probe.close()


@pytest.fixture(scope="module")
def scene():
    made = Scene()
    yield made
    made.close()


def test_it_is_unconfigured_until_told_and_a_wrong_model_leaves_it_so(scene, tmp_path):
    assert scene.state() == "unconfigured"
    assert scene.set("model", str(tmp_path)).successful
    assert not scene.change(Transition.TRANSITION_CONFIGURE)
    assert scene.state() == "unconfigured"
    scene.probe.until(lambda: "card.json" in scene.node.text, "the reason in the log")


def test_it_says_its_model_when_configured_and_works_only_while_active(scene, model):
    assert scene.set("model", str(model)).successful
    assert scene.change(Transition.TRANSITION_CONFIGURE)
    identity = scene.probe.until(lambda: scene.probe.last("model_id"), "the model's id").data
    assert identity == model_id(load_card(model))
    refused = scene.set("model", "another")
    assert not refused.successful and "configured" in refused.reason
    grey = np.full((128, 128, 3), 100, np.uint8)
    for _ in range(5):
        scene.send(grey)
        scene.probe.spin(0.1)
    assert not scene.probe.received["embedding"]
    assert scene.change(Transition.TRANSITION_ACTIVATE)
    scene.send_until_embedded(grey, "rgb8")
    scene.probe.until(lambda: scene.probe.last("perception/heartbeat"), "a heartbeat after work")
    assert scene.probe.last("perception/heartbeat").frame_id == identity


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8", "rgba8", "bgra8"])
def test_the_embedding_is_what_the_core_makes_of_the_same_picture(scene, model, encoding):
    channels = {"rgb8": 3, "bgr8": 3, "mono8": 1, "rgba8": 4, "bgra8": 4}[encoding]
    pixels = np.random.default_rng(1).integers(0, 255, (128, 128, channels), dtype=np.uint8)
    latent = latent_of(scene.send_until_embedded(pixels, encoding))
    contract = load_contract("arena")
    torch.set_num_threads(1)
    expected = Perception(load_checkpoint(model, contract)[0], contract).encode(pixels, encoding)
    assert np.allclose(latent, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "encoding", "said"), [((128, 128, 2), "16UC1", "16UC1"), ((120, 160, 3), "rgb8", "160x120")]
)
def test_a_picture_that_it_cannot_use_is_refused_by_name_and_gives_no_heartbeat(scene, shape, encoding, said):
    scene.probe.spin(0.3)
    beats = len(scene.probe.received["perception/heartbeat"])
    scene.probe.until(
        lambda: said in scene.node.text or scene.send(np.zeros(shape, np.uint8), encoding), "the refusal in the log"
    )

    def told():
        scene.send(np.zeros(shape, np.uint8), encoding)
        last = scene.probe.last("perception/status")
        return last is not None and last.status[0].level == b"\x02" and said in last.status[0].message

    scene.probe.until(told, "the refusal in ~/status")
    assert len(scene.probe.received["perception/heartbeat"]) == beats


def test_after_cleanup_it_can_be_configured_anew(scene):
    assert scene.change(Transition.TRANSITION_DEACTIVATE)
    assert scene.change(Transition.TRANSITION_CLEANUP)
    assert scene.state() == "unconfigured"
    assert scene.change(Transition.TRANSITION_CONFIGURE)
    assert scene.change(Transition.TRANSITION_ACTIVATE)
    scene.send_until_embedded(np.full((128, 128, 3), 100, np.uint8), "rgb8")
