# SPDX-License-Identifier: Apache-2.0
"""Key-value pairs (``DiagnosticArray``): the planner's signals and status, and the gate's state."""

from __future__ import annotations

import math
import struct
from typing import Any

from jepa_ros.messages.stamps import stamp_of
from jepa_ros.safety.inputs import SignalsIn

#: Values of a signals message that are identities and not numbers, and what the gate knows them as.
IDENTITIES = {"guardrail_hash": "guardrails/planner", "model_id": "model/planner"}


def key_values(message: Any) -> dict[str, str]:
    """The pairs of all statuses of a message."""
    return {pair.key: pair.value for status in message.status for pair in status.values}


def signals_in(message: Any, received: float = 0.0) -> SignalsIn:
    """The planner's signals as an input of the gate; ``received`` [steady s]. What is no number is NaN."""
    texts = key_values(message)
    identity = {key: texts.pop(key, None) for key in IDENTITIES}
    return SignalsIn(stamp_of(message), received, {key: _number(text) for key, text in texts.items()}, **identity)


def identities(signals: SignalsIn) -> dict[str, str]:
    """{what the gate knows it as: identity} of the identities that signals carry."""
    found = {name: getattr(signals, key) for key, name in IDENTITIES.items()}
    return {name: value for name, value in found.items() if value is not None}


def raw_value(data: bytes, key: str) -> str | None:
    """The value of a key in a serialised DiagnosticArray, without taking the rest apart; None where it is not found.

    A key is its length, its letters and a zero; a zero is within no text, so that no text can look like it.
    """
    if len(data) < 4 or not data[1]:
        return None  # big-endian
    word = key.encode() + b"\0"
    at = data.find(struct.pack("<I", len(word)) + word, 4)
    if at < 0 or at % 4:
        return None
    at += 4 + len(word)
    at += -at % 4
    if at + 4 > len(data):
        return None
    (length,) = struct.unpack_from("<I", data, at)
    text = data[at + 4 : at + 4 + length]
    return text[:-1].decode("utf-8", "replace") if length and len(text) == length else None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
