# SPDX-License-Identifier: Apache-2.0
"""Scenes that are hard to plan in, when a search stops, whether noise is calibrated, and what the bench makes of it."""

import json
import math

import numpy as np
import pytest
import torch
from toy_world import ToyWorld, planar_config, toy_planner

from benchmarks.rigs.resumable import begin, folder, keep, read
from benchmarks.rigs.search.search_episodes import ANYTIME, UNCERTAIN, fixed
from benchmarks.rigs.search.search_statistics import hard_half, paired, rank_correlation, rate
from benchmarks.rigs.search.search_stopping import stops_at
from jepa_ros.cost import Futures, RiskError
from jepa_ros.cost.task import TaskWeights
from jepa_ros.learning.representation.diagnostics import Latents
from jepa_ros.learning.stages.noise import calibrate_noise, coverage, judge_noise
from jepa_ros.planning import SearchConfig, SearchError
from jepa_ros.planning.convergence import Convergence
from jepa_ros.world_model import WorldModel
from jepa_ros_sim.arena.reach import make_spec

sim = pytest.importorskip("jepa_ros_sim.arena", reason="the simulator is not installed")


def test_episodes_of_another_search_lie_elsewhere(tmp_path):
    here = folder(tmp_path, "id", SearchConfig())
    assert here == folder(tmp_path, "id", SearchConfig()) and here.parent == tmp_path
    assert here != folder(tmp_path, "other", SearchConfig())
    assert here != folder(tmp_path, "id", SearchConfig(weights=TaskWeights(latent=0.3)))


@pytest.mark.parametrize("draw", [sim.maze_layout, sim.dead_end_layout])
def test_hard_layouts_follow_from_their_seed_and_every_place_can_be_reached(draw):
    from jepa_ros_sim.arena.layout import ROBOT_RADIUS, connected

    for seed in range(4):
        layout = draw(seed)
        assert layout == draw(seed) and layout != draw(seed + 1)
        assert connected(layout, ROBOT_RADIUS + 0.02)


def test_a_maze_asks_for_longer_ways_than_scattered_boxes():
    ratios = {
        layout: np.mean([s.path / s.distance for s in (make_spec(i, 3, layout, False) for i in range(12))])
        for layout in ("blocked", "maze")
    }
    assert ratios["maze"] > ratios["blocked"] > 1.0


@pytest.mark.parametrize("layout", ["maze", "dead_end"])
def test_pairs_in_hard_layouts_have_their_straight_way_blocked(layout):
    specs = [make_spec(i, 5, layout, False) for i in range(4)]
    assert all(s.blocked and s.layout == layout and math.isfinite(s.path) for s in specs)


def test_uncertain_scenes_have_slippery_patches_and_somebody_who_moves():
    assert dict(make_spec(0, 1, "slippery", True).scene)["patches"] > 0
    assert dict(make_spec(0, 1, "moving", True).scene)["person"] == "random"


def test_convergence_needs_best_and_elites_to_stand_still():
    rule = Convergence(0.05, 1)
    assert not rule.update(1.0, 2.0)
    assert not rule.update(1.0, 1.5)  # the elites still move
    assert not rule.update(0.8, 1.49)  # the best does
    assert rule.update(0.79, 1.48)


def test_convergence_counts_anew_while_nothing_is_feasible_and_zero_never_stops():
    rule = Convergence(0.05, 1)
    rule.update(1.0, 1.0)
    assert not rule.update(math.inf, math.inf) and not rule.update(1.0, 1.0) and rule.update(1.0, 1.0)
    never = Convergence(0.0, 1)
    assert not any(never.update(1.0, 1.0) for _ in range(5))
    assert stops_at([3.0, 1.0, 1.0, 1.0], [3.0, 1.0, 1.0, 1.0], 0.05, 2) == 4


def test_readouts_of_the_same_futures_are_computed_once_and_of_others_each_time():
    class Counting(ToyWorld):
        reads = 0

        def read(self, name, latent, goal=None):
            self.reads += 1
            return super().read(name, latent, goal)

    model, latents, start = Counting(), torch.randn(4, 1, 3, 2), torch.zeros(2)
    futures = Futures(model, latents, torch.zeros(4, 3, 2), start)
    assert futures.read("pose") is futures.read("pose") and model.reads == 1
    assert futures.read_start("pose").shape == (4,) and futures.read_start("pose") is not None and model.reads == 2
    latents.add_(1.0)
    fresh = Futures(model, latents, torch.zeros(4, 3, 2), start)  # a rollout wrote into its memory again
    assert torch.equal(fresh.read("pose")[..., :2], latents) and model.reads == 3


def drifting(spread, episodes=30, length=16, seed=0):
    """Episodes of the toy world in which chance moves the point by `spread` a step."""
    g = torch.Generator().manual_seed(seed)
    actions = 2 * torch.rand(episodes, length, 2, generator=g) - 1
    steps = 0.1 * actions + spread * torch.randn(episodes, length, 2, generator=g)
    z = torch.cat([torch.zeros(episodes, 1, 2), steps.cumsum(1)[:, :-1]], 1)
    nothing = torch.zeros(episodes, length)
    return Latents(z, actions, nothing[..., None].expand(-1, -1, 3), nothing.bool(), np.zeros(episodes, int))


class Predicting(ToyWorld):
    device = torch.device("cpu")

    def predict(self, z, action, noise, h):
        zs, h = self.rollout(z, h, action[:, None], None if noise is None else noise[:, None])
        return zs[:, 0], h


def test_noise_that_spreads_as_the_world_does_covers_it_and_narrower_noise_does_not():
    good = judge_noise(Predicting(spread=0.05), drifting(0.05), 64)["steps"]
    narrow = judge_noise(Predicting(spread=0.01), drifting(0.05), 64)["steps"]
    assert set(good) == {"1", "5", "12"}
    for steps in good:
        assert good[steps]["coverage_90"] == pytest.approx(0.9, abs=0.06)
        assert good[steps]["coverage_50"] == pytest.approx(0.5, abs=0.08)
        assert narrow[steps]["coverage_90"] < 0.5


def test_an_interval_of_few_samples_holds_what_it_says():
    g = torch.Generator().manual_seed(0)
    futures, truth = torch.randn(32, 4000, 8, generator=g), torch.randn(4000, 8, generator=g)
    for share in (0.5, 0.9):
        assert coverage(futures, truth, share) == pytest.approx(share, abs=0.01)
    with pytest.raises(ValueError, match="8 samples"):
        coverage(futures[:8], truth, 0.9)


@pytest.mark.parametrize("spread", [0.03, 0.08])
def test_noise_that_is_too_narrow_or_too_wide_gets_its_width(spread):
    class Tuned(Predicting):
        @property
        def predictor(self):
            return self

        def scale_noise(self, width):
            self.spread *= width

    model, data = Tuned(spread=spread), drifting(0.05)
    tuned_on, others = data.halves()
    width = calibrate_noise(model, tuned_on)
    assert spread * width == pytest.approx(0.05, rel=0.1) and model.spread == pytest.approx(spread * width)
    assert judge_noise(model, others)["steps"]["1"]["coverage_90"] == pytest.approx(0.9, abs=0.04)


def test_the_width_is_folded_into_the_weights_and_short_episodes_change_nothing():
    torch.manual_seed(0)
    model = WorldModel(planar_config(width=32, encoder_width=8)).eval().requires_grad_(False)
    z, a, noise, h = (torch.randn(5, n) for n in (64, 2, 8, 16))
    before = model.predict(z, a, 1.5 * noise, h)[0], model.predict(z, a, None, h)[0]
    model.predictor.scale_noise(1.5)
    torch.testing.assert_close(model.predict(z, a, noise, h)[0], before[0])
    torch.testing.assert_close(model.predict(z, a, None, h)[0], before[1])
    assert calibrate_noise(model, drifting(0.05, length=2)) == 1.0


def test_spread_that_knows_where_it_is_uncertain_correlates_with_the_error():
    class Slippery(Predicting):
        def rollout(self, z, h, actions, noise=None):
            here = (z[:, :1] > 0).float() * 0.2 + 0.01
            noise = None if noise is None else noise * here[:, None]
            return super().rollout(z, h, actions, noise)

    g = torch.Generator().manual_seed(1)
    data = drifting(0.0, episodes=200, length=14)
    data.z += torch.where(torch.rand(200, 1, 1, generator=g) > 0.5, 1.0, -1.0) * 5.0
    where = (data.z[:, :1, :1] > 0).float() * 0.2 + 0.01
    data.z += where * torch.randn(data.z.shape, generator=g)
    knows = judge_noise(Slippery(spread=1.0), data, 32)["steps"]["1"]["correlation"]
    assert knows > 0.5 > abs(judge_noise(Predicting(spread=0.1), data, 32)["steps"]["1"]["correlation"])


def rows(arm, wins, difficulty=None):
    return [
        {"arm": arm, "layout": "maze", "number": i, "success": bool(w), "difficulty": (difficulty or range(1, 99))[i]}
        for i, w in enumerate(wins)
    ]


def test_differences_are_paired_and_tested_exactly():
    found = paired(rows("a", [1, 0, 0, 0, 0, 0, 1]) + rows("b", [1, 1, 1, 1, 1, 1, 0]), "a", "b", "success")
    assert (found["n"], found["only_first"], found["only_second"]) == (7, 1, 5)
    assert found["difference"] == pytest.approx(4 / 7) and found["p"] == pytest.approx(2 * 7 / 64)
    assert rate(rows("a", [1, 0, 0, 1]), "success")["rate"] == 0.5


def test_rank_correlation_and_the_harder_half():
    assert rank_correlation([1, 2, 3, 4, 5], [1, 4, 9, 16, 25])["rho"] == pytest.approx(1.0)
    assert math.isnan(rank_correlation([1, 1, 1, 1], [1, 2, 3, 4])["rho"])
    assert hard_half(rows("a", [0] * 4, [1.0, 3.0, 2.0, 1.5])) == {("maze", 1), ("maze", 2)}


def test_a_line_cut_off_by_a_kill_is_passed_over(tmp_path):
    path = tmp_path / "episodes.jsonl"
    path.write_text(json.dumps({"arm": "one"}) + "\n" + '{"arm": "tw')
    assert read(path) == [{"arm": "one"}] == begin(path)
    keep(path, {"arm": "three"})
    assert read(path) == [{"arm": "one"}, {"arm": "three"}]
    new = tmp_path / "new" / "episodes.jsonl"
    assert begin(new) == []
    keep(new, {"arm": "one"})
    assert begin(new) == [{"arm": "one"}]


def test_every_arm_of_the_uncertain_scenes_differs_in_its_futures_alone():
    arms = {key: SearchConfig(**arm.search) for key, arm in UNCERTAIN.items()}
    assert {(c.samples, c.iterations) for c in arms.values()} == {(64, 3)}
    assert all(arm.body == {"contact_limit": 0.3} for arm in UNCERTAIN.values())
    assert (arms["one"].noise_samples, arms["mean"].risk.kind, arms["cvar"].risk.kind) == (1, "mean", "cvar")


def test_a_search_that_stops_by_itself_and_one_that_does_not():
    assert SearchConfig(**ANYTIME.search).converge_tol > 0.0 == SearchConfig(**fixed(3).search).converge_tol


@pytest.mark.parametrize("samples", [1, 3])
def test_a_level_that_the_samples_cannot_resolve_is_refused(samples):
    with pytest.raises(RiskError, match="needs at least 4"):
        SearchConfig(**UNCERTAIN["cvar"].search | {"noise_samples": samples})


def test_more_futures_than_memory_are_refused_by_number():
    with pytest.raises(SearchError, match="memory"):
        toy_planner(samples=100_000, noise_samples=1_000_000)
