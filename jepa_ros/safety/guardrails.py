# SPDX-License-Identifier: Apache-2.0
"""Guardrails as data: the ONE schema for contract, YAML file, node parameter and Python, and the ONE meaning of each.

A guardrail is a cost over predicted states with a threshold and a risk level: it holds where ``cost <= threshold``.
The planner evaluates it on arrays of predicted states (:meth:`Guardrail.excess`), the gate on where the robot is and
how it would brake; both use the same shapes (:mod:`jepa_ros.safety.geometry`). A set has a hash that is equal for equal
meaning; planner and gate compare it.

Schema (``docs/safety.md`` shows an example of each): a list of mappings, each with ``name``, ``kind``, ``unit`` and

====================== ======= ==================================================== ==========================
kind                   unit    keys                                                 cost
====================== ======= ==================================================== ==========================
keep_out               m       a shape, margin                                      how far the footprint is in
keep_in                m       a shape, margin                                      how far the footprint is out
speed_zone             m/s     a shape, max_speed                                   speed over it, in the shape
near_person            m/s     distance (m), max_speed                              speed over it, near a person
obstacle_distance      m       min_distance                                         how much nearer than that
joint_limits           rad, m  low, high (lists)                                    how far a joint is beyond
workspace              m       low, high (2 numbers)                                how far the robot is outside
contact_probability    "1"     max (0..1), slow                                     the probability
novelty                "1"     max, slow                                            the novelty
====================== ======= ==================================================== ==========================

A shape is ``polygon: [[x, y], ...]``, ``box: {center: [x, y], size: [x, y], yaw: 0}`` or
``circle: {center: [x, y], radius: r}``, in m, in ``frame`` (default ``map``). For the links of an arm ``keep_out``,
``keep_in`` and ``workspace`` are boxes in space, with three numbers in ``center``, ``size``, ``low`` and ``high``, in
the arm's base frame. Common optional keys: ``threshold``
(default 0, on top of the limit), ``risk`` (``worst``, ``mean``, ``{cvar: share}`` or ``{chance: share}``).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from jepa_ros.safety.geometry import Point, Polygon, Shape
from jepa_ros.safety.schema import GuardrailError, Reader, RiskLevel, load_text
from jepa_ros.safety.space import Space

__all__ = ["KINDS", "Guardrail", "GuardrailError", "GuardrailSet", "RiskLevel", "guardrails_for", "parse_guardrails"]

#: Kind: the units that it can have.
KINDS: dict[str, tuple[str, ...]] = {
    "keep_out": ("m",),
    "keep_in": ("m",),
    "speed_zone": ("m/s",),
    "near_person": ("m/s",),
    "obstacle_distance": ("m",),
    "joint_limits": ("rad", "m"),
    "workspace": ("m",),
    "contact_probability": ("1",),
    "novelty": ("1",),
}
#: Kinds over the robot's place, which the gate enforces itself from the pose.
PLACES = ("keep_out", "keep_in", "workspace", "speed_zone", "near_person")
#: Kinds that only the planner's model can judge; the gate takes its word, and stops where it is silent.
FROM_PLANNER = ("contact_probability", "novelty")


#: Every tick of the gate goes through all guardrails and all corners: more would make it late.
MOST_GUARDRAILS, MOST_CORNERS = 100, 1000


@dataclass(frozen=True)
class Guardrail:
    """One guardrail. Built by :func:`parse_guardrails`, which checks it.

    Attributes:
        shape: of the kinds that have one; space: in its place, a box in space for an arm's links.
        limit: max_speed, min_distance or max. distance: of near_person [m].
        low, high: of joint_limits and workspace. margin: room kept to the shape besides the footprint [m].
        slow: cost from which the gate slows down (contact_probability, novelty).
        data: the checked mapping, every default written out.
        radius: of the robot's footprint [m]; joints, axes: see :meth:`GuardrailSet.bind`.
    """

    name: str
    kind: str
    unit: str
    threshold: float
    risk: RiskLevel
    frame: str = ""
    shape: Shape | None = None
    space: Space | None = None
    margin: float = 0.0
    limit: float = 0.0
    distance: float = 0.0
    slow: float | None = None
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    data: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    radius: float = field(default=0.0, compare=False)
    axes: tuple[int | None, ...] = field(default=(0, None), compare=False)

    @property
    def spatial(self) -> bool:
        """Whether it is a box in space, which only the links of an arm can be held to."""
        return self.space is not None

    # ------------------------------------------------------------ at one place (floats or arrays)

    def clearance(self, x: Any, y: Any, radius: float) -> Any:
        """Room left at a place [m], for a footprint of ``radius``; negative where the guardrail is broken."""
        assert self.shape is not None
        distance = self.shape.signed_distance(x, y)
        if self.kind in ("keep_in", "workspace"):
            distance = -distance
        return distance - radius - self.margin + self.threshold

    def room(self, radius: float) -> Callable[[float, float], float]:
        """:meth:`clearance` for one footprint, of places that are floats; it is asked a hundred times a tick."""
        assert self.shape is not None
        distance, margin, threshold = self.shape.signed_distance, self.margin, self.threshold
        if self.kind in ("keep_in", "workspace"):
            return lambda x, y: -distance(x, y) - radius - margin + threshold
        return lambda x, y: distance(x, y) - radius - margin + threshold

    def plainly(self, radius: float) -> Callable[[list[Point], float], bool | None]:
        """Whether the outline of a convex polygon plainly has more than so much clearance everywhere, or plainly has
        not; None where that has to be looked at."""
        assert self.shape is not None
        keeps = self.shape.keeps_in if self.kind in ("keep_in", "workspace") else self.shape.keeps_off
        more = radius + self.margin - self.threshold
        return lambda corners, least: keeps(corners, least + more)

    @property
    def bound(self) -> float:
        """``limit`` with the threshold in it: the speed that is allowed [m/s], or the distance that is kept [m]."""
        loosened = -self.threshold if self.kind == "obstacle_distance" else self.threshold
        return max(0.0, self.limit + loosened)

    # ------------------------------------------------------------ over predicted states (arrays)

    def cost(self, states: Any) -> np.ndarray:
        """Cost of predicted states, in ``unit``; it holds where ``cost <= threshold``.

        Args:
            states: has ``poses`` (..., T, 3) m, m, rad; ``actions`` (..., T, A) physical; ``contact`` and ``novelty``
                (..., T); and where the kind needs them ``joints`` (..., T, J), ``people`` (P, 2) or (T, P, 2) and
                ``obstacles`` (N, 2) in the frame of the poses [m]. What a kind does not need may be None or absent.

        Returns:
            (..., T).

        Raises:
            GuardrailError: the states lack what this kind needs.
        """
        return _COSTS[self.kind](self, states)

    def excess(self, states: Any) -> np.ndarray:
        """``cost - threshold``, (..., T): at most 0 where the guardrail holds."""
        return self.cost(states) - self.threshold

    def holds(self, states: Any) -> np.ndarray:
        """Whether it holds at its risk level at every step: states (..., S, T) give (...,), S noise samples."""
        excess = np.moveaxis(np.asarray(self.excess(states)), -2, -1)
        return np.asarray(self.risk(excess).max(-1) <= 0.0)

    def _need(self, states: Any, what: str) -> np.ndarray:
        value = getattr(states, what, None)
        if value is None:
            raise GuardrailError(
                f"guardrail '{self.name}' ({self.kind}) needs predicted {what}, which the model or the robot does not "
                "give: leave the guardrail out, or use a model with that readout"
            )
        return np.asarray(value, dtype=np.float64)

    def _place(self, states: Any) -> np.ndarray:
        if self.spatial:
            what = "is about the links of an arm, which the gate alone knows"
            raise GuardrailError(f"guardrail '{self.name}' ({self.kind}) {what}")
        poses = self._need(states, "poses")
        return self.threshold - np.asarray(self.clearance(poses[..., 0], poses[..., 1], self.radius))

    def _speed(self, states: Any) -> np.ndarray:
        actions = self._need(states, "actions")
        parts = [actions[..., k] for k in self.axes if k is not None]
        return np.sqrt(sum((np.square(part) for part in parts), np.zeros(actions.shape[:-1])))

    def _zone(self, states: Any) -> np.ndarray:
        assert self.shape is not None
        poses = self._need(states, "poses")
        near = self.shape.signed_distance(poses[..., 0], poses[..., 1]) <= self.radius + self.margin
        over = self._speed(states) - self.limit
        return np.where(near, over, np.minimum(over, self.threshold))

    def _person(self, states: Any) -> np.ndarray:
        poses, people = self._need(states, "poses"), self._need(states, "people")
        over = self._speed(states) - self.limit
        if people.shape[-2] == 0:
            return np.minimum(over, self.threshold)
        gap = np.linalg.norm(poses[..., None, :2] - people, axis=-1).min(-1) - self.radius
        return np.where(gap <= self.distance, over, np.minimum(over, self.threshold))

    def _obstacle(self, states: Any) -> np.ndarray:
        poses, points = self._need(states, "poses"), self._need(states, "obstacles")
        if points.shape[0] == 0:
            return np.full(poses.shape[:-1], -math.inf)
        gap = np.linalg.norm(poses[..., None, :2] - points, axis=-1).min(-1) - self.radius
        return self.limit - gap

    def _joints(self, states: Any) -> np.ndarray:
        q = self._need(states, "joints")
        return np.maximum(np.asarray(self.low) - q, q - np.asarray(self.high)).max(-1)


_COSTS = {
    "keep_out": Guardrail._place,
    "keep_in": Guardrail._place,
    "workspace": Guardrail._place,
    "speed_zone": Guardrail._zone,
    "near_person": Guardrail._person,
    "obstacle_distance": Guardrail._obstacle,
    "joint_limits": Guardrail._joints,
    "contact_probability": lambda self, states: self._need(states, "contact") - self.limit,
    "novelty": lambda self, states: self._need(states, "novelty") - self.limit,
}


@dataclass(frozen=True)
class GuardrailSet:
    """An immutable set of guardrails, iterable."""

    guardrails: tuple[Guardrail, ...] = ()

    def __iter__(self) -> Iterator[Guardrail]:
        return iter(self.guardrails)

    def __len__(self) -> int:
        return len(self.guardrails)

    def __getitem__(self, name: str) -> Guardrail:
        for guardrail in self.guardrails:
            if guardrail.name == name:
                return guardrail
        raise KeyError(name)

    def of(self, *kinds: str) -> tuple[Guardrail, ...]:
        """Those of some kinds."""
        found = self._kinds.get(kinds)
        if found is None:
            found = self._kinds[kinds] = tuple(g for g in self.guardrails if g.kind in kinds)
        return found

    @cached_property
    def _kinds(self) -> dict[tuple[str, ...], tuple[Guardrail, ...]]:
        return {}

    @cached_property
    def hash(self) -> str:
        """Identity of the set: equal for equal meaning, whatever the order of guardrails and keys."""
        plain = sorted((g.data for g in self.guardrails), key=lambda d: str(d["name"]))
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def needs_pose(self) -> str | None:
        """The name of a guardrail that the gate can only keep with a pose, or None."""
        return next((g.name for g in self.guardrails if g.kind in PLACES), None)

    @cached_property
    def needs_scan(self) -> bool:
        """Whether one of them is about obstacles in the scan."""
        return bool(self.of("obstacle_distance"))

    @cached_property
    def from_planner(self) -> tuple[Guardrail, ...]:
        """Those that only the planner's model can judge."""
        return self.of(*FROM_PLANNER)

    def bind(self, contract: Any) -> GuardrailSet:
        """The set for one robot: its footprint's radius and which action drives it (for the planner's side)."""
        names = [a.name for a in contract.action]
        linear = tuple(names.index(n) for n in ("linear.x", "linear.y", "linear.z") if n in names)
        radius = contract.footprint.radius
        bound = (dataclasses.replace(g, radius=radius, axes=linear) for g in self.guardrails)
        return GuardrailSet(tuple(bound))

    def to_list(self) -> list[dict[str, Any]]:
        """As plain data, every default written out; :func:`parse_guardrails` reads it back."""
        return json.loads(json.dumps([g.data for g in self.guardrails]))  # type: ignore[no-any-return]


def parse_guardrails(raw: Any, where: str = "guardrails") -> GuardrailSet:
    """Read and check guardrails.

    Args:
        raw: a list of mappings; or YAML text of one, or of a mapping with the key ``guardrails``. Empty: none.
        where: what error messages call the source.

    Raises:
        GuardrailError: naming the guardrail, the key, what was found and what was expected.
    """
    if isinstance(raw, GuardrailSet):
        return raw
    data = load_text(raw, where) if isinstance(raw, (str, bytes)) else raw
    if isinstance(data, dict) and set(data) == {"guardrails"}:
        data = data["guardrails"]
    if data is None:
        data = []
    if not isinstance(data, (list, tuple)):
        raise GuardrailError(f"{where}: expected a list of guardrails, found {type(data).__name__}")
    if len(data) > MOST_GUARDRAILS:
        raise GuardrailError(f"{where}: {len(data)} guardrails; expected at most {MOST_GUARDRAILS}")
    found: dict[str, Guardrail] = {}
    for index, item in enumerate(data):
        guardrail = _parse_one(Reader(item, where, index))
        if guardrail.name in found:
            raise GuardrailError(f"{where}: two guardrails are called '{guardrail.name}'; names have to differ")
        found[guardrail.name] = guardrail
    corners = sum(len(g.shape.points) for g in found.values() if isinstance(g.shape, Polygon))
    if corners > MOST_CORNERS:
        raise GuardrailError(f"{where}: polygons of {corners} points together; expected at most {MOST_CORNERS}")
    return GuardrailSet(tuple(found.values()))


def guardrails_for(contract: Any, text: str, where: str = "guardrails") -> GuardrailSet:
    """The set that a YAML text gives, or the contract's where there is nothing in the text but white space: the ONE
    meaning of the parameter ``guardrails`` of planner and gate, and of the text in a bag.

    Raises:
        GuardrailError: as :func:`parse_guardrails`.
    """
    return parse_guardrails(text if text.strip() else list(contract.guardrails), where)


def _parse_one(r: Reader) -> Guardrail:
    kind = r.choice("kind", tuple(KINDS))
    unit = r.unit(KINDS[kind])
    f: dict[str, Any] = {"name": r.name, "kind": kind, "unit": unit}
    f["threshold"] = r.number("threshold", 0.0)
    f["risk"] = r.risk()
    if kind in ("keep_out", "keep_in", "speed_zone"):
        f["space"] = r.space() if kind != "speed_zone" else None
        f["shape"] = None if f["space"] else r.shape()
        f["frame"] = r.frame(f["space"] is not None)
        f["margin"] = r.number("margin", 0.0, least=0.0)
    if kind in ("speed_zone", "near_person"):
        f["limit"] = r.number("max_speed", least=0.0)
    if kind == "near_person":
        f["distance"] = r.number("distance", above=0.0)
        f["frame"] = r.text("frame", "map")
    if kind == "obstacle_distance":
        f["limit"] = r.number("min_distance", least=0.0)
    if kind in ("joint_limits", "workspace"):
        f["low"], f["high"] = r.bounds(r.plane_or_space() if kind == "workspace" else None)
    if kind == "workspace":
        if len(f["low"]) == 3:
            f["space"] = Space.between(f["low"], f["high"])
        else:
            (x0, y0), (x1, y1) = f["low"], f["high"]
            f["shape"] = r.outline("low", lambda: Polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]))
        f["frame"] = r.frame(len(f["low"]) == 3)
    if kind in FROM_PLANNER:
        f["limit"] = r.number("max", least=0.0, most=1.0 if kind == "contact_probability" else None)
        f["slow"] = r.number("slow", 0.8 * f["limit"], least=0.0, most=f["limit"])
    return Guardrail(**f, data=r.done())
