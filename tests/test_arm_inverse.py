# SPDX-License-Identifier: Apache-2.0
"""Differential inverse kinematics: makes the twist where it can, and stays within joints and sense where it cannot."""

import numpy as np
import pytest

pytest.importorskip("pinocchio")
from arm_helpers import HOME, panda
from hypothesis import given, settings
from hypothesis import strategies as st

from jepa_ros.arm import ArmError, ArmKinematics, InverseKinematics, read

LOW, HIGH = panda().lower + 0.05, panda().upper - 0.05
small = st.floats(-0.1, 0.1)


def solver(velocity=None, held=()):
    return InverseKinematics(panda(), LOW, HIGH, panda().velocity if velocity is None else velocity, HOME, held)


@given(st.lists(small, min_size=6, max_size=6))
@settings(max_examples=60, deadline=None)
def test_away_from_every_limit_the_tip_moves_as_asked(twist):
    motion = solver().rates(HOME, np.array(twist))
    np.testing.assert_allclose(panda().jacobian(HOME) @ motion.rates, twist, atol=1e-6)
    assert motion.scale == 1.0 and not motion.ends and motion.damping == 0.0


@given(st.lists(st.floats(0.0, 1.0), min_size=7, max_size=7), st.lists(st.floats(-2, 2), min_size=6, max_size=6))
@settings(max_examples=150, deadline=None)
def test_rates_keep_every_limit_in_every_posture(shares, twist):
    q = LOW + np.array(shares) * (HIGH - LOW)
    for _ in range(5):
        motion = solver().rates(q, np.array(twist))
        assert np.all(np.abs(motion.rates) <= panda().velocity + 1e-9)
        q = q + motion.rates * 0.02
        assert np.all(q >= LOW - 1e-9) and np.all(q <= HIGH + 1e-9)


def test_too_fast_a_twist_is_slowed_down_along_its_direction():
    motion = solver(velocity=np.full(7, 0.2)).rates(HOME, np.array([0.3, 0.2, -0.1, 0, 0, 0]))
    made = panda().jacobian(HOME) @ motion.rates
    assert motion.scale < 1.0
    np.testing.assert_allclose(made[:3] / np.linalg.norm(made[:3]), np.array([3, 2, -1]) / np.sqrt(14), atol=1e-6)


def test_near_a_singularity_rates_stay_bounded():
    q = np.array([0.0, 0.9, 0.0, -0.4, 0.0, 1.0, 0.785])
    motion = solver().rates(q, np.array([0.2, 0.0, 0.0, 0.0, 0.0, 0.0]))
    plain = np.linalg.pinv(panda().jacobian(q)) @ [0.2, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert motion.damping > 0.0
    assert np.abs(motion.rates).max() < 1.0 < 10.0 < np.abs(plain).max()


@given(st.lists(st.floats(0.0, 1.0), min_size=7, max_size=7))
@settings(max_examples=50, deadline=None)
def test_asked_for_nothing_no_joint_moves(shares):
    q = LOW + np.array(shares) * (HIGH - LOW)
    motion = solver(held=(3, 4, 5)).rates(q, np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]))  # what is held is not asked for
    assert np.abs(motion.rates).max() < 1e-12


def test_a_joint_at_its_end_is_named_and_the_others_take_over():
    q = HOME.copy()
    q[5] = HIGH[5]
    away = np.array([0.0, 0.0, 0.0, 0.0, -0.2, 0.0])
    assert (np.linalg.pinv(panda().jacobian(q)) @ away)[5] > 0.01  # it would have to go on
    motion = solver().rates(q, away)
    assert motion.rates[5] <= 1e-9 and "panda_joint6" in motion.ends


def test_what_the_action_leaves_out_is_held_where_home_has_it():
    ik, q, rng = solver(held=(3, 4, 5)), HOME.copy(), np.random.default_rng(0)
    for k in range(400):
        if k % 20 == 0:
            pull = -0.3 * (panda().position(q) - panda().position(HOME))
            twist = np.concatenate([rng.uniform(-0.1, 0.1, 3) + pull, np.full(3, np.nan)])
        q = q + ik.rates(q, twist).rates * 0.02
    turn, home = panda().pose(q)[0], panda().pose(HOME)[0]
    assert np.arccos((np.trace(turn @ home.T) - 1.0) / 2.0) < 0.02


def five_joints(tmp_path):
    """An arm that turns about z, bends three times and rolls: five joints, as hobby arms have."""
    axes = {"pan": "0 0 1", "lift": "0 1 0", "elbow": "0 1 0", "flex": "0 1 0", "roll": "0 0 1"}
    rows, parent = ['<link name="base"/>'], "base"
    for (name, axis), z in zip(axes.items(), (0.06, 0.05, 0.12, 0.13, 0.06), strict=True):
        rows.append(
            f'<link name="{name}_link"/><joint name="{name}" type="revolute"><parent link="{parent}"/>'
            f'<child link="{name}_link"/><origin xyz="0 0 {z}"/><axis xyz="{axis}"/>'
            '<limit lower="-2.5" upper="2.5" velocity="3" effort="10"/></joint>'
        )
        parent = f"{name}_link"
    rows.append(
        f'<link name="tip"/><joint name="end" type="fixed"><parent link="{parent}"/><child link="tip"/>'
        '<origin xyz="0 0 0.08"/></joint>'
    )
    (tmp_path / "five.urdf").write_text(f'<robot name="five">{"".join(rows)}</robot>')
    arm = ArmKinematics(read(str(tmp_path / "five.urdf")), list(axes), "base", "tip")
    return InverseKinematics(arm, arm.lower, arm.upper, arm.velocity, np.array([0.0, 0.5, 1.2, 0.9, 0.0]), (3, 4, 5))


@pytest.mark.parametrize("way", [[0.05, 0, 0], [0, 0.05, 0], [0, -0.05, 0], [0, 0, 0.05], [0.03, 0.03, -0.03]])
def test_with_too_few_joints_what_is_asked_for_comes_before_what_is_held(way, tmp_path):
    ik = five_joints(tmp_path)
    q, begun = ik.home.copy(), ik.arm.position(ik.home)
    for _ in range(60):
        motion = ik.rates(q, np.concatenate([way, np.zeros(3)]))
        made = ik.arm.jacobian(q) @ motion.rates
        np.testing.assert_allclose(made[:3], motion.scale * np.array(way), atol=1e-6)
        q = q + motion.rates * 0.02
    np.testing.assert_allclose(ik.arm.position(q) - begun, 1.2 * np.array(way), atol=2e-3)
    turned = ik.arm.pose(ik.home)[0].T @ ik.arm.pose(q)[0]
    assert np.arccos((np.trace(turned) - 1.0) / 2.0) < 0.35  # as near to home's as five joints can


def test_with_too_few_joints_the_tip_is_put_where_it_can_be_and_turned_as_nearly_as_it_can(tmp_path):
    ik = five_joints(tmp_path)
    aim = ik.arm.position(ik.home) + np.array([-0.02, 0.08, 0.03])
    q = ik.posture(aim)
    np.testing.assert_allclose(ik.arm.position(q), aim, atol=1e-4)
    with pytest.raises(ArmError, match="cannot be put at"):
        ik.posture(np.array([1.0, 0.0, 0.2]))
