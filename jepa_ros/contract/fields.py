# SPDX-License-Identifier: Apache-2.0
"""Reading one mapping of a YAML file key by key, with errors that name the file and the path of the key."""

from __future__ import annotations

from typing import Any

from jepa_ros.errors import JepaRosError
from jepa_ros.names import is_topic
from jepa_ros.ranges import Range
from jepa_ros.suggest import did_you_mean, nearest

_MISSING = object()


class ContractError(JepaRosError):
    """A robot contract that cannot be used. The message names the file, the path of the key and what was expected."""


class Fields:
    """The keys of one mapping; every key is asked for once, and :meth:`done` refuses the ones nobody asked for.

    Args:
        data: the mapping, as the safe YAML loader gave it.
        where: the file and the path of the mapping, e.g. ``arena.yaml: limits``.
    """

    def __init__(self, data: Any, where: str, path: str = "") -> None:
        self.where = where
        self.path = path
        if not isinstance(data, dict):
            raise ContractError(f"{where}: {path or 'the file'}: expected a mapping of keys, found {_show(data)}")
        self.data = data
        self.asked: set[str] = set()

    def error(self, key: str, text: str) -> ContractError:
        """Return the error for ``key``; the caller raises it."""
        return ContractError(f"{self.where}: {self._at(key)}: {text}")

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def raw(self, key: str, default: Any = _MISSING) -> Any:
        """The value as it stands, or ``default``; a missing key without a default is an error."""
        self.asked.add(key)
        if key in self.data and self.data[key] is not None:
            return self.data[key]
        if default is _MISSING:
            hint = self._close(key)
            raise self.error(key, f"missing{hint}; it is required")
        return default

    def _close(self, key: str) -> str:
        near = nearest(key, [str(k) for k in self.data if k not in self.asked])
        return f" (found '{near}': a misspelling?)" if near else ""

    def number(
        self,
        key: str,
        default: Any = _MISSING,
        *,
        above: float | None = None,
        least: float | None = None,
        most: float | None = None,
        unit: str = "",
    ) -> float:
        """A finite number within bounds; ``above`` is exclusive, ``least`` and ``most`` are inclusive."""
        return float(self._within(key, default, Range.of(above=above, least=least, most=most, unit=unit)))

    def integer(self, key: str, default: Any = _MISSING, *, least: int = 0, most: int | None = None) -> int:
        """A whole number of at least ``least``, and at most ``most`` where that is given."""
        return int(self._within(key, default, Range.of(least=least, most=most, whole=True)))

    def _within(self, key: str, default: Any, wanted: Range) -> Any:
        value = self.raw(key, default)
        if problem := wanted.problem(value):
            raise self.error(key, problem)
        return value

    def boolean(self, key: str, default: Any = _MISSING) -> bool:
        """``true`` or ``false``."""
        value = self.raw(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"expected true or false, found {_show(value)}")
        return value

    def text(self, key: str, default: Any = _MISSING, *, choices: tuple[str, ...] = ()) -> str:
        """A text, one of ``choices`` where they are given."""
        value = self.raw(key, default)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, f"expected a text, found {_show(value)}")
        if choices and value not in choices:
            hint = did_you_mean(value, choices)
            raise self.error(key, f"expected one of {', '.join(choices)}, found '{value}'{hint}")
        return value

    def topic(self, key: str, default: Any = _MISSING) -> str:
        """The name of a ROS topic."""
        value = self.text(key, default)
        if not is_topic(value):
            said = "expected the name of a topic (letters, digits and _, with / between names)"
            raise self.error(key, f"{said}, found '{value}'")
        return value

    def topics(self, key: str) -> tuple[str, ...]:
        """A list of names of ROS topics."""
        value = self.raw(key)
        if not isinstance(value, list):
            raise self.error(key, f"expected a list of topics, found {_show(value)}")
        holder = Fields({str(i): name for i, name in enumerate(value)}, self.where, self._at(key))
        return tuple(holder.topic(str(i)) for i in range(len(value)))

    def vector(self, key: str, length: int | None, default: Any = _MISSING, *, unit: str = "") -> tuple[float, ...]:
        """A list of finite numbers, ``length`` of them where it is given."""
        value = self.raw(key, default)
        if value is default and default is not _MISSING and not isinstance(value, (list, tuple)):
            return value  # type: ignore[no-any-return]
        count = f"{length} numbers" if length is not None else "numbers"
        if not isinstance(value, (list, tuple)):
            raise self.error(key, f"expected a list of {count}{' in ' + unit if unit else ''}, found {_show(value)}")
        if length is not None and len(value) != length:
            raise self.error(key, f"expected {count}, found {len(value)}")
        for i, item in enumerate(value):
            if problem := Range().problem(item):
                raise self.error(f"{key}[{i}]", problem)
        return tuple(float(item) for item in value)

    def names(self, key: str, default: Any = _MISSING) -> tuple[str, ...]:
        """A list of texts that differ; empty only where ``default`` is."""
        value = self.raw(key, default)
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) and item for item in value):
            raise self.error(key, f"expected a list of names, found {_show(value)}")
        if len(set(value)) != len(value):
            raise self.error(key, f"expected names that differ, found {list(value)}")
        if not value and value is not default:
            raise self.error(key, "expected at least one name")
        return tuple(value)

    def section(self, key: str, default: Any = _MISSING) -> Fields:
        """A mapping below this one."""
        return Fields(self.raw(key, default), self.where, self._at(key))

    def sections(self, key: str, default: Any = _MISSING) -> list[Fields]:
        """A list of mappings below this one."""
        value = self.raw(key, default)
        if not isinstance(value, (list, tuple)):
            raise self.error(key, f"expected a list, found {_show(value)}")
        return [Fields(item, self.where, f"{self._at(key)}[{i}]") for i, item in enumerate(value)]

    def done(self) -> None:
        """Refuse the keys that nobody asked for: a typo must never be a setting that is silently ignored."""
        for key in self.data:
            if key not in self.asked:
                hint = did_you_mean(str(key), sorted(self.asked)) or f"; known keys: {', '.join(sorted(self.asked))}"
                raise self.error(str(key), f"unknown key{hint}")


def _show(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
