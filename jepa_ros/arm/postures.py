# SPDX-License-Identifier: Apache-2.0
"""The links of an arm as arrays, and where they are in a posture: what the safety gate judges.

Joints, shapes, the pairs that can meet, placements and Jacobians are those of Pinocchio's model
(:class:`~jepa_ros.arm.links.ArmLinks`).
"""

from __future__ import annotations

import math
import threading
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


class Posture(NamedTuple):
    """Where an arm is, in its base frame.

    Attributes:
        frames: (J + 1, 4, 4) placements of what each joint carries; the first is what stands still.
        ends: (C, 2, 3) ends of the capsules' segments [m].
        twists: (6, J) how each joint's unit rate moves what it carries: velocity at the base frame's origin, and turn.
    """

    frames: np.ndarray
    ends: np.ndarray
    twists: np.ndarray


EYE = np.eye(4)
#: (9, 3): of the cross product of a turn with a point p, (p, result) by turn.
_CROSS = np.stack([np.cross(np.eye(3), unit).T for unit in np.eye(3)]).reshape(9, 3)


class _Scratch(threading.local):
    """What Pinocchio writes to, one for each thread."""

    def __init__(self, model: pin.Model) -> None:
        self.data = model.createData()
        self.placements = self.data.oMi


class ArmShapes:
    """See the module.

    Args:
        links: the links. axes: the joints that are commanded, in order; the gripper's is the last where there is one.

    Attributes:
        size: J, the joints that move a link, the gripper's fingers each. column, factor: (J,) which axis moves a
            joint, and by how much. turning: (J,) it turns, else it slides.
        names: (C,) link of each capsule. radius: (C,) [m]. moves: (C, J) whether a joint moves a capsule.
        free: (C,) whether anything moves it; moving: those. pairs: (P, 2) capsules that can meet; apart: (P, J) joints
            that move the one against the other; own: the same as (P, 1, 1, J). difference, either: (P, C), which make
            the difference of two capsules' values, and their sum; sizes: (P,) radii of balls around the two, added [m].
        arm: number of joints of the arm itself. enlarged: see :attr:`jepa_ros.arm.kinematics.ArmKinematics.enlarged`.
    """

    def __init__(self, links: ArmLinks, axes: tuple[str, ...]) -> None:
        arm, model = links.arm, links.arm.model
        self._links, self._model = links, model
        if model.frames[model.getFrameId(arm.base)].parentJoint:
            raise ArmError(f"{arm.description.path}: base_frame '{arm.base}' is moved by a joint: name a fixed link")
        names = list(model.names)[1:]
        hand = dict(arm.gripper)
        self.size, self.arm, self.enlarged = len(names), len(arm.joints), arm.enlarged
        self.column = np.array([axes.index(n) if n in arm.joints else len(axes) - 1 for n in names])
        self.factor = np.array([1.0 if n in arm.joints else hand[n] for n in names])
        self._scale = np.abs(self.factor)
        self._scratch = _Scratch(model)
        twists = pin.computeJointJacobians(model, self._scratch.data, pin.neutral(model))
        self.turning = np.abs(twists[3:]).max(0) > 0.1
        self._plain = model.nq == self.size  # a continuous joint is kept as cosine and sine
        base = arm.base_placement.inverse()
        self._base = None if base.isIdentity(0.0) else (base.homogeneous, base.toActionMatrix())
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
        self._moves = self.moves[:, None, None, :].astype(float)
        self.free = self.moves.any(1)
        self.moving = np.flatnonzero(self.free)
        self.pairs = np.array(links.pairs, dtype=int).reshape(-1, 2)
        self.apart = self.moves[self.pairs[:, 0]] != self.moves[self.pairs[:, 1]]
        self.own = self.apart[:, None, None, :].astype(float)
        number = np.arange(len(rows))
        first, second = (self.pairs[:, k, None] == number for k in (0, 1))
        self.difference, self.either = first * 1.0 - second, first * 1.0 + second
        self._tip = model.getFrameId(arm.tip)
        self._own = np.flatnonzero(above[model.frames[self._tip].parentJoint])  # joints that move the tip
        self.tip_columns = self.column[self._own]
        self.half = 0.5 * np.linalg.norm(self._local[:, 1] - self._local[:, 0], axis=1)
        self._request = coal.DistanceRequest()
        self._request.enable_signed_distance = False
        self.sizes = self.either @ (self.half + self.radius)
        # A hull is used where one capsule holds all of it.
        alone = [self.names.count(name) == 1 for name in self.names]
        self._hulls = [hull if one else None for hull, one in zip(links.hulls(), alone, strict=True)]

    def joint_names(self) -> list[str | None]:
        """The joint that carries each capsule; None for those that stand still."""
        return [self._model.names[int(j)] if j else None for j in self._joint]

    def local_ends(self) -> np.ndarray:
        """(C, 2, 3): ends of the capsules' segments in the frames of what their joints carry [m]."""
        return np.array(self._local[..., :3])

    # ---- where things are ----------------------------------------------------------------------------------------
    def spread(self, axes: np.ndarray) -> np.ndarray:
        """Widths (J,) of the joints' intervals for those of the axes (A,)."""
        return np.asarray(axes[self.column] * self._scale)

    def _configuration(self, command: np.ndarray) -> np.ndarray:
        """Pinocchio's configuration for axis positions (A,)."""
        q = command[self.column] * self.factor
        if self._plain:
            return np.asarray(q)
        full, model = np.empty(self._model.nq), self._model
        for row, size, value in zip(list(model.idx_qs)[1:], list(model.nqs)[1:], q, strict=True):
            full[row : row + size] = value if size == 1 else (np.cos(value), np.sin(value))
        return full

    def at(self, command: np.ndarray) -> Posture:
        """Where everything is at axis positions (A,)."""
        data, placements = self._scratch.data, self._scratch.placements
        twists = np.array(pin.computeJointJacobians(self._model, data, self._configuration(command)))
        frames = np.empty((self.size + 1, 4, 4))
        frames[0] = EYE
        for j in range(1, self.size + 1):
            frames[j] = placements[j].homogeneous
        if self._base is not None:
            placed, acted = self._base
            frames[1:], twists = placed @ frames[1:], acted @ twists
        ends = np.matmul(self._local, frames[self._joint].swapaxes(-1, -2))[..., :3]
        return Posture(frames, ends, twists)

    def motion(self, where: Posture) -> np.ndarray:
        """(C, 2, 3, J): the velocity of the ends of the capsules for each joint's unit rate."""
        crossed = (_CROSS @ where.twists[3:]).reshape(3, -1)  # (point, velocity x joint)
        moved = np.matmul(where.ends, crossed).reshape(*where.ends.shape, -1)
        moved += where.twists[:3]
        moved *= self._moves
        return np.asarray(moved)

    def tip_jacobian(self, command: np.ndarray) -> np.ndarray:
        """(6, n): the twist of the tip for the unit rates of the joints that move it, at axis positions (A,)."""
        found = pin.computeFrameJacobian(
            self._model, self._scratch.data, self._configuration(command), self._tip,
            pin.ReferenceFrame.LOCAL_WORLD_ALIGNED,
        )[:, self._own]  # fmt: skip
        if self._base is None:
            return np.asarray(found)
        turn = self._base[0][:3, :3]
        return np.concatenate([turn @ found[:3], turn @ found[3:]])

    # ---- the links' own hulls -------------------------------------------------------------------------------------
    def hull_distance(self, frames: np.ndarray, pair: int) -> tuple[float, np.ndarray] | None:
        """(distance [m], direction (3,) from the first to the second) of the hulls of two links in one posture, by
        coal; None where one of them has no hull, or where they overlap."""
        (a, at), (b, to) = (self._hull(frames, k) for k in self.pairs[pair])
        if a is None or b is None:
            return None
        result = coal.DistanceResult()
        distance = coal.distance(a, at, b, to, self._request, result)
        way = result.getNearestPoint2() - result.getNearestPoint1()
        long = math.sqrt(float(way @ way))
        return None if distance <= 1e-6 or long <= 1e-6 else (float(distance), way / long)

    def _hull(self, frames: np.ndarray, k: int) -> tuple[coal.CollisionGeometry | None, coal.Transform3s | None]:
        found = self._hulls[k]
        if found is None:
            return None, None
        hull, place = found
        whole = frames[self._joint[k]] @ place
        return hull, coal.Transform3s(whole[:3, :3], whole[:3, 3])


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
