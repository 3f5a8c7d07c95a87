# SPDX-License-Identifier: Apache-2.0
"""Where the robot shall be: as a latent (from a picture or from memory), or as values of a readout.

The ONE place for goals. A pose, or the place of an arm's tip, is a goal in the values of the readout of that name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from jepa_ros.errors import JepaRosError

#: Kinds of goals that carry a latent; every other kind is the name of a readout.
LATENT_KINDS = ("image", "memory")
#: Nothing that a readout measures is larger than this; what is, is a mistake in units or frame.
LARGEST = 1e5


class GoalError(JepaRosError):
    """A goal that cannot be used; the message says what was found and what was expected."""


@dataclass(frozen=True)
class Goal:
    """A goal that the planner can be given.

    Args:
        kind: "image" and "memory" carry a latent; any other kind is the readout that shall have ``value``.
        latent: (D,) float32, the goal picture's latent; an embedding (E,) may be given, of which it is the first part.
        value: of the readout, in its units; NaN leaves a value free.
        name: what people call it (a memory tag, a topic).

    Raises:
        GoalError: the field that the kind needs is missing, or a value is not finite or absurdly large.
    """

    kind: str
    latent: np.ndarray | None = None
    value: tuple[float, ...] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.kind in LATENT_KINDS:
            self._check_latent()
        else:
            self._check_value()

    def _check_latent(self) -> None:
        if self.latent is None:
            raise GoalError(f"goal of kind {self.kind!r} has no latent; encode the goal picture first")
        latent = np.ascontiguousarray(self.latent, dtype=np.float32).reshape(-1)
        if latent.size == 0 or not np.isfinite(latent).all():
            raise GoalError(f"goal latent of {latent.size} values is empty or not finite")
        object.__setattr__(self, "latent", latent)

    def _check_value(self) -> None:
        if not self.value:
            kinds = ", ".join(LATENT_KINDS)
            raise GoalError(f"goal of kind {self.kind!r} has no value; expected one of {kinds}, or a readout's value")
        value = tuple(float(v) for v in self.value)
        given = [v for v in value if v == v]
        if not given or not all(abs(v) <= LARGEST for v in given):
            raise GoalError(
                f"goal {self.kind} {value} has no value, or one that is not finite or over {LARGEST:g}: "
                "check units and frame"
            )
        object.__setattr__(self, "value", value)

    @classmethod
    def from_latent(cls, latent: np.ndarray, kind: str = "image", name: str = "") -> Goal:
        """A goal from an embedding of any shape (rows are tokens); see the class for errors."""
        return cls(kind, latent=np.asarray(latent), name=name)

    def check_model(self, model: Any) -> None:
        """Refuse a goal that the model cannot read.

        Raises:
            GoalError: the latent has another size than the model's, or the model has no such readout to aim by.
        """
        sizes = (model.config.latent_dim, embedding_dim(model))
        if self.latent is not None:
            if self.latent.size not in sizes:
                raise GoalError(
                    f"goal latent has {self.latent.size} values; this model's have {model.config.latent_dim}: "
                    "encode the goal with the model that plans"
                )
            return
        readout = model.readouts.get(self.kind)
        if readout is None or not readout.parts:
            raise GoalError(
                f"a goal {self.kind} needs a model with a {self.kind} readout; this one has none: give a goal picture"
            )
        assert self.value is not None  # checked when it was made
        if len(self.value) != len(readout.dims):
            raise GoalError(f"goal {self.kind} has {len(self.value)} values; expected {', '.join(readout.dims)}")


class Target:
    """A goal as one model reads it, worked out once for as long as the goal stands.

    Args:
        goal: checked against the model. model: the world model, or its readouts as an engine computes them.
        device: where the search computes.

    Raises:
        GoalError: the model cannot read the goal.
    """

    def __init__(self, goal: Goal, model: Any, device: torch.device | str = "cpu") -> None:
        goal.check_model(model)
        self.goal, self._model = goal, model
        #: (D,), None for a goal in the values of a readout.
        self.latent: torch.Tensor | None = None
        self._values: dict[str, torch.Tensor] = {}
        if goal.latent is not None:
            latent = goal.latent[: model.config.latent_dim]
            self.latent = torch.as_tensor(latent, dtype=torch.float32, device=device)
        else:
            self._values[goal.kind] = torch.tensor(goal.value, dtype=torch.float32, device=device)

    def read(self, name: str) -> torch.Tensor | None:
        """The values (dims,) of a readout at the goal, NaN where they are free; None where they are not known."""
        if name not in self._values:
            if self.latent is None or name not in self._model.readouts:
                return None
            with torch.no_grad():
                self._values[name] = self._model.read(name, self.latent[None])[0].clone()
        return self._values[name]


def embedding_dim(model: Any) -> int:
    """Values of a model's embedding; a model without a context beside the latent need not say it."""
    return int(getattr(model.config, "embedding_dim", model.config.latent_dim))
