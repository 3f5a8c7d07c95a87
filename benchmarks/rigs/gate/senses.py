# SPDX-License-Identifier: Apache-2.0
"""What a gate hears of a plant and its world: messages of every input at their own rates, late, and a little noisy.

Every message is true until a spoiler changes or loses it. A sample is taken at one tick and arrives some ticks later
with the stamp of when it was taken.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.rigs.gate.bodies import Machine
from benchmarks.rigs.gate.plant import Plant
from jepa_ros.safety import (
    CommandIn,
    ContactIn,
    EstopIn,
    GateInputs,
    ImageIn,
    JointsIn,
    OdomIn,
    PeopleIn,
    PoseIn,
    Requests,
    ScanIn,
    SignalsIn,
    WrenchIn,
)

Spoil = Callable[[Any], Any]
#: Odometry may be wrong by so much of the way since the pose's stamp (docs/safety.md, Regions); this much is used.
DRIFT = 0.02


#: More beams than this are not drawn.
MOST_BEAMS = 360


class World:
    """What stands around: posts (x, y, radius), people (x, y) or None where nobody tells, a bumper, a force [N]."""

    def __init__(self) -> None:
        self.posts: list[tuple[float, float, float]] = []
        self.people: list[tuple[float, float]] | None = None
        self.bumper = False
        self.force = 0.0


class Lidar:
    """A lidar that stands somewhere on the base: rays against posts, spoken as REP-117 says.

    Attributes:
        beams: of a turn. step: rad between two. coarse: where the robot would have to stop, the robot fits between two.
    """

    def __init__(self, rng: random.Random, machine: Machine, scale: float) -> None:
        fine = 2.0 * math.pi * (machine.way() + machine.radius) / machine.radius
        self.beams = max(rng.choice((36, 72, 180)), min(MOST_BEAMS, math.ceil(fine)))
        self.step = 2.0 * math.pi / self.beams
        self.coarse = fine > 1.5 * self.beams
        self.start = rng.uniform(-math.pi, 0.0)
        self.least = rng.choice((0.0, 0.0, 0.3 * machine.radius, 1.2 * machine.radius))
        self.most = self.least + 3.0 * (scale + machine.way()) + 4.0 * machine.radius
        offset = machine.contract.lidar().get("scan_offset", (0.0, 0.0, 0.0))
        self.x, self.y, self.turn = offset
        self.frame = machine.contract.lidar().get("scan_frame", machine.contract.frames.base)
        self._angles = self.start + self.step * np.arange(self.beams)

    def look(self, plant: Plant, world: World, stamp: float) -> ScanIn:
        """One turn, received at once (the caller delays it)."""
        ranges = np.full(self.beams, math.inf)
        c, s = math.cos(plant.yaw), math.sin(plant.yaw)
        ox, oy = plant.x + c * self.x - s * self.y, plant.y + s * self.x + c * self.y
        if world.posts:
            directions = self._angles + (self.turn + plant.yaw)
            ux, uy = np.cos(directions), np.sin(directions)
            for px, py, r in world.posts:
                dx, dy = px - ox, py - oy
                if dx * dx + dy * dy <= r * r:
                    ranges[:] = 0.0
                    continue
                along, across = ux * dx + uy * dy, ux * dy - uy * dx
                inside = r * r - across * across
                hit = (inside >= 0.0) & (along > 0.0)
                ranges[hit] = np.minimum(ranges[hit], along[hit] - np.sqrt(inside[hit]))
            ranges[ranges < self.least] = -math.inf
            ranges[ranges > self.most] = math.inf
        return ScanIn(stamp, stamp, self.start, self.step, ranges, self.least, self.most, self.frame)


class Senses:
    """The inputs of one history.

    Attributes:
        command, teleop: what planner and operator ask for now, None: silent. signals: what the planner says.
        spoil: {input: function that changes or drops (None) a message}. newest: of each input.
    """

    def __init__(self, rng: random.Random, machine: Machine, scale: float, noise: float) -> None:
        self.rng, self.machine, self.noise = rng, machine, noise
        self.world = World()
        self.lidar = Lidar(rng, machine, scale) if "scan" in machine.states else None
        self.command: list[float] | None = None
        self.teleop: list[float] | None = None
        self.still = False  # the planner says "stand still" in the place of its command
        self.signals: dict[str, float] = {}
        self.hash = ""
        self.spoil: dict[str, Spoil] = {}
        self.newest: dict[str, Any] = {}
        self.beats: dict[str, float] = {}
        self.identities: dict[str, str] = {}
        self.publishers: int | None = 1
        self.errors: tuple[str, ...] = ()
        self._sequence = 0
        self._coming: list[tuple[int, str, Any]] = []
        self._drift = 1.0 + rng.uniform(-DRIFT, DRIFT)
        self._names = tuple(machine.contract.command.joints) or None
        state = [n for n in ("odom", "joint_states", "pose", "scan", "contact", "people", "wrench")
                 if n in machine.states]  # fmt: skip
        # {input: (every so many ticks, at which of them, how many ticks late)}; time-outs are at least 8 ticks
        self.rates: dict[str, tuple[int, int, int]] = {}
        for name in state:
            every = rng.choice((1, 2, 3)) if name in ("odom", "joint_states") else rng.choice((1, 3, 5))
            self.rates[name] = (every, rng.randrange(every), rng.choice((0, 0, 0, 1, 2)))
        for name in ("command", "image", "estop", "beats", "teleop"):
            every = rng.choice((1, 3, 5))
            self.rates[name] = (every, rng.randrange(every), 0)

    def _deliver(self, name: str, message: Any) -> None:
        spoiler = self.spoil.get(name)
        if spoiler is not None:
            message = spoiler(message)
        if message is None:
            return
        if name.startswith("heartbeat/"):
            self.beats[name[10:]] = message
        else:
            self.newest[name] = message

    def gather(self, k: int, plant: Plant, now: float, ros: float) -> None:
        """Take the samples of tick ``k`` and hand over what is due; at the first tick everything is there."""
        for name, (every, phase, late) in self.rates.items():
            if k % every != phase and k > 0:
                continue
            message = self._sample(name, plant, now, ros)
            if message is None:
                continue
            if late and k > 0:
                self._coming.append((k + late, name, message))
            else:
                self._deliver(name, message)
        if self._coming:
            due = [entry for entry in self._coming if entry[0] <= k]
            self._coming = [entry for entry in self._coming if entry[0] > k]
            for _, name, message in due:
                message.received = now
                self._deliver(name, message)

    def _sample(self, name: str, plant: Plant, now: float, ros: float) -> Any:
        m = self.machine
        if name == "odom":
            v = tuple([a * self._drift for a in plant.v])
            return OdomIn(ros, now, 0.0, 0.0, 0.0, v, m.contract.frames.odom)
        if name == "joint_states":
            return JointsIn(ros, now, self._names or (), tuple(plant.q), tuple(plant.v)) if m.joints else None
        if name == "pose":
            return self._pose(plant, now, ros)
        if name == "scan":
            assert self.lidar is not None
            scan = self.lidar.look(plant, self.world, ros)
            scan.received = now
            return scan
        if name == "contact":
            return ContactIn(ros, now, self.world.bumper)
        if name == "wrench":
            return WrenchIn(ros, now, (0.0, 0.6 * self.world.force, -0.8 * self.world.force))
        if name == "people":
            return (
                None
                if self.world.people is None
                else PeopleIn(ros, now, list(self.world.people), m.contract.frames.map)
            )
        return self._asked(name, now, ros)

    def _asked(self, name: str, now: float, ros: float) -> Any:
        if name in ("command", "teleop"):
            values = getattr(self, name)
            if values is None:
                return None
            self._sequence += 1
            still = self.still and name == "command"
            return CommandIn([] if still else list(values), ros, now, self._sequence, "", self._names, still=still)
        if name == "image":
            self._deliver("signals", SignalsIn(ros, now, dict(self.signals), self.hash, "model"))
            return ImageIn(ros, now, self.rng.getrandbits(32))
        if name == "estop":
            return EstopIn(now, False)
        for who in ("perception", "planner"):
            self._deliver(f"heartbeat/{who}", now)
        return None

    def _pose(self, plant: Plant, now: float, ros: float) -> PoseIn:
        """A pose off by less than two standard deviations, as its covariance says (``pose_sigma``)."""
        n = self.noise
        if n <= 0.0:
            x, y, yaw, cov = plant.x, plant.y, plant.yaw, _NONE
        else:
            gauss = self.rng.gauss
            angle, away = self.rng.uniform(-math.pi, math.pi), min(abs(gauss(0.0, n)), 1.9 * n)
            x, y, yaw = plant.x + away * math.cos(angle), plant.y + away * math.sin(angle), plant.yaw
            cov = ((n * n, 0.0, 0.0), (0.0, n * n, 0.0), (0.0, 0.0, 0.0))
        return PoseIn(ros, now, x, y, yaw, cov, self.machine.contract.frames.map)

    def inputs(self, requests: Requests) -> GateInputs:
        """The newest of each input, as the gate sees it."""
        return GateInputs(
            **self.newest, heartbeats=dict(self.beats), identities=self.identities, requests=requests,
            output_publishers=self.publishers, errors=self.errors,
        )  # fmt: skip


_NONE = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
