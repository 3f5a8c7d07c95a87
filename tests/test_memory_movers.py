# SPDX-License-Identifier: Apache-2.0
"""What moves is told from pictures; every future has its own guess of where it goes, and the risk acts on it."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from toy_world import ToyConfig, ToyWorld, toy_planner

from jepa_ros.cost import Futures, Goal, Judge, Risk
from jepa_ros.planar.map_head import map_part
from jepa_ros.planar.movers import Movers
from jepa_ros.planar.place_terms import MapConstraint
from jepa_ros.planar.places import Places

EXTENT, CELLS, PERIOD = (-1.0, -1.0, 1.0, 1.0), 32, 0.2


def picture(*discs):
    """Log-odds of a map with discs (x, y, radius)."""
    centres = Places(CELLS, EXTENT).centres()
    inside = [np.zeros((CELLS, CELLS), bool)]
    inside += [np.hypot(centres[..., 0] - x, centres[..., 1] - y) < r for x, y, r in discs]
    return np.where(np.any(inside, axis=0), 5.0, -5.0).astype(np.float32)


def walked(pictures=12, velocity=(0.2, 0.0)):
    """Somebody who walks from (-0.5, 0), and a box that stands."""
    movers = Movers(CELLS, EXTENT, PERIOD)
    for k in range(pictures):
        x, y = -0.5 + k * PERIOD * velocity[0], k * PERIOD * velocity[1]
        movers.observe(picture((x, y, 0.17), (0.5, -0.6, 0.2)))
    return movers, (x, y)


def test_who_walks_is_found_with_a_velocity_and_what_stands_is_not():
    movers, (x, y) = walked()
    assert len(movers.found) == 1
    mover = movers.found[0]
    assert np.hypot(*(mover.centre - (x, y))) < 0.08
    assert mover.velocity == pytest.approx([0.2, 0.0], abs=0.06)
    movers.clear()
    assert not movers.found


def test_every_future_has_its_own_guess_and_a_mover_goes_on_in_it():
    movers, _ = walked()
    whims = np.zeros((3, 1, 2))
    whims[1, 0, 1] = 1.0
    velocities = movers.velocities(whims)
    assert velocities[0] == pytest.approx(velocities[2]) and velocities[1, 0, 1] > velocities[0, 0, 1]
    ahead = movers.found[0].centre + 10 * PERIOD * velocities[0, 0]
    points = np.broadcast_to(ahead, (1, 3, 10, 2))
    chance = movers.chance(points, velocities)
    assert chance.shape == (1, 3, 10)
    assert chance[0, 0, -1] == 1.0 and chance[0, 1, -1] < 0.5  # where it goes; in another future it goes elsewhere


@dataclass(frozen=True)
class MappedConfig(ToyConfig):
    context: tuple = (map_part(CELLS, EXTENT),)
    embedding_dim: int = 2 + CELLS**2


class Mapped(ToyWorld):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.config = MappedConfig()


def search(risk, samples=8, **changes):
    return toy_planner(Mapped(spread=0.03), noise_samples=samples, samples=32, elites=8, risk=risk, **changes)


def known(planner):
    return planner.knowledge[0]


def test_the_chance_of_contact_is_judged_at_the_risk_of_the_search():
    """A way that touches in one future of eight: the mean takes it, CVaR and the worst do not."""
    ways = np.zeros((2, 8, 10, 2))
    ways[1, 0, 5:] = (0.6, 0.0)
    excess = {}
    for risk in (Risk("mean"), Risk("cvar", 0.25), Risk("worst")):
        places = Places(CELLS, EXTENT)
        places.observe(picture((0.6, 0.0, 0.2)))
        futures = Futures(Mapped(), torch.from_numpy(ways).float(), torch.zeros(2, 10, 2), torch.zeros(2))
        excess[risk.kind] = Judge([MapConstraint(places, 0.3, None)], None, risk)(futures).excess["contact"]
    assert all(value[0] < 0.0 for value in excess.values())
    assert excess["mean"][1] < 0.0 < excess["cvar"][1] < excess["worst"][1]


def test_a_robot_between_two_fires_takes_the_least_risk_instead_of_none():
    s = search(Risk("cvar", 0.25), contact_limit=0.3)
    known(s).places.observe(np.full((CELLS, CELLS), 5.0, np.float32))
    result = s.think(np.zeros(2), np.zeros(1), Goal.from_latent(np.array([0.5, 0.0])))
    assert result.actions is not None and result.feasible


def test_somebody_on_the_way_is_kept_away_from_and_the_same_seed_gives_the_same_plan():
    def nearest(movers):
        s = search(Risk("cvar", 0.25), contact_limit=0.3)
        known(s).places.observe(picture())
        known(s).movers.found = movers.found
        here = movers.found[0].centre if movers.found else np.array([-0.06, 0.0])
        goal = Goal.from_latent(here + np.array([0.9, 0.0]))
        plans = [s.think(here - np.array([0.5, 0.0]), np.zeros(1), goal, seed=3) for _ in range(2)]
        assert np.array_equal(plans[0].actions, plans[1].actions)
        return torch.linalg.vector_norm(plans[0].latents - torch.as_tensor(here).float(), dim=-1).min()

    standing, _ = walked(velocity=(0.0, 0.0))
    walking, _ = walked(velocity=(0.2, 0.0))
    walking.found[0].velocity[:] = 0.0
    assert not standing.found
    assert nearest(walking) > nearest(standing)


def test_one_future_looks_at_the_map_alone():
    assert known(search(Risk("mean"), samples=1)).movers is None
