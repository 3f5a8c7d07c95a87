# SPDX-License-Identifier: Apache-2.0
"""The table of everything that the gate reacts to: the ONE list of reason words, and what each of them does.

The order is the order of gravity among rows of equal effect. Each row has one check function, registered by
:func:`check` in the module that knows how; ``tests/test_gate_rows.py`` has a test for each, and the mutation run of
``jepa-ros bench safety`` leaves out one row at a time and expects the campaign to notice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: Effects, gravest first.
LATCH, ZERO, RAMP, LIMIT = "latch", "zero", "ramp", "limit"
GRAVITY = {LATCH: 0, ZERO: 1, RAMP: 2, LIMIT: 3}


@dataclass(frozen=True)
class Row:
    """One thing that can go wrong.

    Attributes:
        name: the reason word.
        case: what goes wrong, for people and documents.
        effect: latch (ESTOP until reset), zero (stop at once), ramp (stop as the contract's ``stop`` says), limit.
        stage: when the check runs: ``message`` (each command that comes in), ``watch`` (each tick), ``shape`` (each
            tick in which the robot may move), ``resume`` (when it would move again), ``switch`` (handled by the gate).
        planner_only: not applied while teleoperation drives.
        rearm: once it is over, every input must be good for ``rearm_time`` before the robot moves again.
        counted: moving again after it counts towards ``resume_chatter``.
        level: 1 warning, 2 error.
    """

    name: str
    case: str
    effect: str
    stage: str = "watch"
    planner_only: bool = False
    rearm: bool = False
    counted: bool = False
    level: int = 1


TABLE: tuple[Row, ...] = (
    Row("internal_fault", "an exception inside the gate", LATCH, "switch", level=2),
    Row("estop", "e-stop true, requested, or its required publisher silent", LATCH, level=2),
    Row("estop_missing", "a required e-stop that has not been received yet", ZERO, rearm=True),
    Row("stop_not_obeyed", "stopped or disabled, but the robot still moves", LATCH, level=2),
    Row("bad_commands", "too many commands that were not finite or of the wrong shape", LATCH, level=2),
    Row("resume_chatter", "the robot stopped and resumed by itself too often", LATCH, "resume", level=2),
    Row("exit", "the process is about to end", ZERO, "switch"),
    Row("second_publisher", "another publisher on the gate's output topic, or its own missing", ZERO, rearm=True,
        level=2),
    Row("input_error", "an input that cannot be received (QoS) or read", ZERO, rearm=True, level=2),
    Row("clock", "ROS time stands still, jumped, or is not a number", ZERO, rearm=True, counted=True),
    Row("gate_late", "the gate did not run for a while", ZERO, rearm=True, counted=True),
    Row("state_not_finite", "measured state not finite, of the wrong size or frame", ZERO, rearm=True, counted=True,
        level=2),
    Row("state_stale", "measured state missing, old or from the future", ZERO, rearm=True, counted=True),
    Row("pose_lost", "pose silent, old, in another frame, not finite or too unsure", ZERO, rearm=True, counted=True),
    Row("scan_lost", "scan silent, old, in another frame, malformed or not a number", ZERO, rearm=True, counted=True),
    Row("command_not_obeyed", "measured motion is not the commanded one: a jammed wheel, a dead motor, or a push",
        ZERO, rearm=True, counted=True, level=2),
    Row("command_not_finite", "NaN or infinity in a command", ZERO, "message", counted=True, level=2),
    Row("command_shape", "a command of wrong size, joint names or frame", ZERO, "message", counted=True, level=2),
    Row("image_stale", "image missing, old, from the future, or the same stamp again", RAMP, planner_only=True,
        rearm=True, counted=True),
    Row("image_frozen", "the very same image bytes while the robot moves", RAMP, planner_only=True, rearm=True,
        counted=True),
    Row("heartbeat", "perception or planner does not work", RAMP, planner_only=True, rearm=True, counted=True),
    Row("identity", "guardrail sets or models of planner, perception and gate differ", RAMP, planner_only=True,
        rearm=True, level=2),
    Row("signals_lost", "the planner's signals are required and silent", RAMP, planner_only=True, counted=True),
    Row("command_stamp", "a command's stamp is old, in the future, or behind an earlier one", RAMP, "message",
        counted=True),
    Row("command_timeout", "no command for too long", RAMP, counted=True),
    Row("contact", "the bumper or the collision switch is pressed", ZERO, "shape"),
    Row("force", "the force at the wrist is too high", ZERO, "shape"),
    Row("first_command", "a stream of positions for an arm begins far from the measured posture", RAMP, "shape"),
    Row("guardrail_cost", "the planner's own guardrail cost is too high or not finite", RAMP, "shape",
        planner_only=True),
    Row("surprise", "the world model did not predict what it sees", RAMP, "shape", planner_only=True),
    Row("novelty", "the input is unlike the training data", RAMP, "shape", planner_only=True),
    Row("position_limit", "a joint at its position limit", LIMIT, "shape"),
    Row("inside_region", "the robot stands inside a forbidden region", ZERO, "shape"),
    Row("region", "would enter a forbidden region or leave an allowed one", ZERO, "shape"),
    Row("self_collision", "two links of an arm would touch, or come near each other", RAMP, "shape"),
    Row("link_region", "a link of an arm would enter a forbidden box or leave an allowed one, or comes near its edge",
        RAMP, "shape"),
    Row("singularity", "an arm comes near a singularity", RAMP, "shape"),
    Row("joint_margin", "a joint of an arm comes near its position limit", LIMIT, "shape"),
    Row("tip_speed", "the tip of an arm is over its speed limit", LIMIT, "shape"),
    Row("tip_near_person", "the tip of an arm is too fast near a person", LIMIT, "shape"),
    Row("speed_zone", "too fast for a zone", LIMIT, "shape"),
    Row("person", "too fast near a person", LIMIT, "shape"),
    Row("obstacle", "an obstacle within the stopping distance or time", ZERO, "shape"),
    Row("velocity_limit", "over a velocity limit", LIMIT, "shape"),
    Row("acceleration_limit", "over an acceleration limit", LIMIT, "shape"),
    Row("jerk_limit", "over a jerk limit of an arm", LIMIT, "shape"),
)  # fmt: skip

ROWS: dict[str, Row] = {row.name: row for row in TABLE}
ORDER: dict[str, int] = {row.name: (GRAVITY[row.effect] * 1000 + i) for i, row in enumerate(TABLE)}
#: What an operator's commands go before the planner's by. It stops nothing, so that it is no row, but a mutation run
#: can leave it out as it does a row.
TELEOPERATION = "teleoperation"
#: Reason words that are no row: nothing wrong, waiting for the inputs to stay good, nobody enabled the gate.
STATES = ("ok", "arming", "disabled")
#: Every reason word that ``GateOutput.reason`` can hold.
REASONS: tuple[str, ...] = (*STATES, *ROWS)

CHECKS: dict[str, Callable[..., Any]] = {}


def check(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the check function of a row."""
    if name not in ROWS or name in CHECKS:
        raise ValueError(f"'{name}' is no row of the table, or has a check already")

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        CHECKS[name] = function
        return function

    return register
