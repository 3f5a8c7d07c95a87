# SPDX-License-Identifier: Apache-2.0
"""Measured state coming in: odometry, joints, pose, scan, contact. Checked once a message, its age at every tick."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jepa_ros.safety.inputs import JointsIn, OdomIn, PeopleIn, PoseIn, ScanIn, WrenchIn
from jepa_ros.safety.rows import check
from jepa_ros.safety.tick import Tick

#: A position further away than this is no position on this planet's floors.
FAR = 1e6
NOBODY = np.empty(0)
#: More people than this are no people, and each costs time of the tick.
MOST_PEOPLE = 100


Verdict = tuple["str | None", Any]


def examine(t: Tick, name: str, message: Any, function: Callable[..., Verdict]) -> Verdict:
    """(what is wrong or None, what was worked out), computed once a message."""
    cached = t.s.cache.get(name)
    if cached is None or cached[0] is not message:
        try:
            found = function(t, message)
        except (TypeError, ValueError, OverflowError, IndexError) as error:
            found = (f"is malformed ({type(error).__name__})", None)
        cached = (message, found)
        t.s.cache = {**t.s.cache, name: cached}
    result: Verdict = cached[1]
    return result


def _watched(t: Tick, name: str, message: Any) -> bool:
    """Whether a state topic counts: required, or heard once and declared."""
    declared = t.cfg.states.get(name)
    return declared is not None and (declared[1] or message is not None)


def _frame(found: Any, expected: str) -> str | None:
    if not isinstance(found, str) or found.lstrip("/") != expected:
        return f"is in frame '{found}', expected '{expected}'"
    return None


def _finite(*values: Any) -> bool:
    return all(-FAR < float(v) < FAR for v in values)


def read_odom(t: Tick, m: OdomIn) -> tuple[str | None, Any]:
    """Measured velocity (A,)."""
    wrong = _frame(m.frame_id, t.cfg.odom_frame) or m.fault
    if wrong:
        return wrong, None
    if not _finite(m.x, m.y, m.yaw):
        return "position is not finite", None
    v = [float(value) for value in m.v]
    if len(v) != t.cfg.size:
        return f"has {len(v)} velocities, expected {t.cfg.size}", None
    if not _finite(*v):
        return "velocity is not finite", None
    return None, v


def read_joints(t: Tick, m: JointsIn) -> tuple[str | None, Any]:
    """(positions (A,), velocities (A,) or None) in the order of the contract's joints.

    A velocity that is NaN was not measured: drivers write it where the hardware tells positions alone.
    """
    names, position, velocity = list(m.names), list(m.position), list(m.velocity)
    if not t.cfg.joints:  # a base: its wheels have no names in the contract, and may tell positions, rates, or neither
        if any(len(values) not in (0, len(names)) for values in (position, velocity)):
            return f"has {len(names)} names, {len(position)} positions, {len(velocity)} velocities", None
        measured = [v for v in velocity if not math.isnan(v)]
        return (None, (None, None)) if _finite(*position, *measured) else ("is not finite", None)
    if len(position) != len(names) or (velocity and len(velocity) != len(names)):
        return f"has {len(names)} names, {len(position)} positions, {len(velocity)} velocities", None
    index = {n: k for k, n in enumerate(names)}
    if len(index) != len(names):
        return "names a joint twice", None
    missing = [n for n in t.cfg.joints if n not in index]
    if missing:
        return f"lacks joint '{missing[0]}'", None
    q = [float(position[index[n]]) for n in t.cfg.joints]
    if not _finite(*q):
        return "position is not finite", None
    v = [float(velocity[index[n]]) for n in t.cfg.joints] if velocity else [math.nan] * len(q)
    if all(math.isnan(value) for value in v):
        return None, (q, None)
    return (None, (q, v)) if _finite(*v) else ("velocity is not finite", None)


def read_pose(t: Tick, m: PoseIn) -> tuple[str | None, Any]:
    """(x, y, yaw, margin [m], heading margin [rad]): the margins are ``pose_sigma`` standard deviations."""
    wrong = _frame(m.frame_id, t.cfg.map_frame) or m.fault
    if wrong:
        return wrong, None
    x, y, yaw = float(m.x), float(m.y), float(m.yaw)
    if not _finite(x, y, yaw):
        return "is not finite", None
    rows = [[float(v) for v in row] for row in m.cov]
    if len(rows) != 3 or any(len(row) != 3 for row in rows):
        return "has a covariance that is not 3 x 3", None
    if not _finite(*rows[0], *rows[1], *rows[2]):
        return "covariance is not finite", None
    a, b, c = rows[0][0], 0.5 * (rows[0][1] + rows[1][0]), rows[1][1]
    if a < 0.0 or c < 0.0 or rows[2][2] < 0.0:
        return "covariance has a negative variance", None
    largest = 0.5 * (a + c) + math.hypot(0.5 * (a - c), b)
    sigma = t.cfg.pose_sigma
    return None, (x, y, yaw, sigma * math.sqrt(largest), sigma * math.sqrt(rows[2][2]))


def read_scan(t: Tick, m: ScanIn) -> tuple[str | None, Any]:
    """Points seen, (n,) x and y in the base frame [m], and the distance of the nearest.

    REP-117: +inf sees nothing; -inf, and what is below ``range_min``, is an obstacle in the beam's own direction that
    is too near to be measured. It is taken to stand where the beam leaves the footprint: at the worst place in that
    direction. A whole turn of those is a lidar that is covered, or broken. What a lidar writes besides for a beam
    that comes back from nowhere, the contract says (``no_return``).
    """
    cfg = t.cfg
    wrong = _frame(m.frame_id, cfg.scan_frame)
    if wrong:
        return wrong, None
    r = np.asarray(m.ranges, dtype=np.float64)
    if r.ndim != 1 or r.size == 0:
        return f"has ranges of shape {r.shape}, expected (n,)", None
    numbers = (float(m.angle_min), float(m.angle_increment), float(m.range_min), float(m.range_max))
    low, high = numbers[2], numbers[3]
    if not _finite(*numbers[:3]) or not 0.0 <= low < high:
        return f"has angles {numbers[0]} + n x {numbers[1]}, range {low} to {high}", None
    if r.size > 1 and not 1e-6 < abs(numbers[1]) * (r.size - 1) <= 2.0 * math.pi + abs(numbers[1]):
        return f"has {r.size} ranges {numbers[1]:.6f} rad apart, more than a turn or none at all", None
    if "zero" in cfg.scan_no_return:
        r = np.where(r == 0.0, math.inf, r)
    if "nan" in cfg.scan_no_return:
        r = np.where(np.isnan(r), math.inf, r)
    if np.isnan(r).any():
        return f"holds {int(np.isnan(r).sum())} NaN of {r.size}", None
    near = (r < low) | (r <= 0.0)
    if near.all():
        return f"shows nothing but what is nearer than its range_min of {low:g} m: it is covered or broken", None
    seen = near | ((r <= high) & (r < math.inf))  # a range_max of infinity makes no return a thing that is seen
    if not seen.any():
        return None, (NOBODY, NOBODY, math.inf)
    angles = numbers[0] + numbers[1] * np.flatnonzero(seen) + cfg.scan_offset[2]
    c, s = np.cos(angles), np.sin(angles)
    dx, dy, _ = cfg.scan_offset
    along = dx * c + dy * s
    inside = cfg.footprint_radius**2 - (dx * dx + dy * dy) + along * along
    leaves = np.where(inside > 0.0, np.sqrt(np.maximum(inside, 0.0)) - along, -1.0)
    # Of a lidar outside of the footprint, the place on the beam, up to range_min, that is nearest to the base.
    beside = np.clip(-along, 0.0, low)
    within = dx * dx + dy * dy <= cfg.footprint_radius**2
    away = np.where(near[seen], leaves if within else beside, r[seen])
    x, y = dx + away * c, dy + away * s
    return None, (x, y, float(np.hypot(x, y).min()))


def read_people(t: Tick, m: PeopleIn) -> tuple[str | None, Any]:
    """Where people are: [(x, y), ...] in the frame of the regions [m]."""
    wrong = _frame(m.frame_id, t.cfg.map_frame)
    if wrong:
        return wrong, None
    if len(m.positions) > MOST_PEOPLE:
        return f"tells of {len(m.positions)} people, expected at most {MOST_PEOPLE}", None
    places = [(float(x), float(y)) for x, y in m.positions]
    return (None, places) if all(_finite(x, y) for x, y in places) else ("position is not finite", None)


def read_wrench(t: Tick, m: WrenchIn) -> tuple[str | None, Any]:
    """The size of the force [N], whatever its direction."""
    x, y, z = (float(v) for v in m.force)
    return (None, math.sqrt(x * x + y * y + z * z)) if _finite(x, y, z) else ("is not finite", None)


@check("state_not_finite")
def state_not_finite(t: Tick) -> None:
    """Odometry, joints, people and the wrist's force: content."""
    for name, message, function in (
        ("odom", t.i.odom, read_odom), ("joint_states", t.i.joint_states, read_joints),
        ("people", t.i.people, read_people), ("wrench", t.i.wrench, read_wrench),
    ):  # fmt: skip
        if message is not None and name in t.cfg.states:
            wrong, _ = examine(t, name, message, function)
            if wrong is not None:
                t.trip("state_not_finite", f"{name} {wrong}")


@check("state_stale")
def state_stale(t: Tick) -> None:
    """Odometry, joints, bumper, people, the wrist's force: age."""
    for name in ("odom", "joint_states", "contact", "people", "wrench"):
        message = getattr(t.i, name)
        if not _watched(t, name, message):
            continue
        why = "was not received yet" if message is None else t.late(message, t.cfg.states[name][0])
        if why is not None:
            t.trip("state_stale", f"{name} {why}")


def located(
    t: Tick,
    name: str,
    row: str,
    message: Any,
    function: Callable[..., Any],
    needed: bool,
    late: Callable[[Tick, Any], str | None] | None = None,
) -> None:
    """Trip ``row`` where a message of what is around the robot is needed, and missing, wrong or late.

    ``late``: why a message is late, None where it is not; by default it is older than the contract's time-out.
    """
    if not (needed or _watched(t, name, message)):
        return
    if message is None:
        t.trip(row, f"{name} was not received yet")
        return
    wrong, _ = examine(t, name, message, function)
    if wrong is None:
        wrong = t.late(message, t.cfg.states[name][0]) if late is None else late(t, message)
    if wrong is not None:
        t.trip(row, f"{name} {wrong}")


@check("scan_lost")
def scan_lost(t: Tick) -> None:
    """The scan, where it is declared."""
    located(t, "scan", "scan_lost", t.i.scan, read_scan, t.cfg.guardrails.needs_scan and "scan" in t.cfg.states)


def take_measurements(t: Tick) -> None:
    """Fill ``t.measured`` and ``t.joints`` from what is fresh and good."""
    odom, joints = t.i.odom, t.i.joint_states
    if odom is not None and "odom" in t.cfg.states and t.late(odom, t.cfg.states["odom"][0]) is None:
        wrong, v = examine(t, "odom", odom, read_odom)
        if wrong is None:
            t.measured = v
            t.date(odom.stamp)
    if joints is not None and t.cfg.joints:
        wrong, value = examine(t, "joint_states", joints, read_joints)
        if wrong is None:
            t.joints = value[0]
            t.joints_fresh = t.late(joints, t.cfg.states["joint_states"][0]) is None
            rates = value[1] or _rates(t, joints.stamp, value[0])
            if t.measured is None and t.joints_fresh:
                t.measured = rates
                t.date(joints.stamp)


def _rates(t: Tick, stamp: float, q: list[float]) -> list[float] | None:
    """Joint speeds from two messages that follow each other, where the sensor tells positions alone; None at first."""
    before = t.s.joints_before
    if before is not None and before[0] == stamp:
        return before[2]
    rates = None
    if before is not None and 0.0 < stamp - before[0] < 1.0:
        rates = [(b - a) / (stamp - before[0]) for a, b in zip(before[1], q, strict=True)]
    t.s.joints_before = (stamp, q, rates)
    return rates
