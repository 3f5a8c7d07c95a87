# SPDX-License-Identifier: Apache-2.0
"""Labels for the map of places, from the robot's own sensors: where it was, and where it bumped.

A place is free when the robot's centre was there, or passed there, without a contact. It is blocked when the robot
touched something there: a place where it just scrapes along a box is one to keep away from. And it is blocked a little
further on, in the direction in which the robot was held back: what it should have moved less what it did points into
what stands there, be it ahead or aside. All hold for every picture of the same layout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepa_ros.contract import RobotContract
from jepa_ros.learning.data.dataset import Dataset

#: Sent on: at least this share of the full speed. Held: it fell short by this share of what was executed, at least.
SENT, HELD = 0.25, 0.4
#: m beyond a held robot's centre, least and most: what is taken for blocked.
AHEAD = (0.01, 0.12)
PLACES = 160  # of each picture of a batch
#: Of a picture's places: shares of those where the robot touched, of those beyond, and of free ones near to a touch.
TOUCHED, BEYOND, NEAR = 0.15, 0.2, 0.3
NEAR_BY = 0.12  # m from a place where the robot touched


@dataclass(frozen=True)
class Bumps:
    """Of one episode [m]: free places (F, 2), those of them near to a touch (N, 2), places where the robot touched
    (C, 2), and of those where it was held back (H, 2) with the unit directions (H, 2) in which it was.
    """

    free: np.ndarray
    near: np.ndarray
    touched: np.ndarray
    held: np.ndarray
    beyond: np.ndarray


def body_velocity(contract: RobotContract, actions: np.ndarray) -> np.ndarray | None:
    """(T, 2) forward and leftward velocity [m/s] of actions (T, A); None where the robot is not driven by these."""
    names = [a.name for a in contract.action]
    if "linear.x" not in names:
        return None
    left = actions[:, names.index("linear.y")] if "linear.y" in names else np.zeros(len(actions))
    return np.stack([actions[:, names.index("linear.x")], left], axis=1)


def read_bumps(contract: RobotContract, poses: np.ndarray, actions: np.ndarray, contacts: np.ndarray) -> Bumps:
    """Labels of one episode: poses (T, 3), executed actions (T, A) in physical units, contacts (T,)."""
    velocity = body_velocity(contract, actions)
    assert velocity is not None  # checked by can_fit
    places = poses[:, :2]
    yaw = poses[:-1, 2] + 0.5 * ((poses[1:, 2] - poses[:-1, 2] + np.pi) % (2 * np.pi) - np.pi)
    forward, left = velocity[:-1].T * contract.period
    sent = np.stack([np.cos(yaw) * forward - np.sin(yaw) * left, np.sin(yaw) * forward + np.cos(yaw) * left], axis=1)
    short = sent - (places[1:] - places[:-1])
    asked, lost = np.linalg.norm(sent, axis=1), np.linalg.norm(short, axis=1)
    held = contacts[:-1] & (asked > SENT * full_speed(contract) * contract.period)
    held &= (lost > HELD * asked) & ((sent * short).sum(axis=1) > 0.0)
    # Held back in a step, or a contact in it and in the next: the robot touched at the time in between.
    touching = np.concatenate([[False], held | (contacts[:-1] & contacts[1:])])
    passed = ~contacts[:-1]  # and what lies half way between two places, when nothing was touched
    free = np.concatenate([places[~touching], 0.5 * (places[:-1] + places[1:])[passed]])
    touched = places[touching]
    gaps = np.linalg.norm(free[:, None] - touched[None], axis=-1).min(axis=1, initial=np.inf)
    return Bumps(free, free[gaps < NEAR_BY], touched, places[1:][held], short[held] / lost[held, None])


def full_speed(contract: RobotContract) -> float:
    """The highest speed [m/s] along an axis."""
    return max(abs(float(a.high)) for a in contract.action if a.name.startswith("linear."))


class LabelledPlaces:
    """Draws pictures, and places with their labels.

    Args:
        poses: {episode: (T, 3)} m, m, rad: where the robot was.
    """

    def __init__(self, data: Dataset, episodes: np.ndarray, poses: dict[int, np.ndarray], seed: int) -> None:
        self.data, self.episodes = data, episodes
        self.rng = np.random.default_rng(seed)
        self.bumps = {
            int(e): read_bumps(
                data.contract, poses[int(e)], *(np.array(data.slice(name, int(e))) for name in ("actions", "contacts"))
            )
            for e in episodes
        }
        self.mates: dict[int, list[int]] = {}
        for e in episodes:
            self.mates.setdefault(int(data.index[e, 3]), []).append(int(e))

    def draw(
        self, pictures: int, share: Callable[[int], slice] = lambda rows: slice(rows)
    ) -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
        """images (B, H, W, 3) uint8, places (B, N, 2) m, blocked (B, N) 0 or 1; episodes (all,) of the pictures.

        ``share`` tells which of all pictures of the batch are read, and B of them.
        """
        rng = self.rng
        moments, places, labels, whose = [], [], [], []
        for e in rng.choice(self.episodes, pictures):
            moment = int(rng.integers(self.data.index[e, 2]))
            mates = self.mates[int(self.data.index[e, 3])]
            chosen = [self.bumps[int(m)] for m in [e, *rng.choice(mates, min(2, len(mates) - 1))]]
            kinds = {k: np.concatenate([getattr(b, k) for b in chosen]) for k in ("free", "near", "touched")}
            held, beyond = (np.concatenate([getattr(b, k) for b in chosen]) for k in ("held", "beyond"))
            if not len(kinds["free"]):
                continue
            wanted = {"touched": round(TOUCHED * PLACES), "near": round(NEAR * PLACES)}
            counts = {k: min(n, 4 * len(kinds[k])) for k, n in wanted.items()}
            further = min(round(BEYOND * PLACES), 6 * len(held))
            counts["free"] = PLACES - further - sum(counts.values())
            drawn = {k: kinds[k][rng.integers(max(1, len(kinds[k])), size=n)] for k, n in counts.items()}
            i = rng.integers(max(1, len(held)), size=further)
            ahead = held[i] + beyond[i] * rng.uniform(*AHEAD, (further, 1))
            points = np.concatenate([drawn["free"], drawn["near"], drawn["touched"], ahead])
            moments.append((int(e), moment))
            whose.append(e)
            places.append(points)
            labels.append(np.arange(PLACES) >= counts["free"] + counts["near"])
        mine = share(len(whose))
        images = [self.data.slice("images", e, t, 1)[0] for e, t in moments[mine]]
        return (
            torch.from_numpy(np.stack(images)),
            torch.from_numpy(np.stack(places[mine])).float(),
            torch.from_numpy(np.stack(labels[mine])).float(),
            np.array(whose),
        )
