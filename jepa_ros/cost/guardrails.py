# SPDX-License-Identifier: Apache-2.0
"""Guardrails as costs over predicted states. Schema and geometry stand in jepa_ros.safety.guardrails, for the gate and
for the planner alike; here they meet the model's readouts, the noise samples and the risk level.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from jepa_ros.cost.risk import check_level
from jepa_ros.memory import Places
from jepa_ros.safety.guardrails import FROM_PLANNER, GuardrailError

#: Kinds that a robot can stand inside of.
REGIONS = ("keep_out", "keep_in", "workspace")
#: A plan that leaves a region comes nearer to its edge by at least so much [m], unless it comes out.
LEAVES = 0.05
#: Depth may seem to grow by so much from step to step while it shrinks [m]: the pose readout is not exact.
READOUT_NOISE = 0.01


@dataclass
class PredictedStates:
    """What the model says about the predicted steps; leading axes are (candidates, noise samples, steps).

    Args:
        poses: (C, S, T, 3) x m, y m, yaw rad, from the pose readout; None where the model has none.
        contact: (C, S, T) probability of contact; None where the model has no such readout.
        novelty: (C, S, T); None where the model has no such readout.
        actions: (C, 1, T, A) executed actions in physical units.
        period: seconds of one step.
    """

    poses: np.ndarray | None
    contact: np.ndarray | None
    novelty: np.ndarray | None
    actions: np.ndarray
    period: float


@dataclass
class Verdict:
    """What the guardrails say about C candidates.

    Args:
        violation: (C,) the largest excess over the guardrails at their risk level, 0 where all are kept.
        excess: {name: (C,)} each guardrail's own, negative where there is room to spare.
    """

    violation: np.ndarray
    excess: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, name: str, excess: np.ndarray) -> None:
        """Count one more thing to keep: (C,), at most 0 where it is kept."""
        self.excess[name] = excess
        self.violation = np.maximum(self.violation, np.maximum(excess, 0.0))

    def in_the_way(self, index: int) -> str | None:
        """The name of the guardrail that the candidate exceeds most, None for a feasible one."""
        if not self.violation[index] > 0.0:
            return None
        return max(self.excess, key=lambda name: self.excess[name][index])


class GuardrailCost:
    """Scores predicted latents against a set of guardrails.

    A candidate keeps a guardrail when the guardrail's excess, at its risk level over the noise samples, is at most 0
    at every step. A guardrail that needs what no model predicts (a person's place, the scan) is left to the gate, which
    measures it; one that only the planner could judge is refused.

    Args:
        guardrails: a GuardrailSet bound to the robot, or any Guardrails.
        model: has `config`, `has_readout`, `pose`, `contact`, `novelty`.
        contract: the robot contract (period, action units).
        samples: noise samples that a plan is judged on.
        places: what is known about where the robot can drive; where there is a map, the probability of contact at a
            predicted place is read from it, and from the model's readout otherwise.

    Attributes:
        guardrails: those that are judged here; unjudged: the names of those that are left to the gate.

    Raises:
        RiskError: a risk level that the samples cannot resolve.
        GuardrailError: a guardrail that nobody could judge: the model lacks the readout.
    """

    def __init__(self, guardrails, model, contract, samples: int, places: Places | None = None) -> None:
        self.model, self.contract, self.places = model, contract, places
        self._novelty = any(getattr(g, "kind", None) == "novelty" for g in guardrails)  # nobody else asks for it
        parameter = next(iter(model.parameters()), torch.zeros(0))
        nowhere = self.states(
            torch.zeros(1, samples, 1, model.config.latent_dim, device=parameter.device),
            torch.zeros(1, 1, contract.action_dim),
        )
        judged, unjudged = [], []
        for guardrail in guardrails:
            check_level(guardrail.risk, samples, f"guardrail '{guardrail.name}'")
            try:
                guardrail.excess(nowhere)
                judged.append(guardrail)
            except GuardrailError:
                if getattr(guardrail, "kind", None) in FROM_PLANNER:
                    raise
                unjudged.append(guardrail.name)
        self.guardrails, self.unjudged = tuple(judged), tuple(unjudged)
        self._start: tuple[torch.Tensor | None, dict[str, float]] = (None, {})

    def __bool__(self) -> bool:
        return bool(self.guardrails)

    @torch.no_grad()
    def states(self, zs: torch.Tensor, actions: torch.Tensor) -> PredictedStates:
        """Read the predicted latents (C, S, T, D) and executed, normalised actions (C, T, A)."""

        def read(name):
            if not self.model.has_readout(name):
                return None
            return getattr(self.model, name)(zs).float().cpu().numpy()

        raw = read("pose")
        poses = None
        if raw is not None:
            poses = np.concatenate([raw[..., :2], np.arctan2(raw[..., 3:], raw[..., 2:3])], axis=-1)
        return PredictedStates(
            poses=poses,
            contact=read("contact") if self.places is None or poses is None else self.places.look_up(poses[..., :2]),
            novelty=read("novelty") if self._novelty else None,
            actions=self.contract.denormalise(actions.double().cpu().numpy())[:, None],
            period=self.contract.period,
        )

    def __call__(self, zs: torch.Tensor, actions: torch.Tensor, start: torch.Tensor | None = None) -> Verdict:
        """Judge candidates: zs (C, S, T, D), executed normalised actions (C, T, A).

        ``start`` (D,) is where they begin. A robot that stands where a region forbids it (started there, or the region
        was set down on it) may leave: plans are then held to coming out and never going deeper (:func:`leaving`).
        """
        if not self.guardrails:
            return Verdict(np.zeros(zs.shape[0]))
        states = self.states(zs, actions)
        begun = self._begun(start)
        excess = {}
        for guardrail in self.guardrails:
            value = np.broadcast_to(guardrail.excess(states), zs.shape[:3])
            steps = guardrail.risk(np.moveaxis(value, 1, -1))  # (C, T), at its risk level over S
            inside = begun.get(guardrail.name, 0.0)
            excess[guardrail.name] = leaving(steps, inside) if inside > 0.0 else steps.max(-1)
        worst = np.max(np.stack(list(excess.values())), axis=0)
        return Verdict(np.maximum(worst, 0.0), excess)  # NaN stays NaN

    def _begun(self, start: torch.Tensor | None) -> dict[str, float]:
        """{region: its excess at the start}, of the regions that are judged here; worked out once a start."""
        regions = [g for g in self.guardrails if getattr(g, "kind", None) in REGIONS]
        if start is None or not regions:
            return {}
        if self._start[0] is not start:
            here = self.states(start[None, None, None], torch.zeros(1, 1, self.contract.action_dim))
            self._start = start, {g.name: float(np.max(g.excess(here))) for g in regions}
        return self._start[1]

    def closed(self, places: np.ndarray) -> np.ndarray:
        """Whether a guardrail forbids a robot that stands at places (n, m, 2) [m], whatever it does: (n, m) bool."""
        rows = places.reshape(-1, 1, 1, 2)
        count = len(rows)
        nowhere = np.zeros((count, 1, 1))
        states = PredictedStates(
            poses=np.concatenate([rows, np.zeros((count, 1, 1, 1))], axis=-1),
            contact=nowhere,
            novelty=nowhere,
            actions=np.zeros((count, 1, 1, self.contract.action_dim)),
            period=self.contract.period,
        )
        shut = np.zeros(count, dtype=bool)
        for guardrail in self.guardrails:
            shut |= np.broadcast_to(guardrail.excess(states), (count, 1, 1))[:, 0, 0] > 0.0
        return shut.reshape(places.shape[:-1])


def leaving(excess: np.ndarray, start: float) -> np.ndarray:
    """How far plans that begin inside a region are from leaving it: at most 0 where they only come out.

    Args:
        excess: (C, T) over the region at each step [m], ``start`` > 0: where they begin.

    Returns:
        (C,): the largest step back inwards, or what is missing of ``LEAVES`` (or of being out) at the end.
    """
    path = np.concatenate([np.full((len(excess), 1), start), excess], axis=1)
    least = np.maximum(np.minimum.accumulate(path, axis=1)[:, :-1], 0.0)
    back = (excess - least - READOUT_NOISE).max(-1)
    return np.maximum(back, excess[:, -1] - max(start - LEAVES, 0.0))
