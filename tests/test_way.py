# SPDX-License-Identifier: Apache-2.0
"""The way between states: a distance that ways which nobody drove can be read from, taught in imagination."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from jepa_ros.cost.terms import StepsTerm, model_terms
from jepa_ros.cost.to_go import to_go_of
from jepa_ros.learning.representation.diagnostics import Latents
from jepa_ros.learning.stages import way
from jepa_ros.learning.stages.way import imagine, judge_way
from jepa_ros.planning.native import NativeError, NativeReadouts
from jepa_ros.statistics import rank_correlation
from jepa_ros.world_model import ModelConfig, WorldModel, load_checkpoint, save_checkpoint
from jepa_ros.world_model.readouts import DISTANCE, WAY
from jepa_ros.world_model.way_head import WayHead
from jepa_ros_sim.rooms.geodesic import geodesic
from jepa_ros_sim.rooms.layout import HALF, Layout
from jepa_ros_sim.rooms.scene import SPEED, moved

WALL = Layout(((-0.1, -2.0, 0.1, 1.2),))  # one wall, open at the top
STEP = 0.2  # m
SIZES = {"latent_dim": 2, "action_dim": 2, "noise_dim": 1, "state_dim": 1, "width": 96, "encoder_width": 8}


def step(places: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """One control step beside the wall; places in units of HALF."""
    return moved(WALL, places * HALF, actions * SPEED, STEP / SPEED) / HALF


class Known(WorldModel):
    """A model that knows how the robot moves; its latent is the place."""

    def predict(self, z, action, noise, h):
        return torch.from_numpy(step(z.double().numpy(), action.double().numpy())).float(), h


def episodes(count: int, length: int, seed: int) -> Latents:
    """Random drives beside the wall."""
    rng = np.random.default_rng(seed)
    z = np.stack([WALL.free_point(rng) for _ in range(count)]) / HALF
    actions = np.repeat(rng.uniform(-1, 1, (count, -(-length // 4), 2)), 4, axis=1)[:, :length]
    found = [z]
    for t in range(length - 1):
        found.append(step(found[-1], actions[:, t]))
    return Latents(
        torch.from_numpy(np.stack(found, 1)).float(), torch.from_numpy(actions).float(),
        torch.full((count, length, 3), torch.nan), torch.zeros(count, length, dtype=torch.bool), np.zeros(count, int),
    )  # fmt: skip


@pytest.fixture(scope="module")
def taught():
    """A model with a way learned in a few seconds, and the drives."""
    torch.manual_seed(0)
    drives = episodes(40, 30, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(way, "STATES", 1500)
        patch.setattr(way, "LAYOUTS", 1)
        model = Known(ModelConfig(readouts=("way",), **SIZES)).eval().requires_grad_(False)
        way.fit_way(model, drives, 600, 0, lambda *_: None)
    return model, drives


def test_the_way_round_a_wall_is_longer_than_the_straight_line_and_in_steps(taught):
    model, _ = taught
    rng = np.random.default_rng(5)
    goal = np.array([1.0, -1.2])
    starts = np.stack([WALL.free_point(rng) for _ in range(400)])
    true = geodesic(WALL).ways(starts, goal) / STEP
    told = model.read("way", torch.from_numpy(starts / HALF).float(), torch.from_numpy(goal / HALF).float()).numpy()
    straight = np.linalg.norm(starts - goal, axis=1) / STEP
    across = true > straight + 1.0
    assert rank_correlation(told, true) > 0.8 > rank_correlation(straight, true)
    assert np.median(told[across] / true[across]) == pytest.approx(1.0, abs=0.3)
    assert np.median(told[across]) > 1.3 * np.median(straight[across])


def test_the_triangle_inequality_holds_whatever_was_learned():
    head = WayHead(4)
    a, b, c = (head.code(torch.randn(200, 4)) for _ in range(3))
    assert (head.steps(a, c) <= head.steps(a, b) + head.steps(b, c) + 0.02).all()
    assert head.steps(a, a).abs().max() == 0.0
    assert (head.steps(a, b) - head.steps(b, a)).abs().max() > 1e-3  # a way back may be another one


def test_the_check_needs_no_truth_and_refuses_what_was_not_learned(taught):
    model, _ = taught
    judged = judge_way(model, episodes(10, 30, 3))
    assert judged["used"] and judged["order"] > judged["least"]
    blank = Known(model.config).eval()
    blank.heads["way"].layers[-1].weight.data.zero_()
    refused = judge_way(blank, episodes(10, 30, 3))
    assert refused["order"] == 0.0 and not refused["used"]


def test_states_are_imagined_of_every_layout_and_actions_lead_on_from_them():
    drives = episodes(6, 30, 1)
    drives = replace(drives, layouts=np.array([4, 4, 9, 9, 9, 2]))
    model = Known(ModelConfig(readouts=("way",), **SIZES)).eval()
    places = imagine(model, drives, torch.Generator().manual_seed(0))
    assert len(places) == 3
    for place in places:
        far = (place.after - place.z[:, None]).norm(dim=-1) * HALF
        assert (far <= STEP * place.spent + 1e-4).all()
        assert far[:, place.spent == 8].mean() > 2 * far[:, place.spent == 1].mean()
        assert not WALL.blocked(place.after.double().numpy() * HALF * (1 - 1e-6)).mean() > 0.01


def test_a_search_goes_by_the_way_where_a_model_has_it():
    (latent, steps) = model_terms({"distance": DISTANCE, "way": WAY})
    assert isinstance(steps, StepsTerm) and steps.readout == "way" and steps.name == "steps"
    (_, old) = model_terms({"distance": DISTANCE})
    assert old.readout == "distance" and steps.weight > old.weight and latent.name == "latent"


def test_a_checkpoint_keeps_the_way_and_fused_code_reads_the_same(tmp_path, taught):
    model, drives = taught
    plain = WorldModel(model.config)
    plain.load_state_dict(model.state_dict())
    from jepa_ros.contract import load_contract

    save_checkpoint(tmp_path, plain, {"contract": load_contract("rooms").to_dict()})
    loaded, _ = load_checkpoint(tmp_path)
    z, goal = drives.z[:4, None, :5], drives.z[0, 9]
    told = loaded.read("way", z, goal)
    assert told.shape == (4, 1, 5)
    torch.testing.assert_close(told, model.read("way", z, goal))
    found = to_go_of(loaded)
    assert found is not None
    codes = found.code(drives.z[0])
    torch.testing.assert_close(found.steps(codes, codes[9]), loaded.read("way", drives.z[0], goal))
    try:
        fused = NativeReadouts(loaded, "float32")
    except NativeError as error:
        pytest.skip(str(error))
    torch.testing.assert_close(fused.read("way", z, goal), told, rtol=1e-3, atol=1e-3)
