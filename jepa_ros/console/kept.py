# SPDX-License-Identifier: Apache-2.0
"""The newest message of a topic, and what stands in diagnostics."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import deserialize_message

RATE_WINDOW = 3.0


def values_of(message: DiagnosticArray) -> dict[str, str]:
    """All key-value pairs of a diagnostic, the first status' text under ``message``."""
    found = {pair.key: pair.value for status in message.status for pair in status.values}
    return {**found, "message": message.status[0].message if message.status else ""}


def numbers(values: dict[str, str], prefix: str) -> dict[str, float]:
    """The finite numbers whose key begins with ``prefix``, by the rest of the key."""
    found = {}
    for key, text in values.items():
        if key.startswith(prefix):
            try:
                value = float(text)
            except ValueError:
                continue
            if math.isfinite(value):
                found[key[len(prefix) :]] = value
    return found


class Kept:
    """The newest message of one topic, as bytes, with when it came.

    Args:
        kind: type of the message. latched: spoken when something changes, so that its age says nothing.
    """

    def __init__(self, kind: type, latched: bool = False) -> None:
        self.kind, self.latched = kind, latched
        self.data: bytes | None = None
        self.version = 0
        self.times: deque[float] = deque(maxlen=400)
        self._read: tuple[int, Any] = (0, None)

    def put(self, data: bytes) -> None:
        """Keep a serialised message."""
        self.data = data
        self.version += 1
        self.times.append(time.monotonic())

    def get(self) -> Any:
        """The newest message, or None; each is deserialised at most once."""
        if self.data is None:
            return None
        version, data = self.version, self.data
        if self._read[0] != version:
            self._read = version, deserialize_message(data, self.kind)
        return self._read[1]

    def values(self) -> dict[str, str]:
        """What the newest diagnostic says; empty before the first."""
        message = self.get()
        return {} if message is None else values_of(message)

    def age(self) -> float | None:
        """Seconds since the newest came; None before the first."""
        return round(time.monotonic() - self.times[-1], 2) if self.times else None

    def account(self) -> dict[str, Any]:
        """Rate [Hz] over the last seconds, and age [s] of the newest; None before the first."""
        now = time.monotonic()
        recent = [t for t in list(self.times) if now - t < RATE_WINDOW]
        return {"rate": round(len(recent) / RATE_WINDOW, 1), "age": self.age(), "latched": self.latched}
