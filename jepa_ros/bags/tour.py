# SPDX-License-Identifier: Apache-2.0
"""A recorded drive becomes a memory: a planner without a goal sees and feels it all, as on a tour that it is on itself.

The images that begin control steps are encoded anew, odometry and commands are those of the bag. Where nobody knows how
the robot came from one image to the next, the tour is cut: what follows begins at a new place, which nothing joins to
the last one until the robot is found to have come back.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from jepa_ros.agent.step_clock import StepClock
from jepa_ros.bags import BagError
from jepa_ros.bags.dataset.control_steps import MOVED_METRES
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.storage import Message
from jepa_ros.bags.replay.offline import OfflineReplay, seconds_of
from jepa_ros.bags.replay.recording import Arrival, Recording
from jepa_ros.messages.images import pixels
from jepa_ros.perception.preprocess import to_rgb

#: A turn between two steps that is larger than the robot can make, by more than this, was no turn of its own [rad].
TURNED_RADIANS = 0.5


@dataclass
class Told:
    """What came of a tour: images that were taken in, why others could not be, and (s after the bag's begin, why) of
    each cut."""

    steps: int = 0
    refused: list[str] = field(default_factory=list)
    cuts: list[tuple[float, str]] = field(default_factory=list)


class Tour:
    """Shows a planner a recording.

    Args:
        recording: all of it, see :func:`~jepa_ros.bags.replay.read.read_recording`. perception, planner: the planner
            has a memory, and no goal.

    Attributes:
        now: s since the epoch, of the image that is seen: the time of what is remembered.
    """

    def __init__(self, recording: Recording, perception: Any, planner: Any) -> None:
        from jepa_ros.agent.planner_part import PlannerPart

        self.recording, self.planner = recording, planner
        self.now = 0.0
        self._replay = OfflineReplay(recording, perception, planner, None)
        self._part = PlannerPart(planner, perception)
        contract = recording.contract
        self._where = "pose" if "pose" in contract.state else "odom"
        self._told_by = _Track(recording.gate.get(self._where, []), contract.state.get(self._where))
        self._limits = _limits(contract)
        self._modes = [tick.time or 0 for tick in recording.log.ticks]

    def run(self, progress: Callable[[float, float], None] | None = None) -> Told:
        """Show it all; ``progress`` is called with (seconds done, seconds in all)."""
        recording, told = self.recording, Told()
        reader, contract = recording.reader, recording.contract
        clock = StepClock(contract.rate, contract.step_camera.rate)
        gated, odometry = iter(recording.gated), iter(recording.gate.get("odom", []))
        sent, moved = next(gated, None), next(odometry, None)
        last: tuple[float, Any] | None = None  # stamp and place of the last image
        cut = ""
        for message, stamp, senses in self._replay.images():
            at = seconds_of(stamp)
            if progress is not None:
                progress((message.time - reader.start) * 1e-9, (reader.end - reader.start) * 1e-9)
            while sent is not None and sent.time <= message.time:
                when, values = sent.content
                self._part.log.add(sent.time * 1e-9 if when is None else when, values)
                sent = next(gated, None)
            while moved is not None and moved.time <= message.time:
                self._part.odometry.take(moved.content)
                moved = next(odometry, None)
            if not clock.begins_step(at):
                continue
            mode, reason = self._gate(message.time)
            place = self._told_by.at(at)
            cut = self._unusable(mode, place) or cut
            why = cut or self._leap(last, at, place)
            if last is not None and why:
                told.cuts.append(((message.time - reader.start) * 1e-9, why))
                self._part.reset()
                last = None
            if self._unusable(mode, place):
                continue
            try:
                embedding = self._replay.see(message, stamp, senses)
            except BagError as error:  # a robot refuses such an image, and goes on with the next
                told.refused.append(str(error))
                continue
            self.now, cut = message.time * 1e-9, ""
            picture = partial(_picture, reader, message)
            thought = self._part.think(embedding, at, self._part.told(at, reason), picture=picture)
            if thought.error:
                raise BagError(f"{reader.path}: image of time {message.time}: {thought.error}")
            told.steps += 1
            last = at, place
        return told

    def _gate(self, time: int) -> tuple[str, str]:
        """Mode and reason of the gate by a log time [ns]; "" where it is not in the bag."""
        at = bisect.bisect_right(self._modes, time) - 1
        return ("", "") if at < 0 else (self.recording.log.ticks[at].mode, self.recording.log.ticks[at].reason)

    def _unusable(self, mode: str, place: Any) -> str:
        """Why an image is not taken in; "" if it is."""
        if mode.upper() == "DISABLED":
            return "the gate was disabled: the robot may have been carried"
        if self._told_by.heard and place is None:
            return f"no {self._where}: nobody knows how the robot moved"
        return ""

    def _leap(self, last: tuple[float, Any] | None, at: float, place: Any) -> str:
        """Why the robot cannot have come here from the last image by itself; "" if it can."""
        if last is None:
            return ""
        seconds = at - last[0]
        if seconds <= 0.0:
            return "time jumped back"
        if seconds > self.planner.config.max_gap:
            return f"no image for {seconds:.1f} s"
        if place is None or last[1] is None:
            return ""
        moved = math.hypot(place[0] - last[1][0], place[1] - last[1][1])
        turned = abs(math.remainder(place[2] - last[1][2], math.tau))
        speed, rate = self._limits
        if moved > 1.2 * speed * seconds + MOVED_METRES or turned > 1.2 * rate * seconds + TURNED_RADIANS:
            return f"{self._where} leapt by {moved:.2f} m and {math.degrees(turned):.0f} degrees: carried, or set anew"
        return ""


def _picture(reader: BagReader, message: Message) -> np.ndarray:
    """The pixels (H, W, 3) of an image that could be read before."""
    return to_rgb(*pixels(reader.deserialize(message)))


class _Track:
    """Poses of a topic by their stamps: the newest that was measured by a time counts, unless it is old."""

    def __init__(self, arrivals: list[Arrival], topic: Any) -> None:
        good = [a.content for a in arrivals if not a.content.fault]
        rows = sorted((told.stamp, told.x, told.y, told.yaw) for told in good)
        self._rows = [row for row in rows if all(map(math.isfinite, row))]
        self._stamps = [row[0] for row in self._rows]
        self._patience = 0.0 if topic is None else topic.timeout
        self.heard = bool(arrivals)

    def at(self, stamp: float) -> tuple[float, float, float] | None:
        """(x m, y m, yaw rad) at a time [s], None where it was not measured."""
        row = bisect.bisect_right(self._stamps, stamp + 1e-6) - 1
        if row < 0 or stamp - self._stamps[row] > self._patience:
            return None
        _, x, y, yaw = self._rows[row]
        return x, y, yaw


def _limits(contract: Any) -> tuple[float, float]:
    """How fast the robot can drive [m/s] and turn [rad/s]; inf where the contract does not say."""
    limits = list(zip(contract.limits.velocity, contract.axes, strict=True))
    linear = [limit for limit, axis in limits if axis.unit == "m/s"]
    turning = [limit for limit, axis in limits if axis.unit == "rad/s"]
    return (math.hypot(*linear) if linear else math.inf), (max(turning) if turning else math.inf)
