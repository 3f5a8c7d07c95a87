# SPDX-License-Identifier: Apache-2.0
"""Bags become datasets: the steps that the planner took, what was executed in them, and cuts where they belong."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bag_helpers import write_bag
from drive_bag import Drive, picture, write_drive

from jepa_ros.bags import BagError
from jepa_ros.bags.dataset import build, from_bags
from jepa_ros.bags.dataset import command as dataset
from jepa_ros.bags.dataset.segments import CutSettings
from jepa_ros.bags.dataset.series import resolve_topics
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.replay.read import read_recording
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.errors import JepaRosError
from jepa_ros.learning.data import shards
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import input_arrays
from jepa_ros.learning.data.storage import DatasetError
from jepa_ros.perception.preprocess import model_input

ARENA = load_contract("arena")
SHORT = CutSettings(min_length=5)


def made(tmp_path: Path, drive: Drive | None = None, **options) -> tuple[Dataset, dict]:
    write_drive(tmp_path / "bag", drive)
    report = build([tmp_path / "bag"], tmp_path / "data", settings=options.pop("settings", SHORT), **options)
    return Dataset(tmp_path / "data", ARENA), report["bags"][str(tmp_path / "bag")]


def first_step(data: Dataset, episode: int) -> float:
    """When an episode begins, in s of the drive, from the number in its first picture."""
    red, green, _ = data.slice("images", episode)[0, 32, 32]
    return (int(red) + 256 * int(green)) / 10.0


def test_the_steps_of_a_drive_are_on_the_contracts_clock(tmp_path):
    drive = Drive()
    data, report = made(tmp_path, drive)
    assert len(data) == 1 and report["dropped"] == {}
    images = data.slice("images", 0)
    steps = len(images)
    assert steps == 59  # 12 s at 5 Hz, the last image ends the last step
    for k in (0, 1, 30, steps - 1):
        assert (images[k] == model_input(picture(2 * k), ARENA.cameras[0])).all()
    ticks = np.array([[drive.velocity(k * 0.2 + j * 0.02) for j in range(10)] for k in range(steps)])
    np.testing.assert_allclose(data.slice("actions", 0), ticks.mean(1), atol=1e-6)
    np.testing.assert_allclose(data.slice("commands", 0), np.full((steps, 2), 0.5))
    np.testing.assert_allclose(data.slice("poses", 0), [drive.pose(k * 0.2) for k in range(steps)], atol=1e-6)
    assert np.flatnonzero(data.slice("contacts", 0)).tolist() == [30, 31]


def test_the_camera_that_begins_steps_is_the_models_first_and_not_the_robots(tmp_path):
    """A replay takes the same one."""
    plain = ARENA.to_dict()
    first = plain["cameras"][0]
    eye = {**first, "name": "eye", "topic": "image", "model": True}
    plain["cameras"] = [{**first, "topic": "ceiling", "model": False}, eye]
    contract = RobotContract.from_dict(plain)
    write_drive(tmp_path / "bag", Drive(contract=False))
    (tmp_path / "robot.yaml").write_text(json.dumps(plain))
    build([tmp_path / "bag"], tmp_path / "data", str(tmp_path / "robot.yaml"), settings=SHORT)
    images = Dataset(tmp_path / "data", contract).slice("images", 0)
    assert len(images) == 59 and (images[30] == model_input(picture(60), contract.step_camera)).all()
    assert input_arrays(contract) == {"eye": "images"}
    with BagReader(tmp_path / "bag") as reader:
        assert read_recording(reader, contract).image_topic == resolve_topics(reader, contract).image == "/image"


def test_a_camera_whose_rate_is_no_multiple_of_the_control_rate_loses_no_steps(tmp_path):
    plain = ARENA.to_dict()
    plain["cameras"][0]["rate"] = 24.0
    robot = tmp_path / "robot.yaml"
    robot.write_text(json.dumps(plain))
    write_drive(tmp_path / "bag", Drive(camera_rate=24.0))
    report = build([tmp_path / "bag"], tmp_path / "data", str(robot), settings=SHORT)
    (entry,) = report["bags"].values()
    assert entry["dropped"] == {} and entry["kept"] == entry["steps"] >= 58


def test_episodes_share_a_layout_until_the_robot_may_have_been_moved(tmp_path):
    def mode(t: float) -> str:
        return "STOPPED" if 3.0 <= t < 3.5 else "DISABLED" if 7.0 <= t < 7.5 else "ACTIVE"

    bags = [tmp_path / "one", tmp_path / "two"]
    for bag in bags:
        write_drive(bag, Drive(mode=mode))
    build(list(bags), tmp_path / "data", settings=SHORT)
    assert Dataset(tmp_path / "data").index[:, 3].tolist() == [1, 1, 2, 3, 3, 4]
    build(list(bags), tmp_path / "static", settings=replace(SHORT, static=True))
    assert set(Dataset(tmp_path / "static").index[:, 3].tolist()) == {0}


def test_an_unstamped_command_is_placed_by_the_gates_state(tmp_path):
    drive = Drive(twist=True)
    data, _ = made(tmp_path, drive)
    ticks = np.array([[drive.velocity(k * 0.2 + j * 0.02) for j in range(10)] for k in range(59)])
    np.testing.assert_allclose(data.slice("actions", 0), ticks.mean(1), atol=2e-3)


def test_a_fast_camera_gives_the_same_steps(tmp_path):
    faster = ARENA.to_dict()
    faster["cameras"][0]["rate"] = 30.0
    (tmp_path / "faster.yaml").write_text(json.dumps(faster))
    data, _ = made(tmp_path, Drive(camera_rate=30.0), robot=str(tmp_path / "faster.yaml"))
    red, green, _ = data.slice("images", 0)[10, 32, 32]
    assert int(red) + 256 * int(green) == 60 and data.index[0, 2] == 59


@pytest.mark.parametrize(
    ("change", "reason", "episodes"),
    [
        ({"silent": {"/image": (4.0, 5.0)}}, "image gap", 2),
        ({"silent": {"/cmd_vel": (4.0, 5.0)}}, "no command", 2),
        ({"silent": {"/pose": (4.0, 6.0)}}, "no pose", 2),
        ({"silent": {"/safety_gate/state": (4.0, 5.0)}}, "no gate state", 2),
        ({"mode": lambda t: "STOPPED" if 4.0 <= t < 5.0 else "LIMITED"}, "gate STOPPED", 2),
        ({"mode": lambda t: "ARMING" if t < 4.0 else "ACTIVE"}, "gate ARMING", 1),
        ({"stamp": lambda t: t + (100.0 if t >= 5.0 else 0.0)}, "time jump", 2),
        ({"stamp": lambda t: t - (3.0 if t >= 5.0 else 0.0)}, "time jump", 2),
        ({"pose": lambda t: (0.1 * t + (0.7 if t >= 5.0 else 0.0), 0.0, 0.0)}, "carried or reset", 2),
        ({"velocity": lambda t: (0.0, 0.0) if 4.0 <= t < 8.0 else (0.2, 0.1)}, "standing still", 2),
        ({"velocity": lambda t: (math.nan if 4.0 <= t < 4.1 else 0.2, 0.1)}, "no command", 2),
    ],
)
def test_episodes_are_cut_and_the_reason_is_reported(tmp_path, change, reason, episodes):
    data, report = made(tmp_path, Drive(**change))
    assert list(report["dropped"]) == [reason]
    assert len(data) == episodes
    where = report["dropped"][reason]["at"][0]
    assert 3.5 < where < 5.3 or "ARMING" in reason
    for episode in range(len(data)):  # nothing that was dropped stands in an episode
        begin = first_step(data, episode)
        end = begin + 0.2 * (data.index[episode, 2] - 1)
        assert end < where + 0.21 or begin > where - 0.05
        assert np.isfinite(data.slice("poses", episode)).all()


@pytest.mark.parametrize("reason", ["contact", "obstacle", "region"])
def test_what_the_gate_stopped_for_something_in_the_way_is_kept_as_it_was_executed(tmp_path, reason):
    """As direct collection keeps it: a model that is to know what a contact is must have touched something."""
    held = lambda t: 4.0 <= t < 5.0  # noqa: E731
    data, report = made(
        tmp_path,
        Drive(
            mode=lambda t: "STOPPED" if held(t) else "ACTIVE",
            reason=reason,
            velocity=lambda t: (0.0, 0.0) if held(t) else (0.2, 0.1),
        ),
    )
    assert report["dropped"] == {} and len(data) == 1
    assert (np.abs(data.slice("actions", 0)).max(1) == 0.0).sum() == 5


def test_images_that_came_out_of_order_are_left_out_and_told(tmp_path):
    """Twice everything carries stamps of 0.15 s before for a tenth of a second."""
    data, report = made(tmp_path, Drive(stamp=lambda t: t - (0.15 if round(t * 10) in (45, 85) else 0.0)))
    assert report["dropped"]["image out of order"]["count"] == 2
    assert (np.diff([first_step(data, episode) for episode in range(len(data))]) > 0).all() and report["kept"] > 45


def test_a_short_standstill_is_kept(tmp_path):
    data, report = made(tmp_path, Drive(velocity=lambda t: (0.0, 0.0) if 4.0 <= t < 5.0 else (0.2, 0.1)))
    assert len(data) == 1 and report["dropped"] == {}


def test_episodes_that_are_too_short_are_counted(tmp_path):
    drive = Drive(silent={"/image": (1.0, 2.0)})
    data, report = made(tmp_path, drive, settings=CutSettings(min_length=20))
    assert len(data) == 1
    assert report["dropped"]["episode shorter than 20 steps"]["count"] == 4


def test_long_drives_are_cut_into_pieces_without_loss(tmp_path):
    data, report = made(tmp_path, None, settings=CutSettings(min_length=5, max_length=20))
    assert [int(n) for n in data.index[:, 2]] == [20, 19, 20] and report["kept"] == 59


def test_a_bag_without_bumper_localisation_and_gate_says_so(tmp_path):
    silent = dict.fromkeys(("/pose", "/contact", "/safety_gate/state"), (0.0, math.inf))
    data, report = made(tmp_path, Drive(silent=silent))
    assert np.isnan(data.slice("poses", 0)).all() and not data.slice("contacts", 0).any()
    assert len(report["notes"]) == 3


@pytest.mark.parametrize("encoding", ["mono8", "bgr8"])
def test_other_encodings_are_converted_as_live(tmp_path, encoding):
    data, _ = made(tmp_path, Drive(encoding=encoding))
    shown = picture(20)[:, :, :1] if encoding == "mono8" else picture(20)
    assert (data.slice("images", 0)[10] == model_input(shown, ARENA.cameras[0], encoding)).all()


def test_several_processes_and_a_resumed_run_give_the_same_data(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_STEPS", 15)
    monkeypatch.setattr(from_bags, "WORTH_PROCESSES", 2)
    write_drive(tmp_path / "bag")
    cut = CutSettings(min_length=5, max_length=15)
    build([tmp_path / "bag"], tmp_path / "one", settings=cut)
    build([tmp_path / "bag"], tmp_path / "two", settings=cut, workers=2)

    def interrupted(done, of):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build([tmp_path / "bag"], tmp_path / "three", settings=cut, progress=interrupted)
    with pytest.raises(DatasetError, match="being written"):
        Dataset(tmp_path / "three", ARENA)
    told = []
    build([tmp_path / "bag"], tmp_path / "three", settings=cut, progress=lambda *shards: told.append(shards))
    assert told == [(3, 3)]  # nothing was done twice
    one, *others = (Dataset(tmp_path / name, ARENA) for name in ("one", "two", "three"))
    for other in others:
        assert (one.index == other.index).all()
        for name in ("images", "actions", "commands", "poses", "contacts"):
            for episode in range(len(one)):
                assert (one.slice(name, episode) == other.slice(name, episode)).all()


def test_several_bags_become_one_dataset(tmp_path):
    write_drive(tmp_path / "a")
    write_drive(tmp_path / "b", Drive(seconds=6.0))
    report = build([tmp_path / "a", tmp_path / "b"], tmp_path / "data", settings=SHORT)
    assert report["episodes"] == len(Dataset(tmp_path / "data", ARENA)) == 2 and report["steps"] == 59 + 29


def test_a_bag_that_was_cut_by_a_kill_is_used_and_its_problem_reported(tmp_path):
    write_drive(tmp_path / "bag")
    file = tmp_path / "bag/bag_0.mcap"
    with BagReader(tmp_path / "bag") as reader:
        last = reader.files[0].scan.chunks[-1].index.chunk_start_offset
    file.write_bytes(file.read_bytes()[: last + 50])
    report = build([tmp_path / "bag"], tmp_path / "data", settings=SHORT)
    assert report["episodes"] >= 0 and "byte" in report["bags"][str(tmp_path / "bag")]["problems"][0]


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        (write_bag, {"robot": "arena"}, r"/cmd_vel.*in this bag; it has /a \(std_msgs/msg/String\)"),
        (write_bag, {}, "no robot contract in this bag"),
        (write_drive, {"topics": {"image": "/front"}}, "no topic /front in this bag"),
        (write_drive, {"topics": {"image": "/pose"}}, "/pose is geometry_msgs.*expected sensor_msgs/msg/Image"),
        (write_drive, {"namespace": "robot1"}, "no topic /robot1/image in this bag"),
        (lambda path: write_drive(path, Drive(seconds=0.7)), {}, "no episode of 5 steps"),
        (lambda path: write_drive(path, Drive(encoding="16UC1")), {}, "image encoding '16UC1' is not supported"),
        (lambda path: write_drive(path, Drive(seconds=0.0)), {}, "the bag has no messages"),
    ],
)
def test_what_cannot_become_a_dataset_says_why(tmp_path, make, options, says):
    make(tmp_path / "bag")
    with pytest.raises(JepaRosError, match=says):
        build([tmp_path / "bag"], tmp_path / "data", settings=SHORT, **options)
    with pytest.raises(DatasetError):  # nothing is left that looks whole
        Dataset(tmp_path / "data", ARENA)


def test_a_contract_that_differs_from_the_bags_is_refused_with_the_difference(tmp_path):
    write_drive(tmp_path / "bag")
    other = ARENA.to_dict()
    other["rate"], other["action"][0]["high"] = 4.0, 0.3
    (tmp_path / "other.yaml").write_text(json.dumps(other))
    with pytest.raises(BagError, match=r"rate: 4.0 != 5.0") as caught:
        build([tmp_path / "bag"], tmp_path / "data", str(tmp_path / "other.yaml"), settings=SHORT)
    assert "action[0].high: 0.3 != 0.4" in str(caught.value)


def test_the_command_prints_what_was_dropped(tmp_path, capsys):
    write_drive(tmp_path / "bag", replace(Drive(), silent={"/image": (4.0, 5.0)}))
    parser = argparse.ArgumentParser()
    dataset.add_arguments(parser)
    words = [str(tmp_path / "bag"), "--out", str(tmp_path / "data"), "--min-length", "5", "--workers", "1"]
    args = parser.parse_args(words)
    assert dataset.main(args) == 0
    out = capsys.readouterr().out
    assert "2 episodes" in out and "image gap  (at 3.8 s)" in out
