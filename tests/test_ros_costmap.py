# SPDX-License-Identifier: Apache-2.0
"""The costmap of docs/neighbours.md in front of the real gate: what is in the way stops it, and so does silence."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PolygonStamped
from nav_msgs.msg import OccupancyGrid
from ros_harness import Child
from sensor_msgs.msg import LaserScan
from test_costmap import grid, polygon
from test_ros_gate_node import Scene

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.nodes import qos

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
def around(tmp_path):
    file = tmp_path / "guarded.yaml"
    file.write_text(yaml.safe_dump(example().to_dict()))
    scene = Scene("auto_enable:=true", f"robot:={file}")
    scene.world.command = (0.2, 0.0)
    space = scene.probe.node.get_namespace()
    node = Child("-m", "jepa_ros.nodes.costmap", "--ros-args", "-r", f"__ns:={space}", "-p", f"robot:={file}")
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


def test_a_robot_without_a_costmap_is_told_so():
    node = Child("-m", "jepa_ros.nodes.costmap", "--ros-args", "-p", "robot:=arena")
    try:
        assert node.wait(60) == 2 and "costmap: none is declared; docs/neighbours.md" in node.text
    finally:
        node.end()
