# SPDX-License-Identifier: Apache-2.0
"""The experiment on thinking longer: its oracles are true, its rows say what was done, its tables what they say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from maze_world import WAY
from toy_world import ToyConfig

from benchmarks.rigs.think import arms, episodes, results
from benchmarks.think import _jobs
from jepa_ros.contract import load_contract
from jepa_ros.world_model.readouts import declare
from jepa_ros.world_model.seam import Embedding

ROOMS = load_contract("rooms")


class Seeing(torch.nn.Module):
    """Reads the place of the red robot from the picture, exactly enough; predicts as if there were no walls."""

    def __init__(self):
        super().__init__()
        self.config = SimpleConfig()
        self.readouts, self.heads = declare(WAY), {}
        self.device = torch.device("cpu")

    def initial_state(self, batch):
        return torch.zeros(batch, 1)

    def encode(self, inputs):
        picture = inputs["image"].float()
        red = (picture[..., 0] - picture[..., 1]).clamp_min(0) ** 2
        axis = (torch.arange(64) + 0.5) / 16 - 2
        share = red / red.sum((1, 2), keepdim=True)
        x, y = (share.sum(1) * axis).sum(1), (share.sum(2) * -axis).sum(1)
        return Embedding(torch.stack([x, y], 1))

    def pack(self, embedding):
        return embedding.latent

    def rollout(self, latent, state, actions, noise=None):
        return latent[:, None] + 0.2 * actions.cumsum(1), state + 1

    def read(self, name, latent, goal=None):
        return (latent - goal).norm(dim=-1) / 0.2


class SimpleConfig(ToyConfig):
    """With the sizes that a perception asks for."""

    tokens, readouts = 1, ()


@pytest.fixture(autouse=True, scope="module")
def model():
    """Charts of layouts take seconds, and are made once."""
    found = Seeing()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(episodes, "SEED", 7071)  # the pilot's tasks, of which it is known what they ask for
        episodes.use(ROOMS, found, {}, Path())
        yield found


def test_chart_finds_the_place_of_a_true_latent(model):
    case = episodes.Case("dynamics", "dead_end", 0)
    places = case.model.chart.places[::97]
    assert np.allclose(case.model.chart.place(case.model.chart.latent(places)), places)


def test_true_cost_is_the_shortest_way_round_the_walls():
    case = episodes.Case("cost", "dead_end", 3)
    latents = case.model.chart.latent(np.array([case.spec.start, case.spec.goal]))
    steps = float(case.model.read("way", latents[:1], latents[1])[0])
    assert steps == pytest.approx(case.about["shortest_steps"], abs=1.0)
    straight = np.hypot(*(np.array(case.spec.start) - case.spec.goal)) / 0.2
    assert steps > 1.4 * straight


def test_deliberation_with_the_true_dynamics_solves_a_dead_end_and_its_way_is_true():
    row = episodes.imagined(("dynamics", "dead_end", 1, 4.0))
    assert row["solved"]
    assert row["true_gap"] < 0.3
    assert row["steps"] >= 0.8 * row["shortest_steps"]
    assert row["calls"] <= 4 * arms.USUAL


def test_model_without_walls_believes_in_a_way_that_is_not_there():
    row = episodes.imagined(("deliberate", "dead_end", 1, 1.0))
    assert row["solved"]
    assert row["true_gap"] > 0.3


def test_episode_with_the_true_dynamics_is_driven_and_counts_all_calls():
    row = episodes.driven(("dynamics", 1.0, "dead_end", 1))
    assert row["success"]
    assert row["deliberations"] >= 1
    assert row["calls"] > row["deliberated"] > 0
    alone = episodes.driven(("fast", 0.125, "dead_end", 1))
    assert not alone["success"]
    assert alone["deliberated"] == 0
    assert alone["calls"] == 480 * alone["plans"]


def test_coverage_is_judged_in_the_true_world():
    row = episodes.coverage(("fast", "dead_end", 1, 1.0))
    assert row["tree_solved"]
    assert not row["tree_picked"]  # it leads through a wall


@pytest.mark.parametrize("factor", arms.FACTORS)
def test_budgets_are_kept(factor):
    search = arms.settings_of("fast", factor, 0).search
    assert search.samples * search.horizon * search.iterations == pytest.approx(3840 * factor)
    shooting = arms.settings_of("random", factor, 0).search
    assert shooting.samples * shooting.horizon * shooting.iterations == pytest.approx(3840 * factor)
    assert arms.settings_of("deliberate", factor, 0).search.samples == 128
    assert arms.deliberate_of("deliberate", factor).calls == 60_000 * factor


def row(condition, number, steps, success, calls=1000, factor=1.0):
    return {
        "condition": condition, "layout": "maze", "number": number, "shortest_steps": steps, "factor": factor,
        "success": success, "calls": calls, "deliberated": 0, "plan_ms": 1.0,
    }  # fmt: skip


def test_table_tells_thirds_pairs_and_where_more_is_worse():
    rows = [row("fast", i, i, i < 10) for i in range(30)] + [row("fast", i, i, i < 7, 2000, 2.0) for i in range(30)]
    rows += [row("deliberate", i, i, i != 29, 1500) for i in range(30)]
    said = results.of_driven(rows)
    assert [t["rate"] for t in said["cells"]["fast"]["1"]["thirds"]] == [1.0, 0.0, 0.0]
    assert said["deliberate_less_fast"]["hard"]["difference"] == pytest.approx(0.9)
    assert said["deliberate_less_fast"]["easy"]["difference"] == 0.0
    assert said["more_is_worse"] == ["fast: 1 to 2"]
    assert said["adaptive"]["share_of_best"] == 1.0
    assert "hard: +90 points" in results.table({"driven": said})


def test_unsolved_tasks_count_at_the_largest_budget():
    def thought(number, steps, solved, calls):
        return {
            "condition": "deliberate", "number": number, "shortest_steps": steps, "difficulty": 1.0 + number,
            "solved": solved, "calls": calls, "true_least": 0.0, "cpu_seconds": 1.0, "steps": steps,
        }  # fmt: skip

    rows = [thought(i, 10.0 * i, i < 5, 1000 * i if i < 5 else 10) for i in range(1, 8)]
    said = results.of_imagined(rows, 16.0)["deliberate"]
    assert said["by_steps"]["rho"] > 0.9
    assert said["solved"]["count"] == 4


def test_every_task_is_done_under_all_conditions_before_the_next():
    jobs = list(_jobs("driven", ["fast", "inverse"], [1.0, 2.0], ["maze"], 2, 16.0))
    assert jobs[:3] == [("fast", 1.0, "maze", 0), ("fast", 2.0, "maze", 0), ("inverse", 1.0, "maze", 0)]
    assert len(jobs) == 6


def test_plot_is_written(tmp_path):
    rows = [row("fast", i, i, i < 10) for i in range(30)]
    results.plot({"driven": results.of_driven(rows)}, {}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
