# SPDX-License-Identifier: Apache-2.0
"""From the name of a message type to its Python class, in the ROS that is there."""

from __future__ import annotations

import importlib
from typing import Any

from jepa_ros.errors import JepaRosError


class MessageTypeError(JepaRosError):
    """A message type that this machine has no Python package for."""


def message_class(name: str) -> Any:
    """The Python class of a type such as sensor_msgs/msg/Image.

    Raises:
        MessageTypeError: its Python package is not installed.
    """
    try:
        package, folder, message = name.split("/")
        return getattr(importlib.import_module(f"{package}.{folder}"), message)
    except (ImportError, AttributeError, ValueError):
        raise MessageTypeError(f"type {name}: no Python package for it here; install or source it") from None
