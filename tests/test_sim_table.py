# SPDX-License-Identifier: Apache-2.0
"""The simulated table: the same calls give the same world; servos, watchdog, sensors and pictures do what they say."""

import numpy as np
import pytest

pytest.importorskip("pinocchio")
from jepa_ros.contract import load_contract
from jepa_ros_sim.table import SimError, TableConfig, TableSim, Thing

CONTRACT = load_contract("panda")
CUBE = Thing("box", (0.025, 0.025, 0.025), (0.9, 0.1, 0.1), 0.1, 0.7, (0.47, 0.0, 0.0))


@pytest.fixture(scope="module")
def sim():
    with TableSim(CONTRACT) as made:
        yield made


def drive(sim, velocity, seconds, opening_rate=0.0):
    """Move the tip by its velocity, as the body would command it."""
    at = np.array(sim.truth().joints)
    for _ in range(round(seconds / 0.02)):
        at = at + sim.body.rates(np.array([*velocity, opening_rate]), at) * 0.02
        sim.set_command(at)
        sim.advance(0.02)
    return at


def test_equal_seeds_and_calls_give_equal_worlds():
    seen = []
    for _ in range(2):
        with TableSim(CONTRACT, TableConfig(randomise=True, distractors=2)) as sim:
            sim.reset(7, tip=(0.45, 0.1, 0.2))
            drive(sim, (0.1, 0.0, -0.1), 0.6)
            seen.append((sim.image(), sim.joint_states()[1], sim.wrench(), sim.truth()))
    (image, joints, wrench, truth), (image2, joints2, wrench2, truth2) = seen
    assert (image == image2).all() and (joints == joints2).all() and (wrench == wrench2).all() and truth == truth2


def test_other_seeds_look_otherwise_where_looks_are_drawn():
    with TableSim(CONTRACT, TableConfig(randomise=True)) as sim:
        sim.reset(1)
        first, view = sim.image().astype(int), sim.camera.view.matrix
        sim.reset(2)
        assert np.abs(sim.image() - first).mean() > 10.0
        assert not np.allclose(sim.camera.view.matrix, view)


def test_the_tip_begins_where_it_is_told_and_goes_where_it_is_driven(sim):
    sim.reset(0, tip=(0.5, -0.2, 0.3))
    np.testing.assert_allclose(sim.truth().tip, (0.5, -0.2, 0.3), atol=1e-4)
    drive(sim, (0.0, 0.2, 0.0), 1.0)
    drive(sim, (0.0, 0.0, 0.0), 0.3)
    np.testing.assert_allclose(sim.truth().tip, (0.5, 0.0, 0.3), atol=6e-3)


def test_without_commands_the_servos_hold(sim):
    sim.reset(0)
    goal = drive(sim, (0.1, 0.1, 0.0), 0.2) + 0.3
    goal[-1] = 0.02
    for _ in range(5):
        sim.set_command(goal)
        sim.advance(0.02)
    sim.advance(0.5)
    held = np.array(sim.truth().joints)
    sim.advance(1.0)
    np.testing.assert_allclose(sim.truth().joints, held, atol=1e-3)


def test_a_command_takes_effect_after_the_latency():
    with TableSim(CONTRACT, TableConfig(extra_latency=0.1)) as sim:
        sim.reset(0)
        start = np.array(sim.truth().joints)
        sim.set_command(start + np.eye(8)[0] * 0.05)
        sim.advance(0.08)
        assert abs(sim.truth().joints[0] - start[0]) < 1e-3
        sim.advance(0.2)
        assert sim.truth().joints[0] - start[0] > 0.04


@pytest.mark.parametrize("command", [np.zeros(7), np.full(8, np.nan), np.full(8, np.inf)])
def test_a_command_that_is_none_is_refused(sim, command):
    sim.reset(0)
    with pytest.raises(SimError, match="command: found"):
        sim.set_command(command)


def test_time_moves_on_a_grid(sim):
    sim.reset(0)
    with pytest.raises(SimError, match=r"multiple of 0\.005"):
        sim.advance(0.0123)


def test_the_hand_is_where_the_camera_shows_it(sim):
    """Between two pictures with the tip elsewhere, what changes lies about the two places and nowhere near the edge."""
    sim.reset(0)
    places = [(0.45, 0.15, 0.1), (0.45, -0.15, 0.1)]
    first, second = (sim.image_at(place, noise=False).astype(int) for place in places)
    changed = np.abs(first - second).sum(-1) > 60
    for place in places:
        column, row = np.round(sim.camera.view.project(np.array(place))).astype(int)
        assert changed[row - 6 : row + 3, column - 4 : column + 5].any()


def test_a_goal_picture_changes_nothing(sim):
    sim.reset(3)
    before = sim.truth()
    sim.image_at((0.6, 0.2, 0.3))
    assert sim.truth() == before


def test_a_picture_of_where_the_arm_is_is_the_picture_of_the_arm(sim):
    sim.reset(0, tip=(0.4, 0.1, 0.15))
    clean = sim.camera.render(np.array(sim.truth().joints), sim.placed(), None).astype(int)
    assert np.abs(clean - sim.image_at((0.4, 0.1, 0.15), noise=False)).mean() < 0.2


def test_the_hand_pushes_a_thing_and_feels_it(sim):
    sim.reset(0, tip=(0.47, -0.12, 0.035), opening=0.0, things=[CUBE])
    before, still = np.array(sim.truth().things[0]), np.linalg.norm(sim.wrench()[:3])
    pulls = []
    at = np.array(sim.truth().joints)
    for _ in range(60):
        at = at + sim.body.rates(np.array([0.0, 0.15, 0.0, 0.0]), at) * 0.02
        sim.set_command(at)
        sim.advance(0.02)
        pulls.append(np.linalg.norm(sim.wrench()[:3]))
    after = np.array(sim.truth().things[0])
    assert after[1] - before[1] > 0.03
    assert max(pulls) > still + 0.5


def test_leaning_on_the_table_closes_the_collision_switch(sim):
    sim.reset(0, tip=(0.47, 0.0, 0.05))
    assert not sim.contact()
    down = np.array(sim.truth().joints)
    for _ in range(50):
        down[:7] = down[:7] + sim.body.inverse.rates(down[:7], np.array([0, 0, -0.1, 0, 0, 0.0])).rates * 0.02
        sim.set_command(down)
        sim.advance(0.02)
    assert sim.contact() and sim.truth().contact_steps > 0


def test_an_arm_that_is_commanded_by_rates_is_refused():
    data = CONTRACT.to_dict()
    data["command"]["values"] = "velocity"
    with pytest.raises(SimError, match="commanded by joint positions"):
        TableSim(type(CONTRACT).from_dict(data))
    with pytest.raises(SimError, match="'arena'"):
        TableSim(load_contract("arena"))
