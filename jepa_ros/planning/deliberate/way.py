# SPDX-License-Identifier: Apache-2.0
"""A way through imagined states: what a deliberation hands over, complete or as far as it came."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Way:
    """From where the deliberation began to the nearest state to the goal that it found.

    Attributes:
        latents: (n, D) of its states, the start first. codes: (n, K) of them, see CostToGo.
        cost: (n,) steps from the start. to_go: (n,) steps from each state to the goal, by the cost-to-go.
        actions: (m, A) of the m = cost[-1] steps. solved: its end is the goal.
        step: what the cost-to-go says of a single step.
        confidence: share of the noise samples that kept to its least sure edge; 1 without noise.
    """

    latents: Tensor
    codes: Tensor
    cost: tuple[float, ...]
    to_go: tuple[float, ...]
    actions: Tensor
    solved: bool
    confidence: float = 1.0
    step: float = 1.0

    def __len__(self) -> int:
        return len(self.cost)
