# SPDX-License-Identifier: Apache-2.0
"""What runs together: processes, with their parameters and remappings, and their command lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from jepa_ros.contract import RobotContract

#: Seconds that a process has to end after it was asked to, before it is killed; the gate has its exit_duration besides.
END_TIMEOUT = 5.0
#: Seconds between the death of a node and its next start, under ros2 launch and `up` alike.
RESPAWN_DELAY = 1.0


@dataclass(frozen=True)
class NodeSpec:
    """One process of the graph.

    Attributes:
        executable: name of the process and of its script; ``jepa_ros.nodes.<executable>`` is its module.
        nodes: the ROS nodes in it; one, save for ``composed``.
        parameters: name -> value (bool, int, float, str, or a list of one of these).
        spread: its nodes have namespaces of their own, so that none is set for the process.
        remappings: (from, to) pairs.
        lifecycle: names of its managed nodes; they configure and activate themselves (parameter ``autostart``).
        respawn: start it again when it dies.
        required: when it dies, the whole graph stops.
        log_level: of the process.
        command: module and arguments of a process that takes no ROS arguments (recorder, player); None for nodes.
    """

    executable: str
    nodes: tuple[str, ...]
    namespace: str
    parameters: Mapping[str, Any]
    remappings: tuple[tuple[str, str], ...] = ()
    lifecycle: tuple[str, ...] = ()
    respawn: bool = False
    required: bool = False
    log_level: str = "info"
    command: tuple[str, ...] | None = None
    spread: bool = False

    @property
    def module(self) -> str:
        """The Python module that runs this process."""
        return self.command[0] if self.command else f"jepa_ros.nodes.{self.executable}"

    @property
    def words(self) -> list[str]:
        """What follows ``python -m``."""
        return list(self.command) if self.command else [self.module, *ros_arguments(self)]

    @property
    def node_name(self) -> str | None:
        """The name to give the node, or None where the process holds several, each with a name of its own."""
        return self.nodes[0] if len(self.nodes) == 1 else None


@dataclass(frozen=True)
class Graph:
    """What runs together, in the order in which it starts; it is stopped in the opposite order."""

    kind: str
    contract: RobotContract
    nodes: tuple[NodeSpec, ...]

    @property
    def gate(self) -> NodeSpec | None:
        """The gate's process; None where it runs on another machine."""
        return self.nodes[0] if self.nodes and self.nodes[0].executable == "safety_gate" else None

    def find(self, executable: str) -> NodeSpec:
        """The process named ``executable`` (KeyError where there is none)."""
        for node in self.nodes:
            if node.executable == executable:
                return node
        raise KeyError(executable)


def ros_arguments(node: NodeSpec) -> list[str]:
    """The ``--ros-args ...`` of a process (what ros2 launch writes into a parameter file and remap rules)."""
    out = ["--ros-args", "--log-level", node.log_level]
    if node.node_name:
        out += ["-r", f"__node:={node.node_name}"]
    if not node.spread:
        out += ["-r", f"__ns:={absolute(node.namespace)}"]
    for name, value in node.parameters.items():
        out += ["-p", f"{name}:={yaml_value(value)}"]
    for source, target in node.remappings:
        out += ["-r", f"{source}:={target}"]
    return out


def absolute(namespace: str) -> str:
    """A namespace with its leading slash ('' becomes '/')."""
    return "/" + namespace.strip("/")


_SCALARS: dict[type, Callable[[Any], str]] = {
    bool: lambda v: "true" if v else "false",
    int: str,
    float: lambda v: ".nan" if v != v else ".inf" if v == float("inf") else "-.inf" if v == -float("inf") else repr(v),
}


def yaml_value(value: Any) -> str:
    """A parameter's value as YAML that ROS reads back with the same type (texts always in quotes)."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(yaml_value(v) for v in value) + "]"
    if type(value) in _SCALARS:
        return _SCALARS[type(value)](value)
    return yaml.safe_dump(str(value), default_style='"', width=1_000_000, allow_unicode=True).strip()
