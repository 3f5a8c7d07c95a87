# SPDX-License-Identifier: Apache-2.0
"""What the gate remembers from one tick to the next. A step copies it and never writes to the one it was given."""

from __future__ import annotations

from typing import Any

from jepa_ros.safety.output import Intervention, Mode
from jepa_ros.safety.rows import ROWS

#: How many interventions are kept. One that shapes the command, and comes again within so many s, is the same one: a
#: robot that pushes against an edge must not drive the stop before it out of the memory.
KEPT, AGAIN = 100, 5.0


class Held:
    """A command that was accepted and is being followed; without values it says "stand still". Never changed."""

    __slots__ = ("received", "stamp", "values")

    def __init__(self, values: list[float] | None, stamp: float, received: float) -> None:
        self.values = values
        self.stamp = stamp
        self.received = received


class Track:
    """What is remembered of one source of commands ("planner" or "teleop"). Never changed after it is made."""

    __slots__ = ("bad", "held", "last", "newest", "refused", "seen_at")

    def __init__(
        self,
        last: tuple[int, float] | None = None,
        held: Held | None = None,
        newest: float | None = None,
        bad: tuple[str, str] | None = None,
        refused: str | None = None,
        seen_at: float | None = None,
    ) -> None:
        self.last = last  # (seq, received) of the message looked at last
        self.held = held  # the command that is followed
        self.newest = newest  # largest stamp accepted
        self.bad = bad  # (row, sentence) while the newest message was a bad one
        self.refused = refused  # why the newest message's stamp was refused
        self.seen_at = seen_at  # receipt of the newest message, good or bad


class GateState:
    """The explicit state of the gate; :meth:`clone` gives the copy that a step works on."""

    enabled: bool
    mode: Mode
    reason: str
    latch: tuple[str, str] | None  # (row, sentence) of what latched
    hardware_estop: bool
    steady: float | None  # of the last tick
    slowest: float  # the longest time between two ticks of late [s]
    ros: float | None
    ros_moved: float | None  # steady time at which ROS time last moved
    out: list[float]  # what was decided last; never changed in place
    rate: list[float]  # its speed, for positions
    known: bool  # positions: where the robot stands was measured once
    nearest: list[float] | None  # positions: how near to the set-point the joints have been since it stands
    settled_since: float | None  # positions: since when the joints have been measured to stand beside it
    joints_before: tuple[float, list[float], list[float] | None] | None  # (stamp, positions, speeds) of joint_states
    recent: tuple[tuple[float, list[float], list[float]], ...]  # (since, least, highest rates) sent within the reaction
    in_force: tuple[tuple[float, list[float], list[float]], ...]  # (steady time, least, highest rates in force then)
    swing: tuple[list[float], list[float]] | None  # least and highest rates that braking leaves of all that was sent
    led: tuple[float, list[float]] | None  # when, and to what rates, the last command that asked for motion left
    hull_before: tuple[list[float], list[float]] | None  # least and highest rates that the robot could have last tick
    ways: tuple[tuple[float, list[float], list[float]], ...]  # (ROS time, how far joints may have come, down and up)
    planner: Track
    teleop: Track
    image_seen: tuple[float, float] | None  # (stamp, received) of the image looked at last
    image_stamp: float | None  # of the newest image
    image_fresh: float | None  # receipt of the last image with a new stamp
    image_checks: tuple[int, ...]  # checksums of the last images
    image_repeats: int  # images in a row with a checksum seen before, while moving
    fresh_all: float | None  # since when every input that all need is good
    fresh_planner: float | None  # the same, with what the planner needs
    active_once: bool  # it moved since it was enabled
    stopped_by: str | None  # the counted row that stopped it last
    resumes: tuple[float, ...]
    bad_times: tuple[float, ...]
    bad_last: str  # what was wrong with the last bad command
    zero_since: float | None  # since when the output has been zero
    moving_since: float | None  # since when it has moved all the same
    still_since: float | None  # since when it has been measured not to move
    sent: tuple[tuple[float, list[float]], ...]  # (steady time, velocities) that left of late, oldest first
    linger: tuple[list[float], list[float]] | None  # least and most that braking leaves of what left before that
    off_since: float | None  # since when the measured motion has not been what was commanded
    turned: float  # rad turned on the spot within the margin of a region, since it came there
    answers_for: bool  # enabled, or disabled and not at rest since: its motion is the gate's
    trail: tuple[Any, ...]  # where dead reckoning came to of late (jepa_ros.safety.reckoning.Mark), oldest first
    coast: tuple[Any, ...]  # the same as far as was known at each tick, before odometry told of it
    here: Any  # where dead reckoning is now (Mark)
    met: Any  # where the coast was at the trail's end (Mark)
    told: tuple[Any, tuple[float, float, float]] | None  # the odometry at the trail's end, and its (vx, vy, w)
    since_pose: Any  # how the robot moved since the newest pose (jepa_ros.safety.localisation.Since)
    pose_at: float | None  # steady time at which the last pose was drawn in
    place: tuple[float, float, float] | None  # smoothed pose, as of the last tick
    scan_anchor: Any  # where dead reckoning was when the newest scan was taken (jepa_ros.safety.reckoning.Anchor)
    region_scale: float  # scale of the regions at the last tick
    obstacle_scale: float  # the same of the scan
    contact_axis: tuple[float, ...] | None  # the velocity given when the bumper was pressed
    listening_since: float | None  # since when the gate has been run without a gap, None: from the beginning
    differ_since: float | None  # since when the guardrail sets differ
    arm: Any  # of an arm: what its own rows remember (jepa_ros.safety.arm.guard.Memory)
    shutdown_at: float | None
    counts: dict[str, int]  # replaced, never changed in place
    interventions: tuple[Intervention, ...]  # newest last
    cache: dict[str, tuple[Any, Any]]  # {input: (message, what was worked out from it)}; replaced, not changed

    def __init__(self, size: int, enabled: bool) -> None:
        self.enabled = enabled
        self.mode = Mode.ARMING if enabled else Mode.DISABLED
        self.reason = "arming" if enabled else "disabled"
        self.latch = None
        self.hardware_estop = False
        self.steady = self.ros = self.ros_moved = None
        self.slowest = 0.0
        self.out = [0.0] * size
        self.rate = [0.0] * size
        self.known = False
        self.nearest = self.settled_since = self.joints_before = None
        self.recent = self.in_force = self.trail = self.coast = ()
        self.swing = self.hull_before = self.led = None
        self.ways = ()
        self.planner = Track()
        self.teleop = Track()
        self.image_seen = self.image_stamp = self.image_fresh = None
        self.image_checks = ()
        self.image_repeats = 0
        self.fresh_all = self.fresh_planner = None
        self.active_once = False
        self.stopped_by = None
        self.resumes = ()
        self.bad_times = ()
        self.bad_last = ""
        self.zero_since = self.moving_since = self.still_since = None
        self.answers_for = enabled
        self.sent = ()
        self.linger = self.off_since = None
        self.turned = 0.0
        self.place = self.pose_at = self.scan_anchor = self.since_pose = None
        self.here = self.met = self.told = None
        self.region_scale = self.obstacle_scale = 1.0
        self.contact_axis = None
        self.differ_since = self.listening_since = None
        self.arm = None
        self.shutdown_at = None
        self.counts = {}
        self.interventions = ()
        self.cache = {}

    def clone(self) -> GateState:
        """A copy; what it holds is never changed in place, so that a flat copy is enough."""
        other = GateState.__new__(GateState)
        other.__dict__.update(self.__dict__)
        return other

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self.counts = {**self.counts, name: self.counts.get(name, 0) + by}

    def remember(self, entry: Intervention) -> None:
        """Put an intervention into the ring buffer."""
        if entry.reason in ROWS and ROWS[entry.reason].stage == "shape":
            for known in reversed(self.interventions):
                if entry.steady - known.steady > AGAIN:
                    break
                if known.reason == entry.reason:
                    return
        self.interventions = (*self.interventions[1 - KEPT :], entry)

    def forget_commands(self) -> None:
        """Drop the commands that are being followed; only a message that comes in after this one moves the robot."""
        for name in ("planner", "teleop"):
            t: Track = getattr(self, name)
            setattr(self, name, Track(t.last, None, t.newest, t.bad, t.refused, t.seen_at))

    def restart_clock(self) -> None:
        """Drop everything that compares ROS stamps: after a jump they mean nothing."""
        for name in ("planner", "teleop"):
            t: Track = getattr(self, name)
            setattr(self, name, Track(t.last, None, None, t.bad, None, t.seen_at))
        self.image_stamp = self.image_fresh = self.place = None
        self.image_checks = ()
        self.image_repeats = 0
