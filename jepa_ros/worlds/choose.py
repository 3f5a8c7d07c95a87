# SPDX-License-Identifier: Apache-2.0
"""From a command line to a world and a task: ``--robot NAME --task NAME``, or ``--env ID`` for an environment."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from typing import Any

from jepa_ros.contract import RobotContract
from jepa_ros.worlds.assignment import Assignment
from jepa_ros.worlds.protocols import World, WorldError
from jepa_ros.worlds.registry import find

ROBOT = "arena"  # where neither a robot nor an environment is named


def add_world_arguments(parser: argparse.ArgumentParser, repeat: str) -> Any:
    """Declare the options that name a world and a task; returns the group of those of an environment.

    Args:
        repeat: what ``--action-repeat`` is where it is not given.
    """
    parser.add_argument(
        "--robot", help=f"name of a robot that has a world, or the YAML file of such a robot (default: {ROBOT})"
    )
    parser.add_argument("--task", metavar="NAME", help="what is done there (default: the world's first)")
    group = parser.add_argument_group("a Gymnasium environment as the world")
    group.add_argument("--env", metavar="ID", help="a Gymnasium environment with a Box action and RGB rendering")
    group.add_argument("--env-args", metavar="JSON", help="further arguments of the environment")
    group.add_argument("--action-repeat", type=int, metavar="N",
                       help=f"of its steps, for which an action is held (default: {repeat})")  # fmt: skip
    return group


def choose(args: argparse.Namespace, own_limit: bool, trained: Mapping[str, Any] | None = None) -> World:
    """The world that a command line names.

    Args:
        own_limit: an environment keeps its time limit. trained: settings of the data that a model of it was trained
            on, for what the command line does not say.

    Raises:
        WorldError: there is no such world, or options that do not go together.
    """
    if args.env is None:
        for name in ("env_args", "action_repeat"):
            if getattr(args, name) is not None:
                raise WorldError(f"--{name.replace('_', '-')} does nothing without --env")
        return find(args.robot or ROBOT)[1]
    if args.robot is not None:
        raise WorldError("--robot does nothing with --env: an environment is a robot and a world in one")
    from jepa_ros.worlds.gym.world import SOURCE, GymWorld

    known = trained if trained and trained.get("source") == SOURCE else {}
    given = args.env_args if args.env_args is not None else known.get("args")
    text = json.dumps(json_object(given, "--env-args"), sort_keys=True)
    repeat = args.action_repeat if args.action_repeat is not None else known.get("repeat")
    return GymWorld(args.env, text, repeat, own_limit)


def contract_of(args: argparse.Namespace, world: World) -> RobotContract:
    """The contract of the robot: the world's own, or the file that ``--robot`` names."""
    return world.contract() if args.env is not None else find(args.robot or ROBOT)[0]


def assign(
    args: argparse.Namespace, world: World, contract: RobotContract, task: str, names: Iterable[str]
) -> Assignment:
    """What the command line asks for in its world.

    Args:
        task: where neither ``--task`` nor its spelling ``--layout`` names one.
        names: options of ``args`` that are a task's, None where they were not given.

    Raises:
        WorldError: no such task, or an option that the world does not have.
    """
    layout = getattr(args, "layout", None)
    if layout is not None and args.task is not None and layout != args.task:
        raise WorldError(f"--layout {layout} and --task {args.task}: a layout is a task of the arena; give one")
    options = {name: value for name in names if (value := getattr(args, name)) is not None}
    return Assignment.of(world, contract, args.task or layout or task, options)


def json_object(text: str | None, option: str) -> dict[str, Any]:
    """Read an option that is a JSON object; None is an empty one.

    Raises:
        WorldError: it is none.
    """
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise WorldError(f"{option} {text}: not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise WorldError(f"{option} {text}: expected a JSON object such as '{{\"continuous\": true}}'")
    return found
