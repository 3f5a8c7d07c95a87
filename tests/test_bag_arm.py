# SPDX-License-Identifier: Apache-2.0
"""Bags of an arm become datasets: the twist of the tip that the joint commands made, and the joints measured."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("pinocchio")
from bag_helpers import START, header, image

from jepa_ros.arm import ArmBody
from jepa_ros.bags import CONTRACT_KEY, BagError
from jepa_ros.bags.dataset import build
from jepa_ros.bags.dataset.segments import CutSettings
from jepa_ros.bags.format.message_types import typestore
from jepa_ros.bags.format.schema import default_qos
from jepa_ros.bags.format.writer import BagWriter, WriterConfig
from jepa_ros.contract import load_contract
from jepa_ros.learning.data.dataset import Dataset

PANDA = load_contract("panda")
BODY = ArmBody(PANDA)
ACTION = np.array([0.02, -0.03, 0.02, 0.01])
TYPES = {
    "/image": "sensor_msgs/msg/Image",
    "/panda_arm_controller/joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
    "/joint_states": "sensor_msgs/msg/JointState",
    "/safety_gate/state": "diagnostic_msgs/msg/DiagnosticArray",
}


def joints(seconds: float) -> np.ndarray:
    """Where the joints are sent, tick by tick: the tip moves evenly by ACTION."""
    path = [np.append(BODY.home, 0.01)]
    for _ in range(round(seconds / BODY.period)):
        path.append(path[-1] + BODY.rates(ACTION, path[-1]) * BODY.period)
    return np.array(path)


def write(folder, seconds=4.0, silent=()):
    store, path, rows = typestore(), joints(seconds), []
    types, zero = store.types, np.zeros(0)
    camera = PANDA.cameras[0]

    def put(name, at, message):
        rows.append((START + round(at * 1e9), name, bytes(store.serialize_cdr(message, TYPES[name]))))

    for k, q in enumerate(path):
        t = k * BODY.period
        head = header(5_000_000_000 + round(t * 1e9))
        due = types["builtin_interfaces/msg/Duration"](sec=0, nanosec=20_000_000)
        point = types["trajectory_msgs/msg/JointTrajectoryPoint"](
            positions=path[min(k + 1, len(path) - 1)], velocities=zero, accelerations=zero, effort=zero,
            time_from_start=due,
        )  # fmt: skip
        names = list(BODY.names)
        sent = types["trajectory_msgs/msg/JointTrajectory"](header=head, joint_names=names, points=[point])
        put("/panda_arm_controller/joint_trajectory", t + 0.001, sent)
        felt = types["sensor_msgs/msg/JointState"](
            header=head, name=names[::-1], position=q[::-1].copy(), velocity=zero, effort=zero
        )
        put("/joint_states", t, felt)
        pair = types["diagnostic_msgs/msg/KeyValue"](key="mode", value="ACTIVE")
        status = types["diagnostic_msgs/msg/DiagnosticStatus"](
            level=0, name="safety_gate", message="", hardware_id="", values=[pair]
        )
        put("/safety_gate/state", t + 0.002, types["diagnostic_msgs/msg/DiagnosticArray"](header=head, status=[status]))
        if k % 5 == 0:
            pixels = np.full((camera.height, camera.width, 3), k % 256, np.uint8)
            rows.append((START + round((t + 0.008) * 1e9), "/image", image(5_000_000_000 + round(t * 1e9), pixels)))
    custom = {CONTRACT_KEY: json.dumps(PANDA.to_dict())}
    with BagWriter(folder, WriterConfig(min_free_bytes=0), custom_data=custom) as writer:
        topics = {
            name: writer.add_topic(name, kind, [default_qos()]) for name, kind in TYPES.items() if name not in silent
        }
        for received, name, data in sorted(rows, key=lambda row: row[0]):
            if name in topics:
                writer.write(topics[name], received, data)
    return path


def test_a_drive_of_an_arm_becomes_twists_of_its_tip_and_joints(tmp_path):
    path = write(tmp_path / "bag")
    build([tmp_path / "bag"], tmp_path / "data", settings=CutSettings(min_length=5))
    data = Dataset(tmp_path / "data", PANDA)
    assert len(data) == 1 and data.steps >= 18
    actions = data.slice("actions", 0)[1:]
    np.testing.assert_allclose(actions, np.tile(ACTION, (len(actions), 1)), atol=2e-3)
    np.testing.assert_allclose(data.slice("state_joint_states", 0), path[::10][: data.steps], atol=1e-6)


def test_without_joints_a_bag_of_an_arm_is_refused(tmp_path):
    write(tmp_path / "bag", silent=("/joint_states",))
    with pytest.raises(BagError, match="/joint_states"):
        build([tmp_path / "bag"], tmp_path / "data", settings=CutSettings(min_length=5))
