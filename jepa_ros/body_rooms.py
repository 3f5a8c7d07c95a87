# SPDX-License-Identifier: Apache-2.0
"""The ONE table of rooms: which package knows what only bodies of a kind need.

The core asks here by the kind of kinematics that a contract names, or by the name that a checkpoint carries, and knows
no body itself. A room is opened for bodies of its kinds, or for a model that has something of it, and for nobody else.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

PLANAR, ARM = "jepa_ros.planar", "jepa_ros.arm"
#: Kind of kinematics -> its room. A room may have these modules:
#:
#: - ``readouts``: ``READOUTS``, what a model of such a body reads from a latent;
#: - ``goals``: see :func:`jepa_ros.planning.bodies.goals_of` and :func:`~jepa_ros.planning.bodies.unsaid`;
#: - ``knowledge``: see :mod:`jepa_ros.planning.bodies`;
#: - ``acting``: ``Acting``, a :class:`jepa_ros.agent.bodies.Body`.
ROOMS = {"diff_drive": PLANAR, "holonomic": PLANAR, "arm": ARM}
#: Name of a readout -> the room that declares it.
READOUTS = {"pose": PLANAR, "relative": PLANAR, "same": PLANAR, "tip": ARM}
#: Name of a part of an embedding -> the module that makes its head.
CONTEXT = {"map": f"{PLANAR}.map_head"}


def part(kind: str, name: str) -> Any:
    """The module ``name`` of the room of bodies of a kind of kinematics; None where there is none."""
    room = ROOMS.get(kind)
    if room is None or find_spec(f"{room}.{name}") is None:
        return None
    return import_module(f"{room}.{name}")
