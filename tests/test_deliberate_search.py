# SPDX-License-Identifier: Apache-2.0
"""The deliberate search finds ways that the fast one cannot, within its bounds, and says what it took."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from maze_world import CLOSED, DEAD_END, OPEN, MazeWorld

from jepa_ros.cost import Goal, GoalError, Risk, Target
from jepa_ros.cost.to_go import to_go_of
from jepa_ros.planning import Budget, Problem, SearchError
from jepa_ros.planning.arrival import ArrivalConfig
from jepa_ros.planning.deliberate.search import DeliberateSearch
from jepa_ros.planning.deliberate.settings import DeliberateConfig
from jepa_ros.world_model.readouts import Part, Readout

GOAL = (1.0, 0.0)


class Fence:
    """A constraint: y stays below a limit."""

    name, unit, risk, whole, slack = "fence", "m", None, False, None

    def __init__(self, limit):
        self.limit = limit

    def draw(self, samples, generator):
        pass

    def __call__(self, futures, goal):
        return (futures.latents[..., 1] - self.limit).numpy()


def begin(model=None, goal=GOAL, start=(0.0, 0.0), constraints=(), seed=0, remembered=None, held=(), **config):
    model = model or MazeWorld()
    search = make(model, **config)
    latent = np.array(start, np.float32)
    problem = Problem(latent, np.zeros(1), Target(Goal.from_latent(np.array(goal)), model), (), constraints)
    problem = replace(problem, held=held)
    return search.begin(problem, seed, remembered)


def make(model, **config):
    settings = replace(DeliberateConfig(tolerance=1.0), **config)
    to_go = to_go_of(model)
    return DeliberateSearch(model, to_go, settings, ArrivalConfig(), torch.zeros(2), Risk())


def think(found, calls=300_000):
    while not found.solved and found.fits(calls):
        found.expand()
    return found


def driven(model, way, start=(0.0, 0.0)):
    zs, _ = model.rollout(torch.tensor([start]), torch.zeros(1, 1), way.actions[None])
    return zs[0]


def test_way_out_of_a_dead_end_is_found_and_its_actions_lead_there():
    model = MazeWorld(DEAD_END)
    found = think(begin(model))
    way = found.way()
    assert found.solved and way.solved
    places = driven(model, way)
    assert (places[-1] - torch.tensor(GOAL)).norm() <= 0.1  # one step: the tolerance
    assert places[:, 0].min() < -0.2  # it went back first
    assert len(way.actions) == way.cost[-1] < 60  # the shortest way has about 32 steps


def test_straight_way_is_found_with_a_few_expansions_and_nearly_straight():
    found = think(begin(MazeWorld(OPEN)))
    assert found.solved
    assert found.counts.expansions <= 12
    assert found.way().cost[-1] <= 14  # 10 at full speed


def test_actions_that_a_goal_says_nothing_about_stand_still():
    found = begin(goal=(0.5, 0.0), held=(1,))
    found.expand()
    actions = found.tree.actions[1 : len(found.tree)]
    assert bool((actions[..., 1] == 0.0).all()) and float(actions[..., 0].abs().max()) > 0.5


def test_harder_problems_take_more_calls():
    easy, hard = think(begin(MazeWorld(OPEN))), think(begin(MazeWorld(DEAD_END)))
    assert hard.counts.calls > 3 * easy.counts.calls


def test_calls_are_those_of_the_model():
    model = MazeWorld(DEAD_END, spread=0.01)
    assert think(begin(model)).counts.calls == model.predicted


def test_equal_seeds_and_expansions_give_equal_trees():
    one, other, third = begin(seed=3), begin(seed=3), begin(seed=4)
    for found in (one, other, third):
        for _ in range(20):
            found.expand()
    assert torch.equal(one.tree.latents[: len(one.tree)], other.tree.latents[: len(other.tree)])
    assert not torch.equal(one.tree.latents[:40], third.tree.latents[:40])


def test_best_partial_way_is_there_before_the_goal_is():
    found = begin(MazeWorld(CLOSED))
    assert len(found.way()) == 1
    left = []
    for _ in range(15):
        found.expand()
        left.append(found.way().to_go[-1])
    assert not found.solved
    assert left[-1] <= 4.5  # at the wall around the goal
    assert all(later <= earlier for earlier, later in pairwise(left))


def test_states_too_near_to_known_ones_are_not_taken():
    found = begin(MazeWorld(CLOSED), near=1.5)
    for _ in range(40):
        found.expand()
    places = found.tree.latents[: len(found.tree)]
    gaps = torch.cdist(places, places) + torch.eye(len(places))
    assert gaps.min() >= 0.15 - 1e-6
    assert found.counts.near > 0


def test_constraint_prunes_and_the_way_goes_round_on_the_allowed_side():
    found = think(begin(constraints=(Fence(0.3),)))
    assert found.solved
    assert found.counts.forbidden > 0
    assert found.tree.latents[: len(found.tree), 1].max() <= 0.3
    assert driven(MazeWorld(), found.way())[:, 1].max() <= 0.3


def test_states_where_the_model_breaks_are_pruned_and_counted():
    found = think(begin(MazeWorld(DEAD_END, poison=lambda z: z[:, 1] > 0.3)))
    assert found.solved
    assert found.counts.non_finite > 0
    assert torch.isfinite(found.tree.latents).all()


def test_full_tree_drops_the_branches_of_least_promise_and_says_so():
    found = begin(MazeWorld(CLOSED), nodes=600, near=0.3)
    for _ in range(60):
        found.expand()
    tree = found.tree
    assert tree.dropped > 0
    assert len(tree) <= 600
    assert all(tree.parent[at] < at for at in range(1, len(tree)))
    way = found.way()  # the branch that came nearest is still whole
    assert way.latents[0].tolist() == [0.0, 0.0]
    assert torch.allclose(driven(found.search.model, way)[-1], way.latents[-1], atol=1e-5)


def test_budget_below_one_expansion_is_refused():
    with pytest.raises(SearchError, match="below one expansion: 4 states x 32 edges x 4 steps = 512"):
        DeliberateConfig(calls=511)
    model = MazeWorld()
    problem = Problem(np.zeros(2), np.zeros(1), Target(Goal.from_latent(np.array(GOAL)), model), ())
    with pytest.raises(SearchError, match="below one expansion"):
        make(model).plan(problem, Budget(iterations=9, calls=100), 0)


def test_budget_in_calls_is_kept_and_the_plan_tells_how_far_it_comes():
    model = MazeWorld(CLOSED)
    problem = Problem(np.zeros(2), np.zeros(1), Target(Goal.from_latent(np.array(GOAL)), model), ())
    result = make(model).plan(problem, Budget(iterations=10**6, calls=8000), 0)
    assert 7000 < result.calls <= 8000
    assert not result.converged
    assert result.actions.shape[1] == 2
    assert make(MazeWorld()).plan(problem, Budget(iterations=10**6, calls=300_000), 0).converged


def test_slippery_gap_is_left_for_the_sure_way_round():
    gap = ((0.4, -0.6, 0.5, -0.1), (0.4, 0.1, 0.5, 0.6))
    model = MazeWorld(gap, spread=0.5, slippery=lambda z: ((z[:, 0] - 0.4).abs() < 0.15) & (z[:, 1].abs() < 0.5))
    for seed in range(3):
        bold = think(begin(model, samples=1, seed=seed)).way()
        assert driven(model, bold)[:, 1].abs().max() < 0.6  # through the gap
        careful = think(begin(model, samples=24, confidence=0.9, seed=seed))
        assert driven(model, careful.way())[:, 1].abs().max() > 0.6  # round the wall
        assert careful.way().confidence >= 0.9
        assert careful.counts.unsure > 0


def test_solution_that_too_few_samples_reach_is_counted_as_unsure():
    found = begin(MazeWorld(OPEN, spread=1.0), samples=16, confidence=1.0)
    for _ in range(20):
        found.expand()
    assert not found.solved
    assert found.counts.unsure > 0


def test_goal_that_the_first_edge_reaches_is_judged_on_the_noise_samples_too():
    found = think(begin(MazeWorld(OPEN, spread=0.01), goal=(0.15, 0.0), samples=8))
    assert found.solved
    assert len(found.way()) == 2
    assert found.way().confidence >= 0.75


def test_distances_that_are_told_too_long_when_small_are_measured_by_a_single_step():
    """A learned distance with a floor: no state is nearer than two steps, not even the goal's neighbours."""
    model = MazeWorld(OPEN)
    model.heads["way"].steps = lambda here, there: 2.0 + (here - there).norm(dim=-1) / model.speed
    found = think(begin(model))
    assert found.step == pytest.approx(3.0)
    assert found.solved
    assert (driven(model, found.way())[-1] - torch.tensor(GOAL)).norm() <= 0.1 + 1e-6  # a true step
    places = found.tree.latents[: len(found.tree)]
    assert (torch.cdist(places, places) + torch.eye(len(places))).min() > 0.15


def test_start_that_is_at_the_goal_is_solved_without_an_expansion():
    found = begin(start=(1.0, 0.0))
    assert found.solved
    assert found.counts.expansions == 0
    assert len(found.way()) == 1


def test_remembered_states_off_the_straight_way_are_aimed_at():
    place = torch.tensor([[0.3, 0.31]])  # a little more than an edge away; the goal lies elsewhere

    def missed(remembered, seed):
        """How far the nearest imagined state is from the place after one expansion [steps]."""
        found = begin(MazeWorld(OPEN), goal=(0.0, -5.0), seed=seed, remembered=remembered, near=0.3, aimed=0.5)
        found.expand()
        return float(torch.cdist(place, found.tree.latents[: len(found.tree)]).min()) / 0.1

    missed_with, missed_without = ([missed(known, seed) for seed in range(12)] for known in (place, None))
    assert np.mean(missed_with) < 0.75 * np.mean(missed_without)


def test_goal_without_a_picture_is_refused():
    pose = Readout("pose", ("x", "y"), "m", "pose", "squared", parts=(Part("position", (0, 1), "m"),))
    model = MazeWorld()
    model.readouts = model.readouts | {"pose": pose}
    goal = Target(Goal("pose", value=(1.0, 0.0)), model)
    with pytest.raises(GoalError, match="without a picture"):
        make(model).begin(Problem(np.zeros(2), np.zeros(1), goal, ()), 0)


def test_goal_at_a_distance_that_is_no_number_cannot_be_placed():
    model = MazeWorld()
    model.heads["way"].speed = torch.nan
    with pytest.raises(GoalError, match="cannot place it"):
        begin(model)


def test_distance_without_a_space_of_its_own_is_asked_of_pairs():
    model = MazeWorld(DEAD_END)
    del model.heads["way"]
    model.read = lambda name, latent, goal=None: (latent - goal).norm(dim=-1) / model.speed
    assert think(begin(model)).solved


def test_expansion_that_is_given_up_leaves_no_trace():
    one, other = begin(seed=2), begin(seed=2)
    asked = []
    for k in range(12):
        before = one.counts.calls, len(one.tree)
        assert not one.expand(lambda k=k: asked.append(k) or len(asked) % 4 == k % 4)
        assert (one.counts.calls, len(one.tree)) == before
        assert one.expand() and other.expand()
    assert torch.equal(one.tree.latents[: len(one.tree)], other.tree.latents[: len(other.tree)])
    assert one.counts == other.counts


@pytest.mark.parametrize(
    "wrong",
    [
        {"when": "often"},
        {"expand": 0},
        {"confidence": 1.5},
        {"aimed": 0.7, "proposed": 0.7},
        {"nodes": 100},
        {"rate": -1.0},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(SearchError, match=f"deliberate {next(iter(wrong))}"):
        DeliberateConfig(**wrong)
