# SPDX-License-Identifier: Apache-2.0
"""Guardrails of a body that drives over a plane: judged at predicted poses, and how to leave a region that it is in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from jepa_ros.cost.futures import Futures
from jepa_ros.cost.goal import Target
from jepa_ros.cost.guardrail_constraints import GuardrailConstraint, GuardrailJudge
from jepa_ros.planar.places import Places
from jepa_ros.planar.readouts import to_poses

#: Kinds that a robot can stand inside of.
REGIONS = ("keep_out", "keep_in", "workspace")
#: A plan that leaves a region comes nearer to its edge by at least so much [m], unless it comes out.
LEAVES = 0.05
#: Depth may seem to grow by so much from step to step while it shrinks [m]: the pose readout is not exact.
READOUT_NOISE = 0.01


class RegionConstraint(GuardrailConstraint):
    """A region. A robot that stands where it forbids (it started there, or the region was set down on it) may leave:
    plans are then held to coming out and never going deeper (:func:`leaving`).
    """

    def __init__(self, guardrail: Any, read: Callable[[Futures], Any]) -> None:
        super().__init__(guardrail, read)
        self._begun: tuple[torch.Tensor | None, float] = (None, 0.0)  # where plans begin, and the excess there

    def __call__(self, futures: Futures, goal: Target) -> np.ndarray:
        """(C, S, T), at most 0 where it is kept."""
        if self._begun[0] is not futures.start:
            nothing = torch.zeros_like(futures.actions[:1, :1])
            here = Futures(futures.model, futures.start[None, None, None], nothing, futures.start)
            self._begun = futures.start, float(np.max(self.guardrail.excess(self._read(here))))
        excess, inside = super().__call__(futures, goal), self._begun[1]
        return leaving(excess, inside) if inside > 0.0 else excess


def leaving(excess: np.ndarray, start: float) -> np.ndarray:
    """How far plans that begin inside a region are from leaving it: at most 0 where they only come out.

    Args:
        excess: (..., T) over the region at each step [m], ``start`` > 0: where they begin.

    Returns:
        (..., T): the step back inwards; at the last step what is missing of ``LEAVES`` (or of being out), if more.
    """
    path = np.concatenate([np.full((*excess.shape[:-1], 1), start), excess], axis=-1)
    least = np.maximum(np.minimum.accumulate(path, axis=-1)[..., :-1], 0.0)
    found = excess - least - READOUT_NOISE
    found[..., -1] = np.maximum(found[..., -1], excess[..., -1] - max(start - LEAVES, 0.0))
    return found


def judge(
    guardrails: Iterable[Any], model: Any, contract: Any, samples: int, margin: float, places: Places | None
) -> GuardrailJudge:
    """The constraints of guardrails for a planar body; see GuardrailJudge for errors.

    Args:
        margin: m that plans keep to regions besides what is asked. places: where there is a map, the chance of contact
            is read from it, and from the model's readout otherwise.
    """
    wider = [replace(g, radius=g.radius + margin) if getattr(g, "kind", None) in REGIONS else g for g in guardrails]

    def beside(futures: Futures) -> dict[str, Any]:
        if "pose" not in model.readouts:
            return {}
        poses = futures.derived("poses", lambda: to_poses(futures.read("pose")))
        return {"poses": poses} if places is None else {"poses": poses, "contact": places.look_up(poses[..., :2])}

    def constrain(guardrail: Any, read: Callable[[Futures], Any]) -> GuardrailConstraint:
        region = getattr(guardrail, "kind", None) in REGIONS
        return (RegionConstraint if region else GuardrailConstraint)(guardrail, read)

    return GuardrailJudge(wider, model, contract, samples, beside, constrain)


def closed(found: GuardrailJudge, contract: Any, places: np.ndarray) -> np.ndarray:
    """Whether a guardrail forbids a robot that stands at places (n, m, 2) [m], whatever it does: (n, m) bool."""
    rows = places.reshape(-1, 1, 1, 2)
    count = len(rows)
    nowhere = np.zeros((count, 1, 1))
    states = SimpleNamespace(
        poses=np.concatenate([rows, np.zeros((count, 1, 1, 1))], axis=-1),
        contact=nowhere,
        novelty=nowhere,
        actions=np.zeros((count, 1, 1, contract.action_dim)),
        period=contract.period,
    )
    shut = np.zeros(count, dtype=bool)
    for guardrail in found.guardrails:
        shut |= np.broadcast_to(guardrail.excess(states), (count, 1, 1))[:, 0, 0] > 0.0
    return shut.reshape(places.shape[:-1])
