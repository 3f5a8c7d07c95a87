# SPDX-License-Identifier: Apache-2.0
"""Datasets: whole or refused, resumed, and never of another contract."""

import json

import numpy as np
import pytest

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import Episode
from jepa_ros.learning.data.sampler import BatchShape, WindowSampler
from jepa_ros.learning.data.storage import DatasetError
from jepa_ros.learning.data.writer import DatasetWriter


def episode(length=20, seed=0, layout=0):
    rng = np.random.default_rng(seed)
    return Episode(
        images=rng.integers(0, 255, (length, 64, 64, 3), dtype=np.uint8),
        actions=rng.uniform(-0.4, 0.4, (length, 2)).astype(np.float32),
        commands=np.zeros((length, 2), np.float32),
        poses=rng.normal(size=(length, 3)).astype(np.float32),
        contacts=np.zeros(length, bool),
        layout=layout,
    )


def write(folder, episodes, contract=None, settings=None):
    writer = DatasetWriter(folder, contract or load_contract("arena"), settings or {"seed": 0})
    writer.begin()
    for i, group in enumerate(episodes):
        writer.write_shard(i, group)
    writer.finish()
    return writer


def test_what_is_written_is_read(tmp_path):
    groups = [[episode(20, 1, 5), episode(30, 2, 6)], [episode(25, 3, 7)]]
    write(tmp_path / "d", groups)
    data = Dataset(tmp_path / "d", load_contract("arena"))
    assert (len(data), data.steps) == (3, 75)
    np.testing.assert_array_equal(data.slice("images", 1), groups[0][1].images)
    np.testing.assert_array_equal(data.slice("actions", 2, 5, 4), groups[1][0].actions[5:9])
    assert isinstance(data.arrays["images"][0], np.memmap)


def test_the_same_settings_resume_and_others_are_refused(tmp_path):
    writer = write(tmp_path / "d", [[episode()]])
    assert DatasetWriter(tmp_path / "d", load_contract("arena"), {"seed": 0}).has_shard(0)
    assert not writer.has_shard(1)
    with pytest.raises(DatasetError, match=r"other settings \(seed\)"):
        DatasetWriter(tmp_path / "d", load_contract("arena"), {"seed": 1})


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DatasetError, match="is not a dataset"):
        DatasetWriter(tmp_path, load_contract("arena"), {})


def test_data_of_another_contract_is_refused_with_the_difference(tmp_path):
    write(tmp_path / "d", [[episode()]])
    data = load_contract("arena").to_dict()
    data["rate"] = 10.0
    with pytest.raises(DatasetError, match=r"rate: 5.0 != 10.0"):
        Dataset(tmp_path / "d", RobotContract.from_dict(data))


def test_a_dataset_that_is_being_written_is_refused(tmp_path):
    writer = write(tmp_path / "d", [[episode()]])
    writer.begin()
    with pytest.raises(DatasetError, match="is being written"):
        Dataset(tmp_path / "d")


def test_leftovers_of_a_kill_are_cleared_and_not_read(tmp_path):
    writer = write(tmp_path / "d", [[episode()]])
    (tmp_path / "d" / "shard_00001.partial99").mkdir()
    assert len(Dataset(tmp_path / "d")) == 1
    writer.begin()
    assert not (tmp_path / "d" / "shard_00001.partial99").exists()


def test_short_episodes_are_refused_before_training(tmp_path):
    write(tmp_path / "d", [[episode(20), episode(5)]])
    with pytest.raises(DatasetError, match="1 of 2 episodes are shorter than the 14 steps"):
        Dataset(tmp_path / "d", min_length=14)


@pytest.mark.parametrize("name", ["actions", "commands"])
def test_actions_that_are_not_finite_are_refused_when_written(tmp_path, name):
    bad = episode()
    getattr(bad, name)[7, 1] = np.nan
    with pytest.raises(DatasetError, match=f"{name} hold values that are not finite at step 7"):
        write(tmp_path / "d", [[bad]])


def test_frames_of_another_size_are_refused(tmp_path):
    bad = episode()
    bad.images = bad.images[:, :32, :32]
    with pytest.raises(DatasetError, match=r"expected \(20, 64, 64, 3\)"):
        write(tmp_path / "d", [[bad]])


def test_damage_on_disk_is_named(tmp_path):
    write(tmp_path / "d", [[episode()]])
    path = tmp_path / "d" / "shard_00000" / "images.npy"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DatasetError, match=r"images\.npy: cannot be read"):
        Dataset(tmp_path / "d")


def test_no_layout_is_in_both_parts_of_a_split(tmp_path):
    write(tmp_path / "d", [[episode(15, i, layout=i // 2) for i in range(60)]])
    data = Dataset(tmp_path / "d")
    training, validation = data.split(0.2, seed=3)
    assert sorted([*training, *validation]) == list(range(60))
    layouts = data.index[:, 3]
    assert len(validation) >= 8
    assert not (set(layouts[training]) & set(layouts[validation])) - {0}


def test_a_batch_depends_on_its_number_alone(tmp_path):
    write(tmp_path / "d", [[episode(20, i) for i in range(6)]])
    data = Dataset(tmp_path / "d")
    sampler = WindowSampler(data, np.arange(6), BatchShape(3, 2, 5), seed=1)
    rows = {number: inputs["image"] for number, inputs, _ in sampler.batches(2, 5)}
    assert sorted(rows) == [2, 3, 4]
    assert (rows[3] == sampler.batch(3)[0]["image"]).all()
    assert not (rows[3] == rows[4]).all()
    assert rows[3].shape == (3, 2, 5, 64, 64, 3)


def test_short_episodes_do_not_outweigh_long_ones(tmp_path):
    write(tmp_path / "d", [[episode(14, i) for i in range(9)] + [episode(104, 9)]])
    data = Dataset(tmp_path / "d")
    sampler = WindowSampler(data, np.arange(10), BatchShape(1, 1, 5), seed=1)
    # 9 x 10 windows against 100: the long one is drawn about every other time, not one time in ten.
    long_one = data.slice("images", 9)
    share = np.mean(
        [(sampler.batch(i)[0]["image"][0, 0, 0].numpy() == long_one).all((1, 2, 3)).any() for i in range(60)]
    )
    assert 0.3 < share < 0.75, share
    assert data.usual_length(np.arange(10)) == 14 and data.usual_length(np.arange(5, 10)) == 104


@pytest.mark.parametrize("key", ["contract", "settings"])
def test_a_description_that_lacks_a_part_is_refused_by_its_key(tmp_path, key):
    write(tmp_path / "d", [[episode()]])
    path = tmp_path / "d" / "dataset.json"
    meta = json.loads(path.read_text())
    del meta[key]
    path.write_text(json.dumps(meta))
    with pytest.raises(DatasetError, match=f"dataset.json: {key}: expected a mapping"):
        Dataset(tmp_path / "d")


def test_one_episode_is_too_few_and_that_is_told_before_anything_is_begun(tmp_path, capsys):
    from jepa_ros.commands import cli

    write(tmp_path / "d", [[episode(60)]])
    assert cli.main(["train", "--data", str(tmp_path / "d"), "--out", str(tmp_path / "m")]) == 2
    assert "1 episodes are too few" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
