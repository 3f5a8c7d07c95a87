# SPDX-License-Identifier: Apache-2.0
"""Readouts are declared; training, search and goals go by the declaration, and a poor one is not used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_world import ToyWorld, toy_planner

from jepa_ros.cost import Futures, Goal, Target, model_terms
from jepa_ros.cost.check import CostCheckError, check_constraint, check_term
from jepa_ros.learning.representation.diagnostics import Latents
from jepa_ros.learning.settings import TrainError
from jepa_ros.learning.stages.readouts import drop_readouts, fit_heads, judge_readouts
from jepa_ros.world_model import ModelConfig, WorldModel
from jepa_ros.world_model.check import ModelCheckError, check_world_model
from jepa_ros.world_model.readouts import CONTACT, Part, Readout, ReadoutError, declare

TIP = Readout(
    "tip", ("x", "y", "z"), "m", "state/tip", "squared", least_r2=0.5, parts=(Part("tip", (0, 1, 2), "m", weight=2.0),)
)  # fmt: skip
SIZES = {"latent_dim": 6, "width": 16, "encoder_width": 8, "keypoints": 2}


def felt(told: bool, seed: int = 0) -> Latents:
    """Episodes whose tip is a function of the latent, or has nothing to do with it."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(12, 20, 6, generator=g)
    tip = 0.3 * z[..., :3] if told else torch.randn(12, 20, 3, generator=g)
    nothing = torch.zeros(12, 20)
    poses = torch.full((12, 20, 3), torch.nan)
    return Latents(z, torch.zeros(12, 20, 2), poses, nothing.bool(), np.zeros(12, int), {"tip": tip})


def fitted(told: bool, *more: Readout) -> tuple[WorldModel, dict]:
    torch.manual_seed(0)
    model = WorldModel(ModelConfig(**SIZES, readouts=(TIP, *more))).eval().requires_grad_(False)
    fit_heads(model, felt(told), 300, 0, lambda *_: None)
    return model, judge_readouts(model, felt(told, seed=1))


def test_a_readout_that_is_declared_is_trained_judged_and_used():
    model, judged = fitted(True)
    assert judged["tip"]["used"] and min(judged["tip"]["r2"]) > 0.8
    assert drop_readouts(model, judged) == [] and model.read("tip", torch.zeros(4, 6)).shape == (4, 3)


def test_a_readout_that_misses_its_least_r2_is_taken_out_and_the_verdict_says_so():
    model, judged = fitted(False)
    assert not judged["tip"]["used"] and min(judged["tip"]["r2"]) < 0.5 == judged["tip"]["least"]
    assert drop_readouts(model, judged) == ["tip"] and model.readouts == {}
    again = WorldModel(ModelConfig.from_dict(model.config.to_dict()))
    again.load_state_dict(model.state_dict())  # as a checkpoint is read


def test_labels_that_never_vary_say_nothing_against_a_readout():
    judged = fitted(True, CONTACT)[1]
    assert judged["contact"] == {"r2": [None], "least": 0.0, "used": True}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("state/elbow", "no state 'elbow'; it has tip"),
        ("guesses", "no labels are called 'guesses'"),
        ("contacts", "have 1 values; expected"),
    ],
)
def test_a_readout_without_labels_is_one_clear_line(labels, said):
    model = WorldModel(ModelConfig(**SIZES, readouts=(replace(TIP, labels=labels),)))
    with pytest.raises(TrainError, match=said):
        fit_heads(model, felt(True), 1, 0, lambda *_: None)


def test_declarations_are_kept_by_name_where_they_are_known_and_in_full_otherwise():
    config = ModelConfig(readouts=("pose", TIP))
    plain = config.to_dict()["readouts"]
    assert plain[0] == "pose" and plain[1]["labels"] == "state/tip"
    assert ModelConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: declare("smell"), "no readout is called 'smell'; known: contact, distance"),
        (lambda: replace(TIP, labels=""), "'tip' has no labels"),
        (lambda: replace(TIP, loss="hinge"), "loss 'hinge'; expected one of squared"),
        (lambda: replace(TIP, parts=(Part("p", (3,), "m"),)), "part 'p' has dims"),
    ],
)
def test_a_wrong_declaration_is_refused_by_name(wrong, said):
    with pytest.raises(ReadoutError, match=said):
        wrong()


class Tipped(ToyWorld):
    """The toy world as an arm would be: what is read is the tip's place, on a slope, and nothing of a plane."""

    def __init__(self) -> None:
        super().__init__(readouts=(TIP,))

    def read(self, name, latent, goal=None):
        return torch.cat([latent, latent[..., :1] + latent[..., 1:]], dim=-1)


def test_a_goal_in_the_values_of_any_readout_is_searched_and_arrived_at():
    planner = toy_planner(Tipped(), samples=64)
    planner.set_goal(Goal("tip", value=(0.3, -0.2, 0.1)))
    z = np.zeros(2, np.float32)
    for k in range(20):
        output = planner.step(z, 0.2 * k)
        z = z + 0.1 * planner.contract.normalise(output.command).astype(np.float32)
    assert output.status["arrived"] and np.abs(z - (0.3, -0.2)).max() < 0.06
    assert output.status["distance_unit"] == "m" and output.status["heading_error"] is None


def test_a_value_that_is_free_leaves_no_term():
    model = Tipped()
    tip = model_terms(model.readouts)[-1]
    assert tip.name == "tip" and tip.weight == 2.0 and tip.fits(Target(Goal("tip", value=(0.0, 0.0, 0.1)), model))
    assert not tip.fits(Target(Goal("tip", value=(0.0, float("nan"), 0.1)), model))


def futures(model) -> Futures:
    zs = 0.1 * torch.randn(4, 2, 5, 2, generator=torch.Generator().manual_seed(0))
    return Futures(model, zs, torch.zeros(4, 5, 2), torch.zeros(2))


def test_the_checkers_pass_what_the_project_has_and_name_what_is_wrong():
    model = ToyWorld()
    pictures = {"image": torch.zeros(2, 4, 4, 3, dtype=torch.uint8)}
    assert any("rollout" in line for line in check_world_model(model, pictures))
    goal = Target(Goal.from_latent(np.array([0.3, 0.1])), model)
    for term in model_terms(model.readouts):
        check_term(term, futures(model), goal)

    class Forgetful(ToyWorld):
        def rollout(self, z, h, actions, noise=None):
            zs, h = super().rollout(z, h, actions, noise)
            return zs + 0.01 * actions.shape[1], h

    with pytest.raises(ModelCheckError, match="rollout in two parts differs from the whole"):
        check_world_model(Forgetful())
    with pytest.raises(ModelCheckError, match="has no 'encode'"):
        check_world_model(object())

    class Negative:
        name, unit, weight = "odd", "1", 1.0

        def fits(self, goal):
            return True

        def __call__(self, futures, goal):
            return -torch.ones(futures.shape)

    with pytest.raises(CostCheckError, match=r"'odd'.*expected at least 0"):
        check_term(Negative(), futures(model), goal)
    with pytest.raises(CostCheckError, match="constraint Negative has no 'risk'"):
        check_constraint(Negative(), futures(model), goal)


def test_small_values_far_from_zero_are_learned_as_well_as_any():
    near = felt(True)
    near.states["tip"] = 5.0 + 0.01 * near.states["tip"]  # centimetres about five metres
    torch.manual_seed(0)
    model = WorldModel(ModelConfig(**SIZES, readouts=(TIP,))).eval().requires_grad_(False)
    fit_heads(model, near, 300, 0, lambda *_: None, batch=128)
    assert min(judge_readouts(model, near)["tip"]["r2"]) > 0.9
    assert abs(float(model.read("tip", near.z).mean()) - 5.0) < 0.01
