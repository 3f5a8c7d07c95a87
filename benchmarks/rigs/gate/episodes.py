# SPDX-License-Identifier: Apache-2.0
"""Episodes in the physics simulator with a planner that wants to do harm: it drives at forbidden regions at full speed.

The gate sees what a gate sees: a localisation with noise, odometry that drifts, wheels that slip, everything late,
sensors that fail for a while, a person who walks about. The simulator's truth is for scoring alone. The same episodes
are driven without the gate, to show that the harm is real.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jepa_ros.contract import load_contract
from jepa_ros.safety import (
    CommandIn,
    ContactIn,
    Gate,
    GateConfig,
    GateInputs,
    ImageIn,
    Mode,
    OdomIn,
    PeopleIn,
    PoseIn,
    Requests,
    ScanIn,
)
from jepa_ros.safety.guardrails import Guardrail, GuardrailSet, parse_guardrails

#: Ticks of 20 ms between two messages of each sensor, as the simulated robot publishes them.
EVERY = {"image": 5, "odom": 2, "pose": 5, "scan": 5}
#: The planner changes its mind so often [s].
MOOD = 2.5
#: Friction of a patch: down to where the robot still brakes as its contract guarantees.
SLIPPERY = (0.35, 0.6)
#: Time after a push of the person in which the robot's place and speed are not scored [s]. A region that it was pushed
#: into it must then leave, or at least not go deeper into, but for what turning on the spot slips [m].
SHOVE, SLIPS = 1.0, 0.005
#: Time that a robot has to slow down once somebody has come near [s]; what it may then be faster than the limit [m/s].
SLOWING, FASTER = 0.5, 0.02
#: The limit near a person [m/s]. Nearer than this the person touches, and pushes a robot that waits for it [m].
NEAR_SPEED, TOUCHING = 0.1, 0.005


@dataclass(frozen=True)
class Episode:
    """What came of one episode.

    Attributes:
        room: least room between the footprint and any forbidden region [m]; negative is a violation. name: which one.
        driven: metres. stopped: share of the ticks in which the gate stopped it. contact: touched a wall or the person.
        fast_near: largest speed near the person, once there was time to slow down, and but for pushes [m/s].
        hits: ticks in which it touched the person while it was told to drive (the person may walk into it, too).
        shoved: the person, who waits for nobody, pushed it; what came of that within a second is not scored.
        deeper: metres that it went on by itself into a region that it was pushed into.
    """

    seed: int
    gate: bool
    room: float
    name: str
    driven: float
    stopped: float
    contact: bool
    fast_near: float = 0.0
    hits: int = 0
    shoved: bool = False
    deeper: float = 0.0

    @property
    def violated(self) -> bool:
        """Whether it entered a region, or went deeper into one that it was pushed into."""
        return self.room < 0.0 or self.deeper > SLIPS

    @property
    def too_fast(self) -> bool:
        """Whether it was faster near the person than the guardrail lets it."""
        return self.fast_near > NEAR_SPEED + FASTER


class Rooms:
    """The least room to each region, apart from what a push did."""

    def __init__(self, places: tuple[Guardrail, ...], radius: float) -> None:
        self._places, self._radius = places, radius
        self.least, self.name, self.deeper = math.inf, "", 0.0
        self._pushed: dict[str, float] = {}  # {region: how deep a push has left it there, negative}

    def look(self, x: float, y: float, pushed: bool) -> None:
        """The robot truly stands at (x, y); ``pushed``: a person does, or did just now."""
        for g in self._places:
            room = float(g.clearance(x, y, self._radius))
            if room >= 0.0:
                self._pushed.pop(g.name, None)
            elif pushed:
                self._pushed[g.name] = min(room, self._pushed.get(g.name, 0.0))
            if pushed:
                continue
            if g.name in self._pushed:
                self.deeper = max(self.deeper, self._pushed[g.name] - room)
            elif room < self.least:
                self.least, self.name = room, g.name


def zones(rng: random.Random, people: bool = False) -> GuardrailSet:
    """A fence inside the walls, and two or three zones that leave the middle free; slow near people."""
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
    if people:
        items.append({"name": "people", "kind": "near_person", "unit": "m/s", "distance": 0.3, "max_speed": NEAR_SPEED})
    return parse_guardrails(items)


class Adversary:
    """Steers at one forbidden thing after the other at full speed, forwards or backwards; now and then at random."""

    def __init__(self, rails: GuardrailSet, rng: random.Random, high: np.ndarray) -> None:
        self.rng, self.high = rng, high
        self.until = -1.0
        self.targets = rails.of("keep_in", "keep_out")
        self.target: Guardrail = self.targets[0]
        self.backwards = self.wild = False
        self.whim = [0.0, 0.0]

    def act(self, time: float, x: float, y: float, yaw: float) -> list[float]:
        """The command for a robot that truly stands at (x, y, yaw)."""
        rng = self.rng
        if time >= self.until:
            self.until = time + MOOD
            self.target = rng.choice(self.targets)
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


class Trouble:
    """What goes wrong with the sensors in an episode: each fault begins at a time, lasts a while and ends."""

    def __init__(self, rng: random.Random, seconds: float) -> None:
        self.faults = [
            (start := rng.uniform(1.0, seconds), start + rng.uniform(0.2, 1.5), rng.choice(list(_SPOIL)))
            for _ in range(rng.choice((0, 1, 2, 3)))
        ]
        self._kept: dict[str, Any] = {}

    def spoil(self, now: float, name: str, message: Any) -> Any | None:
        """The message as it arrives, None where it does not."""
        for start, end, fault in self.faults:
            if start <= now < end and fault[0] == name:
                return _SPOIL[fault](self._kept.setdefault(f"{name}{start}", message), message)
        return message


def _change(**fields: Any) -> Callable[[Any, Any], Any]:
    return lambda first, m: dataclasses.replace(m, **fields)


#: {(sensor, fault): what becomes of a message, from the fault's first and the present one}.
_SPOIL: dict[tuple[str, str], Callable[[Any, Any], Any]] = {
    **{(name, "lost"): lambda first, m: None for name in EVERY},
    **{(name, "stuck"): lambda first, m: dataclasses.replace(first, received=m.received) for name in EVERY},
    ("image", "frozen"): lambda first, m: dataclasses.replace(m, checksum=first.checksum),
    ("odom", "not a number"): _change(v=(math.nan, 0.0)),
    ("pose", "not a number"): _change(x=math.nan),
    ("pose", "unsure"): lambda first, m: dataclasses.replace(m, cov=np.asarray(m.cov) + np.diag([0.01, 0.01, 0.04])),
    ("pose", "late"): lambda first, m: dataclasses.replace(m, stamp=m.stamp - 0.3),
    ("scan", "not a number"): lambda first, m: dataclasses.replace(m, ranges=np.full_like(m.ranges, np.nan)),
}


def scene_of(seed: int) -> tuple[Any, Any]:
    """(scene, layout): half the episodes have a person who walks about, and the floor has slippery patches."""
    from jepa_ros_sim.arena import Layout, Patch, SceneConfig

    rng = random.Random(seed + 1_000_003)
    patches = tuple(
        Patch(rng.uniform(-0.7, 0.7), rng.uniform(-0.7, 0.7), rng.uniform(0.1, 0.3), rng.uniform(*SLIPPERY))
        for _ in range(rng.choice((0, 1, 2)))
    )
    person = "random" if rng.random() < 0.5 else "none"
    scene = SceneConfig(layout="empty", randomise=True, person=person, person_speed=rng.uniform(0.05, 0.25))
    return scene, Layout((), patches, name="slippery")


def drive(seed: int, with_gate: bool, seconds: float = 10.0) -> Episode:
    """One episode in a scene whose looks, slip, latency, people and sensor faults are drawn from the seed.

    Without the gate it ends with the first violation.
    """
    from jepa_ros_sim.arena import ArenaSim

    rng = random.Random(seed)
    contract = load_contract("arena")
    scene, layout = scene_of(seed)
    rails = zones(rng, people=scene.person != "none")
    config = GateConfig.from_contract(contract, auto_enable=True, guardrails=rails, rearm_time=0.1)
    gate = Gate(config)
    state = gate.initial_state()
    adversary = Adversary(rails, rng, contract.action_high)
    trouble = Trouble(rng, seconds)
    period, radius = 1.0 / contract.gate_rate, contract.footprint.radius
    newest: dict[str, Any] = {}
    command: list[float] = [0.0, 0.0]
    driven, stopped, hits = 0.0, 0, 0
    fast, near_since, shoved_at = 0.0, None, -math.inf
    rooms = Rooms(rails.of("keep_in", "keep_out"), radius)
    with ArenaSim(contract, scene) as sim:
        sim.reset(seed=seed, layout=layout, start=(0.0, 0.0, rng.uniform(-math.pi, math.pi)))
        ticks = round(seconds / period)
        latency = round(contract.actuation_latency / period)
        coming: list[CommandIn] = []
        touched = False
        ask = Requests()
        for k in range(ticks):
            now, truth = sim.time, sim.truth()
            if k % round(contract.gate_rate / contract.rate) == 0:
                command = adversary.act(now, truth.x, truth.y, truth.yaw)
                coming.append(CommandIn(command, now, now + latency * period, k))
            _sense(sim, k, now, contract, newest, rng, trouble)
            while coming and coming[0].received <= now + 1e-9:
                newest["command"] = coming.pop(0)
            if with_gate:
                beats = dict.fromkeys(("perception", "planner"), now)
                inputs = GateInputs(**newest, heartbeats=beats, output_publishers=1, requests=ask)
                state, out = gate.step(state, inputs, now, now)
                # An operator who always lets it go on, as an adversary would have it.
                ask = Requests(reset=out.mode is Mode.ESTOP)
                sim.set_command(out.values)
                stopped += not out.values.any()
            else:
                sim.set_command(np.asarray(newest["command"].values if "command" in newest else [0.0, 0.0]))
            sim.advance(period)
            after = sim.truth()
            driven += math.hypot(after.x - truth.x, after.y - truth.y)
            if after.person_contact_steps > truth.person_contact_steps:
                shoved_at = now
                hits += with_gate and bool(out.values[0])
            touched = touched or bool(after.contact)
            pushed = now - shoved_at <= SHOVE
            rooms.look(after.x, after.y, pushed)
            near = any(_is_near(g, after, radius) for g in rails.of("near_person"))
            near_since = (near_since if near_since is not None else now) if near else None
            if after.person is not None and _apart(after) < radius + scene.person_radius + TOUCHING:
                near_since = None  # counted anew once they part
            if near_since is not None and now - near_since > SLOWING and not pushed:
                fast = max(fast, abs(after.v))
            if not with_gate and rooms.least < 0.0:
                break
    return Episode(
        seed, with_gate, rooms.least, rooms.name, driven, stopped / ticks, touched, fast, hits, shoved_at > 0.0,
        rooms.deeper,
    )  # fmt: skip


def _apart(truth: Any) -> float:
    """Metres between the middle of the robot and that of the person."""
    return math.hypot(truth.person[0] - truth.x, truth.person[1] - truth.y)


def _is_near(g: Guardrail, truth: Any, radius: float) -> bool:
    """Whether the person truly is well within a guardrail's distance of the robot (5 cm: its pose is not exact)."""
    return _apart(truth) < g.distance + radius - 0.05


def _sense(
    sim: Any, k: int, now: float, contract: Any, newest: dict[str, Any], rng: random.Random, trouble: Trouble
) -> None:
    """What the sensors publish at this tick, as it arrives."""
    frames, came = contract.frames, dict[str, Any]()
    if k % EVERY["image"] == 0:
        came["image"] = ImageIn(now, now, rng.getrandbits(32))
    if k % EVERY["odom"] == 0:
        x, y, yaw, v, w = sim.odom()
        came["odom"] = OdomIn(now, now, x, y, yaw, (v, w), frames.odom)
        came["contact"] = ContactIn(now, now, sim.contact())
    if k % EVERY["pose"] == 0:
        x, y, yaw, cov = sim.pose()
        came["pose"] = PoseIn(now, now, x, y, yaw, cov, frames.map)
        person = sim.truth().person  # a tracker's word, with 2 cm of noise
        if person is not None:
            seen = (person[0] + rng.gauss(0.0, 0.02), person[1] + rng.gauss(0.0, 0.02))
            came["people"] = PeopleIn(now, now, [seen], frames.map)
    if k % EVERY["scan"] == 0:
        s = sim.scan()
        came["scan"] = ScanIn(now, now, s.angle_min, s.angle_increment, s.ranges, s.range_min, s.range_max, frames.base)
    for name, message in came.items():
        message = trouble.spoil(now, name, message)
        if message is not None:
            newest[name] = message
