# SPDX-License-Identifier: Apache-2.0
"""The links of an arm as arrays: where they are in several postures at once, as Pinocchio and coal have it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pinocchio")

import pinocchio as pin
from arm_helpers import FINGERS, JOINTS, PANDA, planar_urdf

from jepa_ros.arm import ArmKinematics, ArmLinks, Description, read
from jepa_ros.arm.postures import ArmShapes


def panda_shapes() -> tuple[ArmKinematics, ArmLinks, ArmShapes]:
    arm = ArmKinematics(read(PANDA), JOINTS, "panda_link0", "panda_grasptarget", FINGERS)
    links = ArmLinks(arm)
    return arm, links, ArmShapes(links, (*JOINTS, "panda_finger_joint1"))


def planar_shapes() -> tuple[ArmKinematics, ArmLinks, ArmShapes]:
    joints = ("turn1", "turn2", "turn3")
    text = planar_urdf()
    described = Description(Path("planar.urdf"), text, dict.fromkeys(joints, "revolute"), ("base",))
    arm = ArmKinematics(described, joints, "base", "tip")
    links = ArmLinks(arm)
    return arm, links, ArmShapes(links, joints)


@pytest.mark.parametrize("make", [panda_shapes, planar_shapes])
def test_links_axes_and_jacobians_are_pinocchio_s(make) -> None:
    arm, _, shapes = make()
    rng = np.random.default_rng(0)
    low, high = np.maximum(arm.lower, -3.0), np.minimum(arm.upper, 3.0)
    opening = rng.uniform(0.0, 0.04, (5, 1)) if arm.gripper else np.zeros((5, 0))
    q = np.concatenate([rng.uniform(low, high, (5, arm.size)), opening], 1)
    for row in q:
        where = shapes.at(row)
        pin.forwardKinematics(arm.model, arm.data, arm.configuration(row[: arm.size], float(row[arm.size :].sum())))
        for j in range(1, arm.model.njoints):
            place = (arm.base_placement.inverse() * arm.data.oMi[j]).homogeneous
            np.testing.assert_allclose(where.frames[j], place, atol=1e-12)
        np.testing.assert_allclose(shapes.tip_jacobian(row), arm.jacobian(row[: arm.size]), atol=1e-12)


def test_the_motion_of_a_link_is_how_its_ends_change() -> None:
    _, _, shapes = panda_shapes()
    q = np.array([0.1, -0.3, 0.2, -2.2, 0.3, 2.0, 0.785, 0.02])
    where, by = shapes.at(q), 1e-6
    for j in range(8):
        moved = q.copy()
        moved[j] += by
        change = (shapes.at(moved).ends - where.ends) / by
        own = (shapes.column == j) * shapes.factor
        made = np.einsum("cexj,j->cex", shapes.motion(where), own)
        np.testing.assert_allclose(made, change, atol=1e-5)


def test_distances_of_hulls_are_those_of_the_links() -> None:
    arm, links, shapes = panda_shapes()
    q = np.array([0.0, -0.0486, 0.0, -2.4275, 0.0, 2.3789, 0.7854])
    near = links.clearances(q, 0.02)
    frames = shapes.at(np.append(q, 0.02)).frames
    distances = [shapes.hull_distance(frames, k) for k in range(len(shapes.pairs))]
    assert min(d[0] for d in distances if d is not None) == pytest.approx(near.self_collision, abs=1e-6)
    assert arm.size == shapes.arm
