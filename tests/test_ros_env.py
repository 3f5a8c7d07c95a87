# SPDX-License-Identifier: Apache-2.0
"""The environment of ROS processes: what Fast DDS makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ros_harness import Probe
from std_msgs.msg import String

from jepa_ros.commands.cli import main
from jepa_ros.nodes import qos
from jepa_ros.ros_env import TRANSPORT_CHOICES, UDP_PROFILE, EnvironmentProblem, ready_for_ros, starting_ros


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


#: A variable with a value that ROS cannot use, and what is said of it.
UNUSABLE = [
    ("ROS_DOMAIN_ID", "abc", "expected a whole number from 0 to 232"),
    ("ROS_DOMAIN_ID", "-1", "expected a whole number from 0 to 232"),
    ("ROS_DOMAIN_ID", "300", "expected a whole number from 0 to 232"),
    ("ROS_STATIC_PEERS", "10.0.0.1,10.0.0.2", "expected hosts with ; between them"),
    ("ROS_STATIC_PEERS", "10.0.0.1;nobody.invalid", "'nobody.invalid' is no host that can be found"),
    ("ROS_AUTOMATIC_DISCOVERY_RANGE", "localhost", "did you mean 'LOCALHOST'?"),
    ("RMW_IMPLEMENTATION", "rmw_nobody_cpp", "it is not installed here"),
    ("ROS_LOG_DIR", "/proc/logs", "cannot be written"),
]
JOIN_A_GRAPH = ("doctor", "goal clear", "explore", "record -o {out}/bag", "up sim", "up robot", "demo --out {out}/d")


@pytest.mark.parametrize(("name", "value", "said"), UNUSABLE, ids=[f"{name}={value}" for name, value, _ in UNUSABLE])
def test_a_variable_that_ros_cannot_use_is_one_line_that_names_it(name, value, said, monkeypatch, capsys):
    monkeypatch.setenv(name, value)
    assert main(["gate", "state", "--timeout", "0.1"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {name}={value}: ") and said in told and told.count("\n") == 1


@pytest.mark.parametrize("line", JOIN_A_GRAPH)
def test_every_command_that_joins_a_graph_tells_it(line, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("ROS_DOMAIN_ID", "abc")
    assert main(line.format(out=tmp_path).split()) == 2
    assert capsys.readouterr().err == "error: ROS_DOMAIN_ID=abc: expected a whole number from 0 to 232\n"
    assert not list(tmp_path.iterdir())


def test_what_joins_no_graph_does_not_care(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "abc")
    assert main(["check", "robot", "arena"]) == 0


def test_a_middleware_that_is_installed_is_taken(monkeypatch):
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    monkeypatch.setenv("ROS_STATIC_PEERS", "127.0.0.1;localhost;")
    ready_for_ros()


def test_ros_starts_though_the_home_is_read_only():
    environment = {k: v for k, v in os.environ.items() if k not in ("ROS_LOG_DIR", "ROS_HOME")} | {"HOME": "/proc"}
    words = [sys.executable, "-m", "jepa_ros.commands.cli", "gate", "state", "--timeout", "0.2"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment)
    assert done.stderr.startswith("error: no message on /safety_gate/state"), done.stderr


def test_what_rcl_cannot_do_is_one_line():
    with (
        pytest.raises(EnvironmentProblem, match=r"^ROS does not start: error creating node: no network$"),
        starting_ros(),
    ):
        raise RuntimeError("error creating node: no network\n, at /project/src/participant.cpp:234")
