# SPDX-License-Identifier: Apache-2.0
"""Forward kinematics of an arm's tip, its Jacobian, and the twist that a joint motion made; by Pinocchio.

Everything is told in the arm's base frame: positions in m, rotations as matrices, twists as
``[linear.x, linear.y, linear.z, angular.x, angular.y, angular.z]`` of the tip along the axes of the base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pinocchio as pin

from jepa_ros.arm.urdf import ArmError, Description, read

if TYPE_CHECKING:
    from jepa_ros.contract import RobotContract


#: Rotation (3, 3) and position (3,) [m].
Pose = tuple[np.ndarray, np.ndarray]
#: Length of an arm from its first joint to its tip [m] from which on a condition number counts metres as they are.
FULL_SIZE = 1.0


class ArmKinematics:
    """One serial arm between two frames of a URDF.

    Args:
        description: of the robot. joints: of the arm, in the order of every joint vector here.
        base, tip: names of frames (links) of the URDF.
        gripper: {joint: factor}: joints that follow the gripper's opening, each by its factor.

    Raises:
        ArmError: a frame or joint that the URDF lacks, a joint between base and tip that ``joints`` lacks, or one of
            ``joints`` that does not move the tip.
    """

    def __init__(
        self, description: Description, joints: Sequence[str], base: str, tip: str,
        gripper: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        self.description, self.joints, self.gripper = description, tuple(joints), dict(gripper or {})
        where = description.path
        for name in (*self.joints, *self.gripper):
            if name not in description.joints:
                raise ArmError(f"{where}: no moving joint '{name}'; it has {', '.join(description.joints)}")
        full = pin.buildModelFromXML(description.xml)
        for what, name in (("base_frame", base), ("tip_frame", tip)):
            if not full.existFrame(name):
                raise ArmError(f"{where}: {what}: no frame '{name}'; its links are {', '.join(description.links)}")
        locked = [full.getJointId(n) for n in full.names[1:] if n not in self.joints and n not in self.gripper]
        self.model = pin.buildReducedModel(full, locked, pin.neutral(full)) if locked else full
        self.data = self.model.createData()
        self.base, self.tip = base, tip
        self._base, self._tip = self.model.getFrameId(base), self.model.getFrameId(tip)
        self._check_chain(full, base, tip)
        sliding = [name for name in self.joints if description.joints[name] == "prismatic"]
        if sliding:
            raise ArmError(f"{where}: joint '{sliding[0]}' slides: an arm's joints turn; use kinematics.kind 'joints'")
        ids = [self.model.getJointId(n) for n in self.joints]
        self._columns = np.array([self.model.idx_vs[i] for i in ids])
        self._hand = [(self.model.idx_qs[self.model.getJointId(n)], factor) for n, factor in self.gripper.items()]
        self._plain = [self.model.joints[i].nq == 1 for i in ids]  # a continuous joint is kept as cosine and sine
        self._rows = [self.model.idx_qs[i] for i in ids]
        at = self._columns
        self.lower = np.where(self._plain, self.model.lowerPositionLimit[self._rows], -np.inf)
        self.upper = np.where(self._plain, self.model.upperPositionLimit[self._rows], np.inf)
        self.velocity = self.model.velocityLimit[at].copy()
        self._neutral = pin.neutral(self.model)
        first = self._rows[0]
        in_a_row = all(self._plain) and self._rows == list(range(first, first + len(ids)))
        self._in_a_row = slice(first, first + len(ids)) if in_a_row else None
        pin.forwardKinematics(self.model, self.data, self._neutral)
        pin.updateFramePlacements(self.model, self.data)
        self._world_to_base = self.data.oMf[self._base].inverse()
        self._at_root = self._world_to_base.isIdentity(0.0)
        self._turns = np.kron(np.eye(2), self._world_to_base.rotation)  # of a twist, (6, 6)
        places = np.array([self.data.oMi[i].translation for i in ids] + [self.data.oMf[self._tip].translation])
        #: What a condition number multiplies velocities by, so that small arms have the same levels as large ones.
        self.enlarged = max(1.0, FULL_SIZE / float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum()))

    @classmethod
    def from_contract(cls, contract: RobotContract) -> ArmKinematics:
        """The arm of a contract of kind ``arm``.

        Raises:
            ArmError: contract and URDF do not fit.
        """
        said = contract.kinematics.arm
        if said is None:
            kind = contract.kinematics.kind
            raise ArmError(f"{contract.source}: kinematics.kind: expected 'arm', found '{kind}'")
        hand = {} if said.gripper is None else {said.gripper.joint: 1.0, **said.gripper.mimics}
        try:
            arm = cls(read(said.urdf, contract.folder), said.joints, said.base_frame, said.tip_frame, hand)
        except ArmError as error:
            raise ArmError(f"{contract.source}: kinematics: {error}") from None
        arm._check_limits(contract)
        return arm

    @property
    def base_placement(self) -> pin.SE3:
        """Where the base frame stands in the URDF's root frame."""
        return self._world_to_base.inverse()

    def _check_limits(self, contract: RobotContract) -> None:
        low, high = contract.limits.position_low, contract.limits.position_high
        assert low is not None and high is not None
        for i, name in enumerate(self.joints):
            if low[i] < self.lower[i] - 1e-3 or high[i] > self.upper[i] + 1e-3:
                raise ArmError(
                    f"{contract.source}: limits.position.{name}: [{low[i]:g}, {high[i]:g}] is wider than the URDF's "
                    f"[{self.lower[i]:g}, {self.upper[i]:g}]"
                )

    def _check_chain(self, full: pin.Model, base: str, tip: str) -> None:
        def above(frame: str) -> list[str]:
            joint, names = full.frames[full.getFrameId(frame)].parentJoint, []
            while joint:
                names.append(full.names[joint])
                joint = full.parents[joint]
            return names

        chain = set(above(tip)) ^ set(above(base))
        missing = [n for n in full.names[1:] if n in chain and n not in self.joints]
        idle = [n for n in self.joints if n not in chain]
        if missing:
            raise ArmError(f"joints: {', '.join(missing)} moves '{tip}' against '{base}' but is not among the joints")
        if idle:
            raise ArmError(f"joints: {', '.join(idle)} does not move '{tip}' against '{base}'")

    @property
    def size(self) -> int:
        """Number of joints, n."""
        return len(self.joints)

    def configuration(self, q: np.ndarray, opening: float = 0.0) -> np.ndarray:
        """Pinocchio's configuration for joint positions (n,) and the gripper's opening."""
        if len(q) != len(self.joints):
            raise ArmError(f"joint positions: expected {len(self.joints)} numbers, found {len(q)}")
        full = self._neutral.copy()
        if self._in_a_row is not None:
            full[self._in_a_row] = q
        else:
            for row, plain, value in zip(self._rows, self._plain, q, strict=True):
                full[row : row + 2 - plain] = value if plain else (np.cos(value), np.sin(value))
        for row, factor in self._hand:
            full[row] = factor * opening
        return full

    def pose(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rotation (3, 3) and position (3,) [m] of the tip."""
        pin.forwardKinematics(self.model, self.data, self.configuration(q))
        return self._placed()

    def _placed(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotation and position of the tip, where Pinocchio last put the joints."""
        at = pin.updateFramePlacement(self.model, self.data, self._tip)
        if not self._at_root:
            at = self._world_to_base * at
        return np.array(at.rotation), np.array(at.translation)

    def position(self, q: np.ndarray) -> np.ndarray:
        """Position of the tip, (3,) [m]."""
        return self.pose(q)[1]

    def jacobian(self, q: np.ndarray) -> np.ndarray:
        """(6, n): the tip's twist for each joint's unit rate."""
        full = self.configuration(q)
        jacobian = pin.computeFrameJacobian(
            self.model, self.data, full, self._tip, pin.ReferenceFrame.LOCAL_WORLD_ALIGNED
        )[:, self._columns]
        return jacobian if self._at_root else self._turns @ jacobian

    def pose_and_jacobian(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """:meth:`pose` and :meth:`jacobian` in one go: rotation, position, Jacobian."""
        jacobian = self.jacobian(q)
        return (*self._placed(), jacobian)

    def twist(self, before: np.ndarray, after: np.ndarray, duration: float) -> np.ndarray:
        """The mean twist (6,) that brought the tip from joint positions ``before`` to ``after`` in ``duration`` [s]."""
        return self.between(self.pose(before), self.pose(after), duration)

    @staticmethod
    def between(before: Pose, after: Pose, duration: float) -> np.ndarray:
        """The mean twist (6,) that led from one pose of the tip to another in ``duration`` [s]."""
        (turn, at), (turned, to) = before, after
        made = np.empty(6)
        made[:3], made[3:] = to - at, pin.log3(turned @ turn.T)
        return made / duration

    def condition(self, q: np.ndarray) -> float:
        """Condition number of the Jacobian: the ratio of its largest to its smallest singular value; large near a
        singularity. The measure (and so the scale) of MoveIt Servo for an arm of :data:`FULL_SIZE` or more; a smaller
        one is measured as if it were as large, since the number mixes metres with radians."""
        jacobian = self.jacobian(q)
        jacobian[:3] *= self.enlarged
        values = np.linalg.svd(jacobian, compute_uv=False)
        return float(values[0] / max(values[min(6, self.size) - 1], 1e-9))
