# SPDX-License-Identifier: Apache-2.0
"""Contact-seeking play: an arm finds things with its hand and pushes them about. It needs its joints and its wrist."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from jepa_ros.arm import ArmBody
from jepa_ros.safety.inputs import WrenchIn
from jepa_ros.worlds import Decision, Observation

from .play import Play

FELT = 1.1  # N beside what the wrist reads in free motion, in the mean of READINGS steps: the hand pushes something
READINGS = 3
HIGH = 0.13  # m, height of the tip above everything
ROUND = 0.085  # m from where something was felt to where the next push begins
TOUCH = 0.035  # m from the tip to the middle of what it pushes, about
FREE = 0.1  # share of the moves that are free play
AGAIN, TURN = 0.75, 0.5  # share of the pushes that go on another way, and by how much that turns: deviation [rad]
ROUNDS = 0.3  # share of the other pushes after which the hand goes round what it felt; it searches anew after the rest
WOBBLE = 0.015  # m/s, standard deviation of what is added to each step of a push


class Seek:
    """Sweeps low over the table until it feels something, pushes on another way, or goes round it and pushes it again.

    Args:
        body: of the arm. rng: the source of all randomness. low: height of the tip while it pushes [m].
        wrench: measures the wrist's force now.
    """

    def __init__(self, body: ArmBody, rng: np.random.Generator, low: float, wrench: Callable[[], WrenchIn]) -> None:
        self.body, self.rng, self.low, self._wrench = body, rng, low, wrench
        contract = body.contract
        names = [a.name for a in contract.action]
        self._rows = [names.index(f"tip.linear.{axis}") for axis in "xyz"]
        self._most = float(np.min(contract.action_high[self._rows]))
        self._size, self._period = len(names), contract.period
        self._play, self._playing = Play(body, rng), 0
        self._ways = list[np.ndarray]()  # places of the tip to go through, high and low
        self._speed = self._most
        self._pushing = False
        self._place: np.ndarray | None = None  # (2,) where something was felt
        self._felt = False
        self._recent: deque[np.ndarray] = deque(maxlen=READINGS)  # N, beside free motion, in this push
        self._way = 0.0  # rad, the direction of this push
        self._searching = False
        self._still = np.zeros(2)  # N, what the wrist reads in free motion
        self._readings = 0

    def act(self, observation: Observation) -> Decision:
        """The command of this step."""
        tip = self.body.tip(self.body.joints(observation.state["joint_states"]))
        self._feel(tip)
        if self._playing > 0:
            self._playing -= 1
            decision = self._play.act(observation)
            command = np.array(decision.command)
            command[len(self._rows) :] = 0.0  # the fingers stay shut
            return Decision(command)
        while self._ways and np.linalg.norm(self._ways[0] - tip) < 0.012:
            self._ways.pop(0)
            self._pushing = len(self._ways) == 1
        if not self._ways:
            self._next(tip)
        way = self._ways[0] - tip
        length = max(float(np.linalg.norm(way)), 1e-6)
        speed = self._speed if self._pushing else self._most
        velocity = way / length * min(speed, length / self._period)
        if self._pushing:
            velocity[:2] += WOBBLE * self.rng.standard_normal(2)
        command = np.zeros(self._size)
        command[self._rows] = np.clip(velocity, -self._most, self._most)
        return Decision(command)

    def _feel(self, tip: np.ndarray) -> None:
        """Whether the hand pushes something, and where that is."""
        force = np.array(self._wrench().force[:2], dtype=float)
        if not self._pushing:
            self._recent.clear()
        elif self._readings > 5:
            self._recent.append(force - self._still)
        sure = len(self._recent) == READINGS
        if not (sure and float(np.linalg.norm(np.mean(self._recent, axis=0))) > FELT):
            self._readings += 1
            self._still += (force - self._still) / min(self._readings, 30)
            return
        way = self._ways[-1][:2] - tip[:2] if self._ways else np.zeros(2)
        length = float(np.linalg.norm(way))
        self._place = tip[:2] + (TOUCH / length * way if length > 1e-3 else 0.0)
        if self._searching and not self._felt and length > 1e-3:  # push on for a while, and not to the end of the sweep
            self._ways = [np.append(self._clip(tip[:2] + way / length * self.rng.uniform(0.0, 0.1)), tip[2])]
            self._way = float(np.arctan2(way[1], way[0]))
        self._felt = True

    def _next(self, tip: np.ndarray) -> None:
        """What to do after a push, a sweep or free play."""
        rng = self.rng
        touched, self._felt = self._felt, False
        self._searching = False
        self._speed = self._most * float(rng.uniform(0.25, 0.9))
        if touched and self._again(tip):
            return
        self._pushing = False
        if rng.random() < FREE:
            self._playing = int(rng.integers(3, 12))
            self._ways = [tip]
            return
        if touched and self._place is not None and rng.random() < ROUNDS:
            self._push(tip, self._place)
        else:
            self._search(tip)

    def _again(self, tip: np.ndarray) -> bool:
        """Whether the hand goes on from where it is, behind what it pushes: it turns, and does not let go."""
        turn, length = self._way + self.rng.normal(0.0, TURN), self.rng.uniform(0.03, 0.1)
        end = tip[:2] + length * np.array([np.cos(turn), np.sin(turn)])
        if self.rng.random() > AGAIN or np.linalg.norm(self._clip(end) - end) > 0.0:
            return False
        self._ways, self._way, self._pushing = [np.append(end, tip[2])], turn, True
        return True

    def _search(self, tip: np.ndarray) -> None:
        """A sweep low over the table to anywhere."""
        self._place, self._searching, self._speed = None, True, self._most
        low = self.low + 0.003
        down = [tip] if tip[2] < 0.06 else [np.array([*tip[:2], low])]
        self._ways = [*down, np.append(self._clip(self.rng.uniform(self.body.low[:2], self.body.high[:2])), low)]

    def _push(self, tip: np.ndarray, place: np.ndarray) -> None:
        """A push through ``place`` (2,) from a side of which it does not leave the workspace, if one is soon found."""
        rng = self.rng
        for _ in range(6):
            turn, length = rng.uniform(-np.pi, np.pi), rng.uniform(0.02, 0.1)
            way = np.array([np.cos(turn), np.sin(turn)])
            if np.linalg.norm(self._clip(place + (length + 0.03) * way) - place) > length:
                break
        aside = rng.normal(0.0, 0.012) * np.array([-way[1], way[0]])
        start, end = self._clip(place - ROUND * way + aside), self._clip(place + length * way + aside)
        low = self.low + float(rng.uniform(0.0, 0.006))
        above = [] if np.linalg.norm(start - tip[:2]) < 0.03 else [np.array([*tip[:2], HIGH]), np.array([*start, HIGH])]
        self._way = turn
        self._ways = [*above, np.append(start, low), np.append(end, low)]

    def _clip(self, at: np.ndarray) -> np.ndarray:
        return np.clip(at, self.body.low[:2] + 0.005, self.body.high[:2] - 0.005)
