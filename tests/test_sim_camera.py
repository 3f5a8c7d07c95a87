# SPDX-License-Identifier: Apache-2.0
"""The overhead camera shows the whole arena, shows the heading, and cuts no corner to be fast."""

from __future__ import annotations

import numpy as np
import pytest

from jepa_ros.contract import load_contract
from jepa_ros_sim.arena import ArenaSim, Box, Layout, SceneConfig
from jepa_ros_sim.arena.camera import ASSETS, _shrink
from jepa_ros_sim.common.engine import pybullet

CONTRACT = load_contract("arena")


def half_size(image: np.ndarray) -> np.ndarray:
    """Mean over 2x2 pixels: the size that the model sees."""
    h, w, _ = image.shape
    return image.reshape(h // 2, 2, w // 2, 2, 3).mean(axis=(1, 3))


def heading(sim: ArenaSim, pose) -> float:
    """The heading read from the colours alone: from the middle of the navy half to that of the yellow half."""
    col, row = sim.view.project(np.array((*pose[:2], 0.1))) / 2
    rows, cols = (slice(max(int(at) - 3, 0), int(at) + 4) for at in (row, col))
    r, _, b = np.moveaxis(half_size(sim.image_at(pose))[rows, cols], -1, 0)
    y, x = np.mgrid[: r.shape[0], : r.shape[1]]
    yellow, navy = np.clip(r - b - 40, 0, None), np.clip(b - r - 15, 0, None)
    up = (navy * y).sum() / navy.sum() - (yellow * y).sum() / yellow.sum()
    right = (yellow * x).sum() / yellow.sum() - (navy * x).sum() / navy.sum()
    return float(np.arctan2(up, right))


@pytest.fixture(scope="module")
def sim():
    with ArenaSim(CONTRACT, SceneConfig(layout="empty")) as sim:
        sim.reset(0, start=(0.0, 0.0, 0.0))
        yield sim


def test_a_picture_is_uint8_rgb_of_the_contracts_size(sim):
    image = sim.image()
    assert image.dtype == np.uint8 and image.shape == (CONTRACT.cameras[0].height, CONTRACT.cameras[0].width, 3)
    assert image.flags["C_CONTIGUOUS"]


def test_the_heading_can_be_read_at_the_size_that_the_model_sees(sim):
    for yaw in np.linspace(-np.pi, np.pi, 17)[:-1]:
        for place in ((0.0, 0.0), (0.7, -0.6)):
            found = heading(sim, (*place, yaw))
            assert abs((found - yaw + np.pi) % (2 * np.pi) - np.pi) < np.radians(15)


@pytest.mark.parametrize("seed", range(12))
def test_the_whole_arena_is_in_view_however_the_camera_hangs(seed):
    with ArenaSim(CONTRACT, SceneConfig(layout="empty", randomise=True)) as sim:
        sim.reset(seed)
        corners = np.array([(x, y) for x in (-1, 1) for y in (-1, 1)], dtype=float)
        pixels = sim.view.project(corners)
        assert (pixels > 0).all() and (pixels < 128).all()
        tilt = np.degrees(np.arccos(sim.view.matrix[2, 2]))
        assert tilt < 3.5


def test_where_the_view_puts_a_point_is_where_the_picture_shows_it(sim):
    clean = sim.image_at((0.5, -0.3, 0.0), noise=False).astype(int)
    empty = sim.image_at((-0.7, 0.7, 0.0), noise=False).astype(int)
    rows, cols = np.nonzero((empty - clean).max(axis=-1) > 100)
    near = (np.abs(cols - 94) < 25) & (np.abs(rows - 82) < 25)
    col, row = sim.view.project(np.array((0.5, -0.3, 0.1)))
    assert cols[near].mean() + 0.5 == pytest.approx(col, abs=1.0)
    assert rows[near].mean() + 0.5 == pytest.approx(row, abs=1.0)


@pytest.mark.parametrize("randomise", [False, True])
def test_drawing_only_what_moves_gives_the_picture_that_drawing_everything_gives(randomise):
    scene = SceneConfig(layout="random", randomise=randomise, shadows=False)
    with ArenaSim(CONTRACT, scene) as sim:
        for seed in range(3):
            sim.reset(seed)
            truth = sim.truth()
            ours = sim.image_at((truth.x, truth.y, truth.yaw), noise=False)
            camera, k = sim.camera, scene.supersample
            robot = pybullet.loadURDF(
                str(ASSETS / "arena_robot.urdf"),
                (truth.x, truth.y, 0.0),
                (0, 0, np.sin(truth.yaw / 2), np.cos(truth.yaw / 2)),
                physicsClientId=camera.static,
            )
            whole, _ = camera._shoot(camera.static, 0, 0, camera.width * k, camera.height * k)
            pybullet.removeBody(robot, physicsClientId=camera.static)
            np.testing.assert_array_equal(ours, _shrink(whole, k))


def test_a_box_that_stands_between_hides_the_robot():
    tower = Layout(boxes=(Box(0.55, 0.0, 0.12, 0.12, 0.0, 0.6),))
    with ArenaSim(CONTRACT, SceneConfig(layout="empty", camera_noise=0.0, shadows=False)) as sim:
        sim.reset(0, start=(-0.5, 0.0, 0.0), layout=tower)
        away = sim.image_at((-0.5, 0.5, 0.0)).astype(int)
        behind = sim.image_at((0.78, 0.0, 0.0)).astype(int)
        col, row = sim.view.project(np.array((0.78, 0.0, 0.1))).astype(int)
        assert (away[row, col] == behind[row, col]).all()


def test_sensor_noise_has_the_stated_spread_and_changes_from_picture_to_picture(sim):
    clean = sim.image_at((0.0, 0.0, 0.0), noise=False).astype(float)
    first, second = (sim.image_at((0.0, 0.0, 0.0)).astype(float) for _ in range(2))
    assert (first - clean).std() == pytest.approx(sim.scene.camera_noise, rel=0.1)
    assert abs((first - clean).mean()) < 0.1
    assert np.corrcoef((first - clean).ravel(), (second - clean).ravel())[0, 1] < 0.05


def test_a_goal_picture_leaves_the_simulation_as_it_was():
    with ArenaSim(CONTRACT, SceneConfig()) as one, ArenaSim(CONTRACT, SceneConfig()) as other:
        for sim in (one, other):
            sim.reset(3)
        goal = one.image_at((0.0, 0.0, 1.0))
        assert one.image().tobytes() == other.image().tobytes()
        one.set_command((0.2, 0.3))
        other.set_command((0.2, 0.3))
        one.advance(0.4)
        one.image_at((0.0, 0.0, 1.0))
        other.advance(0.4)
        assert one.truth() == other.truth()
        assert goal.shape == one.image().shape


def test_the_goal_picture_is_what_the_camera_sees_once_the_robot_is_there():
    with ArenaSim(CONTRACT, SceneConfig(camera_noise=0.0, randomise=True)) as sim:
        sim.reset(3, start=(0.0, 0.1, 0.7))
        sim.advance(0.2)
        truth = sim.truth()
        goal = sim.image_at((truth.x, truth.y, truth.yaw)).astype(int)
        assert np.abs(goal - sim.image()).max() < 25
        assert np.abs(goal - sim.image()).mean() < 0.1


def test_a_fault_is_seen_and_mended(sim):
    sim.reset(0, start=(0.0, 0.0, 0.0))
    usual = sim.image().astype(int)
    try:
        sim.set_camera_fault("covered")
        assert sim.image().mean() < 40 and sim.image().std() < 6
        sim.set_camera_fault("dark")
        assert sim.image().mean() < usual.mean() / 5
        sim.set_camera_fault("shifted")
        assert np.abs(sim.image() - usual).mean() > 5
        sim.set_camera_fault("frozen")
        first = sim.image()
        for _ in range(10):
            sim.set_command((0.4, 0.0))
            sim.advance(0.02)
        assert (sim.image() == first).all()
    finally:
        sim.set_camera_fault(None)
    assert (sim.image() != first).any()
