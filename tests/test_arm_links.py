# SPDX-License-Identifier: Apache-2.0
"""Distances of an arm's links: never larger than the true ones, exact where small, quick enough for the gate."""

import time

import numpy as np
import pytest

pytest.importorskip("pinocchio")
from arm_helpers import HOME, panda, planar_urdf
from hypothesis import given, settings
from hypothesis import strategies as st

from jepa_ros.arm import ArmError, ArmKinematics, ArmLinks, Box, Capsule, Plane, read, walls
from jepa_ros.arm.capsules import cover
from jepa_ros.arm.links import CARRIED


@pytest.fixture(scope="module")
def planar(tmp_path_factory):
    file = tmp_path_factory.mktemp("arm") / "planar.urdf"
    file.write_text(planar_urdf())
    return ArmKinematics(read(str(file)), ["turn1", "turn2", "turn3"], "base", "tip")


@given(st.integers(0, 10_000), st.integers(4, 60))
@settings(max_examples=40, deadline=None)
def test_capsules_hold_every_point_and_what_lies_between(seed, count):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 3)) * rng.uniform(0.01, 0.2, 3)
    capsules = cover(points)
    between = rng.dirichlet(np.ones(count), 200) @ points
    for inside in (points, between):
        assert np.min([c.distance(inside) for c in capsules], axis=0).max() < 1e-9


def test_a_long_bar_is_a_thin_capsule():
    corners = np.array([[x, y, z] for x in (0, 0.6) for y in (-0.02, 0.02) for z in (-0.02, 0.02)])
    (capsule,) = cover(corners)
    assert capsule.radius < 0.035 and capsule.length > 0.5


def test_distances_to_boxes_and_planes_are_those_of_the_nearest_link(planar):
    box = Box((0.2, 0.2, 0.2), (1.6, 0.0, 0.0))
    links = ArmLinks(planar, [box, Plane((0.0, 0.0, 1.0), -0.3)])
    found = links.clearances(np.zeros(3))
    np.testing.assert_allclose(found.obstacles, [1.5 - 1.25, 0.25], atol=1e-3)
    assert found.links[0] == "bar3"


def test_walls_are_kept_from_inside_and_broken_outside(planar):
    links = ArmLinks(planar, walls((-0.5, -0.5, -0.5), (1.3, 0.5, 0.5)))
    np.testing.assert_allclose(min(links.clearances(np.zeros(3)).obstacles), 0.05, atol=1e-3)
    assert min(links.clearances(np.array([1.0, 0.0, 0.0])).obstacles) < 0.0


def test_links_that_fold_onto_each_other_are_noticed(planar):
    links = ArmLinks(planar)
    folded = links.clearances(np.array([0.0, 2.09, 2.09]))  # a triangle: the third ball comes back to the base
    assert links.clearances(np.array([0.0, 0.1, 0.1])).self_collision > 0.5
    # bar1's ball stands at 0.4 m, bar3's at the triangle's start: 0.4 m apart, balls of 5 cm.
    np.testing.assert_allclose(folded.self_collision, 0.3, atol=5e-3)
    assert folded.pair == ("bar1", "bar3")


def test_neighbours_of_the_panda_are_left_out_and_home_is_clear():
    links = ArmLinks(panda())
    pairs = {(links.names[i], links.names[j]) for i, j in links.pairs}
    assert ("panda_link3", "panda_link4") not in pairs and ("panda_link1", "panda_hand") in pairs
    assert links.clearances(HOME).self_collision > 0.01
    assert links.clearances(np.array([0.0, -1.8, 0.0, -3.1, 0.0, 0.0, 0.0])).self_collision <= 0.0


def test_an_srdf_disables_pairs(tmp_path):
    file = tmp_path / "panda.srdf"
    file.write_text('<robot name="panda"><disable_collisions link1="panda_hand" link2="panda_link1"/></robot>')
    links = ArmLinks(panda(), srdf=file)
    pairs = {(links.names[i], links.names[j]) for i, j in links.pairs}
    assert ("panda_link1", "panda_hand") not in pairs and ("panda_link0", "panda_hand") in pairs
    with pytest.raises(ArmError, match="not an SRDF"):
        ArmLinks(panda(), srdf=tmp_path / "none.srdf")


def test_what_the_hand_carries_comes_nearer_to_the_table():
    table = Plane((0.0, 0.0, 1.0), 0.0)
    bare = ArmLinks(panda(), [table]).clearances(HOME)
    rod = Capsule(np.zeros(3), np.array([0.0, 0.0, 0.3]), 0.01)
    carrying = ArmLinks(panda(), [table], hand=[rod]).clearances(HOME)
    assert carrying.obstacles[0] < bare.obstacles[0] and carrying.links[0] == CARRIED


def test_all_distances_of_a_panda_fit_a_tick_of_the_gate():
    table = [*walls((-0.9, -0.9, 0.0), (0.9, 0.9, 1.2)), Box((0.2, 0.2, 0.2), (0.5, 0.3, 0.1))]
    links = ArmLinks(panda(), table)
    rng = np.random.default_rng(0)
    times = []
    for _ in range(300):
        q = HOME + rng.uniform(-0.3, 0.3, 7)
        started = time.perf_counter()
        links.clearances(q)
        times.append(time.perf_counter() - started)
    assert np.median(times) < 0.3e-3
