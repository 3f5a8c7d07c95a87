# SPDX-License-Identifier: Apache-2.0
"""Surprise and novelty: what is told of a world that does as predicted, and of one that does not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy_world import ToyWorld, toy_contract

from benchmarks import vigilance as vigilance_bench
from benchmarks.rigs.search.vigilance_trials import Alarm, Alarms, Drive
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.errors import JepaRosError
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import Episode
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros.learning.stages import alarm_levels as fit
from jepa_ros.memory.picture_memory import ACCEPT, PictureMemory
from jepa_ros.planar.body_watch import PlanarWatch
from jepa_ros.planar.map_head import map_part
from jepa_ros.planning import Planner, PlannerConfig, SearchConfig
from jepa_ros.planning.surprise import SPANS, Motion, Normal, on_scale
from jepa_ros.safety.config import LEVELS, GateConfig, watched
from jepa_ros.world_model import ModelConfig, WorldModel
from jepa_ros.world_model.context import part_of, read_part
from jepa_ros.world_model.picture_maps import PATCH, PictureMaps, patches

MOTION = {str(k): {"precision": np.diag([1e4, 1e4, 1e2]).tolist(), "drive": [1.0, 0.0, 0.0, 0.0, 0.0]} for k in SPANS}
VIGILANCE = {"levels": {"motion": [3.0, 6.0]}, "motion": MOTION, "spread": [], "mean": [], "precision": []}


def planner_with(vigilance=VIGILANCE):
    card = {"calibration": {"vigilance": vigilance}}
    return Planner(ToyWorld(), toy_contract(), PlannerConfig(SearchConfig(deadline=10.0, samples=64)), card)


def surprises(executed, done, planner=None):
    """Surprise image by image of a point that ``executed`` (A,) was sent to and that did ``done`` (A,) a step."""
    planner, place, found = planner or planner_with(), np.zeros(2), []
    unit = planner.contract.normalise(np.asarray(executed, float))
    for k in range(6):
        found.append(planner.step(place, 0.2 * k, np.asarray(executed, float)).signals.get("surprise", 0.0))
        place = place + 0.1 * unit * np.asarray(done)
    return found


def test_a_world_that_does_as_predicted_is_no_surprise_however_little_of_the_plan_was_executed():
    assert max(surprises([0.4, 1.0], [1.0, 1.0])) < 0.01
    assert max(surprises([0.04, 0.1], [1.0, 1.0])) < 0.01  # the gate scaled it: what was executed is what counts


def test_what_does_not_move_as_it_should_is_a_surprise_that_grows_with_the_span():
    found = surprises([0.2, 0.0], [0.5, 1.0])  # half of what was asked for
    # 2.5 cm a step at a precision of 1 / cm^2: 2.5 after a step, 5 after two, 10 after four; levels 3 and 6.
    assert found[1] == pytest.approx(2.5 / 3.0, rel=1e-3)
    assert found[2] == pytest.approx(1.0 + (5.0 - 3.0) / 3.0, rel=1e-3)
    assert found[4] == pytest.approx(1.0 + (10.0 - 3.0) / 3.0, rel=1e-3)


def test_what_is_normal_depends_on_how_it_is_driven():
    rough = {k: {**v, "drive": [1.0, 96.0, 0.0, 0.0, 0.0]} for k, v in MOTION.items()}
    planner = planner_with({**VIGILANCE, "motion": rough})
    found = surprises([0.2, 0.0], [0.5, 1.0], planner)  # at half of the full speed: 1 + 96 / 4 = 25, a fifth as long
    assert found[4] == pytest.approx(2.0 / 3.0, rel=1e-3)


def test_a_gap_begins_the_predictions_anew_and_a_missed_image_does_not():
    motion, h, a = Motion(ToyWorld(), PlanarWatch(ToyWorld())), torch.zeros(1), torch.tensor([0.5, 0.0])
    motion.observe(torch.zeros(2), h, None, 0)
    due = motion.observe(torch.tensor([0.1, 0.0]), h, a, 2)  # two steps at once
    assert set(due) == {2} and due[2][0] == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    assert due[2][1] == pytest.approx([1.0, 0.25, 0.0, 0.0, 0.0]) and not due[2][2]
    assert motion.observe(torch.zeros(2), h, None, -1) == {}


def test_what_came_close_to_something_is_judged_by_levels_of_its_own():
    normal = Normal.from_card(
        {"calibration": {"vigilance": VIGILANCE | {"levels": {"motion": [3, 6], "close": [9, 12]}}}}
    )
    residual, drive = np.array([0.04, 0.0, 0.0]), np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    assert normal.motion_of({1: (residual, drive, True)}) == {"motion": 0.0, "close": pytest.approx(4.0)}
    assert normal.motion_of({1: (residual, drive, False)}) == {"motion": pytest.approx(4.0), "close": 0.0}
    one = Normal.from_card({"calibration": {"vigilance": VIGILANCE}})  # a card that knows no such places
    assert one.motion_of({1: (residual, drive, True)}) == {"motion": pytest.approx(4.0)}


def test_a_prediction_is_close_if_the_robot_was_at_any_time_on_its_way():
    motion, h, a = Motion(ToyWorld(), PlanarWatch(ToyWorld())), torch.zeros(1), torch.tensor([0.5, 0.0])
    found = [
        motion.observe(torch.tensor([0.05 * k, 0.0]), h, a if k else None, int(k > 0), close=k == 2) for k in range(5)
    ]
    assert {span: due[2] for span, due in found[1].items()} == {1: False}
    assert {span: due[2] for span, due in found[4].items()} == {1: False, 2: True, 3: True, 4: True}


def test_what_comes_of_a_touch_that_the_bumper_told_is_no_surprise():
    planner, place = planner_with(), np.zeros(2)
    for k, reason in enumerate(("", "", "contact")):  # sent on, held back
        told = planner.step(place, 0.2 * k, np.array([0.4, 0.0]), gate_reason=reason).signals["surprise"]
        assert told < 0.01 if reason or not k else told > 1.0


def test_the_gate_watches_what_a_card_has_levels_for():
    def card(*names):
        return {"calibration": {"vigilance": {"levels": {name: [1.0, 2.0] for name in names}}}}

    assert watched(None) == watched({}) == watched({"calibration": {}}) == {}
    assert watched(card("motion")) == {"surprise": LEVELS}
    assert watched(card("motion", "familiar")) == {"surprise": LEVELS, "novelty": LEVELS}
    config = GateConfig.from_contract(load_contract("arena"), **watched(card("motion", "familiar")))
    assert config.needs_signals and config.surprise == LEVELS


def test_a_scene_map_sees_each_patch_by_itself():
    head = PictureMaps(8)
    head.weight.copy_(torch.randn(8, 3, PATCH, PATCH, generator=torch.Generator().manual_seed(0)))
    images = torch.full((2, 32, 32, 3), 100, dtype=torch.uint8)
    images[1, 8:12, 20:24] = 180  # row 2, column 5
    change = (head(images)[1] - head(images)[0]).abs().sum(0)
    assert change.nonzero().tolist() == [[2, 5]]
    flat = torch.einsum("bvij,cv->bcij", patches(images), head.weight.flatten(1))
    torch.testing.assert_close(flat, head(images), rtol=1e-4, atol=1e-4)  # what is fitted on is what is applied


def test_a_latent_that_breaks_the_prediction_is_told_as_not_a_number():
    planner = planner_with()
    planner.step(np.zeros(2), 0.0)
    planner.model.poison = lambda z: torch.ones(len(z), dtype=torch.bool)
    assert np.isnan(planner.step(np.zeros(2), 0.2, np.zeros(2)).signals["surprise"])  # the gate stops on this


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"levels": {"motion": [3.0, 2.0]}}, "slow < stop"),
        ({"motion": {"1": {}}}, "precision"),
        ({"mean": "x"}, "float"),
    ],
)
def test_a_card_with_vigilance_that_cannot_be_used_is_refused(change, said):
    with pytest.raises(JepaRosError, match=said):
        Normal.from_card({"calibration": {"vigilance": VIGILANCE | change}})
    assert Normal.from_card({"calibration": {}}) is None and Normal.from_card(None) is None


def test_the_scale_is_one_at_the_slow_and_two_at_the_stop_level():
    assert [on_scale(v, (4.0, 10.0)) for v in (0.0, 2.0, 4.0, 7.0, 10.0, 16.0)] == [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]
    assert np.isnan(on_scale(np.nan, (4.0, 10.0)))


# ------------------------------------------------------------ the scene

ROBOT = np.array([3.0, 3.0])


def shots(rng, n, blob=None):
    """Scene maps (n, 2, 16, 16): a pattern, noise of 1, and the robot's trace about its cell."""
    pattern = 30.0 * np.random.default_rng(1).normal(size=(2, 16, 16))
    found = np.tile(pattern, (n, 1, 1, 1)) + rng.normal(size=(n, 2, 16, 16))
    found[:, :, 1:6, 1:6] += 50.0 * rng.normal(size=(n, 2, 5, 5))  # whatever the robot does there
    if blob is not None:
        found[:, :, blob[0] : blob[0] + 3, blob[1] : blob[1] + 3] += 40.0
    return found


def test_what_appears_away_from_the_robot_is_seen_at_once_and_believed_after_a_while():
    rng = np.random.default_rng(0)
    memory = PictureMemory([100.0] * 8 + [4.5], level=3.0)
    quiet = [memory.observe(s, ROBOT, 0.2) for s in shots(rng, 30)]
    assert quiet[0] == 0.0 and max(quiet[5:]) < 1.5
    seen = [memory.observe(s, ROBOT, 0.2) for s in shots(rng, 80, blob=(10, 10))]
    until = round(ACCEPT / 0.2)
    assert min(seen[: until - 1]) > 3.0  # from the first picture on, for as long as it is not believed
    assert max(seen[until + 5 :]) < 1.5


def test_what_the_robot_does_at_its_place_is_no_change_and_a_place_is_known_once_it_has_left():
    rng = np.random.default_rng(0)
    memory = PictureMemory([100.0] * 8 + [1.5])
    for s in shots(rng, 5):
        memory.observe(s, ROBOT, 0.2)
    change, distance = memory.compare(shots(rng, 1)[0], ROBOT)
    assert np.isnan(change[3, 3]) and distance[3, 3] == 0.0 and np.isfinite(change[12, 12])


# ------------------------------------------------------------ learning it


def test_levels_keep_to_the_stated_rate():
    """Episodes whose maxima have an exponential tail: the level is exceeded as often as stated, within sampling."""
    rng = np.random.default_rng(0)
    hours, rates, seen = 0.01, (0.5, 0.05), []
    for _ in range(200):
        slow, stop = fit.levels_of(5.0 + rng.exponential(size=128), hours, rates)
        assert slow < stop
        seen.append([np.exp(-(slow - 5.0)) / hours, np.exp(-(stop - 5.0)) / hours])  # true rates of exceeding
    assert np.median(seen, axis=0) == pytest.approx(rates, rel=0.3)


def test_a_few_episodes_in_which_something_was_touched_do_not_set_the_levels():
    rng = np.random.default_rng(0)
    quiet = 1.0 + 0.1 * rng.exponential(size=120)
    slow, _ = fit.levels_of(np.concatenate([quiet, [6.0, 7.0, 8.0]]), 0.005, (0.5, 0.05))
    assert slow < 2.0


def moving_square(rng, steps=24, size=32):
    """An episode of a bright square that goes where it is told over a floor whose colour is the episode's."""
    floor = rng.integers(60, 200, 3)
    images = np.clip(floor + rng.normal(0, 2, (steps, size, size, 3)), 0, 255).astype(np.uint8)
    actions = np.clip(rng.normal(0, 0.5, (steps, 2)), -1, 1)
    place = np.array([0.0, 0.0])
    poses = np.zeros((steps, 3), np.float32)
    for t in range(steps):
        poses[t, :2] = place
        x, y = ((place + 1.0) / 2.0 * (size - 4)).astype(int)
        images[t, size - 4 - y : size - y, x : x + 4] = 250
        place = np.clip(place + 0.05 * actions[t], -0.9, 0.9)
    return images, actions, poses


def small_data(folder, episodes=16):
    contract = load_contract("arena")
    described = contract.to_dict()
    described["cameras"][0]["size"] = 32
    contract = RobotContract.from_dict(described)
    rng, found = np.random.default_rng(0), []
    for n in range(episodes):
        images, actions, poses = moving_square(rng)
        physical = contract.denormalise(actions).astype(np.float32)
        found.append(Episode(images, physical, physical, poses, np.zeros(len(images), bool), n + 1))
    writer = DatasetWriter(folder, contract, {"source": "test"})
    writer.begin()
    writer.write_shard(0, found)
    writer.finish()
    return Dataset(folder)


def packed(model, images):
    return model.pack(model.encode({"image": images}))


def test_surprise_is_fitted_on_any_model_and_runs_in_the_planner(tmp_path):
    torch.manual_seed(0)
    data = small_data(tmp_path / "data")
    model = WorldModel(
        ModelConfig(cameras=(("image", 32, 32),), latent_dim=16, width=32, encoder_width=12,
                    readouts=("pose", "contact", "distance"), context=(map_part(8, (-1.0, -1.0, 1.0, 1.0)),))
    ).eval().requires_grad_(False)  # fmt: skip
    before = packed(model, torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    card = fit.fit_alarms(model, data, np.arange(12), np.arange(12, 16), lambda *a: None)
    assert set(card["levels"]) == {"motion", "scene", "familiar"}
    after = packed(model, torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    config = model.config
    assert after.shape == (1, config.embedding_dim) and part_of(config, "scene").shape[0] == fit.CHANNELS
    torch.testing.assert_close(after[:, : 16 + 64], before[:, : 16 + 64])  # what was there stays as it was
    assert read_part(config, after.numpy(), "scene").shape == (1, fit.CHANNELS, 8, 8)
    latents = torch.cat([after[:, :16], 100.0 + after[:, :16]])
    assert "novelty" in model.readouts and float(model.read("novelty", latents)[1]) > 1.0  # a guardrail may ask
    again = WorldModel(ModelConfig.from_dict(config.to_dict()))
    again.load_state_dict(model.state_dict())  # as a checkpoint is read
    planner = Planner(model, data.contract, PlannerConfig(SearchConfig(deadline=10.0, samples=16)),
                      {"calibration": {"vigilance": card}})  # fmt: skip

    def signals(images, first):
        found = []
        for t, image in enumerate(images):
            embedding = packed(model, torch.from_numpy(image[None])).numpy()
            found.append(planner.step(embedding, 0.2 * (first + t), np.zeros(2)).signals)
        return found

    images, _, _ = moving_square(np.random.default_rng(5))
    assert set(signals(images[:4], 0)[-1]) >= {"surprise", "surprise/motion", "surprise/scene", "novelty"}
    covered = signals(np.full_like(images[:2], 20), 4)
    assert covered[0]["surprise/scene"] > 2.0 and covered[0]["surprise"] > 2.0


# ------------------------------------------------------------ the benchmark


def test_drives_are_numbered_from_the_first_that_was_asked_for(monkeypatch):
    bench, asked = vigilance_bench, []

    def played(pool, log, jobs):
        asked.extend(number for _, number, _ in jobs)
        return [Drive(case, number, felt=1.0 if number % 2 else 0.0) for case, number, _ in jobs]

    monkeypatch.setattr(bench, "played", played)
    found = bench.enough(None, None, "wheel", 3, 1000)
    assert [d.number for d in found] == [1001, 1003, 1005] and asked == list(range(1000, 1006))


def test_alarms_begin_rise_and_begin_again_after_a_quiet_while():
    alarms = Alarms(0.1)
    slow, stop, calm = ("LIMITED", "surprise"), ("STOPPED", "novelty"), ("LIMITED", "velocity_limit")

    def step(begun, *ticks):
        modes, reasons = zip(*ticks, strict=True)
        alarms.take(begun, SimpleNamespace(modes=modes, reasons=reasons))

    step(1.0, calm, slow)
    step(1.2, slow, stop)
    step(2.0, stop, calm)  # the same one goes on
    step(5.0, slow, slow)
    found = [(round(a.time, 3), a.reason, a.stage, a.begins) for a in alarms.alarms]
    assert found == [(1.1, "surprise", 1, True), (1.3, "novelty", 2, False), (5.0, "surprise", 1, True)]


def test_delays_count_from_the_fault_and_by_stage():
    drive = Drive(
        "box",
        0,
        10.0,
        fault=5.0,
        alarms=[Alarm(2.0, "surprise", 2), Alarm(5.4, "surprise", 1), Alarm(5.6, "novelty", 2)],
    )
    assert drive.delay() == pytest.approx(0.4) and drive.delay(2) == pytest.approx(0.6)
    assert Drive("box", 0, 10.0, fault=5.0).delay() == np.inf
