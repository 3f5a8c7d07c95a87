# SPDX-License-Identifier: Apache-2.0
"""A scene's truth as text and back: how the ``sim`` node tells it to whoever scores an episode from outside."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def told(truth: Any) -> dict[str, str]:
    """Each value of a truth (a dataclass or mapping of plain values) as JSON."""
    return {name: json.dumps(_plain(value)) for name, value in _values(truth).items()}


def heard(texts: Mapping[str, str], like: Any) -> Any:
    """The truth that :func:`told` made ``texts`` of.

    Args:
        like: a truth of the same episode, for the types; what ``texts`` does not have is as it is there.
    """
    known = _values(like)
    values = {name: _as(known[name], json.loads(text)) for name, text in texts.items() if name in known}
    return dataclasses.replace(like, **values) if dataclasses.is_dataclass(like) else {**known, **values}  # type: ignore[type-var]


def _values(truth: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(truth):
        return {field.name: getattr(truth, field.name) for field in dataclasses.fields(truth)}
    return dict(truth)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) or isinstance(value, Mapping):
        return {name: _plain(part) for name, part in _values(value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _as(like: Any, value: Any) -> Any:
    """``value`` of JSON in the types of ``like``; lists are tuples where it does not say."""
    if isinstance(value, dict):
        known = _values(like) if dataclasses.is_dataclass(like) or isinstance(like, Mapping) else {}
        parts = {name: _as(known.get(name), part) for name, part in value.items()}
        return dataclasses.replace(like, **parts) if dataclasses.is_dataclass(like) else parts  # type: ignore[type-var]
    if isinstance(like, np.ndarray):
        return np.array(value, dtype=like.dtype)
    if isinstance(value, list):
        parts_like = list(like) if isinstance(like, (list, tuple)) else []
        parts_like += parts_like[-1:] * (len(value) - len(parts_like)) or [None] * len(value)
        return tuple(_as(a, b) for a, b in zip(parts_like, value, strict=False))
    return value
