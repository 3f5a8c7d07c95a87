# SPDX-License-Identifier: Apache-2.0
"""Robots that do not obey, and bumpers: what the gate has to make of motion that it did not ask for."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

from benchmarks.rigs.gate.bodies import Machine
from jepa_ros.safety import GateInputs, GateOutput, Mode

if TYPE_CHECKING:
    from benchmarks.rigs.gate.histories import History

#: A robot that is measured at this share of a velocity limit moves, whatever its sensors' noise.
MOVES = 0.5
#: Share of a velocity limit by which the measured velocity may be off, and for how long [s] (docs/safety.md).
TOLERANCE, TIMEOUT = 0.2, 0.1
#: What left within so long [s], besides the reaction time, may still be what it follows.
OBEYS = 0.95
#: The bumper's word and the odometry's come so many ticks late, together.
LATE = 6
#: Away from a push: no faster than this share of the velocity limits.
ESCAPE = 0.25


class MotionJudge:
    """Rules over what is measured of the motion, and over the bumper."""

    def __init__(self, history: History) -> None:
        self.h, self.machine = history, history.machine
        self.runaway_since: float | None = None
        self.sent: deque[tuple[float, list[float]]] = deque()
        self.astray_since: float | None = None
        # Of the newest message: stamp, velocity, whether it is far from all that left.
        self.astray_from: tuple[float | None, list[float] | None, bool] = (None, None, False)
        self.pushed: list[list[float]] | None = None  # how it went of late when the bumper was pressed
        self.went: deque[list[float]] = deque(maxlen=LATE)
        self.pressed_for = 0
        self.values = [0.0] * history.machine.size

    @staticmethod
    def _velocity(i: GateInputs, machine: Machine) -> tuple[Any, list[float] | None]:
        """(message, measured velocity (A,)), None where there is none to be believed."""
        message: Any = i.joint_states if machine.joints else i.odom
        v = getattr(message, "velocity" if machine.joints else "v", None)
        if not isinstance(v, (tuple, list)) or len(v) != machine.size or not all(math.isfinite(a) for a in v):
            return message, None
        if machine.joints and len(message.names) != machine.size:
            return message, None
        return message, list(v)

    @classmethod
    def runs(cls, i: GateInputs, now: float, machine: Machine) -> bool:
        """Whether the robot is freshly measured to move."""
        message, v = cls._velocity(i, machine)
        if v is None or not 0.0 <= now - message.received < 2.0 * machine.period:
            return False
        if getattr(message, "frame_id", machine.contract.frames.odom) != machine.contract.frames.odom:
            return False
        return any(abs(a) > MOVES * most for a, most in zip(v, machine.velocity))

    def look(self, out: GateOutput, i: GateInputs, now: float, moving: bool, enabled: bool, late: bool) -> list[str]:
        """The rules that this tick breaks."""
        self.went.append(list(self.h.plant.v))
        found = self._bumper(out, i, moving)
        if not self.machine.position:
            found += self._runaway(out, i, now, enabled, late)
            found += self._astray(out, i, now, moving, late)
        self.values = out.values.tolist()
        return found

    def _good(self, message: Any, i: GateInputs, now: float) -> bool:
        name = "joint_states" if self.machine.joints else "odom"
        return (
            message is not None
            and name not in self.h.senses.spoil
            and now - message.received < 0.1 + self.machine.period
        )

    def _runaway(self, out: GateOutput, i: GateInputs, now: float, enabled: bool, late: bool) -> list[str]:
        """Told to stand for long, and still measured to move: latched, and power is to be cut."""
        message, v = self._velocity(i, self.machine)
        runs = v is not None and any(abs(a) > MOVES * most for a, most in zip(v, self.machine.velocity))
        if out.values.any() or not runs or not enabled or late or not self._good(message, i, now):
            self.runaway_since = None
        elif self.runaway_since is None:
            self.runaway_since = now
        else:
            lasts, dog = now - self.runaway_since, self.machine.dog
            limit = self.machine.stop_time + 2.0 * dog.stop_motion_timeout + 2.0 * self.machine.period
            if lasts > limit and not out.hardware_estop:
                return [
                    f"the robot runs on at {max(map(abs, v or [0.0])):.4g} for {lasts:.2f} s, and nothing is latched"
                ]
        return []

    def _astray(self, out: GateOutput, i: GateInputs, now: float, moving: bool, late: bool) -> list[str]:
        """It drives while what is measured has long been none of what left over more time than any answer may take.

        Nothing is said of a robot that comes nearer to what it was told, nor of one that may still brake towards it as
        slowly as it may, nor of one that is told to stand.
        """
        m = self.machine
        message, v = self._velocity(i, m)
        if self.sent:  # what left last was followed until now, however late
            self.sent.append((now, self.sent[-1][1]))
        while self.sent and now - self.sent[0][0] >= OBEYS + m.reaction:
            self.sent.popleft()
        stamp = getattr(message, "stamp", None)
        if stamp != self.astray_from[0]:  # a new message
            self.astray_from = (stamp, v, self._far(v) if v is not None and not late else False)
        self.sent.append((now, out.values.tolist()))
        if not self.astray_from[2] or not moving or not out.values.any():
            self.astray_since = None
            return []
        if self.astray_since is None:
            self.astray_since = now
        lasts = now - self.astray_since
        brakes = max(abs(a - goal) / b for a, goal, b in zip(v or [], self.sent[-1][1], m.braking))
        if lasts > TIMEOUT + 0.1 + 2.0 * m.period + brakes and self._good(message, i, now):
            return [f"drives for {lasts:.2f} s while {v} is measured"]
        return []

    def _far(self, v: list[float]) -> bool:
        """Whether an axis is measured far from all that left of late, and comes no nearer to what left last."""
        m, known = self.machine, self.astray_from[1]
        for k, a in enumerate(v):
            slack = TOLERANCE * m.velocity[k]
            if all(values[k] > a + slack for _, values in self.sent) or all(
                values[k] < a - slack for _, values in self.sent
            ):
                if not self.sent:
                    return False
                goal = self.sent[-1][1][k]
                if known is None or abs(a - goal) >= abs(known[k] - goal) - 1e-6 * m.velocity[k]:
                    return True
        return False

    # ------------------------------------------------------------ the bumper

    def _bumper(self, out: GateOutput, i: GateInputs, moving: bool) -> list[str]:
        """While it is pressed: stop at once; then no further that way; away slowly."""
        m, message = self.machine, i.contact
        if "contact" not in m.states or message is None or message.value is False:
            self.pushed, self.pressed_for = None, 0
            return []
        if self.pushed is None:
            self.pushed = self._into()
        self.pressed_for += 1
        if m.position:
            return self._pressed_positions(out, moving)
        values, before = out.values.tolist(), self.values
        if not any(values):
            return []
        said = f"the bumper was pressed at {[float(f'{v:.4g}') for v in self.pushed[-1]]}, and it sends {values}"
        linear = [k for k in (m.x, m.y, m.z) if k is not None] if not m.joints else list(range(m.size))
        size = math.sqrt(sum(values[k] ** 2 for k in linear))
        if size > 0.0 and all(self._along(values, way, linear) > 1e-6 * size for way in self.pushed):
            return [f"{said}: into it ({out.mode.name})"]
        if m.stops_at_contact:
            return [f"{said} ({out.mode.name})"]
        fast = [abs(u) > ESCAPE * v * (1.0 + 1e-6) for u, v in zip(values, m.velocity)]
        if any(f and abs(u) >= abs(b) for f, u, b in zip(fast, values, before)):
            return [f"{said}: not slowly"]
        return []

    @staticmethod
    def _along(values: list[float], way: list[float], linear: list[int]) -> float:
        """The part of a command along a way, 0 where that is no way at all."""
        long = math.sqrt(sum(way[k] ** 2 for k in linear))
        return sum(values[k] * way[k] for k in linear) / long if long > 0.0 else 0.0

    def _into(self) -> list[list[float]]:
        """The ways in which it went into what it touches: as it truly went of late, and as it was told.

        Only what lies along all of them is held to be into it: the gate may know any of them, and none better.
        """
        m = self.machine
        ways = [[v if abs(v) > 0.02 * most else 0.0 for v, most in zip(way, m.velocity)] for way in self.went]
        told = [u if abs(u) > 0.02 * most else 0.0 for u, most in zip(self.values, m.velocity)]
        return [*ways, told] if not m.position else ways

    def _pressed_positions(self, out: GateOutput, moving: bool) -> list[str]:
        """Joints by position slow down first; then none goes any way."""
        m = self.machine
        if out.mode is Mode.DISABLED or self.pressed_for * m.period <= m.stop_time + 4.0 * m.period or not moving:
            return []
        on = [k for k, (p, b) in enumerate(zip(out.values.tolist(), self.values))
              if abs(p - b) > 1e-7 * (abs(p) + m.velocity[k] * m.period)]  # fmt: skip
        return [f"joint {k} goes on though the bumper is pressed ({out.mode.name})" for k in on[:1]]
