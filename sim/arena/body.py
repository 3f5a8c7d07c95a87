# SPDX-License-Identifier: Apache-2.0
"""The robot's body in PyBullet: motors, wheels, floor friction, bumper. Knows nothing of time, sensors or tasks."""

from __future__ import annotations

import math

from ..common.engine import pybullet as p
from ..common.errors import SimError
from ..common.sensors import ROBOT_GROUP
from .camera import ASSETS
from .scene import Draw

WHEEL_RADIUS, WHEEL_SEPARATION = 0.03, 0.14  # m, as in assets/arena_robot.urdf
BODY_MASS, COM_HEIGHT = 1.3, 0.035  # kg, m: of base_link, as in the URDF
MAX_WHEEL_SPEED = 30.0  # rad/s, what the motors can do
BASE, LEFT, RIGHT = -1, 0, 1  # link indices
TOUCHING = 0.001  # m: a contact point nearer than this is a touch
BLOCKED_TORQUE = 5.0  # N m, far beyond what the other wheel can overcome
JOINTS = ("left_wheel_joint", "right_wheel_joint")


class Body:
    """One robot in one PyBullet client.

    Args:
        client: PyBullet's client; ``floor`` is the floor's body in it.
        start: (x, y, yaw), m and rad.
        draw: this episode's friction, torque, mass and wheel gains.
    """

    def __init__(self, client: int, floor: int, start: tuple[float, float, float], draw: Draw) -> None:
        self.client, self.draw = client, draw
        x, y, yaw = start
        turn = (0, 0, math.sin(yaw / 2), math.cos(yaw / 2))
        self.id = p.loadURDF(str(ASSETS / "arena_robot.urdf"), (x, y, 0.0), turn, physicsClientId=client)
        for link in range(BASE, p.getNumJoints(self.id, physicsClientId=client)):
            friction = draw.friction if link in (LEFT, RIGHT) else 0.0  # casters glide
            p.changeDynamics(
                self.id, link, lateralFriction=friction, restitution=0.0, linearDamping=0.0,
                angularDamping=0.0, jointDamping=0.0, physicsClientId=client)  # fmt: skip
            p.setCollisionFilterGroupMask(self.id, link, ROBOT_GROUP, 0xFFFF, physicsClientId=client)
        p.changeDynamics(
            self.id, BASE, mass=BODY_MASS * draw.mass, lateralFriction=0.4,
            activationState=p.ACTIVATION_STATE_DISABLE_SLEEPING, physicsClientId=client)  # fmt: skip
        p.setCollisionFilterPair(self.id, floor, BASE, -1, 0, physicsClientId=client)
        self.drive((0.0, 0.0))

    def drive(self, wheels: tuple[float, float], blocked: str | None = None) -> None:
        """Tell the motors their speeds (left, right, rad/s). Their torque is limited, so the body takes its time."""
        speeds = [wheels[0] * self.draw.wheel_gain[0], wheels[1] * self.draw.wheel_gain[1]]
        forces = [self.draw.torque, self.draw.torque]
        if blocked is not None:
            side = LEFT if blocked == "left" else RIGHT
            speeds[side], forces[side] = 0.0, BLOCKED_TORQUE
        p.setJointMotorControlArray(
            self.id, (LEFT, RIGHT), p.VELOCITY_CONTROL, targetVelocities=speeds, forces=forces,
            physicsClientId=self.client)  # fmt: skip

    def set_friction(self, side: int, friction: float) -> None:
        """Friction of one wheel on the floor."""
        p.changeDynamics(self.id, side, lateralFriction=friction, physicsClientId=self.client)

    def touches(self, person: int | None) -> tuple[bool, bool]:
        """Whether the body touches anything, and whether it touches the person."""
        anything = someone = False
        for point in p.getContactPoints(self.id, linkIndexA=BASE, physicsClientId=self.client):
            if point[8] < TOUCHING:
                anything = True
                someone = someone or point[2] == person
        return anything, someone

    def frame(self) -> tuple:
        """Position and quaternion of the centre of mass, COM_HEIGHT above the base link's origin."""
        return p.getBasePositionAndOrientation(self.id, physicsClientId=self.client)

    def pose(self) -> tuple[float, float, float]:
        """True (x, y, yaw)."""
        (x, y, _), (qx, qy, qz, qw) = self.frame()
        return x, y, math.atan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz))

    def velocity(self, yaw: float) -> tuple[float, float]:
        """True forward speed (m/s) and turning rate (rad/s)."""
        (vx, vy, _), (_, _, w) = p.getBaseVelocity(self.id, physicsClientId=self.client)
        return vx * math.cos(yaw) + vy * math.sin(yaw), w

    def wheels(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Wheel positions (rad) and velocities (rad/s), each (left, right)."""
        left, right = p.getJointStates(self.id, (LEFT, RIGHT), physicsClientId=self.client)
        return (left[0], right[0]), (left[1], right[1])


def wheel_speeds(v: float, w: float) -> tuple[float, float]:
    """A twist as wheel speeds (left, right) in rad/s; both are scaled down where one is more than a motor can do."""
    left = (v - w * WHEEL_SEPARATION / 2) / WHEEL_RADIUS
    right = (v + w * WHEEL_SEPARATION / 2) / WHEEL_RADIUS
    scale = MAX_WHEEL_SPEED / max(abs(left), abs(right), MAX_WHEEL_SPEED)
    return left * scale, right * scale


def check_contract(contract) -> None:
    """Refuse a contract of another robot, by name of the key.

    Raises:
        SimError: other kinematics, wheels or footprint than the URDF's.
    """
    kinematics = contract.kinematics
    if kinematics.kind != "diff_drive":
        raise SimError(f"contract: kinematics.kind: found {kinematics.kind!r}, the arena's robot: 'diff_drive'")
    for key, own in (("wheel_radius", WHEEL_RADIUS), ("wheel_separation", WHEEL_SEPARATION)):
        found = getattr(kinematics, key)
        if found is None or abs(found - own) > 1e-6:
            raise SimError(f"contract: kinematics.{key}: found {found}, the arena's robot (its URDF): {own}")
