# SPDX-License-Identifier: Apache-2.0
"""Edges that the model believed in and that did not come true: what a drive teaches about the model's walls.

After every few steps the model is asked where the actions that were really executed should have led from where the
robot was. If it is not there, the edge has failed. Deliberations take no edge that is like a failed one.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor

from jepa_ros.cost.to_go import CostToGo

#: An edge has failed if more than this share of it is left, as the cost-to-go tells.
LEFT = 0.6
#: Failed edges that are remembered at most: the newest.
KEPT = 200


class Failures:
    """Failed edges of one drive.

    Args:
        model: the world model. to_go: its cost-to-go. length: steps of an edge.

    Attributes:
        last: (D,) where the robot was when an edge failed at the last step; None if none did.
    """

    def __init__(self, model: Any, to_go: CostToGo, length: int) -> None:
        self.model, self.to_go, self.length = model, to_go, length
        self.reset()

    def reset(self) -> None:
        """Forget all of them: the robot is elsewhere."""
        self._past: deque[tuple[Tensor, Tensor, Tensor | None]] = deque(maxlen=self.length + 1)
        self.begins = self.wanted = self.came = torch.zeros(0, 0)  # codes (n, K)
        self.last: Tensor | None = None

    def __len__(self) -> int:
        return len(self.begins)

    @torch.no_grad()
    def observe(self, latent: Tensor, state: Tensor, action: Tensor | None) -> None:
        """Take a control step.

        Args:
            latent: (D,) now. state: (S,) now. action: (A,) executed since the last step, None if nothing is known.
        """
        self.last = None
        if action is None:
            self._past.clear()
        self._past.append((latent, state, action))
        if len(self._past) <= self.length:
            return
        before, h, _ = self._past[0]
        actions = torch.stack([a for _, _, a in list(self._past)[1:] if a is not None])
        zs, _ = self.model.rollout(before[None], h[None], actions[None].to(before.device), None)
        code = self.to_go.code(torch.stack([before, zs[0, -1], latent]))  # began, should have come, came
        whole, left = float(self.to_go.steps(code[0], code[1])), float(self.to_go.steps(code[2], code[1]))
        if not whole >= self.length / 2 or not left > LEFT * whole:  # it stood still, or came
            return
        self.last = latent
        self._past.clear()  # the next edge begins anew
        if not len(self):
            self.begins = self.wanted = self.came = code[:0]
        self.begins, self.wanted, self.came = (
            torch.cat([kept, code[None, i]])[-KEPT:] for i, kept in enumerate((self.begins, self.wanted, self.came))
        )

    def now(self) -> Failed | None:
        """Those that there are, as a deliberation keeps them; None if there is none."""
        return Failed(self, self.begins, self.wanted, self.came) if len(self) else None


class Failed:
    """Failed edges as they were at one moment: where they began, should have led and led, codes (n, K) each."""

    def __init__(self, of: Failures, begins: Tensor, wanted: Tensor, came: Tensor) -> None:
        self._to_go, self._near = of.to_go, of.length
        self.begins, self.wanted, self.came = begins, wanted, came

    def like(self, begins: Tensor, ends: Tensor, step: float) -> Tensor:
        """Which edges are like failed ones: they begin within an edge of where one began, and end nearer to where it
        should have led than to where it led.

        Args:
            begins, ends: codes (m, K). step: what the cost-to-go says of a single step.

        Returns:
            (m,) bool.
        """
        to_go = self._to_go
        near = to_go.within(begins, self.begins, self._near * step)
        beyond = to_go.steps(ends[:, None], self.wanted[None]) < to_go.steps(ends[:, None], self.came[None])
        return (near & beyond).any(1)
