# SPDX-License-Identifier: Apache-2.0
"""A plant whose inputs are all good, under the gate or under what stands in its place."""

from __future__ import annotations

import random
from collections.abc import Callable

from benchmarks.rigs.gate.bodies import Machine
from benchmarks.rigs.gate.plant import Plant
from benchmarks.rigs.gate.senses import Senses
from jepa_ros.contract import RobotContract
from jepa_ros.safety import Gate, GateConfig, Requests


class Run:
    """A plant under a filter of commands: the gate, or what stands in its place.

    Args:
        machine: the body. filtered: (commands asked for, run) -> what leaves. posts: of the scan (x, y, radius).
    """

    def __init__(self, machine: Machine, gate: Gate | None, posts: tuple[tuple[float, float, float], ...] = (),
                 q: list[float] | None = None) -> None:  # fmt: skip
        self.machine, self.gate = machine, gate
        self.plant = Plant(machine, delay=machine.reaction, q=q)
        self.senses = Senses(random.Random(0), machine, 4.0 * machine.radius + 4.0 * machine.way(), 0.0)
        self.senses.world.posts = list(posts)
        self.senses.world.people = []
        self.state = None if gate is None else gate.initial_state()
        self.steady, self.k = 100.0, 0
        self.reason = ""
        self.last: list[float] = []  # what left at the tick before

    def tick(self, asked: list[float], oracle: Callable[[list[float], Plant], list[float]] | None = None) -> None:
        """One tick under a command."""
        m = self.machine
        if self.gate is None:
            values = asked if oracle is None else oracle(asked, self.plant)
            if not m.position:  # the drive's ramps, as the gate keeps them
                values = self._ramped(values)
        else:
            self.senses.command = asked
            self.senses.gather(self.k, self.plant, self.steady, 5000.0 + self.steady)
            assert self.state is not None
            inputs = self.senses.inputs(Requests())
            self.state, out = self.gate.step(self.state, inputs, self.steady, 5000.0 + self.steady)
            values, self.reason = out.values.tolist(), f"{out.mode.name} {out.reason}"
            if not out.publish:
                values = []
        if values:
            self.plant.command(values)
        self.plant.advance(m.period)
        self.steady += m.period
        self.k += 1
        self.last = values

    def _ramped(self, values: list[float]) -> list[float]:
        m, before = self.machine, self.last or [0.0] * self.machine.size
        most = [max(m.acceleration[k], m.braking[k] if abs(u) < abs(b) else 0.0) * m.period
                for k, (u, b) in enumerate(zip(values, before))]  # fmt: skip
        return [b + max(-n, min(n, u - b)) for u, b, n in zip(values, before, most)]


def gate_of(contract: RobotContract) -> Gate:
    """The gate of a contract, armed by itself."""
    return Gate(GateConfig.from_contract(contract, auto_enable=True))
