# SPDX-License-Identifier: Apache-2.0
"""The one place where a node's parameters are declared: type, range and description once, checked with a reason.

A node lists its :class:`Param`\\ s, calls :func:`declare` in its constructor and :func:`read` when it is
configured. A parameter that may change while the node runs carries an ``apply`` function; a new value is handed to
all of them before any is stored, and the first that raises refuses the change with its text (atomic, with a reason).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from jepa_ros.errors import JepaRosError
from jepa_ros.names import is_topic
from jepa_ros.ranges import Range
from jepa_ros.suggest import did_you_mean
from jepa_ros.yaml_text import load_mapping


class ParameterError(JepaRosError):
    """A parameter of a node is of the wrong type or out of its range."""


@dataclass(frozen=True)
class Param:
    """One parameter of a node.

    Attributes:
        name: as in ``-p name:=value``.
        default: its value when nobody sets it; its Python type is the parameter's type.
        description: one sentence, with the unit.
        low, high: range of a number, both included; None where open.
        choices: the accepted texts; empty where any is accepted.
        live: it may change while the node runs (others are read once, when the node is configured).
        topic: the text names a topic; empty for none.
    """

    name: str
    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    topic: bool = False


#: What every node takes.
ROBOT = Param("robot", "arena", "The robot contract: a name in robots/ or the path of a YAML file.")


def _descriptor(param: Param) -> ParameterDescriptor:
    text = param.description
    if param.choices:
        text += f" One of: {', '.join(param.choices)}."
    descriptor = ParameterDescriptor(name=param.name, description=text)
    if param.low is not None or param.high is not None:
        if isinstance(param.default, float):
            low = -1.0e300 if param.low is None else float(param.low)
            high = 1.0e300 if param.high is None else float(param.high)
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
        else:
            low_int = -(2**62) if param.low is None else int(param.low)
            high_int = 2**62 if param.high is None else int(param.high)
            descriptor.integer_range = [IntegerRange(from_value=low_int, to_value=high_int, step=1)]
    return descriptor


def _range_text(param: Param) -> str:
    if type(param.default) in (int, float):
        whole = isinstance(param.default, int)
        return f"{Range.of(least=param.low, most=param.high, whole=whole)}{'' if whole else ', with a decimal point'}"
    return {bool: "true or false", str: "text"}.get(type(param.default), type(param.default).__name__)


def declare(node: Node, params: Sequence[Param], also_known: Iterable[str] = ()) -> SimpleNamespace:
    """Declare ``params`` on ``node``, with the overrides that it was started with, and return their values.

    Args:
        also_known: names that may stand on the command line besides (of another node in the same process).

    Raises:
        ParameterError: an override has the wrong type, lies out of range, or names no parameter of the node.
    """
    for param in params:
        try:
            node.declare_parameter(param.name, param.default, _descriptor(param))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            found = node._parameter_overrides.get(param.name)
            value = found.value if found is not None else error
            raise ParameterError(
                f"{node.get_name()}: parameter '{param.name}' is {value!r}; expected {_range_text(param)}. "
                f"{param.description}"
            ) from None
        value = node.get_parameter(param.name).value
        if param.choices and value not in param.choices:
            raise ParameterError(
                f"{node.get_name()}: parameter '{param.name}' is {value!r}; expected one of {', '.join(param.choices)}"
            )
        if param.topic and value and not is_topic(value):
            said = "expected the name of a topic (letters, digits and _, with / between names)"
            raise ParameterError(f"{node.get_name()}: parameter '{param.name}' is {value!r}; {said}")
    unknown = [
        name
        for name in node._parameter_overrides
        if not node.has_parameter(name) and name not in also_known and not name.startswith("qos_overrides.")
    ]
    if unknown:
        known = sorted(p.name for p in params)
        raise ParameterError(
            f"{node.get_name()}: no parameter named '{unknown[0]}'{did_you_mean(unknown[0], known)}; "
            f"known: {', '.join(known)}"
        )
    return read(node, params)


def read(node: Node, params: Sequence[Param]) -> SimpleNamespace:
    """The present values of ``params`` as attributes (dots in names become underscores)."""
    return SimpleNamespace(**{p.name.replace(".", "_"): node.get_parameter(p.name).value for p in params})


def yaml_mapping(name: str, text: str) -> dict[str, Any]:
    """The mapping in a parameter that holds YAML text; empty text is an empty mapping.

    Raises:
        ParameterError: no YAML, or no mapping with texts as keys.
    """
    return load_mapping(text, f"'{name}'", ParameterError)


class LiveParameters:
    """Lets a running node's parameters change atomically, and refuses with a reason.

    ``apply`` is called with the whole set of changes, ``{name: value}``; it raises a
    :class:`~jepa_ros.errors.JepaRosError` to refuse all of them, and its text becomes the service's answer.
    Parameters that are not ``live`` are refused while ``locked()`` is true.
    """

    def __init__(
        self,
        node: Node,
        params: Sequence[Param],
        apply: Callable[[dict[str, Any]], None],
        locked: Callable[[], bool] = lambda: True,
    ) -> None:
        self._params = {p.name: p for p in params}
        self._apply = apply
        self._locked = locked
        self._node = node
        node.add_on_set_parameters_callback(self._on_set)

    def _on_set(self, changes: list[Parameter]) -> SetParametersResult:
        live: dict[str, Any] = {}
        for change in changes:
            param = self._params.get(change.name)
            if param is None:
                continue
            if param.choices and change.value not in param.choices:
                reason = f"'{param.name}' is {change.value!r:.80}; expected one of {', '.join(param.choices)}"
                return SetParametersResult(successful=False, reason=reason)
            if param.live:
                live[param.name] = change.value
            elif self._locked():
                reason = f"'{param.name}' is read when the node is configured; it cannot change while it runs"
                return SetParametersResult(successful=False, reason=reason)
        try:
            if live:
                self._apply(live)
        except JepaRosError as error:
            self._node.get_logger().warning(f"parameter change refused: {error}")
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)
