# SPDX-License-Identifier: Apache-2.0
"""What leaves the gate, tick by tick, held to the limits of the machine and to what was asked for.

Finite; position, velocity and acceleration limits at every tick, whatever rule asks for the motion; a stop slows down
and holds, without a turn back and without a jump; a set-point is captured anew only while DISABLED, in ESTOP and
before arming; nothing is told to a joint that was never measured; nothing leaves that nobody asked for.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

from jepa_ros.safety import GateInputs, GateOutput, Mode

if TYPE_CHECKING:
    from benchmarks.rigs.gate.histories import History

#: Rounding [share of a limit].
EPSILON = 1e-6
#: Modes in which a set-point may be captured anew.
CAPTURING = (Mode.DISABLED, Mode.ESTOP, Mode.ARMING)
#: Share of the command left when the planner says to go slowly (docs/safety.md, slow_scale), and rounding.
SLOW = 0.3 * (1.0 + EPSILON)


class StreamJudge:
    """Rules over the values that leave."""

    def __init__(self, history: History) -> None:
        self.h, self.machine = history, history.machine
        self.before: list[float] | None = None  # what left at the tick before
        self.rate = [0.0] * history.machine.size  # of positions, at the tick before [1/s]
        self.last_dt = history.machine.period
        self.measured: deque[Any] = deque(maxlen=4)  # joint states of late
        self.gap = 2.0 * history.machine.period * (1.0 + EPSILON)  # longer than this it was not told anything [s]
        self.slow_for = 0.0
        self.most = [0.0] * history.machine.size  # largest size asked for while slow

    def note(self, i: GateInputs) -> None:
        """What is measured at this tick."""
        if i.joint_states is not None and (not self.measured or self.measured[-1] is not i.joint_states):
            self.measured.append(i.joint_states)

    def going(self, out: GateOutput) -> bool:
        """Whether what leaves is motion."""
        if not self.machine.position:
            return bool(out.values.any())
        if self.before is None or not out.publish:
            return False
        m = self.machine
        kept = self._captured(out.values.tolist()) if out.mode in CAPTURING else [False] * m.size
        return any(
            abs(v - b) > 1e-7 * (abs(b) + m.velocity[k] * m.period) and not kept[k]
            for k, (v, b) in enumerate(zip(out.values.tolist(), self.before))
        )

    def look(self, out: GateOutput, i: GateInputs, dt: float, moving: bool, held: Any) -> list[str]:
        """The rules that this tick breaks; ``held`` is the command that is to be followed, or None."""
        m, values = self.machine, out.values.tolist()
        if len(values) != m.size or not all(math.isfinite(v) for v in values):
            return [f"the output is {values}"]
        asked = None if held is None else held.values
        if held is not None and held.still:  # to stand still is to go nowhere from where it is
            asked = list(self.before or values) if m.position else [0.0] * m.size
        found = self._slow(out, i, dt, asked) if moving and out.source == "planner" else self._not_slow()
        if m.position:
            found += self._positions(out, values, dt, moving, asked)
        else:
            if not out.publish:
                found.append("publishes nothing")
            found += self._velocities(values, dt, moving, asked)
        if dt > 0.0:
            self.last_dt = dt
        return found

    # ------------------------------------------------------------ velocities

    def _velocities(self, values: list[float], dt: float, moving: bool, asked: Any) -> list[str]:
        m, found = self.machine, []
        before = self.before or [0.0] * m.size
        self.before = values
        for k, (u, b) in enumerate(zip(values, before)):
            if u == b == 0.0:
                continue
            limit = m.velocity[k]
            if not m.low[k] - EPSILON * limit <= u <= m.high[k] + EPSILON * limit:
                found.append(f"axis {k}: {u:.6g} is outside of its range, {m.low[k]:.6g} to {m.high[k]:.6g}")
            if abs(u) > limit * (1.0 + EPSILON):
                found.append(f"axis {k}: {u:.6g} is over its velocity limit {limit:.6g}")
            rounding = EPSILON * limit
            if u * b < 0.0 or abs(u) > abs(b):
                most = m.acceleration[k] if u * b >= 0.0 else max(m.acceleration[k], m.braking[k])
                if abs(u - b) > most * dt * (1.0 + EPSILON) + rounding:
                    found.append(f"axis {k}: from {b:.6g} to {u:.6g} in {dt:.4f} s is over its acceleration limit")
            if not moving:
                if u * b < 0.0 or abs(u) > abs(b) + rounding:
                    found.append(f"axis {k}: stops, and goes from {b:.6g} to {u:.6g}")
            elif asked is not None:
                w = asked[k]
                if not min(0.0, b, w) - rounding <= u <= max(0.0, b, w) + rounding:
                    found.append(f"axis {k}: {w:.6g} is asked for, and it goes from {b:.6g} to {u:.6g}")
        return found

    # ------------------------------------------------------------ positions

    def _captured(self, values: list[float]) -> list[bool]:
        """Which joints are told to be where they were measured of late."""
        m, names = self.machine, self.machine.contract.command.joints
        kept = [False] * m.size
        for message in self.measured:
            try:
                where = dict(zip(message.names, message.position, strict=True))
                for k, n in enumerate(names):
                    kept[k] = kept[k] or abs(where.get(n, math.nan) - values[k]) <= 1e-9 * (1.0 + abs(values[k]))
            except (TypeError, ValueError):
                continue
        return kept

    def _positions(self, out: GateOutput, values: list[float], dt: float, moving: bool, asked: Any) -> list[str]:
        m, before = self.machine, self.before
        if not out.publish:
            return [] if before is None else ["says nothing any more to joints that it has driven"]
        self.before = values
        if before is None:
            far = [k for k, kept in enumerate(self._captured(values)) if not kept]
            return [f"joint {k}: the first word is {values[k]:.6g}, where it was not measured" for k in far]
        if dt <= 0.0:
            jumps = [k for k, (p, b) in enumerate(zip(values, before)) if abs(p - b) > 1e-9 * (abs(p) + abs(b))]
            return [f"joint {k}: from {before[k]:.6g} to {values[k]:.6g} in no time" for k in jumps]
        found = []
        captured: list[bool] | None = None
        rates = self.rate
        if dt > self.gap:  # the drive has come to the last set-point meanwhile, and stands there
            rates, dt = [0.0] * self.machine.size, self.gap
        self.rate = [(v - b) / dt for v, b in zip(values, before)]
        for k, (p, b) in enumerate(zip(values, before)):
            if p == b and (rates[k] == 0.0 or dt == self.gap):
                continue
            if out.mode in CAPTURING and abs(rates[k]) <= EPSILON * m.velocity[k]:
                captured = captured or self._captured(values)
                if captured[k]:
                    self.rate[k] = 0.0
                    continue
            found += self._one(k, b, p, rates[k], dt, out, moving, asked)
        if dt == self.gap:  # the drive takes up the one step within a period, and may slow down from that
            self.rate = [r * dt / self.machine.period for r in self.rate]
        return found

    def _one(
        self, k: int, b: float, p: float, old: float, dt: float, out: GateOutput, moving: bool, asked: Any
    ) -> list[str]:
        """One joint's set-point goes from ``b`` to ``p``; ``old``: its rate before."""
        m, found = self.machine, []
        limit, rounding = m.velocity[k], 1e-9 * (abs(p) + abs(b))
        rate = self.rate[k]
        # A machine of 64 bits cannot tell a rate better than this.
        blur = rounding / min(dt, self.last_dt) * 4.0 + EPSILON * limit
        if abs(rate) > limit * (1.0 + EPSILON) + blur:
            found.append(
                f"joint {k}: from {b:.6g} to {p:.6g} in {dt:.4f} s is over its velocity limit ({out.mode.name})"
            )
        hardest = max(m.acceleration[k], m.braking[k]) * max(dt, self.last_dt, m.period)
        if abs(rate - old) > hardest * (1.0 + EPSILON) + blur:
            found.append(f"joint {k}: from {old:.6g}/s to {rate:.6g}/s in {dt:.4f} s is over its acceleration limit"
                         f" ({out.mode.name})")  # fmt: skip
        assert m.ends is not None
        low, high = m.ends[0][k], m.ends[1][k]
        beyond = max(low - p, p - high)
        if beyond > rounding + EPSILON * (high - low) and beyond > max(low - b, b - high) + rounding:
            found.append(f"joint {k}: told {p:.6g}, its range is {low:.6g} to {high:.6g}")
        if not moving:
            if rate * old < 0.0 and abs(rate) > blur:
                found.append(f"joint {k}: a stop turns it back, from {old:.6g}/s to {rate:.6g}/s ({out.mode.name})")
            elif abs(rate) > abs(old) + blur:
                found.append(f"joint {k}: stops, and goes from {old:.6g}/s to {rate:.6g}/s ({out.mode.name})")
        elif asked is not None and abs(rate) > blur:
            goal = [asked[k], min(max(asked[k], low), high)]
            for g in self.h.gate.config.guardrails.of("joint_limits"):
                goal.append(min(max(asked[k], g.low[k]), g.high[k]))
            away = all(rate * (w - b) <= 0.0 for w in goal)
            if away and not (rate * old > 0.0 and abs(rate) <= abs(old) + blur):
                found.append(f"joint {k}: {asked[k]:.6g} is asked for, and it goes from {b:.6g} to {p:.6g}")
        return found

    # ------------------------------------------------------------ slowly

    def _not_slow(self) -> list[str]:
        self.slow_for = 0.0
        return []

    def _slow(self, out: GateOutput, i: GateInputs, dt: float, asked: Any) -> list[str]:
        """While surprise, novelty or force is between its levels it goes slowly, once it had time to slow down."""
        m = self.machine
        force = 0.0 if m.force is None or i.wrench is None else math.dist(i.wrench.force, (0.0, 0.0, 0.0))
        slow = m.force is not None and m.force[0] <= force < m.force[1]
        slow = slow or (
            i.signals is not None
            and any(
                levels is not None and levels[0] <= i.signals.values.get(name, 0.0) < levels[1]
                for name, levels in ((n, m.settings.get(n)) for n in ("surprise", "novelty"))
            )
        )
        if not slow or asked is None:
            return self._not_slow()
        if self.slow_for == 0.0:
            self.most = [0.0] * m.size
        self.most = [max(a, abs(w)) for a, w in zip(self.most, asked)]
        self.slow_for += min(dt, m.period)
        time = max(v / min(a, b) for v, a, b in zip(m.velocity, m.acceleration, m.braking)) + 3.0 * m.period
        if self.slow_for <= time:
            return []
        if m.position:
            rates = [] if self.before is None or dt <= 0.0 else [
                (v - b) / dt for v, b in zip(out.values.tolist(), self.before)]  # fmt: skip
            fast = [k for k, r in enumerate(rates) if abs(r) > SLOW * m.velocity[k] * (1.0 + 1e-3)]
        else:
            fast = [
                k for k, u in enumerate(out.values.tolist()) if abs(u) > SLOW * self.most[k] + EPSILON * m.velocity[k]
            ]
        return [
            f"axis {k} is not slow though surprise, novelty or force says so: {out.values.tolist()[k]:.6g}"
            for k in fast[:1]
        ]
