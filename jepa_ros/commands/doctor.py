# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros doctor``: looks at a running graph and names what is wrong with it, and what to do about it.

Checks, in the names of the contract: nodes that are missing or not active; topics without a publisher, with a second
one, of a type or QoS that the other side does not take; topics that are silent or slower than declared; a clock that
stands still; the gate's own account of itself. It publishes and commands nothing.

Exit code 0 when nothing is wrong, 1 when something is (warnings alone do not count).
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict

from jepa_ros.bringup.graph import environment
from jepa_ros.commands.doctor_rules import ERROR, OK, WARNING
from jepa_ros.files import add_json, write_json
from jepa_ros.options import namespace, time_span
from jepa_ros.progress import StatusLine
from jepa_ros.ros_env import ready_for_ros
from jepa_ros.worlds import contract_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--robot", default="arena", help="contract: a name or a YAML file (default: %(default)s)")
    parser.add_argument("--namespace", type=namespace, default="", help="namespace of the nodes (default: none)")
    parser.add_argument(
        "--seconds", type=time_span, default=3.0, help="how long to listen to each topic (default: %(default)s)"
    )
    parser.add_argument("--compressed", action="store_true", help="the camera publishes image/compressed")
    parser.add_argument("--no-brain", action="store_true", help="perception and planner are not expected to run")
    add_json(parser, "write the findings for machines")


def main(args: argparse.Namespace) -> int:
    """Examine the graph of the present ROS domain and report."""
    from rich.console import Console

    contract = contract_of(args.robot)
    ready_for_ros()
    os.environ.update(environment(contract))  # pictures are heard the way they are sent
    from jepa_ros.commands.doctor_graph import examine

    line, brain = StatusLine(), not args.no_brain
    findings = examine(contract, args.namespace, args.seconds, args.compressed, brain, line.tell)
    line.end()
    console, marks = Console(), {OK: "[green]ok[/]     ", WARNING: "[yellow]warning[/]", ERROR: "[bold red]error[/]  "}
    for finding in findings:
        console.print(
            f"{marks[finding.level]} [bold]{finding.subject}[/]: {finding.text}", soft_wrap=True, highlight=False
        )
    errors = sum(f.level == ERROR for f in findings)
    warnings = sum(f.level == WARNING for f in findings)
    console.print(f"{errors} errors, {warnings} warnings (ROS_DOMAIN_ID {os.environ.get('ROS_DOMAIN_ID', '0')})")
    if args.json is not None:
        write_json(args.json, [asdict(f) for f in findings])
    return 1 if errors else 0
