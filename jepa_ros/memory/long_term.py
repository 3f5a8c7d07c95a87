# SPDX-License-Identifier: Apache-2.0
"""Long-term memory: places with a name, what was seen, and what came of it. Plain arrays; see store.py for the disk.

What was seen is kept as latents that lie apart: a new one is taken where it is far from all that are remembered, and
when there is no room it takes the place of the one that lay nearest to another when it came. Where the robot was held
back is remembered as a point, and believed the more the more often it happened; a robot that drives through it later
refutes it. Nothing is learned from this by training: it is what happened.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import time as wall_clock
from typing import Any

import numpy as np

from jepa_ros.errors import JepaRosError
from jepa_ros.memory.knowledge import Seen

#: States, and the bytes that their latents may take: latents of large encoders are fewer.
STATES, LATENT_BYTES = 5000, 64 * 2**20
OBSTRUCTIONS = 256
TAGS, TAG_LENGTH = 256, 64
#: A latent nearer than this share of the spread of all that are remembered tells nothing new.
NOVEL = 0.25
#: What came of being there.
NOTHING, OBSTRUCTED, CONTACT = 0, 1, 2
#: m, two obstructions nearer than this are one.
SAME = 0.05
#: Share of the distance that a robot keeps; one that is nearer than that to an obstruction has shown that it is gone.
THROUGH = 0.5
#: Chance that a robot is not held back again where it was once; twice: its square. The gate says that something is in
#: the way, not quite where: at 0.5 robots went round places that were free (docs/memory.md).
DOUBT = 0.8


class RecallError(JepaRosError):
    """What cannot be remembered, or is not known; the message says why."""


@dataclass(frozen=True)
class Tagged:
    """A place with a name: latent (D,), pose (x m, y m, yaw rad) or None without a pose readout, time [s, epoch]."""

    latent: np.ndarray
    pose: tuple[float, float, float] | None
    time: float


class LongTerm:
    """What a robot remembers.

    Args:
        latent_dim: D. keep: m, that the robot's centre keeps from an obstruction.
        states: at most so many are remembered. clock: s since the epoch.

    Attributes:
        tags: name -> Tagged. map: log-odds (cells, cells) of the map of places, None before it is known.
        obstructions: (n, 4) x m, y m, how often, time s. version: grows with every change.
        here: where the robot was last, x m, y m, yaw rad; None where that is not known.
    """

    def __init__(
        self, latent_dim: int, keep: float, states: int = STATES, clock: Callable[[], float] = wall_clock
    ) -> None:
        self.latent_dim, self.keep, self.clock = latent_dim, keep, clock
        self.capacity = max(1, min(states, LATENT_BYTES // (4 * latent_dim)))
        self.tags: dict[str, Tagged] = {}
        self.map: np.ndarray | None = None
        self.obstructions = np.zeros((0, 4))
        self.version = 0
        self.here: tuple[float, float, float] | None = None
        self.lock = threading.Lock()  # the store reads from a thread of its own
        self._count, self._spread = 0, 0.0
        self._latents = np.zeros((self.capacity, latent_dim), dtype=np.float32)
        self._norms = np.zeros(self.capacity, dtype=np.float32)  # squared
        self._poses = np.full((self.capacity, 3), np.nan)
        self._facts = np.zeros((self.capacity, 3))  # time, outcome, distance to the nearest when it came
        self._seen: tuple[Any, np.ndarray] | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def latents(self) -> np.ndarray:
        """(n, D) float32."""
        return self._latents[: self._count]

    @property
    def poses(self) -> np.ndarray:
        """(n, 3) x m, y m, yaw rad; NaN without a pose readout."""
        return self._poses[: self._count]

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

    def obstructed(self, points: np.ndarray) -> np.ndarray:
        """Chance (...) that a robot at points (..., 2) [m] is held back, by what came of being there before.

        The answer is kept, and given again for the same points while nothing has changed.
        """
        known = self.obstructions
        if self._seen is None or self._seen[0] is not known or self._seen[1].shape != points.shape[:-1]:
            chance = np.zeros(points.shape[:-1])
            for x, y, count, _ in known:
                near = np.hypot(points[..., 0] - x, points[..., 1] - y) < self.keep
                chance = np.maximum(chance, np.where(near, 1.0 - DOUBT**count, 0.0))
            self._seen = known, chance
        return self._seen[1]

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

    def tag(self, name: str, latent: np.ndarray, pose: tuple[float, float, float] | None = None) -> None:
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
            self.tags[name] = Tagged(flat, pose, self.clock())
            self.version += 1

    def live(
        self, seen: Seen, pose: tuple[float, float, float] | None = None, held_at: tuple[float, float] | None = None
    ) -> None:
        """Take a step of the planner: where the robot is, and where it was held back, None for nowhere."""
        self.here = pose
        latent = seen.embedding[: self.latent_dim]
        if pose is not None and held_at is not None:
            self.note(latent, pose, held_at, CONTACT if seen.gate_reason == "contact" else OBSTRUCTED)
        else:
            self.observe(latent, pose)

    def observe(self, latent: np.ndarray, pose: tuple[float, float, float] | None = None) -> bool:
        """See a state: latent (D,), pose (x m, y m, yaw rad). Whether it was taken as new."""
        distance = self.nearest(latent)[1]
        spacing = float(distance[0, 0]) if distance.size else np.inf
        with self.lock:
            if pose is not None:
                self._refute(pose)
            return spacing > NOVEL * self._spread and self._add(latent, pose, NOTHING, spacing)

    def note(
        self, latent: np.ndarray, pose: tuple[float, float, float], point: tuple[float, float], outcome: int
    ) -> None:
        """The robot was held back at a state by something at ``point`` [m]: OBSTRUCTED, or CONTACT."""
        index, distance = self.nearest(latent)
        with self.lock:
            if distance.size and distance[0, 0] <= NOVEL * self._spread:
                self._facts[index[0, 0], 1:] = outcome, np.inf
            else:
                self._add(latent, pose, outcome, np.inf)
            known = self.obstructions
            same = np.hypot(known[:, 0] - point[0], known[:, 1] - point[1]) <= SAME
            count = 1.0 + known[same, 2].sum()
            self.obstructions = np.vstack([known[~same], [*point, count, self.clock()]])[-OBSTRUCTIONS:]
            self.version += 1

    def _refute(self, pose: tuple[float, float, float]) -> None:
        known = self.obstructions
        there = np.hypot(known[:, 0] - pose[0], known[:, 1] - pose[1]) >= THROUGH * self.keep
        if not there.all():
            self.obstructions = known[there]
            self.version += 1

    def _add(self, latent: np.ndarray, pose: Any, outcome: int, spacing: float) -> bool:
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
        self._poses[at] = np.nan if pose is None else pose
        self._facts[at] = self.clock(), outcome, spacing
        if self._count & (self._count - 1) == 0 or self._count == self.capacity:  # now and then
            self._spread = float(np.linalg.norm(self.latents.std(axis=0)))
        self.version += 1
        return True

    # ------------------------------------------------------------ as plain arrays

    def tensors(self) -> dict[str, np.ndarray]:
        """All that is remembered, save the names of the tags, as arrays; copies."""
        places = list(self.tags.values())
        found = {
            "latents": self.latents.copy(),
            "poses": self.poses.copy(),
            "facts": self._facts[: self._count].copy(),
            "obstructions": self.obstructions.copy(),
            "tag_latents": np.array([p.latent for p in places], dtype=np.float32).reshape(-1, self.latent_dim),
            "tag_poses": np.array([p.pose or (np.nan,) * 3 for p in places]).reshape(-1, 3),
            "tag_times": np.array([p.time for p in places], dtype=np.float64),
        }
        return found if self.map is None else found | {"map": np.array(self.map)}

    def restore(self, names: list[str], found: dict[str, np.ndarray]) -> None:
        """Remember what :meth:`tensors` gave, in the place of everything.

        Raises:
            ValueError, KeyError: it does not fit together.
        """
        count = len(found["latents"])
        shapes = {
            "latents": (count, self.latent_dim), "poses": (count, 3), "facts": (count, 3),
            "obstructions": (len(found["obstructions"]), 4), "tag_latents": (len(names), self.latent_dim),
            "tag_poses": (len(names), 3), "tag_times": (len(names),),
        }  # fmt: skip
        for key, shape in shapes.items():
            if found[key].shape != shape:
                raise ValueError(f"{key} has shape {found[key].shape}; expected {shape}")
            if key not in ("poses", "tag_poses", "facts") and not np.isfinite(found[key]).all():
                raise ValueError(f"{key}: a value is not finite")
        if count > self.capacity or len(names) > TAGS or len(set(names)) < len(names):
            raise ValueError(f"{count} states and {len(names)} tags are more than fit, or two tags are the same")
        with self.lock:
            self._count = count
            self._latents[:count], self._poses[:count] = found["latents"], found["poses"]
            self._facts[:count] = found["facts"]
            self._norms[:count] = (self.latents**2).sum(axis=1)
            self._spread = float(np.linalg.norm(self.latents.std(axis=0))) if count else 0.0
            self.obstructions = found["obstructions"][-OBSTRUCTIONS:].astype(np.float64)
            poses = [tuple(p.tolist()) if np.isfinite(p).all() else None for p in found["tag_poses"]]
            self.tags = {
                name: Tagged(latent, pose, float(at))
                for name, latent, pose, at in zip(names, found["tag_latents"], poses, found["tag_times"], strict=True)
            }
            self.map = found.get("map")


class Remembering:
    """A long-term memory of a body whose place nobody knows: see :class:`jepa_ros.memory.knowledge.Knowledge`."""

    def __init__(self, memory: LongTerm) -> None:
        self.memory = memory

    def reset(self) -> None:
        """What is remembered outlives a drive."""

    def observe(self, seen: Seen) -> None:
        """Take an image."""
        self.memory.live(seen)

    def prepare(self, goal: Any, distance: float | None = None, stamp: float = 0.0) -> None:
        """Nothing to do for a goal."""

    def terms(self) -> list[Any]:
        """No costs."""
        return []

    def constraints(self) -> list[Any]:
        """Nothing to keep."""
        return []

    def views(self, latents: Any = None) -> dict[str, Any]:
        """Nothing to look at."""
        return {}
