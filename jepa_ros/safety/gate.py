# SPDX-License-Identifier: Apache-2.0
"""The safety gate: one pure step from the inputs of a tick to the command that leaves.

The gate does not trust the planner, the camera, or itself. It checks every row of :mod:`jepa_ros.safety.rows` at every
tick. An exception inside stops the robot and latches. A last check refuses any output that is not finite or beyond a
limit. This is engineering, not certification (``docs/safety.md``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

# The modules below register the checks of their rows.
from jepa_ros.safety import (  # noqa: F401
    envelope,
    intake,
    limits,
    localisation,
    obstacles,
    planner_signals,
    positions,
    reckoning,
    regions,
    sensing,
    touch,
    watchdogs,
    zones,
)
from jepa_ros.safety.arm.guard import ArmGuard
from jepa_ros.safety.config import GateConfig, GateConfigError
from jepa_ros.safety.guardrails import GuardrailSet
from jepa_ros.safety.inputs import GateInputs
from jepa_ros.safety.output import GateOutput, Intervention, Mode
from jepa_ros.safety.rows import CHECKS, LATCH, ORDER, ROWS, TABLE, TELEOPERATION, ZERO, Row, check
from jepa_ros.safety.state import GateState
from jepa_ros.safety.tick import Tick

__all__ = ["Gate", "GateConfig", "GateConfigError", "GateInputs", "GateOutput", "GateState", "Mode"]

#: The order in which rows limit the command: contact and force, planner signals, machine limits, surroundings.
SHAPING = (
    "contact", "force", "guardrail_cost", "surprise", "novelty", "velocity_limit", "acceleration_limit",
    "position_limit", "inside_region", "region", "speed_zone", "person", "obstacle",
)  # fmt: skip
#: The gate expects another tick as late as the slowest one; this expectation falls by so many s a second.
FORGIVING = 0.02
SENTENCES = {
    Mode.ACTIVE: "passes the command",
    Mode.ARMING: "all inputs are good; waiting for them to stay so",
    Mode.DISABLED: "nobody enabled the gate",
}


@check("resume_chatter")
def resume_chatter(t: Tick) -> bool:
    """It stopped and moved again by itself too often: something is loose, and a person must look."""
    start = t.now - t.cfg.resume_latch_window
    t.s.resumes = (*(v for v in t.s.resumes if v >= start), t.now)
    return len(t.s.resumes) > t.cfg.resume_latch_count


class Gate:
    """The gate of one robot.

    Args:
        config: its settings.
        without: rows left out; only for tests, which show that each row is missed.

    Use::

        gate = Gate(GateConfig.from_contract(contract))
        state = gate.initial_state()
        state, output = gate.step(state, inputs, steady_now, ros_now)
    """

    def __init__(self, config: GateConfig, *, without: frozenset[str] = frozenset()) -> None:
        unknown = without - {*ROWS, TELEOPERATION}
        if unknown:
            raise GateConfigError(f"no rows {sorted(unknown)} in the gate's table")
        self.config = config
        self._without = without
        present = {name: function for name, function in CHECKS.items() if name not in without}
        self._intake = intake.Intake(present)
        self._watch: list[Callable[[Tick], None]] = [
            present[row.name] for row in TABLE if row.stage == "watch" and row.name in present
        ]
        self._clock = [present[n] for n in ("clock", "gate_late") if n in present]
        self._watch = [f for f in self._watch if f not in self._clock]
        self._shape = [present[n] for n in SHAPING if n in present]
        self._chatter = present.get("resume_chatter")
        self._arm = None if config.arm is None else ArmGuard(config, present)

    def with_guardrails(self, guardrails: GuardrailSet) -> Gate:
        """The same gate with another set of guardrails; a state of this gate goes on with it.

        Raises:
            GateConfigError: the set needs something that the contract does not have.
        """
        return Gate(self.config.replace(guardrails=guardrails), without=self._without)

    def initial_state(self) -> GateState:
        """The state at start-up: nothing received, nothing moves."""
        return GateState(self.config.size, self.config.auto_enable)

    def step(
        self, state: GateState, inputs: GateInputs, steady_now: float, ros_now: float
    ) -> tuple[GateState, GateOutput]:
        """One tick. Pure: the same arguments give the same answer, and ``state`` is not changed.

        Args:
            state: of the last tick. inputs: the newest of each input.
            steady_now: monotonic time [s], the clock of all ``received``. ros_now: ROS time [s], of all stamps.

        Returns:
            The new state and the output; it never raises.
        """
        try:
            return self._step(state, inputs, steady_now, ros_now)
        except Exception as error:  # anything at all: a stop that latches is the only safe answer
            if "internal_fault" in self._without:
                raise
            return self._fault(state, inputs, steady_now, ros_now, error)

    # ------------------------------------------------------------ one tick

    def _step(self, state: GateState, inputs: GateInputs, now: float, ros: float) -> tuple[GateState, GateOutput]:
        cfg = self.config
        s = state.clone()
        if not math.isfinite(now) or (s.steady is not None and now < s.steady):
            raise ArithmeticError(f"the steady clock went from {s.steady} to {now}")
        t = Tick(cfg, s, inputs, now, ros, cfg.period if s.steady is None else now - s.steady)
        s.steady = now
        s.slowest = min(max(t.dt, s.slowest - FORGIVING * t.dt), cfg.late_tick)
        for function in self._clock:
            function(t)
        s.ros = ros if math.isfinite(ros) else s.ros
        self._intake.take(t, "planner", (*inputs.earlier_commands, inputs.command))
        self._intake.take(t, "teleop", (*inputs.earlier_teleop, inputs.teleop))
        intake.choose_source(t, heard=TELEOPERATION not in self._without)
        sensing.take_measurements(t)
        envelope.follow(t)
        limits.follow_joints(t)
        reckoning.follow(t)
        localisation.follow_pose(t)
        regions.smooth_pose(t)
        obstacles.follow_scan(t)
        if self._arm is not None:
            self._arm.follow(t)
        for function in self._watch:
            function(t)
        answers = self._requests(t)
        t.track = s.teleop if t.source == "teleop" else s.planner  # a reset forgets what was followed
        self._freshness(t)
        mode, out = self._decide(t)
        return s, self._finish(t, mode, out, answers)

    def _requests(self, t: Tick) -> dict[str, tuple[bool, str]]:
        """Latch what latches, then answer the requests; a stop wins over other requests of the same tick."""
        s, requests = t.s, t.i.requests
        answers: dict[str, tuple[bool, str]] = {}
        latching = [(row, why) for row, why in t.trips if row.effect == LATCH]
        for row, why in latching:
            self._latch(s, row.name, why)
        if requests.estop:
            answers["estop"] = (True, "latched")
        if requests.shutdown and s.shutdown_at is None:
            s.shutdown_at = t.now
            answers["shutdown"] = (True, "sending stops")
        if requests.reset:
            if s.latch is None:
                answers["reset"] = (True, "nothing was latched")
            elif latching:
                answers["reset"] = (False, f"the cause is still there: {latching[0][1]}")
            elif t.moving():
                answers["reset"] = (False, "the robot still moves")
            else:
                self._unlatch(s)
                answers["reset"] = (True, "reset; arming anew" if s.enabled else "reset; not enabled")
        if requests.enable is not None:
            if not requests.enable:
                s.enabled = False
                answers["enable"] = (True, "disabled")
            elif s.latch is not None:
                answers["enable"] = (False, f"latched: {s.latch[1]}; reset first")
            else:
                if not s.enabled:
                    self._start_over(s)
                s.enabled = True
                answers["enable"] = (True, "enabled; arming")
        if not s.enabled:
            self._start_over(s)
        return answers

    @staticmethod
    def _latch(s: GateState, name: str, why: str) -> None:
        if s.latch is None or (ORDER[name] < ORDER[s.latch[0]]):
            s.latch = (name, why)
        s.hardware_estop = s.hardware_estop or name in ("stop_not_obeyed", "internal_fault")
        Gate._start_over(s)

    @staticmethod
    def _unlatch(s: GateState) -> None:
        s.latch = None
        s.hardware_estop = False
        s.resumes = s.bad_times = ()
        Gate._start_over(s)

    @staticmethod
    def _start_over(s: GateState) -> None:
        """Arm from the beginning: forget earlier commands and since when inputs were good."""
        s.forget_commands()
        s.fresh_all = s.fresh_planner = None
        s.active_once = False
        s.stopped_by = None

    def _freshness(self, t: Tick) -> None:
        """Note since when all inputs have been good, and since when those that only the planner needs too."""
        s = t.s
        rearm = [row for row, _ in t.trips if row.rearm]
        if any(not row.planner_only for row in rearm) or s.latch is not None or not s.enabled:
            s.fresh_all = None
        elif s.fresh_all is None:
            s.fresh_all = t.now
        if rearm or s.fresh_all is None:
            s.fresh_planner = None
        elif s.fresh_planner is None:
            s.fresh_planner = t.now

    def _decide(self, t: Tick) -> tuple[Mode, list[float]]:
        s, cfg = t.s, t.cfg
        put = t.body.measure(t)
        teleop = t.source == "teleop"
        if teleop:
            t.trips = [(row, why) for row, why in t.trips if not row.planner_only]
        if s.shutdown_at is not None and "exit" not in self._without:
            t.trip("exit", "stopping before the process ends")
            return (Mode.ESTOP if s.latch is not None else Mode.STOPPED), t.body.stop(t, at_once=True)
        if s.latch is not None:
            return Mode.ESTOP, t.body.stop(t, at_once=True)
        stops = [row for row, _ in t.trips if row.effect != "limit"]
        at_once = any(row.effect in (ZERO, LATCH) for row in stops)
        if "contact" not in self._without and touch.pressed(t):
            at_once = True  # no ramp against what it touches
        if not s.enabled:
            return Mode.DISABLED, t.body.stop(t, at_once=at_once)
        if stops:
            for row in stops:
                if row.counted and s.active_once and not teleop:
                    s.stopped_by = row.name
            return (Mode.STOPPED if s.active_once else Mode.ARMING), t.body.stop(t, at_once=at_once)
        since = s.fresh_all if teleop else s.fresh_planner
        if since is None or t.now - since < cfg.rearm_time - 1e-9:
            return Mode.ARMING, t.body.stop(t, at_once=at_once)
        if put or not t.body.ready(s):
            return Mode.ARMING, t.body.stop(t, at_once=True)
        if s.stopped_by is not None and not teleop:
            if self._chatter is not None and self._chatter(t):
                count = len(s.resumes)
                why = f"stopped and resumed {count} times within {cfg.resume_latch_window:g} s (last: {s.stopped_by})"
                t.trip("resume_chatter", why)
                self._latch(s, "resume_chatter", why)
                return Mode.ESTOP, t.body.stop(t, at_once=True)
            s.stopped_by = None
        return self._shaped(t)

    def _shaped(self, t: Tick) -> tuple[Mode, list[float]]:
        """The robot may move: the command goes through the rows that limit it."""
        s, held = t.s, t.track.held
        if held is None:  # forgotten at this very tick, because it was just enabled
            return (Mode.STOPPED if s.active_once else Mode.ARMING), t.body.stop(t, at_once=False)
        s.active_once = True
        t.asked = held.values
        t.still = held.values is None
        t.u = [0.0] * t.cfg.size if held.values is None else t.body.take(held.values)
        for function in self._shape:
            function(t)
            if t.shape_stop is not None:
                return Mode.STOPPED, t.body.stop(t, at_once=t.urgent)
        out = t.body.move(t) if self._arm is None else self._arm.move(t)
        if t.shape_stop is not None:  # by a row of an arm
            return Mode.STOPPED, out
        return (Mode.LIMITED if t.trips else Mode.ACTIVE), out

    # ------------------------------------------------------------ what leaves

    def _finish(self, t: Tick, mode: Mode, out: list[float], answers: dict[str, tuple[bool, str]]) -> GateOutput:
        s, cfg = t.s, t.cfg
        unknown = not t.body.ready(s)  # an arm that was never measured
        out = [v + 0.0 for v in out]  # no -0.0
        if not unknown:
            t.body.refuse(t, out)
        s.out = out
        still = t.body.stands(s, out)
        s.zero_since = None if not still else (s.zero_since if s.zero_since is not None else t.now)
        rows = t.trips
        if len(rows) > 1:
            rows = sorted({row.name: (row, why) for row, why in reversed(rows)}.values(), key=_gravity)
        reason, sentence, level = self._reason(s, mode, rows)
        scale = _scale(t, mode, out)
        if reason != s.reason or mode is not s.mode:
            if reason in ROWS and reason != s.reason:
                s.count(reason)
            if mode not in (Mode.ACTIVE, Mode.DISABLED) and reason not in ("arming", "acceleration_limit"):
                asked = tuple(t.asked) if t.asked is not None else None
                s.remember(Intervention(t.ros, t.now, mode.name, reason, sentence, scale, asked, tuple(out)))
            s.reason, s.mode = reason, mode
        decided = np.array(out)
        publish = not (cfg.shadow or cfg.dry_run or unknown)
        values = decided if publish or cfg.by_position else np.zeros(cfg.size)
        held = t.track.held
        return GateOutput(
            values=values,
            publish=publish,
            decided=decided,
            mode=mode,
            level=level,
            reason=reason,
            reasons=tuple([row.name for row, _ in rows]),
            sentence=sentence,
            scale=scale,
            source=t.source if mode in (Mode.ACTIVE, Mode.LIMITED) else "none",
            hardware_estop=s.hardware_estop,
            image_age=None if held is None else t.ros - held.stamp,
            ages=_ages(t),
            counts=s.counts,
            answers=answers,
            exit_complete=s.shutdown_at is not None and t.now - s.shutdown_at >= cfg.exit_duration,
        )

    def _reason(self, s: GateState, mode: Mode, rows: list[tuple[Row, str]]) -> tuple[str, str, int]:
        if s.latch is not None:
            name, why = s.latch
            return name, f"{why}; latched until reset", 2
        if mode is Mode.DISABLED:
            return "disabled", SENTENCES[mode], 0
        if rows:
            row, why = rows[0]
            return row.name, why, row.level
        if mode is Mode.ARMING:
            return "arming", SENTENCES[mode], 1
        return "ok", SENTENCES[Mode.ACTIVE], 0

    def _fault(
        self, state: GateState, inputs: GateInputs, now: float, ros: float, error: Exception
    ) -> tuple[GateState, GateOutput]:
        """The answer to an exception inside: stop, and latch. It relies on as little as possible."""
        cfg = self.config
        why = f"fault inside the gate: {type(error).__name__}: {error}"
        try:
            s = state.clone()
        except Exception:
            s = self.initial_state()
        self._latch(s, "internal_fault", why)
        now = now if isinstance(now, (int, float)) and math.isfinite(now) else (s.steady or 0.0)
        s.steady = now if s.steady is None else max(now, s.steady)
        out = [0.0] * cfg.size
        if cfg.by_position:
            out = positions.brake(cfg, s, 0.0 if state is None or state.steady is None else s.steady - state.steady)
        s.out = out
        s.zero_since = s.zero_since if s.zero_since is not None else now
        s.count("internal_fault")
        if s.reason != "internal_fault":
            s.remember(Intervention(ros, now, "ESTOP", "internal_fault", why, 0.0, None, tuple(out)))
        s.mode, s.reason = Mode.ESTOP, "internal_fault"
        if getattr(getattr(inputs, "requests", None), "shutdown", False) and s.shutdown_at is None:
            s.shutdown_at = now
        values = np.array(out)
        unknown = not cfg.body.ready(s)  # an arm that was never measured: its place is not known, so send nothing
        publish = not (cfg.shadow or cfg.dry_run or unknown)
        return s, GateOutput(
            values, publish, values, Mode.ESTOP, 2, "internal_fault", ("internal_fault",),
            f"{why}; latched until reset", 0.0, "none", True, None, {}, s.counts, {},
            s.shutdown_at is not None and now - s.shutdown_at >= cfg.exit_duration,
        )  # fmt: skip


def _gravity(entry: tuple[Row, str]) -> int:
    return ORDER[entry[0].name]


def _scale(t: Tick, mode: Mode, out: list[float]) -> float:
    """Fraction of the requested command (for positions: of the speed) that is given; 1 for zeros that pass."""
    if mode not in (Mode.ACTIVE, Mode.LIMITED):
        return 0.0
    if t.asked is None or t.cfg.by_position or mode is Mode.ACTIVE:
        return t.pace
    asked = max(abs(a) / h for a, h in zip(t.asked, t.cfg.velocity, strict=True))
    given = max(abs(a) / h for a, h in zip(out, t.cfg.velocity, strict=True))
    return 1.0 if asked <= 0.0 else min(1.0, given / asked)


def _ages(t: Tick) -> dict[str, float]:
    """Seconds since each input was received."""
    now, i = t.now, t.i
    messages = (i.command, i.teleop, i.image, i.odom, i.pose, i.joint_states, i.scan, i.contact, i.estop, i.signals,
                i.people, i.wrench)  # fmt: skip
    ages = {name: now - m.received for name, m in zip(_AGED, messages, strict=True) if m is not None}
    for name, received in i.heartbeats.items():
        ages[f"heartbeat/{name}"] = now - received
    return ages


_AGED = ("command", "teleop", "image", "odom", "pose", "joint_states", "scan", "contact", "estop", "signals", "people",
         "wrench")  # fmt: skip


def describe(state: GateState) -> dict[str, Any]:
    """The counts and the last interventions as plain data, for a service or a report."""
    return {
        "mode": state.mode.name,
        "reason": state.reason,
        "latched": None if state.latch is None else state.latch[0],
        "counts": dict(state.counts),
        "interventions": [entry.to_dict() for entry in state.interventions],
    }
