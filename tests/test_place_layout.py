# SPDX-License-Identifier: Apache-2.0
"""Where remembered places lie in a picture: closed loops put right what odometry got wrong."""

from itertools import pairwise

import numpy as np
import pytest

from jepa_ros.planar.odometry import between, beyond, wrapped
from jepa_ros.planar.place_graph import PlaceGraph, driven_doubt
from jepa_ros.planar.place_layout import error_of, layout


def square(side=10, step=0.4):
    """Poses round a square, back to where they began."""
    poses = [np.zeros(3)]
    for _ in range(4):
        for k in range(side):
            poses.append(beyond(poses[-1], np.array([step, 0.0, np.pi / 2 if k == side - 1 else 0.0])))
    return poses


def driven(poses, drift=0.0):
    """The graph of a drive along poses, whose odometry turns too far by ``drift`` rad in each step."""
    graph, told = PlaceGraph(), np.zeros(3)
    for k, pose in enumerate(poses):
        step = np.zeros(3) if k == 0 else between(poses[k - 1], pose) + np.array([0.0, 0.0, drift])
        told = beyond(told, step)
        graph.add(np.zeros(2), told)
        if k:
            graph.join(k - 1, k, step, 4, driven_doubt(step), 1)
    return graph


def off(found, poses):
    return np.hypot(*(found.poses[:, :2] - np.array(poses)[:, :2]).T)


def test_without_drift_places_lie_where_they_were():
    poses = square()
    found = layout(driven(poses))
    assert off(found, poses).max() < 1e-9
    assert np.abs(wrapped(found.poses[:, 2] - np.array(poses)[:, 2])).max() < 1e-9


def test_a_closed_loop_puts_right_most_of_what_odometry_drifted():
    poses, graph = square(), driven(square(), drift=0.02)
    open_end = off(layout(graph), poses).max()
    graph.join(0, len(poses) - 1, np.zeros(3), 4.0, 0.02)
    found = layout(graph)
    assert open_end > 1.0 and off(found, poses).max() < 0.35 * open_end
    assert np.hypot(*(found.poses[-1] - found.poses[0])[:2]) < 0.15, "the loop is closed"
    assert 0.0 < error_of(graph, found) < 0.1


def test_places_that_no_way_joins_are_parts_of_their_own():
    graph = driven(square()[:5])
    begun = len(graph)
    graph.add(np.zeros(2), np.array([50.0, 3.0, 1.0]))
    for k in range(3):
        graph.add(np.zeros(2), np.array([50.0, 3.0 + k, 1.0]))
        graph.join(begun + k, begun + k + 1, np.array([1.0, 0.0, 0.0]), 10.0, 0.05)
    found = layout(graph)
    assert found.part.tolist() == [0] * begun + [1] * 4
    np.testing.assert_allclose(found.poses[begun:, 0], [0.0, 1.0, 2.0, 3.0], atol=1e-9)


@pytest.mark.parametrize("count", [0, 1])
def test_a_graph_without_ways_has_a_layout(count):
    graph = driven(square()[:count])
    assert layout(graph).poses.shape == (count, 3) and error_of(graph, layout(graph)) == 0.0


def test_many_places_are_laid_out_in_seconds():
    poses = [np.array([0.35 * k, 0.0, 0.0]) for k in range(20_000)]
    graph = PlaceGraph()
    for k, (a, b) in enumerate(pairwise(poses)):
        graph.add(np.zeros(2), a)
        if k:
            graph.join(k - 1, k, between(a, b), 4, 0.05, 1)
    for k in range(0, len(graph) - 200, 500):
        graph.join(k, k + 200, np.array([69.9, 0.0, 0.0]), 10.0, 0.1)
    found = layout(graph)
    assert np.isfinite(found.poses).all() and error_of(graph, found) < 0.05
