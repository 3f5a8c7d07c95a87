# SPDX-License-Identifier: Apache-2.0
"""The links of an arm as arrays, and where they are in several postures at once: what the safety gate judges.

Joints, shapes and the pairs that can meet are those of Pinocchio's model (:class:`~jepa_ros.arm.links.ArmLinks`). Only
the chain of placements is multiplied here, for a few postures in one go: to ask Pinocchio for each of them and to copy
every placement out takes longer than a tick of the gate may. ``tests/test_arm_postures.py`` holds it to Pinocchio.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import coal
import numpy as np
import pinocchio as pin

from jepa_ros.arm.capsules import Capsule
from jepa_ros.arm.kinematics import ArmKinematics
from jepa_ros.arm.links import ArmLinks
from jepa_ros.arm.urdf import ArmError, find, read
from jepa_ros.contract.parts import Arm


class Postures(NamedTuple):
    """Where an arm is, B postures at once, in its base frame.

    Attributes:
        frames: (B, J + 1, 4, 4) placements of what each joint carries; the first is what stands still.
        ends: (B, C, 2, 3) ends of the capsules' segments [m].
        directions, origins: (B, J, 3) axes of the joints, and a point of each [m].
    """

    frames: np.ndarray
    ends: np.ndarray
    directions: np.ndarray
    origins: np.ndarray


class ArmShapes:
    """See the module.

    Args:
        links: the links. axes: the joints that are commanded, in order; the gripper's is the last where there is one.

    Attributes:
        size: J, the joints that move a link, the gripper's fingers each. column, factor: (J,) which axis moves a
            joint, and by how much. turning: (J,) it turns, else it slides.
        names: (C,) link of each capsule. radius: (C,) [m]. moves: (C, J) whether a joint moves a capsule.
        free: (C,) whether anything moves it; moving: those. pairs: (P, 2) capsules that can meet; apart: (P, J) joints
            that move the one against the other.
        arm: number of joints of the arm itself.
    """

    def __init__(self, links: ArmLinks, axes: tuple[str, ...]) -> None:
        arm, model = links.arm, links.arm.model
        self._links, self._model = links, model
        if model.frames[model.getFrameId(arm.base)].parentJoint:
            raise ArmError(f"{arm.description.path}: base_frame '{arm.base}' is moved by a joint: name a fixed link")
        names = list(model.names)[1:]
        hand = dict(arm.gripper)
        self.size, self.arm = len(names), len(arm.joints)
        self.column = np.array([axes.index(n) if n in arm.joints else len(axes) - 1 for n in names])
        self.factor = np.array([1.0 if n in arm.joints else hand[n] for n in names])
        self._constants(arm)
        rows = links.capsules()
        self.names = tuple(row.link for row in rows)
        self._joint = np.array([row.joint for row in rows])
        self._local = np.ones((len(rows), 2, 4))
        self._local[:, :, :3] = [(row.capsule.start, row.capsule.end) for row in rows]
        self.radius = np.array([row.capsule.radius for row in rows])
        above = np.zeros((self.size + 1, self.size), bool)
        for j in range(1, self.size + 1):
            above[j] = above[model.parents[j]]
            above[j, j - 1] = True
        self.moves = above[self._joint]
        self._moves = self.moves[:, None, :, None].astype(float)
        self.free = self.moves.any(1)
        self.moving = np.flatnonzero(self.free)
        self.pairs = np.array(links.pairs, dtype=int).reshape(-1, 2)
        self.apart = self.moves[self.pairs[:, 0]] != self.moves[self.pairs[:, 1]]
        tip = model.frames[model.getFrameId(arm.tip)]
        self._tip_joint, self._tip = tip.parentJoint, np.append(np.array(tip.placement.translation), 1.0)
        self._own = np.flatnonzero(above[tip.parentJoint])  # joints that move the tip
        self.tip_columns = self.column[self._own]
        self.half = 0.5 * np.linalg.norm(self._local[:, 1] - self._local[:, 0], axis=1)
        # A hull is used where one capsule holds all of it.
        alone = [self.names.count(name) == 1 for name in self.names]
        self._hulls = [hull if one else None for hull, one in zip(links.hulls(), alone, strict=True)]

    def _constants(self, arm: ArmKinematics) -> None:
        """Placement of joint j against its parent: fixed + varying * x + crossed * y, where x, y are the cosine and the
        sine of its angle, or its way and 0 where it slides."""
        model, data = arm.model, arm.data
        pin.computeJointJacobians(model, data, pin.neutral(model))
        n = self.size
        self._fixed, self._varying, self._crossed = np.zeros((3, n, 4, 4))
        self.turning, self._axis = np.zeros(n, bool), np.zeros((n, 3))
        for j in range(1, n + 1):
            place = model.jointPlacements[j]
            if model.parents[j] == 0:
                place = arm.base_placement.inverse() * place
            subspace = pin.getJointJacobian(model, data, j, pin.ReferenceFrame.LOCAL)[:, model.idx_vs[j]]
            turning = bool(np.linalg.norm(subspace[3:]) > 0.5)
            axis = subspace[3:] if turning else subspace[:3]
            one = np.zeros((3, 4, 4))
            if turning:
                one[0, :3, :3], one[0, 3, 3] = np.outer(axis, axis), 1.0
                one[1, :3, :3] = np.eye(3) - np.outer(axis, axis)
                one[2, :3, :3] = pin.skew(axis)
            else:
                one[0], one[1, :3, 3] = np.eye(4), axis
            self._fixed[j - 1], self._varying[j - 1], self._crossed[j - 1] = place.homogeneous @ one
            self.turning[j - 1], self._axis[j - 1] = turning, axis
        self._parents = list(model.parents)
        self._all_turn, self._sliding = bool(self.turning.all()), np.flatnonzero(~self.turning)

    def joint_names(self) -> list[str | None]:
        """The joint that carries each capsule; None for those that stand still."""
        return [self._model.names[int(j)] if j else None for j in self._joint]

    def local_ends(self) -> np.ndarray:
        """(C, 2, 3): ends of the capsules' segments in the frames of what their joints carry [m]."""
        return np.array(self._local[..., :3])

    # ---- where things are ----------------------------------------------------------------------------------------
    def at(self, commands: np.ndarray) -> Postures:
        """Where everything is at axis positions (B, A)."""
        q = commands[:, self.column] * self.factor
        x, y = np.cos(q), np.sin(q)
        if not self._all_turn:
            x, y = np.where(self.turning, x, q), np.where(self.turning, y, 0.0)
        local = self._fixed + self._varying * x[..., None, None] + self._crossed * y[..., None, None]
        frames = np.empty((len(q), self.size + 1, 4, 4))
        frames[:, 0] = np.eye(4)
        for j in range(self.size):
            np.matmul(frames[:, self._parents[j + 1]], local[:, j], out=frames[:, j + 1])
        ends = np.matmul(self._local, frames[:, self._joint].swapaxes(-1, -2))[..., :3]
        own = frames[:, 1:]
        return Postures(frames, ends, np.matmul(own[..., :3, :3], self._axis[..., None])[..., 0], own[..., :3, 3])

    def motion(self, where: Postures, k: int) -> np.ndarray:
        """(C, 2, J, 3): the velocity of the ends of the capsules for each joint's unit rate, in the k-th posture."""
        directions = where.directions[k]
        moved = _cross(directions, where.ends[k][:, :, None, :] - where.origins[k])
        if not self._all_turn:
            moved[:, :, self._sliding] = directions[self._sliding]
        moved *= self._moves
        return moved

    def tip_jacobians(self, where: Postures) -> np.ndarray:
        """(B, 6, n): the twist of the tip for the unit rates of the joints that move it, as Pinocchio has it."""
        directions, origins = where.directions[:, self._own], where.origins[:, self._own]
        found = np.empty((*directions.shape[:-1], 6))
        tip = np.matmul(where.frames[:, self._tip_joint], self._tip)[:, None, :3]
        found[..., :3], found[..., 3:] = _cross(directions, tip - origins), directions
        return found.swapaxes(-1, -2)

    # ---- the links' own hulls -------------------------------------------------------------------------------------
    def hull_distance(self, frames: np.ndarray, pair: int) -> tuple[float, np.ndarray] | None:
        """(distance [m], direction (3,) from the first to the second) of the hulls of two links in one posture, by
        coal; None where one of them has no hull, or where they overlap."""
        (a, at), (b, to) = (self._hull(frames, k) for k in self.pairs[pair])
        if a is None or b is None:
            return None
        request, result = coal.DistanceRequest(), coal.DistanceResult()
        request.enable_signed_distance = False
        distance = coal.distance(a, at, b, to, request, result)
        way = np.array(result.getNearestPoint2()) - np.array(result.getNearestPoint1())
        long = float(np.linalg.norm(way))
        return None if distance <= 1e-6 or long <= 1e-6 else (float(distance), way / long)

    def _hull(self, frames: np.ndarray, k: int) -> tuple[coal.CollisionGeometry | None, coal.Transform3s | None]:
        found = self._hulls[k]
        if found is None:
            return None, None
        hull, place = found
        whole = frames[self._joint[k]] @ place
        return hull, coal.Transform3s(whole[:3, :3], whole[:3, 3])


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products over the last axis; ``np.cross`` takes three times as long for so few."""
    x, y, z = a[..., 0], a[..., 1], a[..., 2]
    u, v, w = b[..., 0], b[..., 1], b[..., 2]
    out = np.empty(np.broadcast_shapes(a.shape, b.shape))
    out[..., 0], out[..., 1], out[..., 2] = y * w - z * v, z * u - x * w, x * v - y * u
    return out


def shapes_of(arm: Arm, folder: Path | None) -> ArmShapes:
    """The shapes of a contract's arm, its payload included; the same ones for the same arm.

    Raises:
        ArmError: the URDF or the SRDF cannot be used.
    """
    return _shapes(_Key(arm, folder))


class _Key:
    """An arm's description, to be looked up by what it says."""

    def __init__(self, arm: Arm, folder: Path | None) -> None:
        self.arm, self.folder, self.said = arm, folder, f"{folder} {arm}"

    def __hash__(self) -> int:
        return hash(self.said)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.said == other.said


@lru_cache(maxsize=32)
def _shapes(key: _Key) -> ArmShapes:
    said = key.arm
    hand = {} if said.gripper is None else {said.gripper.joint: 1.0, **said.gripper.mimics}
    arm = ArmKinematics(read(said.urdf, key.folder), said.joints, said.base_frame, said.tip_frame, hand)
    srdf = None if said.srdf is None else find(said.srdf, key.folder)
    load = said.payload
    carried = [] if load is None else [Capsule(np.array(load.start), np.array(load.end), load.radius)]
    axes = (*said.joints, *(() if said.gripper is None else (said.gripper.joint,)))
    return ArmShapes(ArmLinks(arm, (), srdf, carried), axes)
