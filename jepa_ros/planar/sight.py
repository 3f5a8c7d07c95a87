# SPDX-License-Identifier: Apache-2.0
"""Where a goal lies that was given as a picture, by what a camera on board saw on the way: no map, no global pose.

The model tells where the goal picture was taken as seen from each view, and how sure that is. One view is wrong by a
good part of the distance; the views of a drive, joined by odometry, are wrong in different ways. The search is given
the goal so found, in the frame of the odometry. Before any view is sure the robot looks round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from jepa_ros.cost.futures import Futures
from jepa_ros.cost.goal import Target
from jepa_ros.cost.seam import Constraint, CostTerm
from jepa_ros.memory.knowledge import Seen
from jepa_ros.planar.motion_check import MotionCheck
from jepa_ros.planar.obstructions import Obstructions
from jepa_ros.planar.odometry import Motion, Poses, between, beyond, wrapped
from jepa_ros.planar.place_terms import BumpConstraint
from jepa_ros.planar.readouts import RELATIVE
from jepa_ros.planar.scan_points import ScanPoints

#: Views that are kept, and how far one has to be from the last one that was kept [m, rad].
VIEWS, APART, TURNED = 160, 0.05, 0.08
#: The error of the best views [m] below which the goal counts as found.
FOUND = 0.35
#: m of error that a view is believed to have at least: views near each other are wrong together.
FLOOR = 0.05
#: s after which odometry's drift makes a view half as good.
DRIFT = 15.0
#: rad that a look round goes on at once, and what of the full turn has to be seen.
TURN, ROUND = 2.4, math.tau - 0.6
#: m from the goal within which its heading begins to count.
NEAR = 0.3
#: A robot that stands where the goal should be [m] and is not sure after so long [s] looks from elsewhere: from so far
#: away [m], and gives that up after so long [s].
THERE, PATIENCE, ASIDE, TOO_LONG = 0.2, 1.5, 0.7, 8.0


@dataclass
class View:
    """What was seen from where: latent (D,), pose (3,) in the odometry's frame, time [s]; the goal as seen from there
    (3,), and the error to be expected [m], once they were asked for."""

    latent: torch.Tensor
    pose: Poses
    stamp: float
    goal: Poses | None = None
    doubt: float = math.inf


@dataclass(frozen=True)
class Found:
    """A goal (3,) in the odometry's frame, and the error to be expected [m]."""

    pose: Poses
    doubt: float


@dataclass
class Drive:
    """What was seen since the robot was last moved."""

    here: Poses = field(default_factory=lambda: np.zeros(3))
    views: list[View] = field(default_factory=list)
    told: Poses | None = None  # the odometry of the last image


class Sight:
    """Knowledge of where the goal lies; see the module.

    Args:
        model: has the readout ``relative``. contract: of a base.
    """

    def __init__(self, model: Any, contract: Any) -> None:
        self.model, self.motion = model, Motion(contract)
        self.obstructions = Obstructions(contract.footprint.radius, contract.period)
        self.check, self._scans = MotionCheck(contract, self.obstructions), ScanPoints(contract)
        self._sure = contract.arrival.arrive  # m of error
        self.term, self.held = SightTerm(self), HeldConstraint(self)
        self._goal: Any = None
        self.drive = Drive()
        self.found: Found | None = None
        self.facing = True  # what is driven to is to be faced as it was
        self.looking = 0.0  # rad still to turn; 0: the goal was found, or was looked for all round
        self.aside: Poses | None = None  # where it goes to look from there, in the odometry's frame
        self._unsure = math.inf  # s, since when it stands where the goal should be, or goes aside

    def reset(self) -> None:
        """Forget the drive."""
        self.drive, self.found, self._goal = Drive(), None, None
        self.aside, self._unsure = None, math.inf
        self.obstructions.clear()
        self.check.reset()

    def observe(self, seen: Seen) -> None:
        """Take an image and the motion before it."""
        if seen.steps < 0:
            self.reset()
        if seen.failed:
            self.obstructions.clear_dead_ends()
        drive = self.drive
        before = drive.here
        if seen.odometry is not None:
            told = np.asarray(seen.odometry, dtype=np.float64)
            drive.here = told if drive.told is None and not drive.views else beyond(
                drive.here, between(told if drive.told is None else drive.told, told)
            )  # fmt: skip
            drive.told = told
        elif seen.executed is not None and seen.steps > 0:
            drive.here = beyond(drive.here, self.motion.step(seen.executed, seen.steps))
            drive.told = None
        x, y, yaw = drive.here.tolist()
        pose = torch.tensor([x, y, math.cos(yaw), math.sin(yaw)])
        self.check.observe(pose, seen.steps, seen.commanded, seen.executed, seen.gate_reason, seen.stamp)
        self.obstructions.show(self._scans.around(seen, drive.here))
        if self.looking > 0.0:
            self.looking = max(0.0, self.looking - abs(float(wrapped(drive.here[2] - before[2]))))
        view = View(seen.latent, drive.here.copy(), seen.stamp)
        if drive.views and not self._apart(drive.views[-1], view):
            drive.views.pop()  # the newest one is of where the robot is
        drive.views.append(view)
        del drive.views[:-VIEWS]

    def _apart(self, last: View, new: View) -> bool:
        moved = between(last.pose, new.pose)
        return math.hypot(moved[0], moved[1]) > APART or abs(moved[2]) > TURNED

    def prepare(self, goal: Target, distance: float | None = None, stamp: float = 0.0) -> None:
        """Say where the goal lies, by all views."""
        self._locate(goal)
        if self.found is not None and self.looking <= 0.0:
            self.check.judge_progress(self.distance[0], stamp)
            self._look_from_elsewhere(stamp)

    def _look_from_elsewhere(self, stamp: float) -> None:
        """Where it is not sure that this is the goal, one view more from here tells nothing: go aside, and look."""
        assert self.found is not None
        if self.aside is not None:
            left = between(self.drive.here, self.aside)
            if math.hypot(left[0], left[1]) < THERE or stamp - self._unsure > TOO_LONG:
                self.aside, self._unsure = None, math.inf
                self.looking = ROUND
        elif self.distance[0] > THERE or self.found.doubt < self._sure:
            self._unsure = math.inf
        elif stamp < self._unsure:
            self._unsure = stamp
        elif stamp - self._unsure > PATIENCE:
            self.aside, self._unsure = self._elsewhere(), stamp

    def _elsewhere(self) -> Poses:
        """A place (3,) near by that nothing was seen from, in the odometry's frame, and not where it was held back."""
        assert self.found is not None
        angles = np.arange(12) * (math.tau / 12)
        places = self.drive.here[:2] + ASIDE * np.stack([np.cos(angles), np.sin(angles)], 1)
        seen = np.array([v.pose[:2] for v in self.drive.views])
        new = np.linalg.norm(places[:, None] - seen[None], axis=-1).min(1)
        ways = self.drive.here[:2] + np.linspace(0.0, 1.0, 8)[:, None, None] * (places - self.drive.here[:2])
        new[self.obstructions.near(ways).any(0)] = -1.0
        return np.array([*places[int(np.argmax(new))], self.found.pose[2]])

    def reading(self, goal: Target) -> tuple[float, float] | None:
        """Metres to the goal, with the error to be expected, and radians to its heading; None where nobody knows.

        A robot that is not sure of the place has not arrived.
        """
        self._locate(goal)
        if self.found is None:
            return None
        away, turn = self.distance
        return (away + self.found.doubt if self.looking > 0.0 else math.hypot(away, self.found.doubt)), turn

    @property
    def distance(self) -> tuple[float, float]:
        """Metres to the goal that was found, and radians to its heading."""
        assert self.found is not None
        way = between(self.drive.here, self.found.pose)
        return math.hypot(way[0], way[1]), abs(float(way[2]))

    def _locate(self, goal: Target) -> None:
        if goal.latent is None:
            self.found = None
            return
        if goal.goal is not self._goal:
            self._goal, self.looking = goal.goal, ROUND
            self.aside, self._unsure = None, math.inf
            for view in self.drive.views:
                view.goal = None
            self.obstructions.clear_dead_ends()
        asked = [view for view in self.drive.views if view.goal is None]
        if asked:
            with torch.no_grad():
                read = self.model.read(RELATIVE.name, torch.stack([v.latent for v in asked]), goal.latent)
            for view, (x, y, c, s, doubt) in zip(asked, read.cpu().tolist(), strict=True):
                view.goal, view.doubt = beyond(view.pose, np.array([x, y, math.atan2(s, c)])), doubt
        self.found = agreed(self.drive.views, self.drive.views[-1].stamp) if self.drive.views else None
        if self.found is not None and self.found.doubt < FOUND:
            self.looking = 0.0

    def terms(self) -> Sequence[CostTerm]:
        """The way to the goal."""
        return [self.term]

    def constraints(self) -> Sequence[Constraint]:
        """Where it was held back."""
        return [self.held] if len(self.obstructions) else []

    def views(self, latents: torch.Tensor | None = None) -> Mapping[str, Any]:
        """``goal``: where it was found, (3,) in the odometry's frame."""
        return {} if self.found is None else {"goal": self.found.pose}

    def ways(self, futures: Futures) -> torch.Tensor:
        """(C, T, 3) from where the robot is."""
        return futures.derived("ways", lambda: self.motion.ways(futures.actions))


def agreed(views: Sequence[View], now: float) -> Found:
    """Where most of the views, the surer the more, say that the goal lies.

    Begins at the view that the others agree with best, and leaves out more and more what lies far off.
    """
    goals = np.array([v.goal for v in views])  # (n, 3)
    doubt = np.array([v.doubt for v in views])
    age = np.array([now - v.stamp for v in views])
    error = doubt + FLOOR
    weight = np.exp2(-age / DRIFT) / error**2
    gaps = np.hypot(*(goals[:, None, :2] - goals[None, :, :2]).transpose(2, 0, 1))
    gaps = np.hypot(gaps, wrapped(goals[:, None, 2] - goals[None, :, 2]))
    support = (weight[None] / (1.0 + (gaps / error[None]) ** 2)).sum(1)
    here = goals[int(np.argmax(support * (1.0 / error)))]
    counts = weight
    for _ in range(4):
        gap = np.hypot(np.hypot(*(goals[:, :2] - here[:2]).T), wrapped(goals[:, 2] - here[2]))
        counts = weight / (1.0 + (gap / error) ** 2)
        total = counts.sum()
        place = (counts[:, None] * goals[:, :2]).sum(0) / total
        turn = math.atan2((counts * np.sin(goals[:, 2])).sum(), (counts * np.cos(goals[:, 2])).sum())
        here = np.array([*place, turn])
    best = np.argsort(-counts)[:3]
    return Found(here, float(doubt[best].mean()))


class SightTerm:
    """The distance to where the goal was found, and near it the turn to its heading; before, turning to look round."""

    name, unit, weight = "sight", "m", 1.0

    def __init__(self, sight: Sight) -> None:
        self.sight = sight

    def fits(self, goal: Target | None) -> bool:
        """Goals that are pictures."""
        return goal is None or goal.latent is not None

    def __call__(self, futures: Futures, goal: Target) -> torch.Tensor:
        """(C, S, T)."""
        sight = self.sight
        ways = sight.ways(futures)
        if sight.looking > 0.0 or sight.found is None:
            ahead = torch.arange(1, ways.shape[1] + 1) / ways.shape[1]
            wanted = TURN * ahead
            cost = ways[..., :2].norm(dim=-1) + (wanted - ways[..., 2]).abs()
        else:
            target = sight.found.pose if sight.aside is None else sight.aside
            x, y, yaw = between(sight.drive.here, target).tolist()
            away = (ways[..., :2] - torch.tensor([x, y])).norm(dim=-1)
            cost = away
            if sight.facing:
                cost = away + 0.3 * (1.0 - (ways[..., 2] - yaw).cos()) * torch.exp(-((away / NEAR) ** 2))
        return cost[:, None].expand(-1, futures.shape[1], -1).to(futures.latents.device)


class HeldConstraint(BumpConstraint):
    """Keeps away from where the robot was held back, in the frame of the odometry."""

    def __init__(self, sight: Sight) -> None:
        super().__init__(sight.obstructions)
        self.sight = sight

    def __call__(self, futures: Futures, goal: Target) -> np.ndarray:
        """(C, S, T) m."""
        sight = self.sight
        ways = beyond(sight.drive.here, sight.ways(futures).numpy())[..., :2]
        excess = self.obstructions.excess(ways, sight.drive.here[:2])
        return np.broadcast_to(excess[:, None], futures.shape)
