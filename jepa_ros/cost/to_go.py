# SPDX-License-Identifier: Apache-2.0
"""Cost-to-go: how many control steps lie between two states, as a learned distance tells it.

The deliberate search orders its tree by it, tells known states by it, and judges by it whether the fast search comes
nearer to the goal. Anything that satisfies :class:`CostToGo` will do; :class:`ReadoutToGo` makes one of a readout.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from jepa_ros.errors import JepaRosError

#: Readout that plans can trust at range, where a model declares one.
WAY = "way"
#: A distance without codes is asked about so many known states only: those whose latents are nearest.
ASKED = 8


class CostToGo(Protocol):
    """Control steps between states; it need not be symmetric. Codes are what it computes with."""

    def code(self, latents: Tensor) -> Tensor:
        """What distances are computed from: latents (..., D) -> codes (..., K)."""
        ...

    def steps(self, here: Tensor, there: Tensor) -> Tensor:
        """Control steps from codes (..., K) to codes (..., K), broadcast: (...), at least 0."""
        ...

    def within(self, here: Tensor, known: Tensor, steps: float) -> Tensor:
        """Which known states lie within so many steps: codes (N, K) and (M, K) -> (N, M) bool."""
        ...


class ReadoutToGo:
    """The cost-to-go that a model's readout of a pair tells.

    Where the readout's head has ``code`` and ``steps`` (a distance in a space of its own), known states are compared in
    that space. Otherwise codes are latents, and only the known states of the nearest latents are asked about.

    Args:
        model: the world model, with ``read``. name: of the readout.
    """

    def __init__(self, model: Any, name: str) -> None:
        self.model, self.name = model, name
        heads = getattr(model, "heads", {})
        head = heads[name] if name in heads else None  # noqa: SIM401 - a ModuleDict has no get
        self._head = head if hasattr(head, "code") and hasattr(head, "steps") else None

    def code(self, latents: Tensor) -> Tensor:
        """See :class:`CostToGo`."""
        return latents if self._head is None else self._head.code(latents)

    def steps(self, here: Tensor, there: Tensor) -> Tensor:
        """See :class:`CostToGo`."""
        if self._head is not None:
            return self._head.steps(here, there)
        here, there = torch.broadcast_tensors(here, there)
        return self.model.read(self.name, here, there)

    def within(self, here: Tensor, known: Tensor, steps: float) -> Tensor:
        """See :class:`CostToGo`."""
        if self._head is not None or not len(here) or not len(known):
            return self.steps(known[None], here[:, None]) < steps
        near = torch.cdist(here, known).topk(min(ASKED, len(known)), largest=False).indices  # (N, k)
        found = torch.zeros(len(here), len(known), dtype=torch.bool, device=here.device)
        return found.scatter_(1, near, self.steps(known[near], here[:, None]) < steps)


def to_go_of(model: Any, name: str = WAY) -> ReadoutToGo | None:
    """The cost-to-go of a model by its readout ``name``; None if the model has no such readout.

    Raises:
        JepaRosError: the readout tells no control steps between two states.
    """
    readout = model.readouts.get(name)
    if readout is None:
        return None
    if not readout.pair or readout.unit != "steps":
        raise JepaRosError(
            f"readout '{name}' cannot be a cost-to-go: it is in {readout.unit}"
            f"{'' if readout.pair else ' and of a single latent'}; expected steps between two latents"
        )
    return ReadoutToGo(model, name)
