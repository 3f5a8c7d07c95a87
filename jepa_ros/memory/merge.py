# SPDX-License-Identifier: Apache-2.0
"""Memories of several robots become one: what each has seen, where each was held back, and the names of places.

Memories fit together only if one model made them and they are of robots alike; the store refuses others. A name that
two of them have goes to the newest place, and the other keeps it with the name of its folder behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from jepa_ros.memory.long_term import TAG_LENGTH, TAGS, LongTerm, Tagged


@dataclass
class Merged:
    """What came of a merge: how many states each memory gave, and what had to be named anew or left out."""

    states: list[int] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def merge(into: LongTerm, memories: Sequence[tuple[str, LongTerm]]) -> Merged:
    """Fill an empty memory from several.

    A state is taken if the memories before its own do not have it. When it was seen, and what came of it, is kept.

    Args:
        memories: (name, memory) of each; the names tell places apart.
    """
    told = Merged([into.absorb(memory) for _, memory in memories])
    for kind in {type(annex) for annex in into.annexes}:
        for _, memory in memories:
            own, theirs = into.annex(kind), memory.annex(kind)
            if own is not None and theirs is not None:
                own.absorb(theirs)
    tags = [(place, name, label) for label, memory in memories for name, place in memory.tags.items()]
    for place, name, label in sorted(tags, key=lambda entry: -entry[0].time):
        _tag(into, name, label, place, told)
    return told


def _tag(into: LongTerm, name: str, label: str, place: Tagged, told: Merged) -> None:
    free = name
    if name in into.tags:
        if np.array_equal(into.tags[name].latent, place.latent):
            return  # one place that two memories share: they were merged before
        free = f"{name} ({label})"
    if len(into.tags) >= TAGS or len(free) > TAG_LENGTH or free in into.tags:
        told.left_out.append(f"{name} of {label}")
        return
    if free != name:
        told.renamed[f"{name} of {label}"] = free
    into.adopt(free, place)
