# SPDX-License-Identifier: Apache-2.0
"""The worst that commands can do to regions, found by optimisation against the gate and an honest plant.

A trial is a start, a few legs of commands, and how the base brakes, obeys and is measured; all of it one list of genes
in 0 .. 1. From random trials the one that comes nearest to a region is changed again and again, and what comes nearer
is kept; where nothing does for a while, the search begins anew. A trial that enters a region is repeated by its genes.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.rigs.gate.arm_directed import ARMS, SearchedArm
from benchmarks.rigs.gate.bodies import Machine
from benchmarks.rigs.gate.named import BODIES, SENSES, places, size_of
from benchmarks.rigs.gate.plant import Plant
from benchmarks.rigs.gate.senses import Senses
from jepa_ros.contract import RobotContract
from jepa_ros.safety import Gate, GateConfig, GateOutput, Requests

#: Legs of commands in a trial, and seconds that it lasts.
LEGS, SECONDS = 6, 4.0
#: Random trials of a start of the search; changes without getting nearer until it begins anew.
FIRST, PATIENCE = 30, 120


@dataclass
class Found:
    """What a search of one body found: least room to any region [m], and the genes of the trial with it."""

    body: str
    trials: int
    starts: int
    entered: int
    room: float
    genes: list[float]
    where: str
    seconds: float


class Searched:
    """A named body among its regions.

    Args:
        late: its pose comes at every tick and so many ticks late; None: as drawn for each trial.
    """

    def __init__(self, name: str, late: int | None = None) -> None:
        self.name, self.late = name, late
        self.size = size_of(name)
        rails = places(self.size)
        contract = RobotContract.from_dict({**BODIES[name], "state": SENSES, "guardrails": rails}, name)
        self.machine = Machine(contract, {})
        self.gate = Gate(GateConfig.from_contract(contract, auto_enable=True))
        self.regions = self.gate.config.guardrails.of("keep_in", "keep_out")
        self.count = 8 + LEGS * (self.machine.size + 1)
        self.outputs: list[GateOutput] | None = None  # where what leaves is kept, if anywhere

    def nearest(self, x: float, y: float) -> tuple[float, str]:
        """The least room to a region [m], and its name."""
        return min((float(g.clearance(x, y, self.machine.radius)), g.name) for g in self.regions)

    def trial(self, genes: list[float]) -> tuple[float, str]:
        """Play one: (least room to a region from its start on, when and where)."""
        m, half = self.machine, 2.6 * self.size
        x, y, yaw = (2.0 * genes[0] - 1.0) * half, (2.0 * genes[1] - 1.0) * half, 2.0 * math.pi * genes[2]
        if self.nearest(x, y)[0] < 0.05 * self.size:
            return math.inf, "starts too near"
        mode = ("axis", "ratio")[genes[3] > 0.5]
        plant = Plant(
            m, delay=m.reaction * (1.0 if genes[4] > 0.4 else genes[4] / 0.4), mode=mode, exact=genes[5] < 0.7
        )
        plant.x, plant.y, plant.yaw = x, y, yaw
        senses = Senses(random.Random(int(genes[6] * 16)), m, 1.0, 0.0)
        if self.late is not None:
            senses.rates["pose"] = (1, 0, self.late)
        legs, at, end = [], 8, 0.0
        for _ in range(LEGS):
            end += 0.05 + 1.2 * genes[at] ** 2
            values = [min(hi, max(lo, lo + (hi - lo) * (1.3 * g - 0.15))) for g, lo, hi in zip(
                genes[at + 1:at + 1 + m.size], m.low, m.high)]  # fmt: skip
            legs.append((end, values))
            at += m.size + 1
        state, steady, leg = self.gate.initial_state(), 100.0, 0
        least, where = math.inf, ""
        requests = Requests()
        for k in range(round(SECONDS / m.period)):
            passed = k * m.period - 0.15
            while leg < LEGS - 1 and passed > legs[leg][0]:
                leg += 1
            senses.command = legs[leg][1]
            senses.gather(k, plant, steady, 5000.0 + steady)
            state, out = self.gate.step(state, senses.inputs(requests), steady, 5000.0 + steady)
            if self.outputs is not None:
                self.outputs.append(out)
            plant.command(out.values.tolist())
            plant.advance(m.period)
            steady += m.period
            room, name = self.nearest(plant.x, plant.y)
            if room < least:
                least, where = room, f"{name} after {k * m.period:.2f} s, {out.mode.name} {out.reason}"
        return least, where


def body_of(name: str) -> Searched | SearchedArm:
    """A named body among what it must not enter."""
    return SearchedArm(name) if name in ARMS else Searched(name)


def drawn(body: Searched | SearchedArm, seed: str) -> list[float]:
    """The genes of a random trial."""
    rng = random.Random(f"{body.name} {seed}")
    return [rng.random() for _ in range(body.count)]


def search(job: tuple[str, float, int, int]) -> Found:
    """Search one body for so many minutes, from a seed and the number of its first start."""
    name, minutes, seed, first = job
    begun = time.monotonic()
    body = body_of(name)
    best, best_genes, best_where = math.inf, list[float](), ""
    trials = starts = entered = 0
    while time.monotonic() - begun < 60.0 * minutes or not starts:
        rng = random.Random(f"{name} {seed} {first + starts}")
        starts += 1
        room, genes, where, stuck = math.inf, list[float](), "", 0
        spread = 0.3
        for k in range(10**9):
            if k < FIRST or not genes:
                other = [rng.random() for _ in range(body.count)]
            else:
                share = rng.choice((0.1, 0.25, 0.6))
                other = [min(1.0, max(0.0, g + rng.gauss(0.0, spread))) if rng.random() < share else g for g in genes]
            found, place = body.trial(other)
            trials += 1
            if found < room:
                stuck = 0 if found < room - 1e-5 else stuck + 1
                room, genes, where = found, other, place
                spread = min(0.4, spread * 1.1)
            else:
                stuck += 1
                spread = max(0.02, spread * 0.985)
            if stuck > PATIENCE or time.monotonic() - begun >= 60.0 * minutes:
                break
        entered += room < 0.0
        if room < best:
            best, best_genes, best_where = room, genes, where
    return Found(name, trials, starts, entered, best, best_genes, best_where, time.monotonic() - begun)


def together(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Several searches of a body as one."""
    sums = {key: sum(part[key] for part in found) for key in ("trials", "starts", "entered", "seconds")}
    return {**min(found, key=lambda part: float(part["room"])), **sums}


def as_dict(found: Found) -> dict[str, Any]:
    """For the report."""
    return {**vars(found), "genes": [round(g, 6) for g in found.genes]}
