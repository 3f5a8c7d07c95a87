# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros goal PICTURE|current|clear|X Y YAW|tag TAG|remember TAG|tags`: give the planner a goal from a terminal."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jepa_ros.commands.link import Link
from jepa_ros.commands.tags import remember, tags
from jepa_ros.errors import JepaRosError
from jepa_ros.options import namespace, time_span
from jepa_ros.ros_env import ready_for_ros


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    what = (
        "a picture (JPEG or PNG) of the robot's camera; current: what it sees now; clear: none; X Y YAW in m and rad; "
        "tag TAG: a place that was remembered; remember TAG: give what it sees now a name; tags: which there are"
    )
    parser.add_argument("goal", nargs="+", help=what)
    parser.add_argument("--robot", default="arena", help="contract: a name or a YAML file (default: %(default)s)")
    parser.add_argument("--namespace", type=namespace, default="", help="namespace of the robot's nodes")
    parser.add_argument(
        "--timeout", type=time_span, default=10.0, metavar="S", help="how long to wait (default: %(default)s)"
    )


def main(args: argparse.Namespace) -> int:
    """Send the goal and print what became of it; 1 when it was refused."""
    ready_for_ros()
    from std_srvs.srv import Trigger

    with Link(args.namespace, args.timeout) as link:
        if args.goal in (["current"], ["clear"]):
            service = "goal_from_current" if args.goal == ["current"] else "clear_goal"
            answer = link.call(Trigger, f"planner/{service}")
            print(answer.message)
            return 0 if answer.success else 1
        if args.goal == ["tags"]:
            return tags(link)
        if len(args.goal) == 2 and args.goal[0] in ("tag", "remember"):
            return (_tag if args.goal[0] == "tag" else remember)(link, args.goal[1])
        if len(args.goal) == 1:
            return _picture(link, Path(args.goal[0]))
        return _pose(link, args)


def _pose(link: Link, args: argparse.Namespace) -> int:
    from geometry_msgs.msg import PoseStamped

    from jepa_ros.nodes.convert import set_yaw
    from jepa_ros.worlds import contract_of

    try:
        x, y, yaw = (float(word) for word in args.goal)
    except ValueError:
        found = " ".join(args.goal)
        raise JepaRosError(
            f"'{found}': expected three numbers X Y YAW, a picture, current, clear, tag TAG, remember TAG or tags"
        ) from None
    message = PoseStamped()
    message.header.frame_id = contract_of(args.robot).frames.map
    message.pose.position.x, message.pose.position.y = x, y
    set_yaw(message.pose.orientation, yaw)
    return _give(link, PoseStamped, "goal_pose", message)


def _picture(link: Link, path: Path) -> int:
    from sensor_msgs.msg import CompressedImage


    try:
        data = path.read_bytes()
    except OSError as error:
        raise JepaRosError(
            f"{path}: cannot be read: {error.strerror}; give a picture, current, clear or X Y YAW"
        ) from None
    message = CompressedImage(format=path.suffix.lstrip("."))
    message.data.frombytes(data)
    return _give(link, CompressedImage, "goal_image/compressed", message)


def _tag(link: Link, name: str) -> int:
    from std_msgs.msg import String

    return _give(link, String, "goal_tag", String(data=name))


def _give(link: Link, kind: type, topic: str, message: Any) -> int:
    """Send a goal, and print what the planner's status says of it; 1 when it was refused."""
    from diagnostic_msgs.msg import DiagnosticArray

    from jepa_ros.nodes import qos

    told: list[dict[str, str]] = []

    def hear(status: DiagnosticArray) -> None:
        told.append({pair.key: pair.value for part in status.status for pair in part.values})

    status = link.node.create_subscription(DiagnosticArray, "planner/status", hear, qos.STATUS)
    link.until(lambda: told, f"no message on {status.topic_name}")
    before = told[-1].get("goal_answers")
    link.say(kind, topic, qos.COMMAND, message)
    link.until(lambda: told[-1].get("goal_answers") != before, f"no answer to {topic} on {status.topic_name}")
    values = told[-1]
    if values["goal_refused"]:
        print(values["goal_refused"])
        return 1
    print(f"goal: {values['goal']}; planner: {values.get('reason', '?')}; gate: {values.get('gate', '?')}")
    return 0
