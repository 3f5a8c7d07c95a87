# SPDX-License-Identifier: Apache-2.0
"""The scan that the gate hears of a robot with a costmap: what its lidar sees, joined with cells and areas in the way.

Whatever of it is missing, old, in another frame or unreadable, there is no scan: the gate stops a robot whose scan
falls silent, and :class:`CostmapError` says what is wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from jepa_ros.errors import JepaRosError
from jepa_ros.messages.costmap import Area, Grid
from jepa_ros.planar.costmap import Beams, edge, empty, joined, lethal, whole_turn
from jepa_ros.planar.odometry import between
from jepa_ros.safety.inputs import OdomIn, PoseIn
from jepa_ros.safety.settings import default

#: The robot's own place, in the frame of its base.
HERE = (0.0, 0.0, 0.0)


class CostmapError(JepaRosError):
    """Why there is no scan now; the message names what is wrong."""


@dataclass(frozen=True)
class Heard:
    """A value, the stamp that it came with [s, ROS time] and when it came [steady s]; or why it cannot be used."""

    value: Any
    stamp: float
    received: float
    fault: str = ""


class CostmapScan:
    """See the module.

    Args:
        contract: of a base. sigmas: standard deviations of a localised pose by which cells are nearer than they seem;
            the gate's ``pose_sigma``.

    Attributes:
        place: which state tells where the robot is in the frame of the costmap, ``pose`` or ``odom``; "" where that is
            the base itself.

    Raises:
        CostmapError: the contract declares no costmap.
    """

    def __init__(self, contract: Any, sigmas: float = default("pose_sigma")) -> None:
        if contract.costmap is None:
            raise CostmapError(f"{contract.source}: costmap: none is declared; docs/neighbours.md has an example")
        self.contract, self.declared, self.sigmas = contract, contract.costmap, sigmas
        frames = contract.frames
        self.place = {frames.map: "pose", frames.odom: "odom"}.get(self.declared.frame, "")
        fastest = dict(zip((axis.name for axis in contract.axes), contract.limits.velocity, strict=True))
        self._speed = math.hypot(fastest.get("linear.x", 0.0), fastest.get("linear.y", 0.0))
        self._spin = float(fastest.get("angular.z", 0.0))
        self._offset = contract.lidar().get("scan_offset", HERE)
        self._no_return = contract.state["scan"].no_return or ()
        self._told: dict[str, Heard] = {}
        self._here: Heard | None = None

    def take(self, topic: str, value: Grid | Area, received: float) -> None:
        """A costmap or an area came on its topic; ``received`` [steady s]."""
        fault = ""
        if value.frame != self.declared.frame:
            fault = f"is in frame '{value.frame}'; the contract says '{self.declared.frame}'"
        self._told[topic] = Heard(value, value.stamp, received, fault)

    def unreadable(self, topic: str, fault: str, received: float) -> None:
        """A message came on a topic that cannot be read."""
        self._told[topic] = Heard(None, math.inf, received, f"cannot be read: {fault}")

    def take_place(self, measured: OdomIn | PoseIn) -> None:
        """Where the robot is, of the state :attr:`place`."""
        fault = measured.fault
        if not all(map(math.isfinite, (measured.x, measured.y, measured.yaw))):
            fault = "is not finite"
        elif measured.frame_id not in ("", self.declared.frame):
            fault = f"is in frame '{measured.frame_id}'; the costmap is in '{self.declared.frame}'"
        self._here = Heard(measured, measured.stamp, measured.received, fault)

    def beams(self, scan: Any, steady: float, ros: float) -> Beams:
        """What the gate is to hear.

        Args:
            scan: the lidar's ``LaserScan``, None for a robot without one. steady, ros: now [s].

        Cells are nearer by what the robot may have driven between the scan and the moment that their place is of: the
        gate carries all of a scan on from its one stamp.

        Raises:
            CostmapError: something is missing, old or cannot be used.
        """
        if scan is not None:
            check_lidar(scan, self.declared.reach, self._no_return)
        here, blur, turned = HERE, 0.0, 0.0
        placed = None
        if self.place:
            topic = self.contract.state[self.place]
            measured = self._fresh(self._here, f"{self.place} ({topic.topic})", topic.timeout, steady, ros)
            here, placed = (measured.x, measured.y, measured.yaw), measured.stamp
            if isinstance(measured, PoseIn):
                blur, turned = (self.sigmas * doubt for doubt in _deviations(measured))
        found = empty() if scan is None else whole_turn(scan)
        seen_at = (ros if placed is None else placed) if scan is None else _seconds(scan.header.stamp)
        for topic_name in self.declared.sources:
            told = self._fresh(self._told.get(topic_name), topic_name, self.declared.timeout, steady, ros)
            try:
                points, radius = (lethal if isinstance(told, Grid) else edge)(told, self.declared, here)
            except ValueError as error:
                raise CostmapError(f"{topic_name}: {error}") from None
            flat = np.concatenate([points, np.zeros((len(points), 1))], axis=1)
            seen = between(np.array(self._offset), flat)[:, :2]
            apart = abs(seen_at - (told.stamp if placed is None else placed))
            way, angle = blur + self._speed * apart, turned + self._spin * apart
            doubt = radius + way + angle * np.hypot(*points.T)
            found = joined(found, seen, doubt, self._no_return)
        return found

    def _fresh(self, heard: Heard | None, name: str, timeout: float, steady: float, ros: float) -> Any:
        if heard is None:
            raise CostmapError(f"{name}: nothing was heard yet")
        if heard.fault:
            raise CostmapError(f"{name} {heard.fault}")
        tolerance = self.contract.watchdog.stamp_tolerance
        if not steady - heard.received <= timeout:
            raise CostmapError(f"{name} is silent for {steady - heard.received:.1f} s (limit {timeout:g} s)")
        if not -tolerance <= ros - heard.stamp <= timeout + tolerance:
            raise CostmapError(f"{name} has a stamp {ros - heard.stamp:.1f} s before now (limit {timeout:g} s)")
        return heard.value


def _seconds(stamp: Any) -> float:
    return float(stamp.sec + stamp.nanosec * 1e-9)


def check_lidar(scan: Any, reach: float, no_return: tuple[str, ...]) -> None:
    """Refuse a lidar's ``LaserScan`` that the gate would refuse, too: joined with cells it would look good.

    Args:
        reach: how far cells are told of [m]. no_return: what the lidar writes besides +inf where nothing is seen.

    Raises:
        CostmapError: no ranges, angles or limits that make no sense, all of it nearer than ``range_min``, or a lidar
            that sees less far than cells are told of: the gate believes nothing beyond ``range_max``.
    """
    ranges = np.asarray(scan.ranges, dtype=np.float64)
    low, high, step = float(scan.range_min), float(scan.range_max), float(scan.angle_increment)
    if not len(ranges):
        raise CostmapError("the lidar's scan has no ranges")
    turn = abs(step) * (len(ranges) - 1)
    if not math.isfinite(float(scan.angle_min)) or not 1e-4 <= abs(step) <= math.tau or turn > math.tau + abs(step):
        raise CostmapError(f"the lidar's scan has {len(ranges)} ranges {step:g} rad apart from {scan.angle_min:g} on")
    if not 0.0 <= low < high:
        raise CostmapError(f"the lidar's scan goes from {low:g} to {high:g} m")
    if high < reach:
        raise CostmapError(f"costmap.reach is {reach:g} m and the lidar sees {high:g} m: the gate would miss cells")
    empty_beams = (("nan" in no_return) & np.isnan(ranges)) | (("zero" in no_return) & (ranges == 0.0))
    if (~empty_beams & ((ranges < low) | (ranges <= 0.0))).all():
        raise CostmapError(f"the lidar shows nothing but what is nearer than {low:g} m: it is covered or broken")


def _deviations(pose: PoseIn) -> tuple[float, float]:
    """The standard deviations of a localised pose: m, where it is largest, and rad.

    Raises:
        CostmapError: its covariance says nothing.
    """
    rows = np.asarray(pose.cov, dtype=np.float64)
    if rows.shape != (3, 3) or not np.isfinite(rows).all() or (np.diag(rows) < 0.0).any():
        raise CostmapError("pose has a covariance that is not finite, or negative")
    largest = float(np.linalg.eigvalsh(0.5 * (rows[:2, :2] + rows[:2, :2].T))[-1])
    return math.sqrt(max(largest, 0.0)), math.sqrt(float(rows[2, 2]))
