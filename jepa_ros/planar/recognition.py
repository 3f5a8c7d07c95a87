# SPDX-License-Identifier: Apache-2.0
"""Growing the memory graph on a drive, and knowing a place again: all by what the model tells of pairs of views.

Two views that look alike need not be of one place. A loop is closed only if the relative pose agrees with itself both
ways, and with what the neighbours of the known place and the last steps of the drive say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jepa_ros.memory.knowledge import Picture
from jepa_ros.memory.thumbnail import thumbnail
from jepa_ros.planar.odometry import Poses, between, beyond, wrapped
from jepa_ros.planar.place_graph import GraphError, PlaceGraph, driven_doubt

#: A place is new this far from the last one [m, rad].
APART, TURNED = 0.35, 0.6
#: Places that a view is compared with: those of the nearest latents.
COMPARED = 24
#: Places of the drive so near in time are joined by it already.
RECENT = 8
#: What a closed loop needs: probability of one place, error to be expected [m], and how far what the parts say may
#: lie apart [m, and rad as metres].
SAME, DOUBT, AGREE = 0.7, 0.5, 0.5
#: m of error up to which the last places of a drive are asked besides.
BEFORE = 0.3


@dataclass(frozen=True)
class Matches:
    """A view beside remembered places: numbers (k,), probability of one place (k,), the places as seen from the view
    (k, 3), errors to be expected [m] (k,)."""

    places: NDArray[np.int64]
    same: NDArray[np.float64]
    poses: Poses
    doubt: NDArray[np.float64]


class Recognition:
    """A model's eyes for a graph.

    Args:
        model: has the readouts ``relative`` and ``same``. graph: the places.
    """

    def __init__(self, model: Any, graph: PlaceGraph) -> None:
        self.model, self.graph = model, graph
        self.began = len(graph)  # places that were known as the drive began
        self.last: int | None = None  # the newest place of the drive
        self._at: Poses | None = None
        self._since = 0

    def begins(self) -> None:
        """The robot was moved, or it starts: the next place is joined to nothing."""
        self.began, self.last, self._at, self._since = len(self.graph), None, None, 0

    def _read(self, here: torch.Tensor, there: torch.Tensor) -> tuple[Any, Any, Any]:
        same = self.model.read("same", here, there).double().cpu().numpy()
        x, y, c, s, doubt = self.model.read("relative", here, there).double().cpu().numpy().T
        return same, np.stack([x, y, np.arctan2(s, c)], -1), doubt

    @torch.no_grad()
    def nearest(self, latent: torch.Tensor, among: int | None = None) -> Matches:
        """A view (D,) beside the places that look most alike, of the first ``among``."""
        places = self.graph.nearest(latent.cpu().numpy(), COMPARED, among)
        there = torch.from_numpy(self.graph.latents[places]).to(latent.device)
        return Matches(places, *self._read(latent[None].expand_as(there), there))

    # ------------------------------------------------------------ growing

    def drive(
        self, latent: torch.Tensor, odometry: Poses, steps: int, time: float = math.nan, picture: Picture | None = None
    ) -> int | None:
        """A view (D,) on a drive and the odometry (3,) there, so many control steps after the last, at ``time`` [s,
        epoch]; the number of the place that it became, None where it is none of its own."""
        self._since += max(steps, 0)
        if self.last is not None and self._at is not None:
            moved = between(self._at, odometry)
            if math.hypot(moved[0], moved[1]) < APART and abs(moved[2]) < TURNED:
                return None
        try:
            seen = None if picture is None else picture()
            small = b"" if seen is None else thumbnail(seen)
            new = self.graph.add(latent.cpu().numpy(), odometry, time, small)
        except GraphError:
            return None
        if self.last is not None and self._at is not None:
            moved = between(self._at, odometry)
            self.graph.join(self.last, new, moved, max(self._since, 1), driven_doubt(moved), 1)
        self._close(new, latent)
        self.last, self._at, self._since = new, np.array(odometry), 0
        return new

    def _close(self, new: int, latent: torch.Tensor) -> None:
        """Join a new place to known ones that it is found to be."""
        found = self.nearest(latent)
        old = (found.places < new - RECENT) & (found.same >= SAME) & (found.doubt <= DOUBT)
        for k in np.flatnonzero(old)[:6].tolist():
            place, pose = int(found.places[k]), found.poses[k]
            if self.holds(latent, new, place, pose):
                steps = 4.0 + 10.0 * math.hypot(pose[0], pose[1]) + 4.0 * abs(pose[2])
                self.graph.join(new, place, pose, steps, float(found.doubt[k]))

    @torch.no_grad()
    def holds(self, latent: torch.Tensor, new: int | None, place: int, pose: Poses) -> bool:
        """Whether a known place lies at ``pose`` (3,) as seen from a view (D,), by all else that is known.

        The same view beside the place's neighbours says whether the pose is right. Whether the place is, only other
        views can say: those of the drive before, ``new`` being the place that the view became.
        """
        graph = self.graph
        known = known_as(graph, place, latent)
        _, back, _ = self._read(known[None], latent[None])
        if _apart(beyond(pose, back[0]), np.zeros(3)) > AGREE:
            return False
        around = [(known_as(graph, o, latent), beyond(pose, np.array(e.pose)))
                  for o, e in graph.edges[place].items() if o != new]  # fmt: skip
        for_it, against = self._votes([(latent, other, expected) for other, expected in around])
        if against or (around and not for_it):
            return False
        if new is None:
            return True
        before = [(o, p) for o, (p, _) in graph.around(new, BEFORE).items() if self.began <= o < new][:3]
        for_it, against = self._votes([(known_as(graph, o, latent), known, between(p, pose)) for o, p in before])
        return not against and (for_it > 0 or not before)

    def _votes(self, compared: list[tuple[torch.Tensor, torch.Tensor, Poses]]) -> tuple[int, int]:
        """How many pairs of views lie to each other as expected, and how many surely do not."""
        if not compared:
            return 0, 0
        here, there = torch.stack([a for a, _, _ in compared]), torch.stack([b for _, b, _ in compared])
        same, poses, doubt = self._read(here, there)
        told = (same >= 0.5) & (doubt <= DOUBT)
        apart = np.array([_apart(p, e) for p, (_, _, e) in zip(poses, compared, strict=True)])
        return int((told & (apart <= AGREE)).sum()), int((told & (apart > 2 * AGREE)).sum())


def known_as(graph: PlaceGraph, place: int, like: torch.Tensor) -> torch.Tensor:
    """The latent (D,) of a place, where another one lies."""
    return torch.from_numpy(graph.latents[place]).to(like.device)


def _apart(a: Poses, b: Poses) -> float:
    """How far two poses (3,) lie apart, a radian as a metre."""
    return math.hypot(a[0] - b[0], a[1] - b[1], float(wrapped(a[2] - b[2])))


#: What is left of a belief when nothing is known: chance of having been carried, a view.
CARRIED = 0.002
#: A place that looks wholly different is not ruled out.
UNLIKE = 0.03
#: How exactly a motion and the way to a neighbour agree [m, and rad as metres].
SPREAD = 0.4


class Localiser:
    """At which remembered place the robot is: a filter over them, by its motion and by what it sees.

    At standstill nothing new is learned, so that the place does not flicker. Only places that were known as the drive
    began are asked for: where the robot is among those that it has just seen, odometry knows.
    """

    def __init__(self, recognition: Recognition) -> None:
        self.recognition = recognition
        self.belief: NDArray[np.float64] = np.zeros(0)
        self._at: Poses | None = None

    def reset(self) -> None:
        """It may be anywhere."""
        self.belief, self._at = np.zeros(0), None

    def observe(self, latent: torch.Tensor, odometry: Poses) -> Matches | None:
        """A view (D,), and the odometry (3,) there; what it looks like, None where it stands still."""
        known = self.recognition.began or len(self.recognition.graph)
        moved = None if self._at is None else between(self._at, odometry)
        if not known or (moved is not None and math.hypot(moved[0], moved[1]) < 0.05 and abs(moved[2]) < 0.08):
            return None
        self._at = np.array(odometry)
        found = self.recognition.nearest(latent, known)
        if not self.recognition.began:
            return found
        if len(self.belief) != known:
            self.belief = np.full(known, 1.0 / known)
        elif moved is not None:
            self.belief = self._moved(moved)
        likely = np.full(known, UNLIKE)
        likely[found.places] = UNLIKE + found.same / (0.2 + found.doubt)
        belief = self.belief * likely
        self.belief = (1.0 - CARRIED) * belief / belief.sum() + CARRIED / known
        return found

    def _moved(self, moved: Poses) -> NDArray[np.float64]:
        """The belief after a motion (3,): places keep what the motion does not carry on to their neighbours."""
        graph, known = self.recognition.graph, len(self.belief)
        share = min(1.0, math.hypot(moved[0], moved[1]) / APART + abs(moved[2]) / TURNED)
        found = (1.0 - share) * self.belief
        stay = math.exp(-((_apart(moved, np.zeros(3)) / SPREAD) ** 2)) + 1e-9
        for place in np.flatnonzero(self.belief > 1e-5).tolist():
            ways = {other: edge for other, edge in graph.edges[place].items() if other < known}
            weights = [math.exp(-((_apart(np.array(e.pose), moved) / SPREAD) ** 2)) for e in ways.values()]
            carried = share * self.belief[place] / (sum(weights) + stay)
            found[place] += carried * stay
            for other, weight in zip(ways, weights, strict=True):
                found[other] += carried * weight
        return found / found.sum()

    def place(self, reach: float = 1.0) -> tuple[int, float]:
        """The likeliest place, and how much of the belief lies at it and near it; (-1, 0) where nothing is known."""
        if not self.recognition.began:
            return (-1, 0.0) if self.recognition.last is None else (self.recognition.last, 1.0)
        if not len(self.belief):
            return -1, 0.0
        best = int(np.argmax(self.belief))
        near = self.recognition.graph.around(best, reach)
        members = [n for n, (pose, _) in near.items() if n < len(self.belief) and math.hypot(*pose[:2]) <= reach]
        return best, float(self.belief[members].sum())
