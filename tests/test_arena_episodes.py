# SPDX-License-Identifier: Apache-2.0
"""The arena behaves as it did: episodes of fixed seeds are those that were recorded (`python tests/arena_episodes.py`).

Physics and noise follow from the seeds. What may differ is the last bit of a mean, which a short search hardly
amplifies on the processor that it was recorded on.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from arena_episodes import COLLECTED, EPISODES, SCORED, collected, processor, scored

ACTION, POSITION, GREY = 2e-3, 2e-3, 1.0  # m/s and rad/s; m and rad; levels of 255
RECORDED = np.load(EPISODES)


@pytest.mark.parametrize("key", COLLECTED)
def test_what_is_collected_is_what_was(key):
    found, then = collected(key), {name: RECORDED[f"{key}/{name}"] for name in ("commands", "actions", "poses")}
    np.testing.assert_allclose(found["commands"], then["commands"], atol=1e-6)
    np.testing.assert_allclose(found["actions"], then["actions"], atol=1e-6)
    np.testing.assert_allclose(found["poses"], then["poses"], atol=1e-5)
    np.testing.assert_array_equal(found["contacts"], RECORDED[f"{key}/contacts"])
    assert found["layout"] == int(RECORDED[f"{key}/layout"])
    np.testing.assert_allclose(found["pictures"].astype(float), RECORDED[f"{key}/pictures"].astype(float), atol=GREY)


@pytest.mark.parametrize("key", SCORED)
def test_what_is_scored_is_what_was(key):
    if key.endswith("planner") and processor() != str(RECORDED["processor"]):
        pytest.skip(f"recorded on another processor ({RECORDED['processor']}): its search rounds differently")
    found = scored(key)
    np.testing.assert_allclose(found["commands"], RECORDED[f"{key}/commands"], atol=ACTION)
    np.testing.assert_allclose(found["executed"], RECORDED[f"{key}/executed"], atol=ACTION)
    score = json.loads(found["score"])
    for name, value in json.loads(str(RECORDED[f"{key}/score"])).items():
        if isinstance(value, float):
            assert score[name] == pytest.approx(value, abs=POSITION), name
        else:
            assert score[name] == value, name
