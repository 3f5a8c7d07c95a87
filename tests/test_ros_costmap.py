# SPDX-License-Identifier: Apache-2.0
"""The costmap of docs/neighbours.md in front of the real gate: what is in the way stops it, and so does silence."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PolygonStamped
from nav_msgs.msg import OccupancyGrid
from rclpy.parameter import Parameter
from ros_harness import Child
from sensor_msgs.msg import LaserScan
from test_costmap import grid, polygon
from test_ros_gate_node import Scene

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.nodes import qos
from jepa_ros.nodes.costmap import CostmapNode
from jepa_ros.safety.config import GateConfig

ROOT = Path(__file__).parents[1]
COSTMAP, AREA, LIDAR = "local_costmap/costmap", "keep_out_area", "scan"
ACROSS = (0.1, -1.0), (0.4, -1.0), (0.4, 1.0), (0.1, 1.0)


def example() -> RobotContract:
    """The arena's robot with what the page shows of a contract."""
    text = (ROOT / "docs" / "neighbours.md").read_text(encoding="utf-8")
    shown = yaml.safe_load(text.split("## Nav2: costmaps")[1].split("```yaml")[1].split("```")[0])
    data = load_contract("arena").to_dict()
    return RobotContract.from_dict({**data, "state": data["state"] | shown["state"], "costmap": shown["costmap"]})


class Surroundings:
    """Costmap, area and lidar of the world in front of a gate; what is in the way can be changed."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.cells, self.corners, self.frame = scene, [], (), "odom"
        probe, world = scene.probe, scene.world
        probe.listen(LaserScan, "guarded_scan", qos.STATE)
        probe.listen(DiagnosticArray, "costmap/status", qos.LATCHED)
        for name, kind, topic, profile, make in (
            ("costmap", OccupancyGrid, COSTMAP, qos.LATCHED, lambda: grid(self.cells, frame=self.frame)),
            ("area", PolygonStamped, AREA, qos.COMMAND, lambda: polygon(*self.corners)),
            ("lidar", LaserScan, LIDAR, qos.STATE, self._scan),
        ):
            out = probe.node.create_publisher(kind, topic, profile)
            world.outs[name] = out, 0.05 if name == "lidar" else 0.2, lambda make=make: self._stamped(make())
            world._next[name] = 0.0

    def _stamped(self, message):
        message.header.stamp = self.scene.world.now
        return message

    def _scan(self) -> LaserScan:
        scan = LaserScan(angle_min=-2.0, angle_increment=0.02, range_min=0.02, range_max=6.0, ranges=[5.0] * 200)
        scan.header.frame_id = "base_link"
        return scan

    def told(self, words: str) -> None:
        """Wait until the node says why there is no scan."""
        said = self.scene.probe.last
        self.scene.probe.until(lambda: words in said("costmap/status").status[0].message, f"'{words}'")


@pytest.fixture
def contract_file(tmp_path):
    file = tmp_path / "guarded.yaml"
    file.write_text(yaml.safe_dump(example().to_dict()))
    return file


@pytest.fixture
def around(contract_file):
    scene = Scene("auto_enable:=true", f"robot:={contract_file}")
    scene.world.command = (0.2, 0.0)
    space = scene.probe.node.get_namespace()
    node = Child("-m", "jepa_ros.nodes.costmap", "--ros-args", "-r", f"__ns:={space}", "-p", f"robot:={contract_file}")
    yield Surroundings(scene)
    node.end()
    scene.close()


def test_a_lethal_cell_or_an_area_ahead_stops_the_robot_and_so_does_silence(around):
    scene = around.scene
    scene.mode("ACTIVE", timeout=60)
    scan = scene.probe.last("guarded_scan")
    assert scan.header.frame_id == "base_link" and set(scan.ranges) == {5.0, math.inf} and len(scan.ranges) > 300
    around.cells = [(31, 29), (31, 30), (31, 31)]  # 0.15 m ahead: they are touched
    scene.reason("obstacle")
    scene.stands()
    around.cells = []
    scene.mode("ACTIVE")
    around.corners = ACROSS
    scene.reason("obstacle")
    scene.stands()
    around.corners = ()
    scene.mode("ACTIVE")
    for name, words in (("costmap", f"{COSTMAP} is silent for"), ("area", f"{AREA} is silent for"),
                        ("lidar", f"{LIDAR} is silent for")):  # fmt: skip
        scene.world.silent.add(name)
        scene.reason("scan_lost")
        scene.stands()
        around.told(words)
        scene.world.silent.clear()
        scene.mode("ACTIVE", timeout=30)
    around.frame = "map"
    scene.reason("scan_lost")
    around.told("is in frame 'map'; the contract says 'odom'")


def test_the_node_allows_for_the_pose_what_the_gate_is_told_to(contract_file):
    rclpy.init()
    found = []
    for text in ("", "{pose_sigma: 3.0, region_margin: 0.1}"):
        given = [Parameter("robot", value=str(contract_file)), Parameter("settings", value=text)]
        node = CostmapNode(parameter_overrides=given)
        found.append(node._scan.sigmas)
        node.destroy_node()
    rclpy.shutdown()
    assert found == [GateConfig.from_contract(load_contract("arena")).pose_sigma, 3.0]


def test_settings_that_the_gate_would_refuse_are_refused(contract_file):
    words = "-p", f"robot:={contract_file}", "-p", "settings:='{pose_sigma: -5}'"
    node = Child("-m", "jepa_ros.nodes.costmap", "--ros-args", *words)
    try:
        assert node.wait(60) == 2 and "pose_sigma: expected a number from 0 to 10" in node.text
    finally:
        node.end()


def test_a_robot_without_a_costmap_is_told_so():
    node = Child("-m", "jepa_ros.nodes.costmap", "--ros-args", "-p", "robot:=arena")
    try:
        assert node.wait(60) == 2 and "costmap: none is declared; docs/neighbours.md" in node.text
    finally:
        node.end()
