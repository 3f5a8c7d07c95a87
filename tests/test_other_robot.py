# SPDX-License-Identifier: Apache-2.0
"""A robot that is not ours (other_robot.py): one YAML file, and it is driven, recorded, learned from, examined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from live_bag import recorded, usable_steps
from ros_harness import Child, Probe, forgive_chatter
from toy_world import planar_config

from jepa_ros.bags import GUARDRAILS_KEY
from jepa_ros.bags.dataset import build
from jepa_ros.bags.dataset.segments import CutSettings
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bringup import graph as bringup
from jepa_ros.bringup.stack import Stack
from jepa_ros.commands import cli
from jepa_ros.commands.doctor_graph import examine
from jepa_ros.commands.doctor_rules import ERROR
from jepa_ros.commands.explore import Explorer
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.nodes import qos
from jepa_ros.world_model.checkpoint import save_checkpoint
from jepa_ros.world_model.model import WorldModel

HERE = Path(__file__).resolve().parent
YAML = str(HERE / "other_robot.yaml")
STATE, STATUS = "safety_gate/state", "planner/status"
CUT = CutSettings(min_length=4, max_idle=60.0)
RECORDED = {"/ceiling_cam/color/image_raw", "/safety_gate/state", "/mobile_base/cmd_vel"}
FLOOR = "[{name: floor, kind: keep_in, unit: m, frame: world, box: {center: [0, 0], size: [3.0, 2.25]}}]\n"


@pytest.fixture(scope="module")
def cart():
    child = Child(str(HERE / "other_robot.py"))
    yield child
    child.end()


@pytest.fixture
def probe():
    made = Probe()
    made.listen(DiagnosticArray, STATE, qos.LATCHED)
    made.listen(DiagnosticArray, STATUS, qos.STATUS)
    forgive_chatter(made)
    made.listen(Twist, "/mobile_base/cmd_vel", qos.COMMAND)
    yield made
    made.close()


def moved(probe) -> bool:
    return any(m.linear.x or m.angular.z for _, m in probe.received["/mobile_base/cmd_vel"])


def test_it_is_explored_recorded_and_made_a_dataset(cart, probe, tmp_path, capsys):
    guardrails = tmp_path / "floor.yaml"
    guardrails.write_text(FLOOR)
    given = {"robot": YAML, "brain": "false", "record": "true", "bag": str(tmp_path / "bag")}
    with Stack("robot", given | {"guardrails": str(guardrails)}) as stack:
        stack.wait_ready()
        probe.until(lambda: recorded(tmp_path / "bag") >= RECORDED, "the recorder to hear gate and camera", 60)
        assert cli.main(["gate", "state"]) == 1 and "DISABLED" in capsys.readouterr().out
        assert cli.main(["gate", "enable"]) == 0
        with Explorer(load_contract(YAML), seed=0, scale=1.0) as explorer:
            for _ in range(15):
                assert explorer.drive(20, lambda: probe.spin(0.0)) >= 20  # and the probe forgives what it hears
                if "/amcl_pose" in recorded(tmp_path / "bag") and usable_steps(tmp_path / "bag", CUT) >= 10:
                    break
        found = examine(load_contract(YAML), "", 1.0, brain=False)
        assert not [f for f in found if f.level == ERROR], found
        assert cli.main(["gate", "disable"]) == 0
        stack.check()
    with BagReader(tmp_path / "bag") as bag:
        assert bag.custom_data[GUARDRAILS_KEY] == FLOOR
    report = build([tmp_path / "bag"], tmp_path / "data", settings=CUT)
    assert report["steps"] >= 8, report
    data = Dataset(tmp_path / "data")
    assert data.slice("images", 0).shape[1:] == (64, 64, 3) and np.isfinite(data.slice("poses", 0)).all()
    assert np.abs(data.slice("actions", 0)).max() > 0.05


def test_a_model_drives_it_under_the_gate(cart, probe, tmp_path):
    contract = load_contract(YAML)
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "model", WorldModel(planar_config()), {"contract": contract.to_dict()})
    quick = tmp_path / "planner.yaml"
    quick.write_text("{arrival.arrive: 1.0e-9, arrival.leave: 1.0e-9, search.samples: 32, search.elites: 8}\n")
    given = {"robot": YAML, "model": str(tmp_path / "model"), "planner_params": str(quick), "composed": "true"}
    with Stack("robot", given) as stack:
        stack.wait_ready()
        assert "camera" not in stack.pids()  # the YAML names its driver's topic
        probe.until(lambda: probe.values(STATUS).get("reason") == "idle", "an idle planner", 60)
        assert cli.main(["gate", "enable"]) == 0
        probe.until(lambda: probe.values(STATE).get("mode") in ("ACTIVE", "LIMITED"), "an armed gate", 60)
        assert cli.main(["goal", "0.5", "-0.2", "0.0", "--robot", YAML, "--timeout", "60"]) == 0
        probe.until(lambda: moved(probe), "a command that moves", 60)
        stack.check()


def test_what_the_yaml_says_reaches_the_gate():
    contract = load_contract(YAML)
    assert contract.lidar() == {"scan_frame": "front_laser_link", "scan_offset": (0.08, 0.0, 0.0)}
    assert contract.cameras[0].image_topic == "/ceiling_cam/color/image_raw"
    assert RobotContract.from_dict(contract.to_dict()).to_dict() == contract.to_dict()
    names = [node.executable for node in bringup.graph("robot", {"robot": YAML}).nodes]
    assert names == ["safety_gate", "perception", "planner"]
    assert "camera" in [n.executable for n in bringup.graph("robot", {"robot": YAML, "camera": "true"}).nodes]
