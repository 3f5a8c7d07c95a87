# SPDX-License-Identifier: Apache-2.0
"""Where the links of an arm truly are: kinematics and distances of the judge's own, for many postures at once.

The URDF is read here once more and its chain multiplied out, without Pinocchio and without the gate. All that is shared
with the gate is what a link's shape is: its capsules. Where the capsules of two links overlap, Bullet tells how far the
meshes are apart.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.arm.postures import shapes_of
from jepa_ros.arm.urdf import find
from jepa_ros.contract import RobotContract

#: Steps of the search for the nearest point of a segment.
STEPS = 30
#: Pairs of links are measured well below this distance [m].
NEAR = 0.02
GOLDEN = 0.5 * (5.0**0.5 - 1.0)


def _numbers(text: str | None) -> np.ndarray:
    return np.array([float(v) for v in (text or "0 0 0").split()])


def _placement(origin: ET.Element | None) -> np.ndarray:
    place = np.eye(4)
    if origin is not None:
        roll, pitch, yaw = _numbers(origin.get("rpy"))
        turns = [_turned(np.array(axis), np.array([angle]))[0]
                 for axis, angle in (((0, 0, 1.0), yaw), ((0, 1.0, 0), pitch), ((1.0, 0, 0), roll))]  # fmt: skip
        place[:3, :3] = turns[0][:3, :3] @ turns[1][:3, :3] @ turns[2][:3, :3]
        place[:3, 3] = _numbers(origin.get("xyz"))
    return place


def _turned(axis: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Rotations (N, 4, 4) about an axis, by Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    sin, cos = np.sin(angles)[:, None, None], np.cos(angles)[:, None, None]
    found = np.tile(np.eye(4), (len(angles), 1, 1))
    found[:, :3, :3] = np.eye(3) + sin * k + (1.0 - cos) * (k @ k)
    return found


class Truth:
    """One arm.

    Args:
        contract: of it.

    Attributes:
        names: link of each capsule. radius: (C,). free: (C,) whether it moves. pairs: (P, 2) capsules that can meet.
        carried: (C,) it is no link, but what the hand carries.
    """

    def __init__(self, contract: RobotContract) -> None:
        said = contract.kinematics.arm
        assert said is not None
        self.path = find(said.urdf, contract.folder)
        root = ET.parse(self.path).getroot()
        self._links = root.findall("link")
        self._joints = {j.find("child").get("link"): j for j in root.findall("joint")}  # type: ignore[union-attr]
        axes = [a.name for a in contract.axes]
        self._axis = {name: (k, 1.0) for k, name in enumerate(axes)}
        if said.gripper is not None:
            self._axis |= {name: (len(axes) - 1, factor) for name, factor in said.gripper.mimics.items()}
        self._base, self._tip, self.arm_axes = said.base_frame, said.tip_frame, len(said.joints)
        shapes = shapes_of(said, contract.folder)
        self.names, self.radius, self.free, self.pairs = shapes.names, shapes.radius, shapes.free, shapes.pairs
        # The ends of each capsule in the frame of its own link, or of the one that its joint carries.
        carried = {j.get("name"): link for link, j in self._joints.items()}
        self._capsules = []
        for joint, ends in zip(shapes.joint_names(), shapes.local_ends(), strict=True):
            self._capsules.append((said.base_frame if joint is None else carried[joint], ends))
        self.carried = [name not in {link.get("name") for link in self._links} for name in self.names]
        self._places: dict[str, np.ndarray] = {}
        self._bullet: Any = None

    def _frames(self, q: np.ndarray) -> dict[str, np.ndarray]:
        """{link: placement (N, 4, 4) in the root} at axis positions (N, A)."""
        found: dict[str, np.ndarray] = {}

        def of(link: str) -> np.ndarray:
            if link not in found:
                joint = self._joints.get(link)
                if joint is None:
                    found[link] = np.tile(np.eye(4), (len(q), 1, 1))
                else:
                    found[link] = of(joint.find("parent").get("link")) @ self._placed(link)  # type: ignore[union-attr]
                    kind, name = joint.get("type"), joint.get("name")
                    if name in self._axis:
                        k, factor = self._axis[name]
                        axis = _numbers(joint.find("axis").get("xyz"))  # type: ignore[union-attr]
                        if kind == "prismatic":
                            move = np.tile(np.eye(4), (len(q), 1, 1))
                            move[:, :3, 3] = factor * q[:, k, None] * axis
                        else:
                            move = _turned(axis, factor * q[:, k])
                        found[link] = found[link] @ move
            return found[link]

        for link in {self._base, self._tip, *(name for name, _ in self._capsules)}:
            of(link)
        base = np.linalg.inv(found[self._base])
        return {link: base @ place for link, place in found.items()}

    def _placed(self, link: str) -> np.ndarray:
        if link not in self._places:
            self._places[link] = _placement(self._joints[link].find("origin"))
        return self._places[link]

    def ends(self, q: np.ndarray) -> np.ndarray:
        """Ends of the capsules' segments (N, C, 2, 3) [m] in the base frame at axis positions (N, A)."""
        frames = self._frames(q)
        found = np.empty((len(q), len(self._capsules), 2, 3))
        for k, (link, ends) in enumerate(self._capsules):
            found[:, k] = ends @ frames[link][:, :3, :3].swapaxes(-1, -2) + frames[link][:, None, :3, 3]
        return found

    def tip(self, q: np.ndarray) -> np.ndarray:
        """Places (N, 3) of the tip [m]."""
        return self._frames(q)[self._tip][:, :3, 3]

    def condition(self, q: np.ndarray) -> np.ndarray:
        """Condition number (N,) of the tip's Jacobian: each joint that moves it turns it about its own axis."""
        frames = self._frames(q)
        tip, link, columns = frames[self._tip][:, :3, 3], self._tip, []
        while link in self._joints:
            joint = self._joints[link]
            if joint.get("name") in self._axis:
                axis = frames[link][:, :3, :3] @ _numbers(joint.find("axis").get("xyz"))  # type: ignore[union-attr]
                columns.append(np.concatenate([np.cross(axis, tip - frames[link][:, :3, 3]), axis], 1))
            link = joint.find("parent").get("link")  # type: ignore[union-attr, assignment]
        values = np.linalg.svd(np.stack(columns, -1), compute_uv=False)
        return np.asarray(values[:, 0] / np.maximum(values[:, -1], 1e-9))

    # ---- distances ------------------------------------------------------------------------------------------------
    def outside(self, ends: np.ndarray, box: dict[str, Any], steps: int = STEPS) -> np.ndarray:
        """Distance (N,) of the nearest moving capsule to a box; negative: so deep is it in."""
        local = self._in_box(ends[:, self.free], box)
        half = 0.5 * np.array(box["size"])
        low, high = np.zeros(local.shape[:2]), np.ones(local.shape[:2])

        def away(share: np.ndarray) -> np.ndarray:
            point = local[..., 0, :] + share[..., None] * (local[..., 1, :] - local[..., 0, :])
            return np.asarray(np.linalg.norm(np.maximum(np.abs(point) - half, 0.0), axis=-1))

        for _ in range(steps):  # the distance to a box is convex along a segment
            a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
            left = away(a) <= away(b)
            low, high = np.where(left, low, a), np.where(left, b, high)
        nearest = np.minimum(away(0.5 * (low + high)), np.minimum(away(0.0 * low), away(0.0 * low + 1.0)))
        return np.asarray((nearest - self.radius[self.free]).min(1))

    def inside(self, ends: np.ndarray, box: dict[str, Any]) -> np.ndarray:
        """Least room (N,) of the moving capsules to the walls of a box; negative: so far is one out."""
        local = np.abs(self._in_box(ends[:, self.free], box)).max(2)
        room = (0.5 * np.array(box["size"]) - local).min(-1)
        return np.asarray((room - self.radius[self.free]).min(1))

    @staticmethod
    def _in_box(ends: np.ndarray, box: dict[str, Any]) -> np.ndarray:
        c, s = np.cos(box.get("yaw", 0.0)), np.sin(box.get("yaw", 0.0))
        return np.asarray((ends - np.array(box["center"])) @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]))

    def selves(self, ends: np.ndarray, steps: int = STEPS) -> np.ndarray:
        """Distances (N, P) of the capsules that can meet, at most the true ones; true where they are near."""
        radius = self.radius[self.pairs].sum(1)
        middle, half = ends.mean(2), 0.5 * np.linalg.norm(ends[:, :, 1] - ends[:, :, 0], axis=-1)
        a, b = self.pairs.T
        found = np.linalg.norm(middle[:, a] - middle[:, b], axis=-1) - half[:, a] - half[:, b] - radius
        n, k = np.nonzero(found < NEAR)  # only these are measured better
        p, u = ends[n, a[k], 0], ends[n, a[k], 1] - ends[n, a[k], 0]
        q, v = ends[n, b[k], 0], ends[n, b[k], 1] - ends[n, b[k], 0]
        vv = np.maximum((v * v).sum(-1), 1e-12)
        low, high = np.zeros(len(n)), np.ones(len(n))

        def away(share: np.ndarray) -> np.ndarray:
            point = p + share[:, None] * u
            other = np.clip(((point - q) * v).sum(-1) / vv, 0.0, 1.0)
            return np.asarray(np.linalg.norm(point - q - other[:, None] * v, axis=-1))

        for _ in range(steps):
            one, two = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
            left = away(one) <= away(two)
            low, high = np.where(left, low, one), np.where(left, two, high)
        nearest = np.minimum(away(0.5 * (low + high)), np.minimum(away(0.0 * low), away(0.0 * low + 1.0)))
        found[n, k] = nearest - radius[k]
        return np.asarray(found)

    def meshes(self, q: np.ndarray, pair: int) -> float:
        """Distance [m] of the hulls of two links at axis positions (A,), by Bullet."""
        import pybullet as p

        if self._bullet is None:
            client = p.connect(p.DIRECT)
            body = p.loadURDF(str(self.path), useFixedBase=True, physicsClientId=client)
            links, joints = {}, {}
            for k in range(p.getNumJoints(body, physicsClientId=client)):
                info = p.getJointInfo(body, k, physicsClientId=client)
                links[info[12].decode()], joints[info[1].decode()] = k, k
            links[p.getBodyInfo(body, physicsClientId=client)[0].decode()] = -1
            self._bullet = client, body, links, joints
        client, body, links, joints = self._bullet
        for name, (k, factor) in self._axis.items():
            p.resetJointState(body, joints[name], factor * q[k], physicsClientId=client)
        a, b = (links[self.names[k]] for k in self.pairs[pair])
        found = p.getClosestPoints(body, body, 0.1, a, b, physicsClientId=client)
        return min((row[8] for row in found), default=0.1)


@lru_cache(maxsize=16)
def _kept(path: str, text: str) -> list[Truth]:
    return []


def truth_of(contract: RobotContract) -> Truth:
    """The truth of an arm; the same one for the same kinematics."""
    kept = _kept(str(contract.folder or Path()), str(contract.kinematics))
    if not kept:
        kept.append(Truth(contract))
    return kept[0]
