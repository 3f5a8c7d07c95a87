# SPDX-License-Identifier: Apache-2.0
"""Pushing: a thing goes to where a goal picture shows it, 5 to 10 cm away. Success judges the thing, never the arm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from jepa_ros.worlds import Decision, Observation, Policy, Wanted, WorldError

from ..scene import TableConfig, Thing, draw_thing
from ..simulator import Truth
from .base import TableSpec, TableTask, picture_of

if TYPE_CHECKING:
    from jepa_ros.planning.planner import PlannerConfig

    from ..world import TableScene

WAY = (0.05, 0.10)  # m, from where the thing stands to where it is wanted
LOW = 0.032  # m, height of the tip while it pushes
HIGH = 0.13  # m, height of the tip above everything
FINGER = 0.012  # m, from the tip's middle to the hand's edge
EDGE = 0.06  # m that a thing and its goal keep from the workspace's edge
SHAPES = ("box", "cylinder")  # that are pushed, and learned from
UNSEEN = ("bar",)  # never learned from


class Push(TableTask):
    """Pushing a thing that the tip stands behind."""

    name = "push"
    summary = "a thing goes to where the goal picture shows it, 5 to 10 cm away; the tip begins behind it"
    radius = 0.03  # m
    seconds = 20.0
    opening = 0.0  # closed: open fingers would go to both sides of the thing
    shapes = SHAPES
    #: Where the tip begins, as angles [rad] from the side that faces away from the goal.
    sides = (-0.6, 0.6)

    def begin(self, rng: np.random.Generator) -> dict[str, Any]:
        """A thing, where it is wanted, and a tip beside it."""
        while True:
            thing = self.thing(rng)
            at = np.array(thing.place[:2])
            turn, way = rng.uniform(-np.pi, np.pi), rng.uniform(*WAY)
            goal = at + way * np.array([math.cos(turn), math.sin(turn)])
            side = turn + np.pi + rng.uniform(*self.sides)
            tip = at + (reach(thing) + rng.uniform(0.02, 0.06)) * np.array([math.cos(side), math.sin(side)])
            if self.within(goal, EDGE) and self.within(tip, 0.01):
                wanted = (float(goal[0]), float(goal[1]), thing.height)
                return {"tip": (float(tip[0]), float(tip[1]), LOW), "wanted": wanted, "things": (thing,)}

    def thing(self, rng: np.random.Generator) -> Thing:
        """Something of one of the shapes, well inside the workspace, high enough for the tip to push it."""
        low, high = self.low[:2] + EDGE, self.high[:2] - EDGE
        while True:
            x, y = rng.uniform(low, high).tolist()
            thing = draw_thing(TableConfig(), (x, y, float(rng.uniform(-np.pi, np.pi))), rng)
            if thing.shape in self.shapes and 2 * thing.height > LOW:
                return thing

    def within(self, at: np.ndarray, margin: float) -> bool:
        """Whether a place (2,) on the table lies in the workspace, ``margin`` m from its edge."""
        return bool(np.all(at >= self.low[:2] + margin) and np.all(at <= self.high[:2] - margin))

    def goal(self, scene: TableScene, spec: TableSpec) -> Wanted:
        """The picture with the thing at its goal and the tip behind it, as a push ends."""
        assert spec.wanted is not None
        thing, others = spec.things[0], scene.sim.placed()[1:]
        at, end = np.array(thing.place[:2]), np.array(spec.wanted[:2])
        way = (end - at) / np.linalg.norm(end - at)
        tip = np.clip([*(end - way * (reach(thing) + 0.005)), LOW], self.low, self.high)
        turn = scene.sim.placed()[0][2]
        image = scene.sim.image_at(tuple(tip.tolist()), spec.opening, [(thing, spec.wanted, turn), *others])
        return picture_of(scene.sim, scene.camera, image, {})

    def distance(self, truth: Truth, spec: TableSpec) -> float:
        """From the thing to where it is wanted, along the table [m]."""
        assert spec.wanted is not None
        return math.dist(truth.things[0][:2], spec.wanted[:2])

    def reference(self, name: str, scene: TableScene, spec: TableSpec, config: PlannerConfig) -> Policy:
        """The oracle: goes behind the thing and pushes it, by the true places."""
        if name not in self.references:
            raise WorldError(f"task '{self.name}' has no policy '{name}'; it has {', '.join(self.references)}")
        return Pusher(scene, spec)


class PushRound(Push):
    """Pushing a thing that the tip stands on the wrong side of."""

    name = "push_round"
    summary = "the same, but the tip begins on the side of the goal and has to go round the thing first"
    seconds = 30.0
    sides = (np.pi - 0.8, np.pi + 0.8)


class PushUnseen(Push):
    """Pushing a thing of a shape that no data has."""

    name = "push_unseen"
    summary = "push, with a thing of a shape that was never learned from"
    shapes = UNSEEN


def reach(thing: Thing) -> float:
    """From the middle of a thing to a tip that just touches it, at most [m]."""
    half = math.hypot(thing.size[0], thing.size[1]) if thing.shape in ("box", "bar") else thing.size[0]
    return half + FINGER


class Pusher:
    """Lifts the tip, goes behind the thing, lowers the tip and pushes; begins again where the thing slips away.

    It reads the truth: for scoring only.
    """

    def __init__(self, scene: TableScene, spec: TableSpec) -> None:
        assert spec.wanted is not None
        self._scene, self._thing = scene, spec.things[0]
        self._goal = np.array(spec.wanted[:2])
        names = [a.name for a in scene.contract.action]
        self._rows = [names.index(f"tip.linear.{axis}") for axis in "xyz"]
        self._low, self._high = scene.contract.action_low, scene.contract.action_high
        arm = scene.contract.kinematics.arm
        assert arm is not None
        self._least, self._most = np.array(arm.workspace)

    def act(self, observation: Observation) -> Decision:
        """The command of this step."""
        truth = self._scene.truth()
        tip, at = np.array(truth.tip), np.array(truth.things[0][:2])
        if observation.executed is not None:  # the last command goes on until this one takes effect
            tip = tip + np.asarray(observation.executed)[self._rows] * self._scene.contract.actuation_latency
        command = np.zeros(len(self._low))
        velocity = self._velocity(tip, at)
        fastest = float(np.max(np.abs(velocity) / self._high[self._rows]))
        command[self._rows] = velocity / max(1.0, fastest)
        return Decision(command)

    def _velocity(self, tip: np.ndarray, at: np.ndarray) -> np.ndarray:
        left = self._goal - at
        length = float(np.linalg.norm(left))
        if length < 0.008:
            return np.zeros(3)
        way, gap = left / length, tip[:2] - at
        along = float(gap @ way)
        aside = gap - along * way
        near = reach(self._thing)
        behind = np.clip(at - way * (near + 0.012), self._least[:2], self._most[:2])
        off = behind - tip[:2]
        if tip[2] < LOW + 0.02 and along < -0.3 * near and np.linalg.norm(aside) < 0.5 * near:
            push = way * min(0.10, 2.0 * length) - 3.0 * aside
            return np.array([*push, 3.0 * (LOW - tip[2])])
        if np.linalg.norm(off) < 0.008:
            return np.array([*(2.0 * off), 4.0 * (LOW - tip[2])])
        if tip[2] < HIGH - 0.02 and np.linalg.norm(gap) < near + 0.05:
            return np.array([0.0, 0.0, 4.0 * (HIGH - tip[2])])
        return np.array([*(4.0 * off), 4.0 * (HIGH - tip[2])])
