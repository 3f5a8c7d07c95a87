# SPDX-License-Identifier: Apache-2.0
"""What a planner carries from one step into the next: the state that its next plan follows from, beside what is seen.

The status tells it with all its digits, so that a replay can go on from any step of a bag, although the planner ran
before the bag began. What the body's rooms and the long-term memory know is not among it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from jepa_ros.planning.planner import Planner

#: What a status tells of it.
NAMES = ("state", "sent", "warm", "arrival")


@dataclass(frozen=True)
class Carried:
    """After a step.

    Attributes:
        state: (S,) recurrent state. sent: (n + 2, A) commands under way, normalised, oldest first.
        warm: (T, A) the plan that the next search starts from, normalised; None after a step without a plan.
        arrival: see :meth:`jepa_ros.planning.arrival.Arrival.counts`.
    """

    state: NDArray[np.float32]
    sent: NDArray[np.float32]
    warm: NDArray[np.float32] | None
    arrival: tuple[int, int, int]

    @staticmethod
    def of(planner: Planner) -> Carried:
        """What this planner carries now."""
        history, warm = planner.history, planner.warm
        return Carried(
            history.h.cpu().numpy().copy(), history.sent.numpy().copy(), None if warm is None else warm.numpy().copy(),
            planner.arrival.counts,
        )  # fmt: skip

    def give(self, planner: Planner) -> None:
        """Let a planner go on from here that took the same image, and has the same model and settings."""
        history = planner.history
        history.h = torch.from_numpy(self.state.copy()).to(history.h.device)
        history.sent = torch.from_numpy(self.sent.copy())
        planner.warm = None if self.warm is None else torch.from_numpy(self.warm.copy())
        planner.arrival.counts = self.arrival

    def to_plain(self) -> dict[str, str]:
        """As texts by NAMES: numbers with all their digits, blanks between."""
        values = (self.state, self.sent, () if self.warm is None else self.warm, self.arrival)
        return {name: " ".join(f"{v:.9g}" for v in np.ravel(value)) for name, value in zip(NAMES, values, strict=True)}

    @staticmethod
    def from_plain(texts: Mapping[str, Any], planner: Planner) -> Carried | None:
        """The inverse of :meth:`to_plain`; None where nothing was told, or by a planner of other sizes than this one.

        Raises:
            ValueError: something was told, and it is not what :meth:`to_plain` writes.
        """
        if any(texts.get(name) is None for name in NAMES):
            return None
        found = [np.array(str(texts[name]).split(), dtype=np.float32) for name in NAMES]
        state, sent, warm, arrival = found
        if len(arrival) != 3 or not all(np.isfinite(values).all() for values in found):
            raise ValueError(f"carried: found {dict(texts)}, expected finite numbers, and three of arrival")
        h, now, config = planner.history.h, planner.history.sent, planner.config.search
        if state.size != h.numel() or sent.size != now.numel() or warm.size not in (0, config.horizon * now.shape[1]):
            return None
        plan = warm.reshape(config.horizon, -1) if warm.size else None
        arrived, inside, count = (int(v) for v in arrival)
        return Carried(state, sent.reshape(now.shape), plan, (arrived, inside, count))
