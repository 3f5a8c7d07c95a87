# SPDX-License-Identifier: Apache-2.0
"""The whole graph with an arm at its table: it comes up, the gate lets it move, and its joints are all that is sent."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("pinocchio")
import torch
from diagnostic_msgs.msg import DiagnosticArray
from live_bag import recorded, usable_steps
from ros_harness import Probe, forgive_chatter
from sensor_msgs.msg import Image
from trajectory_msgs.msg import JointTrajectory

from jepa_ros.bags.dataset.segments import CutSettings
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.replay.rethink import Moments
from jepa_ros.bringup.stack import Stack
from jepa_ros.commands import cli
from jepa_ros.contract import load_contract
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.nodes import qos
from jepa_ros.nodes.convert import fill
from jepa_ros.world_model.checkpoint import save_checkpoint
from jepa_ros.world_model.model import ModelConfig, WorldModel

pytestmark = pytest.mark.slow
CONTRACT = load_contract("panda")
CUT = CutSettings(min_length=4, max_idle=60.0)
STATE, OUT, TRUTH = "safety_gate/state", CONTRACT.command.topic, "sim/score"


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """A running stack that records; its checkpoint has random weights (it drives, and gets nowhere)."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    sizes = ModelConfig.inputs_of(CONTRACT)
    model = WorldModel(ModelConfig(**sizes, action_dim=CONTRACT.action_dim, readouts=("distance", "tip")))
    save_checkpoint(folder, model, {"contract": CONTRACT.to_dict()})
    planner = folder / "planner.yaml"
    planner.write_text("{arrival.arrive: 1.0e-9, arrival.leave: 1.0e-9, search.samples: 32, search.elites: 8}\n")
    given = {"robot": "panda", "model": str(folder), "planner_params": str(planner), "distractors": "2"}
    stack = Stack("sim", given | {"record": "true", "bag": str(folder / "bag")})
    stack.start()
    listening = Probe()
    listening.stack, listening.folder = stack, folder
    listening.listen(DiagnosticArray, STATE, qos.LATCHED)
    forgive_chatter(listening)
    listening.listen(JointTrajectory, OUT, qos.COMMAND)
    listening.listen(DiagnosticArray, TRUTH, qos.STATUS)
    try:
        stack.wait_ready()
        yield listening
    finally:
        stack.stop()
        listening.close()


def test_an_arm_is_moved_by_joint_commands_that_the_gate_lets_through(probe):
    def tip():
        return np.array(json.loads(probe.values(TRUTH)["tip"]))

    probe.until(lambda: probe.values(STATE).get("mode") in ("ACTIVE", "LIMITED"), "a gate that is armed", 60)
    probe.until(lambda: probe.last(TRUTH) is not None, "the tip")
    start = tip()
    goals = probe.node.create_publisher(Image, "goal_image", qos.LATCHED)
    camera = CONTRACT.cameras[0]
    pixels = np.random.default_rng(5).integers(0, 255, (camera.height, camera.width, 3), dtype=np.uint8)
    goals.publish(fill(Image(), pixels, "rgb8"))
    probe.until(lambda: np.linalg.norm(tip() - start) > 0.02, "a tip that moves", 60)
    sent = probe.last(OUT)
    assert list(sent.joint_names) == list(CONTRACT.command.joints) and len(sent.points[0].positions) == 8
    low, high = np.array(CONTRACT.kinematics.arm.workspace)
    assert (tip() > low - 0.02).all() and (tip() < high + 0.02).all()


def test_what_was_recorded_of_an_arm_is_repeated_and_becomes_a_dataset(probe, capsys):
    """Runs last: it ends the stack."""
    probe.until(lambda: probe.values(STATE).get("mode") in ("ACTIVE", "LIMITED"), "a gate that is armed", 60)
    needed = {"/image", "/embedding", "/command_raw", "/safety_gate/state", f"/{OUT}", "/joint_states"}
    bag = probe.folder / "bag"
    probe.until(lambda: recorded(bag) >= needed and usable_steps(bag, CUT) >= 10, "some steps to record", 120)
    probe.stack.stop()
    bag, data, report = (str(probe.folder / name) for name in ("bag", "data", "report.json"))
    words = ["replay", bag, "--compare", "--model", str(probe.folder), "--json", report]
    assert cli.main(words) == 0, capsys.readouterr()
    comparison = json.loads((probe.folder / "report.json").read_text())["comparison"]
    assert min(comparison["counts"][name] for name in ("embedding", "command_raw", "safety_gate/state")) > 5
    assert comparison["largest"]["safety_gate/state"] < 1e-5  # rad and m: joints are told with all digits
    with BagReader(bag) as reader:  # from the middle of the bag: the planner carried something on from before
        moments = Moments(reader, model=str(probe.folder))
        number = max(k for k, step in enumerate(moments.steps) if step.reason == "ok")  # a busy machine misses some
        then, again = moments.steps[number], moments.rethink(number)
    assert np.abs(again.output.command - then.command).max() < 1e-6
    assert cli.main(["dataset", bag, "--out", data, "--min-length", "4", "--max-idle", "60"]) == 0, capsys.readouterr()
    found = Dataset(data, CONTRACT)
    assert np.abs(found.slice("actions", 0)).max() > 0.01 and found.slice("state_joint_states", 0).shape[1] == 8
