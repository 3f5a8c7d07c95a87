# SPDX-License-Identifier: Apache-2.0
"""Regression cases: moments of a bag that were thought over again and saved with what came of it.

They stand beside the bag in ``BAG.cases.json``. `jepa-ros replay BAG --compare` thinks each one over again and says
where the decision is another one now.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.bags import BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.replay.compare import Comparison, Difference, Tolerance
from jepa_ros.bags.replay.rethink import Again, Moments, Otherwise
from jepa_ros.files import write_text

TOPIC = "cases"
FORMAT = 1


@dataclass(frozen=True)
class Case:
    """One saved moment.

    Attributes:
        name: unique in its file. stamp: of the step's image [ns]. otherwise: what was different.
        reason, command, cost: what was decided; command (A,) in the action's units or None.
    """

    name: str
    stamp: int
    otherwise: Otherwise
    reason: str
    command: tuple[float, ...] | None
    cost: float | None

    @staticmethod
    def of(name: str, stamp: int, otherwise: Otherwise, again: Again) -> Case:
        """The case of a moment that was just thought over again."""
        reason, command, cost = decided(again)
        return Case(name, stamp, otherwise, reason, command, cost)


def decided(again: Again) -> tuple[str, tuple[float, ...] | None, float | None]:
    """(reason, command, cost) of a decision."""
    output, cost = again.output, again.output.status.get("cost")
    command = None if output.command is None else tuple(float(v) for v in output.command)
    return str(output.status["reason"]), command, None if cost is None or not math.isfinite(cost) else float(cost)


def path_of(bag: str | Path) -> Path:
    """Where the cases of a bag stand."""
    path = Path(bag)
    return path.with_name(f"{path.name}.cases.json")


def load(bag: str | Path) -> list[Case]:
    """The cases of a bag; none where there is no file.

    Raises:
        BagError: the file cannot be read.
    """
    path = path_of(bag)
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']}, expected {FORMAT}")
        return [_read(row) for row in found["cases"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BagError(f"{path}: these are no cases of a bag: {error}") from None


def save(bag: str | Path, case: Case) -> Path:
    """Add a case, in the place of one of the same name; the file.

    Raises:
        BagError: the file that is there cannot be read. OSError: it cannot be written.
    """
    cases = [one for one in load(bag) if one.name != case.name] + [case]
    path = path_of(bag)
    write_text(path, json.dumps({"format": FORMAT, "cases": [_plain(one) for one in cases]}, indent=1) + "\n")
    return path


def run(
    reader: BagReader, cases: list[Case], comparison: Comparison, settings: dict[str, Any],
    progress: Callable[[str], None] = lambda name: None, tolerance: Tolerance | None = None,
) -> None:  # fmt: skip
    """Think each case over again, and add where the decision is another one to a comparison.

    Args:
        settings: robot, model and namespace, as for :class:`~jepa_ros.bags.replay.rethink.Moments`.

    Raises:
        JepaRosError: the bag or the model does not fit.
    """
    tolerance = tolerance or Tolerance()
    moments = Moments(reader, **settings)
    numbers = {step.stamp: number for number, step in enumerate(moments.steps)}
    for case in cases:
        progress(case.name)
        at = (case.stamp - reader.start) * 1e-9
        if case.stamp not in numbers:
            comparison.add(TOPIC, math.nan)
            comparison.differences.append(Difference(0.0, TOPIC, f"{case.name}: its step is not in this bag"))
            continue
        step = moments.steps[numbers[case.stamp]]
        at = ((step.time or reader.start) - reader.start) * 1e-9
        reason, command, cost = decided(moments.rethink(numbers[case.stamp], case.otherwise))
        size = _apart(case.command, command)
        comparison.add(TOPIC, size)
        if reason != case.reason:
            comparison.differences.append(Difference(at, TOPIC, f"{case.name}: {reason}, saved {case.reason}"))
        elif size > tolerance.command:
            text = f"{case.name}: command {_words(command)}, saved {_words(case.command)}"
            comparison.differences.append(Difference(at, TOPIC, text, size))
        elif not _same(cost, case.cost, tolerance.cost):
            comparison.differences.append(Difference(at, TOPIC, f"{case.name}: cost {cost}, saved {case.cost}"))


def _apart(a: tuple[float, ...] | None, b: tuple[float, ...] | None) -> float:
    if a is None or b is None or len(a) != len(b):
        return 0.0 if a == b else math.inf
    return float(np.max(np.abs(np.subtract(a, b)), initial=0.0))


def _same(a: float | None, b: float | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a == b
    return abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-9)


def _words(command: tuple[float, ...] | None) -> str:
    return "none" if command is None else ", ".join(f"{v:.3f}" for v in command)


# ------------------------------------------------------------ as JSON


def _plain(case: Case) -> dict[str, Any]:
    wanted = case.otherwise
    changed: dict[str, Any] = {
        "place": wanted.place and [*wanted.place[0], wanted.place[1]],
        "picture": None if wanted.picture is None else _packed(*wanted.picture),
        "latent": None if wanted.latent is None else [_array(wanted.latent[0]), wanted.latent[1]],
        "guardrails": wanted.guardrails, "iterations": wanted.iterations, "samples": wanted.samples,
        "seed": wanted.seed, "model": wanted.model,
    }  # fmt: skip
    changed = {name: value for name, value in changed.items() if value not in (None, "")}
    decision = {"reason": case.reason, "command": case.command, "cost": case.cost}
    return {"name": case.name, "stamp": case.stamp, "changed": changed, "decided": decision}


def _read(row: dict[str, Any]) -> Case:
    changed, then = dict(row["changed"]), row["decided"]
    if "place" in changed:
        x, y, z, yaw = (float(v) for v in changed["place"])
        changed["place"] = ((x, y, z), yaw)
    if "picture" in changed:
        changed["picture"] = _unpacked(changed["picture"])
    if "latent" in changed:
        data, name = changed["latent"]
        changed["latent"] = (np.frombuffer(base64.b64decode(data), np.float32).copy(), str(name))
    command = None if then["command"] is None else tuple(float(v) for v in then["command"])
    return Case(str(row["name"]), int(row["stamp"]), Otherwise(**changed), str(then["reason"]), command, then["cost"])


def _array(values: Any) -> str:
    return base64.b64encode(np.asarray(values, np.float32).tobytes()).decode("ascii")


def _packed(pixels: Any, encoding: str) -> dict[str, Any]:
    data = base64.b64encode(np.ascontiguousarray(pixels, np.uint8).tobytes()).decode("ascii")
    return {"shape": list(pixels.shape), "encoding": encoding, "data": data}


def _unpacked(found: dict[str, Any]) -> tuple[Any, str]:
    pixels = np.frombuffer(base64.b64decode(found["data"]), np.uint8).reshape(found["shape"]).copy()
    return pixels, str(found["encoding"])
