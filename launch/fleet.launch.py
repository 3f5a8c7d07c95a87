# SPDX-License-Identifier: Apache-2.0
"""ros2 launch jepa_ros fleet.launch.py key:=value ... (`--show-args` lists them). See jepa_ros/bringup/graph.py."""

from jepa_ros.bringup.ros_launch import describe


def generate_launch_description():
    """What `jepa-ros up fleet` starts."""
    return describe("fleet")
