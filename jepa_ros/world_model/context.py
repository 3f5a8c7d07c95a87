# SPDX-License-Identifier: Apache-2.0
"""What an embedding tells beside its latent: parts by name, declared with their shape, each read by a head of its own.

No prediction changes them: they are read from pictures, and kept by whoever knows of such a part. A body's room may
have parts of its own; its module is opened for models that have them alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from torch import nn

from jepa_ros import body_rooms
from jepa_ros.errors import JepaRosError

#: Name of a part -> module with ``make_head(part, width, grid) -> nn.Module``; the head has
#: ``read(images, early, late) -> (B, *shape)``, given pictures and the first and last feature maps of the encoder.
HEADS = {"scene": "jepa_ros.world_model.picture_maps", **body_rooms.CONTEXT}


class ContextError(JepaRosError):
    """A part of an embedding that nobody knows, or that is declared wrongly."""


@dataclass(frozen=True)
class ContextPart:
    """One part.

    Attributes:
        name: of HEADS. shape: of its values, of one embedding.
        about: what its room has to know of it: plain data.
    """

    name: str
    shape: tuple[int, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in HEADS:
            raise ContextError(f"no part of an embedding is called '{self.name}'; known: {', '.join(HEADS)}")
        if not self.shape or any(type(n) is not int or n < 1 for n in self.shape):
            raise ContextError(f"part '{self.name}': shape {self.shape}; expected whole numbers of at least 1")

    def __hash__(self) -> int:
        return hash((self.name, self.shape))

    @property
    def size(self) -> int:
        """How many values."""
        return math.prod(self.shape)

    def to_plain(self) -> dict[str, Any]:
        """For a model card."""
        return {"name": self.name, "shape": list(self.shape), "about": dict(self.about)}

    @staticmethod
    def from_plain(plain: Mapping[str, Any]) -> ContextPart:
        """The inverse of :meth:`to_plain`; see the class for errors."""
        return ContextPart(plain["name"], tuple(plain["shape"]), dict(plain.get("about", {})))

    def make_head(self, width: int, grid: tuple[int, int]) -> nn.Module:
        """A fresh head for an encoder of ``width`` channels and feature maps of ``grid`` rows and columns."""
        return import_module(HEADS[self.name]).make_head(self, width, grid)


def part_of(config: Any, name: str) -> ContextPart | None:
    """The part of a model's embeddings with a name, None where they have none."""
    return next((part for part in getattr(config, "context", ()) if part.name == name), None)


def read_part(config: Any, embeddings: Any, name: str) -> Any:
    """A part (..., *shape) of embeddings (..., E), arrays or tensors.

    Raises:
        ContextError: the model has no such part.
    """
    first = config.latent_dim
    for part in config.context:
        if part.name == name:
            return embeddings[..., first : first + part.size].reshape(*embeddings.shape[:-1], *part.shape)
        first += part.size
    raise ContextError(f"embeddings of this model have no part '{name}'")


def without(context: tuple[ContextPart, ...], name: str) -> tuple[ContextPart, ...]:
    """All parts but the one of a name."""
    return tuple(part for part in context if part.name != name)
