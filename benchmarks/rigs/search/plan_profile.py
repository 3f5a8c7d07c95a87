# SPDX-License-Identifier: Apache-2.0
"""Where the time of a plan goes: clocks around the parts of a search, for `jepa-ros bench plan`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any


class Profile:
    """Seconds by part of a plan, a part's own time without that of the parts inside it.

    Args:
        planner: a jepa_ros.planning.Planner; the parts of its search are wrapped from now on.
    """

    def __init__(self, planner: Any) -> None:
        self.seconds: dict[str, float] = {}
        self._inside: list[float] = []  # for each part under way, the seconds spent in parts inside it
        search, objective = planner.search, planner.objective
        readouts = search.engine.readouts
        read = {name: self._clocked(f"{name} readout", partial(readouts.read, name)) for name in readouts.readouts}
        readouts.read = lambda name, *args: read[name](*args)
        if hasattr(readouts, "latent_rms"):
            readouts.latent_rms = self._clocked("rms readout", readouts.latent_rms)
        search.engine = replace(search.engine, rollout=self._wrapped("rollout", search.engine.rollout))
        objective.terms = [self._wrapped("rest of the cost", term) for term in objective.terms]
        constraints = objective.constraints
        objective.constraints = lambda: [self._wrapped("constraints", c) for c in constraints()]
        for part, owner, name in (
            ("candidates", search.sampler, "propose"), ("update", search.sampler, "update"),
            ("actuation delay", search.delay, "effective"), ("plan", planner, "think"),
            *(("what is known", known, "prepare") for known in planner.knowledge),
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

        return Wrapped()
