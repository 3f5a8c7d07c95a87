# SPDX-License-Identifier: Apache-2.0
"""The contracts of real robots in robots/: each is taken, and its arms go, stand and stop under the gate."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

pytest.importorskip("pinocchio")
from table_reach import reaches

from jepa_ros.arm import ArmBody, ArmError, find
from jepa_ros.commands import cli
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.contract.resources import share_dir
from jepa_ros.safety.gate import Gate, GateConfig, Mode
from jepa_ros.safety.inputs import CommandIn, EstopIn, GateInputs, ImageIn, JointsIn, WrenchIn
from jepa_ros.worlds import find as find_world

ARMS = ("fr3", "ur5e", "so101")
#: Descriptions with meshes that `pip install example-robot-data` brings, and what the contract calls them.
MESHES = {
    "fr3": ("package://example-robot-data/robots/panda_description/urdf/panda.urdf", ("fr3_", "panda_")),
    "ur5e": ("package://example-robot-data/robots/ur_description/urdf/ur5_robot.urdf", ("", "")),
    "so101": ("package://example-robot-data/robots/so_arm_description/urdf/so101.urdf", ("", "")),
}


@pytest.mark.parametrize("name", [*ARMS, "turtlebot4"])
def test_its_contract_passes_its_check_and_warns_of_the_missing_emergency_stop_alone(name, capsys):
    assert cli.main(["check", "robot", name]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "ok"
    assert [line for line in said if "warning" in line] == [
        "  warning: watchdog.estop_required is false: nobody has to publish an e-stop for the robot to move"
    ]


@pytest.mark.parametrize("name", ARMS)
def test_its_joints_keep_inside_what_its_description_allows(name):
    body = ArmBody(load_contract(name))
    limits = body.contract.limits
    n = body.kinematics.size
    assert (limits.velocity[:n] <= body.kinematics.velocity).all()
    assert (limits.position_low[:n] > body.kinematics.lower).all()
    assert (limits.position_high[:n] < body.kinematics.upper).all()


class Arm:
    """A robot that does what the gate lets out, one tick later."""

    def __init__(self, contract: RobotContract) -> None:
        self.body, self.gate = ArmBody(contract), Gate(GateConfig.from_contract(contract, auto_enable=True))
        self.contract, self.state, self.k = contract, self.gate.initial_state(), 0
        self.at = np.append(self.body.home, np.zeros(self.body.size - self.body.kinematics.size))

    def run(self, action, seconds, force=0.0, estop=False):
        """Ask for an action; returns the last output and the joints of each tick, (T, J)."""
        way = []
        for _ in range(round(seconds * self.contract.gate_rate)):
            now = self.k * self.body.period
            command = self.body.command(np.asarray(action, float), self.at)
            inputs = GateInputs(
                command=CommandIn(command.tolist(), now, now, self.k, names=self.body.names),
                image=ImageIn(now, now, self.k), output_publishers=1, estop=EstopIn(now, estop),
                joint_states=JointsIn(now, now, self.body.names, self.at.tolist(), [0.0] * len(self.at)),
                heartbeats={"perception": now, "planner": now},
                wrench=WrenchIn(now, now, (force, 0.0, 0.0)) if "wrench" in self.contract.state else None,
            )  # fmt: skip
            self.state, output = self.gate.step(self.state, inputs, now, now)
            self.at = np.array(output.values) if output.publish else self.at
            way.append(self.at)
            self.k += 1
        return output, np.array(way)


@pytest.mark.parametrize("name", ARMS)
def test_it_goes_where_it_is_asked_stands_and_stops(name):
    arm = Arm(load_contract(name))
    still = np.zeros(len(arm.contract.action))
    arm.run(still, 1.0)
    begun, sideways = arm.body.tip(arm.at), still.copy()
    sideways[1] = 0.05
    output, way = arm.run(sideways, 1.5)
    moved = arm.body.tip(arm.at) - begun
    assert moved[1] > 0.05 and np.abs(moved[[0, 2]]).max() < 0.003, (moved, output.sentence)
    assert (np.abs(np.diff(way, axis=0)) * 50.0 <= arm.contract.limits.velocity + 1e-6).all()
    _, way = arm.run(still, 1.5)
    assert np.ptp(way[-25:], axis=0).max() == 0.0  # it stands
    arm.run(sideways * -1.0, 0.6)
    output, way = arm.run(sideways * -1.0, 1.5, estop=True)
    assert output.mode is Mode.ESTOP
    assert np.ptp(way[-25:], axis=0).max() == 0.0


@pytest.mark.parametrize("name", ["fr3", "ur5e"])
def test_what_pushes_at_its_wrist_slows_and_stops_it(name):
    levels = load_contract(name).state["wrench"]
    made = {}
    for force in (0.0, 0.5 * (levels.slow + levels.stop), levels.stop + 1.0):  # slow: a third of the joints' limits
        arm = Arm(load_contract(name))
        still = np.zeros(3)
        arm.run(still, 1.0)
        begun = arm.body.tip(arm.at)
        output, _ = arm.run([0.0, 0.0, -0.5], 0.5, force=force)
        made[force] = float(np.linalg.norm(arm.body.tip(arm.at) - begun)), output.reason
    free, slow, stopped = made.values()
    assert stopped == (0.0, "force") and 0.0 < slow[0] < 0.8 * free[0], made


@pytest.mark.parametrize("name", ARMS)
def test_at_the_table_it_reaches(name):
    begun, ended = reaches(*find_world(name))
    assert ended < 0.5 * begun, (begun, ended)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARMS)
def test_with_the_meshes_of_its_published_description_it_reaches_too(name, tmp_path):
    urdf, (ours, theirs) = MESHES[name]
    try:
        find(urdf)
    except ArmError:
        pytest.skip("example-robot-data is not installed")
    text = (share_dir() / "robots" / f"{name}.yaml").read_text(encoding="utf-8")
    plain = yaml.safe_load(text.replace(ours, theirs) if ours else text)
    plain["kinematics"]["urdf"] = urdf
    if name == "fr3":  # the Panda's ranges are others
        plain["limits"]["position"]["panda_joint6"] = [0.6, 3.7]
        plain["limits"]["position"]["panda_joint7"] = [-2.85, 2.85]
    (tmp_path / "arm.yaml").write_text(yaml.safe_dump(plain))
    begun, ended = reaches(*find_world(str(tmp_path / "arm.yaml")))
    assert ended < 0.5 * begun, (begun, ended)
