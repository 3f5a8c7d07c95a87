# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: what is saved is what is loaded, and anything else is refused."""

import json
import pickle

import pytest
import torch
from toy_world import planar_config

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.world_model import (
    CheckpointError,
    ContractMismatch,
    WorldModel,
    load_checkpoint,
    resolve_model,
    save_checkpoint,
)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = WorldModel(planar_config(latent_dim=16, width=32, encoder_width=8, keypoints=2)).eval()
    save_checkpoint(tmp_path / "m", model, {"contract": load_contract("arena").to_dict()})
    return tmp_path / "m", model


def test_a_loaded_model_is_the_saved_one(saved):
    folder, model = saved
    loaded, card = load_checkpoint(folder, load_contract("arena"))
    images = torch.randint(0, 255, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(loaded.latent({"image": images}), model.latent({"image": images}))
    assert card["parameters"] == model.parameter_count()


def test_another_contract_is_refused_with_every_difference(saved):
    data = load_contract("arena").to_dict()
    data["action"][1]["high"] = 1.0
    data["cameras"][0]["size"] = 96
    with pytest.raises(ContractMismatch, match=r"action\[1\].high: 2.5 != 1.0") as caught:
        load_checkpoint(saved[0], RobotContract.from_dict(data))
    assert "cameras[0].size: 64 != 96" in str(caught.value)


def test_other_guardrails_and_timeouts_need_no_retraining(saved):
    data = load_contract("arena").to_dict()
    data["watchdog"]["image_timeout"] = 0.3
    load_checkpoint(saved[0], RobotContract.from_dict(data))


def test_a_truncated_file_is_refused(saved):
    path = saved[0] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="truncated or changed"):
        load_checkpoint(saved[0])


def test_a_pickle_is_never_loaded(saved):
    path = saved[0] / "model.safetensors"
    blob = pickle.dumps({"a": 1})
    path.write_bytes(blob)
    card = json.loads((saved[0] / "card.json").read_text())
    import hashlib

    card["weights_sha256"] = hashlib.sha256(blob).hexdigest()
    (saved[0] / "card.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_checkpoint(saved[0])


def test_missing_and_broken_cards_are_named(saved, tmp_path):
    (saved[0] / "card.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"card.json: not valid JSON"):
        load_checkpoint(saved[0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"card.json: cannot be read"):
        load_checkpoint(tmp_path / "empty")
    with pytest.raises(CheckpointError, match="neither a folder nor one of the shipped models"):
        load_checkpoint("nosuch")


def test_a_folder_of_data_does_not_pass_for_the_shipped_model_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_model("arena").name == "arena" and (resolve_model("arena") / "card.json").exists()
    (tmp_path / "arena").mkdir()
    with pytest.raises(CheckpointError, match=r"hides the shipped model 'arena': give --model /"):
        resolve_model("arena")
    (tmp_path / "arena" / "card.json").write_text("{}")
    assert resolve_model("arena").resolve() == tmp_path / "arena"


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = WorldModel(planar_config(latent_dim=16, width=32, encoder_width=8, keypoints=2))
    with torch.no_grad():
        model.predictor.layers[0].weight[0, 0] = float("nan")
    save_checkpoint(tmp_path / "m", model, {"contract": load_contract("arena").to_dict()})
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(tmp_path / "m")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model", [], "model: expected a mapping, found list"),
        ("contract", "x", "contract: expected a mapping, found str"),
        ("calibration", "x", "calibration: expected a mapping, found str"),
        ("calibration", {"prediction_error": "x"}, "calibration.prediction_error: expected a number above 0"),
        ("model.latent_dim", "x", "latent_dim: expected a whole number of at least 1, found str 'x'"),
        ("model.latent_dim", -4, "latent_dim: expected a whole number of at least 1, found -4"),
        ("model.max_distance", 0.0, "max_distance: expected a number above 0"),
        ("model.readouts", None, "card.json: model:"),
        ("model.width", 33, "card.json: model:|model.safetensors: "),
    ],
)
def test_a_card_that_says_nonsense_is_refused_by_the_key(saved, key, value, said):
    path = saved[0] / "card.json"
    card = json.loads(path.read_text())
    *parents, last = key.split(".")
    (card[parents[0]] if parents else card)[last] = value
    path.write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(saved[0])


def test_a_card_that_is_nested_without_end_is_refused(saved):
    (saved[0] / "card.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="not valid JSON"):
        load_checkpoint(saved[0])


def test_a_device_that_is_not_there_is_named(saved):
    with pytest.raises(CheckpointError, match="device 'banana'"):
        load_checkpoint(saved[0], device="banana")
