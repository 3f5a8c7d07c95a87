# SPDX-License-Identifier: Apache-2.0
"""Where the time of a plan goes: clocks around the parts of a search, for `jepa-ros bench plan`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

NAMES = {"distance": "distance readout", "pose": "pose readout", "latent_rms": "rms readout"}


class Profile:
    """Seconds by part of a search, a part's own time without that of the parts inside it.

    Args:
        search: a jepa_ros.planning.Search; its parts are wrapped from now on.
    """

    def __init__(self, search: Any) -> None:
        self.seconds: dict[str, float] = {}
        self._inside: list[float] = []  # for each part under way, the seconds spent in parts inside it
        readouts, weights = search.engine.readouts, search.task.weights
        for name in NAMES:
            if hasattr(readouts, name):
                setattr(readouts, name, self._clocked(NAMES[name], getattr(readouts, name)))
        search.set_weights(weights)  # it asks for the readouts anew
        search._rollout = self._clocked("rollout", search._rollout)
        for part, owner, name in (
            ("candidates", search.sampler, "propose"), ("update", search.sampler, "update"),
            ("actuation delay", search.delay, "effective"), ("guardrails", search, "guard"),
            ("rest of the cost", search, "task"), ("plan", search, "plan"),
        ):  # fmt: skip
            setattr(owner, name, self._wrapped(part, getattr(owner, name)))

    def _clocked(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def clocked(*args: Any, **kwargs: Any) -> Any:
            self._inside.append(0.0)
            began = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                spent = time.perf_counter() - began
                inside = self._inside.pop()
                self.seconds[part] = self.seconds.get(part, 0.0) + spent - inside
                if self._inside:
                    self._inside[-1] += spent

        return clocked

    def _wrapped(self, part: str, owner: Any) -> Any:
        """A clocked callable that still has its attributes."""
        clocked = self._clocked(part, owner)

        class Wrapped:
            def __call__(self, *args: Any, **kwargs: Any) -> Any:
                return clocked(*args, **kwargs)

            def __getattr__(self, name: str) -> Any:
                return getattr(owner, name)

            def __bool__(self) -> bool:
                return bool(owner)

        return Wrapped()
