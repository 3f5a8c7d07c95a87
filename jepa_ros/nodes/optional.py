# SPDX-License-Identifier: Apache-2.0
"""Types of packages that need not be there, and the ONE place for what differs between ROS 2's distributions."""

from __future__ import annotations

import importlib
import os
from typing import Any

from jepa_ros.errors import JepaRosError


class NoInterface(JepaRosError):
    """A package of interface types is not installed; the message says how to install it."""


def action(package: str, name: str) -> Any:
    """The type of an action, as ``action("nav2_msgs", "NavigateToPose")``.

    Raises:
        NoInterface: the package is not installed.
    """
    try:
        return getattr(importlib.import_module(f"{package}.action"), name)
    except ModuleNotFoundError:
        distribution = os.environ.get("ROS_DISTRO", "jazzy")
        wanted = f"ros-{distribution}-{package.replace('_', '-')}"
        raise NoInterface(f"the ROS package {package} is not installed: apt install {wanted}") from None


def explain(result: Any, text: str) -> None:
    """Say why, where a result can: Nav2's results have ``error_msg`` since Kilted, and only a code in Jazzy."""
    if hasattr(result, "error_msg"):
        result.error_msg = text
