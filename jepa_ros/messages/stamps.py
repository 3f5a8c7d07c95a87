# SPDX-License-Identifier: Apache-2.0
"""When a message was stamped."""

from __future__ import annotations

import struct
from typing import Any

from jepa_ros.messages import MessageError


def seconds(stamp: Any) -> float:
    """Seconds of a ``builtin_interfaces/Time`` or ``Duration`` (float64 resolves about 0.2 us at today's epoch)."""
    return float(stamp.sec + stamp.nanosec * 1e-9)


def stamp_of(message: Any) -> float:
    """The header's stamp [s]."""
    return seconds(message.header.stamp)


def stamp_ns(message: Any) -> int | None:
    """The header's stamp in ns; None for types that have no header."""
    header = getattr(message, "header", None)
    return None if header is None else int(header.stamp.sec * 1_000_000_000 + header.stamp.nanosec)


def raw_stamp(data: bytes) -> int:
    """The stamp in ns of a CDR message that begins with a Header or a time, without deserialising it.

    Raises:
        MessageError: it is shorter than a stamp.
    """
    if len(data) < 12:
        raise MessageError(f"{len(data)} bytes are no serialised message that begins with a stamp")
    sec, nanosec = struct.unpack_from("<iI" if data[1:2] == b"\x01" else ">iI", data, 4)
    return int(sec * 1_000_000_000 + nanosec)
