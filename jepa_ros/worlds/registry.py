# SPDX-License-Identifier: Apache-2.0
"""Which worlds are there: entry points of the group ``jepa_ros.worlds``, of this package and of anybody's.

The name of an entry point is what ``--robot`` takes; what it points to is called without arguments and gives a
:class:`~jepa_ros.worlds.protocols.World`::

    [project.entry-points."jepa_ros.worlds"]
    my_robot = "my_package.my_world:MyWorld"
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.errors import JepaRosError
from jepa_ros.worlds.protocols import World, WorldError

GROUP = "jepa_ros.worlds"


def names() -> list[str]:
    """The robots that have a world, in the order of the alphabet."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def load(name: str) -> World:
    """The world of a robot.

    Raises:
        WorldError: none is registered under the name, two packages register it, or it cannot be made. JepaRosError:
            what it says itself of why.
    """
    point = _find(name)
    try:
        made: World = point.load()()
    except JepaRosError:
        raise
    except Exception as error:  # whatever goes wrong in other people's code is a line, not a traceback of ours
        text = " ".join(str(error).split())[:300]
        raise WorldError(f"world '{name}' ({point.value}) cannot be made: {type(error).__name__}: {text}") from error
    return made


def find(robot: str | Path) -> tuple[RobotContract, World]:
    """Contract and world for ``--robot``: the name of a registered robot, or a contract's file that is named like one.

    Raises:
        WorldError: the robot has no world. ContractError: the contract cannot be used.
    """
    if str(robot) in names():
        world = load(str(robot))
        return world.contract(), world
    contract = load_contract(robot)
    if contract.name not in names():
        known = ", ".join(names()) or "none: install the package again"
        raise WorldError(
            f"robot '{contract.name}' has no world to be simulated in; registered are: {known}. "
            f"A package adds one by an entry point of the group {GROUP}"
        )
    return contract, load(contract.name)


def _find(name: str) -> EntryPoint:
    found = {(p.value, _package(p)): p for p in entry_points(group=GROUP) if p.name == name}
    if not found:
        known = ", ".join(names()) or "none: install the package again"
        raise WorldError(f"no world is registered for robot '{name}'; known: {known}")
    if len(found) > 1:
        packages = ", ".join(f"{package or 'an unnamed package'} ({value})" for value, package in sorted(found))
        raise WorldError(f"world '{name}' is registered more than once, by {packages}: uninstall all but one")
    return next(iter(found.values()))


def _package(point: EntryPoint) -> str:
    return "" if point.dist is None else point.dist.name
