# SPDX-License-Identifier: Apache-2.0
"""What a run leaves in memory: one Frame a camera image, with what was believed, planned and decided at that moment.

The observer fills it; the live table, the video, the plot and the verdict read it. No ROS, no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Frame:
    """One camera image and the newest of everything else when it came. NaN stands for "not known".

    Attributes:
        time: seconds since the goal was sent.
        image: (H, W, 3) uint8 RGB as published.
        truth: true x [m], y [m], yaw [rad]; of an arm x, y, z of its tip (for scoring and drawing only).
        distance: true metres to the goal's place.
        steps_to_go: the planner's own estimate from the image, in control steps (or its unit).
        cost: of the plan in force. plan_ms: time of its search. iterations: of it.
        mode, reason: the gate's, as words. scale: the gate's, 0 to 1.
        planner: the planner's reason word ("ok", "arrived", ...).
        plan: (T, 2) predicted positions [m], or None. candidates: [((T, 2), cost)], best first.
        terms: cost by term. image_age_ms: age of the image behind the gate's output.
        contact: the robot touches something now.
    """

    time: float
    image: np.ndarray
    truth: tuple[float, float, float]
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
    contact: bool = False


@dataclass
class Episode:
    """One drive from a start to a goal."""

    index: int
    start: tuple[float, float, float]
    goal: tuple[float, float, float]
    goal_image: np.ndarray
    #: Places (..., dims) [m] to pixels (..., 2), column and row, of the camera's picture.
    project: Callable[[np.ndarray], np.ndarray]
    frames: list[Frame] = field(default_factory=list)
    #: How many numbers of start, goal and truth are a place: x and y, or x, y and z. Within radius [m] is arrived.
    dims: int = 2
    radius: float = 0.10
    #: The truth at its own rate: (time since the goal, and its three numbers).
    track: list[tuple[float, float, float, float]] = field(default_factory=list)
    #: (time since the goal, planner says arrived).
    arrivals: list[tuple[float, bool]] = field(default_factory=list)
    contact_steps: int = 0

    def away(self, truth: tuple[float, float, float]) -> float:
        """How far the robot truly is from the goal's place [m]."""
        return math.dist(truth[: self.dims], self.goal[: self.dims])


def arrived_and_stopped(episode: Episode) -> Iterator[tuple[tuple[float, float, float, float], bool, bool]]:
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
