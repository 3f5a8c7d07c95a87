# SPDX-License-Identifier: Apache-2.0
"""The learned proposal learns what leads to a goal, seeds the search, travels with the checkpoint, and is reported."""

import numpy as np
import pytest
import torch
from toy_world import ToyWorld, toy_contract, toy_planner

from jepa_ros.contract import load_contract
from jepa_ros.cost import Goal, Target
from jepa_ros.learning.representation.diagnostics import Latents
from jepa_ros.learning.stages.proposal import add_proposal, judge_proposal
from jepa_ros.planar.goals import pose_goal
from jepa_ros.planning import Planner, PlannerConfig, SearchConfig
from jepa_ros.planning.proposals import PROPOSAL, LearnedProposal, fit_plan
from jepa_ros.world_model import ModelConfig, WorldModel, load_checkpoint, save_checkpoint

CONFIG = ModelConfig(latent_dim=2, width=64, encoder_width=8, keypoints=2, keypoint_values=2, readouts=("distance",))


def silent(*_):
    pass


def wandering(episodes=40, length=30, seed=0):
    """Episodes of the toy world, each step a small turn of the last."""
    g = torch.Generator().manual_seed(seed)
    heading = 6.28 * torch.rand(episodes, 1, generator=g) + 0.3 * torch.randn(episodes, length, generator=g).cumsum(1)
    actions = torch.stack([heading.cos(), heading.sin()], -1)
    z = torch.cat([torch.zeros(episodes, 1, 2), 0.1 * actions.cumsum(1)], 1)[:, :-1]
    z = z + torch.randn(episodes, 1, 2, generator=g)
    nothing = torch.zeros(episodes, length)
    return Latents(z, actions, nothing[..., None].expand(-1, -1, 3), nothing.bool(), np.zeros(episodes, int))


@pytest.fixture(scope="module")
def taught():
    torch.manual_seed(0)
    model = WorldModel(CONFIG).eval().requires_grad_(False)
    return add_proposal(model, wandering(), 6, 300, 0, silent)


def test_the_proposal_learns_by_hindsight_where_a_goal_lies(taught):
    assert judge_proposal(taught, wandering(seed=1))["ratio"] < 0.5  # 1 is the mean action
    plan = taught.read("proposal", torch.tensor([[0.2, 0.1]]), torch.tensor([[0.2, 0.6]]))[0]
    assert plan.shape == (6, 2) and float(plan.detach().abs().max()) <= 1.0
    assert plan[:3, 1].mean() > 0.7


class Seeded(ToyWorld):
    """The toy world with somebody else's head."""

    def __init__(self, head):
        super().__init__(readouts=("distance", "pose", "proposal"))
        self.head = head

    def read(self, name, latent, goal=None):
        return self.head(latent, goal) if name == "proposal" else super().read(name, latent, goal)


def test_the_search_is_seeded_and_tells_each_source_s_share(taught):
    goal = Goal.from_latent(np.array([0.0, 0.5]))
    settings = {"samples": 32, "elites": 8, "iterations": 1, "deadline": 10.0, "horizon": 6}
    start = (np.zeros(2, np.float32), np.zeros(1, np.float32))
    plain = toy_planner(**settings).think(*start, goal)
    seeded = toy_planner(Seeded(taught.heads["proposal"]), **settings).think(*start, goal)
    assert seeded.cost < plain.cost and seeded.source == "proposal"
    assert seeded.shares["proposal"] > 0.5 and sum(seeded.shares.values()) == pytest.approx(1.0)


def test_the_planner_reports_who_won_so_far(taught):
    planner = Planner(Seeded(taught.heads["proposal"]), toy_contract(), PlannerConfig(SearchConfig(deadline=10.0)))
    planner.set_goal(Goal.from_latent(np.array([0.0, 2.0])))
    status = [planner.step(np.zeros(2, np.float32), 0.2 * i).status for i in range(3)][-1]
    assert sum(status["winners"].values()) == pytest.approx(1.0)
    assert {"proposal", "noise", "mean", "warm", "stop", "gradient"} >= set(status["winners"])


@pytest.mark.parametrize("horizon", [4, 6, 9])
def test_a_proposal_is_cut_or_drawn_out_to_the_horizon(taught, horizon):
    plans = LearnedProposal(taught)(
        torch.zeros(2), None, Target(Goal.from_latent(np.ones(2)), taught), 5, horizon, torch.Generator().manual_seed(0)
    )
    own = taught.read("proposal", torch.zeros(1, 2), torch.ones(1, 2))[0]
    assert plans.shape == (5, horizon, 2) and float(plans.abs().max()) <= 1.0
    assert torch.equal(plans[0], fit_plan(own, horizon)) and not torch.equal(plans[0], plans[1])


def test_there_is_none_towards_a_pose(taught):
    goal = pose_goal(0.0, 0.5)
    assert len(LearnedProposal(taught)(torch.zeros(2), None, Target(goal, ToyWorld()), 5, 4, torch.Generator())) == 0
    result = toy_planner(Seeded(taught.heads["proposal"])).think(np.zeros(2, np.float32), np.zeros(1, np.float32), goal)
    assert result.reason == "ok" and PROPOSAL not in result.shares


def test_a_checkpoint_is_given_a_proposal_and_nothing_else_changes(tmp_path):
    from test_worlds import CONFIG as SMALL
    from test_worlds import blob_episode

    from jepa_ros.learning.data.dataset import Dataset
    from jepa_ros.learning.data.writer import DatasetWriter
    from jepa_ros.learning.stages.order import Order
    from jepa_ros.learning.stages.proposal import renew_proposal

    contract, rng = load_contract("arena"), np.random.default_rng(0)
    writer = DatasetWriter(tmp_path / "data", contract, {})
    writer.begin()
    writer.write_shard(0, [blob_episode(rng, i + 1) for i in range(6)])
    writer.finish()
    save_checkpoint(tmp_path / "m", WorldModel(SMALL).eval(), {"contract": contract.to_dict(), "metrics": {"a": 1}})
    before, _ = load_checkpoint(tmp_path / "m")
    card = renew_proposal(Order(tmp_path / "m", Dataset(tmp_path / "data", min_length=14), 3, 0, silent), 4)
    after, _ = load_checkpoint(tmp_path / "m", contract)
    assert set(card["metrics"]) == {"a", "proposal"} and "proposal" in after.readouts
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())


def test_the_proposal_travels_with_the_checkpoint(tmp_path):
    torch.manual_seed(0)
    contract = load_contract("arena")
    model = WorldModel(ModelConfig(width=32, encoder_width=8, readouts=("distance", "proposal"), proposal_steps=5))
    save_checkpoint(tmp_path, model.eval(), {"contract": contract.to_dict()})
    again, _ = load_checkpoint(tmp_path, contract)
    z, goal = torch.randn(2, 1, 64)
    assert again.read("proposal", z, goal).shape == (1, 5, 2)
    assert torch.equal(again.read("proposal", z, goal), model.read("proposal", z, goal))
