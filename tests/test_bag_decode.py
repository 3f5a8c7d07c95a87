# SPDX-License-Identifier: Apache-2.0
"""A value taken out of a serialised message without taking the rest apart."""

import pytest

from jepa_ros.bags.decode import key_values, raw_value
from jepa_ros.bags.reader import typestore

STATE = "diagnostic_msgs/msg/DiagnosticArray"


def serialised(pairs, message="", little=True):
    types = typestore().types
    status = types["diagnostic_msgs/msg/DiagnosticStatus"]
    pair = types["diagnostic_msgs/msg/KeyValue"]
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](3, 4), "frame")
    one = status(0, "gate", message, "", [pair(key, value) for key, value in pairs])
    return bytes(typestore().serialize_cdr(types[STATE](header, [one]), STATE, little_endian=little))


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz", "ode mode "])
@pytest.mark.parametrize("value", ["ACTIVE", "", "Größe", "mode"])
def test_it_is_what_the_whole_message_says(before, value):
    pairs = [(before, before), ("modest", "no"), ("mode", value), ("reason", "ok")]
    data = serialised(pairs, message=f"the mode {before}")
    whole = key_values(typestore().deserialize_cdr(data, STATE))
    assert (raw_value(data, "mode") or "", raw_value(data, "reason")) == (whole["mode"], whole["reason"])


def test_what_cannot_be_told_is_none():
    data = serialised([("mode", "ACTIVE")])
    assert raw_value(data, "reason") is None and raw_value(b"", "mode") is None
    assert raw_value(serialised([("mode", "ACTIVE")], little=False), "mode") is None
    for end in range(len(data)):
        assert raw_value(data[:end], "mode") in (None, "ACTIVE")
