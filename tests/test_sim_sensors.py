# SPDX-License-Identifier: Apache-2.0
"""Each sensor errs as the scene states: odometry drifts, the pose is noisy, the lidar measures true distances."""

from __future__ import annotations

import numpy as np
import pytest

from jepa_ros.contract import load_contract
from jepa_ros_sim.arena import ArenaSim, Box, Layout, SceneConfig

CONTRACT = load_contract("arena")
EMPTY = SceneConfig(layout="empty")


def circle(sim: ArenaSim, seconds: float) -> None:
    for _ in range(round(seconds / 0.1)):
        sim.set_command((0.3, 1.0))
        sim.advance(0.1)


def odometry_error(sim: ArenaSim, start) -> float:
    x, y, _, _, _ = sim.odom()
    c, s = np.cos(start[2]), np.sin(start[2])
    truth = sim.truth()
    return float(np.hypot(start[0] + c * x - s * y - truth.x, start[1] + s * x + c * y - truth.y))


def test_odometry_starts_at_zero_follows_the_robot_and_drifts():
    start = (0.2, -0.4, 0.5)
    early, late = [], []
    with ArenaSim(CONTRACT, EMPTY) as sim:
        for seed in range(5):
            sim.reset(seed, start=start)
            assert sim.odom()[:3] == (0.0, 0.0, 0.0)
            circle(sim, 1.0)
            early.append(odometry_error(sim, start))
            circle(sim, 19.0)
            late.append(odometry_error(sim, start))
            assert sim.odom()[3] == pytest.approx(sim.truth().v, abs=0.06)
    assert np.mean(early) < 0.02
    assert 2 * np.mean(early) < np.mean(late) < 0.5


def test_perfect_odometry_on_a_floor_that_grips_agrees_with_the_truth():
    start = (0.2, -0.4, 0.5)
    with ArenaSim(CONTRACT, EMPTY.with_(odom_scale_error=0.0, odom_noise=0.0)) as sim:
        sim.reset(0, start=start)
        circle(sim, 5.0)
        assert odometry_error(sim, start) < 0.02


def test_the_pose_has_the_stated_noise_and_says_so():
    with ArenaSim(CONTRACT, EMPTY) as sim:
        sim.reset(0, start=(0.1, 0.2, 3.1))
        samples = [sim.pose() for _ in range(2000)]
        truth = sim.truth()
    errors = np.array([(x - truth.x, y - truth.y, np.angle(np.exp(1j * (a - truth.yaw)))) for x, y, a, _ in samples])
    stated = np.array([EMPTY.pose_noise[0], EMPTY.pose_noise[0], EMPTY.pose_noise[1]])
    np.testing.assert_allclose(errors.std(axis=0), stated, rtol=0.1)
    assert (np.abs(errors.mean(axis=0)) < stated / 10).all()
    np.testing.assert_allclose(np.sqrt(np.diag(samples[0][3])), stated)
    assert all(-np.pi <= a < np.pi for _, _, a, _ in samples)


def expected_range(layout: Layout, origin, angle: float) -> float:
    """First distance along a ray at which the clearance is gone: found by marching, with no ray casting."""
    distance = 0.0
    for _ in range(500):
        point = (origin[0] + distance * np.cos(angle), origin[1] + distance * np.sin(angle))
        gap = float(layout.clearance(np.array(point)))
        if gap < 1e-4:
            break
        distance += gap
    return distance


def test_the_lidar_measures_the_distance_to_walls_and_boxes_and_not_to_the_robot():
    layout = Layout(boxes=(Box(0.5, 0.1, 0.1, 0.2, 0.5), Box(-0.4, -0.5, 0.15, 0.1, -0.3)))
    with ArenaSim(CONTRACT, EMPTY.with_(scan_noise=0.0)) as sim:
        sim.reset(0, start=(0.1, 0.2, 0.8), layout=layout)
        scan, truth = sim.scan(), sim.truth()
    angles = truth.yaw + scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
    expected = [expected_range(layout, (truth.x, truth.y), a) for a in angles]
    np.testing.assert_allclose(scan.ranges, expected, atol=0.004)
    assert len(scan.ranges) == EMPTY.scan_beams
    assert scan.angle_max == pytest.approx(scan.angle_min + scan.angle_increment * (len(scan.ranges) - 1))


def test_what_the_lidar_cannot_measure_reads_infinite_as_rep_117_has_it():
    with ArenaSim(CONTRACT, EMPTY.with_(scan_noise=0.0, scan_range=(0.3, 0.8))) as sim:
        sim.reset(0, start=(0.85, 0.0, 0.0))
        ranges = sim.scan().ranges
        ahead, back = ranges[len(ranges) // 2], ranges[0]
        assert ahead == -np.inf and back == np.inf
        assert not np.isnan(ranges).any()


def test_lidar_noise_has_the_stated_spread():
    with ArenaSim(CONTRACT, EMPTY) as sim:
        sim.reset(0, start=(0.0, 0.0, 0.0))
        ranges = np.array([sim.scan().ranges for _ in range(200)])
    assert ranges.std(axis=0).mean() == pytest.approx(EMPTY.scan_noise, rel=0.1)


def test_the_lidar_sees_the_person():
    scene = EMPTY.with_(person="path", person_path=((0.5, 0.0), (0.5, 0.1)), person_speed=0.0, scan_noise=0.0)
    with ArenaSim(CONTRACT, scene) as sim:
        sim.reset(0, start=(0.0, 0.0, 0.0))
        sim.advance(0.02)
        ranges = sim.scan().ranges
        assert ranges[len(ranges) // 2] == pytest.approx(0.5 - scene.person_radius, abs=0.01)


def test_the_tracker_of_people_has_the_stated_noise_and_sees_nobody_where_nobody_is():
    with ArenaSim(CONTRACT, EMPTY) as sim:
        assert sim.people() == []
    with ArenaSim(CONTRACT, EMPTY.with_(person="path", person_path=((0.5, 0.0), (0.5, 0.1)), person_speed=0.0)) as sim:
        seen = np.array([sim.people()[0] for _ in range(400)])
        image = sim.image()
    assert seen.std(axis=0) == pytest.approx(EMPTY.people_noise, rel=0.15)
    assert seen.mean(axis=0) == pytest.approx([0.5, 0.0], abs=0.005) and image.any()


def test_joint_states_turn_with_the_wheels():
    with ArenaSim(CONTRACT, EMPTY) as sim:
        sim.reset(0, start=(0.0, 0.0, 0.0))
        for _ in range(10):
            sim.set_command((0.0, 1.0))
            sim.advance(0.1)
        names, positions, velocities = sim.joint_states()
        assert names == ("left_wheel_joint", "right_wheel_joint")
        assert velocities[1] == pytest.approx(0.07 / 0.03, abs=0.1) and velocities[0] == pytest.approx(
            -velocities[1], abs=0.01
        )
        assert positions[1] > 1.8 > -1.8 > positions[0]
