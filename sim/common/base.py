# SPDX-License-Identifier: Apache-2.0
"""A base with two driven wheels in PyBullet: motors, floor, bumper. Knows nothing of time, sensors or tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from .engine import pybullet as p
from .errors import SimError
from .sensors import ROBOT_GROUP

BASE, LEFT, RIGHT = -1, 0, 1  # link indices
TOUCHING = 0.001  # m: a contact point nearer than this is a touch


@dataclass(frozen=True)
class WheeledBase:
    """A robot's URDF and the numbers in it.

    ``radius`` and ``separation`` of the wheels [m]; ``centre`` height of the mass's middle [m]; ``fastest`` speed of a
    wheel [rad/s].
    """

    name: str
    urdf: Path
    radius: float
    separation: float
    centre: float
    fastest: float

    def wheel_speeds(self, v: float, w: float) -> tuple[float, float]:
        """A twist (m/s, rad/s) as wheel speeds (left, right) [rad/s]; both shrink where one is too fast."""
        left = (v - w * self.separation / 2) / self.radius
        right = (v + w * self.separation / 2) / self.radius
        scale = self.fastest / max(abs(left), abs(right), self.fastest)
        return left * scale, right * scale

    def check(self, contract) -> None:
        """Refuse a contract of another robot, by name of the key.

        Raises:
            SimError: other kinematics or wheels than the URDF's.
        """
        kinematics = contract.kinematics
        if kinematics.kind != "diff_drive":
            raise SimError(f"contract: kinematics.kind: found {kinematics.kind!r}, {self.name}: 'diff_drive'")
        for key, own in (("wheel_radius", self.radius), ("wheel_separation", self.separation)):
            found = getattr(kinematics, key)
            if found is None or abs(found - own) > 1e-6:
                raise SimError(f"contract: kinematics.{key}: found {found}, {self.name} (its URDF): {own}")


class Body:
    """One such robot in one PyBullet client.

    Args:
        base: which. client: PyBullet's client; ``floor`` is the floor's body in it. start: (x, y, yaw) [m, rad].
        friction: of wheel on floor. torque: of a motor [N m]. gains: of the wheels' speeds (left, right).
    """

    def __init__(self, base: WheeledBase, client: int, floor: int, start: tuple[float, float, float], friction: float,
                 torque: float, gains: tuple[float, float]) -> None:  # fmt: skip
        self.client, self._torque, self._gains = client, torque, gains
        x, y, yaw = start
        turn = (0, 0, math.sin(yaw / 2), math.cos(yaw / 2))
        self.id = p.loadURDF(str(base.urdf), (x, y, 0.0), turn, physicsClientId=client)
        for link in range(BASE, p.getNumJoints(self.id, physicsClientId=client)):
            p.changeDynamics(
                self.id, link, lateralFriction=friction if link in (LEFT, RIGHT) else 0.0, restitution=0.0,
                linearDamping=0.0, angularDamping=0.0, jointDamping=0.0, physicsClientId=client)  # fmt: skip
            p.setCollisionFilterGroupMask(self.id, link, ROBOT_GROUP, 0xFFFF, physicsClientId=client)
        p.changeDynamics(self.id, BASE, lateralFriction=0.4, activationState=p.ACTIVATION_STATE_DISABLE_SLEEPING,
                         physicsClientId=client)  # fmt: skip
        p.setCollisionFilterPair(self.id, floor, BASE, -1, 0, physicsClientId=client)
        self.drive((0.0, 0.0))

    def drive(self, wheels: tuple[float, float]) -> None:
        """Tell the motors their speeds (left, right) [rad/s]. Their torque is limited, so the body takes its time."""
        speeds = [speed * gain for speed, gain in zip(wheels, self._gains, strict=True)]
        p.setJointMotorControlArray(self.id, (LEFT, RIGHT), p.VELOCITY_CONTROL, targetVelocities=speeds,
                                    forces=[self._torque, self._torque], physicsClientId=self.client)  # fmt: skip

    def touches(self) -> bool:
        """Whether the body touches anything but the floor."""
        points = p.getContactPoints(self.id, linkIndexA=BASE, physicsClientId=self.client)
        return any(point[8] < TOUCHING for point in points)

    def pose(self) -> tuple[float, float, float]:
        """True (x, y, yaw)."""
        (x, y, _), (qx, qy, qz, qw) = p.getBasePositionAndOrientation(self.id, physicsClientId=self.client)
        return x, y, math.atan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz))

    def velocity(self, yaw: float) -> tuple[float, float]:
        """True forward speed [m/s] and turning rate [rad/s]."""
        (vx, vy, _), (_, _, w) = p.getBaseVelocity(self.id, physicsClientId=self.client)
        return vx * math.cos(yaw) + vy * math.sin(yaw), w

    def wheels(self) -> tuple[float, float]:
        """Wheel positions (left, right) [rad]."""
        left, right = p.getJointStates(self.id, (LEFT, RIGHT), physicsClientId=self.client)
        return left[0], right[0]
