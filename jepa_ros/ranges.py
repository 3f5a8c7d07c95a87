# SPDX-License-Identifier: Apache-2.0
"""The ONE way in which a number is checked, whoever gives it: contract, guardrails, settings, parameters, arguments,
options. NaN and infinity are never let through: a NaN passes every comparison that it should fail.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """The numbers that a value may be.

    Attributes:
        least, most: bounds, both included. above: the lowest itself is left out. whole: whole numbers alone.
        unit: of the number, for messages.
    """

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    whole: bool = False
    unit: str = ""

    @classmethod
    def of(cls, *, least: float | None = None, most: float | None = None, above: float | None = None,
           whole: bool = False, unit: str = "") -> Range:  # fmt: skip
        """From bounds of which each may be missing; ``above`` is one that is left out."""
        lowest = above if above is not None else least
        high = math.inf if most is None else most
        return cls(-math.inf if lowest is None else lowest, high, above is not None, whole, unit)

    def __str__(self) -> str:
        kind, unit = "a whole number" if self.whole else "a number", f" {self.unit}" if self.unit else ""
        low, high = _text(self.least), _text(self.most)
        if math.isinf(self.least) and math.isinf(self.most):
            return f"{kind} in {self.unit}" if self.unit else kind
        if self.above:
            return f"{kind} above {low}{'' if math.isinf(self.most) else f' and at most {high}'}{unit}"
        if math.isinf(self.most):
            return f"{kind} of at least {low}{unit}"
        return f"{kind} of at most {high}{unit}" if math.isinf(self.least) else f"{kind} from {low} to {high}{unit}"

    def holds(self, value: Any) -> bool:
        """Whether it is a number of this range; true and false are none."""
        wanted = numbers.Integral if self.whole else numbers.Real
        if isinstance(value, bool) or not isinstance(value, wanted) or not _finite(value):
            return False
        return bool(self.least <= value <= self.most and not (self.above and value == self.least))

    def problem(self, value: Any) -> str:
        """``expected ..., found ...``; empty where it holds."""
        if self.holds(value):
            return ""
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        text = str(self) if not number or _finite(value) else str(self).replace("a number", "a finite number", 1)
        found = _text(value) if number else f"{type(value).__name__} {value!r:.60}"
        return f"expected {text}, found {found}"

    def read(self, text: str) -> Any:
        """The number in a text: an int where whole ones are wanted, else a float.

        Raises:
            ValueError: it is none, or not of this range; the message says what was expected.
        """
        try:
            value = int(text) if self.whole else float(text)
        except ValueError:
            raise ValueError(f"expected {self}, found '{text}'") from None
        if not self.holds(value):
            raise ValueError(self.problem(value).rpartition(", found ")[0] + f", found '{text}'")
        return value


#: What a share or a probability may be.
SHARE = Range(0.0, 1.0)


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def _text(value: Any) -> str:
    try:
        return str(value) if isinstance(value, numbers.Integral) and abs(value) < 10**18 else f"{value:g}"
    except OverflowError:
        return f"{str(value)[:20]}..."
