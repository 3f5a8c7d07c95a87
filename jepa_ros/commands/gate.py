# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros gate enable|disable|reset|estop|state|interventions`: the gate's services and its state, without `ros2`."""

from __future__ import annotations

import argparse
import json
from datetime import datetime
from typing import Any

from jepa_ros.commands.link import Link
from jepa_ros.files import add_json, write_json
from jepa_ros.options import namespace, refuse_given, time_span
from jepa_ros.ros_env import ready_for_ros
from jepa_ros.safety.output import MOVING_NAMES

ACTIONS = ("enable", "disable", "reset", "estop", "state", "interventions")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("action", choices=ACTIONS, help="request to the gate; state and interventions only read")
    parser.add_argument("--namespace", type=namespace, default="", help="namespace of the robot's nodes")
    add_json(parser, "interventions: write them and their counts to this file")
    parser.add_argument(
        "--timeout", type=time_span, default=10.0, metavar="S", help="how long to wait (default: %(default)s)"
    )


def main(args: argparse.Namespace) -> int:
    """Ask, and print the answer; 1 when the gate refuses, or (for state) when it does not let the robot drive."""
    ready_for_ros()
    from diagnostic_msgs.msg import DiagnosticArray
    from std_srvs.srv import SetBool, Trigger

    from jepa_ros.nodes import qos

    if args.action != "interventions":
        refuse_given(args, add_arguments, ("json",), f"does nothing with '{args.action}'")
    with Link(args.namespace, args.timeout) as link:
        if args.action == "state":
            status = link.hear(DiagnosticArray, "safety_gate/state", qos.LATCHED).status[0]
            mode = next((pair.value for pair in status.values if pair.key == "mode"), "?")
            print(f"{mode}: {status.message}")
            return 0 if mode in MOVING_NAMES else 1
        if args.action in ("enable", "disable"):
            request = SetBool.Request(data=args.action == "enable")
            answer = link.call(SetBool, "safety_gate/enable", request)
        else:
            answer = link.call(Trigger, f"safety_gate/{args.action}")
    if args.action == "interventions":
        found = json.loads(answer.message)
        if args.json is not None:
            write_json(args.json, found)
        print(told(found))
        return 0
    print(answer.message)
    return 0 if answer.success else 1


def told(found: dict[str, Any]) -> str:
    """What :func:`jepa_ros.safety.gate.describe` says, as text: one line an intervention, then how often what came."""
    lines = []
    for e in found["interventions"]:
        when = datetime.fromtimestamp(e["ros"]).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        lines.append(f"{when}  {e['mode']:7}  {e['reason']:18}  {e['sentence']}")
    counts = ", ".join(f"{name} {count}" for name, count in sorted(found["counts"].items())) or "none"
    return "\n".join([*lines, f"{found['mode']} ({found['reason']}); counts: {counts}"])
