# SPDX-License-Identifier: Apache-2.0
"""A node that is started by itself: a wrong argument is one line, and its graph stays on this machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def start(*words: str, **without) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120, **without)


@pytest.mark.parametrize(
    ("node", "arguments", "said"),
    [
        ("safety_gate", ("-p", "command_topic:=bad topic"), "parameter 'command_topic' is 'bad topic'"),
        ("safety_gate", ("-r", "__ns:=/a b"), "__ns:=/a b"),
        ("planner", ("-p", "command_topic:=bad topic"), "parameter 'command_topic' is 'bad topic'"),
        ("perception", ("-r", "__ns:=/a b"), "__ns:=/a b"),
    ],
)
def test_a_wrong_argument_ends_it_with_the_reason_and_exit_code_2(node, arguments, said):
    done = start("-m", f"jepa_ros.nodes.{node}", "--ros-args", *arguments)
    assert done.returncode == 2
    told = done.stdout + done.stderr
    assert "Traceback" not in told
    (fatal,) = [line for line in told.splitlines() if "FATAL" in line]  # rcl may have a line of its own before
    assert said in fatal


def test_its_graph_stays_on_this_machine_where_nobody_says_otherwise():
    code = (
        "import os; from jepa_ros.nodes.process import begin; begin([])\n"
        "print(os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'], 'udp.xml' in os.environ['FASTRTPS_DEFAULT_PROFILES_FILE'])"
    )
    names = ("ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTRTPS_DEFAULT_PROFILES_FILE")
    bare = {k: v for k, v in os.environ.items() if k not in names}
    assert start("-c", code, env=bare).stdout == "LOCALHOST True\n"
    chosen = {**bare, "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}
    assert start("-c", code, env=chosen).stdout == "SUBNET True\n"
