# SPDX-License-Identifier: Apache-2.0
"""The planner tells its long-term memory what came of its motions, and asks it for ways in the next life."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_world import ToyWorld, planar_config, toy_contract

from jepa_ros.memory import LongTerm, RecallError
from jepa_ros.memory.long_term import CONTACT
from jepa_ros.planar.goals import pose_goal
from jepa_ros.planar.map_head import map_part
from jepa_ros.planar.way_memory import WayMemory
from jepa_ros.planning import PlannerConfig, SearchConfig
from jepa_ros.planning.planner import Planner

CELLS, EXTENT = 20, (-1.0, -1.0, 1.0, 1.0)
FREE = np.full(CELLS * CELLS, -6.0, np.float32)


class MappedToy(ToyWorld):
    """The toy world with a map."""

    def __init__(self) -> None:
        super().__init__()
        self.config = planar_config(latent_dim=2, noise_dim=2, state_dim=1, context=(map_part(CELLS, EXTENT),))


def make(memory):
    torch.manual_seed(0)
    return Planner(
        MappedToy(), toy_contract(), PlannerConfig(search=SearchConfig(horizon=8, deadline=60.0)), memory=memory
    )


def see(planner, x, y, step, seen=FREE, **told):
    embedding = np.zeros(planner.model.config.embedding_dim, np.float32)
    embedding[:2], embedding[2 : 2 + CELLS**2] = (x, y), seen
    return planner.step(embedding, 0.2 * step, iterations=4, seed=step, **told)


@pytest.fixture
def memory():
    return LongTerm(2, [WayMemory(0.11)])


def again(memory):
    other = LongTerm(memory.latent_dim, [WayMemory(0.11)])
    other.restore(list(memory.tags), memory.tensors())
    return other


def test_what_held_the_robot_back_is_remembered_where_it_was(memory):
    planner = make(memory)
    planner.set_goal(pose_goal(0.8, 0.0))
    see(planner, 0.0, 0.0, 1)
    planner._commanded = np.array([0.4, 0.0])
    see(planner, 0.0, 0.0, 2, executed=np.array([0.0, 0.0]), gate_reason="contact")
    np.testing.assert_allclose(
        memory.annex(WayMemory).obstructions[:, :2], [[planner.knowledge[0].obstructions.keep, 0.0]], atol=1e-6
    )
    assert memory.outcomes.tolist().count(CONTACT) == 1
    planner.reset()
    see(planner, 0.5, 0.5, 9)
    assert len(memory.annex(WayMemory).obstructions) == 1  # a reset forgets the drive, not the life


def test_after_a_restart_the_way_round_what_no_picture_shows_is_known(memory):
    for _ in range(4):
        for x in np.arange(-0.5, 0.55, 0.1):
            memory.mark(np.array([x, 0.0]), (x, -0.1, 1.57), CONTACT)
            memory.annex(WayMemory).note((x, 0.0))
    ahead = torch.tensor([[0.0, -0.3]])
    detours = {}
    for name, given in (("forgotten", None), ("kept", again(memory))):
        planner = make(given)
        planner.set_goal(pose_goal(0.0, 0.6))
        see(planner, 0.0, -0.6, 1)
        detours[name] = float(planner.knowledge[0].route.detour(ahead))
    assert detours["forgotten"] == pytest.approx(0.0, abs=0.01)
    assert detours["kept"] > 0.3  # 0.5 m to the side, there and back, less the straight way


def test_an_empty_memory_changes_no_plan(memory):
    plans = []
    for given in (None, memory):
        planner = make(given)
        planner.set_goal(pose_goal(0.3, 0.6))
        plans.append([see(planner, 0.0, 0.1 * k, k).command for k in range(1, 5)])
    np.testing.assert_array_equal(*plans)


def test_the_map_is_there_before_the_first_picture_and_pictures_put_it_right(memory):
    wall = FREE.reshape(CELLS, CELLS).copy()
    wall[9:11] = 6.0
    planner = make(memory)
    for k in range(1, 4):
        see(planner, 0.0, -0.6, k, wall.ravel())
    reborn = make(again(memory))
    assert reborn.knowledge[0].places.look_up(np.array([0.5, 0.0])) > 0.9
    for k in range(1, 9):
        see(reborn, 0.0, -0.6, k)
    assert reborn.knowledge[0].places.look_up(np.array([0.5, 0.0])) < 0.5


def test_a_tag_is_a_goal_and_needs_a_picture(memory):
    planner = make(memory)
    with pytest.raises(RecallError, match="no image"):
        planner.remember("dock")
    see(planner, 0.25, -0.5, 1)
    planner.remember("dock")
    reborn = make(again(memory))
    goal = reborn.remembered_goal("dock")
    assert goal.kind == "memory" and goal.name == "dock" and goal.latent.tolist() == [0.25, -0.5]
    assert memory.tags["dock"].where == pytest.approx((0.25, -0.5, 0.0))
    reborn.set_goal(goal)
    assert see(reborn, -0.5, -0.5, 1).status["reason"] == "ok"
