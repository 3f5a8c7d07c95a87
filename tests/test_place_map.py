# SPDX-License-Identifier: Apache-2.0
"""The map of where the robot can drive: its labels, its fit, its memory, and the ways found over it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_world import ToyWorld, planar_config, toy_contract, toy_planner

from jepa_ros.contract import load_contract
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import Episode
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros.learning.settings import TrainError
from jepa_ros.learning.stages import place_map as fit
from jepa_ros.learning.stages.bump_labels import read_bumps
from jepa_ros.learning.stages.order import Order
from jepa_ros.planar import region_constraints
from jepa_ros.planar.goals import pose_goal
from jepa_ros.planar.map_head import look_up, map_of, map_part, project
from jepa_ros.planar.places import Places
from jepa_ros.planar.route import Route
from jepa_ros.planning import Planner
from jepa_ros.safety.guardrails import parse_guardrails
from jepa_ros.world_model import CheckpointError, WorldModel, load_checkpoint, save_checkpoint

EXTENT = (-1.0, -1.0, 1.0, 1.0)
WALL = np.zeros((20, 20))
WALL[9:11, 3:17] = 1.0  # rows are y: a wall along x in the middle of the map


def test_a_way_with_nothing_in_between_has_no_detour():
    route = Route(20, EXTENT)
    route.solve(np.zeros((20, 20)), (0.3, -0.7))
    assert float(route.detour(torch.rand(50, 2) * 2.0 - 1.0).abs().max()) == 0.0


def test_a_wall_makes_the_way_longer_by_the_way_round_it():
    route = Route(20, EXTENT)
    route.solve(WALL, (0.0, 0.6))
    behind, beside, through = route.detour(torch.tensor([[0.0, -0.6], [0.0, 0.4], [0.0, 0.0]])).tolist()
    straight = 1.2
    round_it = 2.0 * np.hypot(0.75, 0.6)  # from (0, -0.6) past the wall's end at x = 0.75 and back
    assert round_it - straight - 0.1 < behind < round_it - straight + 0.6  # keeps some room from the wall
    assert beside == pytest.approx(0.0, abs=0.02)
    assert through > 1.0


def test_lengths_are_right_in_all_directions():
    route = Route(32, EXTENT)
    route.solve(np.zeros((32, 32)), (0.01, 0.01))
    centres = Places(32, EXTENT).centres()
    goal = centres[16, 16]
    true = np.linalg.norm(centres - goal, axis=-1)
    found = route._distances(16 * 32 + 16, np.ones(32 * 32)).reshape(32, 32)
    assert (found >= true - 1e-9).all() and (found <= 1.03 * true + 1e-9).all()


def test_places_look_up_agrees_with_the_one_used_in_training():
    rng = np.random.default_rng(0)
    places = Places(8, (-1.0, -2.0, 1.0, 3.0))
    logits = rng.normal(size=(8, 8)).astype(np.float32)
    places.observe(logits)
    points = rng.uniform(-2.5, 3.5, (200, 2))
    learned = look_up(torch.from_numpy(logits)[None], torch.from_numpy(points).float()[None], places.extent)
    assert np.allclose(places.look_up(points), torch.sigmoid(learned[0]).numpy(), atol=1e-5)
    assert np.allclose(places.centres()[0, :2], [[-0.875, -1.6875], [-0.625, -1.6875]], atol=1e-6)
    assert np.allclose(places.look_up(places.centres()), places.blocked(), atol=1e-6)


def test_places_remember_and_change_their_mind():
    places = Places(4, EXTENT)
    assert not places.known and places.blocked().max() == 0.0
    places.observe(np.full(16, -4.0))
    free = places.blocked().max()
    places.observe(np.full(16, 4.0))
    one = places.blocked().max()
    for _ in range(6):
        places.observe(np.full(16, 4.0))
    assert free < 0.05 and free < one < 0.5 and places.blocked().min() > 0.5
    places.clear()
    assert not places.known


def test_a_robot_in_a_doubtful_place_may_leave_but_not_go_deeper():
    places = Places(4, EXTENT)
    places.observe(np.tile([-5.0, -1.0, 1.0, 5.0], 4))  # more and more blocked to the right
    here = np.array([0.25, 0.0])  # chance 0.73
    ways = np.array([[[-0.2, 0.0], [-0.7, 0.0]], [[0.25, 0.0], [0.25, 0.0]], [[0.4, 0.0], [0.7, 0.0]]])
    assert (places.excess(ways, here, 0.5).max(-1) <= 0.0).tolist() == [True, True, False]


def test_a_step_across_what_is_thinner_than_it_is_refused():
    places = Places(20, EXTENT)
    places.observe(12.0 * WALL.astype(np.float32) - 6.0)
    here = np.array([0.0, -0.2])
    ends = np.array([[[0.0, 0.2]], [[0.2, -0.2]]])  # past the wall in one step; along it
    assert places.look_up(ends).max() < 0.1
    assert (places.excess(ends, here, 0.5).max(-1) <= 0.0).tolist() == [False, True]


class MappedToy(ToyWorld):
    """The toy world with a wall on its map."""

    def __init__(self) -> None:
        super().__init__()
        self.config = planar_config(latent_dim=2, noise_dim=2, state_dim=1, context=(map_part(20, EXTENT),))


def drive(search: Planner, start, goal, steps=60):
    z, track, warm = torch.tensor(start), [start], None
    for _ in range(steps):
        result = search.think(z, torch.zeros(1), goal, warm=warm, iterations=4)
        assert result.actions is not None
        z = z + 0.1 * torch.from_numpy(result.actions[0])
        warm = torch.from_numpy(np.concatenate([result.actions[1:], result.actions[-1:]]))
        track.append(tuple(z.tolist()))
    return np.array(track)


def test_the_search_goes_round_what_the_map_shows_and_stops_at_what_it_forbids():
    goal = pose_goal(0.0, 0.6, None)
    search = toy_planner(MappedToy(), horizon=8)
    search.knowledge[0].places.observe(12.0 * WALL.astype(np.float32) - 6.0)
    track = drive(search, (0.0, -0.6), goal)
    assert np.hypot(*(track[-1] - (0.0, 0.6))) < 0.1
    assert search.knowledge[0].places.look_up(track).max() <= 0.5 + 0.05
    blind = toy_planner(horizon=8)
    assert search.knowledge[0].places.look_up(drive(blind, (0.0, -0.6), goal, 20)).max() > 0.9  # no map: through it


def test_a_forbidden_region_is_routed_round_from_the_next_plan_on():
    contract = toy_contract()
    search = toy_planner(MappedToy(), contract, horizon=8)
    search.knowledge[0].places.observe(np.full(400, -6.0))
    goal = pose_goal(0.0, 0.6, None)
    corners = [[-0.5, -0.2], [0.5, -0.2], [0.5, 0.2], [-0.5, 0.2]]
    zone = {"kind": "keep_out", "name": "zone", "unit": "m", "polygon": corners}
    search.set_guardrails(parse_guardrails([zone]).bind(contract))
    track = drive(search, (0.0, -0.7), goal)
    assert np.hypot(*(track[-1] - (0.0, 0.6))) < 0.1
    inside = (np.abs(track[:, 0]) < 0.5) & (np.abs(track[:, 1]) < 0.2)
    assert not inside.any()


def test_plans_keep_a_margin_to_regions_besides_what_the_guardrail_asks():
    contract = toy_contract()
    corners = [[-0.5, -0.2], [0.5, -0.2], [0.5, 0.2], [-0.5, 0.2]]
    rails = parse_guardrails([{"kind": "keep_out", "name": "zone", "unit": "m", "polygon": corners}]).bind(contract)
    edge = 0.2 + contract.footprint.radius
    near = np.array([[[0.0, edge + 0.05], [0.0, edge + 0.15]]])
    for margin, closed in ((0.0, [False, False]), (0.1, [True, False])):
        search = toy_planner(MappedToy(), contract, rails, horizon=8, region_margin=margin)
        assert region_constraints.closed(search.objective.guard, contract, near)[0].tolist() == closed


def straight_drive(contact: bool):
    """A robot that is sent along x at full speed and stops at x = 0.4 (with or without a contact)."""
    steps = 10
    x = np.minimum(0.08 * np.arange(steps), 0.4)
    poses = np.stack([x, np.zeros(steps), np.zeros(steps)], axis=1)
    contacts = np.zeros(steps, dtype=bool)
    contacts[4:] = contact
    return poses, np.tile([0.4, 0.0], (steps, 1)), contacts


def test_labels_come_from_what_the_robot_felt():
    contract = load_contract("arena")
    bumps = read_bumps(contract, *straight_drive(contact=True))
    assert len(bumps.held) == 4 and np.allclose(bumps.held, (0.4, 0.0)) and np.allclose(bumps.beyond, (1.0, 0.0))
    assert len(bumps.touched) == 5 and np.allclose(bumps.touched, (0.4, 0.0))
    assert bumps.free[:, 0].max() == pytest.approx(0.32) and np.allclose(bumps.near[:, 0], 0.32)
    assert np.isin([0.04, 0.08], bumps.free[:, 0].round(6)).all()  # where it was, and where it passed
    slipped = read_bumps(contract, *straight_drive(contact=False))  # wheels that slip are no obstacle
    assert len(slipped.held) == len(slipped.touched) == len(slipped.near) == 0


def test_a_robot_that_slides_along_something_tells_on_which_side_it_stands():
    contract = load_contract("arena")
    steps = 6
    yaw = 0.6
    poses = np.stack([0.08 * np.cos(yaw) * np.arange(steps), np.zeros(steps), np.full(steps, yaw)], axis=1)
    bumps = read_bumps(contract, poses, np.tile([0.4, 0.0], (steps, 1)), np.ones(steps, dtype=bool))
    assert len(bumps.held) == 5 and np.allclose(bumps.beyond, (0.0, 1.0), atol=1e-9)
    backwards = read_bumps(contract, poses[::-1].copy(), np.tile([-0.4, 0.0], (steps, 1)), np.ones(steps, dtype=bool))
    assert np.allclose(backwards.beyond, (0.0, -1.0), atol=1e-9)


def test_the_picture_of_the_map_is_found_from_the_keypoint_that_follows_the_robot(monkeypatch):
    rng = np.random.default_rng(1)
    true = np.array([[0.8, 0.05, 0.02], [0.03, -0.85, -0.04], [0.02, -0.01, 1.0]])
    places = rng.uniform(-0.9, 0.9, (300, 2))
    uvw = np.concatenate([places, np.ones((300, 1))], axis=1) @ true.T
    follower = torch.from_numpy(uvw[:, :2] / uvw[:, 2:]).float()
    model = WorldModel(planar_config(keypoints=2))
    answers = torch.stack([torch.randn(300, 2), follower], dim=1)
    monkeypatch.setattr(model.encoder, "features", lambda images: images)
    monkeypatch.setattr(model.encoder, "keypoint_positions", lambda features: answers[: len(features)])
    images = torch.zeros(300, 1)
    monkeypatch.setattr(torch.Tensor, "split", lambda self, n: [self], raising=False)
    found, r2, keypoint = fit.picture_of_map(model, images, torch.from_numpy(places))
    assert np.allclose(found.numpy(), true, atol=1e-4) and r2 > 0.98 and keypoint == 1
    seen = project(found[None], torch.from_numpy(places))[0]
    assert np.allclose(seen.numpy(), uvw[:, :2] / uvw[:, 2:], atol=1e-4)


def test_the_map_is_seen_where_the_homography_says():
    torch.manual_seed(0)
    head = WorldModel(planar_config(context=(map_part(32, EXTENT),))).context["map"].eval()
    head.look_from(torch.diag(torch.tensor([1.0, -1.0, 1.0])))
    assert head.warp[0, 0, 0, 1] > 0.9  # the map's lower edge is the bottom of the picture
    axis = 0.5 + torch.arange(32)
    columns = torch.nn.Module()
    columns.forward = lambda _: axis.expand(1, 24, 32, 32)  # the column of each place of the fine maps
    head.up_fine, head.out = columns, torch.nn.Module()
    head.out.forward = lambda x: x[:, :1]
    maps = torch.zeros(1, 48, 16, 16)
    for shift in (0.0, 0.25):
        head.camera[-1].bias.data[2] = 10.0 * shift  # the camera looks to the left: things lie further right in it
        found, view = head.map_and_view(maps, maps)
        assert view[0, 0, 2].item() == pytest.approx(shift)
        # The edges of the picture's outermost coarse cells lie at +-(1 + 1 / 15).
        place = (torch.arange(32) + 0.5) / 16.0 - 1.0 + shift
        column = (16.0 * (place * 15.0 / 16.0 + 1.0)).clamp(0.5, 31.5)
        assert torch.allclose(found[0, 5], column, atol=1e-3)


def test_calibration_table_tells_honest_from_boastful():
    rng = np.random.default_rng(2)
    p = rng.uniform(size=20000)
    honest = fit.calibration_table(p, (rng.uniform(size=20000) < p).astype(float))
    boastful = fit.calibration_table(p, (rng.uniform(size=20000) < 0.5 * p).astype(float))
    assert honest["error"] < 0.02 < 0.2 < boastful["error"]
    assert sum(n for _, _, n in honest["rows"]) == 20000
    assert 0.8 < honest["auc"] < 0.9
    assert np.isnan(fit.area_under_curve(p, np.zeros(20000)))


def test_an_embedding_carries_the_latent_first_and_the_map_behind_it():
    config = planar_config(latent_dim=48, context=(map_part(16, EXTENT),))
    model = WorldModel(config).eval()
    images = torch.randint(0, 255, (3, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        embedding, z = model.pack(model.encode({"image": images})), model.latent({"image": images})
        grid = model.context["map"](*model.encoder.early_and_late(images))
    assert config.tokens == 7 and embedding.shape == (3, 7 * 48) == (3, config.embedding_dim)
    assert torch.allclose(embedding[:, :48], z)
    assert torch.allclose(embedding[:, 48 : 48 + 256], grid.flatten(1))
    assert not embedding[:, 48 + 256 :].any()
    plain = WorldModel(planar_config(latent_dim=48))
    assert plain.pack(plain.encode({"image": images})).shape == (3, 48)


@pytest.fixture(scope="module")
def bumpy_data(tmp_path_factory):
    """Episodes of a robot that drives straight at dark blocks on a light floor, and bumps into them."""
    contract = load_contract("arena")
    writer = DatasetWriter(tmp_path_factory.mktemp("bumpy") / "data", contract, {"made": "by a test"})
    rng = np.random.default_rng(0)
    writer.begin()
    for shard in range(6):
        episodes = []
        for layout in range(8):
            blocks = rng.uniform(-0.7, 0.7, (3, 2))
            image = np.full((64, 64, 3), 200, dtype=np.uint8)
            axis = (np.arange(64) + 0.5) / 32.0 - 1.0
            xs, ys = np.meshgrid(axis, -axis)  # the first row of a picture is its top
            for block in blocks:
                image[(np.abs(xs - block[0]) < 0.12) & (np.abs(ys - block[1]) < 0.12)] = 40
            episodes.append(drive_at(blocks, image, rng, 100 + 8 * shard + layout))
        writer.write_shard(shard, episodes)
    writer.finish()
    return Dataset(writer.folder)


def drive_at(blocks, image, rng, layout):
    poses, actions, contacts = [], [], []
    steps = 80
    while len(poses) < steps:
        x, y, yaw = *rng.uniform(-0.85, 0.85, 2), rng.uniform(-np.pi, np.pi)
        for _ in range(10):
            ahead = np.array([x + 0.08 * np.cos(yaw), y + 0.08 * np.sin(yaw)])
            held = bool((np.abs(ahead - blocks).max(axis=1) < 0.2).any() or np.abs(ahead).max() > 0.9)
            poses.append((x, y, yaw))
            actions.append((0.4, 0.0))
            contacts.append(held)
            if held:
                poses.append((x, y, yaw))
                actions.append((-0.4, 0.0))
                contacts.append(False)
                break
            x, y = ahead
    pictures = np.repeat(image[None], steps, axis=0)
    part = [np.array(v[:steps], dtype=np.float32) for v in (actions, actions, poses)]
    return Episode(pictures, *part, np.array(contacts[:steps]), layout)


def straight_sight(model, data, episodes, keypoint, rng):
    """What a camera that hangs straight above would tell of the robot; the encoder that nobody trained does not."""
    found = {}
    for e in episodes.tolist():
        poses = np.array(data.slice("poses", e))
        robot = torch.from_numpy(poses[:24, :2])
        where = fit.on_map(robot, map_of(model.config)[1]) * torch.tensor([1.0, -1.0])
        found[e] = fit.Sighting(poses, robot, where)
    return found


def fitted(data, monkeypatch, steps):
    """A model with a map over an encoder that nobody trained; told where the picture of the map lies."""
    straight_down = torch.diag(torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64))
    monkeypatch.setattr(fit, "picture_of_map", lambda *_: (straight_down, 1.0, 0))
    monkeypatch.setattr(fit, "sight", straight_sight)
    torch.manual_seed(0)
    train, held_out = data.split(0.2, 0)
    config = planar_config(context=(map_part(16, fit.map_extent(data, train)),))
    model = WorldModel(config).eval().requires_grad_(False)
    told = []
    assert fit.fit_map(model, data, train, steps, 0, lambda *row: told.append(row))
    return model, fit.judge_map(model, data, held_out), told


def test_a_map_is_learned_from_bumps_and_holds_on_layouts_never_seen(bumpy_data, monkeypatch):
    _, before, _ = fitted(bumpy_data, monkeypatch, 1)
    model, after, told = fitted(bumpy_data, monkeypatch, 120)
    assert before["auc"] < 0.75 and after["auc"] > 0.85
    assert after["contact"]["auc"] > 0.75 and after["contact"]["error"] < 0.25
    assert told[0][3]["keypoint_r2"] == 1.0 and told[-1][3]["loss"] < told[1][3]["loss"]
    assert not any(p.requires_grad for p in model.parameters())


def test_no_map_where_no_keypoint_follows_the_robot(bumpy_data):
    torch.manual_seed(0)
    train, _ = bumpy_data.split(0.2, 0)
    model = WorldModel(planar_config(context=(map_part(16, fit.map_extent(bumpy_data, train)),))).eval()
    assert not fit.fit_map(model, bumpy_data, train, 5, 0, lambda *_: None)


def test_places_are_in_the_frame_of_the_pose_readout(bumpy_data, monkeypatch):
    model = WorldModel(planar_config()).eval()
    offset = torch.tensor([0.03, -0.02, 0.0, 0.0])
    where = {}

    def off(z):  # a readout that is off by the same everywhere, and scatters
        located = torch.from_numpy(bumpy_data.slice("poses", 1)[where["steps"]])
        wobble = 0.01 * torch.tensor([1.0, -1.0] * 12)[:, None]
        return torch.cat([located[:, :2] + wobble, located[:, 2:].cos(), located[:, 2:].sin()], dim=1) + offset

    class Steps(np.random.RandomState):
        def integers(self, high, size):
            where["steps"] = np.arange(size)
            return where["steps"]

    monkeypatch.setattr(model, "read", lambda name, z: off(z))
    found = fit.sight(model, bumpy_data, np.arange(1, 2), 3, Steps())[1]
    true = np.array(bumpy_data.slice("poses", 1))
    assert np.allclose(found.poses - true, (0.03, -0.02, 0.0), atol=1e-5)
    assert np.allclose(found.robot.numpy(), found.poses[:24, :2], atol=1e-6) and found.where.shape == (24, 2)


def test_a_map_is_fitted_anew_and_an_earlier_kind_of_map_is_refused(bumpy_data, monkeypatch, tmp_path):
    model, _, _ = fitted(bumpy_data, monkeypatch, 1)
    model.context["map"].homography = None  # what an earlier version did not have
    save_checkpoint(tmp_path, model, {"contract": bumpy_data.contract.to_dict(), "metrics": {"probe": 1.0}})
    with pytest.raises(CheckpointError, match="--only map"):
        load_checkpoint(tmp_path)
    monkeypatch.setattr(fit, "MAP_CELLS", 20)
    fit.renew_map(Order(tmp_path, bumpy_data, 2, 0, lambda *_: None))
    renewed, card = load_checkpoint(tmp_path, bumpy_data.contract)
    assert map_of(renewed.config)[0] == card["model"]["context"][0]["shape"][0] == 20
    assert card["metrics"]["probe"] == 1.0 and "auc" in card["metrics"]["traversability"]
    before = model.state_dict()
    same = {k: torch.equal(v, before[k]) for k, v in renewed.state_dict().items() if not k.startswith("context.map")}
    assert same and all(same.values())


def test_a_checkpoint_without_a_map_has_none_to_fit_anew(bumpy_data, tmp_path):
    save_checkpoint(tmp_path, WorldModel(planar_config()), {"contract": bumpy_data.contract.to_dict()})
    with pytest.raises(TrainError, match="no map"):
        fit.renew_map(Order(tmp_path, bumpy_data, 2, 0, lambda *_: None))
