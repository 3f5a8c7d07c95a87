# SPDX-License-Identifier: Apache-2.0
"""A model sees the cameras and feels the states that its contract gives it, whatever their number, size and aspect."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_world import planar_config

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.perception import ImageError, Perception
from jepa_ros.world_model import ModelConfig, WorldModel, load_checkpoint, save_checkpoint
from jepa_ros.world_model.check import check_world_model

SMALL = {"latent_dim": 24, "width": 32, "encoder_width": 12, "readouts": ("distance",)}


@pytest.fixture(scope="module")
def contract() -> RobotContract:
    """The arena's base with a wide first camera, a second one, one that is recorded alone, and its measured speed."""
    data = load_contract("arena").to_dict()
    first = data["cameras"][0] | {"width": 192, "height": 128, "size": [96, 64]}
    front = {"name": "front", "width": 64, "height": 64, "rate": 10.0, "size": 32, "model": True}
    data["cameras"] = [first, front, {**front, "name": "back", "model": False}]
    data["state"]["odom"]["model"] = True
    return RobotContract.from_dict(data)


@pytest.fixture(scope="module")
def model(contract: RobotContract) -> WorldModel:
    torch.manual_seed(0)
    return WorldModel(ModelConfig(**ModelConfig.inputs_of(contract), **SMALL)).eval().requires_grad_(False)


def seen(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"image": (128, 192, 3), "front": (64, 64, 3), "back": (64, 64, 3)}
    return {name: rng.integers(0, 255, shape, dtype=np.uint8) for name, shape in shapes.items()}


def test_the_sizes_follow_from_the_contract(contract, model):
    assert model.config.cameras == (("image", 96, 64), ("front", 32, 32)) and model.config.states == (("odom", 2),)
    assert model.config.grid == (16, 24)
    inputs = Perception(model, contract).inputs(seen(), state={"odom": np.zeros(2)})
    assert {name: tuple(value.shape) for name, value in inputs.items()} == {
        "image": (1, 64, 96, 3), "front": (1, 32, 32, 3), "odom": (1, 2)
    }  # fmt: skip


def test_every_input_reaches_the_latent_and_a_camera_that_is_recorded_alone_does_not(contract, model):
    perception = Perception(model, contract)
    still = {"odom": np.zeros(2)}
    plain = perception.encode(seen(), state=still)
    for name in ("image", "front"):
        assert not np.allclose(perception.encode(seen() | {name: seen(1)[name]}, state=still), plain)
    assert not np.allclose(perception.encode(seen(), state={"odom": np.array([0.3, 0.0])}), plain)
    assert np.array_equal(perception.encode(seen() | {"back": seen(1)["back"]}, state=still), plain)


@pytest.mark.parametrize(
    ("pictures", "state", "said"),
    [
        (("image",), {"odom": np.zeros(2)}, "no picture of camera 'front'"),
        (("image", "front"), None, "state 'odom'.*found none"),
        (("image", "front"), {"odom": np.array([0.1, np.nan])}, "state 'odom'.*2 finite values"),
        (("image", "front"), {"odom": np.zeros(3)}, "state 'odom'.*2 finite values"),
    ],
)
def test_what_is_missing_is_named(contract, model, pictures, state, said):
    with pytest.raises(ImageError, match=said):
        Perception(model, contract).encode({name: seen()[name] for name in pictures}, state=state)


def test_one_picture_alone_is_that_of_the_only_camera():
    arena = load_contract("arena")
    perception = Perception(WorldModel(planar_config(width=32, encoder_width=8)), arena)
    image = np.zeros((128, 128, 3), np.uint8)
    assert np.array_equal(perception.encode(image), perception.encode({"image": (image, "rgb8")}))


def test_a_checkpoint_keeps_its_inputs_and_the_model_passes_the_check(contract, model, tmp_path):
    save_checkpoint(tmp_path, model, {"contract": contract.to_dict()})
    again, card = load_checkpoint(tmp_path, contract)
    assert again.config == model.config and card["model"]["cameras"] == [["image", 96, 64], ["front", 32, 32]]
    inputs = Perception(again, contract).inputs(seen(), state={"odom": np.zeros(2)})
    two = {name: value.expand(2, *value.shape[1:]) for name, value in inputs.items()}
    assert any("encode" in line for line in check_world_model(again, two))


def test_a_state_counts_in_units_of_what_training_saw(contract):
    model = WorldModel(ModelConfig(**ModelConfig.inputs_of(contract), **SMALL)).train()
    odom = torch.tensor([100.0, -3.0]) + torch.tensor([5.0, 0.1]) * torch.randn(64, 2)
    inputs = {"image": torch.zeros(64, 64, 96, 3), "front": torch.zeros(64, 32, 32, 3), "odom": odom}
    for _ in range(60):
        model.latent(inputs)
    norm = model.eval().encoder.states["odom"]
    assert norm(odom).mean(0).abs().max() < 0.1 and (norm(odom).std(0) - 1.0).abs().max() < 0.1
