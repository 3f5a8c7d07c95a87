# SPDX-License-Identifier: Apache-2.0
"""The tree of a deliberate search: states reached in imagination, in arrays of a fixed size.

A parent always stands before its children. When the tree is full, the branches of least promise are dropped.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: Share of the states that is dropped when the tree is full.
DROPPED = 0.25
ROOT = 0


class Tree:
    """States, how each was reached, and what is thought of it.

    Args:
        capacity: states at most. sizes: D of latents, S' of recurrent states, K of codes. edge: (L, A).
        device: of the tensors.

    Attributes:
        latents (cap, D), states (cap, S'), codes (cap, K): of the first ``len(tree)`` rows.
        actions: (cap, L, A), the edge that leads here; steps: (cap,) how many of its steps, 0 for the root.
        parent: (cap,), -1 for the root. cost: (cap,) steps from the root. to_go: (cap,) steps to the goal.
        visits: (cap,) times that it was expanded. dropped: states dropped so far.
    """

    def __init__(
        self, capacity: int, sizes: tuple[int, int, int], edge: tuple[int, int], device: torch.device
    ) -> None:  # fmt: skip
        self.capacity = capacity
        self.latents, self.states, self.codes = (torch.zeros(capacity, size, device=device) for size in sizes)
        self.actions = torch.zeros(capacity, *edge, device=device)
        self.parent = np.full(capacity, -1, dtype=np.int64)
        self.steps, self.visits = np.zeros((2, capacity), dtype=np.int64)
        self.cost, self.to_go = np.zeros((2, capacity))
        self.dropped = self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(
        self, parents: np.ndarray, latents: Tensor, states: Tensor, codes: Tensor, actions: Tensor, steps: np.ndarray,
        to_go: np.ndarray,
    ) -> None:  # fmt: skip
        """Take states (n, D), (n, S'), (n, K) that the first ``steps`` (n,) of actions (n, L, A) lead to from their
        parents (n,), -1 for the root. There must be room."""
        at = slice(self._count, self._count + len(parents))
        self.latents[at], self.states[at], self.codes[at], self.actions[at] = latents, states, codes, actions
        self.parent[at], self.steps[at], self.to_go[at] = parents, steps, to_go
        self.cost[at] = np.where(parents >= 0, self.cost[parents] + steps, 0.0)
        self.visits[at] = 0
        self._count += len(parents)

    def order(self, greed: float, again: float) -> np.ndarray:
        """What a state promises (n,), least first: steps so far, steps to go, and how often it was tried already."""
        n = self._count
        return self.cost[:n] + greed * self.to_go[:n] + again * self.visits[:n]

    def path(self, at: int) -> list[int]:
        """Rows from the root to a state."""
        rows = [at]
        while self.parent[rows[-1]] >= 0:
            rows.append(int(self.parent[rows[-1]]))
        return rows[::-1]

    def best(self) -> int:
        """The state with the fewest steps to go; of equals the one that was reached sooner."""
        n = self._count
        return int(np.lexsort((self.cost[:n], self.to_go[:n]))[0])

    def drop(self, promise: np.ndarray) -> None:
        """Make room: drop the branches whose best state promises least.

        Args:
            promise: (n,) of each state, least is best. The way to the state with the fewest steps to go stays.
        """
        n = self._count
        best = promise.copy()  # of the state's whole branch
        for at in range(n - 1, 0, -1):
            parent = self.parent[at]
            best[parent] = min(best[parent], best[at])
        best[self.path(self.best())] = -np.inf
        # A parent promises at least as much as its children and stands before them: no kept state loses its parent.
        keep = np.sort(np.argsort(best, kind="stable")[: max(1, int((1.0 - DROPPED) * n))])
        self.dropped += n - len(keep)
        self._keep(keep)

    def cut(self, branches: set[int]) -> None:
        """Take away the branches that begin with these states; the root is none."""
        if not branches:
            return
        gone = np.zeros(self._count, dtype=bool)
        for at in range(1, self._count):
            gone[at] = at in branches or gone[self.parent[at]]
        self._keep(np.flatnonzero(~gone))

    def _keep(self, keep: np.ndarray) -> None:
        """Keep these rows, in this order; with each its parent."""
        n, count = self._count, len(keep)
        place = np.full(n + 1, -1)
        place[keep] = np.arange(count)
        rows = torch.from_numpy(keep).to(self.latents.device)
        for values in (self.latents, self.states, self.codes, self.actions):
            values[:count] = values[rows]
        for column in (self.steps, self.visits, self.cost, self.to_go):
            column[:count] = column[keep]
        self.parent[:count] = place[self.parent[keep]]
        self._count = count
