# SPDX-License-Identifier: Apache-2.0
"""Kinematics of arms: against PyBullet, against differences, and what is said of a description that does not fit."""

import numpy as np
import pytest

pytest.importorskip("pinocchio")
import pybullet as p
from arm_helpers import FINGERS, HOME, JOINTS, PANDA, panda, planar_urdf
from hypothesis import given, settings
from hypothesis import strategies as st

from jepa_ros.arm import ArmError, ArmKinematics, find, read
from jepa_ros.contract import RobotContract, load_contract

postures = st.lists(st.floats(0.0, 1.0), min_size=7, max_size=7).map(
    lambda shares: panda().lower + np.array(shares) * (panda().upper - panda().lower)
)


def test_the_tip_is_where_pybullet_has_it():
    client = p.connect(p.DIRECT)
    body = p.loadURDF(str(find(PANDA)), useFixedBase=True, physicsClientId=client)
    number = {p.getJointInfo(body, i, client)[1].decode(): i for i in range(p.getNumJoints(body, client))}
    tip = number["panda_grasptarget_hand"]
    rng = np.random.default_rng(0)
    for _ in range(20):
        q = rng.uniform(panda().lower, panda().upper)
        for name, value in zip(JOINTS, q, strict=True):
            p.resetJointState(body, number[name], value, physicsClientId=client)
        state = p.getLinkState(body, tip, computeForwardKinematics=True, physicsClientId=client)
        turn, at = panda().pose(q)
        np.testing.assert_allclose(at, state[4], atol=1e-5)
        np.testing.assert_allclose(turn.ravel(), p.getMatrixFromQuaternion(state[5]), atol=1e-4)
    p.disconnect(client)


@given(postures)
@settings(max_examples=50, deadline=None)
def test_the_jacobian_is_the_twist_of_a_small_motion(q):
    step = 1e-6
    for i in range(7):
        moved = q + step * np.eye(7)[i]
        np.testing.assert_allclose(panda().twist(q, moved, step), panda().jacobian(q)[:, i], atol=1e-4)


def test_twists_count_along_the_base_frame(tmp_path):
    file = tmp_path / "planar.urdf"
    file.write_text(planar_urdf())
    whole = ArmKinematics(read(str(file)), ["turn1", "turn2", "turn3"], "base", "tip")
    upper = ArmKinematics(read(str(file)), ["turn2", "turn3"], "bar1", "tip")
    np.testing.assert_allclose(whole.position([np.pi / 2, 0.0, 0.0]), [0.0, 1.2, 0.0], atol=1e-9)
    np.testing.assert_allclose(upper.position([np.pi / 2, 0.0]), [0.4, 0.8, 0.0], atol=1e-9)
    np.testing.assert_allclose(upper.jacobian([np.pi / 2, 0.0])[:, 0], [-0.8, 0.0, 0.0, 0.0, 0.0, 1.0], atol=1e-9)


def test_a_stretched_arm_is_near_singular_and_a_bent_one_is_not():
    stretched = np.array([0.0, 0.5, 0.0, -0.01, 0.0, 0.5, 0.0])
    assert panda().condition(HOME) < 17.0
    assert panda().condition(stretched) > 30.0


def test_a_small_arm_is_as_far_from_a_singularity_as_the_same_arm_in_large(tmp_path):
    q, found = [0.3, 0.8, 0.9], {}
    for scale in (1.0, 0.5, 0.2):
        text = planar_urdf().replace('xyz="0.4 0 0"', f'xyz="{0.4 / 1.2 * scale:.9f} 0 0"')
        (tmp_path / "planar.urdf").write_text(text)
        found[scale] = ArmKinematics(read(str(tmp_path / "planar.urdf")), ["turn1", "turn2", "turn3"], "base", "tip")
    large, *small = found.values()
    rows = np.flatnonzero(np.abs(large.jacobian(q)).sum(1))  # a planar arm: x, y and the turn
    for arm in small:
        enlarged = arm.jacobian(q)[rows] * np.array([arm.enlarged, arm.enlarged, 1.0])[:, None]
        np.testing.assert_allclose(enlarged, large.jacobian(q)[rows], atol=1e-6)
        assert arm.condition(q) == pytest.approx(large.condition(q), rel=1e-4)
    assert large.enlarged == pytest.approx(1.0) and panda().enlarged == 1.0  # of full size: the number as it is


def test_a_description_is_found_among_our_own_and_where_pip_puts_those_of_pinocchio_s_makers(tmp_path, monkeypatch):
    assert find("package://jepa_ros/robots/urdf/so101.urdf").name == "so101.urdf"
    file = tmp_path / "cmeel.prefix" / "share" / "made-up-robots" / "arm.urdf"
    file.parent.mkdir(parents=True)
    file.write_text(planar_urdf())
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find("package://made-up-robots/arm.urdf") == file


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_package:arm.urdf", "no Python package 'no_such_package'"),
        ("pybullet_data:franka_panda/none.urdf", "no such file"),
        ("package://nowhere/arm.urdf", "no package 'nowhere'"),
        ("mine/arm.urdf", "no such file"),
    ],
)
def test_a_missing_urdf_is_named(tmp_path, name, said):
    with pytest.raises(ArmError, match=said) as caught:
        find(name, tmp_path)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_relative_path_counts_from_the_contracts_folder(tmp_path):
    (tmp_path / "arm.urdf").write_text(planar_urdf())
    assert find("arm.urdf", tmp_path) == tmp_path / "arm.urdf"


def test_meshes_of_a_ros_package_are_found_through_its_prefix(tmp_path, monkeypatch):
    share = tmp_path / "share" / "little_arm"
    (share / "meshes").mkdir(parents=True)
    (share / "meshes" / "ball.stl").write_text("solid ball\nendsolid ball\n")
    text = planar_urdf().replace('<sphere radius="0.05"/>', '<mesh filename="package://little_arm/meshes/ball.stl"/>')
    file = tmp_path / "elsewhere" / "arm.urdf"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(ArmError, match=r"link 'bar1': mesh package://little_arm/meshes/ball\.stl cannot be found"):
        read(str(file))
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    assert str(share / "meshes" / "ball.stl") in read(str(file)).xml


@pytest.mark.parametrize("text", ["", "<robot", "<html></html>"])
def test_what_is_no_urdf_is_refused(tmp_path, text):
    file = tmp_path / "arm.urdf"
    file.write_text(text)
    with pytest.raises(ArmError, match="not a URDF"):
        read(str(file))


@pytest.mark.parametrize(
    ("joints", "tip", "said"),
    [
        ((*JOINTS[:-1], "panda_joint8x"), "panda_grasptarget", "no moving joint 'panda_joint8x'"),
        (JOINTS, "panda_thumb", "tip_frame: no frame 'panda_thumb'; its links are panda_link0"),
        (JOINTS[:-1], "panda_grasptarget", "panda_joint7 moves 'panda_grasptarget' .* not among the joints"),
        ((*JOINTS, "panda_finger_joint1"), "panda_grasptarget", "panda_finger_joint1 does not move"),
    ],
)
def test_joints_and_frames_that_do_not_fit_are_named(joints, tip, said):
    with pytest.raises(ArmError, match=said):
        ArmKinematics(read(PANDA), joints, "panda_link0", tip, {} if "finger" in said else FINGERS)


def test_a_contract_gives_its_arm():
    contract = load_contract("panda")
    arm = ArmKinematics.from_contract(contract)
    turn, at = arm.pose(np.array(contract.kinematics.arm.home))
    np.testing.assert_allclose(at, [0.48, 0.0, 0.22], atol=1e-3)
    np.testing.assert_allclose(turn[:, 2], [0.0, 0.0, -1.0], atol=1e-3)


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("kinematics", "urdf"), "none.urdf", r"kinematics: none.urdf: no such file"),
        (("kinematics", "tip_frame"), "thumb", r"kinematics: .*tip_frame: no frame 'thumb'"),
        (("limits", "position", "panda_joint1"), [-3.1, 3.1], r"limits.position.panda_joint1: .* wider than the URDF"),
    ],
)
def test_a_contract_that_does_not_fit_its_urdf_is_refused(keys, value, said):
    data = load_contract("panda").to_dict()
    section = data
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    with pytest.raises(ArmError, match=said) as caught:
        ArmKinematics.from_contract(RobotContract.from_dict(data, "mine.yaml"))
    assert str(caught.value).startswith("mine.yaml: ")
