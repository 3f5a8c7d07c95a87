# SPDX-License-Identifier: Apache-2.0
"""Baselines and the table of comparisons: what is taught is learned, what was done is not done again."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import worlds
from jepa_ros.contract import load_contract
from jepa_ros.errors import JepaRosError
from jepa_ros.evaluation.baselines import InverseModel, InverseModelPolicy, load_head
from jepa_ros.learning import baselines
from jepa_ros.learning.baselines import _moments, train_baseline
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import Episode
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros.learning.representation.reconstruction import ReconstructionTrainer
from jepa_ros.learning.settings import TrainSettings
from jepa_ros.planar.map_head import map_part
from jepa_ros.planning import SearchConfig
from jepa_ros.world_model import CheckpointError, ModelConfig, WorldModel, load_checkpoint, save_checkpoint
from jepa_ros.worlds import Observation

CONFIG = ModelConfig(
    latent_dim=8,
    width=16,
    encoder_width=8,
    keypoints=2,
    keypoint_values=2,
    readouts=("distance",),
    context=(map_part(8, (-1.0, -1.0, 1.0, 1.0)),),
)


def blob_episode(rng, layout, length=30):
    """A bright blob that the action moves."""
    at, images, actions = rng.uniform(16, 48, 2), [], []
    y, x = np.mgrid[0:64, 0:64]
    for _ in range(length):
        action = rng.uniform(-1, 1, 2)
        blob = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 18.0)
        images.append(np.repeat((255 * blob)[..., None], 3, axis=2).astype(np.uint8))
        actions.append(action * [0.4, 2.5])
        at = np.clip(at + 3 * action, 4, 60)
    a = np.array(actions, np.float32)
    return Episode(np.stack(images), a, a, np.zeros((length, 3), np.float32), np.zeros(length, bool), layout)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "d"
    writer = DatasetWriter(folder, load_contract("arena"), {"seed": 0})
    rng = np.random.default_rng(0)
    writer.write_shard(0, [blob_episode(rng, i + 1) for i in range(24)])
    return Dataset(folder)


@pytest.fixture(scope="module")
def base(data, tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("base")
    save_checkpoint(folder, WorldModel(CONFIG), {"contract": data.contract.to_dict(), "data": {}})
    return folder


def test_goals_lie_ahead_and_no_further_than_they_may():
    lengths = torch.tensor([5, 50, 20])
    e, t, goal = _moments(lengths, 5000, 12, torch.Generator().manual_seed(0))
    assert ((goal > t) & (goal - t <= 12) & (goal < lengths[e])).all()
    assert set(e.tolist()) == {0, 1, 2} and int((goal - t).max()) == 12


def test_a_policy_learns_until_nothing_improves(monkeypatch):
    monkeypatch.setattr(baselines, "CHECK_EVERY", 20)
    head = InverseModel(2, 2)

    def loss_of(training, generator):
        z = torch.rand(64, 2, 2, generator=generator) - 0.5
        return (head(z[:, 0], z[:, 1])[:, 0] - (z[:, 1] - z[:, 0])).square().mean()

    found = baselines._fit(head, loss_of, 2000, 0, lambda *_: None, 2)
    assert found["held_out_error"] < 0.01 and 0 < found["steps"] <= 2000
    flat = InverseModel(2, 2)
    hopeless = baselines._fit(flat, lambda *_: 0.0 * flat.layers[0].weight.sum() + 1.0, 2000, 0, lambda *_: None, 2)
    assert hopeless["converged"] == 1.0 and hopeless["steps"] < 100
    looks, late = [], InverseModel(2, 2)
    baselines._fit(late, lambda *_: 0.0 * late.layers[0].weight.sum() + 1.0, 2000, 0,
                   lambda _, step, *__: looks.append(step), 2, 200)  # fmt: skip
    assert looks[-1] == 200  # however hopeless it looks


@pytest.mark.parametrize("kind", baselines.KINDS)
def test_a_baseline_is_a_checkpoint_with_a_head_that_drives(kind, data, base, tmp_path):
    found = train_baseline(kind, data, base, tmp_path / kind, seed=0, steps=3)
    assert np.isfinite(found["held_out_error"]) and found["converged"] == 0.0
    model, _ = load_checkpoint(tmp_path / kind, data.contract)
    head = load_head(tmp_path / kind, model.config)
    goal = np.random.default_rng(1).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    policy = InverseModelPolicy(data.contract, model, head, goal)
    seen = Observation(0.0, {"image": np.zeros((128, 128, 3), np.uint8)})
    decision = policy.act(seen)
    command = decision.command
    assert decision.info.status == {"arrived": False}  # a model without a pose cannot tell
    assert (np.abs(command) <= [0.4, 2.5]).all() and np.abs(command).sum() > 0
    same = (model.encoder.head[0].weight == load_checkpoint(base)[0].encoder.head[0].weight).all()
    assert same == (kind != "bc_pixels")  # latents stay frozen; pixels bring their own encoder
    (tmp_path / kind / "reach.safetensors").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match=r"reach\.safetensors"):
        load_head(tmp_path / kind, model.config)


def test_cloning_from_pixels_stops_by_a_pose_readout_of_its_own(data, tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "POSE_STEPS", 3)
    base = WorldModel(replace(CONFIG, readouts=("distance", "pose")))
    save_checkpoint(tmp_path / "base", base, {"contract": data.contract.to_dict(), "data": {}})
    train_baseline("bc_pixels", data, tmp_path / "base", tmp_path / "bc", seed=0, steps=3)
    model, _ = load_checkpoint(tmp_path / "bc", data.contract)
    assert "pose" in model.readouts and "distance" not in model.readouts
    here = np.zeros((128, 128, 3), np.uint8)
    policy = InverseModelPolicy(data.contract, model, load_head(tmp_path / "bc", model.config), here)
    seen = Observation(0.0, {"image": here})
    answers = [policy.act(seen) for _ in range(5)]
    assert answers[-1].info.status == {"arrived": True} and not answers[-1].command.any()


def test_reconstruction_alone_moves_the_encoder(data):
    torch.manual_seed(0)
    trainer = ReconstructionTrainer(WorldModel(CONFIG), TrainSettings(precision="fp32"), False)
    images = torch.from_numpy(np.stack([data.slice("images", e, 0, 4) for e in range(2)]))[:, None]
    actions = torch.zeros(2, 1, 4, 2)
    inputs = {"image": images}
    terms = trainer.losses(inputs, actions)
    terms["prediction"].backward(retain_graph=True)
    assert all(p.grad is None for p in trainer.model.encoder.parameters())
    terms["reconstruction"].backward()
    assert trainer.model.encoder.head[0].weight.grad.abs().sum() > 0
    first = terms["reconstruction"].item()
    last = [trainer.step(100, inputs, actions)["reconstruction"] for _ in range(60)]
    assert min(last) < 0.5 * first


def test_every_training_is_what_its_row_says():
    settings = TrainSettings()
    changed = {name: t.change(settings) for name, t in worlds.TRAININGS.items()}
    assert changed["no_idm"].inverse_dynamics == 0.0 and changed["no_idm"].within == settings.within
    assert changed["no_anti_collapse"].within == changed["no_anti_collapse"].everywhere == 0.0
    one = changed["one_step"]
    assert one.horizon == 1 and one.batch.frames == 3 and one.batch.images == settings.batch.images
    assert {row.training for row in worlds.ROWS.values()} - {""} == set(worlds.TRAININGS)
    assert not worlds.TRAININGS["jepa"].short and all(t.short for n, t in worlds.TRAININGS.items() if n != "jepa")


def test_less_data_is_fewer_whole_episodes(data):
    part = worlds.subset(data, 1 / 4)
    assert len(part) == 6 and len(data) == 24 and part.steps == data.steps // 4


def fake_score(success, blocked):
    return {
        "success": success, "contact": False, "ever": True, "heading": success, "false_arrival": False,
        "guardrail_violations": 0, "stopped_share": 0.0, "blocked": blocked,
    }  # fmt: skip


@pytest.fixture
def arguments(data, tmp_path, monkeypatch):
    """The command's arguments, with everything that takes hours replaced by a note that it was asked for."""
    asked = []

    def train(part, folder, settings, config, device, command, progress, trainer):
        asked.append(("train", folder.name))
        card = {"contract": data.contract.to_dict(), "settings": settings.to_dict(), "training_seconds": 60.0,
                "data": {"robot_minutes": part.steps / 300, "episodes": len(part)},
                "metrics": {"probe_r2": {}, "open_loop": {}}}  # fmt: skip
        save_checkpoint(folder, WorldModel(CONFIG), card)

    def teach(kind, data, base, folder, seed, steps, device):
        asked.append(("teach", folder.name))
        save_checkpoint(folder, WorldModel(CONFIG), {"contract": data.contract.to_dict()})
        (folder / "reach.json").write_text("{}")

    def evaluate(assignment, model, settings, policies, workers, threads):
        asked.append(("score", policies[0], assignment.task))
        assert settings.settle == worlds.SETTLE
        some = assignment.task == "random"
        rows = [
            {"score": fake_score(i % 2 == 0, some and i % 4 == 0), "plan": [0.01]} for i in range(settings.episodes)
        ]
        return {policies[0]: rows}, {}

    for name, function in (("train", train), ("train_baseline", teach), ("evaluate", evaluate)):
        monkeypatch.setattr(worlds, name, function)
    args = SimpleNamespace(
        data=data.folder, out=tmp_path / "out", rows="random,jepa,inverse,data_1_4", seeds="0,1",
        layouts="fixed,random", episodes=10, steps=20, short_steps=5, readout_steps=5, short_readout_steps=3,
        policy_steps=5, workers=1, json=None,
    )  # fmt: skip
    return args, asked


def test_the_table_pools_seeds_and_counts_resets(arguments, capsys):
    args, asked = arguments
    assert worlds.main(args) == 0
    trained = [a[1] for a in asked if a[0] == "train"]
    assert trained == ["jepa_0", "data_1_4_0", "jepa_1", "data_1_4_1"]  # the inverse model rests on what was there
    report = json.loads((args.out / "worlds.json").read_text())
    assert report["rows"]["jepa"]["layouts"]["fixed"]["episodes"] == 20
    assert report["rows"]["random"]["layouts"]["fixed"]["episodes"] == 10
    quarter = report["rows"]["data_1_4"]["trainings"][0]
    assert quarter["robot_minutes_with_resets"] == pytest.approx(quarter["robot_minutes"] + 1.0, abs=0.06)
    table = (args.out / "worlds.md").read_text()
    every, blocked = "50 (30..70), n 20", "100 (61..100), n 6"
    assert f"| jepa, search | 6 | 1 | {every} | {every} | {blocked} |\n" in table
    assert "| - | 50 (30..70), n 20 |" in table.split("short, 1/4 of the data")[1]  # an ablation: not on the fixed one
    assert "blocked alone" not in table and table in capsys.readouterr().out


def test_a_stopped_comparison_goes_on_where_it_was(arguments, monkeypatch):
    args, asked = arguments
    worlds.main(args)
    before = len(asked)
    worlds.main(args)
    assert len(asked) == before  # nothing twice
    (args.out / "scores" / "jepa_1_fixed.json").unlink()
    worlds.main(args)
    assert asked[before:] == [("score", "planner", "fixed")]
    args.episodes = 12  # other pairs: scored anew, with the models that are there
    worlds.main(args)
    assert {a[0] for a in asked[before + 1 :]} == {"score"}
    before = len(asked)
    monkeypatch.setitem(worlds.ROWS, "jepa", replace(worlds.ROWS["jepa"], search=SearchConfig(samples=64)))
    worlds.main(args)
    assert {a[:2] for a in asked[before:]} == {("score", "planner")}  # the search has changed since


def test_models_made_otherwise_are_refused_and_seeds_not_asked_for_are_left_out(arguments):
    args, _ = arguments
    worlds.main(args)
    args.seeds, args.json = "1", args.out / "more" / "table.json"
    worlds.main(args)
    report = json.loads(args.json.read_text())
    assert report["rows"]["jepa"]["layouts"]["fixed"]["training_seeds"] == 1
    assert report["rows"]["random"]["layouts"]["fixed"]["training_seeds"] == 1
    args.steps = 21
    with pytest.raises(JepaRosError, match=r"jepa_1 was trained with steps 20, asked for is 21"):
        worlds.main(args)


def test_without_data_nothing_is_begun_and_mistakes_are_named(arguments, capsys):
    args, asked = arguments
    args.data = None
    assert worlds.main(args) == 0 and not asked
    args.data = "x"
    for name, value in (("rows", "nonsense"), ("layouts", "moon"), ("seeds", "a")):
        wrong = SimpleNamespace(**{**vars(args), name: value})
        with pytest.raises(JepaRosError, match=f"--{name} {value}"):
            worlds.main(wrong)
