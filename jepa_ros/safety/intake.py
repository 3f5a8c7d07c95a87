# SPDX-License-Identifier: Apache-2.0
"""Commands coming in: which are believed, which are refused, and what is remembered of a source of commands.

A command whose content is bad (not finite, wrong shape) stops the robot on this tick and is forgotten together with
the one before it; the next good one lifts the stop. A command whose stamp is bad is ignored and counted: the command
before it is followed until it times out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from jepa_ros.safety.inputs import CommandIn
from jepa_ros.safety.rows import check
from jepa_ros.safety.state import Held, Track
from jepa_ros.safety.tick import Tick

#: What the body of a robot is called besides its contract's base frame (REP-105, REP-120): the same axes.
BODY_FRAMES = ("base_link", "base_footprint")


@check("command_shape")
def command_shape(t: Tick, m: CommandIn, track: Track) -> str | None:
    """Size, joint names and frame."""
    cfg = t.cfg
    if m.fault:
        return m.fault
    wrong = None if m.still is True else _numbers(m.values, cfg.size)
    if wrong is not None:
        return wrong
    if cfg.joints and m.names is not None and tuple(m.names) != cfg.joints:
        return f"joint names {tuple(m.names)[:8]}, expected {cfg.joints}"
    frame = m.frame_id.lstrip("/") if isinstance(m.frame_id, str) else None
    if cfg.joints:
        return None  # joints move alike in any frame
    if frame is None or (frame and frame not in (cfg.base_frame, *BODY_FRAMES)):
        return f"frame '{m.frame_id}', expected '{cfg.base_frame}' or none: set it at the sender of the command"
    return None


def _numbers(values: Any, size: int) -> str | None:
    """What is wrong with a list of numbers, or None."""
    try:
        found = len(values)
    except TypeError:
        return "its values are no list of numbers"
    if found != size:
        return f"{found} values, expected {size}"
    for value in values:
        if isinstance(value, (str, bytes, bool, complex)) or value is None:
            return f"a value is a {type(value).__name__}, expected a number"
        try:
            float(value)
        except (TypeError, ValueError, OverflowError):
            return f"a value is a {type(value).__name__}, expected a number"
    return None


@check("command_not_finite")
def command_not_finite(t: Tick, m: CommandIn, track: Track) -> str | None:
    """NaN or infinity on any axis refuses the whole message: a NaN passes any min and max."""
    for value in () if m.still is True else m.values:
        if not math.isfinite(value):
            return f"holds {float(value)}"
    return None


@check("command_stamp")
def command_stamp(t: Tick, m: CommandIn, track: Track) -> str | None:
    """Old, future, or behind one that was accepted before (an old message sent again)."""
    old = t.ros - m.stamp
    if not math.isfinite(old):
        return "stamp is no number"
    if old > t.cfg.max_stamp_age and m.stamp == 0.0:
        return "has no stamp: its header.stamp is 0"
    if old > t.cfg.max_stamp_age:
        return f"stamp is {old:.2f} s old (limit {t.cfg.max_stamp_age:.2f} s)"
    if old < -t.cfg.stamp_tolerance:
        return f"stamp is {-old:.2f} s in the future"
    if track.newest is not None and m.stamp < track.newest - 1e-6:
        return f"stamp is {track.newest - m.stamp:.2f} s behind an earlier command's"
    return None


Check = Callable[[Tick, CommandIn, Track], "str | None"]


class Intake:
    """Looks at each command once, with the checks that are given (in a mutation run one is missing)."""

    def __init__(self, checks: dict[str, Check]) -> None:
        self.content = [(name, checks[name]) for name in ("command_shape", "command_not_finite") if name in checks]
        self.stamp = checks.get("command_stamp")

    def take(self, t: Tick, who: str, messages: tuple[Any, ...]) -> None:
        """Take in the new ones among ``messages`` (oldest first) for the source ``who``."""
        track: Track = getattr(t.s, who)
        before = track
        for m in messages:
            if m is None:
                continue
            key = (m.seq, m.received)
            if key == track.last:
                continue
            track = self._one(t, who, m, track, key)
        if track is not before:
            setattr(t.s, who, track)

    def _one(self, t: Tick, who: str, m: CommandIn, track: Track, key: tuple[int, float]) -> Track:
        if track.last is not None and m.received < track.last[1] <= t.now:
            return track  # looked at before, out of order
        seen = m.received if t.age(m.received) < math.inf else track.seen_at
        for name, function in self.content:
            why = function(t, m, track)
            if why is not None:
                sentence = f"{who} command refused: {why}"
                t.s.count(f"{who}_{name}")
                t.s.bad_times = (*t.s.bad_times[-99:], t.now)
                t.s.bad_last = sentence
                return Track(key, None, track.newest, (name, sentence), None, seen)
        if self.stamp is not None:
            why = self.stamp(t, m, track)
            if why is not None:
                t.s.count(f"{who}_command_stamp")
                return Track(key, track.held, track.newest, track.bad, why, seen)
        newest = m.stamp if track.newest is None or m.stamp > track.newest else track.newest
        values = None if m.still is True else [float(v) for v in m.values]
        return Track(key, Held(values, m.stamp, m.received), newest, None, None, seen)


def choose_source(t: Tick, heard: bool = True) -> None:
    """Teleoperation drives as long as its messages come in, good or bad: a bad one stops, it hands nothing back.

    ``heard`` is false in the mutation run that shows what its priority is worth.
    """
    s = t.s
    if heard and s.teleop.seen_at is not None and t.age(s.teleop.seen_at) <= t.cfg.teleop_release:
        t.source, t.track = "teleop", s.teleop
    else:
        t.source, t.track = "planner", s.planner
    if t.track.bad is not None:
        t.trip(*t.track.bad)


@check("bad_commands")
def bad_commands(t: Tick) -> None:
    """A source that keeps sending nonsense is broken: a person has to look."""
    start = t.now - t.cfg.resume_latch_window
    times = t.s.bad_times
    if times and times[0] < start:
        times = tuple(v for v in times if v >= start)
        t.s.bad_times = times
    if len(times) >= t.cfg.bad_command_latch:
        t.s.bad_times = ()  # latched now; after a reset they are counted anew
        why = f"{len(times)} bad commands within {t.cfg.resume_latch_window:g} s; the last: {t.s.bad_last}"
        t.trip("bad_commands", why)


@check("command_timeout")
def command_timeout(t: Tick) -> None:
    """By the time of receipt on the steady clock, which no ROS clock can stop."""
    track = t.track
    if track.bad is not None:
        return
    if track.held is None:
        age = math.inf
        found = "there is no command yet"
    else:
        age = t.age(track.held.received)
        found = f"the last good command came {age:.2f} s ago (limit {t.cfg.command_timeout:.2f} s)"
    if age <= t.cfg.command_timeout:
        return
    if track.refused is not None:
        t.trip("command_stamp", f"{found}; the newest was refused: {track.refused}")
    else:
        t.trip("command_timeout", f"{t.source}: {found}")
