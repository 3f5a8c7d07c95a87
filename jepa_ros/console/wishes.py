# SPDX-License-Identifier: Apache-2.0
"""What a page wants to be different when a moment is thought over again, read and checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jepa_ros.bags.replay.rethink import Otherwise
from jepa_ros.console.desk import Refused
from jepa_ros.console.pictures import opened
from jepa_ros.cost.goal import Goal

Place = tuple[tuple[float, float, float], float]


@dataclass(frozen=True)
class Wish:
    """What is to be different; where ``step`` is given, the goal is what the camera saw at that step."""

    otherwise: Otherwise
    step: int | None = None


def read(
    wanted: dict[str, Any], tags: Mapping[str, int | Goal], clicked: Callable[[float, float], Place]
) -> Wish:  # fmt: skip
    """Read a page's request.

    Args:
        wanted: "goal": {"pose": [x, y, yaw]}, {"pixel": [u, v]}, {"step": number} (what the camera saw then),
            {"tag": name} or {"file": base64, "name": text}; "guardrails": YAML; "iterations", "samples", "seed": whole
            numbers; "model": text. What is missing is as recorded.
        tags: places with a name, each a goal or the step at which it was remembered. clicked: the place of a pixel.

    Raises:
        Refused: the request cannot be read.
    """
    goal = wanted.get("goal") or {}
    if not isinstance(goal, dict):
        raise Refused("goal: expected a pose, a pixel, a step, a tag or a file")
    place = picture = latent = step = None
    if "pose" in goal:
        x, y, yaw = _numbers(goal["pose"], "pose", 3)
        place = ((x, y, 0.0), yaw)
    elif "pixel" in goal:
        place = clicked(*_numbers(goal["pixel"], "pixel", 2))
    elif "step" in goal:
        step = _whole(goal["step"], "goal's step", 0) or 0
    elif "tag" in goal:
        known = tags.get(str(goal["tag"]))
        if known is None:
            names = ", ".join(tags) or "none"
            raise Refused(f"this bag does not know '{str(goal['tag'])[:60]}'; it knows {names}")
        if isinstance(known, int):
            step = known
        else:
            latent = (known.latent, known.name)
    elif "file" in goal:
        picture = opened(goal["file"], str(goal.get("name", "")))
    otherwise = Otherwise(
        place=place, picture=picture, latent=latent,
        guardrails=str(wanted.get("guardrails") or ""),
        iterations=_whole(wanted.get("iterations"), "iterations", 1, 100),
        samples=_whole(wanted.get("samples"), "samples", 4, 4096),
        seed=_whole(wanted.get("seed"), "seed", 0, 2**31 - 1), model=str(wanted.get("model") or ""),
    )  # fmt: skip
    return Wish(otherwise, step)


def _numbers(value: Any, name: str, count: int) -> list[float]:
    try:
        found = [float(v) for v in value]
    except (TypeError, ValueError):
        found = []
    if len(found) != count or not all(map(math.isfinite, found)):
        raise Refused(f"{name}: expected {count} finite numbers")
    return found


def _whole(value: Any, name: str, low: int, high: int = 10**9) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refused(f"{name}: expected a whole number of {low} to {high}")
    return value
