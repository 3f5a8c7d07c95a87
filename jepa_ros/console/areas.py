# SPDX-License-Identifier: Apache-2.0
"""The guardrails that have a place on the ground, as outlines to draw: however they were written down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from jepa_ros.safety.geometry import Circle, Polygon
from jepa_ros.safety.guardrails import Guardrail, GuardrailError, parse_guardrails

#: Corners that a circle is drawn with.
ROUND = 32
#: An area that reaches farther than this from the map's origin [m] stands for "everywhere", and has no edge to draw.
FAR = 100.0


class Area(NamedTuple):
    """One guardrail on the ground: its name, its kind, and the corners x, y [m] of its outline in the map."""

    name: str
    kind: str
    corners: list[tuple[float, float]]


def areas_of(rules: Sequence[dict[str, Any]], frame: str) -> list[Area]:
    """The areas of a guardrail set that lie in the map; none of a set that cannot be read.

    Args:
        rules: as they are written in YAML. frame: the map's.
    """
    try:
        found = parse_guardrails(list(rules))
    except GuardrailError:
        return []
    drawn = [Area(rule.name, rule.kind, _corners(rule)) for rule in found if rule.frame == frame]
    return [area for area in drawn if area.corners and max(abs(v) for corner in area.corners for v in corner) < FAR]


def _corners(rule: Guardrail) -> list[tuple[float, float]]:
    shape = rule.shape
    if isinstance(shape, Polygon):
        return [(round(x, 3), round(y, 3)) for x, y in shape.points]
    if isinstance(shape, Circle):
        turns = [2.0 * math.pi * k / ROUND for k in range(ROUND)]
        return [
            (round(shape.x + shape.radius * math.cos(a), 3), round(shape.y + shape.radius * math.sin(a), 3))
            for a in turns
        ]
    return []
