# SPDX-License-Identifier: Apache-2.0
"""Where a goal picture was taken, by the views of a drive: agreement, looking round, and what the search is told."""

import math

import numpy as np
import pytest
import torch

from jepa_ros.contract import load_contract
from jepa_ros.cost.futures import Futures
from jepa_ros.cost.goal import Goal, Target
from jepa_ros.memory.check import check_knowledge
from jepa_ros.memory.knowledge import Seen
from jepa_ros.planar.odometry import Motion, between, beyond
from jepa_ros.planar.readouts import RELATIVE
from jepa_ros.planar.sight import ROUND, Sight, View, agreed
from jepa_ros.world_model import ModelConfig, WorldModel

ROVER = load_contract("rover")
HOME = (0.0, 0.0, 0.0)


class Eyes(WorldModel):
    """A model whose latents are poses, and that tells relative poses exactly where views face the same way."""

    def __init__(self):
        super().__init__(ModelConfig(latent_dim=4, encoder_width=8, width=16, readouts=(RELATIVE,)))

    def read(self, name, latent, goal=None):
        here, there = latent.reshape(-1, 4).double().numpy()[:, :3], goal.double().numpy()[:3]
        x, y, turn = between(here, there).T
        doubt = np.where(np.abs(turn) < 1.0, 0.05, 1.5)
        return torch.tensor(np.stack([x, y, np.cos(turn), np.sin(turn), doubt], 1), dtype=torch.float32)


def seen(pose, stamp=0.0, steps=1, **further):
    latent = torch.tensor([*pose, 0.0], dtype=torch.float32)
    return Seen(latent, latent.numpy(), stamp, steps, odometry=tuple(pose), **further)


def goal_at(model, pose):
    return Target(Goal.from_latent(np.array([*pose, 0.0], np.float32)), model)


def futures(model, actions):
    return Futures(model, torch.zeros(len(actions), 1, actions.shape[1], 4), actions, torch.zeros(4))


def test_actions_lead_where_the_wheels_would():
    motion = Motion(ROVER)
    command = ROVER.normalise(np.array([0.4, 0.6]))
    ways = motion.ways(torch.tensor(command, dtype=torch.float32).expand(1, 10, 2))[0]
    x, y, yaw = ways[-1].tolist()
    assert yaw == pytest.approx(1.5) and math.hypot(x, y) == pytest.approx(2 * 0.4 / 0.6 * math.sin(0.75), abs=2e-3)
    pose = np.zeros(3)
    for _ in range(10):
        pose = beyond(pose, motion.step(np.array([0.4, 0.6]), 1))
    np.testing.assert_allclose(pose, [x, y, yaw], atol=1e-5)


def test_poses_go_there_and_back():
    here, step = np.array([1.0, -2.0, 2.5]), np.array([0.3, 0.4, 1.5])
    np.testing.assert_allclose(between(here, beyond(here, step)), step, atol=1e-12)


def test_the_views_that_agree_outweigh_one_that_is_sure_and_wrong():
    def view(goal, doubt):
        return View(torch.zeros(4), np.zeros(3), 0.0, np.array(goal), doubt)

    found = agreed([view((1.0, 0.0, 0.1), 0.2), view((1.1, 0.1, 0.0), 0.2), view((1.0, 0.1, 0.0), 0.2),
                    view((-2.0, 3.0, 2.0), 0.15)], 0.0)  # fmt: skip
    assert math.hypot(found.pose[0] - 1.03, found.pose[1] - 0.07) < 0.1 and abs(found.pose[2]) < 0.15


def test_a_goal_that_is_not_in_view_is_looked_for_all_round():
    model = Eyes()
    sight, goal = Sight(model, ROVER), goal_at(model, (1.0, 0.5, 3.0))
    sight.observe(seen(HOME, steps=0))
    sight.prepare(goal)
    assert sight.looking == ROUND
    assert sight.reading(goal)[0] > 1.5, "nobody has arrived before the goal was found"
    still = torch.tensor(ROVER.normalise(np.zeros(2)), dtype=torch.float32).expand(10, 2)
    turn = torch.tensor(ROVER.normalise(np.array([0.0, 1.2])), dtype=torch.float32).expand(10, 2)
    drive = torch.tensor(ROVER.normalise(np.array([0.4, 0.0])), dtype=torch.float32).expand(10, 2)
    cost = sight.terms()[0](futures(model, torch.stack([still, turn, drive])), goal).mean((1, 2))
    assert int(cost.argmin()) == 1, "it turns on the spot"
    for k in range(1, 30):
        sight.observe(seen((0.0, 0.0, 0.2 * k), 0.25 * k))
        sight.prepare(goal)
        if sight.looking == 0.0:
            break
    assert k < 20, "found as soon as it was seen"
    np.testing.assert_allclose(sight.found.pose[:2], [1.0, 0.5], atol=0.02)


def test_a_goal_that_was_found_is_driven_to_and_then_turned_to():
    model = Eyes()
    sight, goal = Sight(model, ROVER), goal_at(model, (0.5, 0.0, 0.6))
    sight.observe(seen(HOME, steps=0))
    sight.prepare(goal)
    ahead = torch.tensor(ROVER.normalise(np.array([0.2, 0.0])), dtype=torch.float32).expand(10, 2)
    aside = torch.tensor(ROVER.normalise(np.array([0.2, 1.0])), dtype=torch.float32).expand(10, 2)
    cost = sight.terms()[0](futures(model, torch.stack([ahead, aside])), goal).mean((1, 2))
    assert cost[0] < cost[1]
    sight.observe(seen((0.5, 0.0, 0.0), 1.0))
    assert sight.reading(goal) == pytest.approx((0.05, 0.6), abs=0.02), "the error to be expected is in it"
    turned = torch.tensor(ROVER.normalise(np.array([0.0, 0.24])), dtype=torch.float32).expand(10, 2)
    stays = torch.tensor(ROVER.normalise(np.zeros(2)), dtype=torch.float32).expand(10, 2)
    cost = sight.terms()[0](futures(model, torch.stack([turned, stays])), goal).mean((1, 2))
    assert cost[0] < cost[1]


class Doubtful(Eyes):
    """Takes every view for the goal's, and is not sure of any."""

    def read(self, name, latent, goal=None):
        count = len(latent.reshape(-1, 4))
        return torch.tensor([0.0, 0.0, 1.0, 0.0, 0.5]).expand(count, -1)


def test_a_robot_that_is_not_sure_to_be_there_looks_from_elsewhere():
    model = Doubtful()
    sight, goal = Sight(model, ROVER), goal_at(model, HOME)
    sight.obstructions.note(0.0, 0.0, 0.0, 0.0)  # it was held back ahead
    turned = 0
    while sight.aside is None:
        assert turned < 80, "once it has looked round it stands there, and goes aside"
        sight.observe(seen((0.0, 0.0, 0.2 * min(turned, 31)), 0.25 * turned, int(turned > 0)))
        sight.prepare(goal, stamp=0.25 * turned)
        turned += 1
    x, y, _ = sight.aside
    assert math.hypot(x, y) == pytest.approx(0.7) and x < 0.5, "not where it was held back"
    drive = torch.tensor(ROVER.normalise(np.array([0.4, 0.0])), dtype=torch.float32).expand(2, 10, 2).clone()
    drive[1] *= -1.0
    towards = sight.terms()[0](futures(model, drive), goal)[:, 0, -1]
    ends = sight.ways(futures(model, drive))[:, -1, :2].numpy()
    ends = np.array([beyond(sight.drive.here, [*end, 0.0])[:2] for end in ends])
    assert int(towards.argmin()) == int(np.hypot(*(ends - [x, y]).T).argmin()), "plans lead there"
    sight.observe(seen((x, y, 0.0), 0.25 * turned))
    sight.prepare(goal, stamp=0.25 * turned)
    assert sight.aside is None and sight.looking == ROUND, "there it looks round again"


def test_a_place_to_look_from_that_is_not_reached_is_given_up():
    model = Doubtful()
    sight, goal = Sight(model, ROVER), goal_at(model, HOME)
    tried = []
    for k in range(160):
        sight.observe(seen((0.0, 0.0, 0.2 * min(k, 31)), 0.25 * k, int(k > 0)))
        sight.prepare(goal, stamp=0.25 * k)
        if sight.aside is not None:
            tried.append(0.25 * k)
        elif tried:
            break
    assert 7.0 < tried[-1] - tried[0] < 9.0 and sight.looking > 0.0


def test_without_odometry_the_way_follows_from_what_was_executed():
    sight = Sight(Eyes(), ROVER)
    for k in range(5):
        latent = torch.zeros(4)
        executed = None if k == 0 else np.array([0.4, 0.0])
        sight.observe(Seen(latent, latent.numpy(), 0.25 * k, min(k, 1), executed=executed))
    np.testing.assert_allclose(sight.drive.here, [0.4, 0.0, 0.0], atol=1e-6)


def test_where_it_was_held_back_plans_do_not_go_again():
    model = Eyes()
    sight, goal = Sight(model, ROVER), goal_at(model, (1.0, 0.0, 0.0))
    asked, held = np.array([0.4, 0.0]), np.zeros(2)
    sight.observe(seen(HOME, steps=0))
    sight.observe(seen(HOME, 0.25, commanded=asked, executed=held, gate_reason="obstacle"))
    (constraint,) = sight.constraints()
    ahead = torch.tensor(ROVER.normalise(asked), dtype=torch.float32).expand(10, 2)
    back = torch.tensor(ROVER.normalise(-0.5 * asked), dtype=torch.float32).expand(10, 2)
    excess = constraint(futures(model, torch.stack([ahead, back])), goal).max((1, 2))
    assert excess[0] > 0.0 >= excess[1]
    sight.reset()
    assert not sight.constraints()


def test_it_is_knowledge_as_the_planner_takes_it():
    model = Eyes()
    check_knowledge(Sight(model, ROVER), seen(HOME), futures(model, torch.zeros(3, 5, 2)), goal_at(model, (1, 0, 0)))
