# SPDX-License-Identifier: Apache-2.0
"""From the arguments of bringup to the values of nodes: files read, models found, topics renamed.

All raise :class:`~jepa_ros.bringup.arguments.BringupError`, naming the argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jepa_ros.bringup.arguments import ROBOT_TOPICS, BringupError
from jepa_ros.contract import RobotContract, share_dir
from jepa_ros.yaml_text import load_mapping


def sim_time(kind: str, args: dict[str, Any]) -> bool:
    """Whether the nodes take the time from ``/clock``."""
    return bool(args.get("use_sim_time", True)) if kind == "robot" else True


def model(args: dict[str, Any], contract: RobotContract) -> str:
    """Folder of the checkpoint."""
    given, shipped = args["model"], share_dir() / "models"
    if given and not Path(given).is_dir() and not (shipped / given).is_dir():
        raise BringupError(f"model:={given}: neither a folder nor one of the models in {shipped}")
    return given if given and Path(given).is_dir() else str(shipped / (given or contract.name))


def remaps(kind: str, args: dict[str, Any], contract: RobotContract) -> tuple[tuple[str, str], ...]:
    """Remappings for the topics that were named otherwise; a state topic is renamed from the contract's name."""
    if kind != "robot":
        return ()
    pairs = []
    for topic in ROBOT_TOPICS:
        if args[topic]:
            own = own_topic(contract, topic)
            pairs.append((own, args[topic]))
            if topic in ("image", "goal_image"):
                pairs.append((f"{own}/compressed", f"{args[topic]}/compressed"))
    return tuple(pairs)


def own_topic(contract: RobotContract, name: str) -> str:
    """What the contract calls one of :data:`ROBOT_TOPICS`."""
    if name == "image":
        return contract.watched_camera.topic
    if name == "estop":
        return contract.estop_topic
    return contract.state[name].topic if name in contract.state else name


def text(args: dict[str, Any], name: str) -> str:
    """The text of the file that an argument names; empty for none."""
    if not args[name]:
        return ""
    try:
        return Path(args[name]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BringupError(f"{name}:={args[name]}: cannot be read: {error}") from None


def mapping_text(args: dict[str, Any], name: str) -> str:
    """The text of a file that has to hold a mapping."""
    found = text(args, name)
    load_mapping(found, f"{name}:={args[name]}", BringupError)
    return found


def extra(args: dict[str, Any], name: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """Further parameters of a node; those of ``own`` are arguments of bringup, which other nodes must have alike."""
    extra = load_mapping(text(args, name), f"{name}:={args[name]}", BringupError)
    for key in extra:
        if key in own:
            raise BringupError(f"{name}:={args[name]}: {key} is an argument of its own: give {key}:=...")
    return extra


def numbers(args: dict[str, Any], name: str, count: int) -> list[float]:
    """A list of numbers from 'a,b,c'; an empty text gives NaNs, ROS having no empty typed list on its command line."""
    if not args[name]:
        return [float("nan")] * count
    try:
        values = [float(part) for part in args[name].split(",")]
    except ValueError:
        values = []
    if len(values) != count:
        raise BringupError(f"{name}:={args[name]}: expected {count} numbers with commas between them")
    return values
