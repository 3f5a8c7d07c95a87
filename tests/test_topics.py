# SPDX-License-Identifier: Apache-2.0
"""The table of what topics carry: every part of the package goes by it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from jepa_ros.contract.topics import BASE_COMMANDS, COMMAND_TYPES, ESTOP_TYPE, JOINT_COMMANDS, STATE_TYPES
from jepa_ros.messages.types import MessageTypeError, message_class

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", sorted({*STATE_TYPES.values(), *COMMAND_TYPES.values(), ESTOP_TYPE}))
def test_every_type_is_a_message_of_the_ros_that_is_installed(name):
    package, _, message = name.split("/")
    kind = message_class(name)
    assert kind.__name__ == message and kind.__module__.startswith(f"{package}.msg.")


@pytest.mark.parametrize("name", ["nobody_msgs/msg/Odometry", "nav_msgs/msg/Nothing", "Odometry"])
def test_a_type_that_is_not_installed_is_told_by_name(name):
    with pytest.raises(MessageTypeError, match=f"type {name}: no Python package"):
        message_class(name)


def test_every_kind_of_command_is_of_a_base_or_of_joints():
    assert {*BASE_COMMANDS, *JOINT_COMMANDS} == set(COMMAND_TYPES)
    assert not set(BASE_COMMANDS) & set(JOINT_COMMANDS)


def test_no_other_table_of_state_topics_grows_beside_it():
    """A dict or a tuple that lists most of their names as types would be a second table."""
    others = []
    for path in (ROOT / "jepa_ros").rglob("*.py"):
        if path.name == "topics.py":
            continue
        tables = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Dict)]
        for table in tables:
            texts = {n.value for n in ast.walk(table) if isinstance(n, ast.Constant)}
            if len(set(STATE_TYPES.values()) & texts) > 1:
                others.append(str(path.relative_to(ROOT)))
    assert others == []
