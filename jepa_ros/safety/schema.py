# SPDX-License-Identifier: Apache-2.0
"""Reading one guardrail from plain data, key by key, with errors that name the guardrail and the key; risk levels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jepa_ros.errors import JepaRosError
from jepa_ros.ranges import Range
from jepa_ros.safety.geometry import Circle, Polygon, Shape, box
from jepa_ros.safety.space import Space
from jepa_ros.suggest import did_you_mean
from jepa_ros.yaml_text import load_yaml

MOST_POINTS = 200
#: What the planner calls its own reasons to keep off a place, in status and signals; a guardrail is called otherwise.
RESERVED_NAMES = ("obstruction", "contact")
_MISSING = object()
FINITE = Range()


class GuardrailError(JepaRosError):
    """Guardrails that cannot be used. The message names the guardrail, the key, what was found and what is expected."""


@dataclass(frozen=True)
class RiskLevel:
    """One number from the costs of several noise samples.

    ``worst``: the largest. ``mean``. ``cvar`` at level p: the mean of the share p of largest costs. ``chance`` at level
    p: the largest cost that is left when the share p of largest ones is forgiven (so that it is at most 0 when at most
    the share p of the samples breaks the guardrail).
    """

    kind: str = "worst"
    level: float | None = None

    def __call__(self, costs: np.ndarray) -> np.ndarray:
        """Reduce the last axis: (..., S) to (...)."""
        samples = costs.shape[-1]
        if self.kind == "mean":
            return np.asarray(costs.mean(-1))
        if self.kind == "worst" or samples == 1 or self.level is None:
            return np.asarray(costs.max(-1))
        ordered = np.sort(costs, axis=-1)[..., ::-1]
        mass = self.level * samples
        if self.kind == "chance":
            return np.asarray(ordered[..., min(int(mass + 1e-9), samples - 1)])
        weights = np.clip(mass - np.arange(samples), 0.0, 1.0)
        if mass < 1.0:
            return np.asarray(ordered[..., 0])
        return np.asarray((ordered * (weights / mass)).sum(-1))


def load_text(text: str | bytes, where: str) -> Any:
    """Plain data from YAML text, as :func:`jepa_ros.yaml_text.load_yaml` reads it.

    Raises:
        GuardrailError: too long, too deep, not UTF-8, or not YAML.
    """
    return load_yaml(text, where, GuardrailError)


class Reader:
    """The keys of one guardrail; what nobody asks for is refused by :meth:`done`."""

    def __init__(self, item: Any, where: str, index: int) -> None:
        if not isinstance(item, dict):
            raise GuardrailError(f"{where}[{index}]: expected a mapping with a name, found {type(item).__name__}")
        self.item = item
        self.plain: dict[str, Any] = {}
        self.at = f"{where}[{index}]"
        self.name = self.text("name")
        if self.name in RESERVED_NAMES:
            raise self.error("name", f"'{self.name}' is what the planner calls a reason of its own; choose another")
        self.at = f"{where}: guardrail '{self.name}'"

    def error(self, key: str, text: str) -> GuardrailError:
        """The error for ``key``; the caller raises it."""
        return GuardrailError(f"{self.at}: {key}: {text}")

    def _raw(self, key: str, default: Any = _MISSING) -> Any:
        value = self.item.get(key)
        if value is None:
            if default is _MISSING:
                raise self.error(key, "missing; it is required")
            value = default
        self.plain[key] = value
        return value

    def text(self, key: str, default: Any = _MISSING) -> str:
        """A text that is not empty."""
        value = self._raw(key, default)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, f"expected a text, found {value!r:.60}")
        return value

    def frame(self, spatial: bool) -> str:
        """The frame of a shape: by default the map, and of a box in space the arm's base frame, told as empty."""
        if spatial and self.item.get("frame") in (None, ""):
            self.plain["frame"] = ""
            return ""
        return self.text("frame", "map")

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """One of some words."""
        value = self.text(key)
        if value not in choices:
            hint = did_you_mean(value, choices)
            raise self.error(key, f"unknown {key} '{value}'; expected one of {', '.join(choices)}{hint}")
        return value

    def unit(self, units: tuple[str, ...]) -> str:
        """The unit, which has to be written down: a number without one is a guess."""
        value = self.item.get("unit")
        expected = " or ".join(f"'{u}'" for u in units)
        if value is None:
            raise self.error("unit", f"missing; expected {expected}")
        value = str(value) if value == 1 and not isinstance(value, bool) else value
        if value not in units:
            raise self.error("unit", f"expected {expected}, found {value!r:.40}")
        self.plain["unit"] = value
        return str(value)

    def _check(self, key: str, value: Any, wanted: Range = FINITE) -> float:
        if problem := wanted.problem(value):
            raise self.error(key, problem)
        return float(value)

    def number(self, key: str, default: Any = _MISSING, *, above: float | None = None, least: float | None = None,
               most: float | None = None) -> float:  # fmt: skip
        """A finite number within bounds."""
        value = self._check(key, self._raw(key, default), Range.of(above=above, least=least, most=most))
        self.plain[key] = value
        return value

    def vector(self, key: str, value: Any, length: int | None) -> tuple[float, ...]:
        """A list of finite numbers."""
        if not isinstance(value, (list, tuple)) or not value or (length is not None and len(value) != length):
            raise self.error(key, f"expected a list of {length or 'at least 1'} numbers, found {value!r:.60}")
        return tuple(self._check(f"{key}[{i}]", v) for i, v in enumerate(value))

    def plane_or_space(self) -> int:
        """2 or 3: how many numbers ``low`` has, 2 where that is neither."""
        low = self.item.get("low")
        return 3 if isinstance(low, (list, tuple)) and len(low) == 3 else 2

    def bounds(self, length: int | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The lists ``low`` and ``high``."""
        low, high = (self.vector(k, self._raw(k), length) for k in ("low", "high"))
        if len(low) != len(high) or any(a >= b for a, b in zip(low, high, strict=False)):
            raise self.error("low", f"expected as many numbers as in high, each below it: {low} and {high}")
        self.plain.update(low=list(low), high=list(high))
        return low, high

    def shape(self) -> Shape:
        """The one shape that is given."""
        given = [k for k in ("polygon", "box", "circle") if self.item.get(k) is not None]
        if len(given) != 1:
            raise self.error("shape", f"expected one of polygon, box, circle; found {', '.join(given) or 'none'}")
        key, value = given[0], self.item[given[0]]
        if key == "polygon":
            return self._polygon(value)
        if not isinstance(value, dict):
            raise self.error(key, f"expected a mapping, found {type(value).__name__}")
        known = ("center", "size", "yaw") if key == "box" else ("center", "radius")
        for k in value:
            if k not in known:
                raise self.error(f"{key}.{k}", f"unknown key; known: {', '.join(known)}")
        x, y = self.vector(f"{key}.center", value.get("center"), 2)
        if key == "circle":
            radius = self._check("circle.radius", value.get("radius"))
            if radius <= 0.0:
                raise self.error("circle.radius", f"expected a number above 0, found {radius:g}")
            self.plain["circle"] = {"center": [x, y], "radius": radius}
            return Circle(x, y, radius)
        sx, sy = self.vector("box.size", value.get("size"), 2)
        yaw = self._check("box.yaw", value.get("yaw", 0.0))
        if sx <= 0.0 or sy <= 0.0:
            raise self.error("box.size", f"expected lengths above 0, found {sx:g}, {sy:g}")
        self.plain["box"] = {"center": [x, y], "size": [sx, sy], "yaw": yaw}
        return self.outline(key, lambda: box(x, y, sx / 2, sy / 2, yaw))

    def outline(self, key: str, make: Callable[[], Polygon]) -> Polygon:
        """The polygon that ``make`` makes of the numbers of ``key``: too small, too large or no outline is an error."""
        try:
            return make()
        except ValueError as error:
            raise self.error(key, str(error)) from None
        except ArithmeticError:
            raise self.error(key, "its numbers are too large or too small to make an outline of") from None

    def space(self) -> Space | None:
        """The box in space, where a box with three numbers is given and no other shape."""
        value = self.item.get("box")
        if not isinstance(value, dict):
            return None
        center = value.get("center")
        if not isinstance(center, (list, tuple)) or len(center) != 3 or "polygon" in self.item or "circle" in self.item:
            return None
        for key in value:
            if key not in ("center", "size", "yaw"):
                raise self.error(f"box.{key}", "unknown key; known: center, size, yaw")
        return self._space(value)

    def _space(self, value: dict[str, Any]) -> Space:
        center, size = (self.vector(f"box.{name}", value.get(name), 3) for name in ("center", "size"))
        yaw = self._check("box.yaw", value.get("yaw", 0.0))
        if min(size) <= 0.0:
            raise self.error("box.size", f"expected lengths above 0, found {', '.join(f'{v:g}' for v in size)}")
        self.plain["box"] = {"center": list(center), "size": list(size), "yaw": yaw}
        return Space((center[0], center[1], center[2]), (size[0], size[1], size[2]), yaw)

    def _polygon(self, value: Any) -> Polygon:
        if not isinstance(value, (list, tuple)) or len(value) < 3:
            count = len(value) if isinstance(value, (list, tuple)) else repr(value)[:40]
            raise self.error("polygon", f"expected at least 3 points [x, y], found {count}")
        if len(value) > MOST_POINTS:
            raise self.error("polygon", f"{len(value)} points; expected at most {MOST_POINTS}")
        points = [self.vector(f"polygon[{i}]", p, 2) for i, p in enumerate(value)]
        polygon = self.outline("polygon", lambda: Polygon([(p[0], p[1]) for p in points]))
        self.plain["polygon"] = [list(p) for p in polygon.points]
        return polygon

    def risk(self) -> RiskLevel:
        """``worst``, ``mean``, ``{cvar: share}`` or ``{chance: share}``."""
        value = self.item.get("risk", "worst")
        if isinstance(value, str) and value in ("worst", "mean"):
            self.plain["risk"] = value
            return RiskLevel(value)
        if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("cvar", "chance"):
            kind, share = next(iter(value.items()))
            level = self._check(f"risk.{kind}", share)
            if not (0.0 < level < 1.0 or (kind == "chance" and level == 0.0)):
                raise self.error(f"risk.{kind}", f"expected a share between 0 and 1, found {level:g}")
            self.plain["risk"] = {kind: level}
            return RiskLevel(kind, level)
        raise self.error("risk", f"expected worst, mean, {{cvar: share}} or {{chance: share}}, found {value!r:.60}")

    def done(self) -> dict[str, Any]:
        """The checked mapping, defaults included; a key that nobody asked for is an error."""
        for key in self.item:
            if key not in self.plain:
                hint = did_you_mean(str(key), self.plain) or f"; known here: {', '.join(self.plain)}"
                raise GuardrailError(f"{self.at}: unknown key '{key}'{hint}")
        return self.plain
