# SPDX-License-Identifier: Apache-2.0
"""The part of a latent that tells what stands about: predictions leave it as it is, and it tells nothing that moves."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from toy_world import planar_config

from jepa_ros.contract import load_contract
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import Episode
from jepa_ros.learning.data.sampler import BatchShape
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros.learning.representation.losses import elsewhere, same_scene
from jepa_ros.learning.representation.representation import RepresentationTrainer
from jepa_ros.learning.settings import TrainSettings
from jepa_ros.learning.stages.scene import fit_scene, judge_scene
from jepa_ros.planning.native import NativeRollout
from jepa_ros.planning.rollout import ModelRollout
from jepa_ros.world_model import ModelConfig, WorldModel
from jepa_ros_sim.rooms.scene import RoomsScene
from jepa_ros_sim.rooms.world import RoomsWorld

CONTRACT = load_contract("rooms")
CONFIG = planar_config(latent_dim=20, scene_dim=6, width=32, encoder_width=8, keypoints=2)


def model_of(config: ModelConfig = CONFIG) -> WorldModel:
    torch.manual_seed(0)
    return WorldModel(config)


def test_a_latent_ends_with_what_stands_about_and_no_prediction_changes_that():
    model = model_of().eval()
    z = model.latent({"image": torch.randint(0, 255, (3, 64, 64, 3), dtype=torch.uint8)})
    assert z.shape == (3, 20)
    zs, _ = model.rollout(z, model.initial_state(3), torch.ones(3, 5, 2))
    assert torch.equal(zs[..., 14:], z[:, None, 14:].expand(-1, 5, -1))
    assert (zs[..., :14] - z[:, None, :14]).abs().min() > 0.0


def test_training_never_moves_it(tmp_path):
    model = model_of()
    trainer = RepresentationTrainer(model, TrainSettings(batch=BatchShape(4, 2, 4)), bf16=False)
    inputs = {"image": torch.randint(0, 255, (4, 2, 4, 64, 64, 3), dtype=torch.uint8)}
    for number in range(3):
        told = trainer.step(number, inputs, torch.rand(4, 2, 4, 2))
    assert told["scene"] > 0.0
    last = model.predictor.layers[-1]
    assert not last.weight[14:20].any() and not last.bias[14:20].any() and last.weight[:14].all()
    assert all(p.grad is not None and p.grad.any() for p in model.encoder.scene.parameters())


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_fused_rollouts_leave_it_too():
    model = model_of().eval().requires_grad_(False)
    z, h, actions = torch.randn(20), torch.zeros(16), torch.rand(5, 4, 2)
    fused = NativeRollout(model, 5, 1, 4, "float32")(z, h, actions, None)
    torch.testing.assert_close(fused, ModelRollout(model)(z, h, actions, None), rtol=1e-4, atol=1e-5)
    assert torch.equal(fused[..., 14:], z[14:].expand(5, 1, 4, -1))


def test_it_is_taken_from_another_window_of_the_same_episode():
    z = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).view(2, 3, 4, 5)
    mixed = elsewhere(z, 3)
    assert torch.equal(mixed[..., :3], z[..., :3])
    assert torch.equal(mixed[0, 1, :, 3:], z[0, 0, :1, 3:].expand(4, -1))
    assert elsewhere(z, 5) is z


def test_it_is_to_be_the_same_through_an_episode_and_to_differ_between_episodes():
    layout = torch.randn(64, 1, 1, 6).expand(-1, 2, 3, -1)
    moving = torch.randn(1, 2, 3, 6).expand(64, -1, -1, -1)
    assert same_scene(layout) < 1.0
    assert same_scene(moving) > 3.0
    assert same_scene(torch.zeros(64, 2, 3, 6)) > 0.9


def test_sizes_that_leave_nothing_to_move_are_refused():
    with pytest.raises(ValueError, match="scene_dim"):
        planar_config(latent_dim=8, scene_dim=8)
    assert ModelConfig.from_dict(CONFIG.to_dict()) == CONFIG
    old = {name: value for name, value in CONFIG.to_dict().items() if name != "scene_dim"}
    assert ModelConfig.from_dict(old).scene_dim == 0


def test_it_is_learned_from_pairs_of_pictures_of_many_episodes(tmp_path):
    """It tells rooms from others wherever the robot stands in them, and nothing else of the model changes."""
    task, scene = RoomsWorld().task("rooms", CONTRACT, {}), RoomsScene(CONTRACT)
    writer = DatasetWriter(tmp_path, CONTRACT, {})
    writer.begin()
    rng, size = np.random.default_rng(0), 6
    writer.write_shard(0, [_episode(task.outing(0, n), scene, rng, size) for n in range(120)])
    writer.finish({})
    data = Dataset(tmp_path, min_length=2)
    model = model_of(planar_config(latent_dim=20, scene_dim=8, width=32, encoder_width=12, keypoints=2)).eval()
    model.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit_scene(model, data, np.arange(120), 120, 0, lambda *_: None)
    assert judge_scene(model, data, np.arange(120))["change"] < 0.3
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith("encoder.scene.")


def _episode(spec, scene, rng, size):
    scene.reset(spec)
    pictures = np.stack([scene.picture(spec.layout.free_point(rng)) for _ in range(size)])
    return Episode(
        pictures, np.zeros((size, 2), np.float32), np.zeros((size, 2), np.float32),
        np.full((size, 3), np.nan, np.float32), np.zeros(size, bool), spec.group,
    )  # fmt: skip
