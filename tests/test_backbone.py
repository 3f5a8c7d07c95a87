# SPDX-License-Identifier: Apache-2.0
"""Encoders of transformers: from a folder, frozen or trained along, and part of the checkpoint."""

import json
from dataclasses import replace

import pytest
import torch
from test_training import CONFIG, SETTINGS, data  # noqa: F401  # a fixture

from jepa_ros.contract import load_contract
from jepa_ros.learning import train as training
from jepa_ros.progress import Progress
from jepa_ros.world_model import WorldModel, load_checkpoint
from jepa_ros.world_model.backbone import Backbone, BackboneError

transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install 'jepa_ros[hf]'")
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
KINDS = {
    "vit": lambda: transformers.ViTConfig(**SMALL, image_size=32, patch_size=8),
    "dinov2": lambda: transformers.Dinov2Config(**SMALL, image_size=32, patch_size=8),
    "convnext": lambda: transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, image_size=32),
    "vjepa2": lambda: transformers.VJEPA2Config(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, crop_size=32, patch_size=8, frames_per_clip=2,
        pred_hidden_size=24, pred_num_hidden_layers=1, pred_num_attention_heads=2,
    ),
}  # fmt: skip


@pytest.fixture(params=sorted(KINDS))
def folder(request, tmp_path):
    """A folder of transformers as it would come from the hub, small and with random weights."""
    return make(request.param, tmp_path / request.param)


def make(kind, path):
    torch.manual_seed(3)
    transformers.AutoModel.from_config(KINDS[kind]()).save_pretrained(path)
    return path


def test_a_folder_looks_at_pictures_and_the_card_makes_it_again(folder):
    backbone = Backbone.read(str(folder))
    assert backbone.size == 32
    config = replace(CONFIG, backbone=backbone)
    model = WorldModel(config).eval()
    model.encoder.take_weights()
    images = torch.randint(0, 255, (3, 64, 64, 3), dtype=torch.uint8)
    assert model.latent({"image": images}).shape == (3, 16)
    again = WorldModel(type(config).from_dict(json.loads(json.dumps(config.to_dict())))).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.latent({"image": images}), model.latent({"image": images}))


@pytest.mark.slow
@pytest.mark.parametrize("tuned", [False, True])
def test_a_backbone_is_trained_along_only_if_asked_and_is_in_the_checkpoint(tuned, data, tmp_path):  # noqa: F811
    path = make("vit", tmp_path / "vit")
    config = replace(CONFIG, backbone=Backbone.read(str(path), tuned=tuned))
    settings = replace(SETTINGS, checkpoint_gradients=tuned)
    torch.set_num_threads(1)
    with Progress(quiet=True) as progress:
        training.train(data, tmp_path / "m", settings, config, "cpu", "test", progress)
    begun = transformers.AutoModel.from_pretrained(path).state_dict()
    for file in path.iterdir():  # the checkpoint does not need it any more
        file.unlink()
    model, _ = load_checkpoint(tmp_path / "m", load_contract("arena"))
    kept = [torch.equal(value, begun[name]) for name, value in model.encoder.backbone.state_dict().items()]
    assert not all(kept) if tuned else all(kept)


def test_folders_that_cannot_be_used_are_one_line(tmp_path):
    with pytest.raises(BackboneError, match=r"config\.json is not that of an encoder"):
        Backbone.read(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "x", "auto_map": {"AutoModel": "mine.Model"}}))
    with pytest.raises(BackboneError, match="needs code of its author, which is never run"):
        Backbone.read(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "x"}))
    with pytest.raises(BackboneError, match="transformers cannot make it"):
        WorldModel(replace(CONFIG, backbone=Backbone.read(str(tmp_path))))
