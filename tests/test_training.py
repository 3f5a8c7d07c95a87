# SPDX-License-Identifier: Apache-2.0
"""Training: the loss terms mean what they say, a run repeats itself, and a killed run goes on where it was."""

import argparse
import json
import math
import shlex
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_world import planar_config

from jepa_ros.contract import load_contract
from jepa_ros.evaluation.baselines import baseline_in
from jepa_ros.learning import command
from jepa_ros.learning import train as training
from jepa_ros.learning.command import SHAPING, SHAPING_ALONE, add_arguments, command_of
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import Episode
from jepa_ros.learning.data.sampler import BatchShape
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros.learning.representation.diagnostics import Encoded
from jepa_ros.learning.representation.losses import anti_collapse, energy_score, open_loop
from jepa_ros.learning.settings import TrainError, TrainSettings
from jepa_ros.learning.stages import alone, foresight, way
from jepa_ros.progress import Progress
from jepa_ros.world_model import WorldModel, load_checkpoint

CONFIG = planar_config(latent_dim=16, width=32, encoder_width=8, keypoints=3, keypoint_values=4)
SETTINGS = TrainSettings(
    steps=12, readout_steps=6, batch=BatchShape(3, 2, 6), horizon=4, precision="fp32", held_out=0.2
)


def blob_episode(rng, layout, length=24):
    """A bright blob that the action moves: the smallest world with something to predict."""
    at = rng.uniform(16, 48, 2)
    images, actions, poses = [], [], []
    for _ in range(length):
        action = rng.uniform(-1, 1, 2)
        y, x = np.mgrid[0:64, 0:64]
        blob = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 18.0)
        images.append(np.repeat((255 * blob)[..., None], 3, axis=2).astype(np.uint8))
        actions.append(action * [0.4, 2.5])
        poses.append([*(at / 32 - 1), 0.0])
        at = np.clip(at + 3 * action, 4, 60)
    return Episode(
        np.stack(images),
        np.array(actions, np.float32),
        np.array(actions, np.float32),
        np.array(poses, np.float32),
        np.zeros(length, bool),
        layout,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "d"
    writer = DatasetWriter(folder, load_contract("arena"), {"seed": 0})
    rng = np.random.default_rng(0)
    writer.begin()
    writer.write_shard(0, [blob_episode(rng, i + 1) for i in range(12)])
    writer.finish()
    return Dataset(folder)


def run(data, folder, settings=SETTINGS):
    torch.set_num_threads(1)
    with Progress(quiet=True) as progress:
        return training.train(data, folder, settings, CONFIG, "cpu", "test", progress)


def test_spread_that_comes_from_the_layouts_alone_is_collapse():
    generator = torch.Generator().manual_seed(0)
    layout = torch.randn(6, 1, 1, 8, generator=generator).expand(6, 4, 5, 8)
    moving = torch.randn(6, 4, 5, 8, generator=generator)
    assert anti_collapse(layout, 0.0, 1.0, 0.0) > 0.9
    assert anti_collapse(moving, 0.0, 1.0, 0.0) < 0.1


def test_the_energy_score_is_least_for_the_true_spread():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(20000, 1, generator=generator)

    def score(scale):
        samples = scale * torch.randn(2, 20000, 1, generator=torch.Generator().manual_seed(1))
        return energy_score((samples[0], samples[1]), target).item()

    assert score(1.0) < score(0.5) < score(0.0)
    assert score(1.0) < score(2.0)


def test_open_loop_error_is_zero_for_a_predictor_that_is_right():
    class Still(WorldModel):
        def predict(self, z, action, noise, h):
            return z, h

    z = torch.randn(2, 3, 1, 16).expand(2, 3, 6, 16)
    assert open_loop(Still(CONFIG), z, torch.zeros(2, 3, 6, 2)) == 0.0
    moving = torch.randn(2, 3, 6, 16)
    assert open_loop(Still(CONFIG), moving, torch.zeros(2, 3, 6, 2)) > 0.1


def test_an_episode_is_encoded_once_however_it_is_cut(data, monkeypatch):
    torch.manual_seed(0)
    model, seen = WorldModel(CONFIG).eval(), []
    latent = model.latent
    monkeypatch.setattr(model, "latent", lambda inputs: seen.append(len(inputs["image"])) or latent(inputs))
    encoded = Encoded(model, data)
    whole, halves = encoded.pieces(np.arange(3), 24), encoded.pieces(np.arange(3), 12)
    assert sum(seen) == 3 * 24 and whole.z.shape == (3, 24, 16)
    assert torch.equal(halves.z, whole.z.unflatten(1, (2, 12)).flatten(0, 1))
    assert torch.equal(halves.poses, whole.poses.unflatten(1, (2, 12)).flatten(0, 1))


def test_training_writes_a_checkpoint_with_card_and_log(data, tmp_path):
    card = run(data, tmp_path / "m")
    model, loaded = load_checkpoint(tmp_path / "m", load_contract("arena"))
    assert loaded == json.loads(json.dumps(card))
    assert card["settings"]["seed"] == 0
    assert {"x", "y", "position_cm"} <= set(card["metrics"]["probe_r2"])
    assert card["calibration"]["prediction_error"] > 0
    lines = [json.loads(line) for line in (tmp_path / "m" / "log.jsonl").read_text().splitlines()]
    assert {"representation", "judged", "predictor", "distance", "readouts", "vigilance", "final"} == {
        line["phase"] for line in lines
    }
    assert "<h2>Open loop</h2>" in (tmp_path / "m" / "report.html").read_text()
    assert model.read("distance", torch.zeros(2, 16), torch.ones(2, 16)).min() >= 0


def test_a_run_repeats_itself_on_one_machine(data, tmp_path):
    a, b = run(data, tmp_path / "a"), run(data, tmp_path / "b")
    assert a["weights_sha256"] == b["weights_sha256"]
    assert a["weights_sha256"] != run(data, tmp_path / "c", replace(SETTINGS, seed=1))["weights_sha256"]


def test_a_killed_run_resumes_to_the_same_weights(data, tmp_path, monkeypatch):
    whole = run(data, tmp_path / "whole")
    monkeypatch.setattr(training, "SAVE_EVERY", 5)
    step = training.RepresentationTrainer.step

    def killed(self, number, *batch):
        if number == 8:
            raise KeyboardInterrupt
        return step(self, number, *batch)

    monkeypatch.setattr(training.RepresentationTrainer, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "killed")
    monkeypatch.setattr(training.RepresentationTrainer, "step", step)
    resumed = run(data, tmp_path / "killed")
    assert resumed["weights_sha256"] == whole["weights_sha256"]


def test_a_stage_alone_renews_one_thing_and_says_so(data, tmp_path, capsys):
    before = run(data, tmp_path / "m")
    model, _ = load_checkpoint(tmp_path / "m")
    card = alone.run_alone("proposal", tmp_path / "m", data, SETTINGS, False, "again")
    again, loaded = load_checkpoint(tmp_path / "m", load_contract("arena"))
    assert "proposal" in again.readouts and loaded["weights_sha256"] == card["weights_sha256"]
    assert card["metrics"]["open_loop"] == before["metrics"]["open_loop"]
    (told,) = loaded["renewed"]
    assert told["stage"] == "proposal" and told["command"] == "again"
    assert told["seconds"] > 0.0 and told["cpu_seconds"] > 0.0
    kept = again.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    assert "trained again: a learned proposal for the search; held-out error" in capsys.readouterr().out
    assert set(alone.STAGES) == {"alarms", "inverse", "map", "predictor", "proposal", "readouts", "scene", "way"}


@pytest.mark.parametrize("stage", ["predictor", "proposal", "readouts"])
def test_a_stage_alone_with_another_seed_sees_no_episode_that_the_training_held_out(data, tmp_path, monkeypatch, stage):
    run(data, tmp_path / "m")
    asked, split = [], Dataset.split
    monkeypatch.setattr(Dataset, "split", lambda self, *how: asked.append(how) or split(self, *how))
    alone.run_alone(stage, tmp_path / "m", data, replace(SETTINGS, seed=SETTINGS.seed + 5), False, "again")
    assert asked == [(SETTINGS.held_out, SETTINGS.seed)]


@pytest.mark.parametrize(("words", "expected"), [([], SETTINGS.horizon), (["--horizon", "3"], 3)])
def test_the_predictor_alone_is_fitted_over_the_steps_asked_for_or_those_it_was_trained_with(
    data, tmp_path, monkeypatch, words, expected
):
    run(data, tmp_path / "m")
    asked, refit = [], foresight.refit_predictor
    monkeypatch.setattr(foresight, "refit_predictor", lambda *order: asked.append(order[2]) or refit(*order))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    given = ["--data", str(data.folder), "--out", str(tmp_path / "m"), "--only", "predictor", "--readout-steps", "2"]
    assert command.main(parser.parse_args([*given, *words])) == 0
    assert asked == [expected]
    told = load_checkpoint(tmp_path / "m")[1]["renewed"][0]["command"]
    assert f"--horizon {expected}" in told, "and the same command would do the same"


def test_the_way_is_added_alone_and_kept_only_if_it_passes_its_check(data, tmp_path, capsys, monkeypatch):
    run(data, tmp_path / "m")
    model, _ = load_checkpoint(tmp_path / "m")
    monkeypatch.setattr(way, "STATES", 100)
    card = alone.run_alone("way", tmp_path / "m", data, SETTINGS, False, "again")
    again, _ = load_checkpoint(tmp_path / "m", load_contract("arena"))
    kept = again.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    judged = card["metrics"]["way"]
    assert judged["used"] == ("way" in again.readouts) == (judged["order"] >= judged["least"])
    assert judged["true"] is None  # the arena does not tell shortest ways between pictures
    assert "rank correlation with the time passed" in capsys.readouterr().out


def test_an_inverse_model_is_laid_beside_a_checkpoint_that_stays_as_it_is(data, tmp_path):
    before = run(data, tmp_path / "m")
    assert baseline_in(tmp_path / "m") == ()
    card = alone.run_alone("inverse", tmp_path / "m", data, SETTINGS, False, "again")
    assert card["weights_sha256"] == before["weights_sha256"]
    assert baseline_in(tmp_path / "m") == ("inverse",) and card["metrics"]["inverse"]["held_out_error"] > 0.0


def test_readouts_that_are_fitted_anew_leave_all_else_as_it_is(data, tmp_path, capsys):
    run(data, tmp_path / "m")
    model, _ = load_checkpoint(tmp_path / "m")
    card = alone.run_alone("readouts", tmp_path / "m", data, SETTINGS, False, "again")
    again, _ = load_checkpoint(tmp_path / "m", load_contract("arena"))
    fitted = [f"heads.{name}." for name in card["metrics"]["readouts"]]
    kept = again.state_dict()
    for name, value in model.state_dict().items():
        if not name.startswith(tuple(fitted)):
            assert torch.equal(value, kept[name])
    assert "held-out R2: " in capsys.readouterr().out


def test_a_folder_with_another_run_is_refused(data, tmp_path):
    run(data, tmp_path / "m")
    with pytest.raises(TrainError, match="other settings or data"):
        run(data, tmp_path / "m", replace(SETTINGS, steps=20))


def test_a_loss_that_is_not_finite_stops_the_run(data, tmp_path):
    with pytest.raises(TrainError, match="not finite"):
        run(data, tmp_path / "m", replace(SETTINGS, learning_rate=1e30, steps=60))


def test_episodes_shorter_than_the_rollout_are_refused(data, tmp_path):
    with pytest.raises(TrainError, match="shorter than the rollout of 30"):
        run(data, tmp_path / "m", replace(SETTINGS, horizon=30))


def test_settings_out_of_range_are_refused():
    with pytest.raises(TrainError, match="--steps must be at least 1"):
        TrainSettings(steps=0)
    with pytest.raises(TrainError, match="--precision must be one of"):
        TrainSettings(precision="fp8")
    assert math.isfinite(TrainSettings().learning_rate)


def test_the_command_on_the_card_trains_the_same_model():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = (
        "--data d --out 'my models/m' --horizon 6 --learning-rate 0.001 --latent-dim 32 --keypoints 4 --precision fp32"
    )
    args = parser.parse_args(shlex.split(words))
    again = shlex.split(command_of(args))
    assert again[:2] == ["jepa-ros", "train"]
    assert vars(parser.parse_args(again[2:])) == vars(args)
    words = "--data d --out m --only way --readout-steps 7 --mirror linear.x,- --seed 3 --precision fp32 --horizon 6"
    args = parser.parse_args(shlex.split(words))
    assert vars(parser.parse_args(shlex.split(command_of(args, SHAPING_ALONE))[2:])) == vars(args)
    # How fast and where it runs, and what is done instead of training, shape no model.
    others = {
        "help",
        "data",
        "out",
        "json",
        "env",
        "robot",
        "device",
        "threads",
        "rank_timeout",
        "only",
    }
    assert {action.dest for action in parser._actions} - others == set(SHAPING)
