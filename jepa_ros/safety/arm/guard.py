# SPDX-License-Identifier: Apache-2.0
"""What leaves the gate of an arm: the command that the rows of every body have left, as far as the arm's own allow it.

Between the next step of a stop and the step that was asked for lies a line of rates, all of them within the limits of
the machine, which both ends keep. The arm gets the fastest on it that its rows let pass. The stop is always among them:
that all which the arm may do until it stands is clear was shown when the last command left, and a stop does no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jepa_ros.safety import arm as arms
from jepa_ros.safety import positions
from jepa_ros.safety.arm.checks import Look, Verdict, Word, speed_share
from jepa_ros.safety.arm.motion import Off, Reckoning, Said, Trail, lengthened, off_the_mark, told
from jepa_ros.safety.arm.sweep import Boxes, Sweep
from jepa_ros.safety.output import MOVING
from jepa_ros.safety.tick import Tick

#: The rows that only arms have.
ROWS = (
    "first_command", "jerk_limit", "joint_margin", "self_collision", "link_region", "singularity", "tip_speed",
    "tip_near_person",
)  # fmt: skip
#: Shares of the way from a stop to what was asked for that are tried where the whole of it is too much.
SHARES = (0.5, 0.2)


class Memory(NamedTuple):
    """What an arm's rows remember: set-points of late and how far the joints stand off them, whose stream of commands
    was begun, and at the last tick the rates (A,) and how they changed [1/s]."""

    trail: Trail = ()
    said: Said | None = None
    off: Off | None = None
    begun: str = ""
    rates: tuple[float, ...] = ()
    grown: tuple[float, ...] = ()


class ArmGuard:
    """The rows of one arm.

    Args:
        config: of the gate. present: the checks that the gate has.

    Raises:
        ArmError: the arm's URDF cannot be used.
    """

    def __init__(self, config: Any, present: dict[str, Callable[..., Any]]) -> None:
        self._cfg, self._rows = config, {name: present[name] for name in ROWS if name in present}
        rails = config.guardrails
        self._needing = [name for name in arms.needing_links(config) if name in present]
        self._shapes = arms.shapes(config.arm) if self._needing else None
        self._out_of, self._within = Boxes(rails.of("keep_out")), Boxes(rails.of("keep_in", "workspace"))
        self._judges = [(n, self._rows[n]) for n in ("self_collision", "link_region", "singularity")
                        if n in self._needing]  # fmt: skip
        self._limits = [(n, self._rows[n]) for n in ("tip_speed", "tip_near_person") if n in self._needing]
        self._jerk = config.arm.jerk

    def follow(self, t: Tick) -> None:
        """Note what left at the last tick."""
        s, cfg = t.s, self._cfg
        memory: Memory = s.arm or Memory()
        now = tuple(s.rate if cfg.by_position else s.out)
        passed = max(t.dt, 1e-6)
        going = s.mode in MOVING and bool(memory.rates)
        grown = tuple((a - b) / passed for a, b in zip(now, memory.rates, strict=True)) if going else (0.0,) * cfg.size
        begun = memory.begun if s.mode in MOVING else ""
        if not cfg.by_position:
            s.arm = Memory(begun=begun, rates=now, grown=grown)
            return
        trail = lengthened(memory.trail, t)
        said = told(trail, t)
        off = off_the_mark(memory.off, said, t) if s.known else None
        s.arm = Memory(trail, said, off, begun, now, grown)

    def move(self, t: Tick) -> list[float]:
        """The output (A,) that the rows leave of the command; see :meth:`jepa_ros.safety.body.Body.move`."""
        refused = self._begins(t)
        if refused is not None:
            t.stop("first_command", refused, urgent=False)
            return t.body.stop(t, at_once=False)
        if t.dt <= 0.0:
            return t.body.move(t)
        step = _Step(t)
        step.ask(self._smoothed)
        if "joint_margin" in self._rows and (why := self._rows["joint_margin"](t, step.asked)) is not None:
            step.slow("joint_margin", why, self._smoothed)
        if self._shapes is not None:
            if t.joints is None:
                return step.leave(0.0)
            self._guard(t, step)
        return step.leave()

    # ---- rows without geometry --------------------------------------------------------------------------------------
    def _begins(self, t: Tick) -> str | None:
        """Why the stream of commands may not begin like this; a stream that has begun goes on."""
        memory: Memory = t.s.arm
        if memory.begun == t.source or t.still:
            return None
        row = self._rows.get("first_command")
        why = None if row is None else row(t)
        if why is None:
            t.s.arm = memory._replace(begun=t.source)
        return why

    def _smoothed(self, t: Tick, before: np.ndarray, rates: np.ndarray) -> np.ndarray:
        if self._jerk is None or "jerk_limit" not in self._rows:
            return rates
        left: np.ndarray = self._rows["jerk_limit"](t, self._jerk, before, t.s.arm.grown, rates)
        if left is not rates:
            t.trip("jerk_limit", "joints speed up no faster than their jerk limits allow")
        return left

    # ---- rows with geometry -----------------------------------------------------------------------------------------
    def _guard(self, t: Tick, step: _Step) -> None:
        reckoning = Reckoning(t, t.s.arm.said, t.s.arm.off)

        def look(rates: np.ndarray) -> Look:
            return Look(t, rates, Sweep(self._shapes, reckoning.of(rates)), self._out_of, self._within)

        seen = look(step.rates)
        said = self._ask(seen)
        slow = [name for name, (verdict, _) in said.items() if verdict is Verdict.SLOW]
        if slow:
            for name in slow:
                step.slow(name, said[name][1], self._smoothed)
            seen = look(step.rates)
        for name, row in self._limits:
            limit = row(seen)
            if limit is None:
                continue
            share = speed_share(seen, step.still, limit[0])
            if share < 1.0:
                step.share *= share
                t.trip(name, f"{limit[1]} (limit {limit[0]:g} m/s)")
                seen = look(step.rates)
        if slow or step.share < 1.0:
            said = self._ask(seen)
        self._within_bounds(t, step, said, look)

    def _ask(self, seen: Look) -> dict[str, Word]:
        return {name: row(seen) for name, row in self._judges}

    def _within_bounds(
        self, t: Tick, step: _Step, said: dict[str, Word], look: Callable[[np.ndarray], Look]
    ) -> None:  # fmt: skip
        """Reduce the step until no row says that it must not be."""
        worst = max((verdict for verdict, _ in said.values()), default=Verdict.PASS)
        if worst is Verdict.ESCAPE:
            for name, (verdict, why) in said.items():
                if verdict is Verdict.ESCAPE:
                    step.slow(name, f"{why}: moves away", self._smoothed, t.cfg.escape_speed)
            said = self._ask(look(step.rates))
            worst = max(verdict for verdict, _ in said.values())
            if worst is not Verdict.STOP:
                return
        if worst is not Verdict.STOP:
            return
        whole = step.share
        for name, (verdict, why) in said.items():
            if verdict is Verdict.STOP:
                t.trip(name, why)
        for share in SHARES:
            step.share = whole * share
            said = self._ask(look(step.rates))
            if all(verdict < Verdict.ESCAPE for verdict, _ in said.values()):
                return
        step.share = 0.0


class _Step:
    """The line between the next step of a stop and the step that was asked for.

    Attributes:
        still, asked: rates (A,) of its ends. share: how far along it, 0 .. 1, the step lies that is to leave.
    """

    def __init__(self, t: Tick) -> None:
        cfg, s = t.cfg, t.s
        self._t, self._met = t, len(t.trips)
        self._kept: list[tuple[Any, str]] = []
        self.by_position = cfg.by_position
        self.rested = self.by_position and positions.rested(cfg, t.dt)
        self.dt = cfg.period if self.rested else t.dt
        before = [0.0] * cfg.size if self.rested else s.rate if self.by_position else s.out
        still = [math.copysign(max(abs(v) - b * t.dt, 0.0), v) for v, b in zip(before, cfg.braking, strict=True)]
        self.before, self.still = np.array(before), np.array(still)
        self._rate_before = s.rate
        self.asked, self.share, self._out = self.still, 1.0, list[float]()

    @property
    def rates(self) -> np.ndarray:
        """Of the step, (A,)."""
        return self.asked if self.share == 1.0 else self.still + self.share * (self.asked - self.still)

    def ask(self, smoothed: Callable[[Tick, np.ndarray, np.ndarray], np.ndarray]) -> None:
        """What the rows of every body leave of the command."""
        t = self._t
        del t.trips[self._met :]
        t.s.rate = self._rate_before
        self._out = t.body.move(t)
        asked = np.array(t.s.rate if self.by_position else self._out)
        self.asked = smoothed(t, self.before, asked)
        if self.asked is not asked:
            self._out = []
        t.trips += self._kept

    def slow(
        self, name: str, why: str, smoothed: Callable[[Tick, np.ndarray, np.ndarray], np.ndarray],
        share: float | None = None,
    ) -> None:  # fmt: skip
        """Go more slowly, the same way, as far as the brakes allow."""
        t = self._t
        share = t.cfg.slow_scale if share is None else share
        t.trip(name, f"{why}: slowed to {share:.2f}")
        self._kept.append(t.trips[-1])
        if self.by_position:
            if share < t.pace:
                t.pace = share
                self.ask(smoothed)
            return
        scaled = share * self.asked
        braked = (scaled * self.still >= 0.0) & (np.abs(scaled) < np.abs(self.still))
        self.asked, self._out = np.where(braked, self.still, scaled), []

    def leave(self, share: float | None = None) -> list[float]:
        """The output (A,)."""
        t = self._t
        if share is not None:
            self.share = share
        if self.share == 1.0 and self._out:
            return self._out
        rates = self.rates
        t.pace = min(t.pace, self.share)
        if not self.by_position:
            return t.body.take(rates.tolist())
        t.s.rate = rates.tolist()
        return [p + v * self.dt for p, v in zip(t.s.out, t.s.rate, strict=True)]
