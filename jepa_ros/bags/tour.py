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

from jepa_ros.agent.odometry import Places, farthest
from jepa_ros.agent.step_clock import StepClock
from jepa_ros.bags import BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.storage import Message
from jepa_ros.bags.replay.offline import OfflineReplay, seconds_of
from jepa_ros.bags.replay.recording import Feed, Recording
from jepa_ros.messages.images import pixels
from jepa_ros.perception.preprocess import to_rgb


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
        topic = contract.state.get(self._where)
        self._placed = recording.gate.get(self._where, [])
        self._places = Places(0.0 if topic is None else topic.timeout)
        self._modes = [tick.time or 0 for tick in recording.log.ticks]

    def run(self, progress: Callable[[float, float], None] | None = None) -> Told:
        """Show it all; ``progress`` is called with (seconds done, seconds in all)."""
        recording, told = self.recording, Told()
        reader, contract = recording.reader, recording.contract
        clock = StepClock(contract.rate, contract.step_camera.rate)
        gated = iter(recording.gated)
        sent = next(gated, None)
        moved = Feed(recording.gate.get("odom", []), self._part.odometry.take)
        placed = Feed(self._placed, self._places.take)
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
            moved.until(message.time)
            placed.until(message.time)
            if not clock.begins_step(at):
                continue
            mode, reason = self._gate(message.time)
            place = self._places.at(at)
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
        if self._placed and place is None:
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
        way, turn = farthest(self.recording.contract, seconds)
        if moved > way or turned > turn:
            return f"{self._where} leapt by {moved:.2f} m and {math.degrees(turned):.0f} degrees: carried, or set anew"
        return ""


def _picture(reader: BagReader, message: Message) -> np.ndarray:
    """The pixels (H, W, 3) of an image that could be read before."""
    return to_rgb(*pixels(reader.deserialize(message)))
