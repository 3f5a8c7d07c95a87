# SPDX-License-Identifier: Apache-2.0
"""A bag as replay needs it: the inputs of perception, planner and gate in their order, and what was decided then."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jepa_ros.bags import BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.replay.run_log import RunLog
from jepa_ros.contract import RobotContract
from jepa_ros.messages.commands import gate_output
from jepa_ros.messages.joints import JointStates, robot_joints
from jepa_ros.messages.stamps import stamp_ns

if TYPE_CHECKING:  # torch: reading a bag for playing needs none
    from jepa_ros.cost.goal import Goal


@dataclass
class Arrival:
    """A message: log time in ns and its content."""

    time: int
    content: Any


class Feed:
    """Hands on what arrived, in its order, as the time of a replay comes to it.

    Args:
        arrivals: of one topic. take: is given the content of each.
    """

    def __init__(self, arrivals: Iterable[Arrival], take: Callable[[Any], None]) -> None:
        self._coming, self._take = iter(arrivals), take
        self._next = next(self._coming, None)

    def until(self, time: int) -> None:
        """Hand on what came by a log time [ns]."""
        while self._next is not None and self._next.time <= time:
            self._take(self._next.content)
            self._next = next(self._coming, None)


@dataclass
class Recording:
    """The content of a bag.

    Attributes:
        images: (log time, stamp) in ns of every image, in the order of receipt.
        goals: goal images and goal poses as messages. taken: goals as the planner took them, by their stamp in ns.
        gated: the gate's output, (stamp in s, (A,)). gate: inputs of the gate by their name in GateInputs.
        further: {camera: topic} of further cameras that the model sees.
        log: what was decided then. latched_pose: the localisation keeps its last pose for whoever comes later.
        command_topic: full name of the gate's output. whole: everything was read, see
            :func:`jepa_ros.bags.replay.read.read_recording`.
        span: log times in ns between which its images lie, as the reader takes them; None is the bag's own end.
    """

    reader: BagReader
    contract: RobotContract
    image_topic: str
    images: list[tuple[int, int]] = field(default_factory=list)
    goals: list[Arrival] = field(default_factory=list)
    taken: dict[int, Goal] = field(default_factory=dict)
    gated: list[Arrival] = field(default_factory=list)
    gate: dict[str, list[Arrival]] = field(default_factory=dict)
    identities: list[Arrival] = field(default_factory=list)
    further: dict[str, str] = field(default_factory=dict)
    log: RunLog = field(default_factory=RunLog)
    latched_pose: bool = False
    command_topic: str = ""
    whole: bool = True
    span: tuple[int | None, int | None] = (None, None)

    def past_of(self, stamp: int, seconds: float) -> Recording:
        """The brain's part of the last ``seconds`` up to the step of the image of ``stamp`` [ns], which is the last.

        Raises:
            BagError: the image of that step is not in the bag.
        """
        end = next((time for time, known in self.images if known == stamp), None)
        if end is None:
            raise BagError(f"{self.reader.path}: the image of the step at {stamp} is not in this bag")
        start = end - round(seconds * 1e9)
        images = [(time, known) for time, known in self.images if start <= time <= end]
        steps = {known: self.log.steps[known] for _, known in images if known in self.log.steps}
        earlier = [goal for goal in self.goals if goal.time < start][-1:]
        before = start - 1_000_000_000  # the command that held then
        gated = self.gated if self.whole else self._gated_between(before, end + 1)
        return Recording(
            self.reader, self.contract, self.image_topic, images,
            goals=earlier + [goal for goal in self.goals if start <= goal.time],
            taken=self.taken,
            gated=[sent for sent in gated if sent.time >= before],
            gate=self.gate,
            further=self.further,
            log=RunLog(steps=steps),
            span=(start, end + 1),
        )  # fmt: skip

    def _gated_between(self, start: int, end: int) -> list[Arrival]:
        if self.command_topic not in self.reader.topics:
            return []
        found = self.reader.messages({self.command_topic}, start, end)
        return [gated_of(m.time, self.reader.deserialize(m), self.contract) for m in found]

    @cached_property
    def joints(self) -> JointStates:
        """What is known of the robot's joints so far."""
        return JointStates(robot_joints(self.contract))


def gated_of(time: int, message: Any, contract: RobotContract) -> Arrival:
    """The gate's output in a message: (stamp in s or None, (A,))."""
    stamp = stamp_ns(message)
    return Arrival(time, (None if stamp is None else stamp * 1e-9, gate_output(message, contract)))
