# SPDX-License-Identifier: Apache-2.0
"""What motion is for a body: the ONE place that says what "stop", "slow" and "stand still" are, and what leaves next.

The rows of the gate say what they want: a target, a share of the speed, an allowed range, a stop. They never write a
position. One last stage makes the next output of it, from the last output and its speed, so that the limits hold on
every tick whatever row asked.

============ ======================================= =============================================================
..           commands are rates                      commands are joint positions
============ ======================================= =============================================================
stand still  zeros                                   the set-point that is held
stop         zeros: at once, or down a ramp          braked from the last commanded speed; what is reached is held
slow         a share of the rates                    a share of the velocity limits, towards the same target
unmeasured   zeros                                   nothing is published
============ ======================================= =============================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from jepa_ros.safety import positions

if TYPE_CHECKING:
    from jepa_ros.safety.state import GateState
    from jepa_ros.safety.tick import Tick

#: A rate below this share of its limit is none: nobody drives so slowly, and a number that small has no inverse.
NOTHING = 1e-6


class Body(Protocol):
    """What the gate asks of the body that it guards."""

    def take(self, values: Sequence[float]) -> list[float]:
        """The target that a command asks for."""

    def idle(self, t: Tick) -> bool:
        """Whether the command on its way asks for no motion."""

    def slow(self, t: Tick, share: float) -> None:
        """Move more slowly, the same way."""

    def stop(self, t: Tick, *, at_once: bool) -> list[float]:
        """The output of a stop, (A,)."""

    def move(self, t: Tick) -> list[float]:
        """The output that the rows leave of the command, (A,)."""

    def ready(self, s: GateState) -> bool:
        """Whether an output means something: where a joint stands has to be known before it is told a position."""

    def measure(self, t: Tick) -> bool:
        """Take in where the body stands, while the gate does not move it; whether that is news."""

    def stands(self, s: GateState, out: list[float]) -> bool:
        """Whether the output that leaves asks for no motion."""

    def refuse(self, t: Tick, out: list[float]) -> None:
        """Whatever went wrong before: raise ArithmeticError where ``out`` is not finite or beyond a limit."""


class Rates:
    """A base, or joints that are commanded by velocity."""

    def __init__(self, cfg: Any) -> None:
        self._cfg = cfg
        self._nothing = [NOTHING * v for v in cfg.velocity]

    def take(self, values: Sequence[float]) -> list[float]:
        """The rates; what is next to nothing is nothing."""
        return [float(v) if abs(v) > least else 0.0 for v, least in zip(values, self._nothing, strict=True)]

    def idle(self, t: Tick) -> bool:
        """Zeros."""
        return not any(t.u)

    def slow(self, t: Tick, share: float) -> None:
        """All rates by one ratio."""
        t.u = [u * share for u in t.u]

    def stop(self, t: Tick, *, at_once: bool) -> list[float]:
        """Zeros, or the next step of a ramp to them with the guaranteed braking.

        The axes of a base come down by one ratio, which keeps the arc; joints each by its own braking, or one that
        brakes longer would let another overrun its end.
        """
        cfg, out = self._cfg, t.s.out
        if at_once or cfg.stop == "zero" or not any(out):
            return [0.0] * cfg.size
        if cfg.joints:
            return [math.copysign(max(0.0, abs(v) - b * t.dt), v) for v, b in zip(out, cfg.braking, strict=True)]
        left = max(abs(v) / b for v, b in zip(out, cfg.braking, strict=True))  # s until all axes stand
        share = max(0.0, 1.0 - t.dt / left) if left > 0.0 else 0.0
        if share * left < 1e-6:
            return [0.0] * cfg.size
        return self.take([v * share for v in out])

    def move(self, t: Tick) -> list[float]:
        """As the rows have left it."""
        return self.take(t.u)

    def ready(self, s: GateState) -> bool:
        """Zeros are always a stop."""
        return True

    def measure(self, t: Tick) -> bool:
        """Nothing to hold."""
        return False

    def stands(self, s: GateState, out: list[float]) -> bool:
        """Zeros."""
        return not any(out)

    def refuse(self, t: Tick, out: list[float]) -> None:
        """See :class:`Body`."""
        cfg = self._cfg
        for v, low, high in zip(out, cfg.low, cfg.high, strict=True):
            if not low - 1e-6 <= v <= high + 1e-6:
                raise ArithmeticError(f"the output {out} is outside {cfg.low} to {cfg.high}")


class Positions:
    """Joints that are commanded by position; :mod:`jepa_ros.safety.positions` does the work."""

    def __init__(self, cfg: Any) -> None:
        self._cfg = cfg

    def take(self, values: Sequence[float]) -> list[float]:
        """The positions."""
        return [float(v) for v in values]

    def idle(self, t: Tick) -> bool:
        """Asked to stand still, or to where the set-point is."""
        return t.still or (t.u == t.s.out and not any(t.s.rate))

    def slow(self, t: Tick, share: float) -> None:
        """The same target at a share of the velocity limits."""
        t.pace = min(t.pace, share)

    def stop(self, t: Tick, *, at_once: bool) -> list[float]:
        """Brake from the last commanded position and speed, whoever asks; the set-point so reached is the hold."""
        return positions.brake(self._cfg, t.s, t.dt)

    def move(self, t: Tick) -> list[float]:
        """Towards the target within every limit; a command to stand still is a stop."""
        return positions.brake(self._cfg, t.s, t.dt) if t.still else positions.approach(t)

    def ready(self, s: GateState) -> bool:
        """Where the joints stand was measured once."""
        return s.known

    def measure(self, t: Tick) -> bool:
        """Capture the hold, see :func:`jepa_ros.safety.positions.capture`."""
        return positions.capture(t)

    def stands(self, s: GateState, out: list[float]) -> bool:
        """The set-point does not move."""
        return not any(s.rate)

    def refuse(self, t: Tick, out: list[float]) -> None:
        """See :class:`Body`. A set-point that was outside of the range before may stay there, or come in."""
        cfg, before, dt = self._cfg, t.s.out, min(t.dt, 2.0 * self._cfg.period)
        for k, v in enumerate(out):
            low, high = min(cfg.low[k], before[k]) - 1e-6, max(cfg.high[k], before[k]) + 1e-6
            if not (low <= v <= high and abs(v - before[k]) <= cfg.velocity[k] * dt * (1.0 + 1e-6) + 1e-9):
                raise ArithmeticError(f"the output {out} after {before} is beyond a limit")
