# SPDX-License-Identifier: Apache-2.0
"""Readouts: what can be read from a latent, declared once. Training, search, costs and goals loop over declarations.

A readout says what its values are (dimensions, units), where its labels come from, by which loss it is learned, and how
well it must do on held-out data to be used at all. A few are known by name; a checkpoint may carry others in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from jepa_ros import body_rooms
from jepa_ros.errors import JepaRosError

#: No value is surer than this, in its unit.
LEAST_DOUBT = 0.02


def _doubted(output: Tensor) -> Tensor:
    """Values as they are, and after them how far off they may be."""
    return torch.cat([output[..., :-1], nn.functional.softplus(output[..., -1:]) + LEAST_DOUBT], dim=-1)


#: How a head's output becomes the value, by the loss that it is learned with.
ACTIVATIONS = {
    "squared": lambda x: x, "bernoulli": torch.sigmoid, "expectile": nn.functional.softplus, "doubted": _doubted,
}  # fmt: skip
#: Losses of heads that are no plain network on a latent: fitted in closed form, answering with actions, or a distance
#: between codes.
OTHER_LOSSES = ("closed_form", "actions", "metric")
METRICS = ("distance", "angle")


class ReadoutError(JepaRosError):
    """A readout that is declared wrongly, or that nobody knows; the message names it."""


@dataclass(frozen=True)
class Part:
    """Values of a readout that are compared together with those of a goal.

    Attributes:
        name: of the cost term. dims: which values. unit: of the comparison.
        metric: "distance" (Euclidean) or "angle" (values are cosine and sine; 1 - cos of the difference).
        weight: of one unit in the task cost, where the user gives none.
    """

    name: str
    dims: tuple[int, ...]
    unit: str
    metric: str = "distance"
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ReadoutError(f"readout part '{self.name}': metric '{self.metric}'; expected {' or '.join(METRICS)}")


@dataclass(frozen=True)
class Readout:
    """One readout.

    Attributes:
        name: of the head. dims: names of the values; a single one is read as (...) and not as (..., 1).
        unit: of the values ("1" for a number without one). labels: where the labels come from, a key of
            jepa_ros.learning.stages.labels. loss: of ACTIVATIONS, or of OTHER_LOSSES.
        least_r2: on held-out data; a readout below it is not used. None: it is not judged by R2.
        parts: what a goal can be compared by; empty where a goal cannot be given in these values.
        pair: it is read from a latent and a goal's latent.
        least_order: of a distance, on held-out data: see jepa_ros.learning.stages.way.judge_way; a readout below it is
            not used. None: it is not judged so.
    """

    name: str
    dims: tuple[str, ...]
    unit: str
    labels: str
    loss: str
    least_r2: float | None = None
    parts: tuple[Part, ...] = ()
    pair: bool = False
    least_order: float | None = None

    def __post_init__(self) -> None:
        if not self.name or not self.dims:
            raise ReadoutError(f"readout {self.name!r}: expected a name and at least one dimension")
        if self.loss not in (*ACTIVATIONS, *OTHER_LOSSES):
            known = ", ".join((*ACTIVATIONS, *OTHER_LOSSES))
            raise ReadoutError(f"readout '{self.name}': loss '{self.loss}'; expected one of {known}")
        if not self.labels:
            raise ReadoutError(f"readout '{self.name}' has no labels: say where they come from")
        for part in self.parts:
            if not part.dims or not all(0 <= d < len(self.dims) for d in part.dims):
                raise ReadoutError(f"readout '{self.name}': part '{part.name}' has dims {part.dims} of {self.dims}")

    @property
    def plain(self) -> bool:
        """Whether its head is a network whose output, activated, is the value."""
        return self.loss in ACTIVATIONS

    def activate(self, output: Tensor) -> Tensor:
        """The value (..., dims), or (...) of a single one, of a head's output (..., dims)."""
        value = ACTIVATIONS[self.loss](output.float())
        return value.squeeze(-1) if len(self.dims) == 1 else value

    def to_plain(self) -> str | dict[str, Any]:
        """For a model card: the name of a known readout, the whole declaration of another."""
        return self.name if KNOWN.get(self.name) == self else asdict(self)

    @staticmethod
    def from_plain(plain: str | Mapping[str, Any] | Readout) -> Readout:
        """The inverse of :meth:`to_plain`.

        Raises:
            ReadoutError: a name that nobody knows, or a declaration that is wrong.
        """
        if isinstance(plain, Readout):
            return plain
        if isinstance(plain, str):
            return known(plain)
        try:
            parts = tuple(Part(**{**p, "dims": tuple(p["dims"])}) for p in plain.get("parts", ()))
            return Readout(**{**plain, "dims": tuple(plain["dims"]), "parts": parts})
        except (TypeError, KeyError) as error:
            raise ReadoutError(f"readout {plain.get('name', '?')!r}: {error}") from None


#: Control steps to a goal; not judged by R2, because the labels are upper bounds.
DISTANCE = Readout("distance", ("steps",), "steps", "hindsight", "expectile", pair=True)
#: Control steps of a good way to a state, however far; a search goes by it in the place of "distance".
WAY = Readout("way", ("steps",), "steps", "imagined", "metric", pair=True, least_order=0.4)
#: Probability that the robot touches something in the step that led here or in the next.
CONTACT = Readout("contact", ("probability",), "1", "contacts", "bernoulli", least_r2=0.0)
#: How unlike the training data a latent is; 1 is the level to slow down at.
NOVELTY = Readout("novelty", ("novelty",), "1", "latents", "closed_form")
#: The actions that look like leading to a goal.
PROPOSAL = Readout("proposal", ("action",), "1", "hindsight", "actions", pair=True)

#: Known by name.
KNOWN: dict[str, Readout] = {r.name: r for r in (DISTANCE, WAY, CONTACT, NOVELTY, PROPOSAL)}


def body_readouts(kind: str) -> tuple[Readout, ...]:
    """The readouts that bodies of a kind of kinematics have, by their room."""
    room = body_rooms.part(kind, "readouts")
    return () if room is None else tuple(room.READOUTS)


def known(name: str) -> Readout:
    """The readout of a known name.

    Raises:
        ReadoutError: nobody knows it; the known ones are listed.
    """
    if name not in KNOWN and name in body_rooms.READOUTS:
        room = import_module(f"{body_rooms.READOUTS[name]}.readouts")
        KNOWN.update({readout.name: readout for readout in room.READOUTS})
    if name not in KNOWN:
        names = ", ".join(sorted({*KNOWN, *body_rooms.READOUTS}))
        raise ReadoutError(f"no readout is called '{name}'; known: {names}; another one is declared in full")
    return KNOWN[name]


def declare(*readouts: str | Mapping[str, Any] | Readout) -> dict[str, Readout]:
    """Declarations by name, of names and declarations; see :meth:`Readout.from_plain` for errors."""
    found = [Readout.from_plain(r) for r in readouts]
    return {r.name: r for r in found}
