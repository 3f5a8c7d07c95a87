# SPDX-License-Identifier: Apache-2.0
"""Running perception, planner and gate again over a bag, in this process, as fast as the machine allows.

Nothing asks a clock: plans run the recorded number of iterations with the recorded seed, the gate's ticks are the
recorded ones with the recorded times of receipt. The same bag, model and settings therefore give the same decisions.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jepa_ros.agent.senses import Senses, SensesError
from jepa_ros.agent.step_clock import StepClock
from jepa_ros.bags import BagError
from jepa_ros.bags.format.storage import Message
from jepa_ros.bags.replay.gate_replay import replay_gate
from jepa_ros.bags.replay.recording import Feed, Recording
from jepa_ros.bags.replay.run_log import RunLog, Step
from jepa_ros.messages import MessageError
from jepa_ros.messages.images import pixels
from jepa_ros.messages.stamps import raw_stamp
from jepa_ros.perception.preprocess import ImageError
from jepa_ros.safety.gate import GateConfig

#: Seconds before a part of a bag in which what the model takes beside its first image may lie.
BEFORE = 2


@dataclass
class OfflineSettings:
    """What to change against the recording; the defaults change nothing.

    Attributes:
        new_commands: the gate is given the replayed planner's commands instead of the recorded ones.
        new_model: goal images are encoded anew; otherwise goals are those that the planner took.
        follow_iterations: plans run as many iterations as recorded; otherwise as many as configured.
    """

    new_commands: bool = False
    new_model: bool = False
    follow_iterations: bool = True


class OfflineReplay:
    """One replay.

    Args:
        recording: the bag.
        perception, planner: of jepa_ros.perception and jepa_ros.planning; None leaves the brain out (gate alone).
        gate_config: of the gate; None leaves the gate out.
    """

    def __init__(
        self, recording: Recording, perception: Any, planner: Any, gate_config: GateConfig | None,
        settings: OfflineSettings | None = None,
    ) -> None:  # fmt: skip
        self.recording, self.perception, self.planner = recording, perception, planner
        self._part: Any = None
        if planner is not None:
            from jepa_ros.agent.planner_part import PlannerPart  # and torch with it, which the gate alone does without

            self._part = PlannerPart(planner, perception)
        self.gate_config, self.settings = gate_config, settings or OfflineSettings()
        self._lost: list[int] = []  # stamps of the steps whose images are not in the bag

    def run(self, progress=None) -> RunLog:
        """Replay the whole bag; `progress` is called with (seconds of the bag done, seconds in all)."""
        log = RunLog()
        if self.planner is not None:
            self._think(log, progress)
        if self.gate_config is not None:
            replay_gate(self.recording, self.gate_config, log, self.settings.new_commands)
        return log

    # ------------------------------------------------------------ perception and planner
    def _think(self, log: RunLog, progress) -> None:
        recording, planner = self.recording, self.planner
        reader = recording.reader
        steps = self._steps()
        wanted = set(steps) | (set(recording.log.embeddings) if recording.log.embeddings else set())
        goals, gated = iter(recording.goals), iter(recording.gated)
        parts = {"odom": self._part.odometry, "scan": self._part.scans}
        self._measured = [Feed(recording.gate.get(name, []), part.take) for name, part in parts.items()]
        self._next_goal, self._next_gated = next(goals, None), next(gated, None)
        self._taken = 0
        last: int | None = None
        unsure, left_out = False, 0
        rooms = bool(planner.knowledge)  # and the memory: what these know is not in a bag
        total = (reader.end - reader.start) * 1e-9
        for message, stamp, senses in self.images():
            if stamp not in wanted or stamp in log.embeddings:
                continue
            latent = self.see(message, stamp, senses)
            log.embeddings[stamp] = latent
            if progress is not None:
                progress((message.time - reader.start) * 1e-9, total)
            if stamp not in steps:
                continue
            then = steps[stamp]
            began = then.time - int(_or(then.number("busy_s"), 0.0) * 1e9) if then.time is not None else message.time
            self._feed(gated, began)
            self._set_goals(goals, began, then)
            told = self._part.told(seconds_of(stamp), then.status.get("gate_reason", ""))
            if then.status:  # what the planner was told, whatever of it had reached it
                told = replace(told, executed=then.executed, gated=then.gated)
                skipped = last is not None and then.sequence > steps[last].sequence + 1 > 1
                if skipped or _between(self._lost, -1 if last is None else last, stamp):
                    unsure = True  # what the planner saw and did in between is not known here
                heard = last is not None and steps[last].gated is not None  # before, nothing was known as executed
                if told.executed is None and heard and then.status.get("goal") == "none":
                    self._part.reset()  # what ~/clear_goal does; the recording has no other trace of it
                    unsure = False
            carried = self._carried(then)
            midway = last is None and told.executed is not None  # the planner was running before
            if midway and (rooms or carried is None):
                lost = "map, what was in the way" if carried is not None else "history, map, what was in the way"
                recording.log.notes.append(
                    f"the planner was running before the bag began: what it remembered ({lost}) is not in it, and "
                    "plans may differ until ~/clear_goal was called"
                )
            last = stamp
            planner.paused = then.reason == "paused"
            log.steps[stamp] = self._step(latent, stamp, then, told)
            log.steps[stamp].unsure = unsure or (midway and carried is not None)
            left_out += log.steps[stamp].unsure
            if carried is not None and (unsure or midway):
                carried.give(planner)
                unsure = unsure and rooms
        if left_out:
            until = ", and until ~/clear_goal was called the planner remembered what it saw" if rooms else ""
            log.notes.append(
                f"{left_out} of {len(log.steps)} steps are not compared: one before them cannot be repeated{until}"
            )

    def _carried(self, then: Step):
        """What the planner carried on from a recorded step; None where that is not known, or means nothing here."""
        from jepa_ros.planning.carried import NAMES, Carried

        if self.settings.new_model or not then.status:
            return None
        texts = {name: then.status.get(f"carried/{name}") for name in NAMES}
        try:
            return Carried.from_plain(texts, self.planner)
        except ValueError as error:
            where = f"{self.recording.reader.path}: planner/status of the image at {then.stamp}"
            raise BagError(f"{where}: {error}") from None

    def images(self) -> Iterator[tuple[Message, int, Senses]]:
        """The images in their order, with their stamps, and what else the model takes as it was known by then."""
        recording = self.recording
        senses, images = Senses(recording.contract), iter(recording.images)
        names = {topic: name for name, topic in recording.further.items()}
        felt = {name: iter(recording.gate.get(name, [])) for name in senses.states}
        coming = {name: next(arrivals, None) for name, arrivals in felt.items()}
        start, end = recording.span
        before = None if start is None else start - BEFORE * 1_000_000_000
        for message in recording.reader.messages({recording.image_topic, *names}, before, end):
            if message.topic in names:
                senses.take(names[message.topic], seconds_of(raw_stamp(message.data)), message)
            if message.topic in names or (start is not None and message.time < start):
                continue
            for name, arrivals in felt.items():
                while (arrival := coming[name]) is not None and arrival.time <= message.time:
                    senses.take(name, arrival.content.stamp, arrival.content)
                    coming[name] = next(arrivals, None)
            yield message, next(images)[1], senses

    def see(self, message: Message, stamp: int, senses: Senses) -> np.ndarray:
        """The embedding of an image, and of what else the model takes at its stamp."""
        from jepa_ros.perception.state import StateError, model_state

        recording, reader = self.recording, self.recording.reader
        try:
            further, measured = senses.at(seconds_of(stamp))
            pictures = {name: pixels(reader.deserialize(other)) for name, other in further.items()}
            pictures[senses.first.name] = pixels(reader.deserialize(message))
            state = model_state(recording.contract, measured)
            latent: np.ndarray = self.perception.encode(pictures, state=state)
            return latent
        except (MessageError, ImageError, SensesError, StateError) as error:
            raise BagError(f"{reader.path}: {message.topic}: image of time {message.time}: {error}") from None

    def _steps(self) -> dict[int, Step]:
        """The steps to repeat, by image stamp: those that were recorded, else those that the step clock chooses."""
        recording = self.recording
        images = {stamp for _, stamp in recording.images}
        told = {stamp: step for stamp, step in recording.log.steps.items() if step.status}
        if told:
            self._lost = sorted(stamp for stamp in told if stamp not in images)
            if self._lost:
                recording.log.notes.append(
                    f"{len(self._lost)} steps cannot be repeated: their images are not in the bag"
                )
            return {stamp: step for stamp, step in told.items() if stamp in images}
        clock = StepClock(recording.contract.rate, recording.contract.step_camera.rate)
        chosen = [stamp for _, stamp in recording.images if clock.begins_step(seconds_of(stamp))]
        recording.log.notes.append("no planner status in the bag: steps begin where the step clock puts them")
        return {stamp: Step(stamp) for stamp in chosen}

    def _feed(self, gated: Iterator, until: int) -> None:
        """Give the planner's part what it had received by log time `until`: commands and what was measured."""
        while self._next_gated is not None and self._next_gated.time <= until:
            stamp, values = self._next_gated.content
            self._part.log.add(self._next_gated.time * 1e-9 if stamp is None else stamp, values)
            self._next_gated = next(gated, None)
        for measured in self._measured:
            measured.until(until)

    def _set_goals(self, goals: Iterator, until: int, then: Step) -> None:
        planner = self.planner
        while self._next_goal is not None and self._next_goal.time <= until:
            message = self._next_goal.content
            self._next_goal = next(goals, None)
            if self._told(then):
                continue
            if hasattr(message, "pose"):
                from jepa_ros.messages.state import place_of
                from jepa_ros.planning.bodies import goals_of

                planner.set_goal(goals_of(planner.contract).from_place(*place_of(message)))
            else:
                planner.set_goal(self._part.goal(*pixels(message), message.header.frame_id))
        if then.status.get("goal") == "none":
            if planner.goal is not None:
                planner.set_goal(None)
            self._taken = 0
        elif self._told(then) and self._told(then) != self._taken:
            self._taken = self._told(then)
            planner.set_goal(self.recording.taken[self._taken])

    def _told(self, then: Step) -> int:
        """The stamp of the goal that the planner had taken; 0 where it is not in the bag, or means another model's."""
        text = str(then.status.get("goal_ns", ""))
        stamp = int(text) if text.isdigit() else 0  # an exact number: no float
        goal = self.recording.taken.get(stamp)
        return 0 if goal is None or (self.settings.new_model and goal.latent is not None) else stamp

    def _step(self, latent, stamp: int, then: Step, told) -> Step:
        iterations, seed = self.planner.config.search.iterations, None
        if self.settings.follow_iterations and then.status:
            iterations = int(_or(then.number("iterations"), iterations))  # 0: it had no time for any
            seed = int(_or(then.number("seed"), -1))
            seed = None if seed < 0 else seed
        output = self.think(latent, stamp, told, iterations, seed, _deliberated(then))
        return Step(
            stamp, then.time, output.command, dict(output.status), output.plan_actions,
            output.track, told.executed, told.gated, dict(output.signals),
        )  # fmt: skip

    def think(self, latent, stamp: int, told, iterations: int, seed: int | None, deliberation=None):
        """One step of the planner; whoever thinks otherwise about one of them puts its own in this place."""
        return self._part.think(
            latent, seconds_of(stamp), told, iterations=iterations, seed=seed, deliberation=deliberation
        ).output


def _deliberated(then: Step):
    """What a recorded status says of deliberations, to repeat them; None where nothing was recorded."""
    from jepa_ros.planning.deliberate.deliberator import Recorded

    if not then.status:
        return None
    return Recorded(*(int(_or(then.number(f"deliberation/{name}"), 0)) for name in ("number", "seed", "expansions")))


def seconds_of(stamp: int) -> float:
    """A stamp in ns as the nodes tell it in s, to the last bit: 1.5 control steps are rounded up or down by it."""
    return stamp // 10**9 + (stamp % 10**9) * 1e-9


def _between(stamps: list[int], after: int, until: int) -> bool:
    """Whether one of the sorted stamps lies in between."""
    return bisect.bisect(stamps, until) > bisect.bisect(stamps, after)


def _or(value: float, other: float) -> float:
    return value if math.isfinite(value) else other
