# SPDX-License-Identifier: Apache-2.0
"""A base with two driven wheels in PyBullet: motors, floor, bumper. Knows nothing of time, sensors or tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .engine import pybullet as p
from .errors import SimError
from .sensors import ROBOT_GROUP

BASE, LEFT, RIGHT = -1, 0, 1  # link indices
TOUCHING = 0.001  # m: a contact point nearer than this is a touch
BLOCKED_TORQUE = 5.0  # N m, far beyond what the other wheel can overcome
JOINTS = ("left_wheel_joint", "right_wheel_joint")


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

    def check(self, contract: Any) -> None:
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


@dataclass(frozen=True)
class Motors:
    """What differs between two robots of one make.

    ``friction`` of wheel on floor; ``torque`` of a motor [N m]; ``gains`` of the wheels' speeds (left, right); ``mass``
    of the body [kg], None as in the URDF.
    """

    friction: float
    torque: float
    gains: tuple[float, float] = (1.0, 1.0)
    mass: float | None = None


class Body:
    """One such robot in one PyBullet client.

    Args:
        base: which. client: PyBullet's client; ``floor`` is the floor's body in it. start: (x, y, yaw) [m, rad].
        motors: of this one.
    """

    def __init__(self, base: WheeledBase, client: int, floor: int, start: Sequence[float], motors: Motors) -> None:
        self.client, self._motors = client, motors
        x, y, yaw = start
        turn = (0, 0, math.sin(yaw / 2), math.cos(yaw / 2))
        self.id = p.loadURDF(str(base.urdf), (x, y, 0.0), turn, physicsClientId=client)
        for link in range(BASE, p.getNumJoints(self.id, physicsClientId=client)):
            friction = motors.friction if link in (LEFT, RIGHT) else 0.0  # casters glide
            p.changeDynamics(
                self.id, link, lateralFriction=friction, restitution=0.0, linearDamping=0.0, angularDamping=0.0,
                jointDamping=0.0, physicsClientId=client)  # fmt: skip
            p.setCollisionFilterGroupMask(self.id, link, ROBOT_GROUP, 0xFFFF, physicsClientId=client)
        mass = {} if motors.mass is None else {"mass": motors.mass}
        p.changeDynamics(self.id, BASE, lateralFriction=0.4, activationState=p.ACTIVATION_STATE_DISABLE_SLEEPING,
                         physicsClientId=client, **mass)  # fmt: skip
        p.setCollisionFilterPair(self.id, floor, BASE, -1, 0, physicsClientId=client)
        self.drive((0.0, 0.0))

    def drive(self, wheels: tuple[float, float], blocked: str | None = None) -> None:
        """Tell the motors their speeds (left, right) [rad/s]; ``blocked`` is "left" or "right", a wheel that is jammed.

        Their torque is limited, so the body takes its time.
        """
        speeds = [speed * gain for speed, gain in zip(wheels, self._motors.gains, strict=True)]
        forces = [self._motors.torque, self._motors.torque]
        if blocked is not None:
            side = LEFT if blocked == "left" else RIGHT
            speeds[side], forces[side] = 0.0, BLOCKED_TORQUE
        p.setJointMotorControlArray(self.id, (LEFT, RIGHT), p.VELOCITY_CONTROL, targetVelocities=speeds, forces=forces,
                                    physicsClientId=self.client)  # fmt: skip

    def set_friction(self, side: int, friction: float) -> None:
        """Friction of one wheel on the floor."""
        p.changeDynamics(self.id, side, lateralFriction=friction, physicsClientId=self.client)

    def touches(self) -> list[int]:
        """The bodies, but for the floor, that the body touches."""
        points = p.getContactPoints(self.id, linkIndexA=BASE, physicsClientId=self.client)
        return [point[2] for point in points if point[8] < TOUCHING]

    def frame(self) -> tuple[tuple[float, float, float], tuple[float, float, float, float]]:
        """Position and quaternion of the centre of mass."""
        position, turn = p.getBasePositionAndOrientation(self.id, physicsClientId=self.client)
        return position, turn

    def pose(self) -> tuple[float, float, float]:
        """True (x, y, yaw)."""
        (x, y, _), (qx, qy, qz, qw) = self.frame()
        return x, y, math.atan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz))

    def velocity(self, yaw: float) -> tuple[float, float]:
        """True forward speed [m/s] and turning rate [rad/s]."""
        (vx, vy, _), (_, _, w) = p.getBaseVelocity(self.id, physicsClientId=self.client)
        return vx * math.cos(yaw) + vy * math.sin(yaw), w

    def wheels(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Wheel positions [rad] and speeds [rad/s], each (left, right)."""
        left, right = p.getJointStates(self.id, (LEFT, RIGHT), physicsClientId=self.client)
        return (left[0], right[0]), (left[1], right[1])
