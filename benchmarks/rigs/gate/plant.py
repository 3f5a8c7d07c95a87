# SPDX-License-Identifier: Apache-2.0
"""Robots that do what their contract guarantees, and nothing better: the worst that is still honest.

A command takes effect after a delay of at most the reaction time. An axis that slows down or turns back brakes at
exactly ``limits.braking``, each by itself or all by one ratio; an axis that speeds up follows the command, or lags
behind it at ``limits.acceleration``. Joints that are commanded by position track the set-point late, and sag.
"""

from __future__ import annotations

import math
import random
from collections import deque
from typing import Any

from benchmarks.rigs.gate.bodies import Machine

#: Parts that a tick is integrated in.
PARTS = 4
#: Joints stand off their set-points by at most so much: less than what counts as moved (docs/safety.md).
SAGS = {"rad": 0.02, "m": 0.002}
#: An arm's joints sag by this share of it: its links are long.
ARM_SAG = 0.2
#: How a base brakes: each axis by itself, or all by one ratio.
MODES = ("axis", "ratio")
#: Of times [s].
ROUNDING = 1e-9


class Plant:
    """The true robot.

    Args:
        delay: s from a command's leaving until it takes effect. mode: how axes brake together. exact: the drive follows
            the command's acceleration; else it speeds up at ``limits.acceleration`` and no faster.
        lag: time constant of position tracking [s]. sag: how far each joint stands off its set-point.

    Attributes:
        v: velocities (A,). x, y, z, yaw: of a base. q: of joints. broken: obeys no stop. jammed: one axis stands.
    """

    def __init__(
        self, machine: Machine, *, delay: float, mode: str = "axis", exact: bool = True, lag: float = 0.0,
        sag: list[float] | None = None, q: list[float] | None = None,
    ) -> None:  # fmt: skip
        self.machine, self.delay, self.mode, self.exact, self.lag = machine, delay, mode, exact, lag
        size = machine.size
        self.v = [0.0] * size
        self.x = self.y = self.z = self.yaw = 0.0
        self.q = list(q) if q is not None else [0.0] * size
        self.sag = sag or [0.0] * size
        self.tracked = [a - s for a, s in zip(self.q, self.sag)]
        self.broken = False
        self.jammed: int | None = None
        self.time = 0.0
        self._new, self._new_at = False, 0.0  # a command was heard just now, and when
        self._heard: list[float] | None = None if machine.position else [0.0] * size
        self._coming: deque[tuple[float, list[float]]] = deque()

    def command(self, values: list[float]) -> None:
        """A command leaves the gate now; what is no number no driver takes."""
        if all(map(math.isfinite, values)):
            self._coming.append((self.time + self.delay, values))

    def advance(self, seconds: float) -> None:
        """Move on; what came from the gate takes effect when it is due."""
        period = self.machine.period
        parts = PARTS if seconds <= 2.0 * period else min(400, math.ceil(PARTS * seconds / period))
        h = seconds / parts
        before = self.tracked
        end = self.time + seconds
        while self.time < end - ROUNDING:
            while self._coming and self._coming[0][0] <= self.time + ROUNDING:
                self._heard = self._coming.popleft()[1]
                self._new, self._new_at = True, self.time
            due = self._coming[0][0] if self._coming else math.inf  # not later than promised
            step = min(h, end - self.time, max(due - self.time, 1e-6))
            self.time += step
            if self.machine.position:
                self._track(step)
            else:
                self._drive(step)
        if self.machine.position:
            self.v = [(a - b) / seconds for a, b in zip(self.tracked, before)]

    def _drive(self, h: float) -> None:
        m, v = self.machine, self.v
        if not self.broken:
            heard = self._heard
            assert heard is not None
            if heard != v:
                v = self._towards(heard, h)
            if self.jammed is not None:
                v[self.jammed] = 0.0
        old, self.v = self.v, v
        if m.joints:
            self.q = [q + 0.5 * (a + b) * h for q, a, b in zip(self.q, old, v)]
            return
        vx = 0.0 if m.x is None else 0.5 * (old[m.x] + v[m.x])
        vy = 0.0 if m.y is None else 0.5 * (old[m.y] + v[m.y])
        w = 0.0 if m.turn is None else 0.5 * (old[m.turn] + v[m.turn])
        if m.z is not None:
            self.z += 0.5 * (old[m.z] + v[m.z]) * h
        if vx or vy:
            angle = self.yaw + 0.5 * w * h
            c, s = math.cos(angle), math.sin(angle)
            self.x += (c * vx - s * vy) * h
            self.y += (s * vx + c * vy) * h
        self.yaw += w * h

    def _towards(self, heard: list[float], h: float) -> list[float]:
        """The velocities after ``h`` s. By one ratio: the axes that brake set it. None speeds up faster than it may."""
        m = self.machine
        if self.exact:  # the whole step of a new command at once, nothing more until the next
            up = m.period if self._new else h if self.time - self._new_at > 1.5 * m.period else 0.0
        else:
            up = h
        self._new = False
        changes = [u - v for u, v in zip(heard, self.v)]
        brakes = [d * v < 0.0 for d, v in zip(changes, self.v)]
        share = 1.0
        if self.mode == "ratio":
            share = min([1.0] + [b * h / abs(d) for d, slow, b in zip(changes, brakes, m.braking)
                                 if slow and abs(d) > b * h])  # fmt: skip
        after = []
        for v, d, slow, a, b in zip(self.v, changes, brakes, m.acceleration, m.braking):
            most = b * h if slow else a * up
            step = share * d
            if slow and abs(step) > abs(v) + a * h:  # through zero: there it brakes no more
                step = math.copysign(max(abs(v), min(abs(step), abs(v) + a * h)), d)
            after.append(v + (step if abs(step) <= most else math.copysign(most, d)))
        return after

    def _track(self, h: float) -> None:
        """Set-points are followed late, and never faster than the machine can move."""
        if self._heard is None:
            return
        share = 1.0 if self.lag <= 0.0 else 1.0 - math.exp(-h / self.lag)
        self.tracked = [t + share * (p - t) for p, t in zip(self._heard, self.tracked)]
        self.q = [t + s for t, s in zip(self.tracked, self.sag)]

    def push(self, by: list[float]) -> None:
        """Joints moved by hand, drives off: they stay where they were put until they are told otherwise."""
        self.q = [q + d for q, d in zip(self.q, by)]
        self.tracked = [q - s for q, s in zip(self.q, self.sag)]
        self._heard = None if self.machine.position else self._heard
        self._coming.clear()

    def speed(self) -> float:
        """Of the body through space [m/s], up and down included."""
        m = self.machine
        return math.sqrt(sum(self.v[k] ** 2 for k in (m.x, m.y, m.z) if k is not None))


def drawn(rng: random.Random, machine: Machine, start: list[float] | None = None) -> Plant:
    """A plant of this machine, as bad as it may be; an arm stands at the posture ``start``."""
    delay = rng.choice((machine.reaction, machine.reaction, rng.uniform(0.0, machine.reaction), 0.0))
    mode = rng.choice(MODES) if not machine.joints else "axis"  # joints have drives of their own
    options: dict[str, Any] = {"delay": delay, "mode": mode, "exact": rng.random() < 0.7}
    if machine.ends is not None:
        spans = list(zip(*machine.ends))
        options["q"] = [a + (b - a) * rng.uniform(0.1, 0.9) for a, b in spans]
        if machine.position:
            options["lag"] = rng.choice((0.0, machine.period * rng.uniform(0.0, 8.0)))
            if rng.random() < 0.3:
                share = 1.0 if start is None else ARM_SAG
                options["sag"] = [share * min(SAGS[u], 0.003 * (b - a)) * rng.uniform(-1.0, 1.0)
                                  for u, (a, b) in zip(machine.units, spans)]  # fmt: skip
    if start is not None:
        options["q"] = start
    return Plant(machine, **options)
