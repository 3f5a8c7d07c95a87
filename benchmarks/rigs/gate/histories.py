# SPDX-License-Identifier: Apache-2.0
"""Random histories: any body, an honest plant, random commands, while faults come, overlap and go.

A history draws its body, its world and what happens from its seed. After every tick the judges look at what the gate
was given, what it let out, and where the robot truly is. A history is repeated by its kind and seed.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from benchmarks.rigs.gate import bodies, faults, plant
from benchmarks.rigs.gate.arm_judge import ArmJudge
from benchmarks.rigs.gate.arm_truth import Truth, truth_of
from benchmarks.rigs.gate.bodies import Machine
from benchmarks.rigs.gate.judge import Judge
from benchmarks.rigs.gate.senses import Senses
from benchmarks.rigs.gate.situations import Drive, situation
from jepa_ros.errors import JepaRosError
from jepa_ros.safety import Gate, GateInputs, GateOutput, Requests, parse_guardrails

#: Rules that may be broken in one history before it ends.
ENOUGH = 3


class History:
    """One history.

    Args:
        kind: bases, joints or arms. seed: repeats it. without: rows that its gate lacks (mutation).

    Attributes:
        machine, gate, state, plant, senses: who takes part. truth, links: an arm's links, and who judges them.
        steady, ros: clocks of the next tick. inputs: of the last.
        until: (tick, what ends a fault then).
    """

    def __init__(self, kind: str, seed: int, without: frozenset[str] = frozenset()) -> None:
        self.kind, self.seed = kind, seed
        self.rng = rng = random.Random(f"{kind} {seed}")
        body = bodies.draw(rng, kind, without)
        self.machine: Machine = body.machine
        self.gate: Gate = body.gate
        self.scale, self.refused = body.scale, body.refused
        self.state = self.gate.initial_state()
        self.plant = plant.drawn(rng, self.machine, body.start)
        self.truth: Truth | None = truth_of(self.machine.contract) if kind == "arms" else None
        noise = rng.choice((0.0, 0.0, 0.003)) * self.scale
        self.senses = Senses(rng, self.machine, self.scale, noise)
        self.senses.signals = {"surprise": 0.1, "novelty": 0.1} if rng.random() < 0.9 else {}
        self.senses.hash = self.gate.config.guardrails.hash
        self.steady, self.ros, self.ros_rate = 100.0, 5000.0, 1.0
        self.tick_index = 0
        self.inputs = GateInputs()
        self.requests = Requests()
        self.until: list[tuple[int, Callable[[], Any]]] = []
        self.ticks = rng.randrange(50, 130)
        self.rate = rng.choice((0.0, 0.01, 0.03, 0.06))  # of faults, a tick
        self.late = 0  # every so many ticks the gate is not run for a while
        self.hold = rng.choice((4, 10, 25))  # ticks for which a command is kept
        self.drive: Drive = self._random
        self.outputs: list[GateOutput] | None = None
        self.judge = Judge(self)
        self.links = ArmJudge(self) if self.truth is not None else None
        self.broken: list[str] = []
        if "people" in self.machine.states and rng.random() < 0.8:
            self.senses.world.people = []
        situation(self)

    def run(self, ticks: int | None = None) -> list[str]:
        """Play it; every rule that was broken, as a sentence (the first few)."""
        for k in range(ticks or self.ticks):
            self.tick(k)
            if len(self.broken) >= ENOUGH:
                break
        if self.links is not None:
            self.broken += [f"{self.kind} {self.seed}, {text}" for text in self.links.verdicts()]
        return self.broken

    def tick(self, k: int) -> GateOutput:
        """One tick of the gate, and the time until the next."""
        rng = self.rng
        if self.until:
            due = [undo for end, undo in self.until if end <= k]
            self.until = [entry for entry in self.until if entry[0] > k]
            for undo in due:
                undo()
        if k % self.hold == 0:
            self.senses.command = self.drive(k)
        passed = self.machine.period
        if self.late and k % self.late == self.late - 1:
            passed = 0.3
        if k > 5 and self.rate and rng.random() < self.rate:
            gap = faults.begin(self, k)
            passed = passed if gap is None else gap
        self.senses.gather(k, self.plant, self.steady, self.ros)
        self.inputs = self.senses.inputs(self.requests)
        self.requests = Requests()
        self.state, out = self.gate.step(self.state, self.inputs, self.steady, self.ros)
        found = self.judge.look(out)
        if found:
            self.broken += [f"{self.kind} {self.seed}, tick {k}: {text}" for text in found]
        if self.outputs is not None:
            self.outputs.append(out)
        if out.publish:
            self.plant.command(out.values.tolist())
        if passed > 0.0:
            self.plant.advance(passed)
        if self.links is not None:
            self.links.note(k, out, passed, self.ros_rate != 1.0 or not math.isfinite(self.ros))
        self.steady += passed
        self.ros += passed * self.ros_rate
        self.tick_index = k + 1
        return out

    def change_guardrails(self, items: list[dict[str, Any]]) -> bool:
        """Another set, as the node would take it; False where the gate refuses it and keeps the old one."""
        try:
            self.gate = self.gate.with_guardrails(parse_guardrails(items))
        except JepaRosError:
            return False
        self.senses.hash = self.gate.config.guardrails.hash
        self.judge.place.changed()
        return True

    # ------------------------------------------------------------ commands

    def _random(self, k: int) -> list[float] | None:
        rng, m = self.rng, self.machine
        style = rng.random()
        if style < 0.03:
            return None
        if style < 0.05:
            return [rng.choice(faults.WILD) for _ in range(m.size)]
        if style < 0.5:
            return [1.5 * rng.choice((lo, hi, 0.0)) if not m.position else rng.choice((lo, hi, q))
                    for lo, hi, q in zip(m.low, m.high, self.plant.q)]  # fmt: skip
        beyond = 0.2
        return [rng.uniform(lo - beyond * (hi - lo), hi + beyond * (hi - lo)) for lo, hi in zip(m.low, m.high)]


def play(job: tuple[str, range, frozenset[str], int]) -> tuple[int, int, list[str], dict[str, int], dict[str, int]]:
    """Play histories of a kind: (how many, ticks, the first rules broken, reasons met, bodies refused)."""
    kind, seeds, without, most = job
    broken: list[str] = []
    counts: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    played = ticks = 0
    for seed in seeds:
        history = None
        try:
            history = History(kind, seed, without)
            broken += history.run()[:ENOUGH]
        except Exception as error:  # only a gate that lacks its own net lets one through
            broken.append(f"{kind} {seed}: {type(error).__name__}: {error}")
        if history is not None:
            counts.update(history.judge.counts)
            refused.update(history.refused)
            ticks += history.tick_index
        played += 1
        if len(broken) >= most:
            break
    return played, ticks, broken[:most], dict(counts), dict(refused)
