# SPDX-License-Identifier: Apache-2.0
"""What ROS accepts as the name of a topic or a namespace (design.ros2.org, "Topic and Service name mapping to DDS")."""

from __future__ import annotations

import re

_TOKEN = "[A-Za-z_][A-Za-z0-9_]*"
_NAME = re.compile(rf"/?{_TOKEN}(/{_TOKEN})*")
#: rmw refuses longer ones.
_MOST = 200


def is_topic(text: str) -> bool:
    """Whether ``text`` names a topic, relative or absolute; ``~`` (the node's own) is left out."""
    return len(text) <= _MOST and _NAME.fullmatch(text) is not None


def is_namespace(text: str) -> bool:
    """Whether ``text`` names a namespace; ``""`` and ``/`` are none, and a ``/`` at the end is allowed."""
    return text in ("", "/") or (len(text) <= _MOST and _NAME.fullmatch(text.rstrip("/")) is not None)


def prefix(namespace: str) -> str:
    """What stands before ``/NAME`` of a namespace's topics: ``""`` for none, else ``/NAMESPACE``."""
    return f"/{namespace.strip('/')}".rstrip("/")


def full_name(name: str, namespace: str) -> str:
    """The full name of a topic that is relative to a namespace, or absolute already."""
    return name if name.startswith("/") else f"{prefix(namespace)}/{name}"
