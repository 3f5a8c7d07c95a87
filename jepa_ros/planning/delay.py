# SPDX-License-Identifier: Apache-2.0
"""What the robot will execute when commands take effect late. The ONE place that knows about actuation latency.

A command planned from the image of step k takes effect at t_k + L. With L = (n + w) T the action of step k + j (the
mean over its period) is w u[k+j-n-1] + (1 - w) u[k+j-n]: the first n steps are made of commands that were sent
already, and the first planned one shares its period with the command before it.
"""

from __future__ import annotations

import math

import torch

from jepa_ros.planning.problem import SearchError


class Delay:
    """Turns planned commands into executed actions.

    Args:
        latency: L in seconds, >= 0. period: T in seconds, > 0.

    Attributes:
        whole: n, the steps that are wholly decided already. share: w in [0, 1).
    """

    def __init__(self, latency: float, period: float) -> None:
        if not (math.isfinite(latency) and latency >= 0.0 and math.isfinite(period) and period > 0.0):
            raise SearchError(f"actuation latency {latency} s, period {period} s; expected >= 0 and > 0")
        steps = latency / period
        self.whole = int(steps + 1e-9)
        self.share = max(0.0, steps - self.whole)
        if self.share < 1e-9:
            self.share = 0.0

    @property
    def known(self) -> int:
        """How many earlier commands are needed."""
        return self.whole + 1

    def under_way(self, sent: torch.Tensor) -> torch.Tensor:
        """Actions of the whole steps that are decided already: sent (n + 1, A), oldest first -> (n, A)."""
        self._check(sent)
        return self.share * sent[:-1] + (1.0 - self.share) * sent[1:]

    def effective(self, commands: torch.Tensor, sent: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Executed actions of the planned steps.

        Args:
            commands: (..., T, A) planned. sent: (n + 1, A) sent before, oldest first.
            out: (..., T, A) to write into.

        Returns:
            (..., T, A), where step j is the j-th after the `whole` ones.
        """
        self._check(sent)
        if self.share == 0.0:
            return commands if out is None else out.copy_(commands)
        out = commands * (1.0 - self.share) if out is None else torch.mul(commands, 1.0 - self.share, out=out)
        out[..., 1:, :].add_(commands[..., :-1, :], alpha=self.share)
        out[..., 0, :].add_(sent[-1], alpha=self.share)
        return out

    def _check(self, sent: torch.Tensor) -> None:
        if sent.shape[0] != self.known:
            raise SearchError(f"{sent.shape[0]} earlier commands given; this actuation latency needs {self.known}")
