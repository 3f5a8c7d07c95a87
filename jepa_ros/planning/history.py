# SPDX-License-Identifier: Apache-2.0
"""What the planner remembers between images: the recurrent state, the last latent, and the commands under way.

Surprise is made here too: it is the difference between the latent that is seen and the one that was predicted from
what the robot really executed, so that a command which the gate scaled is no surprise.
"""

from __future__ import annotations

import torch

from jepa_ros.planning.delay import Delay


class History:
    """The state between two steps of the planner. All actions are normalised.

    Args:
        model: the world model. delay: the contract's actuation latency.
        neutral: (A,) the command that stands still.
        max_steps: after a longer silence the past is forgotten.
    """

    def __init__(self, model, delay: Delay, neutral: torch.Tensor, max_steps: int = 5) -> None:
        self.model, self.delay, self.neutral, self.max_steps = model, delay, neutral, max_steps
        self.reset()

    def reset(self) -> None:
        """Forget everything: the robot was moved, or the clock jumped."""
        self.z: torch.Tensor | None = None
        self.h = self.model.initial_state(1)[0]
        #: (n + 2, A) oldest first: u[k-n-2] ... u[k-1] at step k; u[k-n-1] is the one in effect at t_k.
        self.sent = self.neutral.expand(self.delay.known + 1, -1).clone()
        self._answered = False
        self.surprise: float | None = None
        self.action: torch.Tensor | None = None  # (A,) what led to the last latent, None where nothing is known

    @torch.no_grad()
    def observe(self, z: torch.Tensor, steps: int, executed: torch.Tensor | None, gated: torch.Tensor | None) -> None:
        """Take the latent of a new image.

        Args:
            z: (D,). steps: control steps since the last one (0: the same step again).
            executed: (A,) mean action over those steps, None where it is not measured.
            gated: (A,) command now in effect, as the gate let it through; None where it is not known.
        """
        if steps < 0 or steps > self.max_steps:
            self.reset()
            steps = 0
        self.action = None if steps else self.action
        if steps and self.z is not None:
            for _ in range(steps - 1):  # the last command stayed in force
                self.sent = torch.cat([self.sent[1:], self.sent[-1:]])
            expected = self.delay.share * self.sent[0] + (1.0 - self.delay.share) * self.sent[1]
            action = self.action = expected if executed is None else executed
            if gated is None and executed is not None and bool(((executed - expected).abs() > 0.25).any()):
                gated = executed  # the gate intervened: what was executed goes on
            actions = action.expand(1, steps, -1).to(z.device)
            zs, h = self.model.rollout(self.z[None], self.h[None], actions, None)
            self.h = h[0] if bool(torch.isfinite(h).all()) else self.model.initial_state(1)[0]
            self.surprise = float((zs[0, -1] - z).square().mean().sqrt())
        self.z = z
        self._answered = self._answered and steps == 0
        if gated is not None:
            self.sent[1] = gated

    @property
    def under_way(self) -> torch.Tensor:
        """(n + 1, A) commands sent before, oldest first, as `Search.plan` takes them."""
        return self.sent[1:]

    def command(self, command: torch.Tensor) -> None:
        """Remember a command (A,) that is sent now; a second one in the same step takes the first one's place."""
        past = self.sent[:-1] if self._answered else self.sent[1:]
        self.sent = torch.cat([past, command[None]])
        self._answered = True
