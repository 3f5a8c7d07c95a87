# SPDX-License-Identifier: Apache-2.0
"""Mirror images of episodes: what could have happened on the other side, at no robot time."""

import numpy as np
import pytest
import torch

from jepa_ros.contract import load_contract
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.layout import Episode
from jepa_ros.learning.data.mirrored import Mirrored
from jepa_ros.learning.data.sampler import BatchShape, WindowSampler
from jepa_ros.learning.data.storage import DatasetError
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros_sim.rooms.layout import Layout, two_rooms
from jepa_ros_sim.rooms.scene import Picture, moved

STEPS = 12


def mirrored_layout(layout, x, y):
    turned = [
        (*((-r, -l) if x else (l, r)), *((-t, -b) if y else (b, t)))
        for l, b, r, t in layout.walls  # noqa: E741
    ]
    return Layout(tuple((left, bottom, right, top) for left, right, bottom, top in turned))


def driven(layout, at, velocities, number=0):
    """An episode of the rooms."""
    pictures = []
    for velocity in velocities:
        pictures.append(Picture(layout, 64).draw(at))
        at = moved(layout, at[None], velocity[None], 0.2)[0]
    velocities = velocities.astype(np.float32)
    nowhere = np.full((len(velocities), 3), np.nan, np.float32)
    return Episode(np.stack(pictures), velocities, velocities, nowhere, np.zeros(len(velocities), bool), number)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("data") / "rooms", np.random.default_rng(0)
    writer = DatasetWriter(folder, load_contract("rooms"), {"seed": 0})
    writer.begin()
    layouts = [two_rooms(i) for i in range(20)]
    writer.write_shard(
        0, [driven(o, o.free_point(rng), rng.uniform(-1, 1, (STEPS, 2)), i + 1) for i, o in enumerate(layouts)]
    )
    writer.finish()
    return Dataset(folder)


@pytest.mark.parametrize("told", ["linear.x,-", "-,linear.y", "linear.x,linear.y"])
def test_mirror_images_are_what_the_world_itself_would_have_shown_on_the_other_side(data, told):
    views = Mirrored.as_told(data, told)
    x, y = (name != "-" for name in told.split(","))
    last = len(views) - len(data)  # of the first episode the copy that is mirrored all ways
    rng = np.random.default_rng(0)
    layout = two_rooms(0)
    start = layout.free_point(rng)
    sign = np.array([-1.0 if x else 1.0, -1.0 if y else 1.0])
    velocities = data.slice("actions", 0).astype(float) * sign
    expected = driven(mirrored_layout(layout, x, y), start * sign, velocities)
    assert np.allclose(views.slice("actions", last), expected.actions)
    assert np.array_equal(views.slice("commands", last), views.slice("actions", last))
    difference = np.abs(views.slice("images", last).astype(int) - expected.images.astype(int))
    assert difference.max() <= 1  # of rounding
    assert np.array_equal(views.inputs(0)["image"], data.inputs(0)["image"])


def test_every_episode_stands_once_each_way_and_mirrored_layouts_are_layouts_of_their_own(data):
    views = Mirrored(data, "linear.x", "linear.y")
    assert len(views) == 4 * len(data) and views.steps == 4 * data.steps
    assert len(np.unique(views.index[:, 3])) == 4 * len(np.unique(data.index[:, 3]))
    assert np.array_equal(views.index[: len(data)], data.index)


def test_no_mirror_image_of_a_held_out_layout_is_trained_on(data):
    views = Mirrored(data, "linear.x", "linear.y")
    training, held_out = views.split(0.2, 3)
    plain, judged = data.split(0.2, 3)
    assert set(held_out) == set(judged)
    assert set(training % len(data)) == set(plain) and len(training) == 4 * len(plain)


def test_batches_are_mirrored_as_single_episodes_are(data):
    views = Mirrored(data, "linear.x")
    shape = BatchShape(1, 1, STEPS)
    copies = WindowSampler(views, np.array([len(data) + 4]), shape, 0).batch(0)
    plain = WindowSampler(data, np.array([4]), shape, 0).batch(0)
    assert torch.equal(copies[0]["image"], plain[0]["image"].flip(-2))
    assert torch.allclose(copies[1], plain[1] * torch.tensor([-1.0, 1.0]))


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("linear.x", "expected two names"),
        ("linear.z,-", "found 'linear.z'; expected some of linear.x, linear.y"),
        ("-,-", "found no action"),
    ],
)
def test_what_cannot_be_mirrored_is_refused_by_name(data, told, why):
    with pytest.raises(DatasetError, match=why):
        Mirrored.as_told(data, told)


def test_data_of_which_a_picture_does_not_tell_all_is_refused(tmp_path):
    contract = load_contract("arena")
    writer = DatasetWriter(tmp_path / "d", contract, {})
    writer.begin()
    size = contract.cameras[0].size
    actions = np.zeros((STEPS, 2), np.float32)
    pictures = np.zeros((STEPS, size[1], size[0], 3), np.uint8)
    writer.write_shard(
        0, [Episode(pictures, actions, actions, np.zeros((STEPS, 3), np.float32), np.zeros(STEPS, bool), 0)]
    )
    writer.finish()
    with pytest.raises(DatasetError, match="cannot be mirrored"):
        Mirrored(Dataset(tmp_path / "d"), contract.action[0].name, "")
