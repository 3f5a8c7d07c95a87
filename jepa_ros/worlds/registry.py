# SPDX-License-Identifier: Apache-2.0
"""Which worlds are there: entry points of the group ``jepa_ros.worlds``, of this package and of anybody's.

The name of an entry point is what ``--robot`` takes; what it points to is called without arguments and gives a
:class:`~jepa_ros.worlds.protocols.World`::

    [project.entry-points."jepa_ros.worlds"]
    my_robot = "my_package.my_world:MyWorld"
"""

from __future__ import annotations

import contextlib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from jepa_ros.contract import RobotContract, load_contract, share_dir
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
    """Contract and world for ``--robot``: the name of a registered robot, or a contract's file.

    A contract is simulated in the world that is registered under its name; without one, in the world that takes robots
    of its kind (the optional attribute ``bodies`` of a world: kinds of kinematics).

    Raises:
        WorldError: the robot has no world. ContractError: the contract cannot be used.
    """
    if str(robot) in names():
        world = load(str(robot))
        return world.contract(), world
    contract = load_contract(robot)
    return contract, load(contract.name) if contract.name in names() else _for_body(contract)


def contract_of(robot: str | Path) -> RobotContract:
    """The contract for ``--robot``: a file, the name of a shipped contract, or of a robot that a package registers.

    Raises:
        WorldError: its world cannot be made. ContractError: there is none, or it cannot be used.
    """
    name = str(robot)
    shipped = share_dir() / "robots" / f"{name}.yaml"
    if Path(name).suffix in (".yaml", ".yml") or shipped.is_file() or name not in names():
        return load_contract(robot)
    return load(name).contract()


def _for_body(contract: RobotContract) -> World:
    """The one world that takes robots of the contract's kind beside its own."""
    kind, taking = contract.kinematics.kind, {}
    for name in names():
        with contextlib.suppress(WorldError):  # one that is broken is told when it is asked for
            world = load(name)
            if kind in getattr(world, "bodies", ()):
                taking[name] = world
    if len(taking) != 1:
        known = ", ".join(names()) or "none: install the package again"
        why = f"{', '.join(taking)} take robots of its kind ({kind}), name it like one of them" if taking else (
            f"registered are: {known}. A package adds one by an entry point of the group {GROUP}"
        )  # fmt: skip
        raise WorldError(f"robot '{contract.name}' has no world to be simulated in; {why}")
    return next(iter(taking.values()))


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
