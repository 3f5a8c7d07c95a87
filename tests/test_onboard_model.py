# SPDX-License-Identifier: Apache-2.0
"""A camera that the robot carries: what odometry teaches about pairs of views, and the model that learns it."""

import math

import numpy as np
import pytest
import torch

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import Episode
from jepa_ros.learning.data.sampler import BatchShape, WindowSampler
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros.learning.representation.diagnostics import Latents
from jepa_ros.learning.representation.looks import Looks
from jepa_ros.learning.representation.pairs import LABELS, LONGEST, Pairs, relative
from jepa_ros.learning.representation.representation import RepresentationTrainer
from jepa_ros.learning.settings import TrainSettings
from jepa_ros.learning.stages.pair_readouts import fit_pairs, judge_pairs
from jepa_ros.learning.teachable import config_for, readouts_for
from jepa_ros.perception.state import kept_state
from jepa_ros.planar.readouts import RELATIVE
from jepa_ros.safety.inputs import OdomIn
from jepa_ros.world_model import ModelConfig, WorldModel

ROVER = load_contract("rover")


def pairs(here, there, gap=1, one_drive=True):
    n = len(here)
    flag = torch.full((n,), one_drive)
    return Pairs(torch.tensor(here), torch.tensor(there), torch.full((n,), gap), flag, ~flag)


def episode(rng, layout, steps=30):
    width, height = ROVER.cameras[0].size
    turned = np.cumsum(rng.uniform(-0.3, 0.3, steps))
    return Episode(
        images=rng.integers(0, 255, (steps, height, width, 3), dtype=np.uint8),
        actions=rng.uniform(ROVER.action_low, ROVER.action_high, (steps, 2)).astype(np.float32),
        commands=np.zeros((steps, 2), np.float32),
        poses=np.full((steps, 3), np.nan, np.float32),
        contacts=np.zeros(steps, bool),
        layout=layout,
        further={"state_odom": np.stack([turned, -turned, turned], 1).astype(np.float32)},
    )


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    writer = DatasetWriter(tmp_path / "data", ROVER, {"by": "hand"})
    writer.write_shard(0, [episode(rng, layout) for layout in (1, 1, 2, 2)])
    writer.finish()
    return Dataset(tmp_path / "data")


def test_a_base_that_nothing_localises_keeps_its_odometry():
    kept = kept_state(ROVER, {"odom": OdomIn(0.0, 0.0, 1.0, -2.0, 0.5, (0.1, 0.2), "odom")})
    np.testing.assert_allclose(kept["odom"], [1.0, -2.0, 0.5])
    assert "odom" not in {s.name for s in load_contract("arena").kept_state}, "a localised base has its pose"
    assert "odom" not in {s.name for s in ROVER.model_state}, "no model takes where odometry says that it is"


def test_a_camera_on_the_base_gets_readouts_of_pairs_and_a_view_encoder(data):
    assert [r.name for r in readouts_for(ROVER, False)] == ["distance", "relative", "same", "contact"]
    assert config_for(data, TrainSettings(), latent_dim=8).encoder == "view"
    overhead = ROVER.to_dict()
    overhead["cameras"][0]["mounting"]["frame"] = "map"
    assert [r.name for r in readouts_for(RobotContract.from_dict(overhead), False)] == ["distance", "contact"]


def test_a_view_encoder_refuses_what_it_would_not_look_at():
    with pytest.raises(ValueError, match="encoder 'view' takes one camera, no states"):
        ModelConfig(encoder="view", states=(("odom", 2),))


def test_a_relative_pose_is_the_second_as_seen_from_the_first():
    found = relative(torch.tensor([1.0, 1.0, math.pi / 2]), torch.tensor([1.0, 3.0, math.pi]))
    np.testing.assert_allclose(found, [2.0, 0.0, 0.0, 1.0], atol=1e-6)


def test_odometry_labels_only_moments_of_one_drive_that_are_near_in_time():
    poses = [[0.0, 0.0, 0.0]], [[0.5, 0.0, 0.0]]
    for gap, one, told in ((1, True, True), (LONGEST + 1, True, False), (1, False, False)):
        assert LABELS["odometry"](pairs(*poses, gap=gap, one_drive=one))[1].tolist() == [told]


def test_views_are_of_one_place_if_they_are_near_and_face_the_same_way():
    here = [[0.0, 0.0, 0.0]] * 4
    there = [[0.3, 0.0, 0.2], [0.3, 0.0, 3.0], [2.5, 0.0, 0.0], [1.5, 0.0, 0.0]]
    same, counts = LABELS["revisits"](pairs(here, there))
    assert same[:, 0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert counts.tolist() == [True, False, True, False], "turned away or halfway: neither one place nor two"
    same, counts = LABELS["revisits"](pairs(here, there, one_drive=False))
    assert not same.any() and counts.all(), "another house is another place"


def test_a_mirrored_drive_turns_the_other_way():
    looks, shape = Looks(ROVER, "image", 0), (8, 1, 2)
    pictures = torch.zeros(*shape, 4, 8, 3, dtype=torch.uint8)
    pictures[..., 2, :] = 200  # a bar left of the middle
    actions = torch.tensor([0.5, 0.7]).expand(*shape, 2).clone()
    odometry = torch.tensor([1.0, 0.4, 0.3]).expand(*shape, 3).clone()
    given, done = looks(3, {"image": pictures, "odometry": odometry}, actions)
    mirrored = given["image"][:, 0, 0, 0, 5, 0] > 0
    assert mirrored.any() and not mirrored.all()
    np.testing.assert_allclose(done[mirrored][0, 0, 0], [0.5, -0.7])
    np.testing.assert_allclose(given["odometry"][mirrored][0, 0, 0], [1.0, -0.4, -0.3])
    np.testing.assert_allclose(done[~mirrored][0, 0, 0], [0.5, 0.7])
    assert torch.equal(looks(3, {"image": pictures, "odometry": odometry}, actions)[0]["image"], given["image"])
    assert (actions == torch.tensor([0.5, 0.7])).all(), "the batch itself stays as it is"


def test_training_learns_pairs_along_with_the_representation(data):
    settings = TrainSettings(batch=BatchShape(4, 2, 4))
    model = WorldModel(config_for(data, settings, latent_dim=16, encoder_width=8, width=32))
    trainer = RepresentationTrainer(model, settings, bf16=False)
    batch = WindowSampler(data, np.arange(4), settings.batch, 0).batch(0)
    before = model.heads["relative"][0].weight.clone()
    told = trainer.step(0, *batch)
    assert {"relative", "same"} <= set(told) and math.isfinite(told["total"])
    assert not torch.equal(before, model.heads["relative"][0].weight)


def test_windows_of_a_drive_see_much_of_the_same_however_long_after(tmp_path):
    writer = DatasetWriter(tmp_path / "round", ROVER, {"by": "hand"})
    drive = episode(np.random.default_rng(0), 1, steps=100)
    there = np.minimum(np.arange(100), 99 - np.arange(100)) * 0.1  # m ahead, and back the same way
    drive.further["state_odom"] = np.stack([there, np.zeros(100), np.zeros(100)], 1).astype(np.float32)
    writer.write_shard(0, [drive])
    writer.finish()
    sampler = WindowSampler(Dataset(tmp_path / "round"), np.arange(1), BatchShape(1, 2, 4, near=1.0), 0)
    begun = torch.stack([sampler.batch(i)[0]["step"][0, :, 0] for i in range(200)]).numpy()
    away = np.abs(there[begun[:, 0]] - there[begun[:, 1]])
    assert away.max() < 1.05 and 0.35 < away.mean() < 0.65, "near ones and far ones alike"
    assert (np.abs(begun[:, 0] - begun[:, 1]) > 30).mean() > 0.2, "on the way back it saw the same"


def latents_that_tell_where(count=40, steps=50):
    """Drives whose latents are the place itself, near the beginning of their odometry."""
    rng = np.random.default_rng(1)
    odometry = np.cumsum(rng.normal(0.0, 0.05, (count, steps, 3)), axis=1)
    told = np.concatenate([odometry[..., :2], np.cos(odometry[..., 2:]), np.sin(odometry[..., 2:])], -1)
    return Latents(
        torch.tensor(told, dtype=torch.float32), torch.zeros(count, steps, 2), torch.full((count, steps, 3), torch.nan),
        torch.zeros(count, steps, dtype=torch.bool), np.arange(count),
        {"odom": torch.tensor(odometry, dtype=torch.float32)},
    )  # fmt: skip


def test_a_relative_pose_is_learned_with_its_doubt(monkeypatch):
    monkeypatch.setattr("jepa_ros.learning.stages.pair_readouts.PREDICTED", 0.0)  # nothing here can be predicted
    torch.manual_seed(0)
    model = WorldModel(ModelConfig(latent_dim=4, encoder_width=8, width=64, readouts=(RELATIVE,)))
    latents = latents_that_tell_where()
    fit_pairs(model, latents, 300, 0, lambda *_: None, batch=256)
    judged = judge_pairs(model, latents)["relative"]
    assert min(judged["r2"][:2]) > 0.8
    seen = judged["by_distance"]["seen"]
    assert seen["metres"][1] < 0.1
    assert seen["doubt"][1] == pytest.approx(seen["metres"][1], abs=0.1), "it knows how wrong it is"
