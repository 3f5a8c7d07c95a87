# SPDX-License-Identifier: Apache-2.0
"""Pictures that the robot saw, found again by their latents: what an imagined state would look like.

A world model imagines latents, which nobody can look at. The nearest picture that was really seen stands for each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jepa_ros.memory import LongTerm

#: At most so many pictures are kept.
PICTURES = 1000
#: An imagined state that is farther from all pictures than this share of their spread looks like none of them.
UNLIKE = 1.0


class Likeness(NamedTuple):
    """The picture that is nearest to an imagined state: its number, and whether it is near enough to stand for it."""

    picture: int
    near: bool


class Album:
    """Pictures by latents of ``latent_dim`` values; those that lie apart are kept, as the long-term memory does it."""

    def __init__(self, latent_dim: int, most: int = PICTURES) -> None:
        self.latent_dim = latent_dim
        self._memory = LongTerm(latent_dim, states=most)
        self._rows: list[int] = []  # number of the picture of each state
        self._pictures: dict[int, bytes] = {}
        self._next = int(1000 * time.time())  # a browser keeps pictures by number, longer than this process may last
        self._lock = threading.Lock()  # pages ask from threads of their own

    def __len__(self) -> int:
        return len(self._rows)

    def see(self, latent: NDArray[np.float32], draw: Callable[[], bytes]) -> bool:
        """A state was seen: latent (D,), and ``draw``, which makes its JPEG. Whether it was new, and so is kept."""
        if latent.shape != (self.latent_dim,) or not np.isfinite(latent).all():
            return False
        with self._lock:
            if not self._memory.observe(latent):
                return False
            number, self._next = self._next, self._next + 1
            if len(self._memory) > len(self._rows):
                self._rows.append(number)
            else:  # there was no room: it took another's place
                row = int(self._memory.nearest(latent)[0][0, 0])
                self._pictures.pop(self._rows[row], None)
                self._rows[row] = number
        self._pictures[number] = draw()
        return True

    def picture(self, number: int) -> bytes | None:
        """The JPEG of a number; None where it was forgotten."""
        return self._pictures.get(number)

    def like(self, latents: NDArray[np.float32]) -> list[Likeness]:
        """What each of latents (n, D) looks like; empty while no picture is kept."""
        with self._lock:
            index, distance = self._memory.nearest(latents)
            if not distance.size:
                return []
            spread = float(np.linalg.norm(self._memory.latents.std(axis=0)))
            rows = [self._rows[int(i)] for i in index[:, 0]]
        return [Likeness(row, bool(d <= UNLIKE * spread)) for row, d in zip(rows, distance[:, 0], strict=True)]
