# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros doctor``: looks at a running graph and names what is wrong with it, and what to do about it.

Checks, in the names of the contract: nodes that are missing or not active; topics without a publisher, with a second
one, of a wrong type, or whose QoS does not fit; topics that are silent or slower than declared; a clock that stands
still; the gate's own account of itself. It publishes and commands nothing.

Exit code 0 when nothing is wrong, 1 when something is (warnings alone do not count).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from jepa_ros.bringup.graph import environment
from jepa_ros.commands.options import namespace, time_span
from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.files import add_json, write_json
from jepa_ros.ros_env import ready_for_ros

OK, WARNING, ERROR = "ok", "warning", "error"
#: A topic that is slower than this share of its declared rate is reported.
SLOW = 0.7
DISCOVERY = 1.5  # s until every publisher of a machine or a small network is known
#: Seconds to look for the gate: participants announce themselves every 3 s, and the first announcement may be lost.
LATE_DISCOVERY = 3.5


@dataclass(frozen=True)
class Finding:
    """One line of the report: how grave, about what, what was found and what to do."""

    level: str
    subject: str
    text: str


@dataclass(frozen=True)
class Expected:
    """A topic of the graph: its type, the rate [Hz] that it should have (0: whenever), and who listens.

    Attributes:
        single: a second publisher is an error (commands, the clock). required: silence is an error.
    """

    topic: str
    type: str
    rate: float = 0.0
    single: bool = True
    required: bool = True


@dataclass
class Seen:
    """What the graph and a few seconds of listening showed of a topic."""

    types: tuple[str, ...] = ()
    publishers: tuple[str, ...] = ()
    subscribers: tuple[str, ...] = ()
    mismatches: tuple[str, ...] = ()
    messages: int = 0
    rate: float = 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--robot", default="arena", help="contract: a name or a YAML file (default: %(default)s)")
    parser.add_argument("--namespace", type=namespace, default="", help="of the nodes (default: none)")
    parser.add_argument("--seconds", type=time_span, default=3.0, help="how long to listen (default: %(default)s)")
    parser.add_argument("--compressed", action="store_true", help="the camera publishes image/compressed")
    parser.add_argument("--no-brain", action="store_true", help="perception and planner are not meant to run")
    add_json(parser, "write the findings for machines")


def main(args: argparse.Namespace) -> int:
    """Examine the graph of the present ROS domain and report."""
    from rich.console import Console

    contract = load_contract(args.robot)
    ready_for_ros()
    os.environ.update(environment(contract))  # pictures are heard the way they are sent
    findings = examine(contract, args.namespace, args.seconds, args.compressed, brain=not args.no_brain)
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


def expected_topics(contract: RobotContract, compressed: bool = False, brain: bool = True) -> list[Expected]:
    """The topics that a running graph of this robot has, by the contract; `brain`: with perception and planner."""
    camera = contract.cameras[0]
    output = {
        "twist_stamped": "geometry_msgs/msg/TwistStamped",
        "twist": "geometry_msgs/msg/Twist",
        "joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
        "float64_multiarray": "std_msgs/msg/Float64MultiArray",
    }[contract.command.kind]
    joints = contract.jointed
    raw = "trajectory_msgs/msg/JointTrajectory" if joints else "geometry_msgs/msg/TwistStamped"
    compressed = compressed or camera.compressed
    image = (f"{camera.topic}/compressed", "CompressedImage") if compressed else (camera.topic, "Image")
    states = {
        "odom": "nav_msgs/msg/Odometry",
        "pose": "geometry_msgs/msg/PoseWithCovarianceStamped",
        "joint_states": "sensor_msgs/msg/JointState",
        "scan": "sensor_msgs/msg/LaserScan",
        "contact": "std_msgs/msg/Bool",
        "people": "geometry_msgs/msg/PoseArray",
        "wrench": "geometry_msgs/msg/WrenchStamped",
    }
    thinking = [
        Expected("embedding", "sensor_msgs/msg/Image", contract.rate),
        Expected("model_id", "std_msgs/msg/String"),
        Expected("command_raw", raw, contract.rate),
        Expected("signals", "diagnostic_msgs/msg/DiagnosticArray", contract.rate),
    ]
    rows = [
        Expected(image[0], f"sensor_msgs/msg/{image[1]}", camera.rate),
        *(thinking if brain else ()),
        Expected(contract.command.topic, output, contract.gate_rate),
        Expected("safety_gate/state", "diagnostic_msgs/msg/DiagnosticArray", contract.gate_rate),
    ]
    for name, state in contract.state.items():
        # What may be silent for so long must come at least so often.
        rows.append(Expected(state.topic, states[name], 1.0 / state.timeout, required=state.required))
    if contract.watchdog.estop_required:
        rows.append(
            Expected(contract.estop_topic, "std_msgs/msg/Bool", 1.0 / contract.watchdog.estop_timeout, single=False)
        )
    return rows


# ---------------------------------------------------------------- judging (no ROS)


def judge(expected: Expected, seen: Seen) -> list[Finding]:
    """What is wrong with one topic; a single "ok" where nothing is."""
    worst = ERROR if expected.required else WARNING
    if not seen.publishers:
        silent = f"nobody publishes it (expected {expected.type}): start the node or driver, or remap its topic"
        return [Finding(worst, expected.topic, silent)]
    found = []
    wrong = [t for t in seen.types if t != expected.type]
    if wrong:
        found.append(Finding(ERROR, expected.topic, f"has type {', '.join(wrong)}, expected {expected.type}"))
    if expected.single and len(seen.publishers) > 1:
        names = ", ".join(seen.publishers)
        found.append(Finding(ERROR, expected.topic, f"{len(seen.publishers)} publishers ({names}): expected one"))
    found += [Finding(ERROR, expected.topic, text) for text in seen.mismatches]
    if not seen.messages and not wrong and not found:
        text = f"silent, though {seen.publishers[0]} publishes it"
        found.append(Finding(worst, expected.topic, text))
    elif seen.messages and expected.rate and seen.rate < SLOW * expected.rate:
        text = f"{seen.rate:.1f} Hz, expected at least {expected.rate:.1f} Hz"
        found.append(Finding(WARNING, expected.topic, text))
    if not found:
        rate = f"{seen.rate:.1f} Hz" if expected.rate else f"{seen.messages} messages"
        found.append(Finding(OK, expected.topic, f"{rate} from {seen.publishers[0]}"))
    return found


def judge_gate(values: dict[str, str], message: str, brain: bool = True) -> list[Finding]:
    """What the gate says of itself; without a `brain` it stands still until somebody drives by teleoperation."""
    mode = values.get("mode", "")
    if mode in ("ACTIVE", "LIMITED"):
        return [Finding(OK, "gate", f"{mode}: {message}")]
    if not brain and mode in ("ARMING", "STOPPED") and values.get("reason") == "heartbeat":
        return [Finding(OK, "gate", f"{mode}: waits for teleoperation or `jepa-ros explore`")]
    advice = {
        "DISABLED": "enable it with ~/enable once the robot may move",
        "ARMING": "it waits for fresh inputs; see what is silent above",
        "STOPPED": "it goes on by itself when the reason is gone",
        "ESTOP": "release the e-stop and call ~/reset",
    }.get(mode, "it does not say how it stands")
    level = WARNING if mode in ("DISABLED", "ARMING") else ERROR
    return [Finding(level, "gate", f"{mode or 'no mode'}: {message}; {advice}")]


# ---------------------------------------------------------------- looking (ROS)


def examine(
    contract: RobotContract, namespace: str, seconds: float, compressed: bool = False, brain: bool = True
) -> list[Finding]:
    """Listen to the graph for some seconds and judge it.

    Args:
        namespace: of the nodes, "" for none. seconds: to listen, after discovery. brain: perception and planner too.
    """
    import rclpy

    from jepa_ros.nodes.lifecycle import Watcher

    watcher = Watcher(f"jepa_doctor_{os.getpid()}")
    try:
        watcher.spin(DISCOVERY)
        space = "/" + namespace.strip("/")
        end = time.monotonic() + LATE_DISCOVERY - DISCOVERY
        while _resolve(space, "safety_gate") not in watcher.nodes() and time.monotonic() < end:
            watcher.spin(0.2)
        names = watcher.nodes()
        found = _nodes(watcher, names, space, ("safety_gate", "perception", "planner") if brain else ("safety_gate",))
        if not names:
            domain, reach = (
                os.environ.get("ROS_DOMAIN_ID", "0"),
                os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "not set"),
            )
            found.append(
                Finding(
                    ERROR,
                    "graph",
                    f"no node at all in ROS_DOMAIN_ID {domain} with discovery range {reach}, "
                    f"RMW {rclpy.get_rmw_implementation_identifier()}: are they those of the robot?",
                )
            )
            return found
        looks = [_Look(watcher.node, _resolve(space, e.topic), e) for e in expected_topics(contract, compressed, brain)]
        clock = _Look(watcher.node, "/clock", Expected("/clock", "rosgraph_msgs/msg/Clock"))
        begun = time.monotonic()
        watcher.spin(seconds)
        took = time.monotonic() - begun
        gate = next(look for look in looks if look.expected.topic == "safety_gate/state")
        status = gate.last.status[0] if gate.last is not None and gate.last.status else None
        values: dict[str, str] = {} if status is None else {pair.key: pair.value for pair in status.values}
        for look in looks:
            seen = look.seen(took)
            if look.expected.topic == contract.command.topic and values.get("published") == "false":
                found.append(Finding(OK, look.expected.topic, "the gate decides and sends nothing (dry run or shadow)"))
            else:
                found += judge(look.expected, seen)
        found += _clock(clock.seen(took))
        if status is not None:
            found += judge_gate(values, status.message, brain)
        return found
    finally:
        watcher.close()


def _resolve(space: str, topic: str) -> str:
    return topic if topic.startswith("/") else f"{space.rstrip('/')}/{topic}"


def _nodes(watcher: Any, names: set[str], space: str, wanted: tuple[str, ...]) -> list[Finding]:
    found = []
    for name in wanted:
        full = _resolve(space, name)
        if full not in names:
            found.append(Finding(ERROR, name, f"node {full} is not running"))
            continue
        if name == "safety_gate":
            found.append(Finding(OK, name, "running"))
            continue
        end = time.monotonic() + 2.0
        while (state := watcher.state(full)) is None and time.monotonic() < end:
            watcher.spin(0.05)
        level = OK if state == "active" else ERROR
        advice = "" if state == "active" else ": see its log, or configure and activate it"
        found.append(Finding(level, name, f"{state or 'does not answer'}{advice}"))
    return found


def _clock(seen: Seen) -> list[Finding]:
    if not seen.publishers:
        return [Finding(OK, "clock", "the system's (nobody publishes /clock)")]
    if len(seen.publishers) > 1:
        return [Finding(ERROR, "clock", f"/clock has {len(seen.publishers)} publishers: {', '.join(seen.publishers)}")]
    if not seen.messages:
        return [Finding(ERROR, "clock", f"/clock of {seen.publishers[0]} stands still: simulation paused?")]
    return [Finding(OK, "clock", f"/clock from {seen.publishers[0]}")]


class _Look:
    """One topic, listened to as permissively as can be and without deserialising, save for the gate's state."""

    def __init__(self, node: Any, topic: str, expected: Expected) -> None:
        from jepa_ros.bags.recorder_node import matching_qos, message_class

        self.node, self.topic, self.expected = node, topic, expected
        self.messages, self.last = 0, None
        offers = node.get_publishers_info_by_topic(topic)
        types = {o.topic_type for o in offers}
        if types == {expected.type}:
            raw = topic.rsplit("/", 1)[-1] != "state"
            profile = matching_qos([o.qos_profile for o in offers])
            node.create_subscription(message_class(expected.type), topic, self._take(raw), profile, raw=raw)

    def _take(self, raw: bool) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            self.messages += 1
            if not raw:
                self.last = message

        return take

    def seen(self, seconds: float) -> Seen:
        """What the graph says now, and what came in `seconds`."""
        offers = self.node.get_publishers_info_by_topic(self.topic)
        takers = [
            t for t in self.node.get_subscriptions_info_by_topic(self.topic) if t.node_name != self.node.get_name()
        ]
        return Seen(
            types=tuple(sorted({o.topic_type for o in offers})),
            publishers=tuple(_full(o) for o in offers),
            subscribers=tuple(_full(t) for t in takers),
            mismatches=tuple(_mismatches(offers, takers)),
            messages=self.messages,
            rate=self.messages / seconds,
        )


def _full(endpoint: Any) -> str:
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def _mismatches(offers: list[Any], takers: list[Any]) -> list[str]:
    """Pairs that DDS will not connect: the publisher offers less than the subscriber asks for.

    A subscriber that has several subscriptions to a topic (goals are heard in three ways) is content with one match.
    """
    from rclpy.qos import QoSCompatibility, qos_check_compatible

    found = []
    for offer in offers:
        for name in sorted({_full(t) for t in takers}):
            answers = [qos_check_compatible(offer.qos_profile, t.qos_profile) for t in takers if _full(t) == name]
            if all(compatible == QoSCompatibility.ERROR for compatible, _ in answers):
                found.append(
                    f"{name} does not hear {_full(offer)}, incompatible QoS: {' '.join(answers[0][1].split())}"
                )
    return found
