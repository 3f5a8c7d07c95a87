# SPDX-License-Identifier: Apache-2.0
"""What a run leaves in memory: one Frame a camera image, with what was believed, planned and decided at that moment.

The observer fills it; the live table, the video, the plot and the verdict read it. No ROS, no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jepa_ros.worlds import Judge


@dataclass(frozen=True)
class Frame:
    """One camera image and the newest of everything else when it came. NaN stands for "not known".

    Attributes:
        time: seconds since the goal was sent.
        image: (H, W, 3) uint8 RGB as published.
        place: true place (2 or 3,) [m] of what the task is about, for drawing only; empty where the task does not say.
        distance: true metres to the goal's place.
        steps_to_go: the planner's own estimate from the image, in control steps (or its unit).
        cost: of the plan in force. plan_ms: time of its search. iterations: of it.
        mode, reason: the gate's, as words. scale: the gate's, 0 to 1.
        planner: the planner's reason word ("ok", "arrived", ...).
        plan: (T, 2) predicted positions [m], or None. candidates: [((T, 2), cost)], best first.
        terms: cost by term. image_age_ms: age of the image behind the gate's output.
        tree: of the last deliberation, None before the first; see jepa_ros.planning.deliberate.view.tree_of.
    """

    time: float
    image: np.ndarray
    place: tuple[float, ...]
    distance: float
    steps_to_go: float
    cost: float
    plan_ms: float
    iterations: float
    mode: str
    reason: str
    scale: float
    planner: str
    plan: np.ndarray | None = None
    candidates: list[tuple[np.ndarray, float]] = field(default_factory=list)
    terms: dict[str, float] = field(default_factory=dict)
    image_age_ms: float = float("nan")
    tree: dict[str, Any] | None = None


@dataclass
class Episode:
    """One episode of a task.

    Attributes:
        index: its number. goal_image: what is to be seen at the end. begun: the scene's truth before it.
        judge: of the task, who follows it afterwards.
        where: from a truth to the place (2 or 3,) [m] of what the task is about; None where the task does not say.
        goal: the place where that is wanted, followed by the yaw [rad] where one is wanted.
        project: places (..., 2 or 3) [m] to pixels (..., 2), column and row, of the camera's picture.
        radius: [m] within which is arrived.
        track: the truth at its own rate: (time since the goal, truth).
        arrivals: (time since the goal, planner says arrived).
    """

    index: int
    goal_image: np.ndarray
    begun: Any
    judge: Judge | None = None
    where: Callable[[Any], Sequence[float]] | None = None
    goal: tuple[float, ...] = ()
    project: Callable[[np.ndarray], np.ndarray] | None = None
    radius: float = math.nan
    frames: list[Frame] = field(default_factory=list)
    track: list[tuple[float, Any]] = field(default_factory=list)
    arrivals: list[tuple[float, bool]] = field(default_factory=list)

    def place(self, truth: Any) -> tuple[float, ...]:
        """Of what the task is about [m]; empty where the task does not say."""
        return () if self.where is None else tuple(float(v) for v in self.where(truth))

    def away(self, place: tuple[float, ...]) -> float:
        """How far that is from where it is wanted [m]; NaN where the task does not say."""
        return math.dist(place, self.goal[: len(place)]) if place else math.nan


def arrived_and_stopped(episode: Episode) -> Iterator[tuple[tuple[float, Any], bool, bool]]:
    """Each entry of the track with what the planner said of having arrived, and whether the gate had stopped, then."""
    arrivals = iter([*episode.arrivals, (math.inf, False)])
    said, (due, coming) = False, next(arrivals)
    stops = [(f.time, f.mode == "STOPPED") for f in episode.frames]
    at = 0
    for entry in episode.track:
        while entry[0] >= due:
            said, (due, coming) = coming, next(arrivals)
        while at + 1 < len(stops) and stops[at + 1][0] <= entry[0]:
            at += 1
        yield entry, said, bool(stops) and stops[at][1]
