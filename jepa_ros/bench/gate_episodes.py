# SPDX-License-Identifier: Apache-2.0
"""Episodes in the physics simulator with a planner that wants to do harm: it drives at forbidden regions at full speed.

The gate sees what a gate sees (a localisation with noise, odometry that drifts, wheels that slip, everything late); the
simulator's truth is for scoring alone. The same episodes are driven without the gate, to show that the harm is real.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import numpy as np

from jepa_ros.robot import load_contract
from jepa_ros.safety import CommandIn, ContactIn, Gate, GateConfig, GateInputs, ImageIn, OdomIn, PoseIn, ScanIn
from jepa_ros.safety.guardrails import Guardrail, GuardrailSet, parse_guardrails

#: Ticks of 20 ms between two messages of each sensor, as the simulated robot publishes them.
EVERY = {"image": 5, "odom": 2, "pose": 5, "scan": 5}
#: The planner changes its mind so often [s].
MOOD = 2.5


@dataclass(frozen=True)
class Episode:
    """What came of one episode.

    Attributes:
        room: least room between the footprint and any forbidden region [m]; negative is a violation. name: which one.
        driven: metres. stopped: share of the ticks in which the gate stopped it. contact: touched a wall.
    """

    seed: int
    gate: bool
    room: float
    name: str
    driven: float
    stopped: float
    contact: bool


def zones(rng: random.Random) -> GuardrailSet:
    """A fence inside the walls, and two or three zones that leave the middle free."""
    items: list[dict[str, Any]] = [
        {"name": "fence", "kind": "keep_in", "unit": "m",
         "box": {"center": [0, 0], "size": [1.7, 1.7], "yaw": 0.0}},
    ]  # fmt: skip
    first = rng.uniform(0.0, 2.0 * math.pi)
    for k in range(rng.choice((2, 3))):
        angle, away = first + k * 2.1 + rng.uniform(-0.3, 0.3), rng.uniform(0.45, 0.6)
        x, y = away * math.cos(angle), away * math.sin(angle)
        item: dict[str, Any] = {"name": f"zone{k}", "kind": "keep_out", "unit": "m"}
        if rng.random() < 0.5:
            item["circle"] = {"center": [x, y], "radius": rng.uniform(0.06, 0.14)}
        else:
            turn = rng.uniform(0.0, 2.0 * math.pi)
            sides = rng.choice((3, 4, 5))
            radii = [rng.uniform(0.07, 0.16) for _ in range(sides)]
            item["polygon"] = [
                [x + r * math.cos(turn + 2 * math.pi * i / sides), y + r * math.sin(turn + 2 * math.pi * i / sides)]
                for i, r in enumerate(radii)
            ]
        items.append(item)
    return parse_guardrails(items)


class Adversary:
    """Steers at one forbidden thing after the other at full speed, forwards or backwards; now and then at random."""

    def __init__(self, rails: GuardrailSet, rng: random.Random, high: np.ndarray) -> None:
        self.rails, self.rng, self.high = rails, rng, high
        self.until = -1.0
        self.target: Guardrail = next(iter(rails))
        self.backwards = self.wild = False
        self.whim = [0.0, 0.0]

    def act(self, time: float, x: float, y: float, yaw: float) -> list[float]:
        """The command for a robot that truly stands at (x, y, yaw)."""
        rng = self.rng
        if time >= self.until:
            self.until = time + MOOD
            self.target = rng.choice(list(self.rails))
            self.backwards, self.wild = rng.random() < 0.3, rng.random() < 0.2
            self.whim = [rng.choice((-1, 1)) * self.high[0], rng.uniform(-1, 1) * self.high[1]]
        if self.wild:
            return list(self.whim)
        step = 1e-3  # downhill on the room that is left
        here = self.target.clearance(x, y, 0.0)
        gx = self.target.clearance(x + step, y, 0.0) - here
        gy = self.target.clearance(x, y + step, 0.0) - here
        wanted = math.atan2(-gy, -gx) - yaw + (math.pi if self.backwards else 0.0)
        error = (wanted + math.pi) % (2.0 * math.pi) - math.pi
        turn = max(-self.high[1], min(self.high[1], 6.0 * error))
        speed = self.high[0] if abs(error) < 0.6 else 0.0
        return [-speed if self.backwards else speed, turn]


def drive(seed: int, with_gate: bool, seconds: float = 10.0) -> Episode:
    """One episode in a scene whose looks, slip and latency are drawn from the seed."""
    from jepa_ros_sim import ArenaSim, SceneConfig

    rng = random.Random(seed)
    contract = load_contract("arena")
    rails = zones(rng)
    gate = Gate(GateConfig.from_contract(contract, auto_enable=True, guardrails=rails, rearm_time=0.1))
    state = gate.initial_state()
    adversary = Adversary(rails, rng, contract.action_high)
    period, radius = 1.0 / contract.gate_rate, contract.footprint.radius
    newest: dict[str, Any] = {}
    command: list[float] = [0.0, 0.0]
    least, name, driven, stopped = math.inf, "", 0.0, 0
    with ArenaSim(contract, SceneConfig(layout="empty", randomise=True)) as sim:
        sim.reset(seed=seed, start=(0.0, 0.0, rng.uniform(-math.pi, math.pi)))
        ticks = round(seconds / period)
        latency = round(contract.actuation_latency / period)
        coming: list[CommandIn] = []
        touched = False
        for k in range(ticks):
            now, truth = sim.time, sim.truth()
            if k % round(contract.gate_rate / contract.rate) == 0:
                command = adversary.act(now, truth.x, truth.y, truth.yaw)
                coming.append(CommandIn(command, now, now + latency * period, k))
            _sense(sim, k, now, contract, newest, rng)
            while coming and coming[0].received <= now + 1e-9:
                newest["command"] = coming.pop(0)
            if with_gate:
                beats = dict.fromkeys(("perception", "planner"), now)
                inputs = GateInputs(**newest, heartbeats=beats, output_publishers=1)
                state, out = gate.step(state, inputs, now, now)
                sim.set_command(out.values)
                stopped += not out.values.any()
            else:
                sim.set_command(np.asarray(newest["command"].values if "command" in newest else [0.0, 0.0]))
            sim.advance(period)
            after = sim.truth()
            driven += math.hypot(after.x - truth.x, after.y - truth.y)
            touched = touched or bool(after.contact)
            for g in rails:
                room = float(g.clearance(after.x, after.y, radius))
                if room < least:
                    least, name = room, g.name
    return Episode(seed, with_gate, least, name, driven, stopped / ticks, touched)


def _sense(sim: Any, k: int, now: float, contract: Any, newest: dict[str, Any], rng: random.Random) -> None:
    """What the sensors publish at this tick."""
    frames = contract.frames
    if k % EVERY["image"] == 0:
        newest["image"] = ImageIn(now, now, rng.getrandbits(32))
    if k % EVERY["odom"] == 0:
        x, y, yaw, v, w = sim.odom()
        newest["odom"] = OdomIn(now, now, x, y, yaw, (v, w), frames.odom)
        newest["contact"] = ContactIn(now, now, sim.contact())
    if k % EVERY["pose"] == 0:
        x, y, yaw, cov = sim.pose()
        newest["pose"] = PoseIn(now, now, x, y, yaw, cov, frames.map)
    if k % EVERY["scan"] == 0:
        s = sim.scan()
        newest["scan"] = ScanIn(
            now, now, s.angle_min, s.angle_increment, s.ranges, s.range_min, s.range_max, frames.base
        )
