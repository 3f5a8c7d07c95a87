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
from itertools import pairwise
from typing import Any

import numpy as np

from jepa_ros.agent.gate_part import GatePart
from jepa_ros.agent.step_clock import StepClock
from jepa_ros.bags import BagError
from jepa_ros.bags.replay.recording import Recording
from jepa_ros.bags.replay.run_log import GateTick, RunLog, Step
from jepa_ros.messages import MessageError
from jepa_ros.messages.images import pixels
from jepa_ros.perception.preprocess import ImageError
from jepa_ros.safety.gate import Gate, GateConfig
from jepa_ros.safety.inputs import Requests

UNSURE_SECONDS = 0.5
"""So long after a tick that was lost the gate's state may still differ (ramps, scales): it is not compared. After an
input that was lost it is longer by the time of arming anew."""
RECEIPT_SECONDS = 0.25
"""A recorded message counts as the one that the gate had received when the times differ by less than this."""


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
        recorded: the bag.
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
            self._guard(log, self.gate_config)
        return log

    # ------------------------------------------------------------ perception and planner
    def _think(self, log: RunLog, progress) -> None:
        recording, planner = self.recording, self.planner
        reader = recording.reader
        steps = self._steps()
        wanted = set(steps) | (set(recording.log.embeddings) if recording.log.embeddings else set())
        goals, gated = iter(recording.goals), iter(recording.gated)
        self._next_goal, self._next_gated = next(goals, None), next(gated, None)
        self._taken = 0
        last: int | None = None
        unsure, left_out = False, 0
        total = (reader.end - reader.start) * 1e-9
        for message, (_, stamp) in zip(reader.messages({recording.image_topic}), recording.images, strict=True):
            if stamp not in wanted or stamp in log.embeddings:
                continue
            content = reader.deserialize(message)
            try:
                latent = self.perception.encode(*pixels(content))
            except (MessageError, ImageError) as error:
                raise BagError(f"{reader.path}: {message.topic}: image of time {message.time}: {error}") from None
            log.embeddings[stamp] = latent
            if progress is not None:
                progress((message.time - reader.start) * 1e-9, total)
            if stamp not in steps:
                continue
            then = steps[stamp]
            began = then.time - int(_or(then.number("busy_s"), 0.0) * 1e9) if then.time is not None else message.time
            self._feed(gated, began)
            self._set_goals(goals, began, then)
            told = self._part.told(_seconds(stamp), then.status.get("gate_reason", ""))
            if then.status:  # what the planner was told, whatever of it had reached it
                told = replace(told, executed=then.executed, gated=then.gated)
                skipped = last is not None and then.sequence > steps[last].sequence + 1 > 1
                if skipped or _between(self._lost, -1 if last is None else last, stamp):
                    unsure = True  # what the planner saw and did in between is not known here
                if told.executed is None and last is not None and then.status.get("goal") == "none":
                    self._part.reset()  # what ~/clear_goal does; the recording has no other trace of it
                    unsure = False
            if last is None and told.executed is not None:
                recording.log.notes.append(
                    "the planner was running before the bag began: what it remembered (history, map, what was in the "
                    "way) is not in it, and plans may differ until ~/clear_goal was called"
                )
            last = stamp
            planner.paused = then.reason == "paused"
            log.steps[stamp] = self._step(latent, stamp, then, told)
            log.steps[stamp].unsure = unsure
            left_out += unsure
        if left_out:
            log.notes.append(
                f"{left_out} of {len(log.steps)} steps are not compared: one before them cannot be repeated, and until "
                "~/clear_goal was called the planner remembered what it saw"
            )

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
        clock = StepClock(recording.contract.rate, recording.contract.cameras[0].rate)
        chosen = [stamp for _, stamp in recording.images if clock.begins_step(_seconds(stamp))]
        recording.log.notes.append("no planner status in the bag: steps begin where the step clock puts them")
        return {stamp: Step(stamp) for stamp in chosen}

    def _feed(self, gated: Iterator, until: int) -> None:
        """Give the command log what the planner had received by log time `until`."""
        while self._next_gated is not None and self._next_gated.time <= until:
            stamp, values = self._next_gated.content
            self._part.log.add(self._next_gated.time * 1e-9 if stamp is None else stamp, values)
            self._next_gated = next(gated, None)

    def _set_goals(self, goals: Iterator, until: int, then: Step) -> None:
        from jepa_ros.planar.goals import pose_goal

        planner = self.planner
        while self._next_goal is not None and self._next_goal.time <= until:
            message = self._next_goal.content
            self._next_goal = next(goals, None)
            if self._told(then):
                continue
            if hasattr(message, "pose"):
                from jepa_ros.messages.state import planar_pose

                x, y, yaw = planar_pose(message)
                planner.set_goal(pose_goal(x, y, None if math.isnan(yaw) else yaw))
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
            iterations = int(_or(then.number("iterations"), iterations)) or None
            seed = int(_or(then.number("seed"), -1))
            seed = None if seed < 0 else seed
        output = self._part.think(latent, _seconds(stamp), told, iterations=iterations or 1, seed=seed).output
        return Step(
            stamp, then.time, output.command, dict(output.status), output.plan_actions,
            output.plan_poses, told.executed, told.gated, dict(output.signals),
        )  # fmt: skip

    # ------------------------------------------------------------ gate
    def _guard(self, log: RunLog, config: GateConfig) -> None:
        guard = GatePart(Gate(config))
        ticks = self._ticks(config)
        if not ticks:
            return
        feeds = {name: _Feed(name, arrivals, ticks) for name, arrivals in self._gate_inputs(log).items()}
        identities: dict[str, str] = {}
        told = 0
        enabled = ticks[0].mode not in ("DISABLED", "")
        requests = Requests(enable=True) if enabled else Requests()
        unsure, left_out, missed = -math.inf, 0, 0
        known = self.recording.identities
        for number, tick in enumerate(ticks):
            unsure = max(unsure, tick.steady + UNSURE_SECONDS) if tick.made_up else unsure
            while tick.time is not None and told < len(known) and known[told].time <= tick.time:
                name, value = known[told].content
                if not name.endswith("/planner"):  # the planner's come with its signals, at the very tick
                    identities[name] = value
                told += 1
            for name, feed in feeds.items():
                guard.hear(name, *feed.at(number, tick))
            if (now_missed := sum(feed.missed for feed in feeds.values())) > missed:
                missed, unsure = now_missed, tick.steady + UNSURE_SECONDS + config.rearm_time
            output = guard.tick(
                tick.steady,
                tick.ros,
                heartbeats={k[10:]: tick.steady - age for k, age in tick.ages.items() if k.startswith("heartbeat/")},
                identities=dict(identities),
                requests=self._requests(tick) if number else requests,
                output_publishers=tick.publishers,
            )
            if math.isfinite(tick.slowest) and (number == 0 or ticks[number - 1].made_up):
                guard.state.slowest = tick.slowest  # a tick that was late before the bag began, or where it has a hole
            left_out += tick.steady <= unsure and not tick.made_up
            log.ticks.append(
                GateTick(
                    tick.time, tick.steady, tick.ros, output.mode.name, output.reason,
                    np.asarray(output.decided, np.float64), output.scale, made_up=tick.steady <= unsure,
                )
            )  # fmt: skip
        for feed in feeds.values():
            if feed.missed:
                log.notes.append(f"gate: {feed.missed} inputs '{feed.name}' that it had are not in the bag")
        if left_out:
            log.notes.append(
                f"gate: {left_out} of {len(ticks)} ticks are not compared: ticks or inputs just before are missing"
            )

    def _ticks(self, config: GateConfig) -> list[GateTick]:
        """The recorded ticks in the order of their clock; without a recording, ticks at the contract's rate."""
        recording = self.recording
        ticks = sorted((t for t in recording.log.ticks if math.isfinite(t.steady)), key=lambda t: t.steady)
        if any(tick.ages for tick in ticks):
            return self._filled(ticks, config)
        note = "no ticks of the gate in the bag" if not ticks else "the recorded ticks lack the ages of their inputs"
        recording.log.notes.append(f"{note}: the gate is run on the times of receipt of the bag")
        period = 1.0 / recording.contract.gate_rate
        reader = recording.reader
        first_time = recording.images[0][0]
        count = int((reader.end - first_time) * 1e-9 / period)
        names = [name for name, arrivals in recording.gate.items() if arrivals]
        times = {name: [a.time for a in recording.gate[name]] for name in names}
        made = []
        for k in range(count):
            time = first_time + round(k * period * 1e9)
            steady = (time - reader.start) * 1e-9 + 1.0
            ages = {}
            for name in names:
                at = bisect.bisect_right(times[name], time) - 1
                if at >= 0:
                    ages[name] = (time - times[name][at]) * 1e-9
            at = bisect.bisect_right(recording.images, (time, 2**63)) - 1
            ages |= dict.fromkeys(("heartbeat/perception", "heartbeat/planner"), 0.0)
            image_time, image_stamp = recording.images[max(at, 0)]
            ros = (image_stamp + time - image_time) * 1e-9
            made.append(GateTick(time, steady, ros, "ARMING", "", np.zeros(0), ages=ages))
        return made

    def _filled(self, ticks: list[GateTick], config: GateConfig) -> list[GateTick]:
        """The ticks with those put in that the recorder missed: the gate was not late, its message was lost."""
        whole, missing = ticks[:1], 0
        for before, tick in pairwise(ticks):
            gap = tick.steady - before.steady
            lost = tick.sequence - before.sequence - 1 if before.sequence and tick.sequence else 0
            if not lost and gap > config.late_tick and "gate_late" not in tick.reason:
                lost = round(gap / config.period) - 1
            for k in range(1, lost + 1):
                passed = gap * k / (lost + 1)
                ages = {name: age + passed for name, age in before.ages.items()}
                filled = replace(before, time=None, steady=before.steady + passed, ros=before.ros + passed, ages=ages)
                whole.append(replace(filled, asked=(), made_up=True))
            missing += lost
            whole.append(tick)
        if missing:
            self.recording.log.notes.append(f"{missing} ticks of the gate are not in the bag; they were filled in")
        return whole

    def _gate_inputs(self, log: RunLog) -> dict[str, list]:
        """The gate's inputs by name; with `new_commands` those of the replayed planner in the recorded ones' place."""
        inputs = dict(self.recording.gate)
        if not self.settings.new_commands:
            return inputs
        commands, signals = [], []
        for arrival in inputs.get("command", []):
            step = log.steps.get(round(arrival.content.stamp * 1e9)) or _nearest(log.steps, arrival.content.stamp)
            still = step is not None and step.command is None and self.recording.contract.by_position
            if step is not None and (still or step.command is not None):
                values = arrival.content.values if still else step.command
                arrival = replace(arrival, content=replace(arrival.content, values=values, still=still))
            commands.append(arrival)
        for arrival in inputs.get("signals", []):
            step = _nearest(log.steps, arrival.content.stamp)
            if step is not None:
                arrival = replace(arrival, content=replace(arrival.content, values=step.signals))
            signals.append(arrival)
        return inputs | {"command": commands, "signals": signals}

    @staticmethod
    def _requests(tick: GateTick) -> Requests:
        return Requests(
            enable=(tick.mode != "DISABLED") if "enable" in tick.asked else None,
            reset="reset" in tick.asked,
            estop="estop" in tick.asked,
            shutdown="shutdown" in tick.asked,
        )


class _Feed:
    """Which message of one input the gate had at each tick, told from the age that the gate published."""

    def __init__(self, name: str, arrivals: list, ticks: list[GateTick]) -> None:
        self.name, self.missed = name, 0
        self._arrivals = arrivals
        # Log times on the gate's steady clock: both clocks run at one rate, so one difference serves.
        offset = float(np.median([t.time * 1e-9 - t.steady for t in ticks[:2000] if t.time is not None]))
        self._base = next(tick.time for tick in ticks if tick.time is not None)
        shift = self._base * 1e-9 - offset
        self._times = [(a.time - self._base) * 1e-9 + shift for a in arrivals]
        self._by_stamp = {
            round(a.content.stamp * 1e6): i for i, a in enumerate(arrivals) if getattr(a.content, "stamp", 0.0)
        }
        self._current, self._received = -1, math.nan
        self._value: Any = None

    def at(self, number: int, tick: GateTick) -> tuple[Any, tuple]:
        """(newest, earlier ones since the last tick)."""
        age = tick.ages.get(self.name)
        if age is None:
            return None, ()
        received = tick.steady - age
        if self._value is not None and abs(received - self._received) < 1e-3:
            return self._value, ()
        best = self._which(tick, received)
        if best is None:
            self.missed += 1
            if self._value is None:
                return None, ()
            self._received = received
            return self._value, ()
        earlier = tuple(self._make(i, self._times[i], tick) for i in range(self._current + 1, best)) if number else ()
        self._current, self._received = best, received
        self._value = self._make(best, received, tick)
        return self._value, earlier

    def _which(self, tick: GateTick, received: float) -> int | None:
        """The message by its stamp where the gate told it, else by the time of its receipt."""
        stamp = tick.stamps.get(self.name)
        if stamp is not None and self._by_stamp:
            wanted = round(stamp * 1e6)
            return next((self._by_stamp[k] for k in (wanted, wanted - 1, wanted + 1) if k in self._by_stamp), None)
        at = bisect.bisect_left(self._times, received)
        near = {max(i, self._current + 1) for i in (at - 1, at)} - {len(self._times)}
        best = min(sorted(near), key=lambda i: abs(self._times[i] - received), default=None)
        return None if best is None or abs(self._times[best] - received) > RECEIPT_SECONDS else best

    def _make(self, index: int, received: float, tick: GateTick) -> Any:
        content = self._arrivals[index].content
        changes: dict[str, Any] = {"received": received}
        if hasattr(content, "seq"):
            changes["seq"] = index + 1
        if self.name == "contact":  # a Bool has no stamp: the time of its receipt stands in
            changes["stamp"] = tick.stamps.get("contact", tick.ros - (tick.steady - received))
        return replace(content, **changes)


def _seconds(stamp: int) -> float:
    """A stamp in ns as the nodes tell it in s, to the last bit: 1.5 control steps are rounded up or down by it."""
    return stamp // 10**9 + (stamp % 10**9) * 1e-9


def _between(stamps: list[int], after: int, until: int) -> bool:
    """Whether one of the sorted stamps lies in between."""
    return bisect.bisect(stamps, until) > bisect.bisect(stamps, after)


def _or(value: float, other: float) -> float:
    return value if math.isfinite(value) else other


def _nearest(steps: dict[int, Step], stamp: float) -> Step | None:
    """The step of an image stamp in s (float64 keeps it to 0.2 us)."""
    wanted = stamp * 1e9
    best = min(steps, key=lambda s: abs(s - wanted), default=None)
    return steps[best] if best is not None and abs(best - wanted) < 2000 else None
