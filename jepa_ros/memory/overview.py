# SPDX-License-Identifier: Apache-2.0
"""What of a long-term memory people are shown, so that they can choose a place in it as goal: few places, well apart.

A body's room that remembers places in an annex gives the overview of them; of any other body it is the states that
have a place. A place is chosen by its number and its key: the key tells that the number still stands for the same
place, whatever was restarted or forgotten meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from jepa_ros.memory.long_term import LongTerm, RecallError, Tagged, Where

#: At most so many places are shown; of more, those that lie apart.
MOST = 150
#: Width of the cells of which each shows one state [m]; twice as wide as long as there are too many.
CELL = 0.05
#: Where a place is as seen from itself.
AT: Where = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Place:
    """A place to choose: its number in the memory and its key, where it is drawn (x m, y m, yaw rad), when it was seen
    [s, epoch; NaN where nobody knows], and a thumbnail for people, b"" where there is none."""

    number: int
    key: str
    pose: tuple[float, float, float]
    time: float
    thumbnail: bytes = b""


class Overview(Protocol):
    """What is shown of one memory.

    Attributes:
        kind: of the places: "places" of a graph, or "states". total: how many there are in all.
    """

    kind: str

    @property
    def total(self) -> int:
        """How many there are in all."""
        ...

    def follow(self, seconds: float) -> bool:
        """Take in what is new, for about so long at most; whether that is all."""
        ...

    def places(self) -> Sequence[Place]:
        """What is shown, at most :data:`MOST`."""
        ...

    def ways(self) -> Sequence[tuple[int, int, bool]]:
        """Ways between them: two indices of :meth:`places`, and whether it was driven."""
        ...

    def at(self, number: int, ahead: Where = AT) -> Where | None:
        """Where a place of the memory, shown or not, lies among them, or what lies at ``ahead`` (x m, y m, yaw rad) as
        seen from it; None where nobody knows."""
        ...

    def tagged_at(self, name: str, tag: Tagged) -> Where | None:
        """Where a place with a name lies among them; None where nobody knows."""
        ...


@runtime_checkable
class HasPlaces(Protocol):
    """An annex that remembers places to choose from."""

    @property
    def latents(self) -> NDArray[np.float32]:
        """(n, D), by number."""
        ...

    def overview(self) -> Overview:
        """What is shown of them."""
        ...


def _places_of(memory: LongTerm) -> HasPlaces | None:
    return next((annex for annex in memory.annexes if isinstance(annex, HasPlaces)), None)


def key_of(latent: NDArray[np.float32]) -> str:
    """A short text that differs for latents (D,) that differ."""
    return hashlib.blake2s(np.ascontiguousarray(latent, np.float32).tobytes(), digest_size=6).hexdigest()


def latent_of(memory: LongTerm, number: int, key: str) -> NDArray[np.float32]:
    """The latent (D,) of a place.

    Raises:
        RecallError: it is not the one that was chosen, or there is none of that number.
    """
    places = _places_of(memory)
    latents = memory.latents if places is None else places.latents
    if not 0 <= number < len(latents) or key_of(latents[number]) != key:
        raise RecallError(f"place {number} is not in this memory as it was chosen: choose again")
    return latents[number].copy()


def overview_of(memory: LongTerm) -> Overview:
    """What is shown of a memory."""
    places = _places_of(memory)
    return StatesOverview(memory) if places is None else places.overview()


class StatesOverview:
    """The remembered states that have a place in the map; see :class:`Overview`."""

    kind = "states"

    def __init__(self, memory: LongTerm) -> None:
        self._memory = memory
        self._found: tuple[int, list[Place]] = (-1, [])

    @property
    def total(self) -> int:
        """How many states there are."""
        return len(self._memory)

    def follow(self, seconds: float) -> bool:
        """All is known at once."""
        return True

    def places(self) -> Sequence[Place]:
        """The oldest state of each cell of the map."""
        memory = self._memory
        if self._found[0] != memory.version:
            known = np.flatnonzero(np.isfinite(memory.where).all(1))
            chosen = known[_apart(memory.where[known, :2])].tolist()
            self._found = memory.version, [self._place(number) for number in chosen]
        return self._found[1]

    def _place(self, number: int) -> Place:
        memory = self._memory
        x, y, yaw = memory.where[number].tolist()
        return Place(number, key_of(memory.latents[number]), (x, y, yaw), float(memory.times[number]))

    def ways(self) -> Sequence[tuple[int, int, bool]]:
        """States know none."""
        return []

    def at(self, number: int, ahead: Where = AT) -> Where | None:
        """Nobody asks: what knows where it is in the map needs no state to tell it."""
        return None

    def tagged_at(self, name: str, tag: Tagged) -> Where | None:
        """Where it was when it got its name."""
        return tag.where


def _apart(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """The first of points (n, 2) [m] in each cell of a grid that leaves at most MOST of them."""
    size = CELL
    while True:
        cells = np.floor(points / size).astype(np.int64)
        first = np.unique(cells[:, 0] * 2**32 + cells[:, 1], return_index=True)[1]
        if len(first) <= MOST:
            return np.sort(first)
        size *= 2.0
