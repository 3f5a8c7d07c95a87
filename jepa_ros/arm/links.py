# SPDX-License-Identifier: Apache-2.0
"""How far the links of an arm are from each other, from boxes and from planes; by coal.

Every link is a capsule or two around its collision mesh (:mod:`~jepa_ros.arm.capsules`), so that all distances take
a fraction of a millisecond and none is larger than the true one. Where capsules come near each other, the convex hulls
of the two meshes are measured, so that a posture is not refused for the room between a capsule and its link.
"""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import coal
import numpy as np
import pinocchio as pin

from jepa_ros.arm.capsules import Capsule, cover
from jepa_ros.arm.kinematics import ArmKinematics
from jepa_ros.arm.urdf import ArmError, find

if TYPE_CHECKING:
    from jepa_ros.contract import RobotContract

#: What the capsules of what the hand carries are called.
CARRIED = "(carried)"
#: Random postures that tell which links touch whatever the arm does.
POSTURES = 400
#: Capsules nearer than this are measured again with the hulls of the meshes [m].
NEAR = 0.03


@dataclass(frozen=True)
class Box:
    """A box in the arm's base frame: ``size`` edge lengths, ``position`` of its middle [m], ``yaw`` [rad]."""

    size: tuple[float, float, float]
    position: tuple[float, float, float]
    yaw: float = 0.0


@dataclass(frozen=True)
class Plane:
    """The half-space below a plane of the arm's base frame: solid where ``normal`` . x < ``offset`` [m]."""

    normal: tuple[float, float, float]
    offset: float


def walls(low: Sequence[float], high: Sequence[float]) -> list[Plane]:
    """The six planes of a box that an arm has to stay inside of: ``low``, ``high`` its corners (3,) [m]."""
    planes = []
    for axis in range(3):
        normal = [0.0, 0.0, 0.0]
        normal[axis] = 1.0
        planes.append(Plane((normal[0], normal[1], normal[2]), low[axis]))
        planes.append(Plane((-normal[0], -normal[1], -normal[2]), -high[axis]))
    return planes


@dataclass(frozen=True)
class LinkCapsule:
    """One capsule of a link, in the frame of what its joint carries; joint 0 is what stands still."""

    link: str
    joint: int
    capsule: Capsule


@dataclass(frozen=True)
class Clearances:
    """Distances [m] at one posture: at most the true ones, and true below :data:`NEAR`; at most 0 where things overlap.

    Attributes:
        self_collision: least distance between two links that can meet. pair: their names.
        obstacles: (K,) least distance of any link to each box or plane. links: the link that is nearest, one each.
    """

    self_collision: float
    pair: tuple[str, str]
    obstacles: tuple[float, ...]
    links: tuple[str, ...]


class ArmLinks:
    """The collision shapes of an arm.

    Args:
        arm: its kinematics.
        obstacles: boxes and planes around it.
        srdf: a MoveIt semantic description whose disabled pairs are left out; None finds the pairs that are always in
            touch by itself: neighbours, and pairs that overlap in every posture tried.
        hand: further capsules, in the tip's frame: what the arm carries.

    Raises:
        ArmError: no collision geometry at all, or an SRDF that cannot be read.
    """

    def __init__(
        self, arm: ArmKinematics, obstacles: Sequence[Box | Plane] = (), srdf: Path | None = None,
        hand: Iterable[Capsule] = (),
    ) -> None:  # fmt: skip
        self.arm = arm
        self.obstacles = tuple(obstacles)
        self.names: list[str] = []
        self._geometry = pin.GeometryModel()
        self._hulls: list[tuple[coal.ConvexBase, pin.SE3] | None] = []
        loaded = pin.buildGeomFromUrdfString(arm.model, arm.description.xml, pin.GeometryType.COLLISION)
        for item in loaded.geometryObjects:
            self._add_link(item)
        if not self.names:
            raise ArmError(f"{arm.description.path}: no link has collision geometry")
        tip = arm.model.frames[arm.model.getFrameId(arm.tip)]
        for capsule in hand:
            self._add_capsule(CARRIED, tip.parentJoint, tip.placement, capsule, None)
        self._links = len(self.names)
        self._add_obstacles()
        pairs = [(i, j) for i, j in itertools.combinations(range(self._links), 2) if self._may_meet(i, j)]
        pairs = self._without_disabled(pairs, srdf) if srdf is not None else self._without_touching(pairs)
        self._set_pairs(pairs)

    @classmethod
    def from_contract(
        cls, contract: RobotContract, arm: ArmKinematics, obstacles: Sequence[Box | Plane] = (),
        hand: Iterable[Capsule] = (),
    ) -> ArmLinks:  # fmt: skip
        """The links of a contract's arm; its SRDF, where it names one, tells which pairs are left out.

        Raises:
            ArmError: as the class, or the SRDF cannot be found.
        """
        said = contract.kinematics.arm
        srdf = None if said is None or said.srdf is None else find(said.srdf, contract.folder)
        return cls(arm, obstacles, srdf, hand)

    # ---- what stands where -------------------------------------------------------------------------------------
    def _add_link(self, item: pin.GeometryObject) -> None:
        name, shape = self.arm.model.frames[item.parentFrame].name, item.geometry
        if isinstance(shape, (coal.Sphere, coal.Capsule)):
            end = np.array([0.0, 0.0, shape.halfLength if isinstance(shape, coal.Capsule) else 0.0])
            self._add_capsule(name, item.parentJoint, item.placement, Capsule(-end, end, shape.radius), None)
            return
        points = _vertices(item)
        cloud = coal.StdVec_Vec3s()
        cloud.extend(list(points))
        hull = coal.ConvexBase.convexHull(cloud, False, "Qt")
        for capsule in cover(points):
            self._add_capsule(name, item.parentJoint, item.placement, capsule, hull)

    def _add_capsule(
        self, name: str, joint: int, placement: pin.SE3, capsule: Capsule, hull: coal.ConvexBase | None
    ) -> None:
        along = capsule.end - capsule.start
        shape, turn = coal.Sphere(capsule.radius), pin.Quaternion.Identity()
        if capsule.length > 1e-9:
            shape = coal.Capsule(capsule.radius, capsule.length)
            turn = pin.Quaternion.FromTwoVectors(np.array([0.0, 0.0, 1.0]), along)
        at = pin.SE3(turn, 0.5 * (capsule.start + capsule.end))
        self._hulls.append(None if hull is None else (hull, at.inverse()))
        self._geometry.addGeometryObject(pin.GeometryObject(f"{len(self.names)}", joint, placement * at, shape))
        self.names.append(name)

    def _add_obstacles(self) -> None:
        base = self.arm.base_placement
        for i, thing in enumerate(self.obstacles):
            if isinstance(thing, Box):
                turn = pin.rpy.rpyToMatrix(0.0, 0.0, thing.yaw)
                at, shape = pin.SE3(turn, np.array(thing.position)), coal.Box(*thing.size)
            else:
                normal = np.array(thing.normal, dtype=float)
                at, shape = pin.SE3.Identity(), coal.Halfspace(normal / np.linalg.norm(normal), thing.offset)
            self._geometry.addGeometryObject(pin.GeometryObject(f"obstacle {i}", 0, base * at, shape))

    def drawn(self) -> list[tuple[str, np.ndarray, np.ndarray, float, float]]:
        """Every capsule with its link: name, position (3,) [m] and roll, pitch, yaw (3,) in the link's frame, radius
        and length of the segment [m]."""
        rows = []
        for name, item in zip(self.names, self._geometry.geometryObjects, strict=False):
            frame = self.arm.model.frames[self.arm.model.getFrameId(name)]
            at, shape = frame.placement.inverse() * item.placement, item.geometry
            length = 2.0 * shape.halfLength if isinstance(shape, coal.Capsule) else 0.0
            rows.append((name, np.array(at.translation), pin.rpy.matrixToRpy(at.rotation), shape.radius, length))
        return rows

    def capsules(self) -> list[LinkCapsule]:
        """Every capsule of every link, in the order of :attr:`names`."""
        found = []
        for name, item in zip(self.names, self._geometry.geometryObjects, strict=False):
            shape, at = item.geometry, item.placement
            half = shape.halfLength if isinstance(shape, coal.Capsule) else 0.0
            along = np.array(at.rotation)[:, 2] * half
            middle = np.array(at.translation)
            found.append(LinkCapsule(name, item.parentJoint, Capsule(middle - along, middle + along, shape.radius)))
        return found

    def hulls(self) -> list[tuple[coal.ConvexBase, np.ndarray] | None]:
        """The convex hull of each link's mesh and its placement (4, 4) in the frame of what its joint carries."""
        return [
            None if hull is None else (hull[0], (item.placement * hull[1]).homogeneous)
            for hull, item in zip(self._hulls, self._geometry.geometryObjects, strict=False)
        ]

    # ---- which links can meet ----------------------------------------------------------------------------------
    def _may_meet(self, i: int, j: int) -> bool:
        """Not within one body, and not across one joint."""
        a, b = (self._geometry.geometryObjects[k].parentJoint for k in (i, j))
        parents = self.arm.model.parents
        return a != b and parents[a] != b and parents[b] != a and (parents[a] != parents[b] or a == 0 or b == 0)

    def _set_pairs(self, pairs: list[tuple[int, int]]) -> None:
        self._geometry.removeAllCollisionPairs()
        for i, j in pairs:
            self._geometry.addCollisionPair(pin.CollisionPair(i, j))
        # A link that does not move against the base stands where it was mounted: what it touches is no news.
        moving = [i for i in range(self._links) if self._geometry.geometryObjects[i].parentJoint]
        for k in range(len(self.obstacles)):
            for i in moving:
                self._geometry.addCollisionPair(pin.CollisionPair(i, self._links + k))
        self.pairs, self._moving = pairs, moving
        self._request = coal.DistanceRequest()
        self._request.enable_signed_distance = False  # how deep an overlap is would cost milliseconds
        self._data = pin.GeometryData(self._geometry)

    def _without_touching(self, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        self._set_pairs(pairs)
        rng = np.random.default_rng(0)
        low, high = (np.clip(v, -np.pi, np.pi) for v in (self.arm.lower, self.arm.upper))
        apart = np.zeros(len(pairs), bool)
        for _ in range(POSTURES):
            found = self._measure(rng.uniform(low, high), 0.0)
            apart |= np.array(found[: len(pairs)]) > 0.0
        return [pair for pair, ever in zip(pairs, apart, strict=True) if ever]

    def _without_disabled(self, pairs: list[tuple[int, int]], srdf: Path) -> list[tuple[int, int]]:
        try:
            root = ET.parse(srdf).getroot()
        except (ET.ParseError, OSError) as error:
            raise ArmError(f"{srdf}: not an SRDF: {error}") from None
        off = {frozenset((d.get("link1"), d.get("link2"))) for d in root.findall("disable_collisions")}
        return [(i, j) for i, j in pairs if frozenset((self.names[i], self.names[j])) not in off]

    # ---- distances ---------------------------------------------------------------------------------------------
    def _measure(self, q: np.ndarray, opening: float) -> list[float]:
        """Distances of all pairs, those of :attr:`pairs` first."""
        arm = self.arm
        pin.updateGeometryPlacements(arm.model, arm.data, self._geometry, self._data, arm.configuration(q, opening))
        pin.computeDistances(self._geometry, self._data)
        return [result.min_distance for result in self._data.distanceResults]

    def _refine(self, found: list[float]) -> None:
        """Measure the near pairs with the hulls."""
        for k, distance in enumerate(found):
            if distance < NEAR:
                pair = self._geometry.collisionPairs[k]
                (a, at), (b, to) = self._solid(pair.first), self._solid(pair.second)
                found[k] = max(distance, coal.distance(a, at, b, to, self._request, coal.DistanceResult()))

    def _solid(self, k: int) -> tuple[coal.CollisionGeometry, coal.Transform3s]:
        at, hull = self._data.oMg[k], self._hulls[k] if k < self._links else None
        shape = self._geometry.geometryObjects[k].geometry
        if hull is not None:
            shape, at = hull[0], at * hull[1]
        return shape, coal.Transform3s(at.rotation, at.translation)

    def clearances(self, q: np.ndarray, opening: float = 0.0) -> Clearances:
        """Distances of all links at joint positions ``q`` (n,) with the gripper open by ``opening``."""
        found = self._measure(q, opening)
        self._refine(found)
        at, least, pair = len(self.pairs), np.inf, ("", "")
        if at:
            nearest = min(range(at), key=found.__getitem__)
            least, (i, j) = found[nearest], self.pairs[nearest]
            pair = (self.names[i], self.names[j])
        values, links, count = [], [], len(self._moving)
        for first in range(at, len(found), count):
            nearest = min(range(first, first + count), key=found.__getitem__)
            values.append(found[nearest])
            links.append(self.names[self._moving[nearest - first]])
        return Clearances(least, pair, tuple(values), tuple(links))


def _vertices(item: pin.GeometryObject) -> np.ndarray:
    """Points (N, 3) whose hull holds the shape."""
    shape = item.geometry
    if isinstance(shape, coal.BVHModelBase):
        return np.array(shape.vertices()) * np.ravel(item.meshScale)
    if isinstance(shape, coal.Box):
        return np.array(list(itertools.product(*((-h, h) for h in np.ravel(shape.halfSide)))))
    if isinstance(shape, coal.Cylinder):
        turns = np.arange(16) * np.pi / 8.0
        ring = np.stack([np.cos(turns), np.sin(turns)], -1) * shape.radius / np.cos(np.pi / 16.0)
        ends = (-shape.halfLength, shape.halfLength)
        return np.concatenate([np.column_stack([ring, np.full(16, z)]) for z in ends])
    raise ArmError(f"link geometry of type {type(shape).__name__} is not supported: use a mesh or a primitive shape")
