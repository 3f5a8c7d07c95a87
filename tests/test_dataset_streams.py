# SPDX-License-Identifier: Apache-2.0
"""Datasets larger than memory and in object storage: the same batches, few open files, clear words when it is gone."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from test_dataset import episode, write

from jepa_ros.learning.data import storage
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.sampler import BatchShape, WindowSampler
from jepa_ros.learning.data.storage import EPISODES, INDEX, DatasetError

GROUPS = [[episode(20, 10 * s + i, layout=s + 1) for i in range(3)] for s in range(4)]


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "d", GROUPS)
    return tmp_path / "d"


@pytest.fixture(scope="module")
def bucket():
    """A server on this machine that speaks S3, and a bucket on it."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'jepa_ros[s3]'")
    server = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'jepa_ros[dev]'")
    there = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    there.start()
    host, port = there.get_host_and_port()
    set_before = {k: os.environ.get(k) for k in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    os.environ.update(AWS_ENDPOINT_URL=f"http://{host}:{port}", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")
    import s3fs

    s3fs.S3FileSystem(skip_instance_cache=True).mkdir("robots")
    yield there
    there.stop()
    for key, value in set_before.items():
        os.environ.pop(key) if value is None else os.environ.update({key: value})


def batches(data, numbers=(0, 1, 2)):
    sampler = WindowSampler(data, np.arange(len(data)), BatchShape(3, 2, 5), seed=1)
    return [(inputs["image"], actions) for _, inputs, actions in sampler.batches(numbers[0], numbers[-1] + 1)]


def same(a, b):
    return all(torch.equal(x, y) for one, two in zip(a, b, strict=True) for x, y in zip(one, two, strict=True))


def test_a_dataset_with_an_index_gives_what_one_without_gives(folder):
    assert (folder / INDEX).exists() and (folder / EPISODES).exists()
    streamed = Dataset(folder)
    found = batches(streamed)
    (folder / INDEX).unlink()
    mapped = Dataset(folder)
    np.testing.assert_array_equal(mapped.index, streamed.index)
    assert same(found, batches(mapped))
    np.testing.assert_array_equal(streamed.slice("images", 7, 3, 4), GROUPS[2][1].images[3:7])


def test_shards_that_come_and_go_after_the_index_are_seen(folder):
    shutil.rmtree(folder / "shard_00001")
    assert len(Dataset(folder)) == 9


def test_files_that_end_early_are_named(folder):
    path = folder / "shard_00002" / "actions.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DatasetError, match=r"shard_00002/actions\.npy: cannot be read \(it has 600 of 608 bytes\)"):
        Dataset(folder)


def test_few_files_are_open_at_a_time(folder, monkeypatch):
    monkeypatch.setattr(storage, "OPEN", 3)
    data = Dataset(folder)
    for e in range(len(data)):
        np.testing.assert_array_equal(data.slice("poses", e), GROUPS[e // 3][e % 3].poses)
        data.slice("images", e)
    assert len(data._storage._open) == 3


@pytest.mark.slow
def test_a_dataset_in_object_storage_gives_the_same_batches_and_says_when_it_is_gone(folder, bucket):
    import s3fs

    s3fs.S3FileSystem(skip_instance_cache=True).put(str(folder), "robots/d", recursive=True)
    local, remote = Dataset(folder), Dataset("s3://robots/d")
    assert remote.name == "d" and len(remote) == 12
    assert same(batches(local), batches(remote))
    np.testing.assert_array_equal(remote.slice("images", 4), local.slice("images", 4))
    with pytest.raises(DatasetError, match=r"s3://robots/none: has no dataset\.json"):
        Dataset("s3://robots/none")
    os.environ["AWS_MAX_ATTEMPTS"] = "1"
    try:
        bucket.stop()
        with pytest.raises(DatasetError, match=r"s3://robots/d: the store does not answer.*the same command resumes"):
            batches(remote)
    finally:
        del os.environ["AWS_MAX_ATTEMPTS"]
        bucket.start()


def test_an_unknown_protocol_is_one_line():
    with pytest.raises(DatasetError, match="nowhere://x"):
        Dataset("nowhere://x")


def test_an_index_that_is_none_is_named(folder):
    (folder / INDEX).write_text(json.dumps({"shards": []}))
    with pytest.raises(DatasetError, match=r"index\.json: is no index of a dataset"):
        Dataset(folder)
