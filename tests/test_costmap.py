# SPDX-License-Identifier: Apache-2.0
"""Cells and areas of somebody else's costmap as the gate hears them: where they are, and never farther."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import yaml
from geometry_msgs.msg import Point32, PolygonStamped
from hypothesis import given, settings
from hypothesis import strategies as st
from nav_msgs.msg import OccupancyGrid
from sensor_msgs.msg import LaserScan

from jepa_ros.commands.cli import main
from jepa_ros.contract import ContractError, RobotContract, load_contract
from jepa_ros.messages import MessageError
from jepa_ros.messages.costmap import area_in, grid_in
from jepa_ros.nodes.convert import set_yaw, to_stamp
from jepa_ros.planar.costmap import NEAREST, Beams, joined
from jepa_ros.planar.costmap_scan import CostmapError, CostmapScan
from jepa_ros.safety.inputs import OdomIn, PoseIn
from jepa_ros.safety.settings import default

COSTMAP, AREA = "local_costmap/costmap", "keep_out"


def robot(**costmap) -> RobotContract:
    data = load_contract("arena").to_dict()
    data["state"]["scan"] = {"topic": "guarded_scan", "timeout": 0.5, "required": True} | costmap.pop("scan", {})
    for gone in costmap.pop("without", ()):
        del data["state"][gone]
    return RobotContract.from_dict(data | {"costmap": {"topic": COSTMAP, **costmap}})


def grid(cells, size=(60, 60), cell=0.1, origin=(-3.0, -3.0, 0.0), frame="odom", stamp=10.0, cost=100, rest=0):
    """A costmap with a cost at cells (column, row)."""
    message = OccupancyGrid()
    message.header.frame_id, message.header.stamp = frame, to_stamp(stamp)
    message.info.width, message.info.height, message.info.resolution = *size, cell
    message.info.origin.position.x, message.info.origin.position.y = origin[:2]
    set_yaw(message.info.origin.orientation, origin[2])
    costs = np.full(size[::-1], rest, np.int8)
    for column, row in cells:
        costs[row, column] = cost
    message.data = costs.ravel().tolist()
    return message


def polygon(*corners, frame="odom", stamp=10.0):
    message = PolygonStamped()
    message.header.frame_id, message.header.stamp = frame, to_stamp(stamp)
    message.polygon.points = [Point32(x=float(x), y=float(y)) for x, y in corners]
    return message


def at(x=0.0, y=0.0, yaw=0.0, stamp=10.0, received=5.0):
    return OdomIn(stamp, received, x, y, yaw, (0.0, 0.0), "odom")


def seen_of(contract, *messages, here=None, scan=None, steady=5.1, ros=10.1, **more):
    found = CostmapScan(contract, **more)
    found.take_place(here or at())
    for message in messages:
        if isinstance(message, OccupancyGrid):
            found.take(COSTMAP, grid_in(message), 5.0)
        else:
            found.take(AREA, area_in(message), 5.0)
    if scan is not None and scan.header.stamp.sec == 0:
        scan.header.stamp = to_stamp(10.0)
    return found.beams(scan, steady, ros)


def nearest(beams: Beams, direction: float) -> float:
    """The range of the beam that looks into a direction [rad]."""
    index = round(math.remainder(direction - beams.first, math.tau) / beams.step) % round(math.tau / abs(beams.step))
    return float(beams.ranges[index])


def test_a_lethal_cell_is_seen_where_it_is_whatever_way_robot_and_costmap_lie():
    for origin in ((-3.0, -3.0, 0.0), (1.0, -4.0, 2.2)):
        message = grid([(45, 30)], origin=origin)
        c, s = math.cos(origin[2]), math.sin(origin[2])
        x, y = origin[0] + c * 4.55 - s * 3.05, origin[1] + s * 4.55 + c * 3.05  # the cell's middle
        for yaw in (0.0, 2.0):
            here = (x - 1.2 * math.cos(0.7), y - 1.2 * math.sin(0.7), yaw)  # the robot 1.2 m from it
            beams = seen_of(robot(), message, here=at(*here))
            assert nearest(beams, 0.7 - yaw) == pytest.approx(1.2 - 0.1 * math.sqrt(0.5))
            assert np.isfinite(beams.ranges).sum() in range(5, 12), "and nothing is seen beside it"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), min_size=1, max_size=20),
    st.tuples(st.floats(-2.0, 2.0), st.floats(-2.0, 2.0), st.floats(-3.1, 3.1)),
    st.sampled_from([360, 91, 720]),
)
def test_no_cell_is_ever_seen_farther_than_it_is(cells, here, count):
    scan = LaserScan(angle_min=-math.pi, angle_increment=math.tau / count, range_max=20.0)
    scan.ranges = [math.inf] * count
    beams = seen_of(robot(), grid(cells), here=at(*here), scan=scan)
    c, s = math.cos(here[2]), math.sin(here[2])
    for column, row in cells:
        for dx, dy in ((0.0, 0.0), (0.05, 0.05), (-0.05, 0.05), (0.05, -0.05), (-0.05, -0.05)):
            x, y = 0.1 * column - 2.95 + dx - here[0], 0.1 * row - 2.95 + dy - here[1]
            middle = math.hypot(x - dx, y - dy)
            if middle > 3.0:
                continue
            away, direction = math.hypot(x, y), math.atan2(c * y - s * x, c * x + s * y)
            assert nearest(beams, direction) <= max(away, NEAREST) + 1e-9, "no range is less than what a scan may tell"
    finite = beams.ranges[np.isfinite(beams.ranges)]
    assert len(finite) == 0 or finite.min() >= min(
        math.hypot(0.1 * a - 2.95 - here[0], 0.1 * b - 2.95 - here[1]) for a, b in cells
    ) - 0.1 or finite.min() == pytest.approx(1e-3), "nothing is nearer than the nearest cell"


def test_what_counts_as_in_the_way_is_declared():
    for cost, rest, declared, seen in (
        (100, 0, {}, True), (99, 0, {}, False), (99, 0, {"lethal": 99}, True), (-1, 0, {}, False),
        (-1, 0, {"unknown": True}, True), (100, 0, {"reach": 1.0}, False),
    ):  # fmt: skip
        beams = seen_of(robot(**declared), grid([(45, 30)], cost=cost, rest=rest))
        assert np.isfinite(beams.ranges).any() == seen, (cost, declared)


def test_a_costmap_beside_a_lidar_takes_nothing_of_it_away():
    contract = robot(lidar="scan", scan={"no_return": ["nan", "zero"], "frame": "laser", "offset": [0.1, 0.0, 0.0]})
    scan = LaserScan(angle_min=-1.0, angle_increment=0.01, range_min=0.05, range_max=8.0)
    scan.ranges = [2.0] * 50 + [math.nan] * 50 + [0.0] * 101  # half a metre behind it: what the lidar does not see
    beams = seen_of(contract, grid([(45, 30), (20, 30)]), scan=scan)
    assert len(beams.ranges) == round(math.tau / 0.01), "a whole turn"
    assert nearest(beams, 0.0) == pytest.approx(1.45, abs=0.09), "1.55 m before the base, where the lidar sees nothing"
    assert nearest(beams, math.pi) == pytest.approx(1.05, abs=0.09), "and behind the robot"
    assert beams.ranges[:50].tolist() == [2.0] * 50 and np.isnan(beams.ranges[60]), "else it is as it was"
    assert not np.isfinite(beams.ranges[250])


def lidar(**changes):
    scan = LaserScan(angle_min=-1.0, angle_increment=0.01, range_min=0.05, range_max=8.0, ranges=[2.0] * 200)
    for name, value in changes.items():
        setattr(scan, name, value)
    return scan


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ranges": []}, "has no ranges"),
        ({"ranges": [0.01] * 200}, "nearer than 0.05 m: it is covered or broken"),
        ({"range_max": 2.5}, "costmap.reach is 3 m and the lidar sees 2.5 m"),
        ({"range_max": 0.01}, "goes from 0.05 to 0.01 m"),
        ({"angle_increment": 0.0}, "200 ranges 0 rad apart"),
        ({"angle_increment": 1e-9}, "200 ranges 1e-09 rad apart"),
        ({"angle_increment": math.nan}, "200 ranges nan rad apart"),
        ({"angle_increment": 0.1}, "200 ranges 0.1 rad apart"),
    ],
)
def test_a_lidar_that_the_gate_would_not_believe_is_not_made_believable(changes, why):
    with pytest.raises(CostmapError, match=re.escape(why)):
        seen_of(robot(lidar="scan"), grid([(45, 30)]), scan=lidar(**changes))


def test_a_cell_is_nearer_by_what_the_robot_may_have_driven_since_it_knew_its_place():
    contract = robot(lidar="scan")
    fresh = nearest(seen_of(contract, grid([(45, 30)]), scan=lidar()), 0.0)
    late = lidar()
    late.header.stamp = to_stamp(10.1)
    speed = max(v for axis, v in zip(contract.axes, contract.limits.velocity, strict=True) if axis.name == "linear.x")
    assert fresh - nearest(seen_of(contract, grid([(45, 30)]), scan=late), 0.0) >= 0.1 * speed - 1e-6


def test_a_place_in_another_frame_is_no_place():
    elsewhere = OdomIn(10.0, 5.0, 0.0, 0.0, 0.0, (0.0, 0.0), "world")
    with pytest.raises(CostmapError, match="is in frame 'world'; the costmap is in 'odom'"):
        seen_of(robot(), grid([(45, 30)]), here=elsewhere)


def test_a_number_that_is_wrong_in_a_lidars_scan_stays_wrong():
    beams = joined(Beams(0.0, math.tau / 8, np.array([math.nan] * 8)), np.array([[1.0, 0.0]]), 0.05)
    assert np.isnan(beams.ranges).all(), "the gate tells a scan that is broken"


def test_an_area_is_kept_out_of_and_none_is_none():
    contract = robot(polygons=[AREA])
    free = grid([])
    square = [(1.0, -1.0), (2.0, -1.0), (2.0, 1.0), (1.0, 1.0)]
    beams = seen_of(contract, free, polygon(*square))
    assert nearest(beams, 0.0) == pytest.approx(0.95, abs=0.01)
    assert not np.isfinite(nearest(beams, math.pi)) and not np.isfinite(nearest(beams, 1.2))
    inside = seen_of(contract, free, polygon(*square), here=at(1.5, 0.0))
    assert (inside.ranges <= 0.01).all(), "whatever the direction"
    assert not np.isfinite(seen_of(contract, free, polygon()).ranges).any()
    far = seen_of(contract, free, polygon((100.0, -900.0), (2.9, 0.0), (100.0, 900.0)))
    assert nearest(far, 0.0) == pytest.approx(2.85, abs=0.01), "only what is near costs time"


def test_a_localised_pose_that_is_unsure_brings_cells_nearer():
    contract = robot(frame="map")
    sure, unsure = (
        PoseIn(10.0, 5.0, 0.0, 0.0, 0.0, np.diag([variance, variance, 0.0]), "map") for variance in (0.0, 0.01)
    )
    message = grid([(45, 30)], frame="map")
    for sigmas in (default("pose_sigma"), 3.0):
        near, nearer = (
            nearest(seen_of(contract, message, here=here, sigmas=sigmas), 0.0) for here in (sure, unsure)
        )
        assert near - nearer == pytest.approx(0.1 * sigmas, abs=1e-6)


@pytest.mark.parametrize(
    "messages, more, why",
    [
        ([], {}, "local_costmap/costmap: nothing was heard yet"),
        ([grid([], frame="map")], {}, "local_costmap/costmap is in frame 'map'; the contract says 'odom'"),
        ([grid([])], {"steady": 6.2, "here": at(received=6.15)}, "local_costmap/costmap is silent for 1.2 s"),
        ([grid([], stamp=8.0)], {}, "has a stamp 2.1 s before now"),
        ([grid([], stamp=11.0)], {}, "has a stamp -0.9 s before now"),
        ([grid([])], {"here": at(stamp=9.0)}, r"odom \(odom\) has a stamp 1.1 s before now"),
        ([grid([])], {"here": at(received=4.0)}, r"odom \(odom\) is silent"),
        ([grid([])], {"here": at(x=math.nan)}, "is not finite"),
        ([grid([])], {"here": at(x=9.0)}, "the robot stands outside of the costmap, of 6 x 6 m"),
    ],
)
def test_without_a_costmap_that_can_be_used_there_is_no_scan_and_it_is_said_why(messages, more, why):
    with pytest.raises(CostmapError, match=why):
        seen_of(robot(), *messages, **more)


def test_a_costmap_that_cannot_be_read_is_told_until_one_can():
    found = CostmapScan(robot())
    found.take_place(at())
    found.unreadable(COSTMAP, "too large", 5.0)
    with pytest.raises(CostmapError, match="cannot be read: too large"):
        found.beams(None, 5.1, 10.1)
    found.take(COSTMAP, grid_in(grid([])), 5.0)
    assert not np.isfinite(found.beams(None, 5.1, 10.1).ranges).any()


def test_messages_that_make_no_sense_are_refused():
    flat = grid([])
    for change, why in (
        ({"width": 5000, "height": 5000}, "5000 x 5000 cells"), ({"width": 59}, "59 x 60 cells with 3600 costs"),
        ({"resolution": math.nan}, "cells of nan m"), ({"width": 0}, "0 x 60 cells"),
    ):  # fmt: skip
        message = grid([])
        for name, value in change.items():
            setattr(message.info, name, value)
        with pytest.raises(MessageError, match=why):
            grid_in(message)
    flat.info.origin.orientation.x, flat.info.origin.orientation.w = math.sin(0.1), math.cos(0.1)
    with pytest.raises(MessageError, match="does not lie flat"):
        grid_in(flat)
    with pytest.raises(MessageError, match="a polygon of 2 corners"):
        area_in(polygon((0, 0), (1, 1)))
    with pytest.raises(MessageError, match="not finite"):
        area_in(polygon((0, 0), (1, 1), (math.inf, 0)))


@pytest.mark.parametrize(
    "declared, why",
    [
        ({"frame": "map", "without": ["pose"]}, "costmap.frame: cells in .map. need a localised robot"),
        ({"without": ["odom"]}, "cells in 'odom' need odometry: declare state.odom"),
        ({"without": ["scan"]}, "costmap: its cells enter the scan that the gate hears: declare state.scan"),
        ({"scan": {"required": False}}, "expected state.scan.required: true"),
        ({"frame": "moon"}, "expected one of map, odom, base_link"),
        ({"lethal": 0}, "costmap.lethal"),
        ({"reach": 50.0}, "costmap.reach"),
        ({"polygons": ["a b"]}, r"costmap.polygons.0: expected the name of a topic"),
        ({"lidar": "guarded_scan"}, "'guarded_scan' is state.scan.topic too"),
    ],
)  # fmt: skip
def test_a_contract_whose_costmap_nobody_could_use_is_refused(declared, why):
    with pytest.raises(ContractError, match=why):
        robot(**declared)


def test_an_arm_has_no_costmap_and_a_robot_without_one_is_described_as_before():
    data = load_contract("panda").to_dict()
    with pytest.raises(ContractError, match="a costmap is for a base"):
        RobotContract.from_dict(data | {"costmap": {"topic": "costmap"}})
    assert "costmap" not in load_contract("arena").to_dict()
    with pytest.raises(CostmapError, match="none is declared"):
        CostmapScan(load_contract("arena"))
    told = robot(polygons=[AREA], lidar="scan")
    assert RobotContract.from_dict(told.to_dict()).costmap == told.costmap


def test_the_check_of_a_robot_tells_of_its_costmap_and_of_inflated_cells(tmp_path, capsys):
    file = tmp_path / "robot.yaml"
    for lethal, warned in ((100, False), (60, True)):
        file.write_text(yaml.safe_dump(robot(lethal=lethal, polygons=[AREA]).to_dict()))
        assert main(["check", "robot", str(file)]) == 0
        said = capsys.readouterr().out
        assert f"costmap {COSTMAP}, {AREA} in 'odom', cost {lethal} and more" in said
        assert ("counts inflated cells" in said) == warned
