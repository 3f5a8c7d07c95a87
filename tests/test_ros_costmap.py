# SPDX-License-Identifier: Apache-2.0
"""A costmap in front of the real gate: a lethal cell ahead stops the robot, and so does a costmap that falls silent."""

from __future__ import annotations

import math

import pytest
import yaml
from nav_msgs.msg import OccupancyGrid
from ros_harness import Child
from sensor_msgs.msg import LaserScan
from test_costmap import COSTMAP, grid, robot
from test_ros_gate_node import Scene

from jepa_ros.nodes import qos


@pytest.fixture
def scene(tmp_path):
    file = tmp_path / "guarded.yaml"
    file.write_text(yaml.safe_dump(robot().to_dict()))
    scene = Scene("auto_enable:=true", f"robot:={file}")
    scene.costmap = scene.frame = None
    scene.world.command = (0.2, 0.0)
    probe = scene.probe
    probe.listen(LaserScan, "guarded_scan", qos.STATE)
    probe.listen(scene.world.outs["signals"][0].msg_type, "costmap/status", qos.LATCHED)
    out = probe.node.create_publisher(OccupancyGrid, COSTMAP, qos.LATCHED)
    scene.cells = []

    def costmap():
        message = grid(scene.cells, frame=scene.frame or "odom")
        message.header.stamp = scene.world.now
        return message

    scene.world.outs["costmap"] = (out, 0.2, costmap)
    scene.world._next["costmap"] = 0.0
    space = probe.node.get_namespace()
    node = Child("-m", "jepa_ros.nodes.costmap", "--ros-args", "-r", f"__ns:={space}", "-p", f"robot:={file}")
    yield scene
    node.end()
    scene.close()


def told(scene) -> str:
    message = scene.probe.last("costmap/status")
    return "" if message is None else message.status[0].message


def test_a_lethal_cell_ahead_stops_the_robot_and_a_silent_costmap_too(scene):
    scene.mode("ACTIVE", timeout=60)
    scan = scene.probe.last("guarded_scan")
    assert scan.header.frame_id == "base_link" and not any(map(math.isfinite, scan.ranges))
    scene.cells = [(31, 29), (31, 30), (31, 31)]  # 0.15 m ahead: it is touched
    scene.reason("obstacle")
    scene.stands()
    scene.cells = []
    scene.mode("ACTIVE")
    scene.world.silent.add("costmap")
    scene.reason("scan_lost")
    scene.stands()
    scene.probe.until(lambda: "is silent for" in told(scene), "why there is no scan")
    scene.world.silent.clear()
    scene.mode("ACTIVE", timeout=30)
    scene.frame = "map"
    scene.reason("scan_lost")
    scene.probe.until(lambda: "is in frame 'map'; the contract says 'odom'" in told(scene), "why there is no scan")


def test_a_robot_without_a_costmap_is_told_so():
    node = Child("-m", "jepa_ros.nodes.costmap", "--ros-args", "-p", "robot:=arena")
    try:
        assert node.wait(60) == 2 and "costmap: none is declared; docs/neighbours.md" in node.text
    finally:
        node.end()
