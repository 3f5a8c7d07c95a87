# SPDX-License-Identifier: Apache-2.0
"""Readouts of one batch of futures, each computed once however many ask: task cost, guardrails, memory."""

from __future__ import annotations

from typing import Any

import torch


class SharedReadouts:
    """A model whose readouts of the futures at hand are remembered; everything else is the model's own.

    Args:
        readouts: has `has_readout` and the readouts, as jepa_ros.world_model.WorldModel.
    """

    def __init__(self, readouts: Any) -> None:
        self._readouts = readouts
        self._futures: torch.Tensor | None = None
        self._found: dict[str, torch.Tensor] = {}

    def begin(self, futures: torch.Tensor) -> None:
        """Take new futures (C, S, T, D): what was read before is forgotten (rollouts reuse their memory)."""
        self._futures = futures
        self._found.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._readouts, name)

    def _read(self, name: str, z: torch.Tensor) -> torch.Tensor:
        if z is not self._futures:
            if self._futures is not None and z.numel() == self._futures.numel():
                self._found.pop(name, None)  # a readout may answer in memory that it keeps for each size
            return getattr(self._readouts, name)(z)
        if name not in self._found:
            self._found[name] = getattr(self._readouts, name)(z)
        return self._found[name]

    def pose(self, z: torch.Tensor) -> torch.Tensor:
        """See WorldModel.pose."""
        return self._read("pose", z)

    def contact(self, z: torch.Tensor) -> torch.Tensor:
        """See WorldModel.contact."""
        return self._read("contact", z)

    def novelty(self, z: torch.Tensor) -> torch.Tensor:
        """See the model's own."""
        return self._read("novelty", z)
