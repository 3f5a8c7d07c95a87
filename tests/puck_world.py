# SPDX-License-Identifier: Apache-2.0
"""Somebody else's world, as a package outside this one would bring it: a puck on ice, seen from above.

It is copied into a folder of its own and registered there. Nothing of it inherits from jepa_ros.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jepa_ros.contract import load_contract
from jepa_ros.safety.inputs import ContactIn, OdomIn, PoseIn
from jepa_ros.worlds import Decision, Observation, Wanted

NOISE = 0.01  # m


@dataclass(frozen=True)
class Shot:
    """One episode: from a place to another."""

    number: int
    seed: int
    start: tuple[float, float]
    goal: tuple[float, float]
    group: int = 0


class Rink:
    """The scene."""

    rates = {"odom": 25.0, "pose": 10.0, "contact": 20.0}  # noqa: RUF012
    over = False

    def __init__(self, contract):
        self.contract = contract
        self.camera = contract.cameras[0]

    @property
    def time(self):
        return self.ticks / 200.0

    def reset(self, spec):
        self.rng = np.random.default_rng(spec.seed)
        self.at, self.speed, self.yaw, self.ticks = np.array(spec.start), np.zeros(2), 0.0, 0

    def picture(self, at):
        y, x = np.mgrid[-1 : 1 : self.camera.height * 1j, -1 : 1 : self.camera.width * 1j]
        spot = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 0.02)
        return np.repeat((255 * spot)[..., None], 3, axis=2).astype(np.uint8)

    def observe(self, names=None):
        now, frames = self.time, self.contract.frames
        names = (self.camera.name, *self.rates) if names is None else names
        noise = self.rng.normal(0.0, NOISE, 3)
        measure = {
            "odom": lambda: OdomIn(now, now, *(self.at + noise[:2]), noise[2], (self.speed[0], 0.0), frames.odom),
            "pose": lambda: PoseIn(
                now, now, *(self.at + noise[:2]), noise[2], np.diag([NOISE**2] * 3), frames.map
            ),
            "contact": lambda: ContactIn(now, now, False),
        }  # fmt: skip
        images = {self.camera.name: self.picture(self.at)} if self.camera.name in names else {}
        return Observation(now, images, {name: measure[name]() for name in names if name in measure})

    def command(self, values):
        self.speed = np.array([float(values[0]), 0.5 * float(values[1])])

    def advance(self, seconds):
        self.at = np.clip(self.at + self.speed * seconds, -0.9, 0.9)
        self.ticks += round(seconds * 200)

    def truth(self):
        return {"at": self.at.copy()}

    def close(self):
        pass


class Near:
    """Judges by the true place."""

    def __init__(self, goal):
        self.goal, self.gaps = np.array(goal), []

    def add(self, sample):
        self.gaps.append(float(np.linalg.norm(sample.truth["at"] - self.goal)))

    def held(self, seconds):
        return False

    def score(self):
        return {"success": self.gaps[-1] < 0.1, "ever": min(self.gaps) < 0.1, "final_distance": self.gaps[-1]}


class Shove:
    """The task."""

    limit, references = 10, ()

    def __init__(self, contract):
        self.name, self.contract = "shove", contract

    def describe(self):
        return {"protocol": "puck-1"}

    def settings(self):
        return {"source": "puck"}

    def draw(self, scene, seed, number):
        rng = np.random.default_rng([seed, number])
        start, goal = rng.uniform(-0.8, -0.2, 2), rng.uniform(0.2, 0.8, 2)
        return Shot(number, int(rng.integers(2**31)), tuple(start.tolist()), tuple(goal.tolist()))

    def goal(self, scene, spec):
        return Wanted(Observation(scene.time, {scene.camera.name: scene.picture(spec.goal)}))

    def judge(self, scene, spec):
        return Near(spec.goal)

    def planner(self, config):
        return config

    def outing(self, seed, number, attempt=0):
        return self.draw(None, seed + 1000, number)

    def explore(self, scene, spec):
        return Wander(np.random.default_rng(spec.seed), self.contract)

    def reference(self, name, scene, spec, config):
        raise NotImplementedError


class Wander:
    """Random commands."""

    def __init__(self, rng, contract):
        self.rng, self.contract = rng, contract

    def act(self, observation):
        return Decision(self.rng.uniform(self.contract.action_low, self.contract.action_high))


class PuckWorld:
    """The world."""

    name, gated, model = "rink", True, ""
    tasks = outings = {"shove": "a puck is shoved to a place"}  # noqa: RUF012
    score_task = data_task = "shove"
    options = ()
    episodes, shortest = 8, 2

    def contract(self):
        return load_contract(Path(__file__).with_name("puck.yaml"))

    def scene(self, contract):
        return Rink(contract)

    def task(self, name, contract, options):
        return Shove(contract)
