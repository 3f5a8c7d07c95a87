# SPDX-License-Identifier: Apache-2.0
"""The planner of a robot with a costmap is told what the gate's scan shows: plans go round what the gate stops at."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from test_costmap import grid, grid_in
from toy_world import toy_planner

from benchmarks.rigs.gate.rig import Rig, twist_base
from jepa_ros.agent.planner_part import PlannerPart
from jepa_ros.agent.scans import Scans
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.cost.goal import Goal
from jepa_ros.memory.knowledge import Seen
from jepa_ros.planar.costmap_scan import CostmapScan
from jepa_ros.planar.obstructions import Obstructions
from jepa_ros.planar.scan_points import FINE, Nearest, ScanPoints
from jepa_ros.planar.sight import Sight
from jepa_ros.safety import Mode
from jepa_ros.safety.inputs import OdomIn, ScanIn

COSTMAP = "local_costmap/costmap"
#: Half a metre ahead, 0.6 m wide: (column, row) of the cells, and their middles [m].
WALL = [(35, row) for row in range(27, 33)]
MIDDLES = np.array([(0.1 * column - 2.95, 0.1 * row - 2.95) for column, row in WALL])


def robot(**scan) -> RobotContract:
    """It drives along x and y, by 0.1 m a control step at most, as the toy world has it."""
    data = twist_base("flat", linear_x=(0.5, 1.5, 1.0), linear_y=(0.5, 1.5, 1.0))
    state = data["state"] | {"scan": {"topic": "guarded_scan", "timeout": 0.5, "required": True} | scan}
    return RobotContract.from_dict(data | {"state": state, "costmap": {"topic": COSTMAP}})


def drive(told: bool, steps: int = 50):
    """Towards a goal behind the wall, gate included: (where the robot was (n, 2), what the gate said)."""
    contract = robot()
    rig, costmap, planner = Rig(contract=contract), CostmapScan(contract), toy_planner(contract=contract)
    part = PlannerPart(planner)

    def guarded(_) -> ScanIn:
        here = rig.robot
        costmap.take_place(OdomIn(rig.ros, rig.steady, here.x, here.y, here.yaw, (0.0, 0.0), "odom"))
        costmap.take(COSTMAP, grid_in(grid(WALL, stamp=rig.ros)), rig.steady)
        beams = costmap.beams(None, rig.steady, rig.ros)
        scan = ScanIn(rig.ros, rig.steady, beams.first, beams.step, beams.ranges, 0.01, 4.0, "base_link")
        if told:
            part.scans.take(scan)
        return scan

    rig.spoil["scan"] = guarded
    rig.arm([0.0, 0.0])
    planner.set_goal(Goal.from_latent(np.array([1.0, 0.0], np.float32)))
    places, begin = [], len(rig.outputs)
    for _ in range(steps):
        latent = np.array([rig.robot.x, rig.robot.y], np.float32)
        thought = part.think(latent, rig.ros, part.told(rig.ros, rig.outputs[-1].reason))
        assert not thought.error
        wanted = thought.output.command
        rig.command = [0.0, 0.0] if wanted is None else wanted.tolist()
        for _ in range(10):
            part.log.add(rig.ros, rig.tick().values)
            places.append((rig.robot.x, rig.robot.y))
    return np.array(places), rig.outputs[begin:]


def test_a_plan_goes_round_cells_that_the_gate_would_stop_at():
    (blind, said), (places, _) = drive(told=False), drive(told=True)
    assert any(out.reason == "obstacle" and out.mode is Mode.STOPPED for out in said), "the gate stops at them"
    assert math.dist(blind[-1], (1.0, 0.0)) > 0.5, "and a planner that is not told stays there"
    assert math.dist(places[-1], (1.0, 0.0)) < 0.1, "it arrives"
    assert np.linalg.norm(places[:, None] - MIDDLES, axis=-1).min() > 0.1 + 0.05, "its outline touches no cell"
    assert np.abs(places[:, 1]).max() > 0.3, "it went round"


def test_the_planner_of_a_robot_with_a_costmap_is_told_of_scans_and_of_old_ones_no_more():
    with_one, without = Scans(robot()), Scans(load_contract("arena"))
    scan = ScanIn(10.0, 0.0, 0.0, 0.1, [1.0], 0.05, 4.0)
    for scans in (with_one, without):
        scans.take(scan)
    assert with_one.topic.topic == "guarded_scan" and with_one.at(10.4) is scan
    assert with_one.at(9.9) is None and with_one.at(10.6) is None, "it counts for half a second"
    assert without.topic is None and without.at(10.1) is None


def shown(contract, scan, here=(0.0, 0.0, 0.0), stamp=10.0, executed=None):
    """Points (n, 2) that a scan shows."""
    latent = torch.zeros(2)
    seen = Seen(latent, latent.numpy(), stamp, 1, executed=executed, scan=scan)
    return ScanPoints(contract).around(seen, np.array(here))


def test_points_lie_where_the_robot_sees_them_now():
    scan = ScanIn(10.0, 0.0, -math.pi / 2, math.pi / 2, [2.0, 1.0, math.inf], 0.05, 4.0, "base_link")
    np.testing.assert_allclose(shown(robot(), scan), [(0.0, -2.0), (1.0, 0.0)], atol=1e-9)
    turned = shown(robot(), scan, here=(3.0, 1.0, math.pi / 2))
    np.testing.assert_allclose(turned, [(5.0, 1.0), (3.0, 2.0)], atol=1e-9)
    later = shown(robot(), scan, here=(0.1, 0.0, 0.0), stamp=10.2, executed=np.array([0.5, 0.0]))
    np.testing.assert_allclose(later, [(0.0, -2.0), (1.0, 0.0)], atol=1e-9)  # the robot moved, and they did not


def test_what_is_no_point_is_none():
    contract = robot(no_return=["zero", "nan"], frame="laser", offset=[0.2, 0.0, math.pi])
    scan = ScanIn(10.0, 0.0, 0.0, 0.1, [0.0, math.nan, math.inf, 5.0, 3.5, 1.0], 0.05, 4.0, "laser")
    (point,) = shown(contract, scan)  # 3.5 m are beyond the costmap's reach, 5 m beyond the lidar's
    np.testing.assert_allclose(point, (0.2 - math.cos(0.5), -math.sin(0.5)), atol=1e-9)
    assert not len(shown(contract, replace(scan, frame_id="base_link"))), "the gate refuses it, too"
    assert not len(shown(contract, None))


def test_the_table_finds_the_nearest_point():
    rng = np.random.default_rng(0)
    points, places = rng.uniform(-2.0, 2.0, (300, 2)), rng.uniform(-2.1, 2.1, (4, 500, 2))
    found, away = Nearest(points, 0.2).of(places)
    true = np.linalg.norm(places[..., None, :] - points, axis=-1).min(-1)
    assert found.shape == places.shape and (away >= true - 1e-12).all() and (away - true).max() < 3 * FINE
    far, away = Nearest(points[:1], 0.2).of(np.array([[100.0, math.nan]]))
    assert far.shape == (1, 2) and np.isnan(away).all(), "a prediction that broke stays broken"


def test_what_is_shown_no_more_is_in_the_way_no_more():
    memory = Obstructions(radius=0.09, period=0.2)
    ahead, here = np.array([[[0.1, 0.0], [0.3, 0.0]]]), np.zeros(2)
    memory.show(np.array([[0.35, 0.0]]))
    assert len(memory) == 1 and memory.near(ahead).tolist() == [[False, True]]
    assert (memory.excess(ahead, here) > 0.0).tolist() == [[False, True]]
    assert memory.excess(np.array([[[0.3, 0.0]]]), np.array([0.3, 0.0])) <= 0.0, "whoever stands there may stay"
    memory.show(np.zeros((0, 2)))
    assert not len(memory) and not memory.near(ahead).any() and (memory.excess(ahead, here) < 0.0).all()


def test_a_base_with_its_camera_on_board_keeps_off_what_its_lidar_shows():
    rover = load_contract("rover")
    assert rover.costmap is None and Scans(rover).topic.topic == "scan", "what is beside it no picture shows"
    sight = Sight(None, rover)
    scan = ScanIn(10.0, 0.0, 0.0, 0.1, [1.0], 0.05, 4.0, "base_link")
    latent = torch.zeros(4)
    sight.observe(Seen(latent, latent.numpy(), 10.0, 0, odometry=(2.0, 0.0, math.pi / 2), scan=scan))
    assert sight.constraints() and sight.obstructions.near(np.array([[2.0, 1.0], [3.0, 0.0]])).tolist() == [True, False]
