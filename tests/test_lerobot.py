# SPDX-License-Identifier: Apache-2.0
"""LeRobot sets: what goes out comes back, the official reader reads ours, we read theirs, and mistakes are one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import official_lerobot
import pytest
import yaml

from jepa_ros.bags.lerobot import LeRobotError
from jepa_ros.bags.lerobot.exporter import write
from jepa_ros.bags.lerobot.importer import read
from jepa_ros.bags.lerobot.layout import LeRobotSet
from jepa_ros.commands.cli import main
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import Episode
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros_sim.arena import ArenaSim

TWO_CAMERAS = """
contract: 2
name: two
description: two cameras and what the wheels measure
rate: 5.0
kinematics: {kind: holonomic}
footprint: {kind: circle, radius: 0.1}
cameras:
  - {name: image, width: 128, height: 128, rate: 10.0, size: 64}
  - {name: side, width: 64, height: 64, rate: 10.0, size: 32, model: true}
action:
  - {name: linear.x, unit: m/s, low: -3.0, high: 3.0}
  - {name: linear.y, unit: m/s, low: -3.0, high: 3.0}
command: {kind: twist, topic: cmd_vel}
state:
  odom: {topic: odom, model: true}
limits:
  velocity: {linear.x: 3.0, linear.y: 3.0}
  acceleration: {linear.x: 3.0, linear.y: 3.0}
  braking: {linear.x: 3.0, linear.y: 3.0}
"""
NAMES = """
action: {linear.x: "action[linear.x]", linear.y: "action[1]"}
state: {odom: {linear.x: "observation.state[vx]", linear.y: {from: "observation.state[vy]", scale: 0.5, offset: 1.0}}}
"""
LENGTHS, TASKS = (24, 31, 22), ["to the door", "to the wall", "to the door"]


def pictures(count: int, size: int) -> np.ndarray:
    """Views of the simulated arena with the robot on its way, (count, size, size, 3) uint8."""
    import cv2

    sim = ArenaSim(load_contract("arena"))
    try:
        seen = [sim.image_at((0.6 * np.cos(k / 9), 0.6 * np.sin(k / 9), k / 5)) for k in range(count)]
    finally:
        sim.close()
    return np.stack([cv2.resize(p, (size, size), interpolation=cv2.INTER_AREA) for p in seen])


@pytest.fixture(scope="module")
def contract() -> RobotContract:
    return RobotContract.from_dict(yaml.safe_load(TWO_CAMERAS))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, contract) -> Path:
    folder = tmp_path_factory.mktemp("lerobot") / "data"
    rng, big, small = np.random.default_rng(0), pictures(max(LENGTHS), 64), pictures(max(LENGTHS), 32)
    writer = DatasetWriter(folder, contract, {"source": "test"})
    writer.begin()
    for shard, lengths in enumerate((LENGTHS[:2], LENGTHS[2:])):
        episodes = [
            Episode(
                big[:n], rng.normal(size=(n, 2)).astype(np.float32), rng.normal(size=(n, 2)).astype(np.float32),
                rng.normal(size=(n, 3)).astype(np.float32), rng.random(n) < 0.2, 7 + n,
                {"images_side": small[:n], "state_odom": rng.normal(size=(n, 2)).astype(np.float32)},
            )
            for n in lengths
        ]  # fmt: skip
        writer.write_shard(shard, episodes)
    writer.finish({"episode_tasks": TASKS})
    return folder


@pytest.fixture(scope="module")
def official() -> Path:
    python = official_lerobot.environment()
    if python is None:
        pytest.skip("lerobot cannot be installed here")
    return python


@pytest.fixture(scope="module")
def foreign(official, tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """A set that the official writer made at 10 frames a second, and what it was given."""
    folder, rng = tmp_path_factory.mktemp("foreign"), np.random.default_rng(1)
    lengths = np.array([42, 45])
    given = {
        "pictures": pictures(lengths.sum(), 64), "lengths": lengths, "fps": np.array(10),
        "state": rng.normal(size=(lengths.sum(), 2)).astype(np.float32),
        "action": rng.normal(size=(lengths.sum(), 2)).astype(np.float32),
    }  # fmt: skip
    np.savez(folder / "given.npz", **given)
    official_lerobot.run(official, official_lerobot.WRITE, folder / "given.npz", folder / "set")
    return folder / "set", given


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255.0**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def exact(one: Dataset, other: Dataset, but: tuple[str, ...] = ()) -> None:
    assert set(one.arrays) == set(other.arrays)
    for name in set(one.arrays) - set(but):
        np.testing.assert_array_equal(np.concatenate(one.arrays[name]), np.concatenate(other.arrays[name]), name)
    np.testing.assert_array_equal(one.index[:, 2:], other.index[:, 2:])


def test_png_comes_back_bit_for_bit_with_tasks_and_layouts(dataset, contract, tmp_path):
    write(dataset, tmp_path / "set", video=False)
    report = read(tmp_path / "set", tmp_path / "back")
    back = Dataset(tmp_path / "back", contract)
    exact(Dataset(dataset), back)
    assert report["episode_tasks"] == TASKS
    assert report["notes"] == [] and back.contract.to_dict() == contract.to_dict()


def test_video_comes_back_with_40_db_and_the_rest_exactly(dataset, tmp_path):
    write(dataset, tmp_path / "set", video=True)
    read(tmp_path / "set", tmp_path / "back")
    before, back = Dataset(dataset), Dataset(tmp_path / "back")
    exact(before, back, but=("images", "images_side"))
    for name in ("images", "images_side"):
        worst = min(psnr(before.slice(name, e)[k], back.slice(name, e)[k]) for e in range(3) for k in range(LENGTHS[e]))
        assert worst >= 40.0, f"{name}: {worst:.1f} dB"


@pytest.mark.parametrize("video", [False, True], ids=["png", "video"])
def test_the_official_reader_reads_ours(official, dataset, tmp_path, video):
    write(dataset, tmp_path / "set", video=video)
    got = official_lerobot.read(official, tmp_path / "set", tmp_path / "got.npz")
    data = Dataset(dataset)
    assert (int(got["fps"]), int(got["episodes"])) == (5, 3)
    assert got["task"].tolist() == [t for t, n in zip(TASKS, LENGTHS, strict=True) for _ in range(n)]
    np.testing.assert_array_equal(got["action"], np.concatenate(data.arrays["actions"]))
    state = np.concatenate([np.concatenate(data.arrays[n]) for n in ("poses", "state_odom")], axis=1)
    np.testing.assert_array_equal(got["observation.state"], state)
    stamps = np.concatenate([np.arange(n) / 5 for n in LENGTHS]).astype(np.float32)
    np.testing.assert_array_equal(got["timestamp"], stamps)
    np.testing.assert_array_equal(got["complementary_info.contact"].ravel(), np.concatenate(data.arrays["contacts"]))
    np.testing.assert_allclose(got["stats/action/mean"], got["action"].mean(0), atol=1e-6)
    np.testing.assert_allclose(got["stats/action/std"], got["action"].astype(float).std(0), atol=1e-6)
    for feature, name in (("image", "images"), ("side", "images_side")):
        seen = np.round(got[f"observation.images.{feature}"].transpose(0, 2, 3, 1) * 255).astype(np.uint8)
        wanted = np.concatenate(data.arrays[name])
        if video:
            assert min(psnr(a, b) for a, b in zip(seen, wanted, strict=True)) >= 40.0
        else:
            np.testing.assert_array_equal(seen, wanted)


def test_a_set_of_the_official_writer_is_read_by_a_mapping(foreign, contract, tmp_path):
    folder, given = foreign
    (tmp_path / "two.yaml").write_text(TWO_CAMERAS)
    report = read(folder, tmp_path / "data", str(tmp_path / "two.yaml"), yaml.safe_load(NAMES))
    data = Dataset(tmp_path / "data", contract)
    assert (report["frames_a_step"], report["episode_tasks"]) == (2, ["push 42", "push 45"])
    assert data.index[:, 2].tolist() == [21, 22]  # of 42 and of 45 frames, two a step
    starts = [np.arange(0, 42, 2), 42 + np.arange(0, 44, 2)]
    for episode, first in enumerate(starts):
        mean = (given["action"][first] + given["action"][first + 1]) / 2
        np.testing.assert_allclose(data.slice("actions", episode), mean, atol=1e-6)
        np.testing.assert_array_equal(data.slice("images", episode), given["pictures"][first])
        state = data.slice("state_odom", episode)
        np.testing.assert_array_equal(state[:, 0], given["state"][first, 0])
        np.testing.assert_allclose(state[:, 1], given["state"][first, 1] * 0.5 + 1.0, rtol=1e-6)
        assert np.isnan(data.slice("poses", episode)).all()


def as_version_2(folder: Path, out: Path) -> None:
    """An exported set of one camera file an episode, in the places and files of version 2.1."""
    import pyarrow.parquet as parquet

    data = LeRobotSet(folder)
    info = json.loads((folder / "meta/info.json").read_text())
    place = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    info |= {"codebase_version": "v2.1", "data_path": place}
    (out / "meta").mkdir(parents=True)
    (out / "data/chunk-000").mkdir(parents=True)
    for e in data.episodes:
        rows = parquet.read_table(e.data, filters=[("episode_index", "=", e.index)])
        parquet.write_table(rows, out / f"data/chunk-000/episode_{e.index:06d}.parquet")
    lines = [json.dumps({"episode_index": e.index, "tasks": list(e.tasks), "length": e.length}) for e in data.episodes]
    (out / "meta/episodes.jsonl").write_text("\n".join(lines) + "\n")
    (out / "meta/info.json").write_text(json.dumps(info))
    shutil.copy(folder / "meta/jepa_ros.json", out / "meta")


def test_version_2_1_is_read_as_well(dataset, tmp_path):
    write(dataset, tmp_path / "set", video=False)
    as_version_2(tmp_path / "set", tmp_path / "old")
    read(tmp_path / "old", tmp_path / "back")
    exact(Dataset(dataset), Dataset(tmp_path / "back"))


def test_names_that_do_not_fit_ask_for_a_mapping_and_propose_one(dataset, tmp_path):
    write(dataset, tmp_path / "set", video=False)
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    info["features"]["action"]["names"] = ["vel_x", "vel_y"]
    (tmp_path / "set/meta/info.json").write_text(json.dumps(info))
    with pytest.raises(LeRobotError, match=r"linear\.x: no name linear\.x in action \(vel_x, vel_y\)") as refused:
        read(tmp_path / "set", tmp_path / "data")
    proposal = yaml.safe_load(str(refused.value).partition("--mapping FILE:\n")[2])
    assert proposal["action"] == {"linear.x": "action[vel_x]", "linear.y": "action[vel_y]"}
    assert proposal["cameras"]["side"] == "observation.images.side"
    read(tmp_path / "set", tmp_path / "data", mapping=proposal)  # this proposal happens to be right
    exact(Dataset(dataset), Dataset(tmp_path / "data"))


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"camera": {}}, r"camera: unknown key; did you mean 'cameras'"),
        ({"cameras": {"front": "observation.images.side"}}, r"cameras\.front: no such camera"),
        ({"cameras": {"side": "observation.images.sid"}}, r"no pictures 'observation\.images\.sid'"),
        ({"action": {"linear.z": "action[0]"}}, r"action\.linear\.z: unknown; did you mean"),
        ({"action": {"linear.x": "action[7]"}}, r"action has no '7'; it has linear\.x, linear\.y"),
        ({"action": {"linear.x": "acton[0]"}}, r"no numbers 'acton'; did you mean 'action'"),
        ({"action": {"linear.x": {"from": "action[0]", "scale": "deg"}}}, r"scale and offset: expected numbers"),
        ({"pose": {"z": "action[0]"}}, r"pose\.z: unknown; did you mean '[xy]'|pose\.z: unknown; expected x, y, yaw"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_mapping_is_named(dataset, tmp_path, mapping, said):
    write(dataset, tmp_path / "set", video=False)
    with pytest.raises(LeRobotError, match=said):
        read(tmp_path / "set", tmp_path / "data", mapping=mapping)


def spoil_video(folder: Path) -> None:
    shutil.rmtree(folder / "videos")


def cut_video(folder: Path) -> None:
    for path in folder.rglob("*.mp4"):
        path.write_bytes(path.read_bytes()[:2000])


def other_fps(folder: Path) -> None:
    path = folder / "meta/info.json"
    path.write_text(path.read_text().replace('"fps": 5', '"fps": 7'))


def wrong_fps(folder: Path) -> None:
    path = folder / "meta/info.json"
    path.write_text(path.read_text().replace('"fps": 5', '"fps": 10'))


def old_version(folder: Path) -> None:
    path = folder / "meta/info.json"
    path.write_text(path.read_text().replace("v3.0", "v1.6"))


def no_info(folder: Path) -> None:
    (folder / "meta/info.json").unlink()


def cut_table(folder: Path) -> None:
    for path in folder.glob("data/*/*.parquet"):
        path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_video, r"2 files that meta/ names are not there; fetch them:\n.*observation\.images\.image"),
        (cut_video, r"file-000\.mp4: cannot be decoded"),
        (other_fps, r"has 7 frames a second, and the contract 'two' a rate of 5 Hz.*one of 7, 3\.5"),
        (wrong_fps, r"frame 1 has the stamp 0\.2000 s, 10 frames a second put it at 0\.1000 s"),
        (old_version, r"codebase_version: 'v1\.6', expected one of v2\.0, v2\.1, v3\.0; convert it with lerobot"),
        (no_info, r"meta/info\.json: cannot be read.*is .* a LeRobot dataset"),
        (cut_table, r"file-000\.parquet: cannot be read"),
    ],
)
def test_a_broken_set_is_told_in_one_line(dataset, tmp_path, spoil, said):
    write(dataset, tmp_path / "set", video=True)
    spoil(tmp_path / "set")
    with pytest.raises(LeRobotError, match=said):
        read(tmp_path / "set", tmp_path / "data", min_length=5)


def test_a_video_that_ends_early_is_named_with_its_time(dataset, tmp_path):
    import pyarrow.parquet as parquet

    write(dataset, tmp_path / "set", video=True)
    path = tmp_path / "set/meta/episodes/chunk-000/file-000.parquet"
    rows = parquet.read_table(path).to_pylist()
    rows[2]["videos/observation.images.side/from_timestamp"] += 2.0  # later than the file is long, at its end
    import pyarrow as pa

    parquet.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(LeRobotError, match=r"observation\.images\.side.*no frame at 15\.400 s"):
        read(tmp_path / "set", tmp_path / "data")


def test_actions_in_another_unit_are_asked_about(dataset, tmp_path):
    write(dataset, tmp_path / "set", video=False)
    scaled = {"action": {"linear.x": {"from": "action[linear.x]", "scale": 57.3}}}
    (note,) = read(tmp_path / "set", tmp_path / "data", mapping=scaled)["notes"]
    assert note.startswith("action linear.x:") and "another unit" in note


def test_a_model_is_trained_from_an_imported_set_by_the_same_commands(dataset, tmp_path, capsys):
    folder = [str(tmp_path / name) for name in ("set", "data", "model")]
    assert main(["dataset", str(dataset), "--to", "lerobot", "--pictures", "video", "--out", folder[0]]) == 0
    assert main(["dataset", "--from", "lerobot", folder[0], "--out", folder[1], "--workers", "1"]) == 0
    assert "3 episodes, 77 steps of 1 frames" in capsys.readouterr().out
    steps = ["--steps", "4", "--readout-steps", "3", "--device", "cpu", "--threads", "1"]
    steps += ["--latent-dim", "16", "--encoder-width", "8", "--keypoints", "3"]
    assert main(["train", "--data", folder[1], "--out", folder[2], *steps]) == 0
    assert main(["check", "model", folder[2]]) == 0
    assert main(["dataset", "--from", "lerobot", folder[0], "--out", folder[1]]) == 0  # again: nothing is left to do


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "lerobot", "--to", "lerobot"], "at once"),
        (["--to", "lerobot", "--robot", "arena"], "--robot does nothing with --to lerobot"),
        (["--from", "lerobot", "--image", "x"], "--image is for bags"),
        (["--pictures", "png"], "--pictures is for --to lerobot"),
        (["--mapping", "m.yaml"], "--mapping is for --from lerobot"),
    ],
)
def test_an_option_of_another_direction_is_refused(tmp_path, capsys, arguments, said):
    assert main(["dataset", "somewhere", "--out", str(tmp_path / "x"), *arguments]) == 2
    assert said in capsys.readouterr().err
