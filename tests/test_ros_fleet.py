# SPDX-License-Identifier: Apache-2.0
"""Several robots and one model: each drives to its own goal, in a namespace of its own, with a bag of its own."""

from __future__ import annotations

import math
import os
import signal
from contextlib import ExitStack

import numpy as np
import psutil
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from live_bag import recorded
from nav_msgs.msg import Odometry
from ros_harness import Probe, forgive_chatter

from jepa_ros.bringup import graph as bringup
from jepa_ros.bringup.arguments import BringupError
from jepa_ros.bringup.stack import Stack
from jepa_ros.nodes import qos
from jepa_ros_sim.arena.reach import make_spec

ROBOTS = ("r1", "r2")
SPECS = [make_spec(number, 0, "fixed", False) for number in range(len(ROBOTS))]


def goal(x: float, y: float, yaw: float) -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = "map"
    message.pose.position.x, message.pose.position.y = x, y
    message.pose.orientation.z, message.pose.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
    return message


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    return tmp_path_factory.mktemp("bags")


@pytest.fixture(scope="module")
def fleet(bags):
    with ExitStack() as stacks:
        for number, name in enumerate(ROBOTS):
            given = {"namespace": name, "brain": "false", "model": "arena", "layout": "fixed"}
            given["start"] = ",".join(map(str, SPECS[number].start))
            given |= {"own_clock": "true", "record": "true", "bag": str(bags / name), "real_time_factor": "0.5"}
            stacks.enter_context(Stack("sim", given))
        quick = bags / "planner.yaml"
        quick.write_text("{search.samples: 64, search.elites: 8, search.deadline: 0.3}\n")
        given = {"robots": ",".join(ROBOTS), "use_sim_time": "true", "own_clock": "true"}
        given |= {"memory": str(bags / "memory"), "planner_params": str(quick)}
        brain = stacks.enter_context(Stack("fleet", given))
        brain.wait_ready()
        probe = stacks.enter_context(_probe())
        yield brain, probe


class _probe(Probe):
    """A probe that leaves with the block, and hears of both robots."""

    def __enter__(self):
        for name in ROBOTS:
            self.listen(DiagnosticArray, f"{name}/planner/status", qos.STATUS)
            self.listen(DiagnosticArray, f"{name}/safety_gate/state", qos.LATCHED)
            forgive_chatter(self, f"{name}/")
            self.listen(Odometry, f"{name}/sim/truth", qos.STATE)
        self.listen(DiagnosticArray, "fleet/status", qos.STATUS)
        return self

    def __exit__(self, *_):
        self.close()


def arrived(probe, name):
    return probe.values(f"{name}/planner/status").get("reason") == "arrived"


def mode(probe, name):
    return probe.values(f"{name}/safety_gate/state").get("mode")


def place(probe, name):
    p = probe.last(f"{name}/sim/truth").pose.pose.position
    return np.array([p.x, p.y])


def test_each_robot_arrives_at_its_own_goal_while_the_other_drives(fleet):
    _, probe = fleet
    for name in ROBOTS:
        probe.until(lambda n=name: mode(probe, n) == "ACTIVE", f"{name} armed")
    for name, spec in zip(ROBOTS, SPECS, strict=True):
        out = probe.node.create_publisher(PoseStamped, f"{name}/goal_pose", qos.LATCHED)
        probe.until(lambda o=out: o.get_subscription_count() > 0, "the planner hears goals")
        out.publish(goal(*spec.goal))
    for name, spec in zip(ROBOTS, SPECS, strict=True):
        probe.until(lambda n=name: arrived(probe, n), f"{name} arrived", 120)
        assert np.linalg.norm(place(probe, name) - spec.goal[:2]) < 0.15
    told = probe.values("fleet/status")
    assert (told["robots"], told["workers"]) == ("2", "2")
    assert int(told["answers"]) > 20 and float(told["together_mean"]) >= 1.0


def test_a_fleet_that_dies_stops_its_robots_and_comes_back_for_all_of_them(fleet):
    brain, probe = fleet
    os.kill(brain.pid("fleet"), signal.SIGKILL)
    for name in ROBOTS:
        probe.until(lambda n=name: mode(probe, n) != "ACTIVE", f"{name} stopped")
    for name in ROBOTS:
        probe.until(lambda n=name: mode(probe, n) == "ACTIVE", f"{name} again", 120)


def test_each_robot_has_a_bag_of_its_own_and_one_process_thinks_for_both(fleet, bags):
    brain, probe = fleet
    threads = psutil.Process(brain.pid("fleet")).num_threads()
    assert list(brain.pids()) == ["fleet"] and threads > 2
    assert sorted(p.name for p in (bags / "memory").iterdir()) == list(ROBOTS)
    for name in ROBOTS:
        wanted = {f"/{name}/image", f"/{name}/embedding", f"/{name}/cmd_vel", f"/{name}/clock"}
        topics = probe.until(lambda n=name, w=wanted: w <= recorded(bags / n) and recorded(bags / n), f"{wanted} in it")
        assert not [t for t in topics if t.startswith(tuple(f"/{other}/" for other in ROBOTS if other != name))]


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("fleet", {}, "expected different namespaces"),
        ("fleet", {"robots": "r1,r1"}, "expected different namespaces"),
        ("fleet", {"robots": "r1,r 2"}, "expected different namespaces"),
        ("fleet", {"robots": "r1", "gui": "true"}, "takes no argument 'gui'"),
        ("sim", {"own_clock": "true"}, "own_clock:=true is for a robot in a namespace"),
        ("sim", {"own_clock": "true", "namespace": "r1", "console": "true"}, "and without a console"),
    ],
)
def test_a_fleet_that_cannot_be_is_refused(kind, given, said):
    with pytest.raises(BringupError, match=said):
        bringup.graph(kind, given)
