# SPDX-License-Identifier: Apache-2.0
"""A value taken out of a serialised message without taking the rest apart."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from jepa_ros.bags.dataset.series import TWISTS
from jepa_ros.bags.format.message_types import typestore
from jepa_ros.contract import load_contract
from jepa_ros.messages.commands import gate_output, raw_command
from jepa_ros.messages.diagnostics import key_values, raw_value
from jepa_ros.messages.stamps import stamp_ns

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


def twist(msgtype, values, frame="", little=True):
    types = typestore().types
    vector = types["geometry_msgs/msg/Vector3"]
    content = types["geometry_msgs/msg/Twist"](vector(*values[:3]), vector(*values[3:]))
    if TWISTS[msgtype]:
        header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](-3, 999_999_999), frame)
        content = types[msgtype](header, content)
    return bytes(typestore().serialize_cdr(content, msgtype, little_endian=little))


@pytest.mark.parametrize("frame", ["", "b", "base", "base_link", "größe/base"])
@pytest.mark.parametrize("msgtype", TWISTS)
@pytest.mark.parametrize("odd", [0.25, math.nan, math.inf])
def test_a_command_is_what_the_whole_message_says(msgtype, frame, odd):
    contract = load_contract("arena")
    data = twist(msgtype, (0.5, -0.0, odd, 1e-300, 7.0, -2.5), frame)
    whole = typestore().deserialize_cdr(data, msgtype)
    stamp, values = raw_command(data, TWISTS[msgtype], contract)
    np.testing.assert_array_equal(values, gate_output(whole, contract))
    assert stamp == (stamp_ns(whole) or 0) and np.isfinite(values).all() == (odd == 0.25)


@pytest.mark.parametrize("msgtype", TWISTS)
def test_a_command_that_cannot_be_read_so_is_left_to_others(msgtype):
    contract = load_contract("arena")
    data = twist(msgtype, (0.5, 0.0, 0.0, 0.0, 0.0, -2.5), "base")
    assert raw_command(twist(msgtype, (0.5,) * 6, "base", little=False), TWISTS[msgtype], contract) is None
    assert raw_command(data, None, contract) is None
    joint = SimpleNamespace(axes=(SimpleNamespace(name="elbow"),))
    assert raw_command(data, TWISTS[msgtype], joint) is None
    for end in range(len(data)):
        assert raw_command(data[:end], TWISTS[msgtype], contract) is None
