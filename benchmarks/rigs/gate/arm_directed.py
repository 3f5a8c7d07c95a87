# SPDX-License-Identifier: Apache-2.0
"""A named arm among boxes, for the directed search: where its links come to under the worst commands."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np

from benchmarks.rigs.gate.arm_truth import truth_of
from benchmarks.rigs.gate.arms import OPENING, PANDA_HOME, panda
from benchmarks.rigs.gate.bodies import Machine
from benchmarks.rigs.gate.plant import Plant
from benchmarks.rigs.gate.senses import Senses
from jepa_ros.contract import RobotContract
from jepa_ros.safety import Gate, GateConfig, GateOutput, Requests

#: Name: what its joints are commanded by.
ARMS = {"panda_positions": "position", "panda_rates": "velocity"}
#: Legs of commands in a trial, and seconds that it lasts.
LEGS, SECONDS = 4, 2.4
#: A table, posts on both sides, a shelf above and a wall behind.
BOXES: tuple[dict[str, Any], ...] = (
    {"center": [0.4, 0.0, -0.06], "size": [1.2, 1.6, 0.1]},
    {"center": [0.4, 0.42, 0.3], "size": [0.3, 0.1, 0.6], "yaw": 0.4},
    {"center": [0.45, -0.4, 0.2], "size": [0.1, 0.1, 0.5]},
    {"center": [0.6, 0.0, 0.85], "size": [0.5, 0.8, 0.1]},
    {"center": [-0.55, 0.0, 0.5], "size": [0.1, 1.2, 1.0]},
)


class SearchedArm:
    """As :class:`benchmarks.rigs.gate.directed.Searched`, for an arm: the room is that of any link to any box."""

    def __init__(self, name: str) -> None:
        self.name = name
        rails = [{"name": f"box{k}", "kind": "keep_out", "unit": "m", "box": box} for k, box in enumerate(BOXES)]
        data = panda(values=ARMS[name], guardrails=rails)
        contract = RobotContract.from_dict(data, name)
        # With the arm's own rows off nothing stops it but the boxes.
        settings = {"singularity": None, "self_collision": False, "first_command": 10.0}
        self.machine, self.truth = Machine(contract, settings), truth_of(contract)
        self.gate = Gate(GateConfig.from_contract(contract, auto_enable=True, **settings))
        self.count = 14 + LEGS * (self.machine.size + 1)
        self.outputs: list[GateOutput] | None = None

    def trial(self, genes: list[float]) -> tuple[float, str]:
        """Play one: (least room of a link to a box, when and where)."""
        m = self.machine
        assert m.ends is not None
        low, high = np.array(m.ends)
        start = np.clip(np.array([*PANDA_HOME, OPENING]) + (2.0 * np.array(genes[:8]) - 1.0) * 0.5, low, high)
        start[-1] = OPENING
        if self._rooms(start[None]).min() < 0.02:
            return math.inf, "starts too near"
        lag = m.period * 6.0 * genes[8] if genes[8] > 0.3 else 0.0
        plant = Plant(m, delay=m.reaction * min(1.0, genes[9] / 0.6), exact=genes[10] < 0.7, lag=lag, q=start.tolist())
        senses = Senses(random.Random(int(genes[11] * 16)), m, 1.0, 0.0)
        lead = 0.05 + 0.9 * genes[12] ** 2
        legs, at, end = [], 14, 0.0
        for _ in range(LEGS):
            end += 0.1 + 1.2 * genes[at] ** 2
            legs.append((end, np.array(genes[at + 1 : at + 1 + m.size])))
            at += m.size + 1
        state, steady, leg = self.gate.initial_state(), 100.0, 0
        told, real, said = [], [], []
        for k in range(round(SECONDS / m.period)):
            passed = k * m.period - 0.15
            while leg < LEGS - 1 and passed > legs[leg][0]:
                leg += 1
            if m.position:
                way = low + (high - low) * legs[leg][1] - np.array(plant.q)
                senses.command = (np.array(plant.q) + np.clip(way, -lead, lead)).tolist()
            else:
                senses.command = np.clip(3.0 * (legs[leg][1] - 0.5) * np.array(m.velocity), m.low, m.high).tolist()
            senses.gather(k, plant, steady, 5000.0 + steady)
            state, out = self.gate.step(state, senses.inputs(Requests()), steady, 5000.0 + steady)
            if self.outputs is not None:
                self.outputs.append(out)
            if out.publish:
                plant.command(out.values.tolist())
            plant.advance(m.period)
            steady += m.period
            real.append(list(plant.q))
            told.append(out.values.tolist() if m.position and out.publish else list(plant.q))
            said.append(f"{out.mode.name} {out.reason}")
        rooms = self._rooms(np.array(told + real))
        box, tick = np.unravel_index(int(rooms.argmin()), rooms.shape)
        k = int(tick) % len(said)
        return float(rooms[box, tick]), f"box{box} after {k * m.period:.2f} s, {said[k]}"

    def _rooms(self, q: np.ndarray) -> np.ndarray:
        """(K, N) of the boxes at axis positions (N, A)."""
        ends = self.truth.ends(q)
        return np.stack([self.truth.outside(ends, box, steps=14) for box in BOXES])
