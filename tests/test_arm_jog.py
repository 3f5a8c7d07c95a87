# SPDX-License-Identifier: Apache-2.0
"""Jogging an arm through the gate: by a twist of the tip and by single joints; what comes when the operator lets go."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pinocchio")
pytest.importorskip("pybullet_data")

from benchmarks.rigs.gate.arm_scenarios import posture
from benchmarks.rigs.gate.arm_truth import truth_of
from benchmarks.rigs.gate.arms import panda
from benchmarks.rigs.gate.rig import Rig
from jepa_ros.arm import ArmError
from jepa_ros.arm.jog import Jog
from jepa_ros.contract import RobotContract
from jepa_ros.safety import CommandIn, Mode


class Jogged:
    """A gate that hears a jog as teleoperation at every tick, and an arm that does what leaves."""

    def __init__(self, values: str = "position", **more) -> None:
        self.contract = RobotContract.from_dict(panda(values=values, **more), "bench")
        self.rig = Rig(contract=self.contract)
        self.rig.robot.q = posture()
        self.rig.arm(posture() if values == "position" else [0.0] * 8)
        self.jog, self.truth = Jog(self.contract), truth_of(self.contract)

    def run(self, seconds: float, ask=lambda jog, now: None) -> list:
        outs = []
        for _ in range(round(seconds / self.rig.cfg.period)):
            rig = self.rig
            ask(self.jog, rig.steady)
            command, speaks = self.jog.command(np.array(rig.robot.q), rig.steady)
            if speaks:
                rig._sequence += 1
                values = [] if command is None else command.tolist()
                rig.newest["teleop"] = CommandIn(values, rig.ros, rig.steady, rig._sequence, still=command is None)
            outs.append(rig.tick())
        return outs

    def tip(self) -> np.ndarray:
        return self.truth.tip(np.array([self.rig.robot.q]))[0]


@pytest.mark.parametrize("values", ["position", "velocity"])
def test_a_twist_moves_the_tip_along_its_axis_and_letting_go_stops_it(values: str) -> None:
    arm = Jogged(values)
    before = arm.tip()
    outs = arm.run(1.0, lambda jog, now: jog.twist(np.array([0.0, 0.1, 0.0, 0.0, 0.0, 0.0]), "panda_link0", now))
    moved = arm.tip() - before
    assert 0.07 < moved[1] < 0.11 and np.abs(moved[[0, 2]]).max() < 0.006, moved
    assert outs[-1].source == "teleop" and outs[-1].mode in (Mode.ACTIVE, Mode.LIMITED), outs[-1].sentence
    arm.run(0.4)  # nobody asks any more
    at = arm.tip()
    arm.run(1.0)
    assert np.linalg.norm(arm.tip() - at) < 1e-3, "it goes on"


def test_a_twist_may_be_told_along_the_axes_of_the_tip() -> None:
    arm = Jogged()
    before = arm.tip()
    arm.run(0.6, lambda jog, now: jog.twist(np.array([0.0, 0.0, 0.1, 0.0, 0.0, 0.0]), "panda_grasptarget", now))
    assert (arm.tip() - before)[2] < -0.03, "the tip's z axis points down"


def test_single_joints_turn_and_the_others_stand() -> None:
    arm = Jogged()
    arm.run(1.0, lambda jog, now: jog.joints({"panda_joint1": 0.4}, now))
    moved = np.array(arm.rig.robot.q) - posture()
    assert 0.3 < moved[0] < 0.45 and np.abs(moved[1:]).max() < 1e-9


def test_a_jog_ends_before_a_box() -> None:
    box = {"center": [0.5, 0.35, 0.3], "size": [0.4, 0.1, 0.6]}
    wall = {"name": "wall", "kind": "keep_out", "unit": "m", "box": box}
    arm = Jogged(guardrails=[wall])
    outs = arm.run(4.0, lambda jog, now: jog.twist(np.array([0.0, 0.15, 0.0, 0.0, 0.0, 0.0]), "", now))
    ends = arm.truth.ends(np.array([arm.rig.robot.q]))
    assert 0.0 < arm.truth.outside(ends, box)[0] < 0.06
    assert any("link_region" in out.reasons for out in outs)


def test_what_cannot_be_meant_is_refused() -> None:
    jog = Jog(RobotContract.from_dict(panda(), "bench"))
    with pytest.raises(ArmError, match="frame 'camera'"):
        jog.twist(np.zeros(6), "camera", 0.0)
    with pytest.raises(ArmError, match="not finite"):
        jog.twist(np.full(6, np.nan), "", 0.0)
    with pytest.raises(ArmError, match="no joint 'elbow'"):
        jog.joints({"elbow": 1.0}, 0.0)
    assert jog.command(np.array(posture()), 1.0) == (None, False), "it speaks though nothing was asked"
