# SPDX-License-Identifier: Apache-2.0
"""Message definitions and QoS profiles as rosbag2 writes them: the one place that makes the texts inside a bag.

The definition of a type is the concatenation that rosbag2 calls `ros2msg`: the .msg text, then every dependency behind
a line of 80 `=` and `MSG: package/Name`. It is read from the ROS installation (AMENT_PREFIX_PATH, then the running
Python's prefix) and, where that lacks the type, from the library rosbags' table of Jazzy's common messages.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from jepa_ros.bags import BagError

_SEPARATOR = "=" * 80
_PRIMITIVES = frozenset(
    {"bool", "byte", "char", "float32", "float64", "string", "wstring"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
_FIELD = re.compile(r"^\s*([a-zA-Z][a-zA-Z0-9_/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[a-zA-Z]", re.MULTILINE)
_INFINITE = {"sec": 9223372036, "nsec": 854775807}


@dataclass(frozen=True)
class Definition:
    """A message type as it stands in a bag: its name, its text (`ros2msg`) and its RIHS01 hash ('' if unknown)."""

    msgtype: str
    text: str
    type_hash: str
    encoding: str = "ros2msg"


def default_qos(reliability: str = "reliable", durability: str = "volatile", depth: int = 0) -> dict:
    """One entry of `offered_qos_profiles` in metadata version 9; history and depth are unknown over DDS discovery."""
    return {
        "history": "keep_last" if depth else "unknown",
        "depth": depth,
        "reliability": reliability,
        "durability": durability,
        "deadline": dict(_INFINITE),
        "lifespan": dict(_INFINITE),
        "liveliness": "automatic",
        "liveliness_lease_duration": dict(_INFINITE),
        "avoid_ros_namespace_conventions": False,
    }


def qos_entry(profile) -> dict:
    """The entry of `offered_qos_profiles` for an rclpy QoSProfile (as discovered from a publisher)."""

    def duration(value) -> dict:
        sec, nsec = divmod(int(value.nanoseconds), 1_000_000_000)
        return {"sec": sec, "nsec": nsec}

    def name(policy, default: str) -> str:
        return getattr(policy, "name", default).lower()

    return {
        "history": name(profile.history, "unknown"),
        "depth": int(profile.depth),
        "reliability": name(profile.reliability, "unknown"),
        "durability": name(profile.durability, "unknown"),
        "deadline": duration(profile.deadline),
        "lifespan": duration(profile.lifespan),
        "liveliness": name(profile.liveliness, "unknown"),
        "liveliness_lease_duration": duration(profile.liveliness_lease_duration),
        "avoid_ros_namespace_conventions": bool(profile.avoid_ros_namespace_conventions),
    }


def qos_text(entries: list[dict]) -> str:
    """The YAML text of `offered_qos_profiles` inside an MCAP channel's metadata."""
    return yaml.safe_dump(entries, sort_keys=False).strip() if entries else ""


@cache
def definition(msgtype: str) -> Definition:
    """The definition of `msgtype` ("sensor_msgs/msg/Image").

    Raises:
        BagError: no installed package and no table has the type.
    """
    parts = msgtype.split("/")
    if len(parts) != 3 or parts[1] != "msg":
        raise BagError(f"message type {msgtype!r}: expected PACKAGE/msg/NAME")
    found = _from_share(msgtype)
    if found is None:
        found = _from_table(msgtype)
    if found is None:
        raise BagError(f"message type {msgtype}: no definition in AMENT_PREFIX_PATH; install or source its package")
    return found


def _share_dirs() -> list[Path]:
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p] + [sys.prefix]
    return [Path(prefix) / "share" for prefix in prefixes]


def _find(package: str, name: str, suffix: str) -> Path | None:
    for share in _share_dirs():
        path = share / package / "msg" / f"{name}{suffix}"
        if path.is_file():
            return path
    return None


def _from_share(msgtype: str) -> Definition | None:
    package, _, name = msgtype.split("/")
    seen: set[str] = set()

    def expand(package: str, name: str) -> str | None:
        path = _find(package, name, ".msg")
        if path is None:
            return None
        text = path.read_text(encoding="utf-8")
        pieces = [text]
        for dependency in sorted(_dependencies(text, package)):
            if dependency in seen:
                continue
            seen.add(dependency)
            below = expand(*dependency.split("/"))
            if below is None:
                return None
            pieces.append(f"\n{_SEPARATOR}\nMSG: {dependency}\n{below}")
        return "".join(pieces)

    text = expand(package, name)
    if text is None:
        return None
    return Definition(msgtype, text, _hash_from_share(package, name, msgtype) or _hash_of(text, msgtype))


def _dependencies(text: str, package: str) -> set[str]:
    found = set()
    for match in _FIELD.finditer(text):
        kind = match.group(1)
        if kind in _PRIMITIVES or kind.startswith("string") or kind.startswith("wstring"):
            continue
        parts = kind.split("/")
        found.add(f"{parts[0]}/{parts[-1]}" if len(parts) > 1 else f"{package}/{kind}")
    return found


def _hash_from_share(package: str, name: str, msgtype: str) -> str:
    path = _find(package, name, ".json")
    if path is None:
        return ""
    try:
        for entry in json.loads(path.read_text(encoding="utf-8")).get("type_hashes", []):
            if entry.get("type_name") == msgtype:
                return str(entry.get("hash_string", ""))
    except (OSError, ValueError, AttributeError):
        return ""
    return ""


def _hash_of(text: str, msgtype: str) -> str:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(text, msgtype))
    return store.hash_rihs01(msgtype)


def _from_table(msgtype: str) -> Definition | None:
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    if msgtype not in store.fielddefs:
        return None
    text, _ = store.generate_msgdef(msgtype, ros_version=2)
    return Definition(msgtype, text, store.hash_rihs01(msgtype))
