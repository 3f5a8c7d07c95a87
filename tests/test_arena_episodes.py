# SPDX-License-Identifier: Apache-2.0
"""The arena behaves as it did: episodes of fixed seeds against those recorded before scenes and tasks were protocols.

``data/arena_episodes.npz`` holds what collection and evaluation did then (revision 3ad940b, the shipped model):
actions, poses, tiny pictures and verdicts. Physics and noise follow from the seeds; what may differ is the last bit of
a mean (executed actions are weighted by time now) and of torch's sums, which a short search hardly amplifies.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from jepa_ros.agent import loop as loop_module
from jepa_ros.contract import load_contract
from jepa_ros.evaluation import episode as episode_module
from jepa_ros.evaluation.episode import EvalSettings, run_episode
from jepa_ros.learning.data.collect import CollectSettings, collect_episode
from jepa_ros.planning.config import SearchConfig
from jepa_ros.world_model import load_checkpoint, resolve_model
from jepa_ros.worlds import load

ACTION, POSITION, GREY = 2e-3, 2e-3, 1.0  # m/s and rad/s; m and rad; levels of 255
SECONDS = 8.0
RECORDED = np.load(Path(__file__).parent / "data" / "arena_episodes.npz")
COLLECTED = sorted({key.rsplit("/", 1)[0] for key in RECORDED.files if key.startswith("collect/")})
SCORED = sorted({key.rsplit("/", 1)[0] for key in RECORDED.files if key.startswith("eval/")})
SEARCH = replace(SearchConfig(), samples=64, iterations=2, elites=8)


@pytest.fixture(scope="module")
def contract():
    return load_contract("arena")


@pytest.fixture(scope="module")
def loaded(contract):
    return (*load_checkpoint("arena", contract), resolve_model("arena"))


@pytest.fixture
def world():
    return load("arena")


@pytest.mark.parametrize("key", COLLECTED)
def test_what_is_collected_is_what_was(key, contract, world):
    _, layout, number = key.split("/")
    task = world.task(layout, contract, {"per_layout": 2, **({"randomise": False} if number == "2" else {})})
    scene = world.scene(contract)
    episode = collect_episode(scene, task, world, CollectSettings(8, 24, 3), int(number))
    scene.close()
    then = {name: RECORDED[f"{key}/{name}"] for name in ("actions", "commands", "poses", "contacts", "layout")}
    np.testing.assert_allclose(episode.commands, then["commands"], atol=1e-6)
    np.testing.assert_allclose(episode.actions, then["actions"], atol=1e-6)
    np.testing.assert_allclose(episode.poses, then["poses"], atol=1e-5)
    np.testing.assert_array_equal(episode.contacts, then["contacts"])
    assert episode.layout == int(then["layout"])
    pictures = np.stack([cv2.resize(i, (4, 4), interpolation=cv2.INTER_AREA) for i in episode.images])
    np.testing.assert_allclose(pictures.astype(float), RECORDED[f"{key}/pictures"].astype(float), atol=GREY)


@pytest.mark.parametrize("key", SCORED)
def test_what_is_scored_is_what_was(key, contract, world, loaded, monkeypatch):
    _, layout, number, kind = key.split("/")
    records = []

    class Watched(loop_module.Loop):
        def step(self):
            records.append(super().step())
            return records[-1]

    monkeypatch.setattr(episode_module, "Loop", Watched)
    task = world.task(layout, contract, {"randomise": layout == "random"})
    task.limit = round(SECONDS * contract.rate)
    scene = world.scene(contract)
    spec = task.draw(scene, 5, int(number))
    found = run_episode(kind, scene, task, spec, EvalSettings(search=SEARCH, seed=5), loaded)
    scene.close()
    np.testing.assert_allclose([r.decision.command for r in records], RECORDED[f"{key}/commands"], atol=ACTION)
    np.testing.assert_allclose([r.executed for r in records], RECORDED[f"{key}/executed"], atol=ACTION)
    then = json.loads(str(RECORDED[f"{key}/score"]))
    for name, value in then.items():
        if isinstance(value, float):
            assert found["score"][name] == pytest.approx(value, abs=POSITION), name
        else:
            assert found["score"][name] == value, name
