# SPDX-License-Identifier: Apache-2.0
"""From a command line to a world and a task: ``--robot NAME --task NAME``, or ``--env ID`` for an environment."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jepa_ros.suggest import did_you_mean
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
    parser.add_argument("--task", metavar="NAME", help="task of the robot's world (default: its first)")
    group = parser.add_argument_group("a Gymnasium environment as the world")
    group.add_argument("--env", metavar="ID", help="a Gymnasium environment with a Box action and RGB rendering")
    group.add_argument("--env-args", metavar="JSON", help="further arguments of the environment")
    group.add_argument("--action-repeat", type=int, metavar="N",
                       help=f"environment steps for which an action is held (default: {repeat})")  # fmt: skip
    return group


@dataclass(frozen=True)
class Choice:
    """What a command line names: a world, a task there, and the task's options that were given."""

    world: World
    task: str
    options: dict[str, Any]


def choose(
    args: argparse.Namespace, to_score: bool, names: Iterable[str], own_limit: bool = False,
    trained: Mapping[str, Any] | None = None,
) -> Choice:  # fmt: skip
    """The world and the task that a command line names; nothing is opened yet.

    Args:
        to_score: a task to be scored, else one in which data is gathered.
        names: options of ``args`` that are a task's, None where they were not given.
        own_limit: an environment keeps its time limit. trained: settings of the data that a model of it was trained
            on, for what the command line does not say.

    Raises:
        WorldError: there is no such world or task, or options that do not go together.
    """
    world = _world(args, own_limit, trained)
    known = world.tasks if to_score else world.outings
    layout = getattr(args, "layout", None)
    if layout is not None and args.task is not None and layout != args.task:
        raise WorldError(f"--layout {layout} and --task {args.task}: a layout is a task of the arena; give one")
    task = args.task or layout or (world.score_task if to_score else world.data_task)
    if task not in known:
        flag = "--layout" if args.task is None else "--task"
        said = f"expected one of {', '.join(known)} in the world '{world.name}'"
        raise WorldError(f"{flag} {task}: {said}{did_you_mean(task, known)}")
    options = {name: value for name in names if (value := getattr(args, name)) is not None}
    for name in sorted(set(options) - set(world.options)):
        option = "no-randomise" if name == "randomise" and options[name] is False else name.replace("_", "-")
        raise WorldError(f"--{option} does nothing in the world '{world.name}'")
    return Choice(world, task, options)


def _world(args: argparse.Namespace, own_limit: bool, trained: Mapping[str, Any] | None) -> World:
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


def assign(args: argparse.Namespace, choice: Choice) -> Assignment:
    """The choice with its robot: the world's own, or the one whose file ``--robot`` names.

    Raises:
        WorldError: the world cannot be opened, or an option has a value that it cannot have.
    """
    world = choice.world
    contract = world.contract() if args.env is not None else find(args.robot or ROBOT)[0]
    return Assignment.of(world, contract, choice.task, choice.options)


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
