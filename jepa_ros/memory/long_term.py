# SPDX-License-Identifier: Apache-2.0
"""Long-term memory: places with a name, what was seen, and what came of it. Plain arrays; see store.py for the disk.

What was seen is kept as latents that lie apart: a new one is taken where it is far from all that are remembered, and
when there is no room it takes the place of the one that lay nearest to another when it came. What a body's room
remembers beside (of a planar one: where it was held back) stands in annexes and is kept in the same file. Nothing is
learned from this by training: it is what happened.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import time as wall_clock
from typing import Any, Protocol, TypeVar

import numpy as np

from jepa_ros.errors import JepaRosError
from jepa_ros.memory.thumbnail import packed, unpacked

#: States, and the bytes that their latents may take: latents of large encoders are fewer.
STATES, LATENT_BYTES = 5000, 64 * 2**20
TAGS, TAG_LENGTH = 256, 64
#: A latent nearer than this share of the spread of all that are remembered tells nothing new.
NOVEL = 0.25
#: What came of being there.
NOTHING, OBSTRUCTED, CONTACT = 0, 1, 2
#: Values that say where a robot is, as its body's room tells it: of a planar one x m, y m, yaw rad.
WHERE = 3

Where = tuple[float, ...]
T = TypeVar("T")


class RecallError(JepaRosError):
    """What cannot be remembered, or is not known; the message says why."""


@dataclass(frozen=True)
class Tagged:
    """A state with a name: latent (D,), where that is or None where nobody knows, time [s, epoch], and a thumbnail for
    people (see jepa_ros.memory.thumbnail), b"" where there is none."""

    latent: np.ndarray
    where: Where | None
    time: float
    thumbnail: bytes = b""


class Annex(Protocol):
    """What a body's room remembers beside states."""

    @property
    def version(self) -> int:
        """Grows with every change."""
        ...

    def counts(self) -> dict[str, int]:
        """How much is remembered, by name, for people."""
        ...

    def tensors(self) -> dict[str, np.ndarray]:
        """All of it as arrays, copies; names that differ from all others."""
        ...

    def restore(self, found: dict[str, np.ndarray]) -> None:
        """Remember what :meth:`tensors` gave.

        Raises:
            ValueError, KeyError: it does not fit; nothing has changed.
        """
        ...

    def absorb(self, other: Any) -> None:
        """Remember besides what another annex of this kind remembers."""
        ...


class LongTerm:
    """What a robot remembers.

    Args:
        latent_dim: D. annexes: what is remembered beside states.
        states: at most so many are remembered. clock: s since the epoch.

    Attributes:
        tags: name -> Tagged. here: where the robot was last, None where that is not known.
    """

    def __init__(
        self, latent_dim: int, annexes: Sequence[Annex] = (), states: int = STATES,
        clock: Callable[[], float] = wall_clock,
    ) -> None:  # fmt: skip
        self.latent_dim, self.annexes, self.clock = latent_dim, tuple(annexes), clock
        self.capacity = max(1, min(states, LATENT_BYTES // (4 * latent_dim)))
        self.tags: dict[str, Tagged] = {}
        self.here: Where | None = None
        self.lock = threading.Lock()  # the store reads from a thread of its own
        self._version = 0
        self._count, self._spread = 0, 0.0
        self._latents = np.zeros((self.capacity, latent_dim), dtype=np.float32)
        self._norms = np.zeros(self.capacity, dtype=np.float32)  # squared
        self._where = np.full((self.capacity, WHERE), np.nan)
        self._facts = np.zeros((self.capacity, 3))  # time, outcome, distance to the nearest when it came

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._version + sum(annex.version for annex in self.annexes)

    def annex(self, kind: type[T]) -> T | None:
        """The annex of a kind, None where there is none."""
        return next((annex for annex in self.annexes if isinstance(annex, kind)), None)

    def __len__(self) -> int:
        return self._count

    @property
    def latents(self) -> np.ndarray:
        """(n, D) float32."""
        return self._latents[: self._count]

    @property
    def where(self) -> np.ndarray:
        """(n, WHERE); NaN where nobody knew."""
        return self._where[: self._count]

    @property
    def times(self) -> np.ndarray:
        """(n,) s since the epoch."""
        return self._facts[: self._count, 0]

    @property
    def outcomes(self) -> np.ndarray:
        """(n,) NOTHING, OBSTRUCTED or CONTACT."""
        return self._facts[: self._count, 1].astype(np.int64)

    # ------------------------------------------------------------ asking

    def nearest(self, latents: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The k remembered states nearest to each of latents (B, D): indices (B, k), distances (B, k), nearest first.

        Where fewer are remembered there are fewer columns.
        """
        asked = np.asarray(latents, dtype=np.float32).reshape(-1, self.latent_dim)
        k = min(k, self._count)
        if not k:
            return np.zeros((len(asked), 0), dtype=np.int64), np.zeros((len(asked), 0))
        near = self._norms[: self._count] - 2.0 * (asked @ self.latents.T)  # squared, less what is the same for all
        some = min(2 * k + 2, self._count)  # a few more: the differences of large numbers are not exact
        index = np.argpartition(near, some - 1, axis=1)[:, :some] if some < self._count else np.argsort(near, axis=1)
        distance = np.linalg.norm(self.latents[index].astype(np.float64) - asked[:, None], axis=-1)
        order = np.argsort(distance, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(index, order, 1), np.take_along_axis(distance, order, 1)

    def tagged(self, name: str) -> Tagged:
        """The place of a name.

        Raises:
            RecallError: there is none; the known ones are listed.
        """
        if name not in self.tags:
            known = ", ".join(sorted(self.tags)) or "none"
            raise RecallError(f"no place is remembered as '{name}'; known: {known}")
        return self.tags[name]

    # ------------------------------------------------------------ remembering

    def tag(self, name: str, latent: np.ndarray, where: Where | None = None, thumbnail: bytes = b"") -> None:
        """Remember a place under a name; one that has the name already is forgotten.

        Raises:
            RecallError: no name that can be told apart, or there is no room.
        """
        if not name or len(name) > TAG_LENGTH or not name.isprintable() or name != name.strip():
            raise RecallError(f"a tag is 1 to {TAG_LENGTH} printable characters without blanks around; found {name!r}")
        if name not in self.tags and len(self.tags) >= TAGS:
            raise RecallError(f"{TAGS} places are remembered already, which is all there is room for: reuse a tag")
        flat = np.array(latent, dtype=np.float32).reshape(-1)
        if flat.size != self.latent_dim or not np.isfinite(flat).all():
            raise RecallError(f"latent of {flat.size} values is of another size than {self.latent_dim}, or not finite")
        with self.lock:
            self.tags[name] = Tagged(flat, where, self.clock(), thumbnail)
            self._version += 1

    def observe(self, latent: np.ndarray, where: Where | None = None) -> bool:
        """See a state: latent (D,), and where that is. Whether it was taken as new."""
        self.here = where
        distance = self.nearest(latent)[1]
        spacing = float(distance[0, 0]) if distance.size else np.inf
        with self.lock:
            return spacing > NOVEL * self._spread and self._add(latent, where, NOTHING, spacing)

    def mark(self, latent: np.ndarray, where: Where | None, outcome: int) -> None:
        """Something came of being in a state: OBSTRUCTED, or CONTACT."""
        self.here = where
        index, distance = self.nearest(latent)
        with self.lock:
            if distance.size and distance[0, 0] <= NOVEL * self._spread:
                self._facts[index[0, 0], 1:] = outcome, np.inf
                self._version += 1
            else:
                self._add(latent, where, outcome, np.inf)

    def _add(
        self, latent: np.ndarray, where: Where | None, outcome: int, spacing: float, time: float | None = None
    ) -> bool:
        at = self._count
        if at == self.capacity:
            at = int(np.argmin(self._facts[:, 2]))
            if self._facts[at, 2] >= spacing:
                if outcome == NOTHING:
                    return False
                at = int(np.argmin(self._facts[:, 0]))  # all came with an outcome: the oldest makes room
        else:
            self._count += 1
        self._latents[at] = np.asarray(latent, dtype=np.float32).reshape(-1)
        self._norms[at] = self._latents[at] @ self._latents[at]
        self._where[at] = np.nan if where is None else where
        self._facts[at] = self.clock() if time is None else time, outcome, spacing
        if self._count & (self._count - 1) == 0 or self._count == self.capacity:  # now and then
            self._spread = float(np.linalg.norm(self.latents.std(axis=0)))
        self._version += 1
        return True

    # ------------------------------------------------------------ from another memory

    def absorb(self, other: LongTerm) -> int:
        """Take the states that another memory remembers, with their times and what came of them; how many of them told
        something: they were new here, or something came of one that was known."""
        index, distance = self.nearest(other.latents)
        far = distance[:, 0] if distance.size else np.full(len(other), np.inf)
        told = 0
        with self.lock:
            for i, (latent, where, outcome) in enumerate(zip(other.latents, other.where, other.outcomes, strict=True)):
                at = float(other.times[i])
                place = None if np.isnan(where).any() else tuple(where.tolist())
                if far[i] > NOVEL * other._spread or not distance.size:
                    told += self._add(latent, place, outcome, np.inf if outcome != NOTHING else float(far[i]), at)
                elif outcome != NOTHING:
                    self._facts[index[i, 0]] = at, outcome, np.inf
                    self._version += 1
                    told += 1
        return told

    def adopt(self, name: str, place: Tagged) -> None:
        """Take a tag of another memory, with its time."""
        with self.lock:
            self.tags[name] = place
            self._version += 1

    # ------------------------------------------------------------ as plain arrays

    def tensors(self) -> dict[str, np.ndarray]:
        """All that is remembered, save the names of the tags, as arrays; copies."""
        places = list(self.tags.values())
        pictures, sizes = packed([p.thumbnail for p in places])
        found = {
            "latents": self.latents.copy(),
            "poses": self.where.copy(),
            "facts": self._facts[: self._count].copy(),
            "tag_latents": np.array([p.latent for p in places], dtype=np.float32).reshape(-1, self.latent_dim),
            "tag_poses": np.array([p.where or (np.nan,) * WHERE for p in places]).reshape(-1, WHERE),
            "tag_times": np.array([p.time for p in places], dtype=np.float64),
            "tag_thumbnails": pictures,
            "tag_thumbnail_sizes": sizes,
        }
        for annex in self.annexes:
            found |= annex.tensors()
        return found

    def restore(self, names: list[str], found: dict[str, np.ndarray]) -> None:
        """Remember what :meth:`tensors` gave, in the place of everything.

        Raises:
            ValueError, KeyError: it does not fit together.
        """
        count = len(found["latents"])
        shapes = {
            "latents": (count, self.latent_dim), "poses": (count, WHERE), "facts": (count, 3),
            "tag_latents": (len(names), self.latent_dim), "tag_poses": (len(names), WHERE), "tag_times": (len(names),),
        }  # fmt: skip
        for key, shape in shapes.items():
            if found[key].shape != shape:
                raise ValueError(f"{key} has shape {found[key].shape}; expected {shape}")
            if key not in ("poses", "tag_poses", "facts") and not np.isfinite(found[key]).all():
                raise ValueError(f"{key}: a value is not finite")
        if count > self.capacity or len(names) > TAGS or len(set(names)) < len(names):
            raise ValueError(f"{count} states and {len(names)} tags are more than fit, or two tags are the same")
        thumbnails = [b""] * len(names)
        if "tag_thumbnails" in found:  # older memories have none
            thumbnails = unpacked(found["tag_thumbnails"], found["tag_thumbnail_sizes"], len(names))
        with self.lock:
            for annex in self.annexes:
                annex.restore(found)
            self._count = count
            self._latents[:count], self._where[:count] = found["latents"], found["poses"]
            self._facts[:count] = found["facts"]
            self._norms[:count] = (self.latents**2).sum(axis=1)
            self._spread = float(np.linalg.norm(self.latents.std(axis=0))) if count else 0.0
            poses = [tuple(p.tolist()) if np.isfinite(p).all() else None for p in found["tag_poses"]]
            rows = zip(names, found["tag_latents"], poses, found["tag_times"], thumbnails, strict=True)
            self.tags = {
                name: Tagged(latent, where, float(at), thumbnail) for name, latent, where, at, thumbnail in rows
            }
