# SPDX-License-Identifier: Apache-2.0
"""Layouts leave the robot room, and tasks are fair: free, reachable, not solved at the start."""

from __future__ import annotations

import numpy as np
import pytest

from jepa_ros_sim.arena import (
    Box,
    DistanceField,
    Layout,
    SimError,
    blocked,
    fixed_layout,
    random_layout,
    sample_pair,
    shortest_path,
)
from jepa_ros_sim.arena.layout import ROBOT_RADIUS, connected

WALL = Layout(boxes=(Box(0.0, -0.2, 0.05, 0.7),))  # a way round at the top


def test_the_same_seed_gives_the_same_layout_and_another_seed_another():
    assert random_layout(7) == random_layout(7)
    assert random_layout(7) != random_layout(8)


def test_random_layouts_hold_as_many_boxes_as_asked_for_inside_the_walls_and_leave_one_free_space():
    for seed in range(60):
        layout = random_layout(seed, (3, 6))
        assert 3 <= len(layout.boxes) <= 6
        assert connected(layout)
        assert all(np.abs([(b.cx, b.cy) for b in layout.boxes]).max(axis=1) < 1)


def test_the_fixed_layout_is_fixed_and_connected():
    assert fixed_layout() == fixed_layout() and connected(fixed_layout())


def test_a_layout_cut_in_two_is_not_connected():
    assert not connected(Layout(boxes=(Box(0.0, 0.0, 0.05, 1.0),)))


def test_clearance_is_the_distance_to_the_nearest_box_or_wall_and_negative_inside():
    layout = Layout(boxes=(Box(0.3, 0.0, 0.1, 0.2, np.pi / 2),))  # turned: 0.2 along x, 0.1 along y
    points = np.array([(0.0, 0.0), (0.3, 0.3), (0.3, 0.0), (-0.9, 0.0), (0.6, 0.2)])
    expected = [0.1, 0.2, -0.1, 0.1, np.hypot(0.1, 0.1)]
    np.testing.assert_allclose(layout.clearance(points), expected, atol=1e-9)


def test_pairs_are_free_reachable_and_not_already_solved():
    rng = np.random.default_rng(0)
    kinds = set()
    for seed in range(40):
        layout = random_layout(seed)
        pair = sample_pair(layout, rng)
        start, goal = pair
        assert layout.free(np.array([start[:2], goal[:2]]), ROBOT_RADIUS).all()
        assert 0.4 <= pair.distance <= 1.2
        assert shortest_path(layout, start, goal) is not None
        assert pair.blocked == blocked(pair, layout)
        kinds.add(pair.blocked)
    assert kinds == {True, False}


def test_pairs_can_be_asked_to_be_blocked_or_not():
    rng = np.random.default_rng(0)
    for want in (True, False):
        assert all(
            blocked(sample_pair(fixed_layout(), rng, want_blocked=want), fixed_layout()) is want for _ in range(10)
        )
    with pytest.raises(SimError, match="blocked=True"):
        sample_pair(Layout(), rng, want_blocked=True)
    with pytest.raises(SimError, match="pair distance"):
        sample_pair(Layout(), rng, min_dist=0.05)


def test_blocked_counts_the_width_of_the_robot():
    post = Layout(boxes=(Box(0.0, 0.0, 0.05, 0.05),))
    clear, grazing = 0.05 + ROBOT_RADIUS + 0.01, 0.05 + ROBOT_RADIUS - 0.01
    assert not blocked(((-0.5, clear, 0.0), (0.5, clear, 0.0)), post)
    assert blocked(((-0.5, grazing, 0.0), (0.5, grazing, 0.0)), post)


def test_the_shortest_path_goes_round_and_is_straight_where_nothing_is_in_the_way():
    start, goal = (-0.5, 0.0, 0.0), (0.5, 0.0, 0.0)
    assert shortest_path(Layout(), start, goal) == pytest.approx(1.0)
    radius, to_corner = ROBOT_RADIUS + 0.01, np.hypot(0.45, 0.5)  # a taut string over the wall's two upper corners
    turn = np.arctan2(0.5, 0.45) + np.arcsin(radius / to_corner)
    string = 2 * (np.sqrt(to_corner**2 - radius**2) + radius * turn + 0.05)
    assert 0.98 * string < shortest_path(WALL, start, goal) < 1.1 * string
    assert shortest_path(Layout(boxes=(Box(0.0, 0.0, 0.05, 1.0),)), start, goal) is None


def test_the_oracles_field_agrees_with_the_shortest_path_and_falls_towards_the_goal():
    goal = (0.5, 0.0, 0.0)
    field = DistanceField(WALL, goal, clearance=ROBOT_RADIUS + 0.01)
    for start in ((-0.5, 0.0), (-0.3, -0.6), (-0.7, 0.5)):
        assert float(field(np.array(start))) == pytest.approx(shortest_path(WALL, start, goal), abs=0.06)
    assert float(field(np.array(goal[:2]))) == 0.0
    inside = float(field(np.array((0.0, -0.2))))
    assert inside > float(field(np.array((-0.2, -0.2))))
    place = np.array((-0.5, 0.0))
    for _ in range(150):  # downhill all the way: no local minimum behind the wall
        ring = place + 0.03 * np.stack([np.cos(a := np.linspace(0, 2 * np.pi, 32)), np.sin(a)], axis=-1)
        place = ring[np.argmin(field(ring))]
    assert np.hypot(*(place - goal[:2])) < 0.1
    assert field(np.zeros((4, 5, 2))).shape == (4, 5)


def test_a_box_of_no_size_and_an_impossible_number_of_obstacles_are_refused():
    with pytest.raises(SimError, match="layout box 0"):
        Layout(boxes=(Box(0, 0, 0.0, 0.1),))
    with pytest.raises(SimError, match="n_obstacles"):
        random_layout(0, (5, 3))
    with pytest.raises(SimError, match="fewer obstacles"):
        random_layout(0, (40, 40))
