# SPDX-License-Identifier: Apache-2.0
"""The memory graph: ways over remembered places, loops that close, being found again, and the way to a far goal."""

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jepa_ros.contract import load_contract
from jepa_ros.cost.goal import Goal, Target
from jepa_ros.memory import LongTerm, Store
from jepa_ros.memory.knowledge import Seen
from jepa_ros.memory.thumbnail import LARGEST, pixels_of, thumbnail
from jepa_ros.planar import place_graph
from jepa_ros.planar.guide import STUCK, Guide
from jepa_ros.planar.knowledge import annexes, knowledge
from jepa_ros.planar.odometry import between, beyond, wrapped
from jepa_ros.planar.place_graph import FORGIVEN, GraphError, PlaceGraph
from jepa_ros.planar.readouts import RELATIVE, SAME
from jepa_ros.planar.recognition import Localiser, Recognition
from jepa_ros.world_model import ModelConfig, WorldModel

ROVER = load_contract("rover")
EPOCH = 1000.0


class Eyes(WorldModel):
    """Latents are (x, y, yaw, what the room looks like); views of alike rooms that lie near and face the same way are
    taken for one place, and their relative pose is exact."""

    def __init__(self):
        super().__init__(ModelConfig(latent_dim=4, encoder_width=8, width=16, readouts=(RELATIVE, SAME)))

    def read(self, name, latent, goal=None):
        here, there = torch.broadcast_tensors(latent.reshape(-1, 4).double(), goal.double())
        x, y, turn = between(here.numpy()[:, :3], there.numpy()[:, :3]).T
        alike = (np.abs(turn) < 0.9) & (np.hypot(x, y) < 1.2) & (here[:, 3] == there[:, 3]).numpy()
        if name == "same":
            return torch.tensor(alike * 0.98 + 0.01, dtype=torch.float32)
        doubt = np.where(alike, 0.05, 1.5)
        return torch.tensor(np.stack([x, y, np.cos(turn), np.sin(turn), doubt], 1), dtype=torch.float32)


def view(pose, look=0.0):
    return torch.tensor([*pose, look], dtype=torch.float32)


def along(*corners, step=0.2):
    """Poses on the way from corner to corner, turning at each."""
    poses = []
    for (ax, ay), (bx, by) in pairwise(corners):
        yaw = math.atan2(by - ay, bx - ax)
        count = round(math.hypot(bx - ax, by - ay) / step)
        if poses:
            turn = wrapped(yaw - poses[-1][2])
            poses += [(ax, ay, poses[-1][2] + turn * k / 4) for k in range(1, 4)]
        poses += [(ax + (bx - ax) * k / count, ay + (by - ay) * k / count, yaw) for k in range(count + 1)]
    return [np.array(p) for p in poses]


def drifting(poses, scale=1.05, turn=0.004):
    """What odometry that drifts says of poses."""
    told = [np.zeros(3)]
    for a, b in pairwise(poses):
        x, y, yaw = between(a, b)
        told.append(beyond(told[-1], np.array([scale * x, scale * y, yaw + turn])))
    return told


def chain(count):
    graph = PlaceGraph()
    for k in range(count):
        graph.add(np.full(2, k, np.float32), np.array([k, 0.0, 0.0]))
        if k:
            graph.join(k - 1, k, np.array([1.0, 0.0, 0.0]), 10.0, 0.05, 1)
    return graph


def test_the_way_is_the_shortest_and_knows_where_its_places_lie():
    graph = chain(4)
    graph.join(0, 3, np.array([0.0, 1.0, 0.0]), 12.0, 0.3)
    costs = graph.costs({3: 0.0}, EPOCH)
    assert costs.tolist() == [12.0, 20.0, 10.0, 0.0]
    assert graph.way(0, costs, EPOCH) == [0, 3] and graph.way(1, costs, EPOCH) == [1, 2, 3]
    pose, doubt = graph.around(0, 1.0)[3]
    np.testing.assert_allclose(pose, [3.0, 0.0, 0.0], atol=1e-9)
    assert doubt == pytest.approx(0.15), "by the surer ways, not by the shorter"


def test_a_way_that_failed_loses_trust_and_is_tried_again_later():
    graph = chain(3)
    graph.join(0, 2, np.array([0.0, 1.0, 0.0]), 30.0, 0.3)
    assert graph.way(0, graph.costs({2: 0.0}, EPOCH), EPOCH) == [0, 1, 2]
    graph.failed(1, 2, EPOCH)
    assert graph.way(0, graph.costs({2: 0.0}, EPOCH), EPOCH) == [0, 2]
    later = EPOCH + 10.0 * FORGIVEN
    assert graph.way(0, graph.costs({2: 0.0}, later), later) == [0, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(1, 9)), max_size=20),
       st.dictionaries(st.integers(0, 7), st.floats(0.0, 50.0), min_size=1), st.integers(0, 7))  # fmt: skip
def test_a_way_ends_at_a_goal_or_is_none(ways, goals, start):
    graph = PlaceGraph()
    for _ in range(8):
        graph.add(np.zeros(2, np.float32), np.zeros(3))
    for a, b, steps in ways:
        if a != b:
            graph.join(a, b, np.zeros(3), steps, 0.1, 1)
            graph.failed(b, a, EPOCH)
    way = graph.way(start, graph.costs(goals, EPOCH), EPOCH)
    assert not way or way[-1] in goals


def test_a_place_without_a_way_there_is_said_to_have_none():
    graph = chain(2)
    lonely = graph.add(np.zeros(2, np.float32), np.zeros(3))
    costs = graph.costs({1: 0.0}, EPOCH)
    assert graph.way(lonely, costs, EPOCH) == [] and not np.isfinite(costs[lonely])
    with pytest.raises(GraphError, match="latent of 3 values; those that are remembered have 2"):
        graph.add(np.zeros(3, np.float32), np.zeros(3))


def test_the_graph_is_kept_with_the_memory(tmp_path):
    (graph,) = annexes(ROVER)
    store = Store(tmp_path, "model", ROVER, LongTerm(2, [graph]))
    graph.restore(chain(3).tensors())
    graph.failed(0, 1, EPOCH)
    store.close()
    found = PlaceGraph()
    Store(tmp_path, "model", ROVER, LongTerm(2, [found])).close()
    assert found.counts() == {"places": 3, "ways": 2}
    assert found.edges == graph.edges and np.array_equal(found.latents, graph.latents)
    broken = found.tensors()
    broken["graph_edges"][0, 1] = 7.0
    with pytest.raises(ValueError, match="a way to a place that is not there"):
        found.restore(broken)
    for rows in (np.delete(graph.tensors()["graph_edges"], 0, 0), graph.tensors()["graph_edges"]):
        rows[0, 5] += 1.0
        with pytest.raises(ValueError, match=r"the way from place \d to \d is not the one back"):
            found.restore(found.tensors() | {"graph_edges": rows})
    assert len(found) == 3


def test_a_loop_is_closed_where_odometry_has_drifted_apart():
    recognition = Recognition(Eyes(), PlaceGraph())
    poses = along((0, 0), (4, 0), (4, 3), (0, 3), (0, 0), (2, 0))
    told = drifting(poses)
    for pose, odometry in zip(poses, told, strict=True):
        recognition.drive(view(pose), odometry, 2)
    graph = recognition.graph
    closed = [(a, b, e) for a, ways in enumerate(graph.edges) for b, e in ways.items() if a - b > 8]
    assert closed, "the way back is known to be one"
    for a, b, edge in closed:
        true = between(graph.latents[a][:3].astype(float), graph.latents[b][:3].astype(float))
        np.testing.assert_allclose(edge.pose, [*true[:2], wrapped(true[2])], atol=1e-5)
    assert math.hypot(*(told[-1] - poses[-1])[:2]) > 0.5, "odometry alone would not know"


def test_a_view_that_looks_alike_where_nothing_else_does_closes_no_loop():
    recognition = Recognition(Eyes(), PlaceGraph())
    for pose in along((0, 0), (4, 0)):
        recognition.drive(view(pose), pose, 2)
    count = len(recognition.graph)
    recognition.begins()
    away = [np.array([20.0 + 0.2 * k, 5.0, 0.0]) for k in range(30)]  # another room ...
    for k, pose in enumerate(away):
        latent = view(pose, look=1.0) if k != 15 else view((2.0, 0.0, 0.0))  # ... and one view like that of the first
        recognition.drive(latent, pose, 2)
    assert not [b for a in range(count, len(recognition.graph)) for b in recognition.graph.edges[a] if b < count]


def remembered(*corners):
    recognition = Recognition(Eyes(), PlaceGraph())
    for pose in along(*corners):
        recognition.drive(view(pose), pose, 2)
    recognition.begins()
    return recognition


def test_a_robot_that_was_carried_finds_out_where_it_is_and_does_not_flicker_there():
    recognition = remembered((0, 0), (5, 0), (5, 4))
    localiser = Localiser(recognition)
    odometry = np.zeros(3)
    for k in range(6):
        localiser.observe(view((3.0 + 0.2 * k, 0.1, 0.0)), odometry)
        odometry = beyond(odometry, np.array([0.2, 0.0, 0.0]))
    place, sure = localiser.place()
    assert sure > 0.8 and math.hypot(*(recognition.graph.latents[place][:2] - [4.0, 0.1])) < 0.5
    belief = localiser.belief.copy()
    for _ in range(50):
        localiser.observe(view((1.0, 0.0, 0.0)), odometry - [0.2, 0.0, 0.0])  # a glare, as it stands still
    assert np.array_equal(localiser.belief, belief)


def seen(pose, odometry, stamp, steps=1):
    latent = view(pose)
    return Seen(latent, latent.numpy(), stamp, steps, odometry=tuple(odometry))


def guide_after(*corners):
    memory = LongTerm(4, annexes(ROVER))
    (first,) = knowledge(Eyes(), ROVER, None, 1, memory)
    assert isinstance(first, Guide)
    for k, pose in enumerate(along(*corners)):
        first.observe(seen(pose, pose, 0.5 * k))
    (later,) = knowledge(Eyes(), ROVER, None, 1, memory)
    return later


def test_a_far_goal_is_driven_to_place_by_place_and_not_through_the_wall():
    guide = guide_after((0, 0), (4, 0), (4, 4), (1, 4))
    goal = Target(Goal.from_latent(view((1.2, 4.0, math.pi)).numpy()), guide.model)
    true, shift, nearest = np.array([0.4, 0.0, 0.0]), np.array([7.0, -3.0, 1.0]), math.inf
    begin, trace = true.copy(), []
    for k in range(160):
        odometry = beyond(shift, between(begin, true))
        guide.observe(seen(true, odometry, 0.25 * k))
        guide.prepare(goal)
        assert guide.found is not None
        ahead = between(odometry, guide.found.pose)
        trace.append(true.copy())
        nearest = min(nearest, math.hypot(true[0] - 1.2, true[1] - 4.0))
        if nearest < 0.2:
            break
        bearing = 0.2 if guide.looking > 0.0 else math.atan2(ahead[1], ahead[0])
        turn = float(np.clip(bearing, -0.3, 0.3))
        forward = 0.1 if abs(bearing) < 0.5 and guide.looking == 0.0 else 0.0
        true = beyond(true, np.array([forward * math.cos(turn), forward * math.sin(turn), turn]))
    assert nearest < 0.2, "it came there"
    driven = np.array(trace)
    corner = np.hypot(driven[:, 0] - 4.0, driven[:, 1]).min()
    assert corner < 1.0, "by the way that it knows"


def test_a_place_that_was_chosen_in_the_memory_is_where_the_goal_is_though_the_eyes_do_not_know_it_again():
    guide = guide_after((0, 0), (4, 0))
    blind = {"relative": torch.full((1, 5), 9.0), "same": torch.zeros(1)}
    guide.model.read = lambda name, here, there: blind[name].repeat_interleave(len(here), 0)
    place = len(guide.graph) - 2
    goal = Target(Goal.from_latent(guide.graph.latents[place], "memory", f"place {place}"), guide.model)
    guide.observe(seen((1.0, 0.0, 0.0), np.zeros(3), 0.0))
    guide.prepare(goal)
    assert list(guide.anchors) == [place] and not guide.anchors[place][0].any()


def test_a_goal_that_no_place_looks_like_has_no_way_in_the_memory():
    guide = guide_after((0, 0), (4, 0))
    goal = Target(Goal.from_latent(view((9.0, 9.0, 0.0), look=3.0).numpy()), guide.model)
    guide.observe(seen((1.0, 0.0, 0.0), np.zeros(3), 0.0))
    guide.prepare(goal)
    assert not guide.anchors and not guide.way


def test_a_way_on_which_the_robot_does_not_get_on_is_marked_as_failed():
    guide = guide_after((0, 0), (4, 0))
    goal = Target(Goal.from_latent(view((4.0, 0.0, 0.0)).numpy()), guide.model)
    for k in range(5):  # it knows where it is, and stands
        guide.observe(seen((0.5 + 0.1 * k, 0.0, 0.0), (0.1 * k, 0.0, 0.0), 0.25 * k))
        guide.prepare(goal)
    assert guide.way and guide.reading(goal)[0] > 1.5
    here, there = guide.way[:2]
    guide.observe(seen((0.9, 0.0, 0.0), (0.4, 0.0, 0.0), 1.25 + STUCK + 1.0))
    guide.prepare(goal)
    assert guide.graph.edges[here][there].failed == 1


def test_what_is_kept_while_a_drive_goes_on_is_whole():
    graph, driven = PlaceGraph(), 1500
    before = sys.getswitchinterval()

    def drive():
        for k in range(driven):
            graph.add(np.zeros(2), np.zeros(3))
            if k:
                graph.join(k - 1, k, np.zeros(3), 1.0, 0.1)

    with ThreadPoolExecutor(1) as pool:
        sys.setswitchinterval(1e-6)
        try:
            driving = pool.submit(drive)
            while not driving.done():
                PlaceGraph().restore(found := graph.tensors())
                ways = {(int(a), int(b)) for a, b in found["graph_edges"][:, :2]}
                assert ways == {(b, a) for a, b in ways}
        finally:
            sys.setswitchinterval(before)
            driving.result()
    assert graph.counts() == {"places": driven, "ways": driven - 1}


def test_two_graphs_become_one_and_a_reader_is_told():
    graph, other = PlaceGraph(), PlaceGraph()
    for one in (graph, other):
        one.add(np.zeros(2), np.zeros(3), EPOCH, b"seen")
        one.add(np.ones(2), np.ones(3))
        one.join(0, 1, np.ones(3), 2.0, 0.1)
    before = graph.version
    graph.absorb(other)
    assert graph.version > before + 2  # the two places, and the ways
    assert graph.counts() == {"places": 4, "ways": 2} and set(graph.edges[2]) == {3}
    assert graph.thumbnails == [b"seen", b""] * 2 and graph.times[2] == EPOCH


def test_a_kept_graph_with_odometry_that_is_no_number_is_refused():
    graph = PlaceGraph()
    graph.add(np.zeros(2), np.array([0.0, math.nan, 0.0]))
    with pytest.raises(ValueError, match="not finite"):
        PlaceGraph().restore(graph.tensors())


def picture(shade, height=64, width=96):
    found = np.zeros((height, width, 3), np.uint8)
    found[..., 0], found[..., 1] = np.linspace(0, 255, width), shade
    return found


def pictured(shade):
    return lambda: picture(shade)


def test_places_keep_a_small_picture_and_when_they_were_seen(tmp_path):
    memory = LongTerm(4, annexes(ROVER), clock=lambda: EPOCH)
    store = Store(tmp_path, "model", ROVER, memory)
    (guide,) = knowledge(Eyes(), ROVER, None, 1, memory)
    for k, pose in enumerate(along((0, 0), (2, 0))):
        latent = view(pose)
        guide.observe(Seen(latent, latent.numpy(), 0.5 * k, 1, odometry=tuple(pose), picture=pictured(20 * k)))
    memory.tag("dock", np.zeros(4), thumbnail=thumbnail(picture(7)))
    store.close()
    again = LongTerm(4, annexes(ROVER))
    Store(tmp_path, "model", ROVER, again).close()
    (kept,) = again.annexes
    assert len(kept) > 3 and kept.times == [EPOCH] * len(kept)
    assert kept.thumbnails == guide.graph.thumbnails and all(0 < len(t) <= LARGEST for t in kept.thumbnails)
    small = pixels_of(kept.thumbnails[0])
    assert small.shape == (43, 64, 3)
    assert np.abs(small[..., 1].astype(int)).mean() < 12 < np.abs(pixels_of(kept.thumbnails[-1])[..., 1]).mean()
    assert again.tags["dock"].thumbnail == memory.tags["dock"].thumbnail


def test_a_memory_from_before_there_were_thumbnails_is_read():
    old, graph = chain(3).tensors(), PlaceGraph()
    for name in ("graph_times", "graph_thumbnails", "graph_thumbnail_sizes"):
        del old[name]
    graph.restore(old)
    assert graph.thumbnails == [b""] * 3 and np.isnan(graph.times).all()
    graph.add(np.zeros(2), np.zeros(3), EPOCH, b"new")
    assert graph.thumbnails[3] == b"new"


def test_thumbnails_that_do_not_fit_their_places_are_refused():
    broken = chain(3).tensors()
    broken["graph_thumbnail_sizes"][1] = 5
    with pytest.raises(ValueError, match="do not fit 3 places"):
        PlaceGraph().restore(broken)


def test_there_is_room_for_so_many_thumbnails_and_the_oldest_go(monkeypatch):
    monkeypatch.setattr(place_graph, "THUMBNAIL_BYTES", 100)
    graph = PlaceGraph()
    for _ in range(5):
        graph.add(np.zeros(2), np.zeros(3), EPOCH, bytes(30))
    assert [len(t) for t in graph.thumbnails] == [0, 0, 30, 30, 30]
    again = PlaceGraph()
    again.restore(graph.tensors())
    again.add(np.zeros(2), np.zeros(3), EPOCH, bytes(30))
    assert [len(t) for t in again.thumbnails] == [0, 0, 0, 30, 30, 30]


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (480, 640), (64, 64)])
def test_no_picture_takes_more_room_than_a_thumbnail_has(shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    small = thumbnail(noise)
    assert 0 < len(small) <= LARGEST and max(pixels_of(small).shape[:2]) == min(64, max(shape))
