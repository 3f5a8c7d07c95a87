# SPDX-License-Identifier: Apache-2.0
"""The ``foxglove_bridge`` of a ROS installation, held to what our own bridge lets through."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from jepa_ros.console.asking import SERVICES
from jepa_ros.console.foxglove import CLIENT_TOPICS, STOP

NOTHING = "^$"


def find(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The executable of ``foxglove_bridge``; None where it is not installed."""
    for prefix in environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        path = Path(prefix) / "lib" / "foxglove_bridge" / "foxglove_bridge"
        if prefix and path.is_file():
            return path
    return None


def words(executable: Path, namespace: str, port: int, control: bool, sim_time: bool) -> list[str]:
    """Its command line: on this machine alone, with the services and topics of an operator only.

    Args:
        namespace: of the robot's nodes, "" or "/name". control: clients may command, see :mod:`.commands`.
    """

    def only(names: list[str]) -> str:
        return "[" + ", ".join(f"'^{re.escape(f'{namespace}/{name}')}$'" for name in names) + "]"

    parameters = {
        "address": "127.0.0.1",
        "port": str(port),
        "use_sim_time": str(sim_time).lower(),
        "capabilities": "[clientPublish, services, connectionGraph]",
        "param_whitelist": f"['{NOTHING}']",
        "service_whitelist": only([service for name, service, _ in SERVICES if control or name == STOP]),
        "client_topic_whitelist": only(list(CLIENT_TOPICS)) if control else f"['{NOTHING}']",
    }
    rows = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    return [str(executable), "--ros-args", "-r", "__node:=foxglove", "-r", f"__ns:={namespace or '/'}", *rows]

