# SPDX-License-Identifier: Apache-2.0
"""The arm as PyBullet moves and draws it: one URDF with its meshes to collide, one of capsules to be drawn.

The software renderer takes 13 ms for the meshes of a Panda and about 1 ms for capsules of the same sizes.
"""

from __future__ import annotations

import os
import tempfile
import xml.etree.ElementTree as ET

import numpy as np

from jepa_ros.arm import ArmBody, ArmLinks

from ..common.engine import pybullet as p

FORCES = 87.0, 20.0  # N m a joint, N a finger
#: Shades of the drawn links against the robot's brightness, in turn: neighbours differ, so that joints can be seen.
SHADES = ((1.0, 1.0, 1.0), (0.86, 0.87, 0.89), (1.0, 1.0, 1.0), (0.80, 0.82, 0.86))
HAND, FINGER = (0.30, 0.31, 0.33), (0.16, 0.16, 0.18)


def capsule_urdf(body: ArmBody) -> str:
    """The robot's URDF with a capsule in the place of each collision shape, to be drawn."""
    root = ET.fromstring(body.kinematics.description.xml)
    shapes: dict[str, list[tuple[np.ndarray, np.ndarray, float, float]]] = {}
    for name, at, rpy, radius, length in ArmLinks(body.kinematics).drawn():
        shapes.setdefault(name, []).append((at, rpy, radius, length))
    fingers = set(_links_of(root, body.kinematics.gripper))
    for number, link in enumerate(root.findall("link")):
        for child in list(link):
            if child.tag in ("collision", "visual"):
                link.remove(child)
        name = link.get("name", "")
        shade = FINGER if name in fingers else HAND if "hand" in name else SHADES[number % len(SHADES)]
        for at, rpy, radius, length in shapes.get(name, ()):
            visual = ET.SubElement(link, "visual")
            ET.SubElement(visual, "origin", xyz=_text(at), rpy=_text(rpy))
            ET.SubElement(ET.SubElement(visual, "geometry"), "capsule", radius=f"{radius:.5f}", length=f"{length:.5f}")
            material = ET.SubElement(visual, "material", name=f"shade {name}")
            ET.SubElement(material, "color", rgba=_text([*shade, 1.0]))
    return ET.tostring(root, encoding="unicode")


def _links_of(root: ET.Element, joints) -> list[str]:
    """Links that the given joints move."""
    found = []
    for joint in root.findall("joint"):
        child = joint.find("child")
        if joint.get("name") in joints and child is not None:
            found.append(child.get("link", ""))
    return found


def _text(values) -> str:
    return " ".join(f"{float(v):.6f}" for v in values)


class Robot:
    """An arm in one PyBullet client.

    Args:
        client: of PyBullet. body: kinematics and names.
        drawn: load capsules to be drawn; the meshes to collide otherwise (what its file says of looks is left out: it
            takes most of the time to load).
    """

    def __init__(self, client: int, body: ArmBody, drawn: bool) -> None:
        self._client, self._body = client, body
        handle, path = tempfile.mkstemp(suffix=".urdf")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(capsule_urdf(body) if drawn else body.kinematics.description.xml)
            self.id = p.loadURDF(path, useFixedBase=True, physicsClientId=client)
        finally:
            os.unlink(path)
        info = [p.getJointInfo(self.id, i, client) for i in range(p.getNumJoints(self.id, client))]
        number = {row[1].decode(): row[0] for row in info}
        self.links = {row[12].decode(): row[0] for row in info}
        n = body.kinematics.size
        self.joints = [number[name] for name in body.names[:n]]
        self._fingers = [(number[name], factor) for name, factor in body.kinematics.gripper.items()]
        self.fingers = [joint for joint, _ in self._fingers]
        self._driven = [*self.joints, *self.fingers]
        # The joint after the last one that turns carries the hand; an arm that has none feels at its last joint.
        self.hand = min(self.joints[-1] + 1, len(info) - 1)
        beyond = (p.getDynamicsInfo(self.id, link, physicsClientId=client) for link in range(self.hand, len(info)))
        self.hand_mass = float(sum(row[0] for row in beyond))  # of what the wrist carries [kg]
        self._forces = [FORCES[0]] * n + [FORCES[1]] * len(self._fingers)

    def _each(self, joints: np.ndarray) -> list[float]:
        """Values of all driven joints from positions or rates (J,): each finger follows the gripper by its factor."""
        n = len(self.joints)
        return [*joints[:n].tolist(), *(factor * float(joints[-1]) for _, factor in self._fingers)]

    def shade(self, brightness: float) -> None:
        """Draw the links, but for the hand, as bright as a factor says."""
        for row in p.getVisualShapeData(self.id, physicsClientId=self._client):
            if row[1] < self.hand:
                colour = [min(1.0, brightness * c) for c in SHADES[(row[1] + 1) % len(SHADES)]]
                p.changeVisualShape(self.id, row[1], rgbaColor=[*colour, 1.0], physicsClientId=self._client)

    def put(self, joints: np.ndarray) -> None:
        """Set all joints at once, at rest."""
        for joint, value in zip(self._driven, self._each(joints), strict=True):
            p.resetJointState(self.id, joint, value, physicsClientId=self._client)

    def drive(self, joints: np.ndarray, rates: np.ndarray, gain: float) -> None:
        """Let the servos follow set-points (J,) that move at ``rates``."""
        p.setJointMotorControlArray(
            self.id, self._driven, p.POSITION_CONTROL, targetPositions=self._each(joints),
            targetVelocities=self._each(rates), forces=self._forces,
            positionGains=[0.35 * gain] * len(self._driven), velocityGains=[1.0] * len(self._driven),
            physicsClientId=self._client,
        )  # fmt: skip

    def state(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions and velocities (J,)."""
        n = len(self.joints)
        rows = p.getJointStates(self.id, self._driven[: self._body.size], physicsClientId=self._client)
        values = np.array([row[:2] for row in rows]).T
        assert values.shape[1] in (n, n + 1)
        return values[0], values[1]
