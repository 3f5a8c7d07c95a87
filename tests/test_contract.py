# SPDX-License-Identifier: Apache-2.0
"""The robot contract: what is wrong in it is said by the path of the key."""

import copy
import re

import numpy as np
import pytest
import yaml

from jepa_ros.contract import ContractError, RobotContract, load_contract, share_dir
from jepa_ros.planning.arrival import ArrivalConfig


@pytest.fixture
def data():
    return yaml.safe_load((share_dir() / "robots" / "arena.yaml").read_text())


def change(data, path, value):
    data = copy.deepcopy(data)
    *parents, last = path
    node = data
    for key in parents:
        node = node[key]
    if value is KeyError:
        del node[last]
    else:
        node[last] = value
    return data


def test_arena_is_read_and_survives_a_round_trip():
    contract = load_contract("arena")
    again = RobotContract.from_dict(contract.to_dict())
    assert again.digest() == contract.digest()
    assert contract.differences(again) == []


def test_actions_are_normalised_linearly_and_back():
    contract = load_contract("arena")
    values = np.random.default_rng(0).uniform(contract.action_low, contract.action_high, (50, 2))
    unit = contract.normalise(values)
    assert np.abs(unit).max() <= 1.0
    np.testing.assert_allclose(contract.denormalise(unit), values, atol=1e-12)
    np.testing.assert_allclose(contract.normalise(contract.action_high), 1.0)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("rate",), KeyError, r"rate: missing"),
        (("ratee",), 5.0, r"ratee: unknown key; did you mean 'rate'"),
        (("rate",), "fast", r"rate: expected a number above 0 and at most 100 Hz, found str 'fast'"),
        (("rate",), float("nan"), r"rate: expected a finite number"),
        (("action", 0, "unit"), "km/h", r"action\[0\].unit: 'linear.x' is in m/s"),
        (("action", 0, "low"), 0.5, r"action\[0\].low: expected low < high, found low 0.5 and high 0.4"),
        (("action", 1, "name"), "angular.w", r"action\[1\].name: expected a component of a Twist"),
        (("cameras",), [], r"cameras: expected at least one camera"),
        (("cameras", 0, "name"), "cam", r"cameras\[0\].name: the first camera is called 'image'"),
        (
            ("cameras", 0, "crop"),
            [0, 0, 500, 500],
            r"cameras\[0\].crop: expected \[x, y, width, height\] inside 128x128",
        ),
        (("limits", "velocity", "linear.x"), 0.1, r"limits.velocity.linear.x: is 0.1 m/s, but action"),
        (("limits", "velocity", "linear.x"), KeyError, r"limits.velocity.linear.x: missing"),
        (("watchdog", "comand_timeout"), 1.0, r"watchdog.comand_timeout: unknown key; did you mean 'command_timeout'"),
        (("state", "lidar"), {"topic": "scan"}, r"state.lidar: unknown state"),
        (("command", "kind"), "twist_stmped", r"command.kind: .*did you mean 'twist_stamped'"),
        (("footprint", "radius"), -0.1, r"footprint.radius: expected a number above 0 m"),
        (("contract",), 7, r"contract: expected schema 1 or 2, found 7"),
        (("guardrails",), "none", r"guardrails: expected a list"),
        (("cameras", 0, "topic"), "/cam/image_raw/compressed", r"cameras\[0\].topic: expected the base topic"),
        (("cameras", 0, "crop"), [0, 0, 64.5, 64], r"cameras\[0\].crop: .*whole numbers"),
        (
            ("cameras", 0, "size"),
            16_000_000,
            r"\[0\].size: expected a whole number from \d+ to 2048",
        ),
        (
            ("cameras", 0, "width"),
            1_000_000,
            r"\[0\].width: expected a whole number from \d+ to 16384",
        ),
        (("cameras", 0, "topic"), "cam/", r"cameras\[0\].topic: expected the name of a topic"),
        (("command", "topic"), "cmd vel!", r"command.topic: expected the name of a topic"),
        (("command", "topic"), "odom", r"command.topic: 'odom' is state.odom.topic too"),
        (("command", "topic"), "command_raw", r"command.topic: 'command_raw' is a topic of jepa_ros itself"),
        (("estop_topic",), "cmd_vel", r"command.topic: 'cmd_vel' is estop_topic too"),
        (("state", "pose", "topic"), "/odom", r"state.pose.topic: '/odom' is state.odom.topic too"),
        (("name",), "../../etc", r"name: expected letters, digits"),
        (
            ("footprint",),
            {"kind": "polygon", "points": [[0, 0], [1, 1], [1, 0], [0, 1]]},
            r"footprint.points: .*cross",
        ),
        (("state", "scan", "offset"), [0, 0, 0], r"state.scan.offset: unknown key"),
        (("state", "odom", "frame"), "odom", r"state.odom.frame: unknown key"),
        (("cameras", 0, "size"), [64, 40], r"cameras\[0\].size: expected multiples of 16"),
        (("cameras", 0, "size"), [64.5, 48], r"cameras\[0\].size: .*whole numbers"),
        (("cameras", 0, "model"), False, r"cameras: expected the model to see one camera"),
        (("state", "scan", "model"), True, r"state.scan.model: a model takes joint_states and odom"),
        (("state", "joint_states", "model"), True, r"state.joint_states.model: .* odom of a base"),
        (("kinematics", "urdf"), "arm.urdf", r"kinematics.urdf: unknown key"),
    ],
)
def test_a_wrong_key_is_named_with_its_path(data, path, value, expected):
    with pytest.raises(ContractError, match=expected):
        RobotContract.from_dict(change(data, path, value), "file.yaml")


def test_errors_name_the_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("contract: 1\nname: [unclosed\n")
    with pytest.raises(ContractError, match=re.escape(str(file))):
        load_contract(file)
    with pytest.raises(ContractError, match="cannot be read"):
        load_contract(tmp_path / "missing.yaml")
    with pytest.raises(ContractError, match="known: arena, fr3, panda"):
        load_contract("nosuch")


def test_yaml_cannot_build_python_objects(tmp_path):
    file = tmp_path / "evil.yaml"
    file.write_text("name: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ContractError, match="not valid YAML"):
        load_contract(file)


def test_differences_list_every_changed_key(data):
    a = RobotContract.from_dict(data)
    b = RobotContract.from_dict(change(change(data, ("action", 0, "high"), 0.3), ("watchdog", "image_timeout"), 9.0))
    lines = a.differences(b)
    assert "action[0].high: 0.4 != 0.3" in lines
    assert "watchdog.image_timeout: 0.5 != 9.0" in lines
    assert len(lines) == 2
    assert a.model_differences(b) == ["action[0].high: 0.4 != 0.3"]


@pytest.fixture
def panda():
    return yaml.safe_load((share_dir() / "robots" / "panda.yaml").read_text())


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("kinematics", "urdf"), KeyError, r"kinematics.urdf: missing"),
        (("kinematics", "joints"), [], r"kinematics.joints: expected at least one name"),
        (("kinematics", "home", "panda_joint3"), KeyError, r"kinematics.home.panda_joint3: missing"),
        (
            ("kinematics", "home", "panda_joint4"),
            1.0,
            r"limits.position.panda_joint4: .* does not hold kin",
        ),
        (("kinematics", "workspace", "low"), [0.7, 0, 0], r"kinematics.workspace.low: expected each number below"),
        (("kinematics", "gripper", "joint"), "panda_joint1", r"kinematics.gripper.joint: .* one of the arm's joints"),
        (("kinematics", "gripper"), KeyError, r"action\[3\].name: expected a component of the tip's twist"),
        (
            ("action", 0, "name"),
            "linear.x",
            r"action\[0\].name: expected a component of the tip's twist or",
        ),
        (("action", 0, "unit"), "rad/s", r"action\[0\].unit: 'tip.linear.x' is in m/s"),
        (("action", 3, "unit"), "rad/s", r"action\[3\].unit: 'gripper' is in m/s \(kinematics.gripper.unit\)"),
        (("command", "kind"), "twist", r"command.kind: 'twist' does not fit kinematics.kind 'arm'"),
        (("command", "values"), KeyError, r"command.values: missing"),
        (("command", "joints"), ["panda_joint1"], r"command.joints: expected the names of the arm's joints, then"),
        (("limits", "velocity", "panda_joint2"), KeyError, r"limits.velocity.panda_joint2: missing"),
        (("state", "odom"), {"model": True}, r"state.odom.model: a model takes the joint_states of an arm"),
    ],
)
def test_a_wrong_key_of_an_arm_is_named_with_its_path(panda, path, value, expected):
    with pytest.raises(ContractError, match=expected):
        RobotContract.from_dict(change(panda, path, value), "file.yaml")


def test_a_panda_plans_twists_of_its_tip_and_is_commanded_by_joint_positions():
    contract = load_contract("panda")
    assert [a.name for a in contract.action] == ["tip.linear.x", "tip.linear.y", "tip.linear.z", "gripper"]
    assert [a.name for a in contract.axes][:2] == ["panda_joint1", "panda_joint2"]
    assert [a.unit for a in contract.axes] == ["rad"] * 7 + ["m"]
    assert contract.axes[3].high == pytest.approx(-0.0698)
    (state,) = contract.kept_state
    assert state.name == "joint_states" and state.values == tuple(a.name for a in contract.axes)
    assert contract.model_state == ()


def test_rates_are_commanded_where_the_contract_says_velocity(panda):
    contract = RobotContract.from_dict(change(panda, ("command", "values"), "velocity"))
    assert [a.unit for a in contract.axes] == ["rad/s"] * 7 + ["m/s"]
    assert (contract.axes[0].low, contract.axes[0].high) == (-1.5, 1.5)


def test_an_arm_survives_a_round_trip():
    contract = load_contract("panda")
    again = RobotContract.from_dict(contract.to_dict())
    assert contract.differences(again) == [] and again.kinematics == contract.kinematics


def test_a_contract_of_the_first_schema_is_read_as_it_stands(data):
    old = RobotContract.from_dict(change(data, ("contract",), 1))
    assert old.differences(RobotContract.from_dict(data)) == []
    assert old.to_dict()["contract"] == 2


def test_a_model_depends_on_what_it_sees_and_on_no_more(data):
    further = {"name": "rear", "width": 320, "height": 240, "rate": 10.0, "size": [96, 64]}
    plain = RobotContract.from_dict(data)
    described = RobotContract.from_dict(change(data, ("cameras",), [*data["cameras"], further]))
    seen = RobotContract.from_dict(change(data, ("cameras",), [*data["cameras"], {**further, "model": True}]))
    assert plain.model_differences(described) == []
    assert len(plain.model_differences(seen)) == 1
    assert [c.size for c in seen.model_cameras] == [(64, 64), (96, 64)]
    moved = RobotContract.from_dict(change(data, ("state", "odom", "model"), True))
    assert plain.model_differences(moved) == ["state: absent != ['odom']"]
    assert moved.model_state[0].values == ("linear.x", "angular.z")


def test_a_contract_says_how_near_its_robot_has_arrived(data, panda):
    def arrival(plain, **given):
        found = RobotContract.from_dict(plain | {"arrival": given}).arrival
        return found.arrive, found.leave

    assert arrival(data) == (0.05, 0.09) and arrival(panda) == (0.008, 0.014)
    assert arrival(panda, arrive=0.02) == (0.02, 0.02) and arrival(data, arrive=0.1, leave=0.3) == (0.1, 0.3)
    with pytest.raises(ContractError, match=r"arrival.leave: expected a number of at least 0.1 m, found 0.05"):
        arrival(data, arrive=0.1, leave=0.05)
    assert ArrivalConfig.of(RobotContract.from_dict(panda)).arrive == 0.008


def test_one_number_may_stand_for_all_joints_of_an_arm_but_not_for_its_gripper(panda):
    panda["limits"]["velocity"] = {"joints": 1.5, "panda_joint2": 0.5, "panda_finger_joint1": 0.1}
    assert RobotContract.from_dict(panda).limits.velocity.tolist() == [1.5, 0.5, *[1.5] * 5, 0.1]
    del panda["limits"]["velocity"]["panda_finger_joint1"]
    with pytest.raises(ContractError, match=r"limits.velocity.panda_finger_joint1: missing"):
        RobotContract.from_dict(panda)


def test_where_a_urdf_lies_does_not_matter_to_a_model(panda):
    here, there = (
        RobotContract.from_dict(change(panda, ("kinematics", "urdf"), name))
        for name in ("a.urdf", "package://p/a.urdf")
    )
    assert here.model_differences(there) == []
    home = RobotContract.from_dict(change(panda, ("kinematics", "home", "panda_joint1"), 0.5))
    assert home.model_differences(RobotContract.from_dict(panda)) == ["kinematics.home.panda_joint1: 0.5 != 0.0"]
