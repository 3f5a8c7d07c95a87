# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros explore` with an arm: its tip moves about, by joint commands, under the gate and inside its workspace."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pinocchio")
from diagnostic_msgs.msg import DiagnosticArray
from ros_harness import Probe, forgive_chatter
from sensor_msgs.msg import JointState

from jepa_ros.arm import ArmBody
from jepa_ros.bringup.stack import Stack
from jepa_ros.commands import cli
from jepa_ros.commands.explore import Explorer
from jepa_ros.contract import load_contract
from jepa_ros.nodes import qos

pytestmark = pytest.mark.slow


def test_an_arm_is_explored_inside_its_workspace_without_a_model():
    contract = load_contract("panda")
    body, probe = ArmBody(contract), Probe()
    probe.listen(DiagnosticArray, "safety_gate/state", qos.LATCHED)
    forgive_chatter(probe)
    probe.listen(JointState, "joint_states", qos.STATE)
    try:
        with Stack("sim", {"robot": "panda", "brain": "false"}) as stack:
            stack.wait_ready()
            assert cli.main(["gate", "enable"]) == 0
            with Explorer(contract, seed=0, scale=1.0, sim_time=True) as explorer:
                assert explorer.drive(30, lambda: probe.spin(0.0)) >= 30
            stack.check()
        heard = [dict(zip(m.name, m.position, strict=True)) for _, m in probe.received["joint_states"]]
        tips = np.array([body.tip(np.array([at[name] for name in body.names])) for at in heard])
        assert np.linalg.norm(np.ptp(tips, axis=0)) > 0.05
        assert (tips > body.low - 0.02).all() and (tips < body.high + 0.02).all()
    finally:
        probe.close()
