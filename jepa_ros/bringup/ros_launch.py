# SPDX-License-Identifier: Apache-2.0
"""The table of :mod:`jepa_ros.bringup.graph` as a ROS 2 launch description; ``launch/*.launch.py`` are one call each.

Nothing is decided here. ``launch`` and ``launch_ros`` are imported when a description is made, for they are part of a
ROS installation and not of a virtual environment.
"""

from __future__ import annotations

import sys
from typing import Any

from jepa_ros.bringup import graph as bringup
from jepa_ros.bringup.arguments import arguments
from jepa_ros.bringup.spec import END_TIMEOUT, RESPAWN_DELAY, NodeSpec, absolute


def describe(kind: str) -> Any:
    """The ``LaunchDescription`` of "sim", "robot", "replay" or "fleet", with every argument of the table declared."""
    from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
    from launch.substitutions import LaunchConfiguration

    from launch import LaunchDescription  # type: ignore[attr-defined]

    common = bringup.environment()
    names = [argument.name for argument in arguments(kind)]

    def start(context: Any) -> list[Any]:
        given = {name: LaunchConfiguration(name).perform(context) for name in names}
        lacking = bringup.environment(bringup.graph(kind, given).contract).items()
        extra = [SetEnvironmentVariable(name, value) for name, value in lacking if name not in common]
        return [*extra, *actions(kind, given)]

    declared = []
    for argument in arguments(kind):
        choices = {"choices": list(argument.choices)} if argument.choices else {}
        declared.append(
            DeclareLaunchArgument(
                argument.name, default_value=argument.default_text, description=argument.description, **choices
            )
        )
    environment = [SetEnvironmentVariable(name, value) for name, value in common.items()]
    return LaunchDescription([*declared, *environment, OpaqueFunction(function=start)])


def actions(kind: str, given: dict[str, str]) -> list[Any]:
    """One action for each process of the table, the gate first.

    Raises:
        BringupError, ContractError: an argument, or a file that one names, is wrong.
    """
    graph = bringup.graph(kind, given)
    patience = END_TIMEOUT + graph.contract.watchdog.exit_duration
    return [
        _process(spec) if spec.command else _node(spec, patience if spec is graph.gate else END_TIMEOUT)
        for spec in graph.nodes
    ]


def _process(spec: NodeSpec) -> Any:
    from launch.actions import ExecuteProcess

    return ExecuteProcess(cmd=[sys.executable, "-m", *spec.words], name=spec.executable, output="screen")


def _node(spec: NodeSpec, patience: float) -> Any:
    from launch.actions import Shutdown
    from launch_ros.actions import Node
    from launch_ros.parameter_descriptions import ParameterValue

    def typed(value: Any) -> Any:
        # launch would read a text such as "0" as a number.
        return ParameterValue(value, value_type=str) if isinstance(value, str) else value

    options: dict[str, Any] = {}
    if spec.respawn:
        options |= {"respawn": True, "respawn_delay": RESPAWN_DELAY}
    if spec.required:
        options["on_exit"] = Shutdown(reason=f"{spec.executable} has ended")
    return Node(
        package="jepa_ros",
        executable=spec.executable,
        name=spec.node_name,
        namespace=None if spec.spread else absolute(spec.namespace),
        parameters=[{name: typed(value) for name, value in spec.parameters.items()}],
        remappings=list(spec.remappings),
        ros_arguments=["--log-level", spec.log_level],
        output="screen",
        emulate_tty=True,
        sigterm_timeout=str(patience),
        **options,
    )
