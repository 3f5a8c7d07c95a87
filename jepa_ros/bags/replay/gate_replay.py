# SPDX-License-Identifier: Apache-2.0
"""The gate run again over a recording: at its recorded ticks, with the inputs that it had received by each of them."""

from __future__ import annotations

import bisect
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from jepa_ros.agent.bodies import body_of
from jepa_ros.agent.gate_part import GatePart
from jepa_ros.bags.replay.recording import Recording
from jepa_ros.bags.replay.run_log import GateTick, RunLog, Step
from jepa_ros.messages.commands import command_mark
from jepa_ros.safety.gate import Gate, GateConfig
from jepa_ros.safety.inputs import Requests
from jepa_ros.safety.output import MOVING

UNSURE_SECONDS = 0.5
"""So long after a tick that was lost the gate's state may still differ (ramps, scales): it is not compared. After an
input that was lost it is longer by the time of arming anew."""
RECEIPT_SECONDS = 0.25
"""A recorded message counts as the one that the gate had received when the times differ by less than this."""
HELD = 2e-3
"""Joints that a gate holds before it first moves them are held as recorded, where they are this near [rad or m]:
readings differ by the encoders' noise, and the one that was held may be of before the bag began."""


def replay_gate(recording: Recording, config: GateConfig, log: RunLog, new_commands: bool) -> None:
    """Run the gate over a recording's ticks and put its own into `log`; `new_commands`: on the commands in `log`."""
    guard = GatePart(Gate(config))
    servo = _Servo(recording, log.steps) if new_commands and recording.contract.kinematics.arm is not None else None
    ticks = _ticks(recording, config)
    if not ticks:
        return
    feeds = {name: _Feed(name, arrivals, ticks) for name, arrivals in _inputs(recording, log, new_commands).items()}
    identities: dict[str, str] = {}
    told = 0
    enabled = ticks[0].mode not in ("DISABLED", "")
    requests = Requests(enable=True) if enabled else Requests()
    unsure, left_out, missed, moved = -math.inf, 0, 0, False
    known = recording.identities
    for number, tick in enumerate(ticks):
        unsure = max(unsure, tick.steady + UNSURE_SECONDS) if tick.made_up else unsure
        while tick.time is not None and told < len(known) and known[told].time <= tick.time:
            name, value = known[told].content
            if not name.endswith("/planner"):  # the planner's come with its signals, at the very tick
                identities[name] = value
            told += 1
        for name, feed in feeds.items():
            newest, earlier = feed.at(number, tick)
            if servo is not None:
                newest, earlier = servo.heard(name, newest), tuple(servo.heard(name, one) for one in earlier)
            guard.hear(name, newest, earlier)
        if (now_missed := sum(feed.missed for feed in feeds.values())) > missed:
            missed, unsure = now_missed, tick.steady + UNSURE_SECONDS + config.rearm_time
        output = guard.tick(
            tick.steady,
            tick.ros,
            heartbeats={k[10:]: tick.steady - age for k, age in tick.ages.items() if k.startswith("heartbeat/")},
            identities=dict(identities),
            requests=_requests(tick) if number else requests,
            output_publishers=tick.publishers,
        )
        moved = moved or output.mode in MOVING
        same = config.by_position and not moved and np.shape(tick.values) == np.shape(output.decided)
        if same and np.abs(tick.values - output.decided).max() <= HELD:
            guard.state.out = tick.values.tolist()
        if servo is not None:
            servo.body.gated(np.asarray(output.decided, np.float64))
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


def _ticks(recording: Recording, config: GateConfig) -> list[GateTick]:
    """The recorded ticks in the order of their clock; without a recording, ticks at the contract's rate."""
    ticks = sorted((t for t in recording.log.ticks if math.isfinite(t.steady)), key=lambda t: t.steady)
    if any(tick.ages for tick in ticks):
        return _filled(recording, ticks, config)
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


def _filled(recording: Recording, ticks: list[GateTick], config: GateConfig) -> list[GateTick]:
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
        recording.log.notes.append(f"{missing} ticks of the gate are not in the bag; they were filled in")
    return whole


def _inputs(recording: Recording, log: RunLog, new_commands: bool) -> dict[str, list]:
    """The gate's inputs by name; with `new_commands` those of the replayed planner in the recorded ones' place."""
    inputs = dict(recording.gate)
    if not new_commands:
        return inputs
    commands, signals = [], []
    for arrival in inputs.get("command", []):
        if recording.contract.kinematics.arm is not None:
            commands.append(arrival)  # turned into joints at its tick, by :class:`_Servo`
            continue
        step = log.steps.get(round(arrival.content.stamp * 1e9)) or _nearest(log.steps, arrival.content.stamp)
        still = step is not None and step.command is None and recording.contract.by_position
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


class _Servo:
    """An arm's inverse kinematics in a replay: from what the replayed planner asks of the tip to joint commands.

    As in the planner node, a command starts from what the gate let through last.
    """

    def __init__(self, recording: Recording, steps: dict[int, Step]) -> None:
        self.body, self._steps = body_of(recording.contract), steps
        self._last: tuple[int, Any] = (0, None)  # number of the last command, and what became of it

    def heard(self, name: str, value: Any) -> Any:
        """An input of the gate, a command with the joints in it that the replayed action asks for."""
        if value is None or name not in ("command", "joint_states"):
            return value
        if name == "joint_states":
            self.body.measured(name, value)
            return value
        if value.seq != self._last[0]:
            step = _nearest(self._steps, value.stamp)
            still = step is not None and step.command is None
            joints = None if step is None or step.command is None else self.body.command(step.command)
            values = value.values if joints is None else joints.tolist()
            self._last = value.seq, replace(value, values=values, still=value.still if step is None else still)
        return replace(self._last[1], received=value.received)


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
        self._by_stamp: dict[int, list[int]] = {}  # (an arm's commands of one step share the stamp of its image)
        for i, arrival in enumerate(arrivals):
            if getattr(arrival.content, "stamp", 0.0):
                self._by_stamp.setdefault(round(arrival.content.stamp * 1e6), []).append(i)
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
        between = range(self._current + 1, best) if number else ()
        earlier = tuple(self._make(i, min(self._times[i], received), tick) for i in between)
        self._current, self._received = best, received
        self._value = self._make(best, received, tick)
        return self._value, earlier

    def _which(self, tick: GateTick, received: float) -> int | None:
        """The message by its stamp where the gate told it, else by the time of its receipt."""
        stamp = tick.stamps.get(self.name)
        if stamp is not None and self._by_stamp:
            wanted = round(stamp * 1e6)
            same = next((self._by_stamp[k] for k in (wanted, wanted - 1, wanted + 1) if k in self._by_stamp), [])
            if mark := tick.marks.get(self.name):
                same = [i for i in same if command_mark(self._arrivals[i].content) == mark]
            same = [i for i in same if i > self._current] or same
            return min(same, key=lambda i: abs(self._times[i] - received), default=None)
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


def _nearest(steps: dict[int, Step], stamp: float) -> Step | None:
    """The step of an image stamp in s (float64 keeps it to 0.2 us)."""
    wanted = stamp * 1e9
    best = min(steps, key=lambda s: abs(s - wanted), default=None)
    return steps[best] if best is not None and abs(best - wanted) < 2000 else None
