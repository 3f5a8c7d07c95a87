# SPDX-License-Identifier: Apache-2.0
"""The working space of one step: what the checks read and what they report to."""

from __future__ import annotations

import math
from typing import Any

from jepa_ros.safety.body import Body
from jepa_ros.safety.config import GateConfig
from jepa_ros.safety.inputs import GateInputs
from jepa_ros.safety.rows import ROWS, Row
from jepa_ros.safety.state import GateState, Track

#: A message whose receipt lies further ahead of the steady clock than this was not received by this machine's clock.
RECEIPT_SLACK = 0.05


class Tick:
    """One tick of the gate.

    Attributes:
        cfg, s, i: settings, the state being made, the inputs. now, ros: steady and ROS time. dt: since the last tick.
        source: "planner" or "teleop". track: what is remembered of it.
        trips: (row, sentence) reported so far.
        u: the command on its way out (A,): rates, or target positions; asked: the one that was asked for.
        still: it asks to stand still. pace: share of the speed that is left by rows that slow down.
        brake: the command of a base that can only brake, where a geometric row found that it can.
        span, bounded, smooth: for positions, the range (low, high) that is allowed, and whether the limits of velocity
            and of acceleration are kept; each is set by the row of its name.
        shape_stop: the gravest shape row that stops, or None. urgent: it stops at once.
        measured: measured velocity (A,) or None where none is good. joints: measured positions (A,) or None;
            joints_fresh: they are not late.
        prompt: the measured velocity is no older than the reaction time and a tick. measured_at: steady time of it.
        sent, held, hull: least and highest rates, (A,) each, that are in force, and that the robot may have, worked out
            once by :mod:`jepa_ros.safety.envelope`; None: not yet. axes: the same by axis (jepa_ros.safety.reach).
        pose, pose_known: where the robot is (:mod:`jepa_ros.safety.localisation`), and whether that was worked out.
        went: what a base did since the last tick, as far as is known now (jepa_ros.safety.reckoning.Mark), or None.
        place, reached, farthest: where the robot is and may come to, worked out once by :mod:`jepa_ros.safety.shares`;
            None: not yet.
    """

    __slots__ = (
        "asked", "axes", "bounded", "brake", "cfg", "dt", "farthest", "held", "hull", "i", "joints",
        "joints_fresh", "measured", "measured_at", "now", "pace", "place", "pose", "pose_known", "prompt",
        "reached", "ros", "s", "sent", "shape_stop", "smooth", "source", "span", "still", "track", "trips", "u",
        "urgent", "went",
    )  # fmt: skip

    def __init__(self, cfg: GateConfig, s: GateState, i: GateInputs, now: float, ros: float, dt: float) -> None:
        self.cfg = cfg
        self.s = s
        self.i = i
        self.now = now
        self.ros = ros
        self.dt = dt
        self.source = "planner"
        self.track: Track = s.planner
        self.trips: list[tuple[Row, str]] = []
        self.u: list[float] = []
        self.asked: list[float] | None = None
        self.still = self.bounded = self.smooth = self.joints_fresh = False
        self.pace = 1.0
        self.span: tuple[tuple[float, ...], tuple[float, ...]] | None = None
        self.shape_stop: str | None = None
        self.brake: list[float] | None = None
        self.urgent = False
        self.measured: list[float] | None = None
        self.joints: list[float] | None = None
        self.prompt = False
        self.measured_at = now
        self.sent: tuple[list[float], list[float]] | None = None
        self.held: list[tuple[float, list[float], list[float]]] | None = None
        self.axes: Any = None
        self.hull: tuple[list[float], list[float]] | None = None
        self.went: Any = None
        self.place: Any = None
        self.pose: tuple[float, float, float, float, float] | None = None
        self.pose_known = False
        self.reached: dict[Any, Any] = {}
        self.farthest: float | None = None

    @property
    def body(self) -> Body:
        """What motion is for this robot."""
        return self.cfg.body

    def slow(self, name: str, sentence: str, share: float) -> None:
        """A shape row lets the robot move on more slowly."""
        self.body.slow(self, share)
        self.trip(name, f"{sentence}: slowed to {share:.2f}")

    def trip(self, name: str, sentence: str) -> None:
        """A row of the table is met."""
        self.trips.append((ROWS[name], sentence))

    def stop(self, name: str, sentence: str, *, urgent: bool = True) -> None:
        """A shape row stops the robot: at once, or as the contract's ``stop`` says."""
        self.trips.append((ROWS[name], sentence))
        if self.shape_stop is None:
            self.shape_stop = name
        self.urgent = self.urgent or urgent

    def age(self, received: float) -> float:
        """Seconds since receipt; infinite for a receipt time that cannot be true."""
        age = self.now - received
        if not -RECEIPT_SLACK <= age < math.inf:
            return math.inf
        return age if age > 0.0 else 0.0

    def late(self, message: Any, timeout: float) -> str | None:
        """Why a stamped message is not fresh, or None if it is: by receipt, and by its stamp.

        The stamp may be older than the time-out by ``stamp_tolerance``, the skew allowed between two machines' clocks,
        and later than now by as much.
        """
        age = self.age(message.received)
        if age > timeout:
            return "has a receipt time that cannot be true" if age == math.inf else f"silent for {age:.2f} s"
        old = self.ros - message.stamp
        tolerance = self.cfg.stamp_tolerance
        if old > timeout + tolerance and message.stamp == 0.0:
            return "has no stamp: its header.stamp is 0"
        if old > timeout + tolerance:
            return f"stamped {old:.2f} s ago (limit {timeout + tolerance:.2f} s)"
        if old < -tolerance:
            return f"stamped {-old:.2f} s in the future"
        if not -math.inf < old < math.inf:
            return "stamped with no number"
        return None

    def date(self, stamp: float) -> None:
        """Note how old the measured velocity is."""
        age = max(0.0, self.ros - stamp)
        self.prompt = age <= self.cfg.reaction_time + self.cfg.period
        self.measured_at = self.now - age

    def twist(self, u: list[float]) -> tuple[float, float, float]:
        """Rates (A,) of a base, commanded or measured, as (vx, vy, w) in the body frame."""
        cfg = self.cfg
        return (
            0.0 if cfg.forward is None else u[cfg.forward],
            0.0 if cfg.sideways is None else u[cfg.sideways],
            0.0 if cfg.turn is None else u[cfg.turn],
        )

    def moving(self) -> bool:
        """Whether the robot is measured to move."""
        if self.measured is None:
            return False
        return any([abs(v) > limit for v, limit in zip(self.measured, self.cfg.motion, strict=True)])
