# SPDX-License-Identifier: Apache-2.0
"""What people are shown of a memory to choose a goal in: few places well apart, laid out by their ways, and tags."""

import math
import time
from itertools import pairwise

import numpy as np
import pytest

from jepa_ros.contract import load_contract
from jepa_ros.memory import RecallError
from jepa_ros.memory.overview import MOST, key_of, latent_of, overview_of
from jepa_ros.planar.odometry import between, beyond
from jepa_ros.planar.place_cover import Cover
from jepa_ros.planar.place_graph import PlaceGraph
from jepa_ros.planning.bodies import new_memory

ROVER, ARENA, PANDA = (load_contract(name) for name in ("rover", "arena", "panda"))


def round_trips(graph, trips, side=8):
    """Drive round a square of places 0.4 m apart, again and again; each place is found to be that of the first trip."""
    step, turn = np.array([0.4, 0.0, 0.0]), np.array([0.4, 0.0, math.pi / 2])
    for k in range(4 * side * trips):
        graph.add(np.full(4, k), np.zeros(3), 1000.0 + k, b"view %d" % k)
        if k:
            graph.join(k - 1, k, turn if k % side == 0 else step, 4.0, 0.02, 1)
        if k >= 4 * side:
            graph.join(k, k % (4 * side), np.zeros(3), 1.0, 0.02)
    return graph


def poses(side=8):
    here, found = np.zeros(3), [np.zeros(3)]
    for k in range(1, 4 * side):
        here = beyond(here, np.array([0.4, 0.0, math.pi / 2 if k % side == 0 else 0.0]))
        found.append(here)
    return found


def test_a_small_graph_is_shown_whole_with_its_ways_and_where_each_place_lies():
    memory = new_memory(ROVER, 4)
    graph = round_trips(memory.annex(PlaceGraph), 1)
    graph.join(31, 0, np.array([0.4, 0.0, math.pi / 2]), 4.0, 0.02)
    overview = overview_of(memory)
    assert overview.follow(1.0)
    places = overview.places()
    assert [p.number for p in places] == list(range(32)) and overview.kind == "places" and overview.total == 32
    assert places[5].thumbnail == b"view 5" and places[5].time == 1005.0 and places[5].key == key_of(graph.latents[5])
    true = poses()
    for a, b in pairwise(range(32)):
        np.testing.assert_allclose(between(places[a].pose, places[b].pose), between(true[a], true[b]), atol=1e-6)
    ways = set(overview.ways())
    assert len(ways) == 32 and (0, 31, False) in ways and (0, 1, True) in ways


def test_places_that_are_found_again_are_one_and_the_cover_stays_small_however_long_the_drive():
    graph = round_trips(PlaceGraph(), 30)
    cover = Cover(graph, 20)
    assert cover.follow()
    assert 4 <= len(cover.shown) <= 20 and cover.taken == len(graph) == 960
    true = poses()
    shown = [cover.numbers[cover.spot(k)[0]] for k in range(len(graph))]
    for k, number in enumerate(shown):  # where a place lies as seen from the one that stands for it
        pose = cover.spot(k)[1]
        np.testing.assert_allclose(pose[:2], between(true[number % 32], true[k % 32])[:2], atol=1e-6)
    for a, others in enumerate(cover.shown.edges):
        for b, edge in others.items():
            expected = between(true[cover.numbers[a] % 32], true[cover.numbers[b] % 32])
            np.testing.assert_allclose(edge.pose[:2], expected[:2], atol=1e-6)
    assert np.isfinite(cover.shown.costs({0: 0.0}, 0.0)).all(), "what hung together still does"


def test_of_many_drives_that_nothing_joins_the_oldest_are_left_out():
    graph = PlaceGraph()
    for k in range(300):
        graph.add(np.full(2, k), np.zeros(3))
    cover = Cover(graph, 20)
    cover.follow()
    assert len(cover.shown) <= 20 and cover.numbers[-1] == 299 and cover.spot(0) is None
    assert cover.spot(299)[0] == len(cover.shown) - 1


def test_a_large_memory_is_taken_in_by_and_by_and_each_look_is_short():
    graph = round_trips(PlaceGraph(), 60)
    cover, longest, looks = Cover(graph, MOST), 0.0, 0
    while True:
        began = time.thread_time()
        whole = cover.follow(0.002)
        longest, looks = max(longest, time.thread_time() - began), looks + 1
        if whole:
            break
    assert looks > 3 and longest < 0.05


def test_a_graph_that_grows_is_followed():
    memory = new_memory(ROVER, 4)
    graph, overview = memory.annex(PlaceGraph), overview_of(memory)
    assert overview.follow(1.0) and overview.places() == [] and overview.at(0) is None
    round_trips(graph, 1)
    assert overview.follow(1.0) and len(overview.places()) == 32
    new = graph.add(np.full(4, 99.0), np.zeros(3))
    graph.join(31, new, np.array([0.4, 0.0, 0.0]), 4.0, 0.02, 1)
    assert overview.follow(1.0) and overview.places()[-1].number == new
    ahead = overview.at(new, (1.0, 0.0, 0.0))
    np.testing.assert_allclose(between(overview.at(new), ahead), [1.0, 0.0, 0.0], atol=1e-9)


def test_a_tag_lies_at_the_place_that_looks_most_like_it():
    memory = new_memory(ROVER, 4)
    round_trips(memory.annex(PlaceGraph), 1)
    memory.tag("dock", np.full(4, 7.2))
    overview = overview_of(memory)
    assert overview.tagged_at("dock", memory.tags["dock"]) is None
    while not overview.follow(1.0):
        pass
    assert overview.tagged_at("dock", memory.tags["dock"]) == overview.at(7)


def test_states_of_a_robot_in_a_map_are_shown_where_they_were_and_well_apart():
    memory, rng = new_memory(ARENA, 4), np.random.default_rng(0)
    for k in range(2000):
        memory.observe(np.full(4, 100.0 * k), (*rng.uniform(-1, 1, 2), 0.5))
    memory.observe(np.full(4, -1e6), None)
    memory.tag("sink", np.ones(4), (0.2, 0.3, 0.0))
    overview = overview_of(memory)
    assert overview.follow(0.0) and overview.kind == "states" and overview.total == len(memory)
    places = overview.places()
    assert 30 < len(places) <= MOST and overview.ways() == []
    for place in places:
        np.testing.assert_array_equal(place.pose, memory.where[place.number])
        np.testing.assert_array_equal(latent_of(memory, place.number, place.key), memory.latents[place.number])
    assert overview.tagged_at("sink", memory.tags["sink"]) == (0.2, 0.3, 0.0)


def test_states_of_an_arm_have_no_place_and_are_not_shown():
    memory = new_memory(PANDA, 4)
    memory.observe(np.zeros(4))
    overview = overview_of(memory)
    assert overview.follow(0.0) and overview.total == 1 and overview.places() == []


def test_a_place_that_is_another_one_meanwhile_is_refused():
    memory, other = new_memory(ROVER, 4), new_memory(ROVER, 4)
    for one, shift in ((memory, 0.0), (other, 0.5)):
        one.annex(PlaceGraph).add(np.full(4, shift), np.zeros(3))
    key = key_of(np.zeros(4))
    np.testing.assert_array_equal(latent_of(memory, 0, key), np.zeros(4))
    for found, number in ((other, 0), (memory, 1), (memory, -1)):
        with pytest.raises(RecallError, match=f"place {number} is not in this memory as it was chosen"):
            latent_of(found, number, key)
