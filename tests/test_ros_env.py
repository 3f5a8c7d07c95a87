# SPDX-License-Identifier: Apache-2.0
"""The environment of ROS processes: what Fast DDS makes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ros_harness import Probe
from std_msgs.msg import String

from jepa_ros.nodes import qos
from jepa_ros.ros_env import TRANSPORT_CHOICES, UDP_PROFILE


def test_messages_go_by_udp_and_no_port_of_shared_memory_is_opened():
    if os.environ.get(TRANSPORT_CHOICES[0]) != str(UDP_PROFILE):
        pytest.skip("the transports were chosen outside")
    one, other = Probe(), Probe()
    try:
        other.listen(String, "chatter", qos.COMMAND)
        out = one.node.create_publisher(String, "chatter", qos.COMMAND)
        other.each_spin.append(lambda: out.publish(String(data="x")))
        other.until(lambda: other.last("chatter"), "a message")
        assert "/dev/shm/fastrtps_port" not in Path("/proc/self/maps").read_text()
    finally:
        one.close()
        other.close()
